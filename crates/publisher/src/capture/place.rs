//! Placing the steps of a snapshot between the log's transactions, and knowing which those are.

use super::{Capture, CaptureError, LogEvent, Watch};
use crate::anchor;
use std::sync::Arc;
use tributary_binlog::{Body, Gtids};
use tributary_wire::{
    Anchor, Chunk, Item, Position, Pushed, Seal, SnapshotCursor, Statement, TableColumns,
    TableShape,
};

/// A transaction begins.
const GTID: u8 = 33;
const ANONYMOUS_GTID: u8 = 34;
const TAGGED_GTID: u8 = 42;
const MARIADB_GTID: u8 = 162;

/// What sort of log it is.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The server folds names of databases and tables to lower case.
    pub folds_names: bool,
    /// It is another server's than the one that the copy was taken of: these transactions are carried
    /// already, and passed over ([`Gtids::passes`]).
    pub elsewhere: Option<Gtids>,
    /// The server does not sync its log: where it died, transactions may be missing at a file's end.
    pub may_lose_tail: bool,
    /// What stands before the place where reading begins.
    pub anchor: Option<Anchor>,
    /// Foreign keys act below it: the rows that they change are in no log.
    pub lacks_cascades: bool,
}

impl Capture {
    /// Goes on with what is known of the place where reading begins: the GTIDs before it, and the
    /// snapshot under way. With `pass_until`, the log is read from an earlier place, up to here only for
    /// its GTIDs: `gtids` are those before that place.
    #[must_use]
    pub fn with_account(
        mut self,
        gtids: Option<Gtids>,
        pass_until: Option<Position>,
        snapshot: Option<SnapshotCursor>,
        log: Log,
    ) -> Self {
        (self.gtids, self.pass_until) = (gtids, pass_until);
        (self.elsewhere, self.scope.folds_names) = (log.elsewhere, log.folds_names);
        (self.may_lose_tail, self.anchor) = (log.may_lose_tail, log.anchor);
        self.lacks_cascades = log.lacks_cascades;
        self.set_cursor(snapshot);
        self
    }

    /// Notes what an event looks like, before it is taken: where it stands in the log, and its CRC32.
    pub fn witness(&mut self, code: u8, span: Option<(u64, u64)>, crc32: u32) {
        let Some(span) = span else { return };
        if matches!(code, GTID | ANONYMOUS_GTID | TAGGED_GTID | MARIADB_GTID) {
            self.anchoring = Some(anchor::begin(self.file, span, crc32));
        } else if let Some(anchoring) = &mut self.anchoring {
            anchor::extend(anchoring, span, crc32);
        }
    }

    /// The GTIDs before the newest boundary.
    pub fn gtids(&self) -> Option<&Gtids> {
        self.gtids.as_ref()
    }

    /// How far the snapshot has come that is under way.
    pub fn cursor(&self) -> Option<&SnapshotCursor> {
        self.scope.cursor()
    }

    /// True between two transactions, past everything that was carried before.
    pub fn may_place(&self) -> bool {
        self.open.is_none()
            && self.pass_until.is_none()
            && self.read() >= self.from.floor()
            && (self.from.is_boundary() || self.read() > self.from)
    }

    /// Notes from here on what the log does to a table, or with `None` to definitions of any kind.
    pub fn watch(&mut self, table: Option<(String, String)>) {
        self.scope.watch(table);
    }

    /// What it has done since, and no more of it.
    pub fn seen(&mut self) -> Watch {
        self.scope.seen()
    }

    /// Places an item that refers to at most one statement.
    ///
    /// # Errors
    /// [`CaptureError::TooLarge`] when no message holds it.
    pub fn place(
        &mut self,
        item: &Item,
        statement: Option<&Statement>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        self.make_way(sealed)?;
        let mut pushed = self.builder.item(item.clone(), statement);
        if pushed == Pushed::Full {
            sealed.push(self.seal()?);
            pushed = self.builder.item(item.clone(), statement);
        }
        self.taken(pushed)
    }

    /// Places a piece of a value, and returns the part behind it.
    ///
    /// # Errors
    /// [`CaptureError::TooLarge`] when no message holds it.
    pub fn place_piece(
        &mut self,
        piece: &[u8],
        sealed: &mut Vec<Seal>,
    ) -> Result<u64, CaptureError> {
        self.make_way(sealed)?;
        let mut pushed = self.builder.item_piece(piece);
        if pushed == Pushed::Full {
            sealed.push(self.seal()?);
            pushed = self.builder.item_piece(piece);
        }
        self.taken(pushed)?;
        Ok(self.builder.end().part)
    }

    /// Places rows, in a batch that ends with them. False when no message holds them all: then nothing
    /// was placed.
    ///
    /// # Errors
    /// When compression fails.
    pub fn place_chunk(
        &mut self,
        shape: &Arc<TableShape>,
        columns: TableColumns,
        chunk: Chunk,
        cursor: Option<SnapshotCursor>,
        sealed: &mut Vec<Seal>,
    ) -> Result<bool, CaptureError> {
        self.make_way(sealed)?;
        if self.builder.has_items() {
            sealed.push(self.seal()?);
        }
        if self.builder.chunk(shape, columns, chunk) != Pushed::Taken {
            return Ok(false);
        }
        if let Some(cursor) = cursor {
            self.set_cursor(Some(cursor));
        }
        sealed.push(self.seal()?);
        Ok(true)
    }

    /// Ends the steps: the batch that holds the last of them says that the snapshot has come so far.
    ///
    /// # Errors
    /// When compression fails.
    pub fn placed(
        &mut self,
        cursor: Option<SnapshotCursor>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        self.make_way(sealed)?;
        self.set_cursor(cursor);
        sealed.push(self.seal()?);
        Ok(())
    }

    pub(super) fn set_cursor(&mut self, cursor: Option<SnapshotCursor>) {
        self.scope.set_cursor(cursor);
    }

    /// Items stand in batches of their own, at the boundary that has been read.
    fn make_way(&mut self, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        if self.builder.has_changes() && !self.builder.has_items() {
            sealed.push(self.seal()?);
        }
        self.mark(None)
    }

    /// Takes an event that lies before the place to begin at: only its GTID counts. True when it was
    /// one.
    pub(super) fn passes_over(&mut self, log: &LogEvent<'_>) -> Result<bool, CaptureError> {
        let Some(until) = self.pass_until else { return Ok(false) };
        let Some((start, end)) = log.span else {
            // Made up for this connection: where the log begins.
            return Ok(true);
        };
        if Position::boundary(self.epoch, self.file, start) >= until.floor() {
            self.pass_until = None;
            return Ok(false);
        }
        // Only GTID events are looked at: what the others hold may be of any sort.
        if matches!(log.event.code, GTID | ANONYMOUS_GTID | TAGGED_GTID) {
            let body = log.event.parse().map_err(|source| self.event_error(source))?;
            if let Body::Gtid { gtid, .. } = body {
                self.passed(self.boundary, gtid.as_deref())?;
            }
        }
        if Position::boundary(self.epoch, self.file, end) >= until.floor() {
            self.pass_until = None;
        }
        Ok(true)
    }
}
