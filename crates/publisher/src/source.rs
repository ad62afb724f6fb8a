//! The MySQL or MariaDB server: what it is, how it is set up, where its log begins and ends.

mod domains;
mod tables;

use crate::Error;
use crate::capture::{SYSTEM_DATABASES, file_number};
use crate::config::SourceConfig;
use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, SslOpts};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tributary_binlog::Gtids;
use tributary_binlog::gtids::GtidSet;
use tributary_wire::Resume;

/// Which family a server belongs to: they differ in GTIDs, privileges and names of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// MySQL 8.0 or later.
    MySql,
    /// MariaDB 10.5 or later.
    MariaDb,
}

/// What is true of a server at the time of connecting.
#[derive(Debug, Clone)]
pub struct Facts {
    /// MySQL or MariaDB.
    pub flavour: Flavour,
    /// `@@version`.
    pub version: String,
    /// Major, minor, patch.
    pub version_numbers: (u16, u16, u16),
    /// Global variables that matter, by lower-case name.
    pub variables: HashMap<String, String>,
    /// What the time zone `SYSTEM` means there just now, such as `+08:00`.
    pub system_time_zone: String,
    /// Identity in batches: `server_uuid`, or `mariadb-<server_id>`.
    pub identity: String,
}

/// One file of the binary log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinlogFile {
    /// Its name.
    pub name: String,
    /// The number at the end of its name.
    pub number: u32,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A connection for questions; the log itself is read on another.
pub struct Source {
    conn: Conn,
    address: String,
}

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// An event can be as large as a packet can be; the server's own limit is for statements.
const PACKET_BYTES_MAX: usize = 1 << 30;

/// Limits that a server may have for people. They would cut answers off, end a read that waits for a thin
/// link, or hide a column. MariaDB passes comments of the versions 5.7 to 9.9 over: they are MySQL's.
const UNLIMITED: &str = "SET SESSION sql_select_limit=18446744073709551615, sql_big_selects=1, \
     net_write_timeout=28800 \
     /*!50708 , max_execution_time=0 */ \
     /*!80030 , show_gipk_in_create_table_and_information_schema=ON */ \
     /*M! , max_statement_time=0 */";

/// Variables that the preflight looks at.
const VARIABLES: [&str; 31] = [
    "version",
    "server_id",
    "server_uuid",
    "log_bin",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_alter_two_phase",
    "log_replica_updates",
    "log_slave_updates",
    "binlog_expire_logs_seconds",
    "expire_logs_days",
    "gtid_mode",
    "gtid_purged",
    "max_binlog_size",
    "binlog_encryption",
    "encrypt_binlog",
    "max_allowed_packet",
    "lower_case_table_names",
    "div_precision_increment",
    "default_week_format",
    "max_binlog_total_size",
    "binlog_space_limit",
    "binlog_expire_logs_auto_purge",
    "sql_mode",
    "innodb_strict_mode",
    "sync_binlog",
    "innodb_flush_log_at_trx_commit",
    "binlog_error_action",
    "innodb_native_foreign_keys",
];

/// Connects, with a deadline.
///
/// # Errors
/// [`Error::SourceRefused`] for credentials, [`Error::SourceLost`] for everything else.
pub async fn connect(config: &SourceConfig) -> Result<Conn, Error> {
    let address = config.address();
    let timed_out = || {
        mysql_async::Error::from(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        ))
    };
    let connecting = async {
        let mut conn = Conn::new(options(config)).await?;
        conn.query_drop(UNLIMITED).await?;
        Ok(conn)
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    connected.unwrap_or_else(|_| Err(timed_out())).map_err(|error| lost_or_refused(&address, error))
}

fn options(config: &SourceConfig) -> Opts {
    let ssl = config.is_encrypted().then(|| {
        let roots = config.tls_ca_file.iter().map(|path| path.clone().into()).collect();
        let identity = config.tls_cert_file.clone().zip(config.tls_key_file.clone());
        SslOpts::default()
            .with_root_certs(roots)
            .with_disable_built_in_roots(config.tls_ca_file.is_some())
            .with_client_identity(
                identity
                    .map(|(certificate, key)| ClientIdentity::new(certificate.into(), key.into())),
            )
    });
    OptsBuilder::default()
        .ip_or_hostname(&config.host)
        .tcp_port(config.port)
        .user(Some(&config.user))
        .pass(Some(config.password.expose()))
        .prefer_socket(false)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .wait_timeout(Some(28_800))
        .ssl_opts(ssl)
        .into()
}

