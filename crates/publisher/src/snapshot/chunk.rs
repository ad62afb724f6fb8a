//! Rows as the server answers a SELECT with them, in wire form.

use super::columns::Columns;
use super::json;
use crate::Error;
use mysql_async::Value;
use tributary_wire::{Cell, ColumnBuffer, ColumnKind, ColumnShape, TableShape};

/// Rows in wire form, one after another.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    /// Where each cell ends.
    ends: Vec<usize>,
    columns: usize,
}

// === impl Arena ===

impl Arena {
    /// For rows of so many columns.
    pub(crate) fn new(columns: usize) -> Self {
        Self { columns, ..Self::default() }
    }

    /// How many rows it holds.
    pub(crate) fn len(&self) -> usize {
        self.ends.len().checked_div(self.columns).unwrap_or(0)
    }

    /// How many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// One cell.
    pub(crate) fn cell(&self, row: usize, column: usize) -> &[u8] {
        let index = row * self.columns + column;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// How many bytes a row takes.
    pub(crate) fn row_bytes(&self, row: usize) -> usize {
        (0..self.columns).map(|column| self.cell(row, column).len()).sum()
    }

    /// The key of a row, its cells one after another.
    pub(crate) fn key(&self, row: usize, shape: &TableShape) -> Vec<u8> {
        let cells = shape.primary_key.iter().map(|&column| self.cell(row, usize::from(column)));
        cells.flatten().copied().collect()
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::Snapshot`] for a value that its column cannot hold.
    pub(crate) fn push(&mut self, columns: &Columns, row: Vec<Value>) -> Result<(), Error> {
        let shape = &columns.whole;
        let (mut cell, mut masked) = (ColumnBuffer::default(), ColumnBuffer::default());
        for (nth, (column, value)) in shape.columns.iter().zip(row).enumerate() {
            cell.clear();
            let strange = || Error::Snapshot {
                reason: format!(
                    "{}.{}: column {} ({:?}) holds a value that this build does not know",
                    shape.database, shape.table, column.name, column.kind
                ),
            };
            write(column, &value, &mut cell).ok_or_else(strange)?;
            let Some(selection) = &columns.selection else {
                self.add(cell.encoded());
                continue;
            };
            if selection.place(nth).is_some() {
                masked.clear();
                selection.write(nth, cell.encoded(), &mut masked).map_err(|_| strange())?;
                self.add(masked.encoded());
            }
        }
        Ok(())
    }

    fn add(&mut self, cell: &[u8]) {
        self.bytes.extend_from_slice(cell);
        self.ends.push(self.bytes.len());
    }
}

/// The bytes of a cell in wire form; `None` for one that is not bytes.
pub(crate) fn cell_bytes(encoded: &[u8]) -> Option<&[u8]> {
    match tributary_wire::cells(encoded).ok()?.first()? {
        Cell::Bytes { start, len } => encoded.get(*start as usize..*start as usize + *len as usize),
        _ => None,
    }
}

/// As the row decoder writes the same value out of the binlog: keys of both are compared.
fn write(column: &ColumnShape, value: &Value, out: &mut ColumnBuffer) -> Option<()> {
    use ColumnKind as K;
    match (column.kind, value) {
        (_, Value::NULL) => out.push_null(),
        (K::Integer | K::Year | K::Enum | K::Set, value) => integer(column, value, out)?,
        (K::Float, Value::Float(value)) => out.push_f32(*value),
        (K::Double, Value::Double(value)) => out.push_f64(*value),
        (K::Decimal, Value::Bytes(digits)) => out.push_bytes(&plain_digits(digits)),
        (K::Bit, Value::Bytes(bytes)) if bytes.len() <= 8 => {
            out.push_uint(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
        }
        (K::Date, Value::Date(year, month, day, ..)) => {
            out.push_uint(u64::from(*year) << 9 | u64::from(*month) << 5 | u64::from(*day));
        }
        (K::DateTime, Value::Date(..)) => out.push_uint(packed(value)?),
        (K::Timestamp, Value::Date(..)) => out.push_int(since_epoch(value)?),
        (K::Time, &Value::Time(negative, days, hours, minutes, seconds, micros)) => {
            let hours = i64::from(days) * 24 + i64::from(hours);
            let seconds = (hours * 60 + i64::from(minutes)) * 60 + i64::from(seconds);
            let total = seconds * 1_000_000 + i64::from(micros);
            out.push_int(if negative { -total } else { total });
        }
        (K::Json, Value::Bytes(answer)) => out.push_bytes(&json::carried(answer)?),
        (K::Text | K::Binary | K::Geometry | K::Vector, Value::Bytes(bytes)) => {
            out.push_bytes(bytes);
        }
        _ => return None,
    }
    Some(())
}

fn integer(column: &ColumnShape, value: &Value, out: &mut ColumnBuffer) -> Option<()> {
    let signed = column.kind == ColumnKind::Integer && !column.unsigned;
    match *value {
        Value::Int(value) if signed => out.push_int(value),
        Value::UInt(value) if signed => out.push_int(i64::try_from(value).ok()?),
        Value::Int(value) => out.push_uint(u64::try_from(value).ok()?),
        Value::UInt(value) => out.push_uint(value),
        _ => return None,
    }
    Some(())
}

/// Without the zeros that ZEROFILL puts in front.
fn plain_digits(digits: &[u8]) -> Vec<u8> {
    let (sign, rest) = match digits.split_first() {
        Some((b'-', rest)) => (&b"-"[..], rest),
        _ => (&b""[..], digits),
    };
    let zeros = rest.windows(2).take_while(|two| two[0] == b'0' && two[1] != b'.').count();
    [sign, &rest[zeros..]].concat()
}

/// MySQL's own packing of a DATETIME.
fn packed(value: &Value) -> Option<u64> {
    let &Value::Date(year, month, day, hour, minute, second, micros) = value else { return None };
    let date = (u64::from(year) * 13 + u64::from(month)) << 5 | u64::from(day);
    let time = u64::from(hour) << 12 | u64::from(minute) << 6 | u64::from(second);
    Some((date << 17 | time) << 24 | u64::from(micros))
}

/// Microseconds since 1970, 0 for the zero timestamp. The session's time zone is UTC.
fn since_epoch(value: &Value) -> Option<i64> {
    let &Value::Date(year, month, day, hour, minute, second, micros) = value else { return None };
    if year == 0 {
        return Some(0);
    }
    let days = days_since_epoch(i64::from(year), i64::from(month), i64::from(day));
    let seconds = (days * 24 + i64::from(hour)) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some(seconds * 1_000_000 + i64::from(micros))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant, `days_from_civil`).
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = (month + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_from_1970() {
        let at = |y, m, d, h| since_epoch(&Value::Date(y, m, d, h, 0, 0, 7));
        assert_eq!(at(1970, 1, 1, 0), Some(7));
        assert_eq!(at(2024, 2, 29, 12), Some(1_709_208_000_000_007));
        assert_eq!(at(2038, 1, 19, 3), Some(2_147_482_800_000_007));
        assert_eq!(at(0, 0, 0, 0), Some(0));
    }

    #[test]
    fn digits_lose_the_zeros_that_only_fill() {
        for (printed, plain) in [
            ("0.50", "0.50"),
            ("-0.50", "-0.50"),
            ("000012.50", "12.50"),
            ("0", "0"),
            ("0000", "0"),
            ("00000.00", "0.00"),
        ] {
            assert_eq!(plain_digits(printed.as_bytes()), plain.as_bytes(), "{printed}");
        }
    }
}
