//! Scalars of a JSON document: doubles as the server prints them, and values of SQL types.

use crate::BinlogError;
use crate::json::malformed;
use crate::numeric;
use crate::reader::Reader;
use std::fmt::Write;
use tributary_wire::ColumnBuffer;

/// The shortest digits that read back as the same double, laid out as MySQL does (`my_gcvt` in
/// `strings/dtoa.cc`): with an exponent where the number is very small, or large and whole; and with a
/// point or an exponent in every case, since without it is an integer.
pub(crate) fn double(value: f64, out: &mut String) -> Result<(), BinlogError> {
    const DIGITS_BEFORE_POINT_MAX: i32 = 15;
    if !value.is_finite() {
        return Err(malformed("a double that is no number"));
    }
    // `d.ddde-nn`: the shortest digits and their exponent.
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = i32::try_from(mantissa.bytes().filter(u8::is_ascii_digit).count()).unwrap_or(0);
    let before_point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let plain = before_point > -DIGITS_BEFORE_POINT_MAX
        && (before_point <= DIGITS_BEFORE_POINT_MAX || digits > before_point);
    let begin = out.len();
    let _ = if plain { write!(out, "{value}") } else { write!(out, "{scientific}") };
    if plain && !out[begin..].contains('.') {
        out.push_str(".0");
    }
    Ok(())
}

/// Values of SQL types inside a document. What plain JSON text cannot hold becomes a *typed scalar*:
/// [`TYPED`], a tag, its text, [`TYPED_END`]. JSON text holds neither of these bytes as they are.
pub(crate) fn opaque(field: u8, raw: &[u8], out: &mut String) -> Result<(), BinlogError> {
    const TIMESTAMP: u8 = 7;
    const DATE: u8 = 10;
    const TIME: u8 = 11;
    const DATETIME: u8 = 12;
    const NEWDECIMAL: u8 = 246;
    match field {
        NEWDECIMAL => decimal(raw, out),
        DATE | DATETIME | TIMESTAMP | TIME => {
            let packed = Reader::new("rows", raw.get(..8).unwrap_or_default()).u64();
            if raw.len() != 8 {
                return Err(malformed("a temporal value of the wrong size"));
            }
            let tag = match field {
                DATE => 'D',
                TIME => 'T',
                DATETIME => 'S',
                _ => 'Z',
            };
            typed(tag, out, |out| temporal(tag, packed?.cast_signed(), out))
        }
        other => typed('O', out, |out| {
            let _ = write!(out, "{other}:");
            for byte in raw {
                let _ = write!(out, "{byte:02x}");
            }
            Ok(())
        }),
    }
}

/// Begins a typed scalar.
const TYPED: char = '\u{1}';
/// Ends it.
const TYPED_END: char = '\u{2}';

fn typed(
    tag: char,
    out: &mut String,
    text: impl FnOnce(&mut String) -> Result<(), BinlogError>,
) -> Result<(), BinlogError> {
    out.extend([TYPED, tag]);
    text(out)?;
    out.push(TYPED_END);
    Ok(())
}

/// Precision, scale, digits. Plain digits where a server that reads them back prints them again.
fn decimal(raw: &[u8], out: &mut String) -> Result<(), BinlogError> {
    let (&[precision, scale], digits) =
        raw.split_first_chunk::<2>().ok_or_else(|| malformed("a DECIMAL is cut off"))?;
    let fits = scale <= precision && digits.len() == numeric::decimal_bytes(precision, scale);
    if !fits {
        return Err(malformed("a DECIMAL of the wrong size"));
    }
    let mut text = ColumnBuffer::default();
    numeric::decimal(digits, precision, scale, &mut text)?;
    // A bin of under 256 bytes: two bytes of marker and length, then the digits.
    let text = String::from_utf8_lossy(&text.encoded()[2..]);
    if survives(&text) {
        out.push_str(&text);
        return Ok(());
    }
    typed('N', out, |out| {
        out.push_str(&text);
        Ok(())
    })
}

/// JSON text without a point is read as an integer, with one as a double.
fn survives(text: &str) -> bool {
    if !text.contains('.') {
        return text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
    }
    let mut again = String::new();
    text.parse().is_ok_and(|value| double(value, &mut again).is_ok()) && again == text
}

