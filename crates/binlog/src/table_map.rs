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
    /// Of every column in a row; the last may not be in the shape.
    pub(crate) columns: Vec<ColumnPlan>,
    /// Indexes of the columns that identify a row.
    pub(crate) identity: Vec<u16>,
    /// How rows are written when a filter has narrowed the plan.
    pub(crate) selection: Option<Arc<Selection>>,
}

/// Whose log it is, where the two servers write one thing in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// MySQL.
    MySql,
    /// MariaDB.
    MariaDb,
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
/// No table has more (`MAX_FIELDS`, `sql/sql_const.h`).
const COLUMNS_MAX: usize = 4096;

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
    /// The same plan under these names: a server whose names have no case may log them as they were typed.
    #[must_use]
    pub fn called(mut self, database: &str, table: &str) -> Self {
        if (&*self.shape.database, &*self.shape.table) != (database, table) {
            let shape = Arc::make_mut(&mut self.shape);
            (shape.database, shape.table) = (database.to_owned(), table.to_owned());
        }
        self
    }

    /// Compiles a TABLE_MAP event's body, as `server` writes it.
    ///
    /// # Errors
    /// [`BinlogError::Unsupported`] for a column type this build does not carry.
    pub fn compile(data: &[u8], server: Server) -> Result<Self, BinlogError> {
        let mut reader = Reader::new(NAME, data);
        let (table_id, database, table) = head(&mut reader)?;
        let count = reader.lenenc_len()?;
        if count > COLUMNS_MAX {
            return Err(reader.error(format!("{count} columns")));
        }
        let codes = reader.take(count)?;
        let mut meta = Reader::new(NAME, reader.lenenc_bytes()?);
        let nullable = reader.take(count.div_ceil(8))?;

        let mut columns = Vec::with_capacity(count);
        let mut shapes = Vec::with_capacity(count);
        for (index, &code) in codes.iter().enumerate() {
            let mut ahead = meta.clone();
            let (layout, kind, scale) = Layout::read(code, &mut meta, server)?;
            columns.push(ColumnPlan { layout, kind, unsigned: false });
            shapes.push(ColumnShape {
                name: String::new(),
                kind,
                unsigned: false,
                nullable: bit(nullable, index),
                collation: 0,
                scale,
                size: size(code, layout, &mut ahead)?,
            });
        }
        let mut optional =
            Optional { server, codes, columns: &mut columns, shapes: &mut shapes, key: Vec::new() };
        optional.read(&mut reader)?;
        let primary_key = optional.key;
        if server == Server::MariaDb {
            leave_out_hashes(&mut shapes, codes);
        }
        let shape = TableShape { database, table, columns: shapes, primary_key };
        let identity = shape.identity();
        Ok(Self { table_id, shape: Arc::new(shape), columns, identity, selection: None })
    }

    /// True for a column of the primary key.
    pub(crate) fn is_key(&self, column: usize) -> bool {
        self.shape.has_key() && self.identity_index(column).is_some()
    }

    /// Which column of the identity it is. The key's order may differ from the columns' order.
    pub(crate) fn identity_index(&self, column: usize) -> Option<usize> {
        if !self.shape.has_key() {
            return Some(column);
        }
        self.identity.iter().position(|&key| usize::from(key) == column)
    }

    /// How many columns of the log there are to carry, before any are left out by a filter. A column
    /// that only the server knows stands behind them.
    pub(crate) fn logged_columns(&self) -> usize {
        self.selection.as_ref().map_or(self.shape.columns.len(), |selection| selection.len())
    }

    /// Where a column of the log stands in the shape; `None` for one that is left out.
    pub(crate) fn place(&self, column: usize) -> Option<usize> {
        match &self.selection {
            Some(selection) => selection.place(column),
            None => (column < self.shape.columns.len()).then_some(column),
        }
    }

    /// True when a small row may be large on the wire: a value is unpacked.
    pub(crate) fn has_packed(&self) -> bool {
        self.columns.iter().any(|column| column.is_packed())
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
    server: Server,
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
                5 => self.members(&mut value, ColumnKind::Set)?,
                6 => self.members(&mut value, ColumnKind::Enum)?,
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
        if value.is_empty() { Ok(()) } else { Err(value.error("more names than columns")) }
    }

    /// Of each ENUM or SET: how many members, and those.
    fn members(&mut self, value: &mut Reader<'_>, kind: ColumnKind) -> Result<(), BinlogError> {
        for shape in self.shapes.iter_mut().filter(|shape| shape.kind == kind) {
            let members = value.lenenc_len()?;
            for _ in 0..members {
                value.lenenc_bytes()?;
            }
            shape.size = u32::try_from(members).unwrap_or(u32::MAX);
        }
        if value.is_empty() { Ok(()) } else { Err(value.error("more members than columns")) }
    }

    fn key_columns(&self, value: &mut Reader<'_>, prefixed: bool) -> Result<Vec<u16>, BinlogError> {
        let (mut key, mut in_part) = (Vec::new(), false);
        while !value.is_empty() {
            let column = value.lenenc()?;
            in_part |= prefixed && value.lenenc()? > 0;
            let column = u16::try_from(column).ok().filter(|c| usize::from(*c) < self.shapes.len());
            let column = column.filter(|column| !key.contains(column));
            key.push(column.ok_or_else(|| {
                value.error("the key names a column that is not there, or one twice")
            })?);
        }
        // The beginning of a value is no value: such a key neither bounds a value's size nor orders rows
        // by it, so the row is told by all of its columns.
        Ok(if in_part { Vec::new() } else { key })
    }

    /// Some count as one though their collation says nothing: MySQL's VECTOR (`is_character_type`),
    /// MariaDB's GEOMETRY (`Field_geom` is a `Field_blob`).
    fn is_character(&self, column: usize) -> bool {
        match self.columns[column].kind {
            ColumnKind::Text | ColumnKind::Binary => true,
            ColumnKind::Vector => self.server == Server::MySql,
            ColumnKind::Geometry => self.server == Server::MariaDb,
            _ => false,
        }
    }

    fn is_enum_or_set(&self, column: usize) -> bool {
        matches!(self.columns[column].kind, ColumnKind::Enum | ColumnKind::Set)
    }

    fn matching(&self, which: impl Fn(&Self, usize) -> bool) -> Vec<usize> {
        (0..self.shapes.len()).filter(|&column| which(self, column)).collect()
    }

    /// A collation for all of them, then pairs of index among them and collation. The default may well be
    /// `binary`, which makes bytes of a column for good: a column is told its own collation alone.
    fn default_charset(
        &mut self,
        value: &mut Reader<'_>,
        which: impl Fn(&Self, usize) -> bool,
    ) -> Result<(), BinlogError> {
        let matching = self.matching(which);
        let mut collations = vec![value.lenenc()?; matching.len()];
        while !value.is_empty() {
            let (nth, collation) = (value.lenenc()?, value.lenenc()?);
            let slot = usize::try_from(nth).ok().and_then(|nth| collations.get_mut(nth));
            *slot.ok_or_else(|| value.error("a charset for a column that is not there"))? =
                collation;
        }
        for (column, collation) in matching.into_iter().zip(collations) {
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
        if value.is_empty() { Ok(()) } else { Err(value.error("more charsets than columns")) }
    }

    /// Collation 63 is `binary`: the type codes of TEXT and BLOB, CHAR and BINARY are the same.
    fn set_collation(&mut self, column: usize, collation: u64) {
        const BINARY: u64 = 63;
        let shape = &mut self.shapes[column];
        if matches!(shape.kind, ColumnKind::Vector | ColumnKind::Geometry) {
            return;
        }
        shape.collation = u16::try_from(collation).unwrap_or(0);
        if matches!(shape.kind, ColumnKind::Text | ColumnKind::Binary) {
            shape.kind = if collation == BINARY { ColumnKind::Binary } else { ColumnKind::Text };
            self.columns[column].kind = shape.kind;
        }
    }
}

