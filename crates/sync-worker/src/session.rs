//! One connection to a shard, set up so that it stores exactly what the source held.

use crate::script::{Expect, Packet, Script};
use crate::sql_error::SqlError;
use crate::target::Charsets;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Opts, Row};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Takes whatever a source may hold (zero and invalid dates, 0 in AUTO_INCREMENT columns) and refuses
/// to bend anything.
pub const SQL_MODE: &str =
    "STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION";
/// The same, with warnings instead of refusals: for an ENUM's error value, which nothing else takes.
pub const SQL_MODE_LENIENT: &str =
    "ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION";

/// What generated columns and expressions are computed by, whatever the shard's server is set to.
const COMPUTING: &str = "lc_time_names='en_US', div_precision_increment=4, default_week_format=0, \
                         default_storage_engine=InnoDB";
/// Limits that a shard's server may have for people: they would refuse a write, or cut an answer off that
/// decides something.
const UNLIMITED: &str = "sql_safe_updates=0, sql_select_limit=18446744073709551615, sql_auto_is_null=0, \
                         sql_big_selects=1";

const CONNECT: Duration = Duration::from_secs(3);
/// A session that says nothing for so long inside a transaction is of a worker that is frozen, or whose host or
/// network is gone: the server rolls it back, and whoever has its partitions now goes on.
/// That is the 20 here, in seconds.
pub const BEGIN: &str = "SET SESSION wait_timeout=20;START TRANSACTION";
/// The end of what [`BEGIN`] began: outside of a transaction a session may be silent for long.
pub const COMMIT: &str = "COMMIT;SET SESSION wait_timeout=DEFAULT";
/// The same, without the changes.
pub const ROLLBACK: &str = "ROLLBACK;SET SESSION wait_timeout=DEFAULT";
/// What follows the login.
const SET_UP: Duration = Duration::from_secs(7);
const ANSWER: Duration = Duration::from_secs(60);
/// A question about one row, or about nothing.
const QUICK: Duration = Duration::from_secs(3);
/// A change of a table without a key may have to read all of it.
const SCAN: Duration = Duration::from_secs(5);
/// A chunk of a snapshot may replace all rows of a table.
const RANGE: Duration = Duration::from_secs(1200);
/// Packets of several statements are not made longer than this, whatever the server takes.
const PACKET_BYTES: usize = 4 << 20;
/// What a packet holds besides the statement.
const PACKET_OVERHEAD_BYTES: usize = 1024;

/// What a session has learnt of its server.
#[derive(Debug, Clone)]
pub struct Server {
    /// It is MariaDB.
    pub mariadb: bool,
    /// As `SELECT VERSION()` says.
    pub version: String,
    /// The longest statement it takes, in bytes.
    pub max_allowed_packet: usize,
    /// Its collations and their character sets.
    pub charsets: Arc<Charsets>,
}

/// A connection to a shard.
#[derive(Debug)]
pub struct Session {
    conn: Conn,
    server: Server,
    busy_with: Option<usize>,
}

// === impl Session ===

impl Session {
    /// Connects, sets the session up and learns what the server is.
    ///
    /// # Errors
    /// [`SqlError`]: unreachable, refused, or no answer in 10 s.
    pub async fn connect(opts: &Opts) -> Result<Self, SqlError> {
        const OPERATION: &str = "connect";
        let conn = timeout(CONNECT, Conn::new(opts.clone())).await;
        let conn = conn
            .map_err(|_| SqlError::Timeout { operation: OPERATION, after: CONNECT })?
            .map_err(|error| SqlError::new(OPERATION, error))?;
        let server = Server {
            mariadb: false,
            version: String::new(),
            max_allowed_packet: 1 << 20,
            charsets: Arc::default(),
        };
        let mut session = Self { conn, server, busy_with: None };
        let set_up = async {
            session.reset().await?;
            session.learn().await
        };
        let set_up = timeout(SET_UP, set_up).await;
        set_up.map_err(|_| SqlError::Timeout { operation: OPERATION, after: SET_UP })??;
        Ok(session)
    }

    /// What is known of the server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its number at the server, by which another session may end it.
    pub fn id(&self) -> u32 {
        self.conn.id()
    }

    /// Whose statement of a script is being run, or was when it was given up.
    pub fn busy_with(&self) -> Option<usize> {
        self.busy_with
    }

    /// What follows, up to the next script, is for this owner.
    pub(crate) fn begins_for(&mut self, owner: usize) {
        self.busy_with = Some(owner);
    }

