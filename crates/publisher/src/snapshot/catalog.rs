//! The connection that a snapshot reads through, and what the server's catalog says.

use super::columns::{self, Columns};
use super::family::{ForeignKey, KeyColumn};
use super::{Opened, TableName};
use crate::capture::{SYSTEM_DATABASES, file_number};
use crate::config::SourceConfig;
use crate::source::{self, Facts, Flavour, lost_or_refused};
use crate::{Error, snapshot::Exact};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Row};
use std::collections::BTreeSet;
use std::time::Duration;
use tributary_binlog::{Gtids, LogState};
use tributary_schema::{SqlMode, fold, fold_name, quote};
use tributary_wire::Statement;

/// See the module.
pub struct Catalog {
    pub(crate) conn: Conn,
    address: String,
    pub(super) flavour: Flavour,
    /// SHOW MASTER STATUS by its name on this server.
    status: &'static str,
    /// See [`columns::NUMBERS`].
    numbers: &'static str,
    /// Tables that were listed and are not known to have gone.
    seen: BTreeSet<TableName>,
    /// Names of databases and tables have no case here, and are folded.
    folds_names: bool,
}

/// A table of the device.
#[derive(Debug, Clone)]
pub struct Table {
    /// Database and name.
    pub name: TableName,
    /// `BASE TABLE`, or what else it is.
    pub(crate) sort: String,
    /// Its storage engine.
    pub(crate) engine: String,
    /// Rows, as the server estimates them.
    pub(crate) rows: u64,
}

impl Table {
    /// A consistent read sees it as it was at one moment.
    pub(crate) fn has_transactions(&self) -> bool {
        matches!(self.engine.to_lowercase().as_str(), "innodb" | "rocksdb" | "ndbcluster")
    }
}

/// A database of the device.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) charset: String,
    pub(crate) collation: String,
    pub(crate) collation_id: u16,
}

/// utf8mb4_general_ci, which both flavours have under this number.
pub(super) const UTF8MB4: u16 = 45;
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
/// A transaction that the log holds becomes visible within moments of it.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often tables are listed until none is missing, and the pauses before that.
const LISTS_MAX: usize = 8;
const LIST_AGAIN: Duration = Duration::from_millis(10);
const FIRST_LIST_AGAIN: Duration = Duration::from_millis(200);
/// ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR, ER_TABLE_DEF_CHANGED, ER_VIEW_INVALID: the log moved on.
const MOVED: [u16; 4] = [1146, 1049, 1412, 1356];

// === impl Catalog ===

impl Catalog {
    /// Connects, with a session that reads every value as it is stored.
    ///
    /// # Errors
    /// As [`source::connect`].
    pub async fn connect(config: &SourceConfig, facts: &Facts) -> Result<Self, Error> {
        let conn = source::connect(config).await?;
        let is_new = facts.flavour == Flavour::MySql && facts.version_numbers >= (8, 2, 0);
        let status = if is_new { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
        let address = config.address();
        let seen = BTreeSet::new();
        let has_full_names =
            facts.flavour == Flavour::MariaDb && facts.version_numbers >= (10, 10, 0);
        let numbers =
            if has_full_names { columns::NUMBERS_OF_FULL_NAMES } else { columns::NUMBERS };
        let mut catalog = Self {
            conn,
            address,
            flavour: facts.flavour,
            status,
            numbers,
            seen,
            folds_names: facts.folds_names(),
        };
        for setting in [
            "SET NAMES utf8mb4",
            "SET SESSION character_set_results = NULL, time_zone = '+00:00', sql_mode = ''",
            // Set for the whole server, they would end a transaction otherwise than meant.
            "SET SESSION autocommit = 1, completion_type = 'NO_CHAIN'",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        ] {
            catalog.run(setting).await?;
        }
        Ok(catalog)
    }

    pub(crate) fn lost(&self, error: mysql_async::Error) -> Error {
        lost_or_refused(&self.address, error)
    }

    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), Error> {
        let answer = tokio::time::timeout(QUERY_TIMEOUT, self.conn.query_drop(sql)).await;
        answer.unwrap_or_else(|_| Err(timed_out())).map_err(|error| self.lost(error))
    }

    pub(crate) async fn query<T>(&mut self, sql: &str) -> Result<Vec<T>, Error>
    where
        T: FromRow + Send + 'static,
    {
        let answer = tokio::time::timeout(QUERY_TIMEOUT, self.conn.query(sql)).await;
        answer.unwrap_or_else(|_| Err(timed_out())).map_err(|error| self.lost(error))
    }

