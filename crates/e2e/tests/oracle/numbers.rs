//! Integers, DECIMAL, FLOAT, DOUBLE, BIT, YEAR.

use super::case::Case;
use fastrand::Rng;

const RANDOM: usize = 12;

pub(super) fn cases(random: &mut Rng) -> Vec<Case> {
    let mut cases = integers(random);
    cases.extend(decimals(random));
    cases.extend(floats(random));
    cases.extend(bits(random));
    cases.push(
        Case::new("year", "YEAR").values(["0", "1901", "1970", "1999", "2000", "2155"]).key(),
    );
    cases
}

fn integers(random: &mut Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bits) in
        [("tinyint", 8u32), ("smallint", 16), ("mediumint", 24), ("int", 32), ("bigint", 64)]
    {
        let top = 1i128 << (bits - 1);
        let random_of = |random: &mut Rng, low: i128| -> Vec<String> {
            let of = |_| (low + i128::from(random.u64(..) >> (64 - bits))).to_string();
            (0..RANDOM).map(of).collect()
        };
        let text = |values: [i128; 6]| values.map(|value| value.to_string());
        let signed = text([-top, -1, 0, 1, top / 3, top - 1]);
        let unsigned = text([0, 1, top - 1, top, top + 1, 2 * top - 1]);
        cases.push(
            Case::new(name, name).values(signed.clone()).values(random_of(random, -top)).key(),
        );
        cases.push(
            Case::new(format!("{name}_unsigned"), format!("{name} UNSIGNED"))
                .values(unsigned.clone())
                .values(random_of(random, 0))
                .key(),
        );
        // The server counts YEAR among the columns that have a sign.
        const YEAR: &str = "y YEAR NOT NULL DEFAULT 1999, ";
        cases.push(Case::new(format!("{name}_after_year"), name).values(signed).after(YEAR).key());
        cases.push(
            Case::new(format!("{name}_unsigned_after_year"), format!("{name} UNSIGNED"))
                .values(unsigned)
                .after(YEAR)
                .key(),
        );
    }
    cases.push(Case::new("bool", "BOOLEAN").values(["TRUE", "FALSE", "-128"]));
    cases.push(Case::new("zerofill", "INT(9) ZEROFILL").values(["0", "42", "4294967295"]).key());
    cases
}

fn decimals(random: &mut Rng) -> Vec<Case> {
    let shapes = [
        (1usize, 0usize),
        (1, 1),
        (5, 2),
        (9, 0),
        (9, 9),
        (10, 5),
        (18, 9),
        (19, 10),
        (30, 30),
        (38, 10),
        (65, 0),
        (65, 30),
    ];
    let decimal = |(precision, scale): (usize, usize), digits: &str| {
        let (whole, fraction) = digits.split_at(precision - scale);
        let whole = if whole.is_empty() { "0" } else { whole };
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    };
    let mut cases: Vec<Case> = shapes
        .into_iter()
        .map(|shape| {
            let (precision, scale) = shape;
            let most = decimal(shape, &"9".repeat(precision));
            let least = decimal(shape, &format!("{}1", "0".repeat(precision - 1)));
            let mut values = vec!["0".to_owned(), most.clone(), format!("-{most}")];
            values.extend([format!("-{least}"), least]);
            for n in 0..RANDOM {
                let length = random.usize(1..=precision);
                let digits: String = (0..length).map(|_| random.digit(10)).collect();
                let sign = if n % 2 == 0 { "-" } else { "" };
                values.push(format!("{sign}{}", decimal(shape, &format!("{digits:0>precision$}"))));
            }
            let column = format!("DECIMAL({precision},{scale})");
            Case::new(format!("decimal_{precision}_{scale}"), column).values(values).key()
        })
        .collect();
    cases.push(
        Case::new("decimal_unsigned", "DECIMAL(20,6) UNSIGNED")
            .values(["0", "0.000001", "99999999999999.999999"])
            .key(),
    );
    cases
}

fn floats(random: &mut Rng) -> Vec<Case> {
    let float = |random: &mut Rng| loop {
        let value = f32::from_bits(random.u32(..));
        if value.is_finite() {
            return format!("{:e}", f64::from(value));
        }
    };
    let double = |random: &mut Rng| loop {
        let value = f64::from_bits(random.u64(..));
        if value.is_finite() {
            return format!("{value:e}");
        }
    };
    let floats: Vec<String> = (0..RANDOM).map(|_| float(random)).collect();
    let doubles: Vec<String> = (0..RANDOM).map(|_| double(random)).collect();
    let common = ["0e0", "1e0", "-1e0", "0.1e0", "1.1e0", "16777216e0", "16777217e0"];
    vec![
        Case::new("float", "FLOAT")
            .values(common)
            .values(["3.4028234663852886e38", "-3.4028234663852886e38", "1.1754943508222875e-38"])
            .values(["1.401298464324817e-45", "-1.401298464324817e-45", "3.4028233e38"])
            .values(floats)
            .key(),
        Case::new("double", "DOUBLE")
            .values(common)
            .values(["1.7976931348623157e308", "-1.7976931348623157e308", "9007199254740993e0"])
            .values(["2.2250738585072014e-308", "5e-324", "0.30000000000000004e0", "1e22", "1e23"])
            .values(doubles)
            .key(),
        Case::new("float_negative_zero", "FLOAT").values(["-0e0", "1e0"]),
        Case::new("double_negative_zero", "DOUBLE").values(["-0e0", "1e0"]),
        Case::new("float_unsigned", "FLOAT UNSIGNED").values(["0e0", "0.1e0", "3e38"]).key(),
        Case::new("float_7_3", "FLOAT(7,3)").values(["0e0", "9999.999e0", "-0.001e0", "1.2345e0"]),
        Case::new("double_20_6", "DOUBLE(20,6)").values(["1e0", "-12345678901.123456e0", "0.1e0"]),
        Case::new("real", "REAL").values(["1e-300", "-2.5e0"]),
    ]
}

fn bits(random: &mut Rng) -> Vec<Case> {
    [1u32, 2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64]
        .into_iter()
        .map(|width| {
            let most = u64::MAX >> (64 - width);
            let of = |value: u64| format!("b'{value:b}'");
            let fixed = [0, 1, most, most >> 1, (most >> 1) + 1].map(of);
            let more: Vec<String> = (0..RANDOM).map(|_| of(random.u64(..) & most)).collect();
            Case::new(format!("bit_{width}"), format!("BIT({width})"))
                .values(fixed)
                .values(more)
                .key()
        })
        .collect()
}
