//! One value of one column.

use crate::DecodeError;
use rmp::Marker;

/// A decoded value. What the number or the bytes mean follows from the column's
/// [`crate::ColumnKind`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// SQL NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer too large for `Int`; smaller ones arrive as `Int`.
    UInt(u64),
    /// A FLOAT.
    F32(f32),
    /// A DOUBLE.
    F64(f64),
    /// Bytes, by where they stand in the batch's body: see [`crate::Batch::bytes`].
    Bytes {
        /// Offset in the body.
        start: u32,
        /// How many bytes.
        len: u32,
    },
    /// A value that went ahead in pieces, because its row is too large for one message: the pieces
    /// whose changes, or snapshot items, ended at the parts from `part` on, in order.
    Staged {
        /// [`crate::Position::part`] behind the first piece.
        part: u64,
        /// How many pieces.
        count: u32,
    },
}

/// The MessagePack extension type of [`Cell::Staged`]: `part` (8 bytes) and `count` (4), big-endian.
const STAGED: i8 = 1;
const STAGED_BYTES: u8 = 12;

/// The values of one column, already in wire form, in row order. What the row decoder writes to.
#[derive(Debug, Clone, Default)]
pub struct ColumnBuffer {
    encoded: Vec<u8>,
    len: u32,
}

// === impl ColumnBuffer ===

impl ColumnBuffer {
    /// NULL.
    pub fn push_null(&mut self) {
        self.encoded.push(Marker::Null.to_u8());
        self.len += 1;
    }

    /// A signed integer, in the fewest bytes that hold it.
    pub fn push_int(&mut self, value: i64) {
        // Writing to a Vec cannot fail.
        let _ = rmp::encode::write_sint(&mut self.encoded, value);
        self.len += 1;
    }

    /// An unsigned integer, in the fewest bytes that hold it.
    pub fn push_uint(&mut self, value: u64) {
        let _ = rmp::encode::write_uint(&mut self.encoded, value);
        self.len += 1;
    }

    /// A single-precision number.
    pub fn push_f32(&mut self, value: f32) {
        let _ = rmp::encode::write_f32(&mut self.encoded, value);
        self.len += 1;
    }

    /// A double-precision number.
    pub fn push_f64(&mut self, value: f64) {
        let _ = rmp::encode::write_f64(&mut self.encoded, value);
        self.len += 1;
    }

    /// Raw bytes. Longer than 4 GiB cannot come out of MySQL.
    pub fn push_bytes(&mut self, value: &[u8]) {
        let _ = rmp::encode::write_bin(&mut self.encoded, value);
        self.len += 1;
    }

    /// A value that went ahead in pieces; see [`Cell::Staged`].
    pub fn push_staged(&mut self, part: u64, count: u32) {
        let _ = rmp::encode::write_ext_meta(&mut self.encoded, u32::from(STAGED_BYTES), STAGED);
        self.encoded.extend_from_slice(&part.to_be_bytes());
        self.encoded.extend_from_slice(&count.to_be_bytes());
        self.len += 1;
    }

    /// One value in wire form, as [`ColumnBuffer::encoded`] of another buffer has it.
    pub fn push_encoded(&mut self, value: &[u8]) {
        self.encoded.extend_from_slice(value);
        self.len += 1;
    }

    /// Appends values that another buffer holds.
    pub fn append(&mut self, other: &ColumnBuffer) {
        self.encoded.extend_from_slice(&other.encoded);
        self.len += other.len;
    }

    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.encoded.clear();
        self.len = 0;
    }

    /// Cuts it back to an earlier length in bytes and in values.
    pub(crate) fn truncate(&mut self, bytes: usize, len: u32) {
        self.encoded.truncate(bytes);
        self.len = len;
    }

    /// How many values it holds.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True when it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values in wire form, one after another.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

