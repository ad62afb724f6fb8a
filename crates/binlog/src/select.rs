//! A plan narrowed to some of its columns: what a filter leaves out is never written, and what it
//! masks never has its own value in a batch.

use crate::mask::{self, Mask};
use crate::reader::Reader;
use crate::table_map::{NAME, TablePlan, head};
use crate::value::Layout;
use crate::{BinlogError, Server};
use std::fmt;
use std::sync::Arc;
use tributary_wire::{ColumnBuffer, ColumnKind, ColumnShape, TableShape};

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
    fn digest(&self, value: &[u8]) -> [u8; 32] {
        let mut hashing = self.begin();
        hashing.update(value);
        hashing.finish()
    }

    /// Begins to hash a value that comes in pieces.
    fn begin(&self) -> Box<dyn Hashing>;
}

/// A value that is being hashed.
pub trait Hashing: Send {
    /// Takes its next bytes.
    fn update(&mut self, bytes: &[u8]);
    /// The hash of all of them.
    fn finish(self: Box<Self>) -> [u8; 32];
}

/// How much a value of a column can hold, as far as its hash has to fit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// Bytes of a string or an integer.
    pub bytes: usize,
    /// Decimal digits of a DECIMAL.
    pub digits: u32,
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

/// A table's shape narrowed to what leaves the device, and what becomes of each cell on its way.
#[derive(Debug, Clone)]
pub struct Selection {
    shape: Arc<TableShape>,
    /// What each column of the table becomes, and at which place of the shape; `None` for one that is
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

// === impl TablePlan ===

impl TablePlan {
    /// Narrows the plan to what `choose` says of each column, by its index and shape. `data` is the
    /// event that it was compiled from, as `server` wrote it.
    ///
    /// # Errors
    /// [`SelectError`] for a choice with which rows could not be copied exactly.
    pub fn with_columns(
        self,
        data: &[u8],
        server: Server,
        choose: impl Fn(usize, &ColumnShape) -> Choice,
        digest: &Arc<dyn Digest>,
    ) -> Result<Self, SelectError> {
        let rooms = rooms(data, server)?;
        let room = |index: usize| rooms.get(index).copied().unwrap_or_default();
        Ok(match Selection::new(&self.shape, room, choose, digest)? {
            None => self,
            Some(selection) => {
                let shape = Arc::clone(selection.shape());
                Self { shape, selection: Some(Arc::new(selection)), ..self }
            }
        })
    }
}

// === impl Selection ===

impl Selection {
    /// Narrows `shape` to what `choose` says of each column, by its index and shape; `None` where all
    /// are kept. `room` tells what a column can hold.
    ///
    /// # Errors
    /// [`SelectError`] for a choice with which rows could not be copied exactly.
    pub fn new(
        shape: &TableShape,
        room: impl Fn(usize) -> Room,
        choose: impl Fn(usize, &ColumnShape) -> Choice,
        digest: &Arc<dyn Digest>,
    ) -> Result<Option<Self>, SelectError> {
        let choices: Vec<Choice> =
            shape.columns.iter().enumerate().map(|(n, column)| choose(n, column)).collect();
        if choices.iter().all(|choice| *choice == Choice::Keep) {
            return Ok(None);
        }
        let mut columns = Vec::with_capacity(choices.len());
        let mut outputs = Vec::with_capacity(choices.len());
        for (index, choice) in choices.into_iter().enumerate() {
            let output = output(shape, index, room(index), choice)?;
            outputs.push(output.map(|output| (columns.len(), output)));
            if outputs.last().is_some_and(Option::is_some) {
                columns.push(shape.columns[index].clone());
            }
        }
        let place = |column: &u16| outputs.get(usize::from(*column))?.as_ref().map(|(at, _)| *at);
        let primary_key = shape.primary_key.iter().filter_map(place);
        let primary_key = primary_key.filter_map(|at| u16::try_from(at).ok()).collect();
        let (database, table) = (shape.database.clone(), shape.table.clone());
        let shape = Arc::new(TableShape { database, table, columns, primary_key });
        Ok(Some(Self { shape, outputs, digest: Arc::clone(digest) }))
    }

    /// The shape of the rows that leave.
    pub fn shape(&self) -> &Arc<TableShape> {
        &self.shape
    }

    /// How many columns the table has.
    pub(crate) fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Where a column of the table stands in the shape; `None` for one that is left out.
    pub fn place(&self, column: usize) -> Option<usize> {
        self.outputs.get(column)?.as_ref().map(|(at, _)| *at)
    }

