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
//! | TRANSACTION_PAYLOAD | its events one after another, as if each had been read from the log |
//! | MariaDB's compressed events | what they are without compression |
//! | INTVAR, RAND, USER_VAR | belongs to the statement behind it: nothing for a view and for code, which say it themselves; another definition is refused |
//! | rows | kept until the transaction ends or is large; then values that are too large ahead in pieces, the rest into the batch's columns; a batch that is full is sealed, the transaction goes on in the next |
//! | QUERY with DDL | a statement; a transaction of its own, except within CREATE TABLE … SELECT |
//! | QUERY with row changes | refused: `binlog_format` is not ROW |
//! | QUERY SAVEPOINT, ROLLBACK TO, ROLLBACK | what was kept since then is dropped |
//! | XID, QUERY COMMIT | the transaction ends: a boundary |
//! | XA_PREPARE | what was kept waits for its outcome; in one phase it is a commit |
//! | QUERY XA COMMIT, XA ROLLBACK | the outcome: what waited is carried, or dropped |
//! | heartbeat, and what only the server needs | nothing |

mod held;
mod large;
mod place;
#[cfg(test)]
mod reread_tests;
mod rows;
mod scope;
mod statement;
mod transaction;
mod xa;

use crate::filter::Filter;
pub use large::StoredBody;
pub use place::Log;
pub use scope::Watch;

use held::Held;
use large::Opened;
use scope::Scope;
use std::collections::HashMap;
use std::sync::Arc;
use tributary_binlog::{BinlogError, Body, Event, Gtids, Server, TablePlan};
use tributary_wire::{Anchor, BatchBuilder, Header, Position, Resume, Seal};
use xa::Prepared;

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
        /// A snapshot would bring what is missing.
        needs_snapshot: bool,
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
    /// An event that was set aside cannot be read back.
    #[error(
        "an event that was set aside in state.dir cannot be read back: {0}; reading the log again"
    )]
    Stored(std::io::Error),
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
    /// It was carried before, out of another server's log.
    known: bool,
    /// What it changes is undone when it does not end.
    transactional: bool,
    /// It ends in XA PREPARE.
    is_xa: bool,
    /// It holds more than one statement, and has begun.
    begun: bool,
    /// Its changes, while something may still undo them.
    held: Held,
    /// They are carried as they come.
    released: bool,
    /// The batch has been told of it.
    told: bool,
    /// Changes at its beginning that were carried before.
    skip: u64,
    /// Changes that have been read of it.
    changes: u64,
}

/// What is known of a table id.
struct Mapped {
    /// The event's body, for telling a table that was defined anew.
    definition: Vec<u8>,
    plan: Arc<TablePlan>,
    /// Not carried: a system table, one that the filter leaves, or one that a snapshot has still to come to. Its rows are counted,
    /// so that positions do not depend on it.
    left: bool,
    /// The scope when this was decided.
    generation: u64,
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
    /// Memory of the last transaction, for the next.
    spare: Held,
    prepared: Prepared,
    /// The newest boundary that was read.
    boundary: Position,
    /// Where a reader restarts for a transaction that was prepared when the log stood there.
    pinned: Option<Resume>,
    maps: HashMap<u64, Mapped>,
    scope: Scope,
    /// What lies before the newest boundary; `None` where that is not known.
    gtids: Option<Gtids>,
    /// See [`Log::elsewhere`].
    elsewhere: Option<Gtids>,
    /// See [`Log::may_lose_tail`].
    may_lose_tail: bool,
    /// The server has said that it ends this file.
    is_stopped: bool,
    /// What stands before the newest boundary, and what was read of the transaction behind it.
    anchor: Option<Anchor>,
    anchoring: Option<Anchor>,
    /// See [`Log::lacks_cascades`].
    lacks_cascades: bool,
    /// Up to here the log is only read for its GTIDs.
    pass_until: Option<Position>,
    /// Whose log it is: every transaction begins with an event that only one of them writes.
    server: Server,
    /// An event that is not at its end.
    opened: Option<Opened>,
    /// A value of its session that the statement to come computes with.
    variable: Option<String>,
    message_bytes_max: usize,
    body_bytes_soft: usize,
    system_time_zone: String,
    filter: Arc<Filter>,
}