/// What [`ColumnShape::size`] is, as far as a type code and its metadata tell.
fn size(code: u8, layout: Layout, meta: &mut Reader<'_>) -> Result<u32, BinlogError> {
    const VARCHAR: [u8; 2] = [15, 253];
    /// MariaDB's VARCHAR … COMPRESSED, whose length counts a byte of its own (`sql/field.h`).
    const COMPRESSED: u8 = 141;
    const INTEGERS: [u8; 5] = [1, 2, 3, 8, 9];
    const BLOBS: [u8; 4] = [249, 250, 251, 252];
    Ok(match layout {
        _ if VARCHAR.contains(&code) => meta.u16()?.into(),
        _ if code == COMPRESSED => meta.u16()?.saturating_sub(1).into(),
        Layout::Fixed(width) if INTEGERS.contains(&code) => u32::try_from(width).unwrap_or(0),
        Layout::Decimal { precision, .. } => precision.into(),
        Layout::Prefixed { prefix, pad: 0 } if BLOBS.contains(&code) => {
            u32::MAX >> (32 - 8 * prefix.clamp(1, 4))
        }
        Layout::Prefixed { pad, .. } => u32::try_from(pad).unwrap_or(0),
        _ => 0,
    })
}

/// A UNIQUE key over a BLOB or TEXT is a hash to MariaDB, kept in a column that no statement can name
/// (`make_hash_field_name` in `sql/sql_table.cc`). It stands behind all others, in every row.
fn leave_out_hashes(shapes: &mut Vec<ColumnShape>, codes: &[u8]) {
    const LONGLONG: u8 = 8;
    let is_hash = |(shape, code): (&ColumnShape, &u8)| {
        let number = shape.name.strip_prefix("DB_ROW_HASH_");
        let is_name = number.is_some_and(|n| n.parse::<u32>().is_ok());
        is_name && *code == LONGLONG && shape.unsigned && shape.nullable
    };
    while shapes.last().zip(codes.get(shapes.len().saturating_sub(1))).is_some_and(is_hash) {
        shapes.pop();
    }
}