    /// True when what becomes of a column depends on its values.
    pub fn reads(&self, column: usize) -> bool {
        matches!(self.outputs.get(column), Some(Some((_, Output::Keep | Output::Hash(_)))))
    }

    /// True for a column that is carried as it is.
    pub fn keeps(&self, column: usize) -> bool {
        matches!(self.outputs.get(column), Some(Some((_, Output::Keep))))
    }

    /// Writes what becomes of one cell, given in wire form; nothing for a column that is left out.
    ///
    /// # Errors
    /// [`BinlogError`] for a cell that is none.
    pub fn write(
        &self,
        column: usize,
        cell: &[u8],
        out: &mut ColumnBuffer,
    ) -> Result<(), BinlogError> {
        const NULL: [u8; 1] = [0xc0];
        let Some(Some((_, output))) = self.outputs.get(column) else { return Ok(()) };
        match output {
            Output::Constant(value) => out.append(value),
            Output::Keep => out.push_encoded(cell),
            Output::Hash(_) if cell == NULL => out.push_null(),
            Output::Hash(mask) => mask.write(cell, &*self.digest, out)?,
        }
        Ok(())
    }

    /// What has to be known of a value that goes ahead and may not leave; `None` where it may.
    pub(crate) fn withheld(&self, column: usize, place: Option<usize>) -> Option<Withheld> {
        let hash = match self.outputs.get(column) {
            Some(Some((_, Output::Keep))) => return None,
            Some(Some((_, Output::Hash(mask)))) => {
                place.map(|place| (*mask, place, self.digest.begin()))
            }
            _ => None,
        };
        Some(Withheld { hash })
    }
}

/// A value that goes ahead, of which no piece may leave.
pub(crate) struct Withheld {
    /// Its hash, and where that belongs.
    hash: Option<(Mask, usize, Box<dyn Hashing>)>,
}

// === impl Withheld ===

impl Withheld {
    pub(crate) fn is_hash(&self) -> bool {
        self.hash.is_some()
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some((.., hashing)) = &mut self.hash {
            hashing.update(bytes);
        }
    }

    pub(crate) fn finish(self, buffers: &mut [ColumnBuffer]) {
        if let Some((mask, place, hashing)) = self.hash
            && let Some(out) = buffers.get_mut(place)
        {
            mask.put(&hashing.finish(), out);
        }
    }
}

/// What a column becomes; `None` for one that is left out.
fn output(
    table: &TableShape,
    index: usize,
    room: Room,
    choice: Choice,
) -> Result<Option<Output>, SelectError> {
    let shape = &table.columns[index];
    let name = || shape.name.clone();
    if choice == Choice::Keep {
        return Ok(Some(Output::Keep));
    }
    if !table.has_key() {
        return Err(SelectError::NoKey { column: name() });
    }
    let is_key = table.primary_key.iter().any(|&key| usize::from(key) == index);
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
            let mask = Mask::new(shape, room).ok_or_else(|| kind("hash"))?;
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

/// How much a value of each column can hold, as the event's metadata tells.
fn rooms(data: &[u8], server: Server) -> Result<Vec<Room>, BinlogError> {
    const VARCHAR: [u8; 2] = [15, 253];
    /// MariaDB's VARCHAR … COMPRESSED, whose length counts a byte of its own (`sql/field.h`).
    const COMPRESSED: u8 = 141;
    let mut reader = Reader::new(NAME, data);
    head(&mut reader)?;
    let count = reader.lenenc_len()?;
    let codes = reader.take(count)?;
    let mut meta = Reader::new(NAME, reader.lenenc_bytes()?);
    let room = |code: &u8| {
        let mut ahead = meta.clone();
        let (layout, ..) = Layout::read(*code, &mut meta, server)?;
        let bytes = match layout {
            _ if VARCHAR.contains(code) => usize::from(ahead.u16()?),
            _ if *code == COMPRESSED => usize::from(ahead.u16()?).saturating_sub(1),
            Layout::Fixed(width) => width,
            Layout::Prefixed { prefix: 0 | 1, pad: 0 } | Layout::Compressed { prefix: 0 | 1 } => {
                usize::from(u8::MAX)
            }
            Layout::Prefixed { pad: 0, .. } | Layout::Compressed { .. } => usize::from(u16::MAX),
            Layout::Prefixed { pad, .. } => pad,
            _ => 0,
        };
        let digits = match layout {
            Layout::Decimal { precision, .. } => u32::from(precision),
            _ => 0,
        };
        Ok(Room { bytes, digits })
    };
    codes.iter().map(room).collect()
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