/// As MySQL prints it, with six fractional digits, except a DATE.
fn temporal(tag: char, packed: i64, out: &mut String) -> Result<(), BinlogError> {
    let magnitude = packed.unsigned_abs();
    let (whole, us) = (magnitude >> 24, magnitude & 0xff_ffff);
    let (second, minute) = (whole & 0x3f, whole >> 6 & 0x3f);
    if tag == 'T' {
        let sign = if packed < 0 { "-" } else { "" };
        let hour = whole >> 12 & 0x3ff;
        let _ = write!(out, "{sign}{hour:02}:{minute:02}:{second:02}.{us:06}");
        return Ok(());
    }
    let (hour, day, month) = (whole >> 12 & 0x1f, whole >> 17 & 0x1f, whole >> 22);
    let (year, month) = (month / 13, month % 13);
    if packed < 0 || year > 9999 {
        return Err(malformed("a date beyond the year 9999"));
    }
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    if tag != 'D' {
        let _ = write!(out, " {hour:02}:{minute:02}:{second:02}.{us:06}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_text;

    #[test]
    fn doubles_read_as_the_server_prints_them() {
        // Each as `CAST(CAST(… AS DOUBLE) AS JSON)` prints in MySQL 9.7.
        for text in [
            "0.1",
            "1e300",
            "-0.0",
            "1.0",
            "1e15",
            "1e16",
            "1.2345678901234568e17",
            "0.0001",
            "0.00001",
            "0.00001234",
            "0.00000000000001",
            "0.000000000000001",
            "1e-16",
            "0.00000000015",
            "123456789.0",
            "1e22",
            "1.7976931348623157e308",
            "5e-324",
            "2.2250738585072014e-308",
            "9.007199254740992e15",
            "0.30000000000000004",
            "123456789012345.6",
            "1234567890123456.8",
            "100.0",
            "1.25e20",
            "-1.5e-20",
        ] {
            let mut out = String::new();
            double(text.parse().expect("a number"), &mut out).expect("finite");
            assert_eq!(out, text);
        }
        assert!(double(f64::NAN, &mut String::new()).is_err());
        assert!(double(f64::INFINITY, &mut String::new()).is_err());
    }

    fn opaque_text(field: u8, raw: &[u8]) -> Result<String, BinlogError> {
        let mut document = vec![0x0f, field, u8::try_from(raw.len()).expect("short")];
        document.extend(raw);
        to_text(&document)
    }

    #[test]
    fn values_that_json_cannot_hold_become_typed_scalars() {
        let plain = |us: u64| us.to_le_bytes().to_vec();
        let date = (2024u64 * 13 + 2) << 5 | 29;
        let time = 10u64 << 12 | 11 << 6 | 12;
        let negative = (838u64 << 12 | 59 << 6 | 59) << 24 | 5;
        let cases = [
            (10, plain(date << 41), "\u{1}D2024-02-29\u{2}"),
            (12, plain((date << 17 | time) << 24 | 7), "\u{1}S2024-02-29 10:11:12.000007\u{2}"),
            (7, plain((date << 17 | time) << 24), "\u{1}Z2024-02-29 10:11:12.000000\u{2}"),
            (11, plain(negative.wrapping_neg()), "\u{1}T-838:59:59.000005\u{2}"),
            (11, plain(0), "\u{1}T00:00:00.000000\u{2}"),
            (252, vec![0, 0xff], "\u{1}O252:00ff\u{2}"),
            (16, vec![], "\u{1}O16:\u{2}"),
            (246, vec![2, 1, 0x81, 5], "1.5"),
            (246, vec![3, 2, 0x81, 50], "\u{1}N1.50\u{2}"),
            (246, vec![1, 0, 0x81], "1"),
        ];
        for (field, raw, text) in cases {
            assert_eq!(opaque_text(field, &raw).expect("reads"), text);
        }
        for (field, raw) in
            [(10, vec![0; 7]), (11, vec![0; 9]), (12, vec![0xff; 8]), (246, vec![1])]
        {
            assert!(opaque_text(field, &raw).is_err(), "{field} {raw:?}");
        }
    }

    #[test]
    fn decimals_keep_every_digit() {
        assert!(survives("0.5") && survives("-12.25") && survives("18446744073709551615"));
        for text in
            ["0.50", "18446744073709551616", "12345678901234567890.123", "0.0000000000000001"]
        {
            assert!(!survives(text), "{text}");
        }
    }
}
