//! Table maps and the rows that they describe.

use super::{Capture, CaptureError, LogEvent, MAPS_MAX, Mapped};
use crate::filter::Decision;
use std::sync::Arc;
use tributary_binlog::{Rows, TablePlan, table_map};
use tributary_wire::{ColumnShape, Pushed, Seal};

impl Capture {
    pub(super) fn table_map(&mut self, data: &[u8]) -> Result<(), CaptureError> {
        let (table_id, database, table) =
            table_map::table_name(data).map_err(|source| self.event_error(source))?;
        if self.maps.get(&table_id).is_some_and(|(known, _)| known == data) {
            return Ok(());
        }
        let left = self.filter.decide(&database, &table) == Decision::Left;
        let plan = TablePlan::compile(data)
            .and_then(|plan| if left { Ok(plan) } else { plan.with_names() })
            .map_err(|source| self.event_error(source))?;
        let plan = if left { plan } else { self.narrowed(plan, data)? };
        let plan = Arc::new(plan);
        if self.maps.len() >= MAPS_MAX {
            self.maps.clear();
        }
        let mapped = if left { Mapped::Left(plan) } else { Mapped::Carried(plan) };
        self.maps.insert(table_id, (data.to_vec(), mapped));
        Ok(())
    }

    /// Without the columns that stay on the device.
    fn narrowed(&self, plan: TablePlan, data: &[u8]) -> Result<TablePlan, CaptureError> {
        let shape = Arc::clone(&plan.shape);
        let (database, table) = (&shape.database, &shape.table);
        if !self.filter.touches(database, table) {
            return Ok(plan);
        }
        let choose = |_, column: &ColumnShape| self.filter.column(database, table, &column.name);
        plan.with_columns(data, choose, self.filter.digest()).map_err(|error| CaptureError::Filter {
            at: self.read(),
            reason: format!("the filter's rules for the columns of {database}.{table} cannot be kept: {error}"),
            remedy: "change the rule as docs/configuration.md says, give the table a primary key, or exclude the table; then start again".to_owned(),
        })
    }

    pub(super) fn rows(
        &mut self,
        log: &LogEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let rows = Rows::parse(log.event.code, log.event.data);
        let mut rows = rows.map_err(|source| self.event_error(source))?;
        if self.open.as_ref().is_none_or(|open| !open.begun) {
            return Err(self.malformed("rows", "rows outside a transaction"));
        }
        match self.maps.get(&rows.table_id) {
            None => Err(self.malformed("rows", "rows without a table map")),
            Some((_, Mapped::Left(plan))) => {
                let plan = Arc::clone(plan);
                while !rows.is_done() {
                    rows.skip_next(&plan).map_err(|source| self.event_error(source))?;
                    if !self.skip_one() {
                        self.builder.skip(1);
                    }
                }
                Ok(())
            }
            Some((_, Mapped::Carried(plan))) => {
                let plan = Arc::clone(plan);
                while !rows.is_done() {
                    self.row(&mut rows, &plan, sealed)?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn row(
        &mut self,
        rows: &mut Rows<'_>,
        plan: &TablePlan,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        if self.skip_one() {
            return rows.skip_next(plan).map_err(|source| self.event_error(source));
        }
        let here = rows.clone();
        let mut pushed = self.push(rows, plan)?;
        if pushed == Pushed::Full {
            sealed.push(self.builder.seal()?);
            *rows = here;
            pushed = self.push(rows, plan)?;
        }
        self.taken(pushed)
    }

    pub(super) fn push(
        &mut self,
        rows: &mut Rows<'_>,
        plan: &TablePlan,
    ) -> Result<Pushed, CaptureError> {
        let table = self.builder.table(&plan.shape);
        let op = rows.op;
        let pushed = self.builder.row(table, op, |columns| rows.write_next(plan, columns));
        pushed.map_err(|source| self.event_error(source))
    }

    /// A change that an empty batch does not take fits no message.
    pub(super) fn taken(&self, pushed: Pushed) -> Result<(), CaptureError> {
        let bytes = match pushed {
            Pushed::Taken => return Ok(()),
            Pushed::TooLarge(bytes) => bytes,
            Pushed::Full => self.builder.body_bytes(),
        };
        Err(CaptureError::TooLarge { at: self.read(), bytes })
    }
}
