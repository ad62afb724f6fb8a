//! A plan narrowed to some of its columns: what a filter leaves out is never written, and what it
//! masks never has its own value in a batch.

use crate::BinlogError;
use crate::mask::{self, Mask};
use crate::reader::Reader;
use crate::rows::Rows;
use crate::table_map::{NAME, TablePlan, head};
use crate::value::{ColumnPlan, Layout};
use std::fmt;
use std::sync::Arc;
use tributary_wire::{ColumnBuffer, ColumnKind, ColumnShape, Op, TableColumns, TableShape};

/// What becomes of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Carried as it is.
    Keep,
    /// Left out of the shape and of every row. One that may not be NULL stays, and holds its type's
    /// empty value in every row: a target could not insert a row without it.
    Drop,
    /// Carried as NULL in every row.
    Null,
    /// Carried as its type's empty value in every row, also where it is NULL.
    Empty,
    /// Carried as a keyed hash of its value; NULL stays NULL.
    Hash,
}

/// A keyed hash. The same value must give the same bytes, in every column and for ever.
pub trait Digest: fmt::Debug + Send + Sync {
    /// Hashes one value: text and binary strings as they are (BINARY(n) at its full width), JSON as
    /// text, numbers as decimal digits.
    fn digest(&self, value: &[u8]) -> [u8; 32];
}

/// Why a column cannot become what was chosen for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Rows would not be told apart any more.
    #[error(
        "column {column} is part of the primary key, and without its value rows cannot be told apart"
    )]
    Key {
        /// The column.
        column: String,
    },
    /// Two keys could become one.
    #[error(
        "column {column} is part of the primary key, and a hash of fewer than 32 characters could make one row of two"
    )]
    ShortKey {
        /// The column.
        column: String,
    },
    /// Every column identifies a row there.
    #[error(
        "the table has no primary key, so that each of its columns, {column} too, is needed to find a row"
    )]
    NoKey {
        /// The column.
        column: String,
    },
    /// NULL in a column that takes none.
    #[error("column {column} is NOT NULL")]
    NotNull {
        /// The column.
        column: String,
    },
    /// A type without an empty value, or without a hash.
    #[error("column {column} is of a type ({kind:?}) that has no {what}")]
    Kind {
        /// The column.
        column: String,
        /// Its type.
        kind: ColumnKind,
        /// What was wanted of it.
        what: &'static str,
    },
    /// The event contradicts itself.
    #[error(transparent)]
    Event(#[from] BinlogError),
}

/// How a narrowed plan writes rows.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// What each column of the event becomes, and at which place of the shape; `None` for one that is
    /// left out.
    outputs: Vec<Option<(usize, Output)>>,
    digest: Arc<dyn Digest>,
}

#[derive(Debug, Clone)]
enum Output {
    Keep,
    Constant(ColumnBuffer),
    Hash(Mask),
}

/// So many hexadecimal digits of a hash are taken to be unique: 128 bits.
const UNIQUE_DIGITS: usize = 32;

impl TablePlan {
    /// Narrows the plan to what `choose` says of each column, by its index and shape. `data` is the
    /// event that it was compiled from.
    ///
    /// # Errors
    /// [`SelectError`] for a choice with which rows could not be copied exactly.
    pub fn with_columns(
        self,
        data: &[u8],
        choose: impl Fn(usize, &ColumnShape) -> Choice,
        digest: &Arc<dyn Digest>,
    ) -> Result<Self, SelectError> {
        let choices: Vec<Choice> =
            self.shape.columns.iter().enumerate().map(|(n, shape)| choose(n, shape)).collect();
        if choices.iter().all(|choice| *choice == Choice::Keep) {
            return Ok(self);
        }
        let widths = widths(data)?;
        let mut columns = Vec::with_capacity(choices.len());
        let mut outputs = Vec::with_capacity(choices.len());
        for (index, choice) in choices.into_iter().enumerate() {
            let shape = &self.shape.columns[index];
            let width = widths.get(index).copied().unwrap_or_default();
            let output = output(&self, index, width, choice)?;
            outputs.push(output.map(|output| (columns.len(), output)));
            if outputs.last().is_some_and(Option::is_some) {
                columns.push(shape.clone());
            }
        }
        let place = |column: &u16| outputs.get(usize::from(*column))?.as_ref().map(|(at, _)| *at);
        let primary_key = self.shape.primary_key.iter().filter_map(place);
        let primary_key = primary_key.filter_map(|at| u16::try_from(at).ok()).collect();
        let (database, table) = (self.shape.database.clone(), self.shape.table.clone());
        let shape = Arc::new(TableShape { database, table, columns, primary_key });
        let selection = Selection { outputs, digest: Arc::clone(digest) };
        Ok(Self { shape, selection: Some(Arc::new(selection)), ..self })
    }
}

