use super::*;
use std::collections::HashMap;

const HOUR_US: i64 = 3600 * 1_000_000;

fn files(of: &[(u32, u64)]) -> Vec<BinlogFile> {
    let file =
        |&(number, bytes): &(u32, u64)| BinlogFile { name: format!("b.{number}"), number, bytes };
    of.iter().map(file).collect()
}

fn at(file: u32, offset: u64) -> Position {
    Position::boundary(1, file, offset)
}

fn caught_up(file: u32, offset: u64) -> Standing {
    let position = at(file, offset);
    Standing { safe: position, read: position, pending: false, oldest_us: None, read_us: 1 }
}

fn days(days: u64) -> Limits {
    Limits { age: Some(Duration::from_secs(days * 86_400)), bytes: None }
}

fn facts(flavour: Flavour, variables: &[(&str, &str)]) -> Facts {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Facts {
        flavour,
        version: String::new(),
        version_numbers: (8, 4, 0),
        variables: variables.collect::<HashMap<_, _>>(),
        system_time_zone: String::new(),
        identity: String::new(),
    }
}

#[test]
fn an_idle_device_uses_nothing_however_old_its_last_event_is() {
    let mut guard = Guard::default();
    for hour in 0..1000 {
        let estimate =
            guard.sample(hour * HOUR_US, &files(&[(3, 157)]), days(10), Some(&caught_up(3, 157)));
        assert!(estimate.used.abs() < f64::EPSILON, "{estimate:?}");
        assert_eq!(estimate.seconds_left, Some(864_000.0));
    }
}

#[test]
fn what_waits_for_the_cloud_ages() {
    let mut guard = Guard::default();
    let standing =
        |now_us| Standing { pending: true, oldest_us: Some(now_us), ..caught_up(3, 900) };
    let began_us = 100 * HOUR_US;
    let after = |guard: &mut Guard, hours: i64| {
        guard.sample(
            began_us + hours * HOUR_US,
            &files(&[(3, 900)]),
            days(10),
            Some(&standing(began_us)),
        )
    };
    assert_eq!(after(&mut guard, 0).seconds_left, Some(864_000.0));
    let half = after(&mut guard, 120);
    assert!((half.used - 0.5).abs() < 1e-9, "{half:?}");
    assert_eq!(half.seconds_left, Some(432_000.0));
    assert_eq!(after(&mut guard, 300).seconds_left, Some(0.0), "it may be purged at any time");
}

#[test]
fn what_was_never_read_is_no_older_than_the_last_time_that_nothing_was_left() {
    let mut guard = Guard::default();
    let standing = caught_up(3, 500);
    guard.sample(10 * HOUR_US, &files(&[(3, 500)]), days(1), Some(&standing));
    // Parked: reading has stopped, the log goes on.
    let estimate = guard.sample(16 * HOUR_US, &files(&[(3, 900)]), days(1), Some(&standing));
    assert!((estimate.used - 0.25).abs() < 1e-9, "{estimate:?}");
    // After a restart only the last event that was read says anything.
    let late = Standing { read_us: 4 * HOUR_US, ..standing };
    let estimate = Guard::default().sample(16 * HOUR_US, &files(&[(3, 900)]), days(1), Some(&late));
    assert!((estimate.used - 0.5).abs() < 1e-9, "{estimate:?}");
}

#[test]
fn without_a_limit_or_a_standing_nothing_is_said() {
    let mut guard = Guard::default();
    let pending = Standing { pending: true, oldest_us: Some(1), ..caught_up(1, 1) };
    let forever = guard.sample(99 * HOUR_US, &files(&[(1, 10)]), Limits::default(), Some(&pending));
    assert_eq!((forever.seconds_left, forever.used), (None, 0.0));
    assert_eq!(guard.sample(99 * HOUR_US, &files(&[(1, 10)]), days(1), None).seconds_left, None);
    assert_eq!(guard.sample(99 * HOUR_US, &[], days(1), Some(&pending)).log_bytes, 0);
}