    /// Brings every session variable back to what rows are written with; also ends a transaction.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn reset(&mut self) -> Result<(), SqlError> {
        // MariaDB passes comments of versions 5.7 to 9.9 over: they are MySQL's.
        // What the device has stored has passed its constraints, or was let past them (MariaDB).
        // READ COMMITTED: a lock on a watermark that does not exist yet must not lock its neighbours.
        // Who waits for a lock holds up a lane: of rows, or of a table that someone has locked or alters.
        self.run(
            "set up the session",
            format!(
                "ROLLBACK; SET NAMES binary; \
                 SET SESSION sql_mode='{SQL_MODE}', time_zone='+00:00', foreign_key_checks=0, \
                 unique_checks=1, innodb_lock_wait_timeout=1, lock_wait_timeout=1, autocommit=1, \
                 collation_server=DEFAULT, timestamp=DEFAULT, wait_timeout=DEFAULT, {COMPUTING}, {UNLIMITED} \
                 /*!50708 , max_execution_time=0 */ \
                 /*M! , check_constraint_checks=0, sql_if_exists=0, max_statement_time=0 */; \
                 SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
            )
            .as_bytes(),
        )
        .await
    }

    /// Runs statements that return no rows.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn run(&mut self, operation: &'static str, sql: &[u8]) -> Result<(), SqlError> {
        self.run_within(operation, sql, ANSWER).await
    }

    /// [`Session::run`] of statements that take no time on a healthy server.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn run_quickly(
        &mut self,
        operation: &'static str,
        sql: &[u8],
    ) -> Result<(), SqlError> {
        self.run_within(operation, sql, QUICK).await
    }

    /// Runs statements that return no rows and may take long.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn run_within(
        &mut self,
        operation: &'static str,
        sql: &[u8],
        limit: Duration,
    ) -> Result<(), SqlError> {
        let result = timeout(limit, self.conn.query_drop(sql)).await;
        result
            .map_err(|_| SqlError::Timeout { operation, after: limit })?
            .map_err(|error| SqlError::new(operation, error))
    }

    /// Runs one statement and returns its rows.
    ///
    /// # Errors
    /// [`SqlError`]; a row that is not a `T` counts as a lost connection, because it is not an answer
    /// to what was asked.
    pub async fn rows<T>(&mut self, operation: &'static str, sql: &str) -> Result<Vec<T>, SqlError>
    where
        T: FromRow + Send + 'static,
    {
        self.rows_within(operation, sql, ANSWER).await
    }

    /// Begins a transaction with a question, in one round trip. It ends with [`COMMIT`] or [`ROLLBACK`].
    ///
    /// # Errors
    /// As of [`Session::rows`]; the transaction may have begun.
    pub async fn begin_with<T>(
        &mut self,
        operation: &'static str,
        sql: &str,
    ) -> Result<Vec<T>, SqlError>
    where
        T: FromRow + Send + 'static,
    {
        let sql = format!("{BEGIN};{sql}");
        let exchange = async {
            let mut results = self.conn.query_iter(sql).await?;
            results.for_each(drop).await?;
            results.for_each(drop).await?;
            results.collect_and_drop::<Row>().await
        };
        let rows = timeout(ANSWER, exchange)
            .await
            .map_err(|_| SqlError::Timeout { operation, after: ANSWER })?
            .map_err(|error| SqlError::new(operation, error))?;
        typed(operation, rows)
    }

    /// [`Session::rows`] of a statement that takes no time on a healthy server.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn rows_quickly<T>(
        &mut self,
        operation: &'static str,
        sql: &str,
    ) -> Result<Vec<T>, SqlError>
    where
        T: FromRow + Send + 'static,
    {
        self.rows_within(operation, sql, QUICK).await
    }

    /// [`Session::rows`] of a statement that may have to read a whole table.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn rows_slowly<T>(
        &mut self,
        operation: &'static str,
        sql: &str,
    ) -> Result<Vec<T>, SqlError>
    where
        T: FromRow + Send + 'static,
    {
        self.rows_within(operation, sql, RANGE).await
    }

    async fn rows_within<T>(
        &mut self,
        operation: &'static str,
        sql: &str,
        limit: Duration,
    ) -> Result<Vec<T>, SqlError>
    where
        T: FromRow + Send + 'static,
    {
        let rows: Vec<Row> = timeout(limit, self.conn.query(sql.as_bytes()))
            .await
            .map_err(|_| SqlError::Timeout { operation, after: limit })?
            .map_err(|error| SqlError::new(operation, error))?;
        typed(operation, rows)
    }

    /// Runs a script, and checks that each statement did what it had to.
    ///
    /// # Errors
    /// [`SqlError`] with the statement that failed; those before it have run.
    pub async fn run_script(&mut self, script: &Script) -> Result<(), SqlError> {
        const OPERATION: &str = "write rows";
        let bytes_max = self.statement_bytes_max().min(PACKET_BYTES);
        for packet in script.packets(bytes_max) {
            let first = packet.statements.start;
            let mut done = 0;
            let expected = packet.statements.clone().map(|at| script.expect(at));
            let limit = expected.fold(ANSWER, |limit, expect| match expect {
                Expect::OneRow => limit.saturating_add(SCAN),
                Expect::Slowly | Expect::Rows(_) => limit.saturating_add(RANGE),
                Expect::Success | Expect::WarningsAtMost(_) | Expect::Holds(_) => limit,
            });
            self.busy_with = script.owner(first);
            let progress = Progress { done: &mut done, owner: &mut self.busy_with };
            let outcome =
                timeout(limit, run_packet(&mut self.conn, script, &packet, progress)).await;
            match outcome {
                Err(_) => return Err(SqlError::Timeout { operation: OPERATION, after: limit }),
                Ok(Err(Fault::Driver(error))) => {
                    return Err(SqlError::new(OPERATION, error).at(first + done));
                }
                Ok(Err(Fault::Expectation(fault))) => {
                    return Err(SqlError::Unexpected { fault, statement: first + done });
                }
                Ok(Ok(())) => {}
            }
        }
        self.busy_with = None;
        Ok(())
    }

    /// The longest statement that the server takes, in bytes.
    pub fn statement_bytes_max(&self) -> usize {
        self.server.max_allowed_packet.saturating_sub(PACKET_OVERHEAD_BYTES)
    }

    /// Says goodbye; errors do not matter any more.
    pub async fn close(self) {
        let _ = timeout(Duration::from_secs(1), self.conn.disconnect()).await;
    }

    /// MariaDB has collations that belong to several character sets, and since 10.10 a view that lists
    /// them under their full names; elsewhere the usual view has everything.
    async fn collations(&mut self) -> Result<Vec<CollationRow>, SqlError> {
        const OPERATION: &str = "read the collations";
        let full = "SELECT id, full_collation_name, character_set_name \
                    FROM information_schema.collation_character_set_applicability";
        let usual = "SELECT id, collation_name, character_set_name \
                     FROM information_schema.collations WHERE id IS NOT NULL";
        match self.rows(OPERATION, full).await {
            Err(error) if error.code().is_some() => self.rows(OPERATION, usual).await,
            outcome => outcome,
        }
    }

    async fn learn(&mut self) -> Result<(), SqlError> {
        const OPERATION: &str = "read the server's variables";
        let sql = "SELECT CAST(VERSION() AS CHAR), @@global.max_allowed_packet";
        let facts: Vec<(Vec<u8>, usize)> = self.rows(OPERATION, sql).await?;
        let (version, packet) = facts.into_iter().next().ok_or(SqlError::unreadable(OPERATION))?;
        let rows = self.collations().await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let rows = rows.into_iter().map(|(id, collation, set)| (id, text(collation), text(set)));
        let version = text(version);
        self.server = Server {
            mariadb: version.to_lowercase().contains("mariadb"),
            version,
            max_allowed_packet: packet,
            charsets: Arc::new(Charsets::new(rows)),
        };
        Ok(())
    }
}

