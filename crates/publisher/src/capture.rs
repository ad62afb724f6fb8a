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

use std::collections::HashMap;
use std::sync::Arc;
use tributary_binlog::{BinlogError, Body, Event, QueryEvent, Rows, TablePlan, table_map};
use tributary_schema::{SqlMode, TransactionKind};
use tributary_wire::{BatchBuilder, Header, Op, Position, Pushed, Seal, Statement};

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
    /// A system table: its rows are counted, so that positions do not depend on it.
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
}

/// Table maps are repeated before every statement; one entry per table that was written lately.
const MAPS_MAX: usize = 4096;

// === impl Capture ===

impl Capture {
    /// Goes on from `from`, reading at the boundary `resume` (at or before it). No message will be
    /// larger than `message_bytes_max`; a batch is sealed when it holds `body_bytes_soft` uncompressed.
    pub fn new(
        header: Header,
        from: Position,
        resume: Position,
        message_bytes_max: usize,
        body_bytes_soft: usize,
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
        if self.builder.body_bytes() >= self.body_bytes_soft && self.builder.has_changes() {
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

    fn gtid(
        &mut self,
        log: &LogEvent<'_>,
        gtid: Option<String>,
        time_us: Option<i64>,
        standalone: bool,
    ) {
        let start = log.span.map_or(self.offset, |(start, _)| start);
        // MariaDB's event leaves the server's id to the common header: domain-server-sequence.
        let gtid = gtid.map(|gtid| match gtid.split_once('-') {
            Some((domain, sequence)) if log.event.code == 162 => {
                format!("{domain}-{}-{sequence}", log.server_id)
            }
            _ => gtid,
        });
        self.open = Some(Open {
            start: Position::boundary(self.epoch, self.file, start),
            time_us: time_us.unwrap_or(log.time_us),
            gtid,
            standalone,
            begun: false,
            skip: 0,
            changed: false,
        });
    }

    /// Tells the batch of the open transaction, at the place where it goes on.
    fn begin(&mut self) -> Result<(), CaptureError> {
        let from = self.from;
        let Some(open) = self.open.as_mut() else {
            return Err(self.malformed("QUERY", "a transaction without a GTID event"));
        };
        if open.begun {
            return Ok(());
        }
        open.begun = true;
        if !from.is_boundary() && open.start <= from {
            // Inside this transaction is where an earlier batch was cut.
            if open.start.with_part(from.part) != from {
                return Err(CaptureError::NotThere(from));
            }
            open.skip = from.part;
        } else if open.start < self.builder.end() {
            return Err(CaptureError::NotThere(from));
        }
        let start = open.start.with_part(open.skip);
        self.builder.begin(start, open.time_us);
        Ok(())
    }

    fn commit(&mut self, log: &LogEvent<'_>) -> Result<(), CaptureError> {
        let open = self.open.take();
        let Some((open, (_, end))) = open.zip(log.span) else {
            return Err(self.malformed("XID", "a commit outside a transaction"));
        };
        if open.skip > 0 {
            return Err(CaptureError::NotThere(self.from));
        }
        self.offset = end;
        let end = self.read();
        if open.begun {
            self.builder.commit(end, open.gtid)
        } else {
            self.mark(open.gtid)
        }
        Ok(())
    }

    fn query(
        &mut self,
        log: &LogEvent<'_>,
        query: &QueryEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        use tributary_schema::Statement as Class;
        match tributary_schema::classify(query.sql, SqlMode(query.sql_mode)) {
            Class::Transaction(TransactionKind::Begin) => self.begin(),
            Class::Transaction(TransactionKind::Commit) => self.commit(log),
            Class::Transaction(TransactionKind::Savepoint { .. } | TransactionKind::Release { .. }) => Ok(()),
            Class::Transaction(kind) => self.undo(log, kind),
            Class::Dml { verb } => Err(self.event_error(BinlogError::Setting(format!(
                "{verb} was logged as a statement, not as rows: run SET GLOBAL binlog_format='ROW' on the device, and reconnect its applications"
            )))),
            Class::Ignored { .. } => self.ignored(log),
            Class::Ddl(_) | Class::Routine { .. } | Class::Unknown { .. } => self.statement(log, query, sealed),
        }
    }

    /// A transaction that undoes part of itself. With nothing carried there is nothing to undo.
    fn undo(&mut self, log: &LogEvent<'_>, kind: TransactionKind) -> Result<(), CaptureError> {
        if kind == TransactionKind::Rollback && self.open.as_ref().is_some_and(|open| !open.changed)
        {
            return self.commit(log);
        }
        Err(self.event_error(BinlogError::Unsupported(format!(
            "a transaction that was rolled back in part ({kind:?}), after changes to a table without transactions; this build does not carry that"
        ))))
    }

    /// A statement that needs no copy, alone or among others.
    fn ignored(&mut self, log: &LogEvent<'_>) -> Result<(), CaptureError> {
        if self.open.as_ref().is_some_and(|open| open.begun && !open.standalone) {
            return Ok(());
        }
        let gtid = self.open.take().and_then(|open| open.gtid);
        if let Some((_, end)) = log.span {
            self.offset = end;
        }
        self.mark(gtid);
        Ok(())
    }

    fn statement(
        &mut self,
        log: &LogEvent<'_>,
        query: &QueryEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        // Not within BEGIN: the statement is the transaction, unless rows follow it.
        let alone = self.open.as_ref().is_some_and(|open| !open.begun);
        self.begin()?;
        if !self.skip_one() {
            let [charset_client, collation_connection, collation_server] = query.charsets;
            let statement = Statement {
                database: query.database.clone(),
                sql: query.sql.to_vec(),
                sql_mode: query.sql_mode,
                charset_client,
                collation_connection,
                collation_server,
                collation_database: query.collation_database,
                no_foreign_key_checks: query.no_foreign_key_checks,
            };
            let mut pushed = self.builder.statement(&statement);
            if pushed == Pushed::Full {
                sealed.push(self.builder.seal()?);
                pushed = self.builder.statement(&statement);
            }
            if let Pushed::TooLarge(bytes) = pushed {
                return Err(CaptureError::TooLarge { at: self.read(), bytes });
            }
        }
        if alone && !ends_with_start_transaction(query.sql) { self.commit(log) } else { Ok(()) }
    }

    /// Notes a change; true when it was carried before and is to be passed over.
    fn skip_one(&mut self) -> bool {
        let Some(open) = self.open.as_mut() else { return false };
        open.changed = true;
        let skip = open.skip > 0;
        open.skip = open.skip.saturating_sub(1);
        skip
    }

    fn table_map(&mut self, data: &[u8]) -> Result<(), CaptureError> {
        let (table_id, database, _) =
            table_map::table_name(data).map_err(|source| self.event_error(source))?;
        if self.maps.get(&table_id).is_some_and(|(known, _)| known == data) {
            return Ok(());
        }
        let left = SYSTEM_DATABASES.contains(&database.as_str());
        let plan = TablePlan::compile(data)
            .and_then(|plan| if left { Ok(plan) } else { plan.with_names() })
            .map(Arc::new)
            .map_err(|source| self.event_error(source))?;
        if self.maps.len() >= MAPS_MAX {
            self.maps.clear();
        }
        let mapped = if left { Mapped::Left(plan) } else { Mapped::Carried(plan) };
        self.maps.insert(table_id, (data.to_vec(), mapped));
        Ok(())
    }

    fn rows(&mut self, log: &LogEvent<'_>, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        let rows = Rows::parse(log.event.code, log.event.data);
        let mut rows = rows.map_err(|source| self.event_error(source))?;
        if self.open.as_ref().is_none_or(|open| !open.begun) {
            return Err(self.malformed("rows", "rows outside a transaction"));
        }
        match self.maps.get(&rows.table_id) {
            None => Err(self.malformed("rows", "rows without a table map")),
            Some((_, Mapped::Left(plan))) => {
                let plan = Arc::clone(plan);
                while !rows.is_done() {
                    rows.skip_next(&plan).map_err(|source| self.event_error(source))?;
                    if !self.skip_one() {
                        self.builder.skip(1);
                    }
                }
                Ok(())
            }
            Some((_, Mapped::Carried(plan))) => {
                let plan = Arc::clone(plan);
                while !rows.is_done() {
                    self.row(&mut rows, &plan, sealed)?;
                }
                Ok(())
            }
        }
    }

    fn row(
        &mut self,
        rows: &mut Rows<'_>,
        plan: &TablePlan,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        if self.skip_one() {
            return rows.skip_next(plan).map_err(|source| self.event_error(source));
        }
        for _ in 0..2 {
            let here = rows.clone();
            let table = self.builder.table(&plan.shape);
            let op: Op = rows.op;
            let pushed = self.builder.row(table, op, |columns| rows.write_next(plan, columns));
            match pushed.map_err(|source| self.event_error(source))? {
                Pushed::Taken => return Ok(()),
                Pushed::TooLarge(bytes) => {
                    return Err(CaptureError::TooLarge { at: self.read(), bytes });
                }
                Pushed::Full => {
                    *rows = here;
                    sealed.push(self.builder.seal()?);
                }
            }
        }
        Ok(())
    }
}

/// The number at the end of a binlog file's name.
pub fn file_number(name: &str) -> Option<u32> {
    name.rsplit_once('.')?.1.parse().ok()
}

/// MySQL 8.0.21 and later log CREATE TABLE … SELECT as a statement with this suffix, its rows, and a
/// commit.
fn ends_with_start_transaction(sql: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sql);
    let mut words = text.split_whitespace().rev();
    let mut next_is = |word: &str| words.next().is_some_and(|w| w.eq_ignore_ascii_case(word));
    next_is("TRANSACTION") && next_is("START")
}
