//! The rows of one table, while a batch is being built.

use crate::TableShape;
use crate::batch::Op;
use crate::cell::ColumnBuffer;
use crate::size::{self, Size};
use std::sync::Arc;

/// Where the row decoder writes one row: the columns of one table.
#[derive(Debug, Default)]
pub struct TableColumns {
    /// One buffer per column: new row images.
    pub images: Vec<ColumnBuffer>,
    /// One buffer per identity column: identities of rows that go. A deleted row's goes here.
    pub identities: Vec<ColumnBuffer>,
    /// One buffer per identity column: the identity of a changed row before the change. The builder
    /// compares it with the new image and keeps it only when it differs.
    pub before: Vec<ColumnBuffer>,
}

#[derive(Debug)]
pub(crate) struct TableDraft {
    pub(crate) shape: Arc<TableShape>,
    pub(crate) identity: Vec<u16>,
    pub(crate) columns: TableColumns,
    /// What its rows take.
    rows: Size,
}

// === impl TableColumns ===

impl TableColumns {
    /// Empty columns for a table's rows.
    pub fn of(shape: &TableShape) -> Self {
        let buffers = |n: usize| vec![ColumnBuffer::default(); n];
        let key = if shape.has_key() { shape.primary_key.len() } else { shape.columns.len() };
        Self {
            images: buffers(shape.columns.len()),
            identities: buffers(key),
            before: buffers(key),
        }
    }
}

// === impl TableDraft ===

impl TableDraft {
    pub(crate) fn new(shape: Arc<TableShape>) -> Self {
        let identity = shape.identity();
        let columns = TableColumns::of(&shape);
        Self { shape, identity, columns, rows: Size::default() }
    }

    /// A table with all its rows, for one chunk.
    pub(crate) fn filled(shape: Arc<TableShape>, columns: TableColumns) -> Self {
        let identity = shape.identity();
        let mut draft = Self { shape, identity, columns, rows: Size::default() };
        debug_assert!(draft.is_even(), "the columns of {:?} differ in length", draft.shape);
        let buffers = || draft.columns.images.iter().chain(&draft.columns.identities);
        draft.rows = Size {
            bytes: buffers().map(|buffer| buffer.encoded().len()).sum(),
            cells: buffers().map(|buffer| u64::from(buffer.len())).sum(),
        };
        draft
    }

    /// What its rows take.
    pub(crate) fn rows(&self) -> Size {
        self.rows
    }

    fn buffers(&mut self) -> impl Iterator<Item = &mut ColumnBuffer> {
        self.columns.images.iter_mut().chain(&mut self.columns.identities)
    }

    pub(crate) fn save(&mut self, undo: &mut Vec<(usize, u32)>) {
        undo.clear();
        undo.extend(self.buffers().map(|buffer| (buffer.encoded().len(), buffer.len())));
        self.columns.before.iter_mut().for_each(ColumnBuffer::clear);
    }

    pub(crate) fn restore(&mut self, undo: &[(usize, u32)]) {
        for (buffer, &(bytes, len)) in self.buffers().zip(undo) {
            buffer.truncate(bytes, len);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == Size::default()
    }

    /// What it takes without its rows.
    pub(crate) fn table(&self) -> Size {
        size::table(&self.shape)
    }

    /// The same, and nothing once it has a row.
    pub(crate) fn table_unless_counted(&self) -> Size {
        if self.is_empty() { self.table() } else { Size::default() }
    }

    /// What the row takes that was written last and not kept yet.
    pub(crate) fn last_row(&self, op: Op) -> Size {
        let stored = self.columns.images.iter().chain(&self.columns.identities);
        let bytes: usize = stored.map(|buffer| buffer.encoded().len()).sum();
        let images = if op.has_image() { self.columns.images.len() } else { 0 };
        let identities = if op.has_identity() { self.columns.identities.len() } else { 0 };
        Size { bytes: bytes - self.rows.bytes, cells: (images + identities) as u64 }
    }

    /// Keeps the last row, and returns the indexes of its image and its identity.
    pub(crate) fn keep(&mut self, row: Size) -> (u32, u32) {
        self.rows += row;
        let last =
            |buffers: &[ColumnBuffer]| buffers.first().map_or(0, |b| b.len().saturating_sub(1));
        (last(&self.columns.images), last(&self.columns.identities))
    }

    /// Tells an update that moves the row's identity from one that does not.
    pub(crate) fn settle(&mut self, op: Op, undo: &[(usize, u32)]) -> Op {
        debug_assert!(self.is_even(), "the columns of {:?} differ in length", self.shape);
        if op != Op::Update {
            return op;
        }
        let moved = !self.shape.has_key()
            || self.identity.iter().zip(&self.columns.before).any(|(&column, before)| {
                let column = usize::from(column);
                self.columns.images[column].encoded()[undo[column].0..] != *before.encoded()
            });
        if !moved {
            return Op::Update;
        }
        for (identity, before) in self.columns.identities.iter_mut().zip(&self.columns.before) {
            identity.append(before);
        }
        Op::Rekey
    }

    /// A reader takes every column of a list for as long as its first.
    fn is_even(&self) -> bool {
        let is_even =
            |columns: &[ColumnBuffer]| columns.windows(2).all(|two| two[0].len() == two[1].len());
        is_even(&self.columns.images) && is_even(&self.columns.identities)
    }
}
