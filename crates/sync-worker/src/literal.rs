//! One value as SQL text. Pure; the session it is meant for has `NAMES binary`, time zone `+00:00`
//! and no `NO_BACKSLASH_ESCAPES`.

use crate::json;
use tributary_wire::{Cell, ColumnKind, ColumnShape};

/// How the target wants the bytes of a character value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As they are: the target's column has the source's character set.
    #[default]
    AsIs,
    /// Introduced as this character set, so that the server converts them, or, for JSON, takes them.
    Introduced(String),
    /// As a JSON document of MySQL, whose values have types that JSON text cannot say.
    Json,
}

/// A cell does not hold what its column's kind says: another shape than the rows were written with,
/// or a damaged batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: a {kind:?} cannot hold {found}")]
pub struct LiteralError {
    /// The column's name.
    pub column: String,
    /// What the column should hold.
    pub kind: ColumnKind,
    /// What the cell held.
    pub found: String,
}

/// Appends the value of `cell`, whose bytes, where it has any, are `bytes`.
///
/// # Errors
/// [`LiteralError`] when the cell is not of the column's kind.
pub fn write(
    out: &mut Vec<u8>,
    column: &ColumnShape,
    cell: Cell,
    bytes: &[u8],
    encoding: &Encoding,
) -> Result<(), LiteralError> {
    let refuse = || LiteralError {
        column: column.name.clone(),
        kind: column.kind,
        found: match cell {
            Cell::Bytes { len, .. } => format!("{len} bytes"),
            other => format!("{other:?}"),
        },
    };
    if cell == Cell::Null {
        out.extend_from_slice(b"NULL");
        return Ok(());
    }
    use ColumnKind::*;
    match (column.kind, cell) {
        (Integer | Bit | Year | Enum | Set, Cell::Int(value)) => {
            if value < 0 {
                out.push(b'-');
            }
            digits(out, value.unsigned_abs(), 1);
        }
        (Integer | Bit | Set, Cell::UInt(value)) => digits(out, value, 1),
        // With an exponent it is a DOUBLE to the server; without one it would be a DECIMAL.
        (Float, Cell::F32(value)) if value.is_finite() => {
            text(out, format_args!("{:e}", f64::from(value)));
        }
        (Double, Cell::F64(value)) if value.is_finite() => text(out, format_args!("{value:e}")),
        (Decimal, Cell::Bytes { .. }) if is_decimal(bytes) => out.extend_from_slice(bytes),
        (Date, Cell::Int(value)) => date(out, value).ok_or_else(refuse)?,
        (Time, Cell::Int(value)) => time(out, value, column.scale),
        (DateTime, Cell::Int(value)) => datetime(out, value, column.scale).ok_or_else(refuse)?,
        (Timestamp, Cell::Int(value)) => timestamp(out, value, column.scale).ok_or_else(refuse)?,
        (Json, Cell::Bytes { .. }) if json::is_typed(bytes) => {
            if *encoding == Encoding::Json {
                json::expression(out, bytes).ok_or_else(refuse)?;
            } else {
                out.extend_from_slice(b"_utf8mb4");
                quoted(out, &json::plain(bytes).ok_or_else(refuse)?);
            }
        }
        (Json, Cell::Bytes { .. }) if *encoding == Encoding::Json => {
            out.extend_from_slice(b"_utf8mb4");
            quoted(out, bytes);
        }
        (Text | Binary | Json | Geometry | Vector, Cell::Bytes { .. }) => {
            if let Encoding::Introduced(charset) = encoding {
                out.push(b'_');
                out.extend_from_slice(charset.as_bytes());
            }
            quoted(out, bytes);
        }
        _ => return Err(refuse()),
    }
    Ok(())
}

/// True for a kind whose values are written as strings of bytes.
pub(crate) fn is_bytes(kind: ColumnKind) -> bool {
    use ColumnKind::{Binary, Geometry, Json, Text, Vector};
    matches!(kind, Text | Binary | Json | Geometry | Vector)
}

/// Appends a variable that holds the bytes of a value.
pub(crate) fn variable(out: &mut Vec<u8>, name: &str, encoding: &Encoding) {
    match encoding {
        Encoding::AsIs => out.extend_from_slice(name.as_bytes()),
        Encoding::Introduced(charset) => text(out, format_args!("CONVERT({name} USING {charset})")),
        Encoding::Json => text(out, format_args!("CONVERT({name} USING utf8mb4)")),
    }
}