/// The values of a key in wire form, one after another ([`crate::SnapshotCursor::key`]); the bytes of a
/// [`Cell::Bytes`] lie in `encoded` itself.
///
/// # Errors
/// [`DecodeError`] when it is damaged.
pub fn cells(encoded: &[u8]) -> Result<Vec<Cell>, DecodeError> {
    let (mut cells, mut at) = (Vec::new(), 0);
    while at < encoded.len() {
        cells.push(read(encoded, &mut at)?);
    }
    Ok(cells)
}

/// The same values, each in wire form; none where they are damaged.
pub fn split_cells(encoded: &[u8]) -> Vec<&[u8]> {
    let (mut cells, mut at) = (Vec::new(), 0);
    while at < encoded.len() {
        let start = at;
        if read(encoded, &mut at).is_err() {
            return Vec::new();
        }
        cells.push(&encoded[start..at]);
    }
    cells
}

/// Reads one value at `*at` and moves past it.
pub(crate) fn read(body: &[u8], at: &mut usize) -> Result<Cell, DecodeError> {
    let mut rest = body.get(*at..).unwrap_or_default();
    let available = rest.len();
    let marker = rmp::decode::read_marker(&mut rest).map_err(|e| DecodeError::damaged(e.0))?;
    let cell = match marker {
        Marker::Null => Cell::Null,
        Marker::FixPos(v) => Cell::Int(i64::from(v)),
        Marker::FixNeg(v) => Cell::Int(i64::from(v)),
        Marker::U8 => Cell::Int(i64::from(take::<1>(&mut rest)?[0])),
        Marker::U16 => Cell::Int(i64::from(u16::from_be_bytes(take(&mut rest)?))),
        Marker::U32 => Cell::Int(i64::from(u32::from_be_bytes(take(&mut rest)?))),
        Marker::U64 => {
            let value = u64::from_be_bytes(take(&mut rest)?);
            i64::try_from(value).map_or(Cell::UInt(value), Cell::Int)
        }
        Marker::I8 => Cell::Int(i64::from(i8::from_be_bytes(take(&mut rest)?))),
        Marker::I16 => Cell::Int(i64::from(i16::from_be_bytes(take(&mut rest)?))),
        Marker::I32 => Cell::Int(i64::from(i32::from_be_bytes(take(&mut rest)?))),
        Marker::I64 => Cell::Int(i64::from_be_bytes(take(&mut rest)?)),
        Marker::F32 => Cell::F32(f32::from_be_bytes(take(&mut rest)?)),
        Marker::F64 => Cell::F64(f64::from_be_bytes(take(&mut rest)?)),
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
            let len = match marker {
                Marker::Bin8 => u32::from(take::<1>(&mut rest)?[0]),
                Marker::Bin16 => u32::from(u16::from_be_bytes(take(&mut rest)?)),
                _ => u32::from_be_bytes(take(&mut rest)?),
            };
            let start = *at + (available - rest.len());
            let tail = rest.get(len as usize..).ok_or_else(|| {
                DecodeError::damaged(format!("a value of {len} bytes ends after {}", rest.len()))
            })?;
            rest = tail;
            // A body is at most u32::MAX bytes, checked before it was unpacked.
            Cell::Bytes { start: u32::try_from(start).map_err(DecodeError::damaged)?, len }
        }
        Marker::Ext8 => {
            let head = take::<2>(&mut rest)?;
            if head != [STAGED_BYTES, STAGED.cast_unsigned()] {
                return Err(DecodeError::damaged(format!("extension {head:?} is not a cell")));
            }
            let part = u64::from_be_bytes(take(&mut rest)?);
            Cell::Staged { part, count: u32::from_be_bytes(take(&mut rest)?) }
        }
        other => return Err(DecodeError::damaged(format!("{other:?} is not a cell"))),
    };
    *at += available - rest.len();
    Ok(cell)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (head, tail) =
        rest.split_first_chunk::<N>().ok_or_else(|| DecodeError::damaged("a value is cut off"))?;
    *rest = tail;
    Ok(*head)
}
