//! What a pass leaves to be done besides its rows, and what it counts.

use tributary_schema::Ddl;
use tributary_wire::{Header, Names, Position, Statement};

/// Something that only a statement can do which commits by itself, and where it stands.
#[derive(Debug, Clone)]
pub struct Barrier<'a> {
    /// The device's position before it, which is the watermark when the pass is committed.
    pub before: Position,
    /// The position after it.
    pub after: Position,
    /// What is to be done.
    pub task: Task<'a>,
    /// What its batch says of itself.
    pub header: &'a Header,
}

/// See [`Barrier`].
#[derive(Debug, Clone)]
pub enum Task<'a> {
    /// A statement of the device is to take effect, once.
    Run(Order<'a>),
    /// A table is to be as its CREATE TABLE says.
    Define {
        /// The CREATE TABLE.
        order: Order<'a>,
        /// The table's database on the device.
        database: &'a str,
        /// The table.
        table: &'a str,
    },
    /// Databases that are not among these are to go, and the code that was kept of the device.
    Databases(&'a Names),
    /// Tables and views of a database that are not among these are to go.
    Tables {
        /// The database on the device.
        database: &'a str,
        /// Those that stay.
        names: &'a Names,
    },
}

/// A statement and what it does.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// The statement.
    pub statement: &'a Statement,
    /// What it does.
    pub ddl: Ddl,
}

// === impl Task ===

impl<'a> Task<'a> {
    /// The statement that it runs, if it is one.
    pub(crate) fn order(&self) -> Option<&Order<'a>> {
        match self {
            Self::Run(order) | Self::Define { order, .. } => Some(order),
            Self::Databases(_) | Self::Tables { .. } => None,
        }
    }
}

// === impl Order ===

impl Order<'_> {
    /// The tables that the statement is about: database and table, under their names at the device.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&str, &str)> {
        let default = self.statement.database.as_str();
        let tables = self.ddl.tables.iter();
        tables.map(move |name| (name.database.as_deref().unwrap_or(default), name.table.as_str()))
    }
}

/// Something is missing between the watermark and a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The run that has it.
    pub run: u64,
    /// The watermark when it was found; `None` for a device without one, or when it is not known.
    pub watermark: Option<Position>,
}

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Batches of which something was applied.
    pub applied: u64,
    /// Row changes applied.
    pub rows: u64,
    /// Rows of a snapshot written.
    pub snapshot_rows: u64,
    /// Chunks of a snapshot written.
    pub snapshot_chunks: u64,
    /// Batches that were applied already.
    pub duplicates: u64,
    /// Batches beyond the watermark, or of a device that is parked.
    pub dropped: u64,
}
