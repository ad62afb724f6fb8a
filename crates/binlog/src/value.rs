//! One value: where it ends, and what it becomes.

use crate::reader::{Reader, be_uint, le_uint};
use crate::{BinlogError, Server, inflate, json, numeric};
use std::borrow::Cow;
use tributary_wire::{ColumnBuffer, ColumnKind};

/// How to read one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnPlan {
    pub(crate) layout: Layout,
    pub(crate) kind: ColumnKind,
    pub(crate) unsigned: bool,
}

/// Where a value ends.
pub(crate) enum Extent {
    /// After so many bytes.
    Bytes(usize),
    /// After as many bytes as a length of this width says, which stands in front.
    Prefix(usize),
}

/// How a column's bytes lie in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// So many bytes.
    Fixed(usize),
    /// A length of so many bytes in front. `pad` is the full width of a BINARY(n), whose trailing
    /// zeros the server leaves away.
    Prefixed {
        prefix: usize,
        pad: usize,
    },
    /// MariaDB: a length of so many bytes in front of a value that is compressed.
    Compressed {
        prefix: usize,
    },
    /// DECIMAL(precision, scale).
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// TIME2, DATETIME2, TIMESTAMP2 with so many fractional digits.
    Time2(u8),
    DateTime2(u8),
    Timestamp2(u8),
    /// The formats before 5.6, which a table that was never rebuilt still has.
    OldTime,
    OldDateTime,
    OldTimestamp,
}

