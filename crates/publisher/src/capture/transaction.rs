//! Where transactions begin and end, and the statements among them.

use super::scope::Concern;
use super::{Capture, CaptureError, LogEvent, Open};
use tributary_binlog::{BinlogError, Body, QueryEvent, Server};
use tributary_schema::{SqlMode, TransactionKind};
use tributary_wire::{Position, Pushed, Seal, Statement};

/// So much of a transaction is kept until its end is known; of a larger one nothing can be undone.
const HELD_BYTES_MAX: usize = 4 << 20;

fn undone() -> BinlogError {
    BinlogError::Lost(format!(
        "a transaction undoes changes of its own that are carried already (it holds more than {} MiB), or a statement",
        HELD_BYTES_MAX >> 20
    ))
}

impl Capture {
    pub(super) fn gtid(
        &mut self,
        log: &LogEvent<'_>,
        gtid: Option<String>,
        time_us: Option<i64>,
        standalone: bool,
    ) -> Result<(), CaptureError> {
        let start = log.span.map_or(self.offset, |(start, _)| start);
        self.server = if log.event.code == 162 { Server::MariaDb } else { Server::MySql };
        // MariaDB's event leaves the server's id to the common header: domain-server-sequence.
        let gtid = gtid.map(|gtid| match gtid.split_once('-') {
            Some((domain, sequence)) if log.event.code == 162 => {
                format!("{domain}-{}-{sequence}", log.server_id)
            }
            _ => gtid,
        });
        let known = |gtid: &String| self.gtids.as_ref().is_some_and(|gtids| gtids.contains(gtid));
        let known = gtid.as_ref().is_some_and(known);
        if known && !self.elsewhere {
            return Err(CaptureError::NotThere(self.read()));
        }
        self.open = Some(Open {
            start: Position::boundary(self.epoch, self.file, start),
            time_us: time_us.unwrap_or(log.time_us),
            gtid,
            standalone,
            known,
            is_xa: false,
            begun: false,
            held: std::mem::take(&mut self.spare),
            released: false,
            told: false,
            skip: 0,
            changes: 0,
        });
        Ok(())
    }

    /// A transaction of more than a statement begins.
    pub(super) fn begin(&mut self) -> Result<(), CaptureError> {
        match self.open.as_mut() {
            None => Err(self.malformed("QUERY", "a transaction without a GTID event")),
            Some(open) => {
                open.begun = true;
                Ok(())
            }
        }
    }

