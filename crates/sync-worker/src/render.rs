//! Statements about rows, as bytes.

use crate::literal::{self, Encoding};
use crate::net::{Key, RowRef, TableWork};
use crate::plan::{Context, PlanError, is_error_value};
use crate::script::{Expect, Script};
use crate::session::{SQL_MODE, SQL_MODE_LENIENT};
use tributary_schema::quote;
use tributary_wire::{Cell, ColumnKind, ColumnShape};

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

/// A statement of many rows: `head row,row,… tail`.
#[derive(Clone, Copy)]
struct Shape<'s> {
    head: &'s str,
    tail: &'s str,
    rows_max: usize,
}

/// Writes statements about one table.
pub(crate) struct Writer<'a> {
    work: &'a TableWork<'a>,
    context: Context<'a>,
    columns: &'a Columns,
    table: String,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    pub(crate) fn new(work: &'a TableWork<'a>, context: Context<'a>, columns: &'a Columns) -> Self {
        let table = format!("{}.{}", quote(context.database), quote(&work.shape.table));
        Self { work, context, columns, table }
    }

    /// How many of a row's values are an ENUM's error value.
    pub(crate) fn error_values(&self, row: &RowRef<'_>) -> u16 {
        let is_error = |index: usize| is_error_value(self.shape(index).kind, row.image(index));
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
        let names = names.collect::<Vec<_>>().join(",");
        let head = format!("DELETE FROM {} WHERE ({names}) IN (", self.table);
        let shape = Shape { head: &head, tail: ")", rows_max: KEYS_MAX };
        self.rows(script, Expect::Success, shape, keys, |sql, key| {
            sql.push(b'(');
            for (index, &column) in self.work.identity.iter().enumerate() {
                let cell = key.cell(index, column);
                self.value(sql, column.into(), cell, |cell| key.bytes(cell))?;
                sql.push(b',');
            }
            close(sql);
            Ok(())
        })
    }

    /// Multi-row `INSERT … ON DUPLICATE KEY UPDATE` of every column that is not part of the key.
    /// `VALUES()` is deprecated in MySQL and the only form that MariaDB has as well.
    pub(crate) fn upsert<'r>(
        &self,
        rows: impl Iterator<Item = RowRef<'r>>,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        let is_key = |index: usize| self.work.identity.iter().any(|&key| usize::from(key) == index);
        let indexes = || self.columns.written.iter().copied();
        let assign = |index: usize| {
            let name = quote(&self.shape(index).name);
            format!("{name}=VALUES({name})")
        };
        let mut updates: Vec<String> = indexes().filter(|i| !is_key(*i)).map(assign).collect();
        if updates.is_empty() {
            updates.extend(indexes().next().map(assign));
        }
        let tail = format!(" ON DUPLICATE KEY UPDATE {}", updates.join(","));
        let shape = Shape { head: &self.insert_head(), tail: &tail, rows_max: usize::MAX };
        self.rows(script, Expect::Success, shape, rows, |sql, row| self.image(sql, &row))
    }

    /// Multi-row `INSERT`.
    pub(crate) fn insert<'r>(
        &self,
        rows: impl Iterator<Item = RowRef<'r>>,
        expect: Expect,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        let shape = Shape { head: &self.insert_head(), tail: "", rows_max: usize::MAX };
        self.rows(script, expect, shape, rows, |sql, row| self.image(sql, &row))
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
                for &index in &self.columns.written {
                    sql.extend_from_slice(quote(&self.shape(index).name).as_bytes());
                    sql.push(b'=');
                    self.value(sql, index, new.image(index), |cell| new.bytes(cell))?;
                    sql.push(b',');
                }
                sql.pop();
                self.equals(sql, old)
            })
        };
        if self.error_values(new) == 0 { update(script) } else { self.leniently(script, update) }
    }

    /// `DELETE` of exactly one row that equals `old`.
    pub(crate) fn delete_one(
        &self,
        old: &RowRef<'_>,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        self.one(script, |sql| {
            sql.extend_from_slice(format!("DELETE FROM {}", self.table).as_bytes());
            self.equals(sql, old)
        })
    }

    fn insert_head(&self) -> String {
        let names = self.columns.written.iter().map(|&index| quote(&self.shape(index).name));
        format!("INSERT INTO {} ({}) VALUES ", self.table, names.collect::<Vec<_>>().join(","))
    }

    fn image(&self, sql: &mut Vec<u8>, row: &RowRef<'_>) -> Result<(), PlanError> {
        sql.push(b'(');
        for &index in &self.columns.written {
            self.value(sql, index, row.image(index), |cell| row.bytes(cell))?;
            sql.push(b',');
        }
        close(sql);
        Ok(())
    }

    /// ` WHERE … LIMIT 1` on every column, NULL being equal to NULL.
    fn equals(&self, sql: &mut Vec<u8>, old: &RowRef<'_>) -> Result<(), PlanError> {
        sql.extend_from_slice(b" WHERE ");
        for &index in &self.columns.written {
            let (column, cell) = (self.shape(index), old.identity(index));
            let encoding = &self.columns.encodings[index];
            let name = match is_wide_set(column.kind, cell) {
                true => as_number(&column.name),
                false => comparable(column, encoding, self.is_json(column)),
            };
            sql.extend_from_slice(name.as_bytes());
            sql.extend_from_slice(b"<=>");
            let as_json = self.is_json(column) && cell.is_some_and(|cell| cell != Cell::Null);
            sql.extend_from_slice(if as_json { b"CAST(" } else { b"" });
            self.value(sql, index, cell, |cell| old.bytes(cell))?;
            sql.extend_from_slice(if as_json { b" AS JSON) AND " } else { b" AND " });
        }
        sql.truncate(sql.len() - b" AND ".len());
        sql.extend_from_slice(b" LIMIT 1");
        Ok(())
    }

    /// Adds multi-row statements, each as long as it should be.
    fn rows<T: Copy>(
        &self,
        script: &mut Script,
        expect: Expect,
        Shape { head, tail, rows_max }: Shape<'_>,
        rows: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            script.add(self.context.owner, expect, |sql| {
                let start = sql.len();
                sql.extend_from_slice(head.as_bytes());
                let mut count = 0;
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

    fn value<'b>(
        &self,
        sql: &mut Vec<u8>,
        index: usize,
        cell: Option<Cell>,
        bytes: impl FnOnce(Cell) -> &'b [u8],
    ) -> Result<(), PlanError> {
        let cell = cell.unwrap_or(Cell::Null);
        literal::write(sql, self.shape(index), cell, bytes(cell), &self.columns.encodings[index])
            .map_err(|source| PlanError::Value { table: self.name(), source })
    }

    fn check_length(&self, bytes: usize) -> Result<(), PlanError> {
        if bytes > self.context.statement_bytes_max { Err(self.too_large(bytes)) } else { Ok(()) }
    }

    fn too_large(&self, bytes: usize) -> PlanError {
        let bytes_max = self.context.statement_bytes_max;
        PlanError::RowTooLarge { table: self.name(), bytes, bytes_max }
    }

    fn is_json(&self, column: &ColumnShape) -> bool {
        self.context.target.column(&column.name).is_some_and(|target| target.json)
    }

    fn shape(&self, index: usize) -> &'a ColumnShape {
        &self.work.shape.columns[index]
    }

    fn name(&self) -> String {
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
fn is_wide_set(kind: ColumnKind, cell: Option<Cell>) -> bool {
    const EXACT_IN_A_DOUBLE: i64 = 1 << 53;
    kind == ColumnKind::Set
        && match cell {
            Some(Cell::Int(value)) => value >= EXACT_IN_A_DOUBLE,
            Some(Cell::UInt(_)) => true,
            _ => false,
        }
}

/// The column compared as the integer that it is, which no index serves.
fn as_number(name: &str) -> String {
    format!("CAST({} AS UNSIGNED)", quote(name))
}

/// Turns the last comma into a parenthesis.
fn close(sql: &mut Vec<u8>) {
    sql.pop();
    sql.push(b')');
}
