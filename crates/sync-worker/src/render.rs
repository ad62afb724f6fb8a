//! Statements about rows, as bytes.

use crate::literal::{self, Encoding};
use crate::net::{Key, RowRef, Side, TableWork};
use crate::plan::{Context, PlanError, is_error_value};
use crate::script::{Expect, Script};
use crate::session::{SQL_MODE, SQL_MODE_LENIENT};
use crate::staged;
use tributary_schema::quote;
use tributary_wire::{Cell, ColumnKind, ColumnShape, DeviceId};

/// Which columns of a table are written, and how.
#[derive(Debug)]
pub(crate) struct Columns {
    /// Indexes of those that are written: all but the generated ones.
    pub(crate) written: Vec<usize>,
    /// How each column's bytes are to be taken, by its index.
    pub(crate) encodings: Vec<Encoding>,
}

/// Keys of one DELETE: with many more, the servers' optimizers give up on the index and read the whole
/// table (MySQL: `range_optimizer_max_mem_size`).
const KEYS_MAX: usize = 1000;

/// Longer texts are not looked for by an index.
const PLAIN_BYTES_MAX: usize = 512;

/// A statement of many rows: `head row,row,… tail`.
#[derive(Clone, Copy)]
struct Shape<'s> {
    head: &'s str,
    tail: &'s str,
    rows_max: usize,
    /// A row that would be alone is written twice.
    in_pairs: bool,
}

/// How images are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Plainly: a key or unique value that is there is an error.
    Insert,
    /// A row with the key takes the image's values.
    Upsert,
    /// A row with the key, or with one of the unique values, goes.
    Replace,
}