    /// The same, and `None` where what it is about is no longer there.
    pub(crate) async fn ask<T>(&mut self, sql: &str) -> Result<Option<Vec<T>>, Error>
    where
        T: FromRow + Send + 'static,
    {
        match self.query(sql).await {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if moved(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until everything before the window's opening is visible, begins a consistent read, and
    /// returns the end of the window and how exactly it is known. The log's end is noted after the read
    /// has begun: what the reader sees lies before it.
    pub(crate) async fn begin(&mut self, opened: &Opened) -> Result<((u32, u64), Exact), Error> {
        match self.flavour {
            Flavour::MySql => self.begin_mysql(opened).await,
            Flavour::MariaDb => self.begin_mariadb(opened).await,
        }
    }

    /// Waits until everything before the window's opening is visible. MariaDB logs a definition when it is
    /// made, and says of a consistent read where it stands.
    pub(crate) async fn await_visible(&mut self, opened: &Opened) -> Result<(), Error> {
        if self.flavour == Flavour::MariaDb {
            return Ok(());
        }
        let Some(before) = &opened.gtids else { return Err(without_gtids()) };
        let visible = format!("SELECT GTID_SUBSET('{before}', @@GLOBAL.gtid_executed)");
        let give_up_at = tokio::time::Instant::now() + VISIBLE_TIMEOUT;
        while self.query::<Option<u8>>(&visible).await?.first() != Some(&Some(1)) {
            if tokio::time::Instant::now() > give_up_at {
                return Err(Error::SnapshotDelayed {
                    reason: format!(
                        "the transactions {before} stand in the log, and do not become visible"
                    ),
                });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn begin_mysql(&mut self, opened: &Opened) -> Result<((u32, u64), Exact), Error> {
        self.await_visible(opened).await?;
        let executed = "SELECT @@GLOBAL.gtid_executed";
        let first: Vec<String> = self.query(executed).await?;
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
        let end = self.log_end().await?;
        let second: Vec<String> = self.query(executed).await?;
        // A transaction that ended in between is, or is not, seen.
        let exact = if first == second { second.into_iter().next() } else { None };
        Ok((end, exact.map_or(Exact::No, Exact::Gtids)))
    }

    async fn begin_mariadb(&mut self, opened: &Opened) -> Result<((u32, u64), Exact), Error> {
        let give_up_at = tokio::time::Instant::now() + VISIBLE_TIMEOUT;
        loop {
            self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
            let place = "SHOW STATUS LIKE 'binlog_snapshot_%'";
            let rows: Vec<(String, String)> = self.query(place).await?;
            let value = |name: &str| {
                let named = rows.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
                named.map(|(_, value)| value.as_str()).unwrap_or_default()
            };
            let file = file_number(value("binlog_snapshot_file"));
            let offset = value("binlog_snapshot_position").parse::<u64>().ok();
            let Some(end) = file.zip(offset) else {
                return Err(Error::Snapshot {
                    reason: "the server does not say where in its log a consistent read stands (SHOW STATUS LIKE 'binlog_snapshot_%')".to_owned(),
                });
            };
            if end >= (opened.file, opened.offset) {
                return Ok((end, Exact::Here));
            }
            self.end_read().await?;
            if tokio::time::Instant::now() > give_up_at {
                return Err(Error::SnapshotDelayed {
                    reason: "what stands in the log does not become visible".to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends a consistent read.
    pub(crate) async fn end_read(&mut self) -> Result<(), Error> {
        self.run("COMMIT").await
    }

    /// Where the log ends: file number and offset.
    pub(crate) async fn log_end(&mut self) -> Result<(u32, u64), Error> {
        let status = self.status;
        let rows: Vec<Row> = self.query(status).await?;
        let place = rows.first().and_then(|row| {
            let file: String = row.get_opt(0)?.ok()?;
            Some((file_number(&file)?, row.get_opt(1)?.ok()?))
        });
        place.ok_or_else(|| Error::Snapshot {
            reason: format!("the server does not say where its log ends ({status})"),
        })
    }

    /// Every table, by database and name in byte order. Views are not among them.
    ///
    /// MariaDB reads the names from its directories, and lists no table in the moment in which an ALTER puts
    /// the new one in the old one's place. A list without a table that was there before counts only once the
    /// table itself says that it is gone; the first list is looked at twice.
    ///
    /// # Errors
    /// As every question.
    pub async fn tables(&mut self) -> Result<Vec<Table>, Error> {
        let mut tables = self.list_tables().await?;
        if self.flavour == Flavour::MySql {
            return Ok(tables);
        }
        let mut is_first = self.seen.is_empty();
        // One that is still there and never listed is a view by now.
        for _ in 0..LISTS_MAX {
            let listed: BTreeSet<TableName> = tables.iter().map(|t| t.name.clone()).collect();
            let missing: Vec<TableName> = self.seen.difference(&listed).cloned().collect();
            self.seen.extend(listed);
            let mut is_complete = !is_first;
            for name in missing {
                if self.is_there(&name).await? {
                    is_complete = false;
                } else {
                    self.seen.remove(&name);
                }
            }
            if is_complete {
                break;
            }
            let pause = if is_first { FIRST_LIST_AGAIN } else { LIST_AGAIN };
            tokio::time::sleep(pause).await;
            is_first = false;
            tables = self.list_tables().await?;
        }
        self.seen = tables.iter().map(|table| table.name.clone()).collect();
        Ok(tables)
    }

    /// Asked of the table itself; waits for whoever changes it.
    async fn is_there(&mut self, name: &TableName) -> Result<bool, Error> {
        let sql = format!("SELECT 1 FROM {}.{} LIMIT 0", quote(&name.0), quote(&name.1));
        Ok(self.ask::<Row>(&sql).await?.is_some())
    }

    async fn list_tables(&mut self) -> Result<Vec<Table>, Error> {
        let sql = format!(
            "SELECT table_schema, table_name, table_type, COALESCE(engine, ''), \
             CAST(COALESCE(table_rows, 0) AS UNSIGNED) \
             FROM information_schema.tables WHERE table_schema NOT IN ({}) \
             AND table_type <> 'VIEW' AND table_type <> 'TEMPORARY'",
            system_databases()
        );
        let rows: Vec<(String, String, String, String, u64)> = self.query(&sql).await?;
        let table = |(database, table, sort, engine, rows)| Table {
            name: self.folded((database, table)),
            sort,
            engine,
            rows,
        };
        let mut tables: Vec<Table> = rows.into_iter().map(table).collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }

    /// A name as it is carried.
    fn folded(&self, (database, table): TableName) -> TableName {
        if self.folds_names { (fold_name(&database), fold_name(&table)) } else { (database, table) }
    }

    /// Every foreign key.
    pub(crate) async fn foreign_keys(&mut self) -> Result<Vec<ForeignKey>, Error> {
        let sql = format!(
            "SELECT constraint_schema, table_name, unique_constraint_schema, \
             referenced_table_name, delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') \
             OR update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') \
             FROM information_schema.referential_constraints WHERE constraint_schema NOT IN ({})",
            system_databases()
        );
        let rows: Vec<(String, String, String, String, u8)> = self.query(&sql).await?;
        let key = |(database, table, referred_database, referred_table, acts)| ForeignKey {
            child: self.folded((database, table)),
            parent: self.folded((referred_database, referred_table)),
            acts: acts == 1,
        };
        Ok(rows.into_iter().map(key).collect())
    }

    /// Every column of the foreign keys that cascade or set NULL.
    pub(crate) async fn acting_columns(&mut self) -> Result<Vec<KeyColumn>, Error> {
        let sql = "SELECT k.table_schema, k.table_name, k.column_name, k.referenced_table_schema, \
             k.referenced_table_name, k.referenced_column_name \
             FROM information_schema.referential_constraints r \
             JOIN information_schema.key_column_usage k ON k.constraint_schema=r.constraint_schema \
             AND k.constraint_name=r.constraint_name AND k.table_name=r.table_name \
             WHERE k.referenced_table_name IS NOT NULL \
             AND (r.delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') \
             OR r.update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))";
        let rows: Vec<(String, String, String, String, String, String)> = self.query(sql).await?;
        let column = |(database, table, column, referred_database, referred_table, referred)| {
            let child = (self.folded((database, table)), column);
            KeyColumn {
                child,
                parent: (self.folded((referred_database, referred_table)), referred),
            }
        };
        Ok(rows.into_iter().map(column).collect())
    }

    /// Every view.
    pub(crate) async fn views(&mut self) -> Result<Vec<TableName>, Error> {
        let sql = format!(
            "SELECT table_schema, table_name FROM information_schema.tables \
             WHERE table_schema NOT IN ({}) AND table_type = 'VIEW'",
            system_databases()
        );
        let views: Vec<TableName> = self.query(&sql).await?;
        let mut views: Vec<_> = views.into_iter().map(|name| self.folded(name)).collect();
        views.sort();
        Ok(views)
    }

    /// Every database.
    pub(crate) async fn databases(&mut self) -> Result<Vec<Database>, Error> {
        let sql = format!(
            "SELECT s.schema_name, s.default_character_set_name, s.default_collation_name, \
             COALESCE(c.id, 0) FROM information_schema.schemata s \
             LEFT JOIN information_schema.collations c \
             ON c.collation_name = s.default_collation_name \
             WHERE s.schema_name NOT IN ({}) ORDER BY 1",
            system_databases()
        );
        let rows: Vec<(String, String, String, u16)> = self.query(&sql).await?;
        let database = |(name, charset, collation, collation_id)| Database {
            name: self.folded((name, String::new())).0,
            charset,
            collation,
            collation_id,
        };
        Ok(rows.into_iter().map(database).collect())
    }

    /// A table's columns; `None` for a table that is gone.
    ///
    /// # Errors
    /// As every question; [`Error::Snapshot`] for a column of a type that is not known here.
    pub async fn columns(&mut self, name: &TableName) -> Result<Option<Columns>, Error> {
        let question = columns::question(&literal(&name.0), &literal(&name.1), self.numbers);
        let rows = match self.flavour {
            Flavour::MySql => self.query(&question).await?,
            Flavour::MariaDb => {
                // Whoever has used a table in a transaction finds it as it is until that ends. Without this
                // MariaDB may find none, or no key, while someone alters it.
                self.run("START TRANSACTION").await?;
                let is_there = self.is_there(name).await?;
                let rows = if is_there { self.query(&question).await? } else { Vec::new() };
                self.end_read().await?;
                rows
            }
        };
        Columns::read(&name.0, &name.1, rows)
    }

    /// What SHOW CREATE says of a table or view; `None` when it is gone.
    pub(crate) async fn definition(
        &mut self,
        what: &str,
        name: &TableName,
        column: usize,
    ) -> Result<Option<String>, Error> {
        let sql = format!("SHOW CREATE {what} {}.{}", quote(&name.0), quote(&name.1));
        let rows: Option<Vec<Row>> = self.ask(&sql).await?;
        let text = |row: &Row| row.get_opt::<Option<String>, _>(column)?.ok()?;
        let Some(rows) = rows else { return Ok(None) };
        match rows.first().map(text) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(self.with_folded_names(text))),
            Some(None) => Err(Error::SourceRefused {
                address: self.address.clone(),
                reason: format!(
                    "the account may not see the definition of {}.{}: grant it what `tributary-publisher check` lists",
                    name.0, name.1
                ),
            }),
        }
    }

    /// A definition with the names as they are carried.
    fn with_folded_names(&self, text: String) -> String {
        let folded = self.folds_names.then(|| fold(text.as_bytes(), SqlMode(0))).flatten();
        folded.and_then(|folded| String::from_utf8(folded).ok()).unwrap_or(text)
    }

    /// The GTIDs before the first transaction of a binlog file, or before a place in it.
    pub(crate) async fn gtids_before(
        &mut self,
        file: &str,
        offset: u64,
    ) -> Result<Option<String>, Error> {
        match self.flavour {
            Flavour::MySql => self.head_event(file, "Previous_gtids").await,
            Flavour::MariaDb => {
                let sql = format!("SELECT BINLOG_GTID_POS('{file}', {offset})");
                let rows: Vec<Option<String>> = self.query(&sql).await?;
                Ok(rows.into_iter().next().flatten())
            }
        }
    }

    /// These transactions, and those that are in the tables and not in the log.
    pub(crate) async fn with_purged(&mut self, gtids: Gtids) -> Result<Gtids, Error> {
        if self.flavour == Flavour::MariaDb {
            return Ok(gtids);
        }
        let purged: Vec<String> = self.query("SELECT @@GLOBAL.gtid_purged").await?;
        let purged = purged.into_iter().next().unwrap_or_default();
        Gtids::parse(&format!("{gtids},{purged}"), false)
            .map_err(|error| Error::Snapshot { reason: error.to_string() })
    }

    /// Why another server's log does not continue a copy of these transactions, if it does not.
    pub(crate) async fn lacks(&mut self, copy: &Gtids) -> Result<Option<String>, Error> {
        let sql = match self.flavour {
            Flavour::MySql => format!(
                "SELECT GTID_SUBSET('{copy}', @@GLOBAL.gtid_executed) \
                 AND GTID_SUBSET(@@GLOBAL.gtid_purged, '{copy}')"
            ),
            Flavour::MariaDb => {
                let state: Vec<String> = self.query("SELECT @@GLOBAL.gtid_binlog_state").await?;
                let state = LogState::parse(state.first().map_or("", String::as_str));
                let lacking = state.ok().map_or_else(|| Some(copy.to_string()), |s| s.lacks(copy));
                return Ok(lacking.map(|gtid| format!("its log has never held {gtid}")));
            }
        };
        let holds = self.query::<Option<u8>>(&sql).await?.first() == Some(&Some(1));
        let lacking = "it lacks transactions of the copy, or has purged others";
        Ok((!holds).then(|| lacking.to_owned()))
    }

    /// Of a copy of these transactions, what is to be passed over from the beginning of a binlog file on;
    /// `None` where others lie before it that the copy lacks.
    pub(crate) async fn carried_from(
        &mut self,
        file: &str,
        copy: &Gtids,
    ) -> Result<Option<Gtids>, Error> {
        let before = self.gtids_before(file, 4).await?.unwrap_or_default();
        let mariadb = self.flavour == Flavour::MariaDb;
        let Ok(before) = Gtids::parse(&before, mariadb) else { return Ok(None) };
        if mariadb {
            let list = self.head_event(file, "Gtid_list").await?.unwrap_or_default();
            return Ok(LogState::parse(&list).ok().and_then(|list| list.awaits(&before, copy)));
        }
        let sql = format!("SELECT GTID_SUBSET('{before}', '{copy}')");
        let is_within = self.query::<Option<u8>>(&sql).await?.first() == Some(&Some(1));
        Ok(is_within.then(|| copy.clone()))
    }

    /// What one of the first events of a binlog file says.
    async fn head_event(&mut self, file: &str, event: &str) -> Result<Option<String>, Error> {
        // SHOW BINLOG EVENTS takes no other sort of literal; a name of the server's own has no quotes.
        let file = file.replace(['\'', '\\'], "");
        let rows: Vec<Row> = self.query(&format!("SHOW BINLOG EVENTS IN '{file}' LIMIT 4")).await?;
        let text = |row: &Row, column: usize| row.get_opt::<String, _>(column)?.ok();
        let found = rows.iter().find(|row| text(row, 2).as_deref() == Some(event));
        Ok(found.and_then(|row| text(row, 5)))
    }

    /// Ends the connection politely.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.conn.disconnect()).await;
    }
}

/// Only a server with GTIDs tells which transactions of its log a reader sees.
pub(crate) fn without_gtids() -> Error {
    Error::Snapshot {
        reason: "the server has no GTIDs, without which it does not tell which transactions of its log a reader sees: run SET PERSIST enforce_gtid_consistency=ON, then SET PERSIST gtid_mode in the steps OFF_PERMISSIVE, ON_PERMISSIVE, ON".to_owned(),
    }
}

/// True for an error that only says that a table was changed, renamed or dropped.
pub(crate) fn moved(error: &Error) -> bool {
    match error {
        Error::SourceLost { source, .. } => {
            matches!(source.as_ref(), mysql_async::Error::Server(e) if MOVED.contains(&e.code))
        }
        _ => false,
    }
}

pub(super) fn system_databases() -> String {
    SYSTEM_DATABASES.map(|name| format!("'{name}'")).join(",")
}

/// A string literal that means the same in every sql_mode.
pub(super) fn literal(text: &str) -> String {
    use std::fmt::Write;
    if text.is_empty() {
        return "''".to_owned();
    }
    text.bytes().fold("_utf8mb4 0x".to_owned(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A statement of the snapshot's own.
pub(super) fn statement(sql: String, database: &str, collation_database: u16) -> Statement {
    Statement {
        database: database.to_owned(),
        sql: sql.into_bytes(),
        sql_mode: 0,
        charset_client: UTF8MB4,
        collation_connection: UTF8MB4,
        collation_server: UTF8MB4,
        collation_database,
        no_foreign_key_checks: true,
        timestamp_us: 0,
        time_zone: "+00:00".to_owned(),
        ..Statement::default()
    }
}

fn timed_out() -> mysql_async::Error {
    std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no answer within {} s", QUERY_TIMEOUT.as_secs()),
    )
    .into()
}