/// Access that is denied will be denied again; anything else is a server that may come back.
pub(crate) fn lost_or_refused(address: &str, error: mysql_async::Error) -> Error {
    // ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_NO_SUCH_USER…, ER_SPECIFIC_ACCESS_DENIED
    const DENIED: [u16; 5] = [1044, 1045, 1142, 1227, 1698];
    match &error {
        mysql_async::Error::Server(server) if DENIED.contains(&server.code) => {
            Error::SourceRefused {
                address: address.to_owned(),
                reason: format!(
                    "{} (error {}); check source.user and source.password, and grant the account what `tributary-publisher check` lists",
                    server.message, server.code
                ),
            }
        }
        _ => Error::SourceLost { address: address.to_owned(), source: Box::new(error) },
    }
}

// === impl Source ===

impl Source {
    /// Connects and asks what the server is.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn open(config: &SourceConfig) -> Result<(Self, Facts), Error> {
        let mut source = Self { conn: connect(config).await?, address: config.address() };
        let facts = source.facts().await?;
        Ok((source, facts))
    }

    /// Asks what the server is, as it is set up now.
    ///
    /// # Errors
    /// As every question.
    pub async fn facts(&mut self) -> Result<Facts, Error> {
        let names = VARIABLES.map(|name| format!("'{name}'")).join(",");
        let rows: Vec<(String, String)> =
            self.query(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")).await?;
        let variables =
            rows.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        // A zone with daylight saving is taken as it is now; the log does not say more either.
        let zone = "SELECT CAST(TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), \
                    CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')) AS SIGNED)";
        let minutes: Vec<i64> = self.query(zone).await?;
        let offset = offset(minutes.first().copied().unwrap_or_default());
        Ok(Facts::new(variables, self.conn.server_version(), offset))
    }

    async fn query<T>(&mut self, sql: &str) -> Result<Vec<T>, Error>
    where
        T: mysql_async::prelude::FromRow + Send + 'static,
    {
        let answer = tokio::time::timeout(QUERY_TIMEOUT, self.conn.query(sql)).await;
        let timed_out =
            || mysql_async::Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        answer
            .unwrap_or_else(|_| Err(timed_out()))
            .map_err(|error| lost_or_refused(&self.address, error))
    }

    /// The files of the binary log, oldest first.
    ///
    /// # Errors
    /// [`Error::SourceRefused`] without REPLICATION CLIENT (MariaDB: BINLOG MONITOR).
    pub async fn binlog_files(&mut self) -> Result<Vec<BinlogFile>, Error> {
        let rows: Vec<mysql_async::Row> = self.query("SHOW BINARY LOGS").await?;
        let file = |row: &mysql_async::Row| {
            let name: String = row.get_opt(0)?.ok()?;
            Some(BinlogFile { number: file_number(&name)?, bytes: row.get_opt(1)?.ok()?, name })
        };
        Ok(rows.iter().filter_map(file).collect())
    }

    /// What the server leaves out of its log: databases that `binlog_do_db` does not name or that
    /// `binlog_ignore_db` names, and the changes of a replica that does not log them.
    ///
    /// # Errors
    /// As every question.
    pub async fn omissions(&mut self, facts: &Facts) -> Result<Vec<String>, Error> {
        let is_new_mysql = facts.flavour == Flavour::MySql && facts.version_numbers >= (8, 2, 0);
        let (status, replicas) = if is_new_mysql {
            ("SHOW BINARY LOG STATUS", "SHOW REPLICA STATUS")
        } else {
            ("SHOW MASTER STATUS", "SHOW SLAVE STATUS")
        };
        let rows: Vec<mysql_async::Row> = self.query(status).await?;
        let filter = |column: usize| {
            let value = rows.first().and_then(|row| row.get_opt::<String, _>(column)?.ok());
            value.filter(|value| !value.is_empty())
        };
        let mut omitted = Vec::new();
        if rows.is_empty() && facts.variable("log_bin") == "ON" {
            omitted.push(
                "the server has stopped writing it after an error (binlog_error_action=IGNORE_ERROR)"
                    .to_owned(),
            );
        }
        omitted.extend(
            filter(2).map(|names| format!("it logs only the databases {names} (binlog_do_db)")),
        );
        omitted.extend(
            filter(3)
                .map(|names| format!("it does not log the databases {names} (binlog_ignore_db)")),
        );
        let logs_updates = ["log_replica_updates", "log_slave_updates"]
            .iter()
            .any(|name| facts.variable(name) == "ON");
        // An account that may not ask is not told; a device is seldom a replica.
        let is_replica = match self.query::<mysql_async::Row>(replicas).await {
            Ok(rows) => !rows.is_empty(),
            Err(Error::SourceRefused { .. }) => false,
            Err(error) => return Err(error),
        };
        if !logs_updates && is_replica {
            omitted.push(
                "it is a replica, and does not log what it replicates (log_replica_updates is OFF)"
                    .to_owned(),
            );
        }
        Ok(omitted)
    }

    /// Tables of applications that were created before `time_s` (Unix seconds), at most three names.
    ///
    /// # Errors
    /// As every question.
    pub async fn tables_older_than(&mut self, time_s: u32) -> Result<Vec<String>, Error> {
        let system = SYSTEM_DATABASES.map(|name| format!("'{name}'")).join(",");
        let sql = format!(
            "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables \
             WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ({system}) \
             AND UNIX_TIMESTAMP(create_time) < {time_s} LIMIT 3"
        );
        self.query(&sql).await
    }

    /// Whether the log still knows the transaction that a position follows. True where the position
    /// carries no GTID.
    ///
    /// # Errors
    /// As every question.
    pub async fn contains(&mut self, facts: &Facts, resume: &Resume) -> Result<bool, Error> {
        let Some(gtid) = &resume.gtid else { return Ok(true) };
        let is_mariadb = facts.flavour == Flavour::MariaDb;
        // What is no set is no set of this server's.
        let Ok(gtids) = Gtids::parse(gtid, is_mariadb) else { return Ok(false) };
        match facts.flavour {
            Flavour::MySql => {
                // What is purged and not copied was in the tables alone when the server came back from a
                // crash, or was loaded without the log.
                let sql = format!(
                    "SELECT GTID_SUBSET('{gtids}', @@GLOBAL.gtid_executed) \
                     AND GTID_SUBSET(@@GLOBAL.gtid_purged, '{gtids}')"
                );
                Ok(self.query::<Option<u8>>(&sql).await?.first() == Some(&Some(1)))
            }
            Flavour::MariaDb => {
                let position = resume.position;
                let files = self.binlog_files().await?;
                let Some(file) = files.iter().find(|file| file.number == position.file) else {
                    return Ok(false);
                };
                let sql = format!("SELECT BINLOG_GTID_POS('{}', {})", file.name, position.offset);
                let known: Vec<Option<String>> = self.query(&sql).await?;
                let known = known.into_iter().next().flatten().unwrap_or_default();
                Ok(Gtids::parse(&known, true).is_ok_and(|known| known == gtids))
            }
        }
    }

    /// Grants of the account, one line each.
    ///
    /// # Errors
    /// As every question.
    pub async fn grants(&mut self) -> Result<Vec<String>, Error> {
        self.query("SHOW GRANTS").await
    }

    /// The server's clock, Unix seconds.
    ///
    /// # Errors
    /// As every question.
    pub async fn clock_seconds(&mut self) -> Result<f64, Error> {
        let sql = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) AS DOUBLE)";
        Ok(self.query::<f64>(sql).await?.first().copied().unwrap_or_default())
    }

    /// Ends the connection politely.
    pub async fn close(self) {
        // The server notices a dropped connection as well.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.conn.disconnect()).await;
    }
}

