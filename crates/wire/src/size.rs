//! What things take: in the body, and in the memory of a reader.

use crate::batch::{Header, Run, Statement, TableBlock, Transaction};
use crate::snapshot::Item;
use crate::{Cell, ColumnShape, TableShape};
use std::ops::{Add, AddAssign, SubAssign};

/// An upper bound of what something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size {
    /// In the body.
    pub(crate) bytes: usize,
    /// Unpacked, as so many cells.
    pub(crate) cells: u64,
}

/// A transaction without its runs: six numbers.
pub(crate) const TRANSACTION: Size = Size { bytes: 64, cells: cells(size_of::<Transaction>()) };
/// A run: three numbers.
pub(crate) const RUN: Size = Size { bytes: 16, cells: cells(size_of::<Run>()) };
/// The key in the cursor behind a chunk: no index has longer ones (3072 bytes), each cell has a head.
pub(crate) const CURSOR: Size = Size { bytes: 4096, cells: 0 };
pub(crate) const STATEMENT_CELLS: u64 = cells(size_of::<Statement>());
pub(crate) const ITEM_CELLS: u64 = cells(size_of::<Item>());
pub(crate) const TABLE_CELLS: u64 = cells(size_of::<TableBlock>());
/// A column's shape, and the heads of its images and of its identities.
pub(crate) const COLUMN_CELLS: u64 = cells(size_of::<ColumnShape>() + 2 * size_of::<Vec<Cell>>());

/// The positions and counts of a header, and what its GTIDs can grow by within a batch.
const HEADER_BYTES: usize = 1024;
/// The numbers of a column or a statement, and the heads of its strings.
const NUMBERS_BYTES: usize = 48;

const fn cells(bytes: usize) -> u64 {
    bytes.div_ceil(size_of::<Cell>()) as u64
}

/// A batch that holds nothing.
pub(crate) fn envelope(header: &Header) -> Size {
    let resume = &header.resume;
    let gtid = resume.gtid.as_ref().map_or(0, String::len);
    let snapshot = resume.snapshot.as_ref();
    let cursor = snapshot.map_or(0, |at| at.database.len() + at.table.len() + at.key.len());
    let names = header.source.len() + header.server.len();
    Size { bytes: HEADER_BYTES + names + gtid + cursor, cells: 0 }
}

/// A step of a snapshot, without what it refers to.
pub(crate) fn item(item: &Item) -> Size {
    let names = match item {
        Item::Statement(_) | Item::Chunk(_) | Item::Piece(_) => 0,
        Item::Define { database, table, .. } => database.len() + table.len(),
        Item::Databases(names) => names.bytes(),
        Item::Tables { database, names } => database.len() + names.bytes(),
    };
    Size { bytes: names + NUMBERS_BYTES, cells: ITEM_CELLS }
}

/// A piece of a value, without the run or item that places it.
pub(crate) fn piece(bytes: &[u8]) -> Size {
    Size { bytes: bytes.len() + 5, cells: 1 }
}

/// A statement without its run.
pub(crate) fn statement(statement: &Statement) -> Size {
    let texts = statement.sql.len() + statement.database.len() + statement.time_zone.len();
    let bytes = texts + 2 * NUMBERS_BYTES;
    Size { bytes, cells: STATEMENT_CELLS }
}

/// A table without its rows.
pub(crate) fn table(shape: &TableShape) -> Size {
    let columns: usize =
        shape.columns.iter().map(|column| column.name.len() + NUMBERS_BYTES / 2).sum();
    let names = shape.database.len() + shape.table.len();
    let bytes = columns + names + shape.primary_key.len() * 3 + NUMBERS_BYTES;
    Size { bytes, cells: TABLE_CELLS + shape.columns.len() as u64 * COLUMN_CELLS }
}

// === impl Size ===

impl Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size { bytes: self.bytes + other.bytes, cells: self.cells + other.cells }
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        *self = *self + other;
    }
}

impl SubAssign for Size {
    fn sub_assign(&mut self, other: Size) {
        self.bytes -= other.bytes;
        self.cells -= other.cells;
    }
}