/// Writes statements about one table.
pub(crate) struct Writer<'a> {
    pub(crate) work: &'a TableWork<'a>,
    pub(crate) context: Context<'a>,
    pub(crate) columns: &'a Columns,
    pub(crate) table: String,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    pub(crate) fn new(work: &'a TableWork<'a>, context: Context<'a>, columns: &'a Columns) -> Self {
        let table = format!("{}.{}", quote(context.database), quote(&work.shape.table));
        Self { work, context, columns, table }
    }

    /// How many of a row's values are an ENUM's error value.
    pub(crate) fn error_values(&self, row: &RowRef<'_>) -> u16 {
        self.error_values_of(row, Side::Image)
    }

    pub(crate) fn error_values_of(&self, row: &RowRef<'_>, side: Side) -> u16 {
        let is_error = |index: usize| is_error_value(self.shape(index).kind, row.cell(side, index));
        let count = self.columns.written.iter().filter(|index| is_error(**index)).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Runs what `add` adds in a session that only warns of values it has to bend.
    pub(crate) fn leniently(
        &self,
        script: &mut Script,
        add: impl FnOnce(&mut Script) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let mode = |mode: &str| format!("SET SESSION sql_mode='{mode}'").into_bytes();
        script.push(self.context.owner, Expect::Success, &mode(SQL_MODE_LENIENT));
        add(script)?;
        script.push(self.context.owner, Expect::Success, &mode(SQL_MODE));
        Ok(())
    }

    /// The target's table has a UNIQUE index besides the primary key.
    pub(crate) fn unique_secondary(&self) -> bool {
        self.context.target.unique_secondary
    }

    /// True when values of the image arrived in pieces.
    pub(crate) fn is_staged(&self, row: &RowRef<'_>) -> bool {
        staged::is_staged(row, Side::Image, &self.columns.written)
    }

    /// Puts the staged values of rows together around the statements that `write` adds.
    pub(crate) fn assembled(
        &self,
        rows: &[(RowRef<'_>, Side)],
        script: &mut Script,
        write: impl FnOnce(&mut Script) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let (columns, owner) = (&self.columns.written[..], self.context.owner);
        for (row, side) in rows {
            staged::assemble(row, *side, columns, self.context.pieces, owner, script)?;
        }
        write(script)?;
        for (row, side) in rows {
            staged::forget(row, *side, columns, owner, script);
        }
        Ok(())
    }

    pub(crate) fn key_names(&self) -> String {
        let names = self.work.identity.iter().map(|&column| quote(&self.shape(column.into()).name));
        self.device_name().into_iter().chain(names).collect::<Vec<_>>().join(",")
    }

    /// The column that says whose a row is, quoted, where there is one.
    fn device_name(&self) -> Option<String> {
        self.context.device_column.map(quote)
    }

    /// `'device',`, where rows say whose they are. A device's id needs no escapes.
    fn device(&self, sql: &mut Vec<u8>, row: &RowRef<'_>) {
        if self.context.device_column.is_some() {
            sql.extend_from_slice(format!("'{}',", row.batch.header.device).as_bytes());
        }
    }

    /// ``WHERE `device`='…' AND ``, where rows say whose they are, or `WHERE `.
    pub(crate) fn where_device(&self, sql: &mut Vec<u8>, device: &DeviceId) {
        sql.extend_from_slice(b" WHERE ");
        if let Some(name) = self.device_name() {
            sql.extend_from_slice(format!("{name}='{device}' AND ").as_bytes());
        }
    }

    pub(crate) fn key(&self, sql: &mut Vec<u8>, key: &Key<'_>) -> Result<(), PlanError> {
        sql.push(b'(');
        self.device(sql, key.row());
        for index in 0..self.work.identity.len() {
            self.key_value(sql, key, index)?;
            sql.push(b',');
        }
        close(sql);
        Ok(())
    }

    pub(crate) fn key_value(
        &self,
        sql: &mut Vec<u8>,
        key: &Key<'_>,
        index: usize,
    ) -> Result<(), PlanError> {
        let column = self.work.identity[index];
        let cell = key.cell(index, column);
        if let Some(Cell::Staged { .. }) = cell {
            return Err(PlanError::KeyTooLarge { table: self.name() });
        }
        self.value(sql, column.into(), cell, Side::Identity, |cell| key.bytes(cell))
    }

    /// `DELETE … WHERE (key) IN (…)`.
    pub(crate) fn delete_keys<'r>(
        &self,
        keys: impl Iterator<Item = Key<'r>> + Clone,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        let names = self.work.identity.iter().enumerate().map(|(nth, &column)| {
            let shape = self.shape(column.into());
            let wide = keys.clone().any(|key| is_wide_set(shape.kind, key.cell(nth, column)));
            if wide { as_number(&shape.name) } else { quote(&shape.name) }
        });
        let names: Vec<String> = self.device_name().into_iter().chain(names).collect();
        let head = format!("DELETE FROM {} WHERE ({}) IN (", self.table, names.join(","));
        // MariaDB reads the whole table for `(a,b) IN ((1,2))`, and not for two rows.
        let in_pairs = names.len() > 1;
        let shape = Shape { head: &head, tail: ")", rows_max: KEYS_MAX, in_pairs };
        self.rows(script, Expect::Success, shape, keys, |sql, key| self.key(sql, &key))
    }

    /// Multi-row `INSERT` or `REPLACE`.
    pub(crate) fn images<'r>(
        &self,
        verb: Verb,
        rows: impl Iterator<Item = RowRef<'r>>,
        expect: Expect,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        let names = self.written_names();
        let word = if verb == Verb::Replace { "REPLACE" } else { "INSERT" };
        let head = format!("{word} INTO {} ({names}) VALUES ", self.table);
        let tail = if verb == Verb::Upsert { self.updates() } else { String::new() };
        let shape = Shape { head: &head, tail: &tail, rows_max: usize::MAX, in_pairs: false };
        self.rows(script, expect, shape, rows, |sql, row| self.row(sql, &row, Side::Image))
    }

    /// Multi-row `INSERT` of rows as they were before: those of a table without a key.
    pub(crate) fn identities<'r>(
        &self,
        rows: impl Iterator<Item = RowRef<'r>>,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        let head = format!("INSERT INTO {} ({}) VALUES ", self.table, self.written_names());
        let shape = Shape { head: &head, tail: "", rows_max: usize::MAX, in_pairs: false };
        self.rows(script, Expect::Success, shape, rows, |sql, row| {
            self.row(sql, &row, Side::Identity)
        })
    }

    fn written_names(&self) -> String {
        let names = self.columns.written.iter().map(|&index| quote(&self.shape(index).name));
        self.device_name().into_iter().chain(names).collect::<Vec<_>>().join(",")
    }

    /// ` ON DUPLICATE KEY UPDATE` of every column that is not part of the key. `VALUES()` is deprecated in
    /// MySQL and the only form that MariaDB has as well.
    fn updates(&self) -> String {
        let is_key = |index: usize| self.work.identity.iter().any(|&key| usize::from(key) == index);
        let indexes = || self.columns.written.iter().copied();
        let assign = |index: usize| {
            let name = quote(&self.shape(index).name);
            format!("{name}=VALUES({name})")
        };
        // What ON UPDATE CURRENT_TIMESTAMP may be of becomes the present time unless it is assigned, in the key too.
        let moves = |kind| matches!(kind, ColumnKind::Timestamp | ColumnKind::DateTime);
        let stays = |index: usize| is_key(index) && !moves(self.shape(index).kind);
        let mut updates: Vec<String> = indexes().filter(|i| !stays(*i)).map(assign).collect();
        if updates.is_empty() {
            updates.extend(indexes().next().map(assign));
        }
        format!(" ON DUPLICATE KEY UPDATE {}", updates.join(","))
    }

    /// `UPDATE` of exactly one row that equals `old`.
    pub(crate) fn update_one(
        &self,
        old: &RowRef<'_>,
        new: &RowRef<'_>,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        let update = |script: &mut Script| {
            self.one(script, |sql| {
                sql.extend_from_slice(format!("UPDATE {} SET ", self.table).as_bytes());
                self.assignments(sql, new)?;
                self.equals(sql, old)
            })
        };
        self.assembled(&[(*old, Side::Identity), (*new, Side::Image)], script, |script| match self
            .error_values(new)
        {
            0 => update(script),
            _ => self.leniently(script, update),
        })
    }

    /// `a=1,b=2`: the row as it is to be.
    pub(crate) fn assignments(&self, sql: &mut Vec<u8>, new: &RowRef<'_>) -> Result<(), PlanError> {
        for &index in &self.columns.written {
            sql.extend_from_slice(quote(&self.shape(index).name).as_bytes());
            sql.push(b'=');
            self.value(sql, index, new.image(index), Side::Image, |cell| new.bytes(cell))?;
            sql.push(b',');
        }
        sql.pop();
        Ok(())
    }

    /// `DELETE` of exactly one row that equals `old`.
    pub(crate) fn delete_one(
        &self,
        old: &RowRef<'_>,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        self.assembled(&[(*old, Side::Identity)], script, |script| {
            self.one(script, |sql| {
                sql.extend_from_slice(format!("DELETE FROM {}", self.table).as_bytes());
                self.equals(sql, old)
            })
        })
    }

    fn row(&self, sql: &mut Vec<u8>, row: &RowRef<'_>, side: Side) -> Result<(), PlanError> {
        sql.push(b'(');
        self.device(sql, row);
        for &index in &self.columns.written {
            self.value(sql, index, row.cell(side, index), side, |cell| row.bytes(cell))?;
            sql.push(b',');
        }
        close(sql);
        Ok(())
    }

    /// ` WHERE … LIMIT 1` on every column, NULL being equal to NULL.
    fn equals(&self, sql: &mut Vec<u8>, old: &RowRef<'_>) -> Result<(), PlanError> {
        self.where_device(sql, &old.batch.header.device);
        for &index in &self.columns.written {
            let (column, cell) = (self.shape(index), old.identity(index));
            let encoding = &self.columns.encodings[index];
            // What an index may serve goes first.
            if let Some(cell) = cell
                && let Some(plain) = self.plain(index, cell, |cell| old.bytes(cell))
            {
                sql.extend_from_slice(quote(&column.name).as_bytes());
                sql.extend_from_slice(b"<=>");
                sql.extend_from_slice(&plain);
                sql.extend_from_slice(b" AND ");
            }
            let name = match is_wide_set(column.kind, cell) {
                true => as_number(&column.name),
                false => comparable(column, encoding, self.is_json(column)),
            };
            sql.extend_from_slice(name.as_bytes());
            sql.extend_from_slice(b"<=>");
            let as_json = self.is_json(column) && cell.is_some_and(|cell| cell != Cell::Null);
            sql.extend_from_slice(if as_json { b"CAST(" } else { b"" });
            self.value(sql, index, cell, Side::Identity, |cell| old.bytes(cell))?;
            sql.extend_from_slice(if as_json { b" AS JSON) AND " } else { b" AND " });
        }
        sql.truncate(sql.len() - b" AND ".len());
        sql.extend_from_slice(b" LIMIT 1");
        Ok(())
    }

    /// A value as an index compares it, where the column is the first of an index and its own form of
    /// [`comparable`] keeps the server from it. Whatever equals the value byte by byte equals this as well.
    pub(crate) fn plain<'b>(
        &self,
        index: usize,
        cell: Cell,
        bytes: impl FnOnce(Cell) -> &'b [u8],
    ) -> Option<Vec<u8>> {
        let column = self.shape(index);
        let target = self.context.target.column(&column.name)?;
        let Cell::Bytes { .. } = cell else { return None };
        let is_indexed = self.context.target.indexed.contains(&column.name.to_lowercase());
        let bytes = bytes(cell);
        if column.kind != ColumnKind::Text || !is_indexed || bytes.len() > PLAIN_BYTES_MAX {
            return None;
        }
        let charset = match &self.columns.encodings[index] {
            Encoding::AsIs => target.charset.clone()?,
            Encoding::Introduced(charset) => charset.clone(),
            Encoding::Json => return None,
        };
        // What is no text of its character set cannot be introduced as such.
        if charset.starts_with("utf8") && std::str::from_utf8(bytes).is_err() {
            return None;
        }
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("_{charset} X'{hex}'").into_bytes())
    }

    /// Adds multi-row statements, each as long as it should be.
    fn rows<T: Copy>(
        &self,
        script: &mut Script,
        expect: Expect,
        Shape { head, tail, rows_max, in_pairs }: Shape<'_>,
        rows: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            script.add(self.context.owner, expect, |sql| {
                let start = sql.len();
                sql.extend_from_slice(head.as_bytes());
                let (mut count, rows_start) = (0, sql.len());
                while let Some(&row) = rows.peek() {
                    let end = sql.len();
                    write(sql, row)?;
                    let bytes = sql.len() - start + tail.len();
                    if count > 0 && (bytes > self.context.statement_bytes || count == rows_max) {
                        sql.truncate(end);
                        break;
                    }
                    self.check_length(bytes)?;
                    sql.push(b',');
                    count += 1;
                    rows.next();
                }
                if count == 1 && in_pairs {
                    sql.extend_from_within(rows_start..);
                }
                sql.pop();
                sql.extend_from_slice(tail.as_bytes());
                Ok(())
            })?;
        }
        Ok(())
    }

    fn one(
        &self,
        script: &mut Script,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        script.add(self.context.owner, Expect::OneRow, |sql| {
            let start = sql.len();
            write(sql)?;
            self.check_length(sql.len() - start)
        })
    }

    pub(crate) fn value<'b>(
        &self,
        sql: &mut Vec<u8>,
        index: usize,
        cell: Option<Cell>,
        side: Side,
        bytes: impl FnOnce(Cell) -> &'b [u8],
    ) -> Result<(), PlanError> {
        let (cell, column) = (cell.unwrap_or(Cell::Null), self.shape(index));
        let encoding = &self.columns.encodings[index];
        if let Cell::Staged { .. } = cell
            && literal::is_bytes(column.kind)
        {
            literal::variable(sql, &staged::variable(side, index), encoding);
            return Ok(());
        }
        literal::write(sql, column, cell, bytes(cell), encoding)
            .map_err(|source| PlanError::Value { table: self.name(), source })
    }

    pub(crate) fn check_length(&self, bytes: usize) -> Result<(), PlanError> {
        if bytes > self.context.statement_bytes_max { Err(self.too_large(bytes)) } else { Ok(()) }
    }

    fn too_large(&self, bytes: usize) -> PlanError {
        let bytes_max = self.context.statement_bytes_max;
        PlanError::RowTooLarge { table: self.name(), bytes, bytes_max }
    }

    fn is_json(&self, column: &ColumnShape) -> bool {
        self.context.target.column(&column.name).is_some_and(|target| target.json)
    }

    pub(crate) fn shape(&self, index: usize) -> &'a ColumnShape {
        &self.work.shape.columns[index]
    }

    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.context.database, self.work.shape.table)
    }
}