/// What a column becomes; `None` for one that is left out.
fn output(
    plan: &TablePlan,
    index: usize,
    width: usize,
    choice: Choice,
) -> Result<Option<Output>, SelectError> {
    let (shape, column) = (&plan.shape.columns[index], &plan.columns[index]);
    let name = || shape.name.clone();
    if choice == Choice::Keep {
        return Ok(Some(Output::Keep));
    }
    if !plan.shape.has_key() {
        return Err(SelectError::NoKey { column: name() });
    }
    let is_key = plan.shape.primary_key.iter().any(|&key| usize::from(key) == index);
    if is_key && choice != Choice::Hash {
        return Err(SelectError::Key { column: name() });
    }
    let kind = |what| SelectError::Kind { column: name(), kind: shape.kind, what };
    Ok(Some(match choice {
        Choice::Keep => Output::Keep,
        Choice::Drop if shape.nullable => return Ok(None),
        Choice::Null if !shape.nullable => return Err(SelectError::NotNull { column: name() }),
        Choice::Null => Output::Constant(constant(ColumnBuffer::push_null)),
        Choice::Drop | Choice::Empty => {
            Output::Constant(mask::empty(shape).ok_or_else(|| kind("empty value"))?)
        }
        Choice::Hash => {
            let mask = Mask::new(column, shape, width).ok_or_else(|| kind("hash"))?;
            if is_key && mask.digits() < UNIQUE_DIGITS {
                return Err(SelectError::ShortKey { column: name() });
            }
            Output::Hash(mask)
        }
    }))
}

pub(crate) fn constant(push: impl FnOnce(&mut ColumnBuffer)) -> ColumnBuffer {
    let mut buffer = ColumnBuffer::default();
    push(&mut buffer);
    buffer
}

/// How many bytes a value of each column can have, where a hash has to know.
fn widths(data: &[u8]) -> Result<Vec<usize>, BinlogError> {
    const VARCHAR: [u8; 2] = [15, 253];
    let mut reader = Reader::new(NAME, data);
    head(&mut reader)?;
    let count = reader.lenenc_len()?;
    let codes = reader.take(count)?;
    let mut meta = Reader::new(NAME, reader.lenenc_bytes()?);
    let width = |code: &u8| {
        let mut ahead = meta.clone();
        let (layout, ..) = Layout::read(*code, &mut meta)?;
        Ok(match layout {
            _ if VARCHAR.contains(code) => usize::from(ahead.u16()?),
            Layout::Fixed(width) => width,
            Layout::Prefixed { prefix: 0 | 1, pad: 0 } => usize::from(u8::MAX),
            Layout::Prefixed { pad: 0, .. } => usize::from(u16::MAX),
            Layout::Prefixed { pad, .. } => pad,
            _ => 0,
        })
    };
    codes.iter().map(width).collect()
}

impl Selection {
    /// [`Rows::write_next`] of a narrowed plan.
    pub(crate) fn write_next(
        &self,
        rows: &mut Rows<'_>,
        plan: &TablePlan,
        columns: &mut TableColumns,
    ) -> Result<(), BinlogError> {
        let op = rows.op;
        if op != Op::Insert {
            let before =
                if op == Op::Update { &mut columns.before } else { &mut columns.identities };
            rows.image(plan, |column, raw| {
                let nth = plan.identity.iter().position(|&key| usize::from(key) == column);
                nth.map_or(Ok(()), |nth| {
                    self.write(column, &plan.columns[column], raw, &mut before[nth])
                })
            })?;
        }
        if op != Op::Delete {
            let images = &mut columns.images;
            rows.image(plan, |column, raw| match self.place(column) {
                None => Ok(()),
                Some(at) => self.write(column, &plan.columns[column], raw, &mut images[at]),
            })?;
        }
        Ok(())
    }

    fn place(&self, column: usize) -> Option<usize> {
        self.outputs.get(column)?.as_ref().map(|(at, _)| *at)
    }

    fn write(
        &self,
        column: usize,
        plan: &ColumnPlan,
        raw: Option<&[u8]>,
        out: &mut ColumnBuffer,
    ) -> Result<(), BinlogError> {
        let Some(Some((_, output))) = self.outputs.get(column) else { return Ok(()) };
        match (output, raw) {
            (Output::Constant(value), _) => out.append(value),
            (_, None) => out.push_null(),
            (Output::Keep, Some(raw)) => plan.write(raw, out)?,
            (Output::Hash(mask), Some(raw)) => mask.write(plan, raw, &*self.digest, out)?,
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