#[test]
fn growth_is_counted_over_rotations_and_purges_and_smoothed_over_an_hour() {
    let mut guard = Guard::default();
    let mut sample = |hours: f64, of: &[(u32, u64)]| {
        #[expect(clippy::cast_possible_truncation, reason = "whole minutes")]
        let now_us = (hours * 3.6e9) as i64;
        guard.sample(now_us, &files(of), Limits::default(), None).bytes_per_second
    };
    assert_eq!(sample(0.0, &[(1, 1000), (2, 3600)]), None);
    assert_eq!(sample(0.5, &[(1, 1000), (2, 5400)]), Some(1.0));
    // The oldest file is purged, the current one full, a new one begun: 3600 bytes in half an hour.
    assert_eq!(sample(1.0, &[(2, 7200), (3, 1800)]), Some(1.5));
    // An hour without a byte: the mean of that hour.
    assert_eq!(sample(2.0, &[(3, 1800)]), Some(0.0));
    assert_eq!(sample(3.0, &[(1, 10)]), None, "begun anew");
}

#[test]
fn a_limit_by_size_is_reached_as_fast_as_the_log_grows() {
    let limits = Limits { age: None, bytes: Some(10_000) };
    let mut guard = Guard::default();
    let standing = Standing { pending: true, oldest_us: Some(1), ..caught_up(2, 100) };
    guard.sample(0, &files(&[(1, 900), (2, 1000)]), limits, Some(&standing));
    let estimate = guard.sample(HOUR_US, &files(&[(1, 900), (2, 4600)]), limits, Some(&standing));
    // One byte a second; the file of the oldest unpublished event and those after it hold 4600.
    assert_eq!(estimate.seconds_left, Some(5400.0));
    assert!((estimate.used - 0.46).abs() < 1e-9);
    let both = Limits { age: Some(Duration::from_secs(7200)), ..limits };
    let estimate = guard.sample(HOUR_US, &files(&[(1, 900), (2, 4600)]), both, Some(&standing));
    assert!(estimate.seconds_left.is_some_and(|left| left < 3601.0), "the sooner of both");
}

#[test]
fn limits_are_read_as_each_server_means_them() {
    let of = |flavour, variables: &[(&str, &str)]| Limits::of(&facts(flavour, variables));
    let age = |seconds| Limits { age: Some(Duration::from_secs(seconds)), bytes: None };
    let mysql =
        [("binlog_expire_logs_seconds", "2592000"), ("binlog_expire_logs_auto_purge", "ON")];
    assert_eq!(of(Flavour::MySql, &mysql), age(2_592_000));
    let off = [("binlog_expire_logs_seconds", "3600"), ("binlog_expire_logs_auto_purge", "OFF")];
    assert_eq!(of(Flavour::MySql, &off), Limits::default());
    assert_eq!(of(Flavour::MariaDb, &[("expire_logs_days", "10.000000")]), age(864_000));
    let both = [("expire_logs_days", "0.000046"), ("binlog_expire_logs_seconds", "4")];
    assert_eq!(of(Flavour::MariaDb, &both), age(4));
    assert_eq!(
        of(Flavour::MariaDb, &[("expire_logs_days", "0"), ("binlog_expire_logs_seconds", "0")]),
        Limits::default()
    );
    let sized = [("max_binlog_total_size", "1073741824")];
    assert_eq!(of(Flavour::MariaDb, &sized), Limits { age: None, bytes: Some(1 << 30) });
    assert_eq!(of(Flavour::MySql, &[("binlog_space_limit", "0")]), Limits::default());
}

#[test]
fn an_alarm_sounds_when_it_rises_and_again_only_after_hours() {
    let mut alarm = Alarm::default();
    let mut sound = |used, minutes: i64| alarm.sound(used, minutes * 60_000_000);
    assert_eq!(sound(0.49, 0), None);
    assert_eq!(sound(0.5, 1), Some(Level::Half));
    assert_eq!(sound(0.6, 2), None);
    assert_eq!(sound(0.49, 3), None, "at its edge");
    assert_eq!(sound(0.81, 4), Some(Level::Most));
    assert_eq!(sound(0.9, 300), None);
    assert_eq!(sound(0.9, 365), Some(Level::Most), "six hours later");
    assert_eq!(sound(0.96, 366), Some(Level::All));
    assert_eq!(sound(0.97, 380), None);
    assert_eq!(sound(0.98, 397), Some(Level::All), "half an hour later");
    assert_eq!(sound(0.6, 398), None, "better is no news");
    assert_eq!(sound(0.0, 399), Some(Level::Fine), "well is");
    assert_eq!(sound(0.0, 999), None);
}