/// Minutes east of Greenwich as MySQL writes them.
fn offset(minutes: i64) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

// === impl Facts ===

impl Facts {
    fn new(
        variables: HashMap<String, String>,
        version_numbers: (u16, u16, u16),
        system_time_zone: String,
    ) -> Self {
        let get = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let version = get("version");
        let flavour = if version.contains("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
        let identity = match flavour {
            Flavour::MySql => get("server_uuid"),
            Flavour::MariaDb => format!("mariadb-{}", get("server_id")),
        };
        Self { flavour, version, version_numbers, variables, system_time_zone, identity }
    }

    /// The server numbers its transactions.
    pub fn has_gtids(&self) -> bool {
        self.flavour == Flavour::MariaDb || self.variable("gtid_mode").eq_ignore_ascii_case("ON")
    }

    /// What lies before the first transaction of all.
    pub fn no_gtids(&self) -> Gtids {
        match self.flavour {
            Flavour::MySql => Gtids::MySql(GtidSet::default()),
            Flavour::MariaDb => Gtids::MariaDb(BTreeMap::new()),
        }
    }

    /// Whether a crash may cost the log transactions that the tables keep, and nothing tells of it. With
    /// GTIDs MySQL does: it counts them as purged.
    pub fn may_lose_tail(&self) -> bool {
        let tells = self.flavour == Flavour::MySql && self.has_gtids();
        self.variable("sync_binlog") != "1" && !tells
    }

    /// Rows that a foreign key's action changes are in the log. InnoDB does these actions below the SQL layer, where
    /// the log is written. MySQL does them in the SQL layer from 9.6 on, unless `innodb_native_foreign_keys` says
    /// otherwise; a server that does not have the variable does not log them.
    pub fn logs_cascades(&self) -> bool {
        let says = self.variable("innodb_native_foreign_keys");
        self.flavour == Flavour::MySql && (says.eq_ignore_ascii_case("OFF") || says == "0")
    }

    /// Names of databases and tables are folded to lower case.
    pub fn folds_names(&self) -> bool {
        !matches!(self.variable("lower_case_table_names"), "" | "0")
    }

    /// A global variable, empty where the server does not have it.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }
}