/// The server was shut down.
const STOP: u8 = 3;
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
        let builder = BatchBuilder::new(header, from, message_bytes_max);
        // Where another epoch begins nothing of it was carried.
        let from = if from.epoch == resume.epoch { from } else { resume };
        Self {
            builder,
            epoch: resume.epoch,
            file: resume.file,
            offset: resume.offset,
            from,
            open: None,
            spare: Held::default(),
            prepared: Prepared::default(),
            boundary: resume,
            pinned: None,
            maps: HashMap::new(),
            scope: Scope::default(),
            gtids: None,
            elsewhere: None,
            may_lose_tail: false,
            is_stopped: false,
            anchor: None,
            anchoring: None,
            lacks_cascades: false,
            pass_until: None,
            server: Server::MySql,
            opened: None,
            variable: None,
            message_bytes_max,
            body_bytes_soft,
            system_time_zone,
            filter,
        }
    }

    /// From now on a batch is sealed when it holds so many bytes uncompressed.
    pub fn set_batch_bytes(&mut self, soft: usize) {
        self.body_bytes_soft = soft;
    }

    /// Takes one event; batches that became full are appended to `sealed`. A compressed transaction,
    /// and rows that are read from a stream, are only opened: [`Capture::unpack`] goes on with them.
    ///
    /// # Errors
    /// [`CaptureError`]; this pass is then over.
    pub fn take(&mut self, log: &LogEvent<'_>, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        if self.passes_over(log)? {
            return Ok(());
        }
        let body = log.event.parse().map_err(|source| self.event_error(source))?;
        match body {
            // Its own end lies in the file that it leaves.
            Body::Rotate { file, offset } => return self.rotate(log, &file, offset),
            Body::Gtid { .. } => self.gtid(log, body),
            Body::Query(query) => self.query(log, &query, sealed),
            Body::Variable(name) => {
                self.variable = Some(name);
                Ok(())
            }
            Body::Xid => self.commit(log, sealed),
            Body::XaPrepare { xid, one_phase } => self.prepare(log, &xid, one_phase, sealed),
            Body::TableMap | Body::Rows => self.content(log, sealed),
            Body::Payload => return self.open_held_payload(log),
            Body::Compressed => return self.inflate(log, sealed),
            // Nothing follows it in this file: a place behind it would be one where it is not seen.
            Body::Ignored if log.event.code == STOP && log.span.is_some() => {
                self.is_stopped = true;
                return Ok(());
            }
            Body::Ignored | Body::Heartbeat => Ok(()),
        }?;
        if let Some((_, end)) = log.span {
            self.offset = end;
        }
        self.seal_if_full(sealed)
    }

    fn seal_if_full(&mut self, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        // Transactions stay whole while they fit: inside one, a third more is let in.
        let third = if self.open.is_some() { self.body_bytes_soft / 3 } else { 0 };
        if self.builder.body_bytes() >= self.body_bytes_soft + third && self.builder.has_changes() {
            sealed.push(self.seal()?);
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
        let resume = self.pinned.clone().unwrap_or_else(|| self.resume());
        let snapshot = self.scope.cursor().cloned();
        self.builder.resume_at(Resume { snapshot, ..resume });
        Ok(self.builder.seal()?)
    }

    /// Where a reader restarts who needs nothing that lies before the newest boundary.
    fn resume(&self) -> Resume {
        let gtid = self.gtids.as_ref().map(Gtids::to_string);
        Resume { position: self.boundary, gtid, snapshot: None, anchor: self.anchor }
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

    fn rotate(&mut self, log: &LogEvent<'_>, name: &str, offset: u64) -> Result<(), CaptureError> {
        let number = file_number(name).ok_or_else(|| {
            self.malformed("ROTATE", &format!("binlog file {name:?} has no number at its end"))
        })?;
        if number == self.file {
            return Ok(());
        }
        if number < self.file {
            return Err(self.malformed("ROTATE", &format!("{name} goes back")));
        }
        self.cut_off(name)?;
        let is_closed = log.span.is_some() || self.is_stopped;
        if self.may_lose_tail && !is_closed {
            return Err(self.event_error(lost_tail(self.file)));
        }
        (self.is_stopped, self.anchoring) = (false, None);
        (self.file, self.offset) = (number, offset);
        self.maps.clear();
        self.mark(None)
    }

    /// False while the transaction that the place to go on from lies in is still to come.
    fn is_reached(&self) -> bool {
        self.from.is_boundary() || self.builder.end() > self.from
    }

    /// Moves the position to the boundary just read, unless that was carried before.
    fn mark(&mut self, gtid: Option<&str>) -> Result<(), CaptureError> {
        let at = self.read();
        if at > self.builder.end() {
            if !self.is_reached() {
                return Err(CaptureError::NotThere(self.from));
            }
            self.builder.mark(at, None);
        }
        self.passed(at, gtid)
    }

    /// Notes a boundary, and the transaction that lies behind it now.
    fn passed(&mut self, at: Position, gtid: Option<&str>) -> Result<(), CaptureError> {
        self.boundary = at;
        self.anchor = self.anchoring.take().or(self.anchor);
        if at >= self.builder.end() {
            self.pinned = self.prepared.resume().cloned();
        }
        if let (Some(gtids), Some(gtid)) = (&mut self.gtids, gtid) {
            let inserted = gtids.insert(gtid);
            inserted.map_err(|source| self.event_error(source))?;
        }
        Ok(())
    }

    /// True while what is read was carried before.
    fn is_skipping(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.skip > 0)
    }

    /// The part behind the change that is read next.
    fn next_part(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.start.inside(open.changes + 1).part)
    }

    /// Notes a change; true when it was carried before and is to be passed over.
    fn skip_one(&mut self) -> bool {
        let Some(open) = self.open.as_mut() else { return false };
        open.changes += 1;
        let skip = open.skip > 0;
        open.skip = open.skip.saturating_sub(1);
        skip
    }
}

/// The server died while it wrote to a file, and did not sync what it wrote.
fn lost_tail(file: u32) -> BinlogError {
    BinlogError::Lost(format!(
        "binary log file {file} was not closed: the server died, and with sync_binlog other than 1 the log may lack \
         transactions that the tables kept (SET GLOBAL sync_binlog=1, and in the server's configuration, prevents it)"
    ))
}

/// The number at the end of a binlog file's name.
pub fn file_number(name: &str) -> Option<u32> {
    name.rsplit_once('.')?.1.parse().ok()
}
