//! Events in, sealed batches out. Pure: no clock, no socket.
//!
//! What every event does (types not named are refused by [`tributary_binlog::Event::parse`]):
//!
//! | event | effect |
//! |---|---|
//! | ROTATE | the position moves to the next file; between transactions that is a boundary |
//! | GTID, ANONYMOUS_GTID, MariaDB's GTID | a transaction begins here; it holds what follows |
//! | QUERY BEGIN | opens it |
//! | TABLE_MAP | compiled once per definition, kept until the file ends |
//! | rows | into the batch's columns; a batch that is full is sealed, the transaction goes on in the next |
//! | QUERY with DDL | a statement; a transaction of its own, except within CREATE TABLE … SELECT |
//! | QUERY with row changes | refused: `binlog_format` is not ROW |
//! | XID, QUERY COMMIT | the transaction ends: a boundary |
//! | heartbeat, and what only the server needs | nothing |

mod rows;
mod transaction;

use crate::filter::Filter;
use std::collections::HashMap;
use std::sync::Arc;
use tributary_binlog::{BinlogError, Body, Event, TablePlan};
use tributary_wire::{BatchBuilder, Header, Position, Seal};

/// Databases that belong to the server and not to the device's applications.
pub const SYSTEM_DATABASES: [&str; 4] =
    ["mysql", "sys", "information_schema", "performance_schema"];

/// An event with what its common header says.
#[derive(Debug, Clone, Copy)]
pub struct LogEvent<'a> {
    /// Type, flags and body.
    pub event: Event<'a>,
    /// Where it begins in the current file, and where the next begins; `None` for one that the server
    /// made up for this connection.
    pub span: Option<(u64, u64)>,
    /// The server that wrote it.
    pub server_id: u32,
    /// The time in its header: when its statement began, Unix seconds.
    pub seconds: u32,
    /// When the source wrote it, microseconds since the Unix epoch, as well as the log can tell.
    pub time_us: i64,
}

/// Why capture stops.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// An event that cannot be carried.
    #[error("at {at}: {source}")]
    Event {
        /// The last position before it.
        at: Position,
        /// What is wrong with it.
        source: BinlogError,
    },
    /// The log does not contain what the position promises.
    #[error(
        "the log does not continue from {0}: it was reset, or belongs to another server; the device needs a new snapshot"
    )]
    NotThere(Position),
    /// A change that the filter cannot carry exactly, or not without telling what must not leave.
    #[error("at {at}: {reason}: {remedy}")]
    Filter {
        /// The last position before it.
        at: Position,
        /// What is wrong with it.
        reason: String,
        /// What a person can do.
        remedy: String,
    },
    /// One row or statement that no message can hold.
    #[error(
        "at {at}: a change of {bytes} bytes does not fit a message: raise max_payload in nats-server's configuration above it"
    )]
    TooLarge {
        /// The last position before it.
        at: Position,
        /// What it takes.
        bytes: usize,
    },
    /// zstd failed.
    #[error("compressing a batch failed: {0}")]
    Compress(#[from] std::io::Error),
}

/// A transaction that is being read.
#[derive(Debug)]
struct Open {
    start: Position,
    time_us: i64,
    gtid: Option<String>,
    /// MariaDB: the next statement is all of it.
    standalone: bool,
    /// The batch has been told of it.
    begun: bool,
    /// Changes at its beginning that were carried before.
    skip: u64,
    changed: bool,
}

enum Mapped {
    Carried(Arc<TablePlan>),
    /// A table of the server's own, or one that the filter leaves: its rows are counted, so that
    /// positions do not depend on it.
    Left(Arc<TablePlan>),
}

/// The state of one pass over the log.
pub struct Capture {
    builder: BatchBuilder,
    epoch: u32,
    file: u32,
    offset: u64,
    /// Where capture was told to go on, while it has not come past it.
    from: Position,
    open: Option<Open>,
    maps: HashMap<u64, (Vec<u8>, Mapped)>,
    body_bytes_soft: usize,
    system_time_zone: String,
    filter: Arc<Filter>,
}

/// Table maps are repeated before every statement; one entry per table that was written lately.
const MAPS_MAX: usize = 4096;

// === impl Capture ===

