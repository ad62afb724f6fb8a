//! Rows of any size: read value by value, large values in pieces.

use crate::reader::bit;
use crate::rows::{self, NAME};
use crate::select::{Selection, Withheld};
use crate::staging::{self, Inline, PIECE_BYTES, VALUE_BYTES_MAX};
use crate::value::{Extent, Layout};
use crate::window::{StreamError, Window};
use crate::{BinlogError, TablePlan};
use std::io::Read;
use tributary_wire::{ColumnBuffer, Op, TableColumns};

/// A rows event that is read from a stream.
///
/// In memory are a window of 64 KiB and the cells of one row that do not go ahead. A JSON value, and one
/// of a compressed column, is held whole while its row is read: it is unpacked as a whole.
pub struct RowStream<R> {
    /// Which TABLE_MAP describes it.
    pub table_id: u64,
    /// What it does to each of its rows.
    pub op: Op,
    /// The session had `foreign_key_checks=0`.
    pub no_foreign_key_checks: bool,
    columns: usize,
    input: Window<R>,
    place: Place,
    nulls: Vec<u8>,
    row: TableColumns,
    inline: Inline,
    value: Value,
    /// A cell before it is masked.
    plain: ColumnBuffer,
    /// The value that goes ahead is none that may leave.
    withheld: Option<Withheld>,
}

/// One change: every one of them counts in positions.
#[derive(Debug)]
pub enum Step<'a> {
    /// A piece of a value of the row that follows.
    Piece(&'a [u8]),
    /// A piece of a value that a filter leaves out or masks: it counts, and nothing of it is carried.
    Withheld,
    /// A row, as [`tributary_wire::BatchBuilder::row`] takes it for the event's [`Op`].
    Row(&'a TableColumns),
    /// No more rows.
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    BetweenRows,
    /// Before a column of the row's image before the change, or after it.
    Before(usize),
    After(usize),
}

/// A value that goes ahead, as far as it has not.
enum Value {
    None,
    /// So many bytes of the stream.
    Stream(u64),
    /// What it was unpacked to, from an index on.
    Unpacked(Vec<u8>, usize),
}

enum Walked {
    Value,
    Row,
    Done,
}

// === impl RowStream ===

impl<R: Read> RowStream<R> {
    /// Reads the header of an event whose body is the next `bytes` bytes of `input`.
    ///
    /// # Errors
    /// As [`crate::Rows::parse`].
    pub fn open(code: u8, input: R, bytes: u64) -> Result<Self, StreamError> {
        let op = rows::op(code)?;
        let mut input = Window::new(input, bytes);
        let table_id = input.uint(6)?;
        let flags = u16::try_from(input.uint(2)?).unwrap_or_default();
        let no_foreign_key_checks = flags & rows::NO_FOREIGN_KEY_CHECKS_F != 0;
        if code >= 30 {
            let extra = input.uint(2)?;
            input.skip(extra.saturating_sub(2))?;
        }
        let columns = usize::try_from(input.lenenc()?).unwrap_or(usize::MAX);
        for _ in 0..rows::images(op) {
            rows::refuse_partial(input.bytes(columns.div_ceil(8))?, columns)?;
        }
        Ok(Self::at(table_id, op, no_foreign_key_checks, columns, input))
    }

    /// Goes on where the rows begin.
    pub(crate) fn at(
        table_id: u64,
        op: Op,
        no_foreign_key_checks: bool,
        columns: usize,
        input: Window<R>,
    ) -> Self {
        Self {
            table_id,
            op,
            no_foreign_key_checks,
            columns,
            input,
            place: Place::BetweenRows,
            nulls: Vec::new(),
            row: TableColumns::default(),
            inline: Inline::default(),
            value: Value::None,
            plain: ColumnBuffer::default(),
            withheld: None,
        }
    }

    /// The stream, when every row has been read.
    pub fn into_inner(self) -> R {
        self.input.into_inner()
    }

    /// The next change. `part` is the [`tributary_wire::Position::part`] behind it.
    ///
    /// # Errors
    /// When the event is malformed or does not fit the table's plan, and when the stream cannot be read.
    pub fn next(&mut self, plan: &TablePlan, part: u64) -> Result<Step<'_>, StreamError> {
        if !self.is_ahead() {
            self.value = Value::None;
            if let Some(withheld) = self.withheld.take() {
                let buffers = buffers(&mut self.row, self.place, self.op);
                withheld.finish(buffers);
            }
            match self.walk(plan, part)? {
                Walked::Done => return Ok(Step::Done),
                Walked::Row => return Ok(Step::Row(&self.row)),
                Walked::Value => {}
            }
        }
        self.piece()
    }

    /// Reads cells until a value goes ahead, or the row is at its end.
    fn walk(&mut self, plan: &TablePlan, part: u64) -> Result<Walked, StreamError> {
        loop {
            self.place = match self.place {
                Place::BetweenRows if self.input.left() == 0 => return Ok(Walked::Done),
                Place::BetweenRows => self.begin(plan)?,
                Place::Before(column) if column == self.columns => {
                    if self.op == Op::Delete {
                        self.place = Place::BetweenRows;
                        return Ok(Walked::Row);
                    }
                    self.image()?;
                    Place::After(0)
                }
                Place::After(column) if column == self.columns => {
                    self.place = Place::BetweenRows;
                    return Ok(Walked::Row);
                }
                Place::Before(column) => {
                    self.cell(plan, column, plan.identity_index(column), part)?;
                    Place::Before(column + 1)
                }
                Place::After(column) => {
                    self.cell(plan, column, Some(column), part)?;
                    Place::After(column + 1)
                }
            };
            if self.is_ahead() {
                return Ok(Walked::Value);
            }
        }
    }

    fn begin(&mut self, plan: &TablePlan) -> Result<Place, StreamError> {
        rows::refuse_other(plan, self.table_id, self.columns)?;
        if self.row.images.is_empty() {
            self.row = TableColumns::of(&plan.shape);
        }
        let TableColumns { images, identities, before } = &mut self.row;
        images.iter_mut().chain(identities).chain(before).for_each(ColumnBuffer::clear);
        self.inline = Inline::default();
        self.image()?;
        Ok(if self.op == Op::Insert { Place::After(0) } else { Place::Before(0) })
    }

    /// A row image begins with its NULL bitmap.
    fn image(&mut self) -> Result<(), StreamError> {
        let nulls = self.input.bytes(self.columns.div_ceil(8))?;
        self.nulls.clear();
        self.nulls.extend_from_slice(nulls);
        Ok(())
    }

    /// Reads one cell to the buffer `nth`, or past it when it has none.
    fn cell(
        &mut self,
        plan: &TablePlan,
        column: usize,
        nth: Option<usize>,
        part: u64,
    ) -> Result<(), StreamError> {
        let is_null = bit(&self.nulls, column);
        let layout = plan.columns[column].layout;
        let Some(nth) = nth.filter(|_| column < plan.logged_columns()) else {
            return if is_null { Ok(()) } else { pass(&mut self.input, layout) };
        };
        let out = match &plan.selection {
            None => &mut buffers(&mut self.row, self.place, self.op)[nth],
            Some(_) => {
                self.plain.clear();
                &mut self.plain
            }
        };
        let before = out.encoded().len();
        match layout.extent() {
            _ if is_null => out.push_null(),
            Extent::Bytes(bytes) => plan.columns[column].write(self.input.bytes(bytes)?, out)?,
            Extent::Prefix(width) => {
                let bytes = self.input.uint(width)?;
                let value = Sized { plan, column, bytes };
                self.value = value.read(&mut self.input, self.inline, part, out)?;
            }
        }
        self.inline.add(out.encoded().len() - before);
        match &plan.selection {
            Some(selection) => self.select(selection, column, nth),
            None => Ok(()),
        }
    }

    /// Writes the cell that was read as a filter says. What goes ahead has been decided by the cell as
    /// the log has it, so that positions do not depend on the filter.
    fn select(
        &mut self,
        selection: &Selection,
        column: usize,
        nth: usize,
    ) -> Result<(), StreamError> {
        let nth = match self.place {
            Place::After(_) => selection.place(column),
            _ => Some(nth),
        };
        if self.is_ahead() {
            self.withheld = selection.withheld(column, nth);
        }
        // Its hash is known at the end of its pieces.
        if self.withheld.as_ref().is_some_and(Withheld::is_hash) {
            return Ok(());
        }
        let buffers = buffers(&mut self.row, self.place, self.op);
        let Some(out) = nth.and_then(|nth| buffers.get_mut(nth)) else { return Ok(()) };
        Ok(selection.write(column, self.plain.encoded(), out)?)
    }

    fn is_ahead(&self) -> bool {
        match &self.value {
            Value::None => false,
            Value::Stream(left) => *left > 0,
            Value::Unpacked(value, at) => *at < value.len(),
        }
    }

    fn piece(&mut self) -> Result<Step<'_>, StreamError> {
        let bytes = match &mut self.value {
            Value::None => &[],
            Value::Stream(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(PIECE_BYTES);
                *left -= take as u64;
                self.input.bytes(take)?
            }
            Value::Unpacked(value, at) => {
                let begin = *at;
                *at = (begin + PIECE_BYTES).min(value.len());
                &value[begin..*at]
            }
        };
        Ok(match &mut self.withheld {
            None => Step::Piece(bytes),
            Some(withheld) => {
                withheld.update(bytes);
                Step::Withheld
            }
        })
    }
}