/// The column in a form that equals its literal exactly: a collation would take 'a' for 'A'.
fn comparable(column: &ColumnShape, encoding: &Encoding, json: bool) -> String {
    let name = quote(&column.name);
    let by_bytes = match column.kind {
        ColumnKind::Text | ColumnKind::Json => {
            *encoding == Encoding::AsIs || column.kind == ColumnKind::Json
        }
        // The servers compare neither of them by `<=>`.
        ColumnKind::Geometry | ColumnKind::Vector => true,
        _ => false,
    };
    if by_bytes && !json { format!("CAST({name} AS BINARY)") } else { name }
}

/// The servers compare a SET with a number as doubles, and to MariaDB the 64th member is a sign: from
/// 2^53 on a value would equal its neighbours, or nothing.
pub(crate) fn is_wide_set(kind: ColumnKind, cell: Option<Cell>) -> bool {
    const EXACT_IN_A_DOUBLE: i64 = 1 << 53;
    kind == ColumnKind::Set
        && match cell {
            Some(Cell::Int(value)) => value >= EXACT_IN_A_DOUBLE,
            Some(Cell::UInt(_)) => true,
            _ => false,
        }
}

/// The column compared as the integer that it is, which no index serves.
pub(crate) fn as_number(name: &str) -> String {
    format!("CAST({} AS UNSIGNED)", quote(name))
}

/// Turns the last comma into a parenthesis.
pub(crate) fn close(sql: &mut Vec<u8>) {
    sql.pop();
    sql.push(b')');
}