impl Layout {
    /// Reads the metadata of a type code. Returns layout, kind and [`tributary_wire::ColumnShape::scale`].
    pub(crate) fn read(
        code: u8,
        meta: &mut Reader<'_>,
        server: Server,
    ) -> Result<(Self, ColumnKind, u16), BinlogError> {
        use ColumnKind as K;
        let prefixed = |prefix: usize| Self::Prefixed { prefix, pad: 0 };
        let blob = |meta: &mut Reader<'_>| -> Result<usize, BinlogError> {
            at_most(4, meta).map(usize::from)
        };
        Ok(match code {
            1 => (Self::Fixed(1), K::Integer, 0),
            2 => (Self::Fixed(2), K::Integer, 0),
            3 => (Self::Fixed(4), K::Integer, 0),
            8 => (Self::Fixed(8), K::Integer, 0),
            9 => (Self::Fixed(3), K::Integer, 0),
            4 => (Self::Fixed(usize::from(meta.u8()?)), K::Float, 0),
            5 => (Self::Fixed(usize::from(meta.u8()?)), K::Double, 0),
            // MariaDB's own format of 5.3 has the same codes, and the log does not tell its fraction's width.
            7 | 11 | 12 if server == Server::MariaDb => {
                return Err(BinlogError::Unsupported(
                    "a TIME, DATETIME or TIMESTAMP column is stored in the format of MariaDB 5.3, of which the log does not tell enough: run SET GLOBAL mysql56_temporal_format=ON and ALTER TABLE … FORCE for that table, then take a new snapshot".into(),
                ));
            }
            7 => (Self::OldTimestamp, K::Timestamp, 0),
            10 | 14 => (Self::Fixed(3), K::Date, 0),
            11 => (Self::OldTime, K::Time, 0),
            12 => (Self::OldDateTime, K::DateTime, 0),
            13 => (Self::Fixed(1), K::Year, 0),
            15 | 253 => (prefixed(if meta.u16()? < 256 { 1 } else { 2 }), K::Text, 0),
            16 => {
                let (bits, bytes) = (at_most(7, meta)?, at_most(8, meta)?);
                let width = usize::from(bytes) + usize::from(bits > 0);
                if !(1..=8).contains(&width) {
                    return Err(meta.error(format!("a BIT of {width} bytes")));
                }
                (Self::Fixed(width), K::Bit, u16::from(bytes) * 8 + u16::from(bits))
            }
            17 => temporal(Self::Timestamp2, K::Timestamp, at_most(6, meta)?),
            18 => temporal(Self::DateTime2, K::DateTime, at_most(6, meta)?),
            19 => temporal(Self::Time2, K::Time, at_most(6, meta)?),
            // MariaDB: BLOB and VARCHAR … COMPRESSED.
            140 => (Self::Compressed { prefix: blob(meta)? }, K::Text, 0),
            141 => {
                let prefix = if meta.u16()? < 256 { 1 } else { 2 };
                (Self::Compressed { prefix }, K::Text, 0)
            }
            242 => (prefixed(blob(meta)?), K::Vector, 0),
            245 => (prefixed(blob(meta)?), K::Json, 0),
            246 => {
                let (precision, scale) = (meta.u8()?, meta.u8()?);
                if scale > precision || precision > 65 {
                    return Err(meta.error(format!("DECIMAL({precision},{scale})")));
                }
                (Self::Decimal { precision, scale }, K::Decimal, u16::from(scale))
            }
            249..=252 => (prefixed(blob(meta)?), K::Text, 0),
            254 => return string(meta),
            255 => (prefixed(blob(meta)?), K::Geometry, 0),
            other => {
                return Err(BinlogError::Unsupported(format!(
                    "a column has type code {other}, which this build does not carry"
                )));
            }
        })
    }

    /// True for values of variable length.
    pub(crate) fn is_sized(self) -> bool {
        matches!(self, Self::Prefixed { .. } | Self::Compressed { .. })
    }

    /// Where a value of it ends.
    pub(crate) fn extent(self) -> Extent {
        let fraction = |digits: u8| usize::from(digits.min(6)).div_ceil(2);
        Extent::Bytes(match self {
            Self::Prefixed { prefix, .. } | Self::Compressed { prefix } => {
                return Extent::Prefix(prefix.min(8));
            }
            Self::Fixed(width) => width,
            Self::Decimal { precision, scale } => numeric::decimal_bytes(precision, scale),
            Self::Time2(digits) => 3 + fraction(digits),
            Self::DateTime2(digits) => 5 + fraction(digits),
            Self::Timestamp2(digits) => 4 + fraction(digits),
            Self::OldTime => 3,
            Self::OldDateTime => 8,
            Self::OldTimestamp => 4,
        })
    }

    /// Takes one value's bytes off the row, without a length prefix.
    pub(crate) fn split<'a>(self, row: &mut Reader<'a>) -> Result<&'a [u8], BinlogError> {
        match self.extent() {
            Extent::Bytes(bytes) => row.take(bytes),
            Extent::Prefix(width) => {
                let len = row.uint(width)?;
                row.take(usize::try_from(len).unwrap_or(usize::MAX))
            }
        }
    }
}

/// A byte of metadata that no server writes larger.
fn at_most(max: u8, meta: &mut Reader<'_>) -> Result<u8, BinlogError> {
    let value = meta.u8()?;
    if value <= max { Ok(value) } else { Err(meta.error(format!("column metadata {value}"))) }
}

fn temporal(
    layout: impl Fn(u8) -> Layout,
    kind: ColumnKind,
    digits: u8,
) -> (Layout, ColumnKind, u16) {
    (layout(digits), kind, u16::from(digits))
}

/// CHAR and BINARY, ENUM and SET share a type code; the real one stands in the metadata, and a CHAR
/// wider than 255 bytes hides two bits of its length in it (`Field_string::do_save_field_metadata`).
fn string(meta: &mut Reader<'_>) -> Result<(Layout, ColumnKind, u16), BinlogError> {
    const ENUM: u8 = 247;
    const SET: u8 = 248;
    const STRING: u8 = 254;
    let (first, second) = (meta.u8()?, meta.u8()?);
    match first {
        ENUM | SET if second > 8 => return Err(meta.error(format!("members of {second} bytes"))),
        ENUM => return Ok((Layout::Fixed(usize::from(second)), ColumnKind::Enum, 0)),
        SET => return Ok((Layout::Fixed(usize::from(second)), ColumnKind::Set, 0)),
        // The two bits of its length stand here too.
        first if first | 0x30 == STRING => {}
        other => {
            return Err(BinlogError::Unsupported(format!(
                "a column has type code {other}, which this build does not carry"
            )));
        }
    }
    let width = usize::from(second) | usize::from((first & 0x30) ^ 0x30) << 4;
    let prefix = if width < 256 { 1 } else { 2 };
    let scale = u16::try_from(width).unwrap_or(u16::MAX);
    Ok((Layout::Prefixed { prefix, pad: width }, ColumnKind::Text, scale))
}