    /// True while the open transaction lies before the place to go on from: it was carried before.
    pub(super) fn is_past(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.start < self.from.floor())
    }

    /// An event that changes something: kept until nothing can undo it.
    pub(super) fn content(
        &mut self,
        log: &LogEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let is_past = self.is_past();
        let Some(open) = self.open.as_mut().filter(|open| open.begun) else {
            return Err(self.malformed("rows", "rows outside a transaction"));
        };
        if open.released {
            return if is_past { Ok(()) } else { self.carry(log, sealed) };
        }
        open.held.push(log);
        let (bytes, is_xa) = (open.held.bytes(), open.is_xa);
        match is_xa {
            true if !self.may_prepare(bytes) => Err(self.xa_too_large()),
            false if bytes > HELD_BYTES_MAX => self.release(sealed),
            _ => Ok(()),
        }
    }

    /// Carries what was kept of the open transaction; what follows is carried as it comes.
    fn release(&mut self, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        let is_past = self.is_past();
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        let held = std::mem::take(&mut open.held);
        open.released = true;
        if !is_past && !held.is_empty() {
            for log in held.events() {
                self.carry(&log, sealed)?;
                self.seal_if_full(sealed)?;
            }
        }
        self.spare = held.recycled();
        Ok(())
    }

    /// What follows is too large to be kept, and carried as it is read. False when it was before.
    pub(super) fn carries_at_once(&mut self, sealed: &mut Vec<Seal>) -> Result<bool, CaptureError> {
        let Some(open) = self.open.as_ref().filter(|open| open.begun) else {
            return Err(self.malformed("rows", "rows outside a transaction"));
        };
        if open.is_xa && !open.released {
            return Err(self.xa_too_large());
        }
        if !open.released {
            self.release(sealed)?;
        }
        self.tell()
    }

    fn carry(&mut self, log: &LogEvent<'_>, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        let body = log.event.parse().map_err(|source| self.event_error(source))?;
        match body {
            Body::TableMap => self.table_map(log.event.data),
            Body::Query(query) => self.statement(log, &query, sealed),
            _ => self.rows(log, sealed),
        }
    }

    /// Tells the batch of the open transaction, at the place where it goes on. False when all of it was
    /// carried before.
    pub(super) fn tell(&mut self) -> Result<bool, CaptureError> {
        let (from, is_past) = (self.from, self.is_past());
        let is_reached = self.is_reached();
        let Some(open) = self.open.as_mut() else {
            return Err(self.malformed("QUERY", "a transaction without a GTID event"));
        };
        if open.told || is_past {
            return Ok(!is_past);
        }
        open.begun = true;
        open.told = true;
        if open.start == from.floor() {
            // Inside this transaction is where an earlier batch was cut, unless `from` is a boundary.
            open.skip = from.changes();
        } else if !is_reached {
            return Err(CaptureError::NotThere(from));
        }
        let start = open.start.inside(open.skip);
        self.builder.begin(start, open.time_us);
        Ok(true)
    }

    pub(super) fn commit(
        &mut self,
        log: &LogEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        self.release(sealed)?;
        let Some(open) = self.open.take() else {
            return Err(self.malformed("XID", "a commit outside a transaction"));
        };
        if !open.told {
            return self.end_without_changes(log, open);
        }
        let Some((_, end)) = log.span else {
            return Err(self.malformed("XID", "a commit that has no place in the log"));
        };
        if open.skip > 0 {
            return Err(CaptureError::NotThere(self.from));
        }
        self.offset = end;
        let at = self.read();
        self.builder.commit(at, None);
        self.passed(at, open.gtid.as_deref())
    }

    /// The end of a transaction of which nothing is carried: it holds nothing, or was carried before,
    /// or waits for its outcome, or is undone.
    pub(super) fn end_without_changes(
        &mut self,
        log: &LogEvent<'_>,
        open: Open,
    ) -> Result<(), CaptureError> {
        if let Some((_, end)) = log.span {
            self.offset = end;
        }
        // What lies across the place to go on from does not end before it.
        if open.start < self.from.floor() && self.read() > self.from.floor() {
            return Err(CaptureError::NotThere(self.from));
        }
        self.mark(open.gtid.as_deref())?;
        self.spare = open.held.recycled();
        Ok(())
    }

    /// The log ended within a transaction: the server died while it wrote. MariaDB's replicas discard
    /// what there is of it, as the server itself did.
    pub(super) fn cut_off(&mut self, name: &str) -> Result<(), CaptureError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if open.told || self.server != Server::MariaDb {
            return Err(self.event_error(BinlogError::Lost(format!(
                "{name} follows inside a transaction, part of which is carried"
            ))));
        }
        self.spare = open.held.recycled();
        Ok(())
    }

    pub(super) fn query(
        &mut self,
        log: &LogEvent<'_>,
        query: &QueryEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        use tributary_schema::Statement as Class;
        match tributary_schema::classify(query.sql, SqlMode(query.sql_mode)) {
            Class::Transaction(kind) => self.control(log, kind, sealed),
            Class::Dml { verb } => Err(self.event_error(BinlogError::Setting(format!(
                "{verb} was logged as a statement, not as rows: run SET GLOBAL binlog_format='ROW' on the device, and reconnect its applications"
            )))),
            Class::Ignored { .. } => self.ignored(log),
            // Its rows follow, and then the commit.
            Class::Ddl(ddl) if ddl.starts_transaction => {
                self.begin()?;
                self.content(log, sealed)
            }
            Class::Ddl(_) | Class::Routine { .. } | Class::Unknown { .. } => {
                if self.open.as_ref().is_some_and(|open| open.begun) {
                    return self.content(log, sealed);
                }
                // Not within BEGIN, the statement is the transaction.
                self.statement(log, query, sealed)?;
                self.commit(log, sealed)
            }
        }
    }

    fn control(
        &mut self,
        log: &LogEvent<'_>,
        kind: TransactionKind,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        match kind {
            TransactionKind::Begin => self.begin(),
            TransactionKind::Commit => self.commit(log, sealed),
            TransactionKind::Rollback => self.roll_back(log),
            TransactionKind::Savepoint { name } => {
                if let Some(open) = self.open.as_mut().filter(|open| !open.released) {
                    open.held.savepoint(name);
                }
                Ok(())
            }
            TransactionKind::RollbackTo { name } => self.roll_back_to(&name),
            TransactionKind::Release { .. } => Ok(()),
            TransactionKind::Xa { verb, xid } => self.xa(log, verb, &xid, sealed),
        }
    }

    /// A transaction that undoes all of itself.
    fn roll_back(&mut self, log: &LogEvent<'_>) -> Result<(), CaptureError> {
        match self.open.take() {
            Some(open) if !open.told && !open.held.has_statement() => {
                self.end_without_changes(log, open)
            }
            _ => Err(self.event_error(undone())),
        }
    }

    fn roll_back_to(&mut self, name: &str) -> Result<(), CaptureError> {
        let is_past = self.is_past();
        let undone_all = self.open.as_mut().is_some_and(|open| match open.released {
            true => is_past,
            false => open.held.roll_back_to(name),
        });
        if undone_all { Ok(()) } else { Err(self.event_error(undone())) }
    }

    /// A statement that needs no copy, alone or among others.
    pub(super) fn ignored(&mut self, log: &LogEvent<'_>) -> Result<(), CaptureError> {
        if self.open.as_ref().is_some_and(|open| open.begun && !open.standalone) {
            return Ok(());
        }
        match self.open.take() {
            Some(open) => self.end_without_changes(log, open),
            None => {
                if let Some((_, end)) = log.span {
                    self.offset = end;
                }
                self.mark(None)
            }
        }
    }

    /// A time zone that means the same elsewhere: `SYSTEM` is the device's own.
    fn time_zone(&self, name: &str) -> String {
        let name = if name == "SYSTEM" { &self.system_time_zone } else { name };
        name.to_owned()
    }

    /// True for a statement whose effect was carried before, or is still to be brought by the snapshot
    /// under way.
    fn is_still_to_come(&mut self, query: &QueryEvent<'_>) -> bool {
        use tributary_schema::Statement as Class;
        if self.open.as_ref().is_some_and(|open| open.known) {
            return true;
        }
        if !self.scope.is_watchful() {
            return false;
        }
        let class = tributary_schema::classify(query.sql, SqlMode(query.sql_mode));
        let ddl = if let Class::Ddl(ddl) = &class { Some(ddl) } else { None };
        self.scope.note_statement(ddl, &query.database);
        match ddl.map(|ddl| self.scope.concern(ddl, &query.database)) {
            Some(Concern::Leave) => true,
            Some(Concern::FallBack(cursor)) => {
                // Lower than before is safe for what this batch holds already.
                self.set_cursor(Some(cursor));
                true
            }
            Some(Concern::Carry) => false,
            None => self.scope.cursor().is_some() && matches!(class, Class::Routine { .. }),
        }
    }

    /// Carries a statement as one change of the open transaction.
    pub(super) fn statement(
        &mut self,
        log: &LogEvent<'_>,
        query: &QueryEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        if !self.tell()? {
            return Ok(());
        }
        let left = self.is_still_to_come(query);
        if self.skip_one() {
            return Ok(());
        }
        if left {
            self.builder.skip(1);
            return Ok(());
        }
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
            timestamp_us: i64::from(log.seconds) * 1_000_000 + i64::from(query.microseconds),
            time_zone: self.time_zone(&query.time_zone),
            explicit_defaults_for_timestamp: query.explicit_defaults_for_timestamp,
        };
        let mut pushed = self.builder.statement(&statement);
        if pushed == Pushed::Full {
            sealed.push(self.seal()?);
            pushed = self.builder.statement(&statement);
        }
        self.taken(pushed)
    }
}
