//! MySQL's binary JSON to text (`sql-common/json_binary.h` describes the format).

use crate::BinlogError;
use crate::numeric;
use crate::reader::{Reader, le_uint};
use std::fmt::Write;
use tributary_wire::ColumnBuffer;

/// MySQL refuses to build documents deeper than this (`JSON_DOCUMENT_MAX_DEPTH`).
const DEPTH_MAX: usize = 100;

/// The document as JSON text with typed scalars (`schemas/wire/batch.md`). No bytes at all is what a failed update of a NOT NULL column leaves:
/// the literal `null`.
pub(crate) fn to_text(document: &[u8]) -> Result<String, BinlogError> {
    let mut out = String::with_capacity(document.len() * 2);
    match document.split_first() {
        None => out.push_str("null"),
        // Every value takes a byte at least; containers that share their members run out of budget.
        Some((&kind, body)) => {
            let bytes = document.len().saturating_mul(TEXT_BYTES_PER_BYTE);
            let mut nesting = Nesting { depth: DEPTH_MAX, values: document.len(), bytes };
            value(kind, body, &mut nesting, &mut out)?;
        }
    }
    Ok(out)
}

/// A control character of a string becomes six, an element of three bytes at most eight.
const TEXT_BYTES_PER_BYTE: usize = 8;

/// How much deeper, how many values more, and how long its text, a document may go.
struct Nesting {
    depth: usize,
    values: usize,
    /// Members that share their bytes, as only a damaged document's do, would multiply them.
    bytes: usize,
}

fn malformed(detail: &str) -> BinlogError {
    BinlogError::malformed("rows", format!("a JSON value: {detail}"))
}

fn value(
    kind: u8,
    body: &[u8],
    nesting: &mut Nesting,
    out: &mut String,
) -> Result<(), BinlogError> {
    let mut reader = Reader::new("rows", body);
    match kind {
        0x00 => container(body, 2, true, nesting, out)?,
        0x01 => container(body, 4, true, nesting, out)?,
        0x02 => container(body, 2, false, nesting, out)?,
        0x03 => container(body, 4, false, nesting, out)?,
        0x04 => literal(reader.u8()?, out)?,
        0x05 => number(out, reader.u16()?.cast_signed()),
        0x06 => number(out, reader.u16()?),
        0x07 => number(out, reader.u32()?.cast_signed()),
        0x08 => number(out, reader.u32()?),
        0x09 => number(out, reader.u64()?.cast_signed()),
        0x0a => number(out, reader.u64()?),
        0x0b => double(f64::from_le_bytes(reader.array()?), out)?,
        0x0c => {
            let len = varint(&mut reader)?;
            string(reader.take(len)?, out)?;
        }
        0x0f => {
            let field = reader.u8()?;
            let len = varint(&mut reader)?;
            opaque(field, reader.take(len)?, out)?;
        }
        other => return Err(malformed(&format!("type {other}"))),
    }
    Ok(())
}

fn number(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

/// The shortest digits that read back as the same double, laid out as MySQL does (`my_gcvt` in
/// `strings/dtoa.cc`): with an exponent where the number is very small, or large and whole; and with a
/// point or an exponent in every case, since without it is an integer.
fn double(value: f64, out: &mut String) -> Result<(), BinlogError> {
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

fn literal(code: u8, out: &mut String) -> Result<(), BinlogError> {
    out.push_str(match code {
        0 => "null",
        1 => "true",
        2 => "false",
        _ => return Err(malformed("an unknown literal")),
    });
    Ok(())
}

/// Seven bits a byte, the least significant first, at most five bytes.
fn varint(reader: &mut Reader<'_>) -> Result<usize, BinlogError> {
    let mut length = 0usize;
    for shift in 0..5 {
        let byte = reader.u8()?;
        length |= usize::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(malformed("a length of more than five bytes"))
}

/// Count, size, then for objects a table of keys, a table of values, and what they point to; offsets
/// count from the container's start.
fn container(
    body: &[u8],
    width: usize,
    object: bool,
    nesting: &mut Nesting,
    out: &mut String,
) -> Result<(), BinlogError> {
    nesting.depth =
        nesting.depth.checked_sub(1).ok_or_else(|| malformed("nested deeper than 100"))?;
    let mut reader = Reader::new("rows", body);
    let length = |reader: &mut Reader<'_>| -> Result<usize, BinlogError> {
        Ok(usize::try_from(reader.uint(width)?).unwrap_or(usize::MAX))
    };
    let count = length(&mut reader)?;
    let size = length(&mut reader)?;
    let body = body.get(..size).ok_or_else(|| malformed("a container is cut off"))?;
    let entry = if object { width + 2 } else { 0 } + 1 + width;
    if count.saturating_mul(entry) > body.len() {
        return Err(malformed("more members than bytes"));
    }
    let mut keys = reader.clone();
    let mut values = reader;
    if object {
        values.take(count * (width + 2))?;
    }
    out.push(if object { '{' } else { '[' });
    for index in 0..count {
        if index > 0 {
            out.push_str(", ");
        }
        if object {
            let offset = length(&mut keys)?;
            let len = usize::from(keys.u16()?);
            let end = offset.saturating_add(len);
            string(body.get(offset..end).ok_or_else(|| malformed("a key is cut off"))?, out)?;
            out.push_str(": ");
        }
        if out.len() > nesting.bytes {
            return Err(malformed("its members share their bytes"));
        }
        nesting.values =
            nesting.values.checked_sub(1).ok_or_else(|| malformed("more values than bytes"))?;
        let kind = values.u8()?;
        let slot = values.take(width)?;
        if inlined(kind, width) {
            value(kind, slot, nesting, out)?;
        } else {
            let offset = usize::try_from(le_uint(slot)).unwrap_or(usize::MAX);
            let target = body.get(offset..).ok_or_else(|| malformed("a value is cut off"))?;
            value(kind, target, nesting, out)?;
        }
    }
    nesting.depth += 1;
    out.push(if object { '}' } else { ']' });
    Ok(())
}

/// Literals and 16-bit numbers lie in the table itself; 32-bit numbers too in a large container.
fn inlined(kind: u8, width: usize) -> bool {
    matches!(kind, 0x04..=0x06) || (width == 4 && matches!(kind, 0x07 | 0x08))
}

fn string(bytes: &[u8], out: &mut String) -> Result<(), BinlogError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("a string is not UTF-8"))?;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(())
}

/// Values of SQL types inside a document. What plain JSON text cannot hold becomes a *typed scalar*:
/// [`TYPED`], a tag, its text, [`TYPED_END`]. JSON text holds neither of these bytes as they are.
fn opaque(field: u8, raw: &[u8], out: &mut String) -> Result<(), BinlogError> {
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

    #[test]
    fn a_small_object_reads_as_text() {
        // {"a": 1, "b": [true, "x"]} as MySQL lays it out.
        let document = [
            0x00, 2, 0, 32, 0, 18, 0, 1, 0, 19, 0, 1, 0, 0x05, 1, 0, 0x02, 20, 0, b'a', b'b', 2, 0,
            12, 0, 0x04, 1, 0, 0x0c, 10, 0, 1, b'x',
        ];
        assert_eq!(to_text(&document).expect("reads"), r#"{"a": 1, "b": [true, "x"]}"#);
    }

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

    #[test]
    fn a_document_nested_in_itself_is_refused() {
        // An array whose only element points at the array.
        let document = [0x02, 1, 0, 7, 0, 0x02, 0, 0];
        assert!(to_text(&document).is_err());
    }
}