/// Where the cells of the image belong that is being read.
fn buffers(row: &mut TableColumns, place: Place, op: Op) -> &mut [ColumnBuffer] {
    match (place, op) {
        (Place::After(_), _) => &mut row.images,
        (_, Op::Update) => &mut row.before,
        _ => &mut row.identities,
    }
}

/// Walks past a value.
fn pass<R: Read>(input: &mut Window<R>, layout: Layout) -> Result<(), StreamError> {
    let bytes = match layout.extent() {
        Extent::Bytes(bytes) => bytes as u64,
        Extent::Prefix(width) => input.uint(width)?,
    };
    input.skip(bytes)
}

/// A value with its length in front, which has been read.
struct Sized<'a> {
    plan: &'a TablePlan,
    column: usize,
    bytes: u64,
}

impl Sized<'_> {
    /// Writes the value, or what stands for one that goes ahead.
    fn read<R: Read>(
        &self,
        input: &mut Window<R>,
        inline: Inline,
        part: u64,
        out: &mut ColumnBuffer,
    ) -> Result<Value, StreamError> {
        let column = self.plan.columns[self.column];
        // As it comes, and too large whatever else the row holds.
        if !column.is_packed() && self.bytes > VALUE_BYTES_MAX as u64 {
            if self.bytes > input.left() {
                return Err(BinlogError::malformed(NAME, "a value is cut off").into());
            }
            out.push_staged(part, staging::pieces(self.bytes));
            return Ok(Value::Stream(self.bytes));
        }
        let raw = input.all(self.bytes)?;
        let value = column.unpack(&raw)?;
        if !inline.stages(value.len(), self.plan, self.column) {
            out.push_bytes(&value);
            return Ok(Value::None);
        }
        out.push_staged(part, staging::pieces(value.len() as u64));
        Ok(Value::Unpacked(value.into_owned(), 0))
    }
}
