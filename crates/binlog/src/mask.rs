//! What stands in a batch in place of a value.

use crate::BinlogError;
use crate::reader::be_uint;
use crate::select::{Digest, Room, constant};
use std::borrow::Cow;
use tributary_wire::{Cell, ColumnBuffer, ColumnKind, ColumnShape};

/// The form of a hash: what its column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mask {
    /// So many hexadecimal digits, filled up with zero bytes to `pad` (BINARY(n)).
    Text {
        digits: usize,
        pad: usize,
    },
    /// A JSON string of hexadecimal digits.
    Json,
    /// A number of at most so many bits, not negative.
    Integer {
        bits: u32,
    },
    /// An integer as FLOAT or DOUBLE, within what each holds exactly.
    Float,
    Double,
    /// So many decimal digits, the last `scale` of them behind the point.
    Decimal {
        digits: u32,
        scale: u32,
    },
}

/// SHA-256 as hexadecimal digits.
const DIGITS_MAX: usize = 64;

/// The empty value of a column's type, as MySQL puts it into a NOT NULL column that an INSERT does not
/// name: 0, '', the zero date, the first member of an ENUM. `None` for a type that has none.
pub(crate) fn empty(shape: &ColumnShape) -> Option<ColumnBuffer> {
    use ColumnKind as K;
    Some(constant(|out| match shape.kind {
        K::Float => out.push_f32(0.0),
        K::Double => out.push_f64(0.0),
        K::Decimal => out.push_bytes(b"0"),
        K::Text => out.push_bytes(b""),
        K::Binary => out.push_bytes(&vec![0; usize::from(shape.scale)]),
        K::Json => out.push_bytes(b"null"),
        K::Enum => out.push_int(1),
        K::Geometry | K::Vector => {}
        K::Integer | K::Bit | K::Year | K::Date | K::Time | K::DateTime | K::Timestamp | K::Set => {
            out.push_int(0);
        }
    }))
    .filter(|value| !value.is_empty())
}

impl Mask {
    /// The hash's form in a column whose values have so much room; `None` for a type that cannot hold
    /// one.
    pub(crate) fn new(shape: &ColumnShape, room: Room) -> Option<Self> {
        let bits = u32::try_from(room.bytes).unwrap_or(8).min(8) * 8;
        let scale = u32::from(shape.scale);
        Some(match shape.kind {
            ColumnKind::Text | ColumnKind::Binary if room.bytes == 0 => return None,
            ColumnKind::Text => {
                let digits = room.bytes / bytes_per_character(shape.collation)?;
                Self::Text { digits: digits.min(DIGITS_MAX), pad: 0 }
            }
            ColumnKind::Binary => {
                Self::Text { digits: room.bytes.min(DIGITS_MAX), pad: usize::from(shape.scale) }
            }
            ColumnKind::Json => Self::Json,
            ColumnKind::Integer if shape.unsigned => Self::Integer { bits },
            ColumnKind::Integer => Self::Integer { bits: bits.saturating_sub(1) },
            ColumnKind::Bit => Self::Integer { bits: scale.min(64) },
            ColumnKind::Float => Self::Float,
            ColumnKind::Double => Self::Double,
            ColumnKind::Decimal => Self::Decimal { digits: room.digits.min(18), scale },
            _ => return None,
        })
    }

    /// How many hexadecimal digits of the hash are kept; none of a number's.
    pub(crate) fn digits(self) -> usize {
        match self {
            Self::Text { digits, .. } => digits,
            _ => 0,
        }
    }

    /// Writes the hash of one value, given in wire form.
    pub(crate) fn write(
        self,
        cell: &[u8],
        digest: &dyn Digest,
        out: &mut ColumnBuffer,
    ) -> Result<(), BinlogError> {
        self.put(&digest.digest(&plain(cell)?), out);
        Ok(())
    }

