//! The side of the loop that owns capture: opens windows, and places what was read in them.

use super::chunk::Arena;
use super::{Answer, Exact, Opened, Reading, Rows, TableName, Verdict, staging};
use crate::capture::{Capture, CaptureError};
use crate::{Error, metrics};
use std::collections::HashSet;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tributary_binlog::Gtids;
use tributary_wire::{Chunk, Seal, SnapshotCursor, SnapshotProgress, TableColumns, TableShape};

/// What the reader asks.
#[derive(Debug)]
pub(crate) enum Ask {
    /// To open a window.
    Open {
        /// The table to watch; without one, definitions of any kind.
        watch: Option<TableName>,
        /// The log is to stand still at the window's end until the last rows are placed.
        hold: bool,
        answer: Answer<Opened>,
    },
    /// To place what was read in it.
    Place { reading: Box<Reading>, answer: Answer<Verdict> },
}

/// See the module.
pub(crate) struct Coordinator {
    asks: mpsc::Receiver<Ask>,
    task: JoinHandle<Result<(), Error>>,
    pending: Option<Ask>,
    held: bool,
    /// Rows of the same place follow.
    continues: bool,
    /// The cursor when the window opened.
    opened_at: Option<SnapshotCursor>,
    /// How far the snapshot has come.
    pub(crate) progress: SnapshotProgress,
}

/// More keys than these are not kept: then the chunk is read again, smaller.
const KEPT_MAX: usize = 4096;

// === impl Coordinator ===

impl Coordinator {
    /// Answers the reader that runs as `task`.
    pub(crate) fn new(asks: mpsc::Receiver<Ask>, task: JoinHandle<Result<(), Error>>) -> Self {
        Self {
            asks,
            task,
            pending: None,
            held: false,
            continues: false,
            opened_at: None,
            progress: SnapshotProgress::default(),
        }
    }

    /// True while the log has to stand still.
    pub(crate) fn holds_log(&self, capture: &Capture) -> bool {
        match &self.pending {
            // Up to the end of its window.
            Some(Ask::Place { reading, .. }) if self.held => is_there(capture, reading.end),
            _ => self.held,
        }
    }

    /// Waits for what the reader asks next, when nothing it asked is pending. False at its end.
    ///
    /// # Errors
    /// What ended the reader.
    pub(crate) async fn listen(&mut self) -> Result<bool, Error> {
        if self.pending.is_some() {
            return std::future::pending().await;
        }
        self.pending = self.asks.recv().await;
        if self.pending.is_some() {
            return Ok(true);
        }
        match (&mut self.task).await {
            Ok(outcome) => outcome.map(|()| false),
            Err(error) => Err(Error::Snapshot { reason: format!("its reader failed: {error}") }),
        }
    }

    /// Answers what is pending, if the log has come to where it can be answered.
    ///
    /// # Errors
    /// [`CaptureError`], for a row that no message holds.
    pub(crate) fn answer(
        &mut self,
        capture: &mut Capture,
        bytes_soft: usize,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        match self.pending.take() {
            Some(Ask::Open { watch, hold, answer }) if capture.may_place() => {
                self.open(capture, watch, hold, answer);
            }
            Some(Ask::Place { reading, answer })
                if capture.may_place() && is_there(capture, reading.end) =>
            {
                let verdict = self.place(capture, *reading, bytes_soft, sealed)?;
                // A reader that is gone says so itself.
                let _ = answer.send(verdict);
            }
            pending => self.pending = pending,
        }
        Ok(())
    }

    fn open(
        &mut self,
        capture: &mut Capture,
        watch: Option<TableName>,
        hold: bool,
        answer: Answer<Opened>,
    ) {
        let Some(cursor) = capture.cursor().cloned() else { return };
        capture.watch(watch);
        (self.held, self.continues) = (hold, false);
        self.opened_at = Some(cursor.clone());
        let at = capture.read();
        let gtids = capture.gtids().map(Gtids::to_string);
        let _ = answer.send(Opened { file: at.file, offset: at.offset, gtids, cursor });
    }

