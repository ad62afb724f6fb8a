//! Table maps and the rows that they describe.

use super::{Capture, CaptureError, LogEvent, MAPS_MAX, Mapped};
use crate::filter::Decision;
use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;
use tributary_binlog::{RowStream, Rows, Step, TablePlan, table_map};
use tributary_schema::fold_name;
use tributary_wire::{ColumnShape, Op, Pushed, Seal, TableColumns};

impl Capture {
    pub(super) fn table_map(&mut self, data: &[u8]) -> Result<(), CaptureError> {
        let (table_id, database, table) =
            table_map::table_name(data).map_err(|source| self.event_error(source))?;
        let generation = self.scope.generation;
        let is_known = |known: &Mapped| known.generation == generation && known.definition == data;
        if self.maps.get(&table_id).is_some_and(is_known) {
            return Ok(());
        }
        let (database, table) = if self.scope.folds_names {
            (fold_name(&database), fold_name(&table))
        } else {
            (database, table)
        };
        let left = self.filter.decide(&database, &table) == Decision::Left
            || !self.scope.is_live(&database, &table);
        let plan = TablePlan::compile(data, self.server)
            .and_then(|plan| if left { Ok(plan) } else { plan.with_names() })
            .map_err(|source| self.event_error(source))?;
        let plan = if left { plan } else { self.narrowed(plan, data)? };
        let plan = Arc::new(plan.called(&database, &table));
        if self.maps.len() >= MAPS_MAX {
            self.maps.clear();
        }
        self.maps.insert(table_id, Mapped { definition: data.to_vec(), plan, left, generation });
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
        plan.with_columns(data, self.server, choose, self.filter.digest()).map_err(|error| CaptureError::Filter {
            at: self.read(),
            reason: format!("the filter's rules for the columns of {database}.{table} cannot be kept: {error}"),
            remedy: "change the rule as docs/configuration.md says, give the table a primary key, or exclude the table; then start again".to_owned(),
            needs_snapshot: false,
        })
    }

    pub(super) fn rows(
        &mut self,
        log: &LogEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let rows = Rows::parse(log.event.code, log.event.data);
        let mut rows = rows.map_err(|source| self.event_error(source))?;
        if !self.tell()? {
            return Ok(());
        }
        let (plan, carried) = self.plan_of(rows.table_id)?;
        self.builder.set_acting(self.lacks_cascades && !rows.no_foreign_key_checks);
        while !rows.is_done() {
            let whole = if carried && !self.is_skipping() {
                self.row(&mut rows, &plan, sealed)?
            } else {
                self.pass(&mut rows, &plan)?
            };
            if !whole {
                let mut stream = rows.stream();
                while self.step(&mut stream, &plan, carried, sealed)? {}
                return Ok(());
            }
        }
        Ok(())
    }

    /// Walks past a row that is not carried, or was. False where it may be several changes.
    fn pass(&mut self, rows: &mut Rows<'_>, plan: &TablePlan) -> Result<bool, CaptureError> {
        let whole = rows.skip_next(plan).map_err(|source| self.event_error(source))?;
        if whole && !self.skip_one() {
            self.builder.skip(1);
            self.scope.note_left(&plan.shape, 1);
        }
        Ok(whole)
    }

    /// Takes a row that is one change; false, and nothing is taken, where it is several.
    fn row(
        &mut self,
        rows: &mut Rows<'_>,
        plan: &TablePlan,
        sealed: &mut Vec<Seal>,
    ) -> Result<bool, CaptureError> {
        let here = rows.clone();
        let mut pushed = self.push(rows, plan)?;
        if pushed == Some(Pushed::Full) {
            sealed.push(self.seal()?);
            *rows = here.clone();
            pushed = self.push(rows, plan)?;
        }
        let Some(pushed) = pushed else {
            *rows = here;
            return Ok(false);
        };
        self.skip_one();
        self.taken(pushed)?;
        Ok(true)
    }

    fn push(
        &mut self,
        rows: &mut Rows<'_>,
        plan: &TablePlan,
    ) -> Result<Option<Pushed>, CaptureError> {
        let table = self.builder.table(&plan.shape);
        let op = rows.op;
        let mut write = |columns: &mut TableColumns| match rows.write_next(plan, columns) {
            Ok(true) => Ok(()),
            Ok(false) => Err(None),
            Err(error) => Err(Some(error)),
        };
        let pushed = match self.scope.watching(&plan.shape) {
            None => self.builder.row(table, op, write),
            Some(watch) => {
                self.builder.row(table, op, |columns| watch.record(plan, op, columns, &mut write))
            }
        };
        match pushed {
            Ok(pushed) => Ok(Some(pushed)),
            Err(None) => Ok(None),
            Err(Some(source)) => Err(self.event_error(source)),
        }
    }

    /// Takes the next change of a stream; false at its end.
    pub(super) fn step<R: Read>(
        &mut self,
        stream: &mut RowStream<R>,
        plan: &TablePlan,
        carried: bool,
        sealed: &mut Vec<Seal>,
    ) -> Result<bool, CaptureError> {
        let op = stream.op;
        self.builder.set_acting(self.lacks_cascades && !stream.no_foreign_key_checks);
        let step = stream.next(plan, self.next_part()).map_err(|error| self.stream_error(error))?;
        if matches!(step, Step::Done) {
            return Ok(false);
        }
        if self.skip_one() {
            return Ok(true);
        }
        if matches!(step, Step::Withheld) {
            self.builder.skip(1);
            return Ok(true);
        }
        if !carried {
            self.builder.skip(1);
            self.scope.note_left(&plan.shape, 1);
            return Ok(true);
        }
        let mut pushed = self.push_step(&step, op, plan);
        if pushed == Pushed::Full {
            sealed.push(self.seal()?);
            pushed = self.push_step(&step, op, plan);
        }
        self.taken(pushed)?;
        self.seal_if_full(sealed)?;
        Ok(true)
    }

    fn push_step(&mut self, step: &Step<'_>, op: Op, plan: &TablePlan) -> Pushed {
        let row = match step {
            Step::Done | Step::Withheld => return Pushed::Taken,
            Step::Piece(bytes) => return self.builder.piece(bytes),
            Step::Row(row) => row,
        };
        let table = self.builder.table(&plan.shape);
        let write = |columns: &mut TableColumns| -> Result<(), Infallible> {
            let pairs = [
                (&mut columns.images, &row.images),
                (&mut columns.identities, &row.identities),
                (&mut columns.before, &row.before),
            ];
            for (into, from) in pairs {
                into.iter_mut().zip(from).for_each(|(into, from)| into.append(from));
            }
            Ok(())
        };
        let pushed = match self.scope.watching(&plan.shape) {
            None => self.builder.row(table, op, write),
            Some(watch) => {
                self.builder.row(table, op, |columns| watch.record(plan, op, columns, write))
            }
        };
        match pushed {
            Ok(pushed) => pushed,
        }
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
