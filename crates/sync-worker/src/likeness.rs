//! What tells the rows of a table without a key apart: a digest of all of a row's values. The shard computes it
//! of its rows as the worker does of those in the log, so a list of digests finds many rows in one reading of
//! the table. Pure.
//!
//! Rows with one digest are equal byte by byte, but for the sign of a zero. The reverse need not hold: where the shard writes a value otherwise
//! than the worker thinks, the row is not found by its digest, and is looked for by its values.

use crate::json;
use crate::literal::{self, Encoding};
use crate::net::{RowRef, Side};
use crate::render::Writer;
use ring::digest::{Context, SHA256};
use tributary_schema::quote;
use tributary_wire::{Cell, ColumnKind, ColumnShape};

/// SHA-256, over each value's length and text.
pub(crate) type Digest = [u8; 32];

/// The shard's expression for the digest of a row; `None` where a column has no text that the worker could know.
pub(crate) fn expression(writer: &Writer<'_>) -> Option<String> {
    let value = |&index: &usize| {
        let text = text(writer.shape(index), &writer.columns.encodings[index])?;
        Some(format!("IFNULL(CONCAT(LENGTH({text}),':',{text}),'-')"))
    };
    let values = writer.columns.written.iter().map(value).collect::<Option<Vec<_>>>()?;
    (!values.is_empty()).then(|| format!("SHA2(CONCAT({}),256)", values.join(",")))
}

/// The digest of a row of the log; `None` when a value of it is in pieces.
pub(crate) fn digest(writer: &Writer<'_>, row: &RowRef<'_>, side: Side) -> Option<Digest> {
    let (mut hash, mut value) = (Context::new(&SHA256), Vec::new());
    for &index in &writer.columns.written {
        let cell = row.cell(side, index).unwrap_or(Cell::Null);
        if cell == Cell::Null {
            hash.update(b"-");
            continue;
        }
        value.clear();
        let mariadb = writer.context.mariadb;
        write(&mut value, writer.shape(index), cell, row.bytes(cell), mariadb)?;
        hash.update(format!("{}:", value.len()).as_bytes());
        hash.update(&value);
    }
    hash.finish().as_ref().try_into().ok()
}

/// A digest as `SHA2` writes it.
pub(crate) fn to_hex(digest: &Digest) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The digest that `SHA2` wrote.
pub(crate) fn from_hex(hex: &[u8]) -> Option<Digest> {
    let hex = std::str::from_utf8(hex).ok().filter(|hex| hex.len() == 64)?;
    let mut digest = Digest::default();
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// The shard's expression for a value's text.
fn text(column: &ColumnShape, encoding: &Encoding) -> Option<String> {
    use ColumnKind::*;
    let name = quote(&column.name);
    Some(match (column.kind, encoding) {
        (_, Encoding::Json) => return None,
        // Without the zeros of ZEROFILL, and a BIT as the number that it is.
        (Integer | Year | Bit | Decimal, _) => format!("{name}+0"),
        (Enum | Set, _) => format!("CAST({name} AS UNSIGNED)"),
        // A FLOAT with all of its digits. MySQL cuts the last one off where the text would be too long: what it then writes
        // is marked, and no row of the log has it.
        (Float | Double, _) => {
            format!("CONCAT({name}+0e0,CONCAT({name}+0e0)+0e0={name}+0e0)")
        }
        (Date | Time | DateTime | Timestamp, _) => format!("CAST({name} AS CHAR)"),
        (Text, Encoding::Introduced(charset)) => {
            format!("CAST(CONVERT({name} USING {charset}) AS BINARY)")
        }
        (Text | Binary | Json | Geometry | Vector, _) => format!("CAST({name} AS BINARY)"),
    })
}

/// The same text of a value in the log.
fn write(
    out: &mut Vec<u8>,
    column: &ColumnShape,
    cell: Cell,
    bytes: &[u8],
    mariadb: bool,
) -> Option<()> {
    use ColumnKind::*;
    let width = if mariadb { usize::MAX } else { MYSQL_DOUBLE_MAX };
    match (column.kind, cell) {
        (_, Cell::Staged { .. }) => return None,
        (Float, Cell::F32(value)) => {
            out.extend_from_slice(double(f64::from(value), width).as_bytes());
            out.push(b'1');
        }
        (Double, Cell::F64(value)) => {
            out.extend_from_slice(double(value, width).as_bytes());
            out.push(b'1');
        }
        (Json, Cell::Bytes { .. }) if json::is_typed(bytes) => {
            out.extend_from_slice(&json::plain(bytes)?);
        }
        (_, Cell::Bytes { .. }) => out.extend_from_slice(bytes),
        _ => {
            literal::write(out, column, cell, bytes, &Encoding::AsIs).ok()?;
            out.retain(|byte| *byte != b'\'');
        }
    }
    Some(())
}

/// A longer double has an exponent at MySQL.
const MYSQL_DOUBLE_MAX: usize = 22;

/// A double as both servers write it (`my_gcvt` in `strings/dtoa.cc`): the fewest digits that mean it, with an
/// exponent where the point would be far from them, or the text longer than `width`.
fn double(value: f64, width: usize) -> String {
    const PLACES_MAX: i32 = 15;
    // The shard adds a zero as well: it has no sign then.
    let text = format!("{:e}", value + 0.0);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = digits.replace('.', "");
    let point = exponent.parse::<i32>().unwrap_or_default() + 1;
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let plain = match point {
        _ if !(1 - PLACES_MAX..=PLACES_MAX).contains(&point) => None,
        _ if point <= 0 => Some(format!("{sign}0.{}{digits}", zeros(-point))),
        _ if point >= length => Some(format!("{sign}{digits}{}", zeros(point - length))),
        _ => {
            let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or_default());
            Some(format!("{sign}{whole}.{fraction}"))
        }
    };
    plain.filter(|plain| plain.len() <= width).unwrap_or_else(|| {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{dot}{rest}e{exponent}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_is_written_as_the_servers_do() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.234_567_890_123_456_7e-4, "0.00012345678901234567"),
            (-1.234_567_890_123_456_7e-4, "-1.2345678901234567e-4"),
            (1.2345e-14, "0.000000000000012345"),
            (1.2345678e-14, "1.2345678e-14"),
            (-123_456_789_012_345.67, "-123456789012345.67"),
            (1.5, "1.5"),
            (-1.5e-3, "-0.0015"),
            (100.0, "100"),
            (123_456.75, "123456.75"),
            (1e15, "1e15"),
            (1e14, "100000000000000"),
            (1.25e20, "1.25e20"),
            (1e-20, "1e-20"),
            (f64::from(0.1_f32), "0.10000000149011612"),
            (f64::MAX, "1.7976931348623157e308"),
        ] {
            assert_eq!(double(value, MYSQL_DOUBLE_MAX), text);
        }
        assert_eq!(double(1.2345678e-14, usize::MAX), "0.000000000000012345678");
    }
}
