//! TABLE_MAP: what the rows after it look like.

use crate::BinlogError;
use crate::reader::{Reader, bit};
use crate::select::Selection;
use crate::value::{ColumnPlan, Layout};
use std::sync::Arc;
use tributary_wire::{ColumnKind, ColumnShape, TableShape};

/// How to read the rows of one table definition. Compiled once, used for every row.
#[derive(Debug, Clone)]
pub struct TablePlan {
    /// The table's id in rows events.
    pub table_id: u64,
    /// What goes on the wire.
    pub shape: Arc<TableShape>,
    pub(crate) columns: Vec<ColumnPlan>,
    /// Indexes of the columns that identify a row.
    pub(crate) identity: Vec<u16>,
    /// How rows are written when a filter has narrowed the plan.
    pub(crate) selection: Option<Arc<Selection>>,
}

/// Names a table without compiling the rest: id, database, table.
///
/// # Errors
/// When the event is malformed.
pub fn table_name(data: &[u8]) -> Result<(u64, String, String), BinlogError> {
    let mut reader = Reader::new(NAME, data);
    head(&mut reader)
}

pub(crate) const NAME: &str = "TABLE_MAP";

pub(crate) fn head(reader: &mut Reader<'_>) -> Result<(u64, String, String), BinlogError> {
    let table_id = reader.uint(6)?;
    reader.take(2)?;
    let mut name = || -> Result<String, BinlogError> {
        let len = usize::from(reader.u8()?);
        let name = String::from_utf8(reader.take(len)?.to_vec())
            .map_err(|_| reader.error("a name is not UTF-8"))?;
        reader.take(1)?;
        Ok(name)
    };
    Ok((table_id, name()?, name()?))
}

impl TablePlan {
    /// Compiles a TABLE_MAP event's body.
    ///
    /// # Errors
    /// [`BinlogError::Unsupported`] for a column type this build does not carry.
    pub fn compile(data: &[u8]) -> Result<Self, BinlogError> {
        let mut reader = Reader::new(NAME, data);
        let (table_id, database, table) = head(&mut reader)?;
        let count = reader.lenenc_len()?;
        let codes = reader.take(count)?;
        let mut meta = Reader::new(NAME, reader.lenenc_bytes()?);
        let nullable = reader.take(count.div_ceil(8))?;

        let mut columns = Vec::with_capacity(count);
        let mut shapes = Vec::with_capacity(count);
        for (index, &code) in codes.iter().enumerate() {
            let (layout, kind, scale) = Layout::read(code, &mut meta)?;
            columns.push(ColumnPlan { layout, kind, unsigned: false });
            shapes.push(ColumnShape {
                name: String::new(),
                kind,
                unsigned: false,
                nullable: bit(nullable, index),
                collation: 0,
                scale,
            });
        }
        let mut optional =
            Optional { codes, columns: &mut columns, shapes: &mut shapes, key: Vec::new() };
        optional.read(&mut reader)?;
        let primary_key = optional.key;
        let shape = TableShape { database, table, columns: shapes, primary_key };
        let identity = shape.identity();
        Ok(Self { table_id, shape: Arc::new(shape), columns, identity, selection: None })
    }

    /// Checks that every column has its name, without which rows cannot be copied exactly.
    ///
    /// # Errors
    /// [`BinlogError::Setting`] when `binlog_row_metadata` is not FULL.
    pub fn with_names(self) -> Result<Self, BinlogError> {
        if self.shape.columns.iter().all(|column| !column.name.is_empty()) {
            return Ok(self);
        }
        Err(BinlogError::Setting(format!(
            "rows of {}.{} come without column names: run SET GLOBAL binlog_row_metadata='FULL' on the device",
            self.shape.database, self.shape.table
        )))
    }
}

/// The optional metadata: type (1), length, value, repeated. A type that is not known here describes
/// something a copy does not need, and is passed over by its length.
struct Optional<'a> {
    codes: &'a [u8],
    columns: &'a mut [ColumnPlan],
    shapes: &'a mut [ColumnShape],
    key: Vec<u16>,
}

