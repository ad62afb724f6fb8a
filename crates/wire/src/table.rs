//! What a table looked like when its rows were written.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// A table as its TABLE_MAP event described it (`binlog_row_metadata=FULL`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableShape {
    /// Database on the device.
    pub database: String,
    /// Table on the device.
    pub table: String,
    /// Columns in table order, at most 4096.
    #[serde(deserialize_with = "columns")]
    pub columns: Vec<ColumnShape>,
    /// Indexes into `columns` of the primary key, in key order; empty for a table without one.
    pub primary_key: Vec<u16>,
}

/// One column of a [`TableShape`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ColumnShape {
    /// Its name.
    pub name: String,
    /// How its cells are to be read.
    pub kind: ColumnKind,
    /// UNSIGNED, for numbers.
    pub unsigned: bool,
    /// May hold NULL.
    pub nullable: bool,
    /// Collation id of a character column (`information_schema.collations.id`), 63 for binary
    /// strings, 0 where it has no meaning.
    pub collation: u16,
    /// Digits after the point of a temporal or DECIMAL value; width in bytes of a CHAR(n) or BINARY(n), in
    /// bits of a BIT(n).
    pub scale: u16,
    /// How much it holds: bytes of an integer or of a string, all digits of a DECIMAL, members of an ENUM
    /// or SET. 0 where the source does not tell.
    #[serde(default)]
    pub size: u32,
}

/// What a cell of a column means. The number is what stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum ColumnKind {
    /// TINYINT to BIGINT: an integer.
    Integer = 1,
    /// FLOAT: a 32-bit float.
    Float = 2,
    /// DOUBLE: a 64-bit float.
    Double = 3,
    /// DECIMAL: its digits as text.
    Decimal = 4,
    /// BIT(1..64): an unsigned integer.
    Bit = 5,
    /// YEAR: the year, or 0.
    Year = 6,
    /// DATE: `year << 9 | month << 5 | day`, each as stored, zero and partial dates included.
    Date = 7,
    /// TIME: signed microseconds.
    Time = 8,
    /// DATETIME: `((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second`, then
    /// `<< 24 | microsecond` (MySQL's own packing, `my_datetime_packed_to_binary`).
    DateTime = 9,
    /// TIMESTAMP: microseconds since 1970-01-01 00:00:00 UTC; 0 is MySQL's zero timestamp.
    Timestamp = 10,
    /// CHAR, VARCHAR, TEXT: bytes in the column's own character set.
    Text = 11,
    /// BINARY, VARBINARY, BLOB: bytes, a BINARY(n) at its full width.
    Binary = 12,
    /// ENUM: the member's number, 0 for the empty error value.
    Enum = 13,
    /// SET: a bit mask.
    Set = 14,
    /// JSON: its text in UTF-8. A value that JSON text cannot hold stands in it as a *typed scalar*:
    /// byte 0x01, a tag (`N` DECIMAL, `D` DATE, `T` TIME, `S` DATETIME, `Z` TIMESTAMP, `O` opaque), its
    /// text, byte 0x02; see `schemas/wire/batch.md`.
    Json = 15,
    /// GEOMETRY: SRID (4 bytes) and WKB, as MySQL stores it.
    Geometry = 16,
    /// VECTOR: 32-bit floats, little-endian, as MySQL stores it.
    Vector = 17,
}

/// No table of MySQL or MariaDB has more (`MAX_FIELDS`, `sql/sql_const.h`).
const COLUMNS_MAX: usize = 4096;

/// Reads no more columns than a table can have.
fn columns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ColumnShape>, D::Error> {
    struct Columns;
    impl<'de> Visitor<'de> for Columns {
        type Value = Vec<ColumnShape>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {COLUMNS_MAX} columns")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut columns = Vec::new();
            while let Some(column) = seq.next_element()? {
                if columns.len() == COLUMNS_MAX {
                    return Err(A::Error::invalid_length(COLUMNS_MAX + 1, &self));
                }
                columns.push(column);
            }
            Ok(columns)
        }
    }
    deserializer.deserialize_seq(Columns)
}

// === impl TableShape ===

impl TableShape {
    /// The columns that identify a row: the primary key, or every column where there is none.
    pub fn identity(&self) -> Vec<u16> {
        if self.primary_key.is_empty() {
            (0..u16::try_from(self.columns.len()).unwrap_or(u16::MAX)).collect()
        } else {
            self.primary_key.clone()
        }
    }

    /// True when rows can be told apart by a primary key.
    pub fn has_key(&self) -> bool {
        !self.primary_key.is_empty()
    }
}

// === impl ColumnKind ===

impl From<ColumnKind> for u8 {
    fn from(kind: ColumnKind) -> Self {
        kind as u8
    }
}

impl TryFrom<u8> for ColumnKind {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        use ColumnKind::*;
        const ALL: [ColumnKind; 17] = [
            Integer, Float, Double, Decimal, Bit, Year, Date, Time, DateTime, Timestamp, Text,
            Binary, Enum, Set, Json, Geometry, Vector,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == code).ok_or_else(|| {
            format!("column kind {code} is unknown to this build: upgrade the sync-worker")
        })
    }
}
