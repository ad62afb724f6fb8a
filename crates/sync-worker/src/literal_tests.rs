use super::*;
use proptest::prelude::*;

fn column(kind: ColumnKind, scale: u16) -> ColumnShape {
    let name = "c".into();
    ColumnShape { name, kind, unsigned: false, nullable: true, collation: 0, scale, size: 0 }
}

fn render(kind: ColumnKind, scale: u16, cell: Cell, bytes: &[u8]) -> Result<String, LiteralError> {
    let mut out = Vec::new();
    write(&mut out, &column(kind, scale), cell, bytes, &Encoding::AsIs)?;
    Ok(String::from_utf8(out).expect("ASCII here"))
}

fn number(kind: ColumnKind, scale: u16, value: i64) -> String {
    render(kind, scale, Cell::Int(value), b"").expect("renders")
}

fn bytes(kind: ColumnKind, value: &[u8]) -> Result<String, LiteralError> {
    let len = u32::try_from(value.len()).expect("small");
    render(kind, 0, Cell::Bytes { start: 0, len }, value)
}

fn packed_datetime(y: i64, m: i64, d: i64, h: i64, i: i64, s: i64, us: i64) -> i64 {
    (((((y * 13 + m) << 5 | d) << 17) | h << 12 | i << 6 | s) << 24) | us
}

#[test]
fn dates_keep_zero_and_partial_values() {
    for (packed, wanted) in [
        (0, "'0000-00-00'"),
        (2024 << 9, "'2024-00-00'"),
        (2024 << 9 | 2 << 5 | 31, "'2024-02-31'"),
        (9999 << 9 | 12 << 5 | 31, "'9999-12-31'"),
    ] {
        assert_eq!(number(ColumnKind::Date, 0, packed), wanted);
    }
}

#[test]
fn times_are_signed_and_may_be_longer_than_a_day() {
    let hour = 3_600_000_000i64;
    for (us, scale, wanted) in [
        (0, 0, "'00:00:00'"),
        (838 * hour + 59 * 60_000_000 + 59_000_000, 0, "'838:59:59'"),
        (-(838 * hour), 0, "'-838:00:00'"),
        (-500_000, 2, "'-00:00:00.50'"),
        (123_456, 6, "'00:00:00.123456'"),
        (-hour - 10_000, 3, "'-01:00:00.010'"),
    ] {
        assert_eq!(number(ColumnKind::Time, scale, us), wanted);
    }
}

#[test]
fn datetimes_are_unpacked_with_their_fraction() {
    for (packed, scale, wanted) in [
        (0, 0, "'0000-00-00 00:00:00'"),
        (0, 3, "'0000-00-00 00:00:00.000'"),
        (packed_datetime(2024, 12, 31, 23, 59, 58, 123_000), 3, "'2024-12-31 23:59:58.123'"),
        (packed_datetime(2024, 0, 0, 0, 0, 0, 0), 0, "'2024-00-00 00:00:00'"),
        (packed_datetime(9999, 12, 31, 23, 59, 59, 999_999), 6, "'9999-12-31 23:59:59.999999'"),
    ] {
        assert_eq!(number(ColumnKind::DateTime, scale, packed), wanted);
    }
}

#[test]
fn timestamps_are_in_utc_and_zero_is_the_zero_timestamp() {
    for (us, scale, wanted) in [
        (0, 0, "'0000-00-00 00:00:00'"),
        (1_000_000, 0, "'1970-01-01 00:00:01'"),
        (951_782_400_000_000, 0, "'2000-02-29 00:00:00'"),
        (2_147_483_647_999_999, 6, "'2038-01-19 03:14:07.999999'"),
        (4_294_967_295_000_000, 0, "'2106-02-07 06:28:15'"),
    ] {
        assert_eq!(number(ColumnKind::Timestamp, scale, us), wanted);
    }
}

#[test]
fn floats_are_written_as_the_exact_double() {
    let float = |value| render(ColumnKind::Float, 0, Cell::F32(value), b"").expect("renders");
    assert_eq!(float(0.1), "1.0000000149011612e-1");
    assert_eq!(float(-0.0), "-0e0");
    let double = |value| render(ColumnKind::Double, 0, Cell::F64(value), b"").expect("renders");
    assert_eq!(double(f64::MIN_POSITIVE), "2.2250738585072014e-308");
    assert!(render(ColumnKind::Double, 0, Cell::F64(f64::NAN), b"").is_err());
}

#[test]
fn a_decimal_that_is_not_digits_is_refused() {
    assert_eq!(
        bytes(ColumnKind::Decimal, b"-12345678901234567890.123").as_deref(),
        Ok("-12345678901234567890.123")
    );
    for bad in [&b""[..], b"-", b".", b"1;DROP TABLE t", b"1.2.3", b"1e5", b"--1", b"0 OR 1"] {
        assert!(bytes(ColumnKind::Decimal, bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_cell_of_another_kind_is_refused_with_the_column() {
    let error = bytes(ColumnKind::Integer, b"abc").expect_err("refused").to_string();
    assert_eq!(error, "column c: a Integer cannot hold 3 bytes");
    assert!(render(ColumnKind::Text, 0, Cell::Int(1), b"").is_err());
    assert!(render(ColumnKind::Date, 0, Cell::Int(-1), b"").is_err());
}

#[test]
fn json_is_introduced_with_its_character_set() {
    let mut out = Vec::new();
    let encoding = Encoding::Introduced("utf8mb4".into());
    let cell = Cell::Bytes { start: 0, len: 2 };
    write(&mut out, &column(ColumnKind::Json, 0), cell, b"{}", &encoding).expect("renders");
    assert_eq!(out, b"_utf8mb4'{}'");
}

proptest! {
    #[test]
    fn a_quoted_string_never_ends_early_and_reads_back(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut out = Vec::new();
        quoted(&mut out, &value);
        prop_assert_eq!((out.first(), out.last()), (Some(&b'\''), Some(&b'\'')));
        // As the server's lexer reads it (sql_lex.cc, get_text).
        let (mut read, mut rest) = (Vec::new(), out[1..out.len() - 1].iter());
        while let Some(&byte) = rest.next() {
            prop_assert_ne!(byte, b'\'');
            read.push(match byte {
                b'\\' => match *rest.next().expect("an escape is two bytes") {
                    b'0' => 0, b'n' => b'\n', b'r' => b'\r', b'Z' => 0x1a, other => other,
                },
                other => other,
            });
        }
        prop_assert_eq!(read, value);
    }
}