    /// Writes a hash.
    pub(crate) fn put(self, hash: &[u8; 32], out: &mut ColumnBuffer) {
        let number = be_uint(&hash[..8]);
        let below = |bits: u32| number.checked_shr(64 - bits).unwrap_or(0);
        let hex = || hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match self {
            Self::Text { digits, pad } => {
                let mut text = hex().into_bytes();
                text.truncate(digits);
                text.resize(text.len().max(pad), 0);
                out.push_bytes(&text);
            }
            Self::Json => out.push_bytes(format!("\"{}\"", hex()).as_bytes()),
            Self::Integer { bits } => out.push_uint(below(bits)),
            #[expect(clippy::cast_precision_loss, reason = "24 bits fit a FLOAT, 53 a DOUBLE")]
            Self::Float => out.push_f32(below(24) as f32),
            #[expect(clippy::cast_precision_loss, reason = "24 bits fit a FLOAT, 53 a DOUBLE")]
            Self::Double => out.push_f64(below(53) as f64),
            Self::Decimal { digits, scale } => {
                out.push_bytes(decimal(number % 10_u64.pow(digits), scale).as_bytes());
            }
        }
    }
}

/// `value` with its last `scale` digits behind the point.
fn decimal(value: u64, scale: u32) -> String {
    let scale = scale as usize;
    let mut text = format!("{value:0>width$}", width = scale + 1);
    if scale > 0 {
        text.insert(text.len() - scale, '.');
    }
    text
}

/// The value as an operator would hash it elsewhere, to look for it in the copy.
fn plain(cell: &[u8]) -> Result<Cow<'_, [u8]>, BinlogError> {
    let strange = || BinlogError::malformed("rows", "a cell that is none");
    let cells = tributary_wire::cells(cell).map_err(|_| strange())?;
    let text = match cells.first() {
        Some(Cell::Bytes { start, len }) => {
            let bytes = cell.get(*start as usize..).and_then(|rest| rest.get(..*len as usize));
            return bytes.map(Cow::Borrowed).ok_or_else(strange);
        }
        Some(Cell::Int(value)) => value.to_string(),
        Some(Cell::UInt(value)) => value.to_string(),
        Some(Cell::F32(value)) => value.to_string(),
        Some(Cell::F64(value)) => value.to_string(),
        Some(Cell::Null | Cell::Staged { .. }) | None => return Err(strange()),
    };
    Ok(Cow::Owned(text.into_bytes()))
}

/// The most bytes that a character has in a collation's character set; four where the collation is not
/// known. `None` for a set whose digits are not ASCII (UCS-2, UTF-16, UTF-32). The ids stand in
/// `information_schema.collations`; MariaDB's NO PAD ones are those of their like and 1024, and its UCA 14
/// ones begin at 2048, 256 for each character set.
fn bytes_per_character(collation: u16) -> Option<usize> {
    let id = if (1024..2048).contains(&collation) { collation - 1024 } else { collation };
    Some(match id {
        35 | 54..=56 | 60..=62 | 90 | 101..=124 | 128..=151 | 159..=183 | 2560..=3327 => {
            return None;
        }
        33 | 76 | 83 | 192..=215 | 223 | 12 | 91 | 97 | 98 | 2048..=2303 => 3,
        1 | 84 | 13 | 88 | 19 | 85 | 24 | 86 | 28 | 87 | 95 | 96 => 2,
        45 | 46 | 224..=247 | 248..=250 | 0 | 255.. => 4,
        _ => 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_its_digits_behind_the_point() {
        assert_eq!(decimal(12345, 2), "123.45");
        assert_eq!(decimal(5, 3), "0.005");
        assert_eq!(decimal(7, 0), "7");
    }

    #[test]
    fn a_cell_is_its_bytes_whatever_their_length() {
        for length in [0, 1, 255, 256, 65_535, 65_536] {
            let value = vec![7; length];
            let cell = constant(|out| out.push_bytes(&value));
            assert_eq!(plain(cell.encoded()).expect("bytes"), value);
        }
    }

    #[test]
    fn widths_are_counted_in_characters_of_the_collations_set() {
        // latin1_swedish_ci, utf8mb3_general_ci, utf8mb4_0900_ai_ci, gbk_chinese_ci, utf16_general_ci,
        // utf8mb4_uca1400_ai_ci, utf8mb3_general_nopad_ci
        let bytes = [8, 33, 255, 28, 54, 2304, 1057].map(bytes_per_character);
        assert_eq!(bytes, [Some(1), Some(3), Some(4), Some(2), None, Some(4), Some(3)]);
    }
}