impl ColumnPlan {
    /// Writes one value, given as [`Layout::split`] returns it.
    pub(crate) fn write(self, raw: &[u8], out: &mut ColumnBuffer) -> Result<(), BinlogError> {
        match self.layout {
            Layout::Decimal { precision, scale } => numeric::decimal(raw, precision, scale, out)?,
            Layout::Time2(_) => out.push_int(numeric::time2(raw)),
            Layout::DateTime2(_) => out.push_uint(numeric::datetime2(raw)),
            Layout::Timestamp2(_) => out.push_int(numeric::timestamp2(raw)),
            Layout::OldTime => out.push_int(numeric::old_time(le_uint(raw))),
            Layout::OldDateTime => out.push_uint(numeric::old_datetime(le_uint(raw))),
            Layout::OldTimestamp => out.push_int(le_uint(raw).cast_signed() * 1_000_000),
            Layout::Fixed(_) => self.write_fixed(raw, out)?,
            Layout::Prefixed { .. } | Layout::Compressed { .. } => {
                out.push_bytes(&self.unpack(raw)?);
            }
        }
        Ok(())
    }

    fn write_fixed(self, raw: &[u8], out: &mut ColumnBuffer) -> Result<(), BinlogError> {
        match self.kind {
            ColumnKind::Integer if self.unsigned => out.push_uint(le_uint(raw)),
            ColumnKind::Integer => {
                let unused = 64 - 8 * u32::try_from(raw.len()).unwrap_or(8);
                out.push_int((le_uint(raw) << unused).cast_signed() >> unused);
            }
            ColumnKind::Float => out.push_f32(f32::from_le_bytes(exact(raw)?)),
            ColumnKind::Double => out.push_f64(f64::from_le_bytes(exact(raw)?)),
            // 0 is the year 0000; every other year is counted from 1900.
            ColumnKind::Year => out.push_uint(match le_uint(raw) {
                0 => 0,
                year => 1900 + year,
            }),
            ColumnKind::Bit => out.push_uint(be_uint(raw)),
            // DATE already lies as year << 9 | month << 5 | day; ENUM and SET are plain numbers.
            _ => out.push_uint(le_uint(raw)),
        }
        Ok(())
    }

    /// True where a value's bytes in the log are not those that it is carried as, whatever their number.
    pub(crate) fn is_packed(self) -> bool {
        self.kind == ColumnKind::Json || matches!(self.layout, Layout::Compressed { .. })
    }

    /// The bytes that a value of variable length is carried as.
    pub(crate) fn unpack(self, raw: &[u8]) -> Result<Cow<'_, [u8]>, BinlogError> {
        let pad = match self.layout {
            Layout::Compressed { .. } => return inflate::column(raw),
            Layout::Prefixed { pad, .. } => pad,
            _ => 0,
        };
        Ok(match self.kind {
            ColumnKind::Json => Cow::Owned(json::to_text(raw)?.into_bytes()),
            ColumnKind::Binary if raw.len() < pad => {
                let mut padded = raw.to_vec();
                padded.resize(pad, 0);
                Cow::Owned(padded)
            }
            _ => Cow::Borrowed(raw),
        })
    }
}

fn exact<const N: usize>(raw: &[u8]) -> Result<[u8; N], BinlogError> {
    raw.try_into()
        .map_err(|_| BinlogError::malformed("rows", format!("a float of {} bytes", raw.len())))
}
