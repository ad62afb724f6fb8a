//! The snapshot: every table as it is, without a lock and without writing to the source, while the log
//! goes on.
//!
//! A part of the source is read inside a *window* of the log. The window opens at a place of which
//! everything before it is visible to a reader (proven by GTIDs on MySQL, by the server's own account on
//! MariaDB); then a consistent read begins, and the end of the log is noted: everything that the reader
//! sees lies before that. When capture comes to the end of the window, what was read is placed there,
//! less the rows that the log touched inside it: what the log told of them is newer.
//!
//! ```text
//!            capture                               reader
//!   Open  ◀─────────────────────────────────────── which table comes next?
//!   watch the table from here (R) ───────────────▶ wait until all before R is visible
//!      │                                           begin a consistent read, note the log's end (H)
//!      │  log's changes are carried                read a chunk of rows
//!   Place ◀─────────────────────────────────────── the chunk, and H
//!   at H: drop the keys that were touched since R,
//!   send the rest as "these are all rows of this range" ─▶ taken, or again
//! ```
//!
//! How far it has come is a cursor in every batch, kept by the target with its watermark: a publisher
//! that lost all of its state goes on where the target stands.

mod bar;
pub mod catalog;
mod chunk;
pub mod columns;
mod family;
mod json;
mod key;
mod objects;
mod reader;
mod staging;
mod window;

pub(crate) use catalog::{Catalog, without_gtids};
pub(crate) use family::refuse_left_out;
pub(crate) use reader::{Context, run};
pub(crate) use window::{Ask, Coordinator};

use std::sync::Arc;
use tokio::sync::oneshot;
use tributary_wire::{Item, SnapshotCursor, SnapshotProgress, Statement, TableShape};

/// A table's database and name.
pub type TableName = (String, String);

/// What the reader is told when a window opens.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    /// The file number and the offset at which it opens.
    pub(crate) file: u32,
    pub(crate) offset: u64,
    /// The GTIDs before that place.
    pub(crate) gtids: Option<String>,
    /// How far the snapshot has come.
    pub(crate) cursor: SnapshotCursor,
}

/// What was read in a window.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Where the window ends: file number and offset.
    pub(crate) end: (u32, u64),
    /// How exactly the window's end is where the reader stands: for what cannot be told apart row by row.
    pub(crate) exact: Exact,
    /// To be placed first, in order.
    pub(crate) items: Vec<(Item, Option<Statement>)>,
    /// To be placed after them.
    pub(crate) rows: Option<Rows>,
    /// How far the snapshot has come then; `None` when it is complete.
    pub(crate) cursor: Option<SnapshotCursor>,
    /// How far that is, in numbers.
    pub(crate) progress: SnapshotProgress,
}

/// What is asked of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exact {
    /// Rows that were touched can be told apart.
    No,
    /// The read stands exactly at the window's end, as MariaDB knows of its own.
    Here,
    /// These, and no others, are the transactions before the window's end.
    Gtids(String),
}

/// Rows of a range of keys.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) shape: Arc<TableShape>,
    pub(crate) arena: chunk::Arena,
    /// The key below the range, in wire form; empty for none.
    pub(crate) lower: Vec<u8>,
    /// The last key of the range, in wire form; empty when it has no end.
    pub(crate) upper: Vec<u8>,
    /// They are a range of keys; otherwise they are rows of a table that is copied in one go.
    pub(crate) ranged: bool,
    /// They continue the rows before, of such a table.
    pub(crate) append: bool,
    /// More of them follow at the same place of the log.
    pub(crate) more: bool,
    /// Another table follows there.
    pub(crate) goes_on: bool,
}

/// What became of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was placed.
    Taken,
    /// The log was in its way: read again.
    Again,
}

pub(crate) type Answer<T> = oneshot::Sender<T>;
