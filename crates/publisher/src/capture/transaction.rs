//! Where transactions begin and end, and the statements among them.

use super::{Capture, CaptureError, LogEvent, Open};
use crate::filter::{self, Carriage};
use tributary_binlog::{BinlogError, QueryEvent};
use tributary_schema::{SqlMode, TransactionKind};
use tributary_wire::{Position, Pushed, Seal, Statement};

impl Capture {
    pub(super) fn gtid(
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
    pub(super) fn begin(&mut self) -> Result<(), CaptureError> {
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

    pub(super) fn commit(&mut self, log: &LogEvent<'_>) -> Result<(), CaptureError> {
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
            self.builder.commit(end, open.gtid);
        } else {
            self.mark(open.gtid);
        }
        Ok(())
    }

    pub(super) fn query(
        &mut self,
        log: &LogEvent<'_>,
        query: &QueryEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        use tributary_schema::Statement as Class;
        let class = tributary_schema::classify(query.sql, SqlMode(query.sql_mode));
        match &class {
            Class::Transaction(TransactionKind::Begin) => self.begin(),
            Class::Transaction(TransactionKind::Commit) => self.commit(log),
            Class::Transaction(TransactionKind::Savepoint { .. } | TransactionKind::Release { .. }) => Ok(()),
            Class::Transaction(kind) => self.undo(log, kind),
            Class::Dml { verb } => Err(self.event_error(BinlogError::Setting(format!(
                "{verb} was logged as a statement, not as rows: run SET GLOBAL binlog_format='ROW' on the device, and reconnect its applications"
            )))),
            Class::Ignored { .. } => self.ignored(log),
            // Its rows follow, and then the commit.
            Class::Ddl(ddl) if ddl.starts_transaction => self.statement(log, query, &class, sealed),
            // Not within BEGIN, the statement is the transaction.
            Class::Ddl(_) | Class::Routine { .. } | Class::Unknown { .. } => {
                let alone = self.open.as_ref().is_some_and(|open| !open.begun);
                self.statement(log, query, &class, sealed)?;
                if alone { self.commit(log) } else { Ok(()) }
            }
        }
    }

    /// A transaction that undoes part of itself. With nothing carried there is nothing to undo.
    pub(super) fn undo(
        &mut self,
        log: &LogEvent<'_>,
        kind: &TransactionKind,
    ) -> Result<(), CaptureError> {
        if *kind == TransactionKind::Rollback
            && self.open.as_ref().is_some_and(|open| !open.changed)
        {
            return self.commit(log);
        }
        Err(self.event_error(BinlogError::Unsupported(format!(
            "a transaction that was rolled back in part ({kind:?}), after changes to a table without transactions; this build does not carry that"
        ))))
    }

    /// A statement that needs no copy, alone or among others.
    pub(super) fn ignored(&mut self, log: &LogEvent<'_>) -> Result<(), CaptureError> {
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

    /// A time zone that means the same elsewhere: `SYSTEM` is the device's own.
    fn time_zone(&self, name: &str) -> String {
        let name = if name == "SYSTEM" { &self.system_time_zone } else { name };
        name.to_owned()
    }

    /// Carries a statement as one change of the open transaction.
    pub(super) fn statement(
        &mut self,
        log: &LogEvent<'_>,
        query: &QueryEvent<'_>,
        class: &tributary_schema::Statement,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        self.begin()?;
        if self.skip_one() {
            return Ok(());
        }
        let Some(statement) = self.carriage(log, query, class)? else {
            self.builder.skip(1);
            return Ok(());
        };
        let mut pushed = self.builder.statement(&statement);
        if pushed == Pushed::Full {
            sealed.push(self.builder.seal()?);
            pushed = self.builder.statement(&statement);
        }
        self.taken(pushed)
    }

    /// The statement as it is carried; `None` when it stays on the device.
    fn carriage(
        &self,
        log: &LogEvent<'_>,
        query: &QueryEvent<'_>,
        class: &tributary_schema::Statement,
    ) -> Result<Option<Statement>, CaptureError> {
        let (database, mode) = (query.database.as_str(), SqlMode(query.sql_mode));
        let session = filter::Session { database, sql: query.sql, mode };
        let carriage = self.filter.statement(class, session).map_err(|refusal| {
            let remedy = refusal.remedy.to_owned();
            CaptureError::Filter { at: self.read(), reason: refusal.reason, remedy }
        })?;
        let [charset_client, collation_connection, collation_server] = query.charsets;
        let mut statement = Statement {
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
        };
        match carriage {
            Carriage::Left => return Ok(None),
            Carriage::Whole => {}
            Carriage::Changed { sql, without_database, without_foreign_key_checks } => {
                statement.sql = sql.unwrap_or(statement.sql);
                statement.no_foreign_key_checks |= without_foreign_key_checks;
                if without_database {
                    statement.database.clear();
                }
            }
        }
        Ok(Some(statement))
    }
}