impl Capture {
    /// Goes on from `from`, reading at the boundary `resume` (at or before it). No message will be
    /// larger than `message_bytes_max`; a batch is sealed when it holds `body_bytes_soft` uncompressed.
    /// `system_time_zone` is what `SYSTEM` means on the device, as an offset such as `+08:00`. `filter`
    /// says what is carried.
    pub fn new(
        header: Header,
        from: Position,
        resume: Position,
        message_bytes_max: usize,
        body_bytes_soft: usize,
        system_time_zone: String,
        filter: Arc<Filter>,
    ) -> Self {
        Self {
            builder: BatchBuilder::new(header, from, message_bytes_max),
            epoch: from.epoch,
            file: resume.file,
            offset: resume.offset,
            from,
            open: None,
            maps: HashMap::new(),
            body_bytes_soft,
            system_time_zone,
            filter,
        }
    }

    /// Takes one event; batches that became full are appended to `sealed`.
    ///
    /// # Errors
    /// [`CaptureError`]; this pass is then over.
    pub fn take(&mut self, log: &LogEvent<'_>, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        let body = log.event.parse().map_err(|source| self.event_error(source))?;
        match body {
            // Its own end lies in the file that it leaves.
            Body::Rotate { file, offset } => return self.rotate(&file, offset),
            Body::Gtid { gtid, commit_time_us, standalone, begins } => {
                self.gtid(log, gtid, commit_time_us, standalone);
                if begins { self.begin() } else { Ok(()) }
            }
            Body::Query(query) => self.query(log, &query, sealed),
            Body::Xid => self.commit(log),
            Body::TableMap => self.table_map(log.event.data),
            Body::Rows => self.rows(log, sealed),
            Body::Ignored | Body::Heartbeat => Ok(()),
        }?;
        if let Some((_, end)) = log.span {
            self.offset = end;
        }
        // Transactions stay whole while they fit: inside one, a third more is let in.
        let third = if self.open.is_some() { self.body_bytes_soft / 3 } else { 0 };
        if self.builder.body_bytes() >= self.body_bytes_soft + third && self.builder.has_changes() {
            sealed.push(self.builder.seal()?);
        }
        Ok(())
    }

    /// True when a batch could be sent that ends between two transactions.
    pub fn is_ready(&self) -> bool {
        self.open.is_none() && self.builder.has_changes()
    }

    /// True when the position moved over things that need no batch.
    pub fn has_mark(&self) -> bool {
        self.open.is_none() && !self.builder.is_empty()
    }

    /// Seals what there is.
    ///
    /// # Errors
    /// When compression fails.
    pub fn seal(&mut self) -> Result<Seal, CaptureError> {
        Ok(self.builder.seal()?)
    }

    /// How far the log has been read.
    pub fn read(&self) -> Position {
        Position::boundary(self.epoch, self.file, self.offset)
    }

    fn event_error(&self, source: BinlogError) -> CaptureError {
        CaptureError::Event { at: self.read(), source }
    }

    fn malformed(&self, event: &'static str, detail: &str) -> CaptureError {
        self.event_error(BinlogError::Malformed { event, detail: detail.to_owned() })
    }

    fn rotate(&mut self, name: &str, offset: u64) -> Result<(), CaptureError> {
        let number = file_number(name).ok_or_else(|| {
            self.malformed("ROTATE", &format!("binlog file {name:?} has no number at its end"))
        })?;
        if number == self.file {
            return Ok(());
        }
        if self.open.is_some() || number < self.file {
            return Err(self.malformed(
                "ROTATE",
                &format!("{name} follows inside a transaction, or goes back"),
            ));
        }
        (self.file, self.offset) = (number, offset);
        self.maps.clear();
        self.mark(None);
        Ok(())
    }

    /// Moves the position to the boundary just read, unless that was carried before.
    fn mark(&mut self, gtid: Option<String>) {
        let at = self.read();
        if at > self.builder.end() {
            self.builder.mark(at, gtid);
        }
    }

    /// Notes a change; true when it was carried before and is to be passed over.
    fn skip_one(&mut self) -> bool {
        let Some(open) = self.open.as_mut() else { return false };
        open.changed = true;
        let skip = open.skip > 0;
        open.skip = open.skip.saturating_sub(1);
        skip
    }
}

/// The number at the end of a binlog file's name.
pub fn file_number(name: &str) -> Option<u32> {
    name.rsplit_once('.')?.1.parse().ok()
}
