//! The log's statements: what opens and ends transactions, and what is carried.

use super::scope::Concern;
use super::{Capture, CaptureError, LogEvent, SYSTEM_DATABASES};
use crate::filter::{Carriage, Decision, Session};
use std::borrow::Cow;
use tributary_binlog::{BinlogError, QueryEvent, Server};
use tributary_schema::{DdlKind, SqlMode, TransactionKind, fold_name, quote};
use tributary_wire::{Pushed, Seal, SnapshotCursor, Statement};

/// The number of a collation of utf8mb4 that every server has.
const UTF8MB4: u16 = 45;

/// A statement as it is read here.
struct Readable<'q> {
    class: tributary_schema::Statement,
    /// Its text, where it is not carried as it is in the log.
    text: Option<Cow<'q, [u8]>>,
}

impl Capture {
    pub(super) fn query(
        &mut self,
        log: &LogEvent<'_>,
        query: &QueryEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        use tributary_schema::Statement as Class;
        let variable = self.variable.take();
        match self.readable(query).class {
            Class::Transaction(kind) => self.control(log, kind, sealed),
            Class::Dml { verb } => Err(self.event_error(BinlogError::Setting(format!(
                "{verb} was logged as a statement, not as rows: run SET GLOBAL binlog_format='ROW' on the device, and reconnect its applications; where it changes a table of MariaDB that is versioned by transaction id, which is always logged so, ALTER TABLE … DROP SYSTEM VERSIONING"
            )))),
            Class::Ignored { .. } => self.ignored(log),
            // Its rows follow, and then the commit.
            Class::Ddl(ddl) if ddl.starts_transaction => {
                self.begin()?;
                self.content(log, sealed)
            }
            Class::Ddl(_) | Class::Routine { .. } | Class::Unknown { .. } => {
                if self.open.as_ref().is_some_and(|open| open.begun) {
                    return match variable {
                        None => self.content(log, sealed),
                        Some(name) => Err(self.depends_on(&name)),
                    };
                }
                // Not within BEGIN, the statement is the transaction.
                self.statement(log, query, variable.as_deref(), sealed)?;
                self.commit(log, sealed)
            }
        }
    }