    fn place(
        &mut self,
        capture: &mut Capture,
        reading: Reading,
        bytes_soft: usize,
        sealed: &mut Vec<Seal>,
    ) -> Result<Verdict, CaptureError> {
        let mut kept = HashSet::new();
        if !self.continues {
            let seen = capture.seen();
            kept = seen.keys;
            let is_exact = match &reading.exact {
                Exact::No => true,
                Exact::Here => is_just_there(capture, reading.end),
                Exact::Gtids(seen) => {
                    let seen = Gtids::parse(seen, false).ok();
                    is_just_there(capture, reading.end) && seen.as_ref() == capture.gtids()
                }
            };
            let stayed = capture.cursor() == self.opened_at.as_ref();
            if seen.statements > 0 || !is_exact || !stayed || kept.len() > KEPT_MAX {
                self.held = false;
                return Ok(Verdict::Again);
            }
        }
        for (item, statement) in &reading.items {
            capture.place(item, statement.as_ref(), sealed)?;
        }
        let more = reading.rows.as_ref().is_some_and(|rows| rows.more);
        let goes_on = more || reading.rows.as_ref().is_some_and(|rows| rows.goes_on);
        match &reading.rows {
            Some(rows) => {
                let cursor = reading.cursor.filter(|_| !more);
                Placing { capture, rows, kept: &kept, sealed }.all(bytes_soft, cursor.as_ref())?;
            }
            None => capture.placed(reading.cursor, sealed)?,
        }
        (self.held, self.continues) = (goes_on, goes_on);
        self.progress = reading.progress;
        metrics::snapshot_progress(&self.progress);
        Ok(Verdict::Taken)
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_there(capture: &Capture, (file, offset): (u32, u64)) -> bool {
    let at = capture.read();
    (at.file, at.offset) >= (file, offset)
}

fn is_just_there(capture: &Capture, (file, offset): (u32, u64)) -> bool {
    let at = capture.read();
    (at.file, at.offset) == (file, offset)
}

/// Rows on their way into batches.
struct Placing<'a> {
    capture: &'a mut Capture,
    rows: &'a Rows,
    kept: &'a HashSet<Vec<u8>>,
    sealed: &'a mut Vec<Seal>,
}

// === impl Placing ===

impl Placing<'_> {
    /// Places all rows, in as many chunks as it takes.
    fn all(
        &mut self,
        bytes_soft: usize,
        cursor: Option<&SnapshotCursor>,
    ) -> Result<(), CaptureError> {
        let arena = &self.rows.arena;
        let mut first = 0;
        loop {
            let (mut bytes, mut end) = (0, first);
            while end < arena.len() && (end == first || bytes < bytes_soft) {
                bytes += arena.row_bytes(end);
                end += 1;
            }
            self.range(first, end, cursor)?;
            first = end;
            if first >= arena.len() {
                return Ok(());
            }
        }
    }

    /// Places these rows; by halves where no message holds them.
    fn range(
        &mut self,
        first: usize,
        end: usize,
        cursor: Option<&SnapshotCursor>,
    ) -> Result<(), CaptureError> {
        if self.chunk(first, end, cursor, false)? {
            return Ok(());
        }
        if end - first > 1 {
            let middle = first + (end - first) / 2;
            self.range(first, middle, cursor)?;
            return self.range(middle, end, cursor);
        }
        if self.chunk(first, end, cursor, true)? {
            return Ok(());
        }
        let bytes = if first < end { self.rows.arena.row_bytes(first) } else { 0 };
        Err(CaptureError::TooLarge { at: self.capture.read(), bytes })
    }

    /// One chunk; false when it does not fit a message.
    fn chunk(
        &mut self,
        first: usize,
        end: usize,
        cursor: Option<&SnapshotCursor>,
        staged: bool,
    ) -> Result<bool, CaptureError> {
        let Rows { shape, arena, ranged, .. } = self.rows;
        let is_last = end == arena.len();
        let lower = if first == 0 { self.rows.lower.clone() } else { arena.key(first - 1, shape) };
        let upper = if is_last { self.rows.upper.clone() } else { arena.key(end - 1, shape) };
        let mut columns = TableColumns::of(shape);
        let append = self.rows.append || (first > 0 && !ranged);
        let mut chunk = Chunk { append, ..Chunk::default() };
        for row in first..end {
            if *ranged && self.kept.contains(&arena.key(row, shape)) {
                continue;
            }
            chunk.rows += 1;
            if staged {
                staging::row(self.capture, shape, arena, row, &mut columns, self.sealed)?;
            } else {
                push(arena, row, shape, &mut columns);
            }
        }
        if *ranged {
            (chunk.lower, chunk.upper) = (!lower.is_empty(), !upper.is_empty());
            for bound in [&lower, &upper].into_iter().filter(|bound| !bound.is_empty()) {
                identity(bound, &mut columns);
            }
            self.kept.iter().for_each(|key| identity(key, &mut columns));
            chunk.kept = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        }
        let cursor = cursor.and_then(|cursor| match (is_last, ranged) {
            (true, _) => Some(cursor.clone()),
            (false, true) => Some(SnapshotCursor { key: upper, complete: false, ..cursor.clone() }),
            (false, false) => None,
        });
        self.capture.place_chunk(shape, columns, chunk, cursor, self.sealed)
    }
}

fn push(arena: &Arena, row: usize, shape: &TableShape, columns: &mut TableColumns) {
    for column in 0..shape.columns.len() {
        columns.images[column].push_encoded(arena.cell(row, column));
    }
}

fn identity(key: &[u8], columns: &mut TableColumns) {
    // Our own encoding, just written.
    for (cell, column) in tributary_wire::split_cells(key).into_iter().zip(&mut columns.identities)
    {
        column.push_encoded(cell);
    }
}
