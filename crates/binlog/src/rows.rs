//! Rows events: walked row by row, straight into a batch's columns.

use crate::reader::{Reader, bit};
use crate::staging::Inline;
use crate::stream::RowStream;
use crate::window::Window;
use crate::{BinlogError, TablePlan};
use tributary_wire::{ColumnBuffer, Op, TableColumns};

/// A rows event, and how far it has been read. Cloning it remembers the place.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    /// Which TABLE_MAP describes it.
    pub table_id: u64,
    /// What it does to each of its rows: [`Op::Insert`], [`Op::Update`] or [`Op::Delete`].
    pub op: Op,
    /// The session had `foreign_key_checks=0`: foreign keys do nothing on these changes.
    pub no_foreign_key_checks: bool,
    columns: usize,
    rest: Reader<'a>,
}

pub(crate) const NAME: &str = "rows";
/// Of a rows event's flags (`libs/mysql/binlog/event/rows_event.h`; the same in MariaDB).
pub(crate) const NO_FOREIGN_KEY_CHECKS_F: u16 = 2;
/// A row of so many bytes in the log needs no piece, unless a value of it is unpacked.
const SMALL_ROW_BYTES: usize = 8 << 10;

// === impl Rows ===

impl<'a> Rows<'a> {
    /// Reads the event's own header.
    ///
    /// # Errors
    /// [`BinlogError::Setting`] when the rows leave columns out (`binlog_row_image` is not FULL).
    pub fn parse(code: u8, data: &'a [u8]) -> Result<Self, BinlogError> {
        let op = op(code)?;
        let mut rest = Reader::new(NAME, data);
        let table_id = rest.uint(6)?;
        let no_foreign_key_checks = rest.u16()? & NO_FOREIGN_KEY_CHECKS_F != 0;
        // Version 2 (MySQL) has room for extra data, whose length counts itself.
        if code >= 30 {
            let extra = usize::from(rest.u16()?);
            rest.take(extra.saturating_sub(2))?;
        }
        let columns = rest.lenenc()?;
        let columns = usize::try_from(columns).unwrap_or(usize::MAX);
        for _ in 0..images(op) {
            refuse_partial(rest.take(columns.div_ceil(8))?, columns)?;
        }
        Ok(Self { table_id, op, no_foreign_key_checks, columns, rest })
    }

    /// True when every row has been read.
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Walks past the next row where it is certain to be one change. False, and nothing is walked past,
    /// where it may be more: [`Rows::stream`] counts them.
    ///
    /// # Errors
    /// When the event is malformed, or does not fit the table's plan.
    pub fn skip_next(&mut self, plan: &TablePlan) -> Result<bool, BinlogError> {
        self.check(plan)?;
        let before = self.rest.clone();
        (0..images(self.op)).try_for_each(|_| self.image(plan, |_, _| Ok(())))?;
        // A row without large values has at most 64 KiB at its full width, and doubles on the wire.
        let bytes = before.rest().len() - self.rest.rest().len();
        let is_small = bytes <= SMALL_ROW_BYTES && !plan.has_packed();
        if !is_small {
            self.rest = before;
        }
        Ok(is_small)
    }

    /// Writes the next row where [`tributary_wire::BatchBuilder::row`] wants it. False, and what is
    /// written is to be undone, where values of it go ahead in pieces: read it by [`Rows::stream`].
    ///
    /// # Errors
    /// When the event is malformed, or does not fit the table's plan.
    pub fn write_next(
        &mut self,
        plan: &TablePlan,
        columns: &mut TableColumns,
    ) -> Result<bool, BinlogError> {
        self.check(plan)?;
        let mut whole = Whole::new(plan);
        if self.op != Op::Insert {
            let before =
                if self.op == Op::Update { &mut columns.before } else { &mut columns.identities };
            self.image(plan, |column, raw| match plan.identity_index(column) {
                Some(nth) => whole.write(column, raw, before.get_mut(nth)),
                None => Ok(()),
            })?;
        }
        if self.op != Op::Delete {
            let images = &mut columns.images;
            self.image(plan, |column, raw| {
                let image = plan.place(column).and_then(|at| images.get_mut(at));
                whole.write(column, raw, image)
            })?;
        }
        Ok(!whole.stages)
    }