/// Appends `bytes` as a quoted string that means exactly these bytes to a session with `NAMES binary`.
pub fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push(b'\'');
    let mut rest = bytes;
    while let Some((at, escape)) =
        rest.iter().enumerate().find_map(|(at, b)| Some((at, escape(*b)?)))
    {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', escape]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

/// What stands behind a backslash for a byte that may not stand for itself.
fn escape(byte: u8) -> Option<u8> {
    match byte {
        0 => Some(b'0'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        0x1a => Some(b'Z'),
        b'\\' | b'\'' | b'"' => Some(byte),
        _ => None,
    }
}

/// Digits, at most one point, an optional sign: nothing that could end the literal.
fn is_decimal(bytes: &[u8]) -> bool {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    points <= 1
        && digits.len() > points
        && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// `year << 9 | month << 5 | day`.
fn date(out: &mut Vec<u8>, packed: i64) -> Option<()> {
    let packed = u32::try_from(packed).ok()?;
    let (year, month, day) = (packed >> 9, (packed >> 5) & 15, packed & 31);
    if year > 9999 {
        return None;
    }
    out.push(b'\'');
    apart(out, b'-', [(year.into(), 4), (month.into(), 2), (day.into(), 2)]);
    out.push(b'\'');
    Some(())
}

/// Signed microseconds, up to 838 hours and more.
fn time(out: &mut Vec<u8>, value_us: i64, scale: u16) {
    let us = value_us.unsigned_abs();
    let (seconds, fraction) = (us / 1_000_000, us % 1_000_000);
    out.extend_from_slice(if value_us < 0 { b"'-" } else { b"'" });
    apart(out, b':', [(seconds / 3600, 2), (seconds / 60 % 60, 2), (seconds % 60, 2)]);
    fraction_of_second(out, fraction, scale);
    out.push(b'\'');
}

/// MySQL's own packing: see [`ColumnKind::DateTime`].
fn datetime(out: &mut Vec<u8>, packed: i64, scale: u16) -> Option<()> {
    let packed = u64::try_from(packed).ok()?;
    let (whole, fraction) = (packed >> 24, packed & 0xff_ffff);
    let (ymd, hms) = (whole >> 17, whole & 0x1_ffff);
    let (months, day) = (ymd >> 5, ymd & 31);
    let (year, month) = (months / 13, months % 13);
    if year > 9999 || fraction > 999_999 {
        return None;
    }
    out.push(b'\'');
    apart(out, b'-', [(year, 4), (month, 2), (day, 2)]);
    out.push(b' ');
    apart(out, b':', [(hms >> 12, 2), ((hms >> 6) & 63, 2), (hms & 63, 2)]);
    fraction_of_second(out, fraction, scale);
    out.push(b'\'');
    Some(())
}

/// Microseconds since 1970 in UTC; 0 is the zero timestamp.
fn timestamp(out: &mut Vec<u8>, value_us: i64, scale: u16) -> Option<()> {
    if value_us == 0 {
        out.extend_from_slice(b"'0000-00-00 00:00:00");
    } else {
        let us = u64::try_from(value_us).ok()?;
        let (seconds, fraction) = (us / 1_000_000, us % 1_000_000);
        let (year, month, day) = civil(seconds / 86_400);
        if year > 9999 {
            return None;
        }
        out.push(b'\'');
        apart(out, b'-', [(year, 4), (month, 2), (day, 2)]);
        out.push(b' ');
        apart(out, b':', [(seconds / 3600 % 24, 2), (seconds / 60 % 60, 2), (seconds % 60, 2)]);
        fraction_of_second(out, fraction, scale);
    }
    out.push(b'\'');
    Some(())
}

/// The Gregorian date of a day since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// `.123` for 123 ms at scale 3; nothing at scale 0. Finer digits than the column has must not be
/// written, or the server would round them up.
fn fraction_of_second(out: &mut Vec<u8>, fraction_us: u64, scale: u16) {
    let scale = scale.min(6);
    if scale > 0 {
        out.push(b'.');
        digits(out, fraction_us / 10u64.pow(6 - u32::from(scale)), scale.into());
    }
}

/// Three numbers, each with its width.
fn apart(out: &mut Vec<u8>, separator: u8, numbers: [(u64, usize); 3]) {
    for (nth, (number, width)) in numbers.into_iter().enumerate() {
        if nth > 0 {
            out.push(separator);
        }
        digits(out, number, width);
    }
}

/// A number, with zeros in front up to `width` digits. Most of a row is such numbers, and
/// the machinery of `format_args!` takes longer than their digits do.
fn digits(out: &mut Vec<u8>, number: u64, width: usize) {
    let (mut buffer, mut at, mut rest) = ([b'0'; 20], 20, number);
    while rest > 0 {
        at -= 1;
        buffer[at] += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    out.extend_from_slice(&buffer[at.min(buffer.len() - width)..]);
}

fn text(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
#[path = "literal_tests.rs"]
mod tests;