    /// What a statement is, and its text in UTF-8 with names as this server folds them.
    fn readable<'q>(&self, query: &QueryEvent<'q>) -> Readable<'q> {
        use tributary_schema::Statement as Class;
        let mode = SqlMode(query.sql_mode);
        let Some(text) = tributary_schema::utf8(query.sql, query.charsets[0], mode) else {
            let text = "its client's character set is not known here".to_owned();
            return Readable { class: Class::Unknown { text }, text: None };
        };
        let text = match self.server {
            Server::MySql => tributary_schema::of_mysql(text, mode),
            Server::MariaDb => text,
        };
        let class = tributary_schema::classify(&text, mode);
        if !matches!(class, Class::Ddl(_)) {
            // Code is kept as it is.
            return Readable { class, text: None };
        }
        if self.scope.folds_names
            && let Some(folded) = tributary_schema::fold(&text, mode)
        {
            let class = tributary_schema::classify(&folded, mode);
            return Readable { class, text: Some(Cow::Owned(folded)) };
        }
        Readable { class, text: Some(text) }
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
                    open.held.savepoint(&name);
                }
                Ok(())
            }
            TransactionKind::RollbackTo { name } => self.roll_back_to(&name),
            TransactionKind::Release { .. } => Ok(()),
            TransactionKind::Xa { verb, xid } => self.xa(log, verb, &xid, sealed),
        }
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
    fn is_still_to_come(
        &mut self,
        query: &QueryEvent<'_>,
        class: &tributary_schema::Statement,
    ) -> bool {
        use tributary_schema::Statement as Class;
        if self.open.as_ref().is_some_and(|open| open.known) {
            return true;
        }
        if !self.scope.is_watchful() {
            return false;
        }
        let ddl = if let Class::Ddl(ddl) = class { Some(ddl) } else { None };
        self.scope.note_statement(ddl, &query.database);
        match ddl.map(|ddl| self.scope.concern(ddl, &query.database)) {
            Some(Concern::Leave) => true,
            Some(Concern::FallBack(cursor)) => {
                // Lower than before is safe for what this batch holds already. The cursor leaves the
                // device, and names nothing that stays.
                let is_named = self.filter.database(&cursor.database) == Decision::Carried;
                let start = SnapshotCursor { complete: true, ..SnapshotCursor::default() };
                self.set_cursor(Some(if is_named { cursor } else { start }));
                true
            }
            Some(Concern::Carry) => false,
            None => self.scope.cursor().is_some() && matches!(class, Class::Routine { .. }),
        }
    }

    fn depends_on(&self, variable: &str) -> CaptureError {
        self.event_error(BinlogError::Unsupported(format!(
            "a definition computes with {variable} of its session, which is another value at the shard: write the value itself into the statement; for what is in the log already, the device needs a new snapshot"
        )))
    }

    /// Carries a statement as one change of the open transaction. `variable` is what it computes with, if the log
    /// says so.
    pub(super) fn statement(
        &mut self,
        log: &LogEvent<'_>,
        query: &QueryEvent<'_>,
        variable: Option<&str>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        if !self.tell()? {
            return Ok(());
        }
        let mode = SqlMode(query.sql_mode);
        let Readable { class, text } = self.readable(query);
        let mut query = query.clone();
        if let Some(text) = &text {
            query.sql = text;
            query.charsets[0] = UTF8MB4;
        }
        if self.scope.folds_names {
            query.database = fold_name(&query.database);
        }
        let query = &query;
        let session = Session { database: &query.database, sql: query.sql, mode };
        let carriage = self.filter.statement(&class, session);
        // What a snapshot still brings needs no filter to judge the way it came about.
        let left = carriage == Ok(Carriage::Left) || self.is_still_to_come(query, &class);
        if self.skip_one() {
            return Ok(());
        }
        if left {
            let gone = if carriage == Ok(Carriage::Left) { None } else { self.gone(query, &class) };
            let Some(sql) = gone else {
                self.builder.skip(1);
                return Ok(());
            };
            let carriage = Carriage::Changed {
                sql: Some(sql),
                without_database: true,
                without_foreign_key_checks: true,
            };
            return self.carry_statement(&self.carried(log, query, carriage), sealed);
        }
        let carriage = carriage.map_err(|refusal| CaptureError::Filter {
            at: self.read(),
            reason: refusal.reason,
            remedy: refusal.remedy.to_owned(),
            needs_snapshot: refusal.needs_snapshot,
        })?;
        match variable.filter(|_| is_computed_once(&class)) {
            None => self.carry_statement(&self.carried(log, query, carriage), sealed),
            Some(name) => Err(self.depends_on(name)),
        }
    }

    fn carry_statement(
        &mut self,
        statement: &Statement,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let mut pushed = self.builder.statement(statement);
        if pushed == Pushed::Full {
            sealed.push(self.seal()?);
            pushed = self.builder.statement(statement);
        }
        self.taken(pushed)
    }

    /// In the place of a statement that is left to the snapshot: what takes away at the target what it took away
    /// on the device.
    fn gone(&self, query: &QueryEvent<'_>, class: &tributary_schema::Statement) -> Option<Vec<u8>> {
        let tributary_schema::Statement::Ddl(ddl) = class else { return None };
        if self.scope.cursor().is_none() || self.open.as_ref().is_some_and(|open| open.known) {
            return None;
        }
        let is_carried = |(database, table): &(String, String)| {
            !SYSTEM_DATABASES.contains(&database.as_str())
                && self.filter.decide(database, table) == Decision::Carried
        };
        let names: Vec<String> = self
            .scope
            .gone(ddl, &query.database)
            .iter()
            .filter(|name| is_carried(name))
            .map(|(database, table)| format!("{}.{}", quote(database), quote(table)))
            .collect();
        let what = if ddl.kind == DdlKind::DropView { "VIEW" } else { "TABLE" };
        (!names.is_empty())
            .then(|| format!("DROP {what} IF EXISTS {}", names.join(", ")).into_bytes())
    }

    /// The statement as it is carried.
    fn carried(&self, log: &LogEvent<'_>, query: &QueryEvent<'_>, carriage: Carriage) -> Statement {
        let [charset_client, collation_connection, collation_server] = query.charsets;
        let mut statement = Statement {
            database: query.database.clone(),
            sql: query.sql.to_vec(),
            sql_mode: query.sql_mode,
            charset_client,
            collation_connection,
            collation_server,
            collation_database: query.collation_database,
            // A foreign key may be of a table that the snapshot has not come to.
            no_foreign_key_checks: query.no_foreign_key_checks || self.scope.cursor().is_some(),
            timestamp_us: i64::from(log.seconds) * 1_000_000 + i64::from(query.microseconds),
            time_zone: self.time_zone(&query.time_zone),
            explicit_defaults_for_timestamp: query.explicit_defaults_for_timestamp,
            locale: query.locale,
            collation_utf8mb4: query.collation_utf8mb4,
            auto_increment: query.auto_increment,
            if_exists: query.if_exists,
        };
        if let Carriage::Changed { sql, without_database, without_foreign_key_checks } = carriage {
            statement.sql = sql.unwrap_or(statement.sql);
            statement.no_foreign_key_checks |= without_foreign_key_checks;
            if without_database {
                statement.database.clear();
            }
        }
        statement
    }
}

/// Whether the values that a statement computes with are part of what it leaves. A view computes them anew whenever it
/// is read, and code is kept as it is written. A statement that names a variable is one that is not understood.
fn is_computed_once(class: &tributary_schema::Statement) -> bool {
    use tributary_schema::Statement as Class;
    match class {
        Class::Ddl(ddl) => !matches!(ddl.kind, DdlKind::CreateView | DdlKind::AlterView),
        Class::Unknown { .. } => true,
        _ => false,
    }
}