impl Optional<'_> {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), BinlogError> {
        while !reader.is_empty() {
            let kind = reader.u8()?;
            let mut value = Reader::new(NAME, reader.lenenc_bytes()?);
            match kind {
                1 => self.signedness(value.rest()),
                2 => self.default_charset(&mut value, Self::is_character)?,
                3 => self.column_charsets(&mut value, Self::is_character)?,
                4 => self.names(&mut value)?,
                8 => self.key = self.key_columns(&mut value, false)?,
                9 => self.key = self.key_columns(&mut value, true)?,
                10 => self.default_charset(&mut value, Self::is_enum_or_set)?,
                11 => self.column_charsets(&mut value, Self::is_enum_or_set)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// One bit per numeric column, most significant bit first. YEAR counts as numeric here.
    fn signedness(&mut self, bitmap: &[u8]) {
        let numeric = self.codes.iter().enumerate().filter(|(_, code)| is_numeric(**code));
        for (nth, (column, _)) in numeric.enumerate() {
            let unsigned = bitmap.get(nth / 8).is_some_and(|byte| byte >> (7 - nth % 8) & 1 == 1);
            self.columns[column].unsigned = unsigned;
            self.shapes[column].unsigned = unsigned;
        }
    }

    fn names(&mut self, value: &mut Reader<'_>) -> Result<(), BinlogError> {
        for shape in self.shapes.iter_mut() {
            shape.name = String::from_utf8(value.lenenc_bytes()?.to_vec())
                .map_err(|_| value.error("a column's name is not UTF-8"))?;
        }
        Ok(())
    }

    fn key_columns(&self, value: &mut Reader<'_>, prefixed: bool) -> Result<Vec<u16>, BinlogError> {
        let mut key = Vec::new();
        while !value.is_empty() {
            let column = value.lenenc()?;
            if prefixed {
                value.lenenc()?;
            }
            let column = u16::try_from(column).ok().filter(|c| usize::from(*c) < self.shapes.len());
            key.push(
                column.ok_or_else(|| value.error("the key names a column that is not there"))?,
            );
        }
        Ok(key)
    }

    fn is_character(&self, column: usize) -> bool {
        matches!(self.columns[column].kind, ColumnKind::Text | ColumnKind::Binary)
    }

    fn is_enum_or_set(&self, column: usize) -> bool {
        matches!(self.columns[column].kind, ColumnKind::Enum | ColumnKind::Set)
    }

    fn matching(&self, which: impl Fn(&Self, usize) -> bool) -> Vec<usize> {
        (0..self.shapes.len()).filter(|&column| which(self, column)).collect()
    }

    /// A collation for all of them, then pairs of index among them and collation.
    fn default_charset(
        &mut self,
        value: &mut Reader<'_>,
        which: impl Fn(&Self, usize) -> bool,
    ) -> Result<(), BinlogError> {
        let matching = self.matching(which);
        let default = value.lenenc()?;
        for &column in &matching {
            self.set_collation(column, default);
        }
        while !value.is_empty() {
            let (nth, collation) = (value.lenenc()?, value.lenenc()?);
            let column = usize::try_from(nth).ok().and_then(|nth| matching.get(nth));
            let column =
                *column.ok_or_else(|| value.error("a charset for a column that is not there"))?;
            self.set_collation(column, collation);
        }
        Ok(())
    }

    /// One collation for each of them.
    fn column_charsets(
        &mut self,
        value: &mut Reader<'_>,
        which: impl Fn(&Self, usize) -> bool,
    ) -> Result<(), BinlogError> {
        for column in self.matching(which) {
            let collation = value.lenenc()?;
            self.set_collation(column, collation);
        }
        Ok(())
    }

    /// Collation 63 is `binary`: the type codes of TEXT and BLOB, CHAR and BINARY are the same.
    fn set_collation(&mut self, column: usize, collation: u64) {
        const BINARY: u64 = 63;
        let shape = &mut self.shapes[column];
        shape.collation = u16::try_from(collation).unwrap_or(0);
        if shape.kind == ColumnKind::Text && collation == BINARY {
            shape.kind = ColumnKind::Binary;
            self.columns[column].kind = ColumnKind::Binary;
        }
    }
}

fn is_numeric(code: u8) -> bool {
    // TINY SHORT LONG FLOAT DOUBLE LONGLONG INT24 YEAR NEWDECIMAL
    matches!(code, 1..=5 | 8 | 9 | 13 | 246)
}