fn is_numeric(code: u8) -> bool {
    // TINY SHORT LONG FLOAT DOUBLE LONGLONG INT24 YEAR NEWDECIMAL
    matches!(code, 1..=5 | 8 | 9 | 13 | 246)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(id INT, c CHAR(10), a VARBINARY(9), b BLOB, e ENUM, s SET)` with this optional metadata.
    fn columns(metadata: &[u8]) -> Vec<(ColumnKind, u16)> {
        let mut data = vec![7, 0, 0, 0, 0, 0, 0, 0];
        data.extend(b"\x03app\0\x01t\0");
        data.extend([6, 3, 254, 15, 252, 254, 254]); // LONG, STRING, VARCHAR, BLOB, STRING twice
        data.extend([9, 254, 10, 9, 0, 2, 247, 1, 248, 1]);
        data.push(0b11_1110);
        data.extend(metadata);
        let plan = TablePlan::compile(&data, Server::MySql).expect("compiles");
        for (column, shape) in plan.columns.iter().zip(&plan.shape.columns) {
            assert_eq!(column.kind, shape.kind);
        }
        plan.shape.columns.iter().map(|shape| (shape.kind, shape.collation)).collect()
    }

    #[test]
    fn a_column_is_text_or_bytes_by_its_own_charset_in_either_encoding() {
        use ColumnKind as K;
        let expected = [(K::Integer, 0), (K::Text, 8), (K::Binary, 63), (K::Binary, 63)];
        let members = [(K::Enum, 28), (K::Set, 8)];
        let all: Vec<_> = expected.into_iter().chain(members).collect();
        for metadata in [
            // The default is `binary`, the first of the three is not.
            &[2, 3, 63, 0, 8, 10, 3, 8, 0, 28][..],
            // The default is latin1, the other two are bytes.
            &[2, 5, 8, 1, 63, 2, 63, 10, 3, 28, 1, 8],
            // Each its own.
            &[3, 3, 8, 63, 63, 11, 2, 28, 8],
        ] {
            assert_eq!(columns(metadata), all, "{metadata:?}");
        }
    }
}
