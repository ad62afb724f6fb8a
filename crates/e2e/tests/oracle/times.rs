//! DATE, TIME, DATETIME, TIMESTAMP.

use super::case::{Case, ON_MARIADB};
use fastrand::Rng;

const RANDOM: usize = 8;

pub(super) fn cases(random: &mut Rng) -> Vec<Case> {
    let mut cases = vec![
        Case::new("date", "DATE")
            .values([
                "'0000-00-00'",
                "'2020-00-00'",
                "'2020-02-00'",
                "'0000-01-01'",
                "'0001-01-01'",
            ])
            .values([
                "'1000-01-01'",
                "'2020-02-29'",
                "'2021-02-31'",
                "'9999-12-31'",
                "'1969-12-31'",
            ])
            .values((0..RANDOM).map(|_| format!("'{}'", date(random))))
            .key(),
    ];
    for digits in 0..=6 {
        cases.push(time(random, digits));
        cases.push(datetime(random, digits));
        cases.push(timestamp(random, digits));
    }
    cases.push(
        Case::new("timestamp_first_second", "TIMESTAMP(3)")
            .on(ON_MARIADB)
            .bent(&["'1970-01-01 00:00:00.001'", "'1970-01-01 00:00:00.999'"]),
    );
    cases
}

/// `.123` of so many random digits; nothing for none.
fn fraction(random: &mut Rng, digits: usize) -> String {
    let text: String = (0..digits).map(|_| random.digit(10)).collect();
    if digits == 0 { text } else { format!(".{text}") }
}

fn date(random: &mut Rng) -> String {
    format!("{:04}-{:02}-{:02}", random.u32(0..=9999), random.u32(1..=12), random.u32(1..=28))
}

fn clock(random: &mut Rng) -> String {
    format!("{:02}:{:02}:{:02}", random.u32(..24), random.u32(..60), random.u32(..60))
}

/// The last value of so many digits: `.999`.
fn nines(digits: usize) -> String {
    if digits == 0 { String::new() } else { format!(".{}", "9".repeat(digits)) }
}

/// The first value of so many digits: `.001`.
fn one(digits: usize) -> String {
    if digits == 0 { String::new() } else { format!(".{:0>digits$}", 1) }
}

fn time(random: &mut Rng, digits: usize) -> Case {
    let (nines, one) = (nines(digits), one(digits));
    let more: Vec<String> = (0..RANDOM)
        .map(|n| {
            let sign = if n % 2 == 0 { "-" } else { "" };
            let (hours, fraction) = (random.u32(..838), fraction(random, digits));
            format!("'{sign}{hours:02}:{:02}:{:02}{fraction}'", random.u32(..60), random.u32(..60))
        })
        .collect();
    Case::new(format!("time_{digits}"), format!("TIME({digits})"))
        .values(["'00:00:00'", "'24:00:00'", "'-24:00:00'", "'838:59:59'", "'-838:59:59'"])
        .values([format!("'-00:00:00{one}'"), format!("'00:00:00{nines}'")])
        .values([format!("'-00:00:00{nines}'"), format!("'-01:00:00{one}'")])
        .values([format!("'-00:59:59{nines}'"), format!("'837:59:59{nines}'")])
        .values(more)
        .key()
}

fn datetime(random: &mut Rng, digits: usize) -> Case {
    let (nines, one) = (nines(digits), one(digits));
    let more: Vec<String> = (0..RANDOM)
        .map(|_| format!("'{} {}{}'", date(random), clock(random), fraction(random, digits)))
        .collect();
    Case::new(format!("datetime_{digits}"), format!("DATETIME({digits})"))
        .values(["'0000-00-00 00:00:00'", "'2020-00-00 00:00:00'", "'2021-02-31 12:30:00'"])
        .values(["'0000-01-01 00:00:00'", "'1000-01-01 00:00:00'", "'2020-02-29 23:59:59'"])
        .values([format!("'9999-12-31 23:59:59{nines}'"), format!("'0001-01-01 00:00:00{one}'")])
        .values([format!("'1970-01-01 00:00:00{one}'"), format!("'2038-01-19 03:14:08{nines}'")])
        .values(more)
        .key()
}

fn timestamp(random: &mut Rng, digits: usize) -> Case {
    let (nines, one) = (nines(digits), one(digits));
    let more: Vec<String> = (0..RANDOM)
        .map(|_| {
            let seconds = random.u32(1..0x7fff_ffff);
            // In the session's zone, which is UTC.
            format!("FROM_UNIXTIME({seconds}{})", fraction(random, digits))
        })
        .collect();
    Case::new(format!("timestamp_{digits}"), format!("TIMESTAMP({digits})"))
        .values(["'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"])
        .values([format!("'1970-01-01 00:00:01{one}'"), format!("'2038-01-19 03:14:07{nines}'")])
        .values([format!("'2024-03-31 02:30:00{nines}'"), format!("'2001-09-09 01:46:40{one}'")])
        .values(more)
        .key()
}
