//! Rows events: walked row by row, straight into a batch's columns.

use crate::reader::{Reader, bit};
use crate::{BinlogError, TablePlan};
use tributary_wire::{Op, TableColumns};

/// A rows event, and how far it has been read. Cloning it remembers the place.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    /// Which TABLE_MAP describes it.
    pub table_id: u64,
    /// What it does to each of its rows: [`Op::Insert`], [`Op::Update`] or [`Op::Delete`].
    pub op: Op,
    columns: usize,
    rest: Reader<'a>,
}

const NAME: &str = "rows";

// === impl Rows ===

impl<'a> Rows<'a> {
    /// Reads the event's own header.
    ///
    /// # Errors
    /// [`BinlogError::Setting`] when the rows leave columns out (`binlog_row_image` is not FULL).
    pub fn parse(code: u8, data: &'a [u8]) -> Result<Self, BinlogError> {
        let op = match code {
            23 | 30 => Op::Insert,
            24 | 31 => Op::Update,
            25 | 32 => Op::Delete,
            _ => return Err(BinlogError::malformed(NAME, format!("type {code} holds no rows"))),
        };
        let mut rest = Reader::new(NAME, data);
        let table_id = rest.uint(6)?;
        rest.take(2)?;
        // Version 2 (MySQL) has room for extra data, whose length counts itself.
        if code >= 30 {
            let extra = usize::from(rest.u16()?);
            rest.take(extra.saturating_sub(2))?;
        }
        let columns = rest.lenenc()?;
        let columns = usize::try_from(columns).unwrap_or(usize::MAX);
        let images = if op == Op::Update { 2 } else { 1 };
        for _ in 0..images {
            let present = rest.take(columns.div_ceil(8))?;
            if !(0..columns).all(|column| bit(present, column)) {
                return Err(BinlogError::Setting(
                    "a row without all of its columns: run SET GLOBAL binlog_row_image='FULL' on the device, and reconnect its applications".into(),
                ));
            }
        }
        Ok(Self { table_id, op, columns, rest })
    }

    /// True when every row has been read.
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Walks past the next row.
    ///
    /// # Errors
    /// When the event is malformed, or does not fit the table's plan.
    pub fn skip_next(&mut self, plan: &TablePlan) -> Result<(), BinlogError> {
        self.check(plan)?;
        let images = if self.op == Op::Update { 2 } else { 1 };
        (0..images).try_for_each(|_| self.image(plan, |_, _| Ok(())))
    }

    /// Writes the next row where [`tributary_wire::BatchBuilder::row`] wants it.
    ///
    /// # Errors
    /// When the event is malformed, or does not fit the table's plan.
    pub fn write_next(
        &mut self,
        plan: &TablePlan,
        columns: &mut TableColumns,
    ) -> Result<(), BinlogError> {
        self.check(plan)?;
        if let Some(selection) = &plan.selection {
            return selection.write_next(self, plan, columns);
        }
        if self.op != Op::Insert {
            let before =
                if self.op == Op::Update { &mut columns.before } else { &mut columns.identities };
            // The key's order may differ from the columns' order.
            self.image(plan, |column, raw| {
                let Some(nth) = plan.identity.iter().position(|&c| usize::from(c) == column) else {
                    return Ok(());
                };
                match raw {
                    None => before[nth].push_null(),
                    Some(raw) => plan.columns[column].write(raw, &mut before[nth])?,
                }
                Ok(())
            })?;
        }
        if self.op != Op::Delete {
            let images = &mut columns.images;
            self.image(plan, |column, raw| {
                match raw {
                    None => images[column].push_null(),
                    Some(raw) => plan.columns[column].write(raw, &mut images[column])?,
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn check(&self, plan: &TablePlan) -> Result<(), BinlogError> {
        if self.columns == plan.columns.len() && self.table_id == plan.table_id && self.columns > 0
        {
            return Ok(());
        }
        Err(BinlogError::malformed(
            NAME,
            format!(
                "{} columns of table id {}, but the table map has {} of id {}",
                self.columns,
                self.table_id,
                plan.columns.len(),
                plan.table_id
            ),
        ))
    }

    /// One row image: a NULL bitmap, then the values that are not NULL.
    pub(crate) fn image(
        &mut self,
        plan: &TablePlan,
        mut value: impl FnMut(usize, Option<&'a [u8]>) -> Result<(), BinlogError>,
    ) -> Result<(), BinlogError> {
        let nulls = self.rest.take(self.columns.div_ceil(8))?;
        for (index, column) in plan.columns.iter().enumerate() {
            let raw =
                if bit(nulls, index) { None } else { Some(column.layout.split(&mut self.rest)?) };
            value(index, raw)?;
        }
        Ok(())
    }
}