/// `(id, name, character set)`
type CollationRow = (u16, Vec<u8>, Vec<u8>);

enum Fault {
    Driver(mysql_async::Error),
    Expectation(String),
}

/// How far a packet has come.
struct Progress<'a> {
    /// Statements before the one that is run, or that failed.
    done: &'a mut usize,
    /// Whose that one is.
    owner: &'a mut Option<usize>,
}

fn typed<T: FromRow>(operation: &'static str, rows: Vec<Row>) -> Result<Vec<T>, SqlError> {
    let rows = rows.into_iter().map(T::from_row_opt).collect::<Result<_, _>>();
    rows.map_err(|_| SqlError::unreadable(operation))
}

/// Sends a packet and reads one answer per statement.
async fn run_packet(
    conn: &mut Conn,
    script: &Script,
    packet: &Packet<'_>,
    progress: Progress<'_>,
) -> Result<(), Fault> {
    let mut answers = conn.query_iter(packet.sql).await.map_err(Fault::Driver)?;
    let mut fault = None;
    for index in packet.statements.clone() {
        let (affected, warnings) = (answers.affected_rows(), answers.warnings());
        // Also says whether the statement was refused.
        let rows = answers.collect::<Row>().await;
        if let Some(earlier) = fault {
            return Err(Fault::Expectation(earlier));
        }
        *progress.done = index - packet.statements.start;
        *progress.owner = script.owner(index + 1);
        let (rows, expect) = (rows.map_err(Fault::Driver)?, script.expect(index));
        fault = disappointment(expect, affected, warnings).or_else(|| untruth(expect, rows));
    }
    answers.drop_result().await.map_err(Fault::Driver)?;
    fault.map_or(Ok(()), |fault| Err(Fault::Expectation(fault)))
}

fn disappointment(expect: Expect, affected: u64, warnings: u16) -> Option<String> {
    match expect {
        Expect::OneRow if affected != 1 => Some(format!(
            "a change of a table without a primary key found {affected} rows that equal the old row, not 1"
        )),
        Expect::Rows(rows) if affected != rows => Some(format!(
            "changes of a table without a primary key found {affected} rows that equal the old ones, not {rows}"
        )),
        Expect::WarningsAtMost(limit) if warnings > limit => Some(format!(
            "a row with {limit} empty ENUM values was stored with {warnings} warnings"
        )),
        _ => None,
    }
}

fn untruth(expect: Expect, rows: Vec<Row>) -> Option<String> {
    let Expect::Holds(otherwise) = expect else { return None };
    let said = rows.into_iter().next().and_then(|mut row| row.take_opt::<Option<u8>, _>(0));
    let holds = matches!(said, Some(Ok(Some(1))));
    (!holds).then(|| otherwise.to_owned())
}