    /// The rows that are left, change by change.
    pub fn stream(self) -> RowStream<&'a [u8]> {
        let rest = self.rest.rest();
        let input = Window::new(rest, rest.len() as u64);
        RowStream::at(self.table_id, self.op, self.no_foreign_key_checks, self.columns, input)
    }

    fn check(&self, plan: &TablePlan) -> Result<(), BinlogError> {
        refuse_other(plan, self.table_id, self.columns)
    }

    /// One row image: a NULL bitmap, then the values that are not NULL.
    fn image(
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

/// A row that is written whole, as far as that goes.
struct Whole<'a> {
    plan: &'a TablePlan,
    inline: Inline,
    stages: bool,
    /// A cell before it is masked.
    plain: ColumnBuffer,
}

impl<'a> Whole<'a> {
    fn new(plan: &'a TablePlan) -> Self {
        Self { plan, inline: Inline::default(), stages: false, plain: ColumnBuffer::default() }
    }

    /// Writes a cell as the filter says. What goes ahead is decided by the cell as the log has it, so
    /// that positions do not depend on a filter.
    fn write(
        &mut self,
        column: usize,
        raw: Option<&[u8]>,
        out: Option<&mut ColumnBuffer>,
    ) -> Result<(), BinlogError> {
        let Some(selection) = self.plan.selection.as_ref() else {
            return out.map_or(Ok(()), |out| self.cell(column, raw, out));
        };
        if column >= selection.len() {
            return Ok(());
        }
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        self.cell(column, raw, &mut plain)?;
        if let Some(out) = out {
            match self.stages {
                true => out.push_null(),
                false => selection.write(column, plain.encoded(), out)?,
            }
        }
        self.plain = plain;
        Ok(())
    }

    /// Writes a cell as it is.
    fn cell(
        &mut self,
        column: usize,
        raw: Option<&[u8]>,
        out: &mut ColumnBuffer,
    ) -> Result<(), BinlogError> {
        let before = out.encoded().len();
        let column_plan = self.plan.columns[column];
        match raw {
            None => out.push_null(),
            // Only the end of the row is still looked for.
            Some(_) if self.stages => out.push_null(),
            Some(raw) if column_plan.layout.is_sized() => {
                let value = column_plan.unpack(raw)?;
                self.stages = self.inline.stages(value.len(), self.plan, column);
                if self.stages { out.push_null() } else { out.push_bytes(&value) }
            }
            Some(raw) => column_plan.write(raw, out)?,
        }
        self.inline.add(out.encoded().len() - before);
        Ok(())
    }
}

/// What an event of this type does to its rows.
pub(crate) fn op(code: u8) -> Result<Op, BinlogError> {
    match code {
        23 | 30 => Ok(Op::Insert),
        24 | 31 => Ok(Op::Update),
        25 | 32 => Ok(Op::Delete),
        _ => Err(BinlogError::malformed(NAME, format!("type {code} holds no rows"))),
    }
}

/// How many images a row has.
pub(crate) fn images(op: Op) -> usize {
    if op == Op::Update { 2 } else { 1 }
}

/// Refuses rows whose bitmap of columns has a gap.
pub(crate) fn refuse_partial(present: &[u8], columns: usize) -> Result<(), BinlogError> {
    if (0..columns).all(|column| bit(present, column)) {
        return Ok(());
    }
    Err(BinlogError::Setting(
        "a row without all of its columns: run SET GLOBAL binlog_row_image='FULL' on the device, and reconnect its applications".into(),
    ))
}

/// Refuses rows that the plan does not describe.
pub(crate) fn refuse_other(
    plan: &TablePlan,
    table_id: u64,
    columns: usize,
) -> Result<(), BinlogError> {
    if columns == plan.columns.len() && table_id == plan.table_id && columns > 0 {
        return Ok(());
    }
    Err(BinlogError::malformed(
        NAME,
        format!(
            "{columns} columns of table id {table_id}, but the table map has {} of id {}",
            plan.columns.len(),
            plan.table_id
        ),
    ))
}
