//! What is to be done about a statement of a device's log. Pure.

use crate::mapping;
use crate::watermark::Parked;
use std::borrow::Cow;
use tributary_schema::{
    Ddl, DdlKind, SqlMode, Statement as Meaning, TransactionKind, Xa, classify, utf8,
};
use tributary_wire::{DeviceId, Statement};

const ANEW: &str = "drop the device's databases and its watermark at the shard, so that it begins anew: its rows are copied as they are by then";

/// See the module.
#[derive(Debug, Clone)]
pub enum Treatment {
    /// The watermark moves past it.
    Nothing,
    /// It is kept for a restore.
    Keep,
    /// It is run at the target, as a barrier for its device.
    Apply(Ddl),
    /// The device stops before it.
    Park(Parked),
}

/// Decides by what the statement means; what is not understood stops the device.
pub fn treatment(statement: &Statement, device: &DeviceId) -> Treatment {
    let park = |reason: String, remedy: &str| {
        Treatment::Park(Parked { reason, remedy: remedy.to_owned() })
    };
    let Some(sql) = text(statement) else {
        return park(
            format!(
                "a statement in a character set that is not known here (collation id {} of its client)",
                statement.charset_client
            ),
            "make the change at the shard by hand, and release the device with --skip-statement; let the device's clients use utf8mb4",
        );
    };
    match classify(&sql, SqlMode(statement.sql_mode)) {
        Meaning::Ignored { .. } => Treatment::Nothing,
        Meaning::Routine { .. } => Treatment::Keep,
        Meaning::Ddl(ddl) => of_ddl(ddl, statement, device),
        Meaning::Transaction(kind) if undoes(&kind) => park(
            "the log takes back changes that are applied already (ROLLBACK or XA ROLLBACK as a statement)".to_owned(),
            "the device's publisher must not publish changes before they are committed: upgrade it, then begin the device anew",
        ),
        Meaning::Transaction(_) => Treatment::Nothing,
        Meaning::Dml { verb } => park(
            format!("{verb} was logged as a statement, not as rows"),
            "set binlog_format=ROW globally at the device and restart its sessions; then drop the device's databases and its watermark at the shard, so that it begins anew",
        ),
        Meaning::Unknown { text } => park(
            format!("a statement is not understood: {text}"),
            "run what it does to the device's tables at the shard by hand and release the device with --skip-statement, or upgrade the sync-worker and release it",
        ),
    }
}

/// The meaning of a table's definition in a snapshot: a CREATE TABLE of this table, and nothing else.
///
/// # Errors
/// Why the device has to stop before it.
pub fn definition(
    statement: &Statement,
    device: &DeviceId,
    database: &str,
    table: &str,
) -> Result<Ddl, Parked> {
    let is_own = |ddl: &Ddl| match &ddl.tables[..] {
        [name] => {
            ddl.kind == DdlKind::CreateTable
                && name.table == table
                && name.database.as_deref().unwrap_or(&statement.database) == database
        }
        _ => false,
    };
    match treatment(statement, device) {
        Treatment::Apply(ddl) if is_own(&ddl) => Ok(ddl),
        Treatment::Park(parked) => Err(parked),
        Treatment::Apply(_) | Treatment::Nothing | Treatment::Keep => Err(Parked {
            reason: format!(
                "the snapshot's definition of table {database}.{table} is not its CREATE TABLE"
            ),
            remedy: "create the table at the shard by hand as the device has it, and release the device with --skip-statement; upgrade the device's publisher".to_owned(),
        }),
    }
}

/// The statement in UTF-8, whatever its client spoke; `None` when that is not known.
pub(crate) fn text(statement: &Statement) -> Option<Cow<'_, [u8]>> {
    utf8(&statement.sql, statement.charset_client, SqlMode(statement.sql_mode))
}

fn undoes(kind: &TransactionKind) -> bool {
    match kind {
        TransactionKind::Rollback | TransactionKind::RollbackTo { .. } => true,
        TransactionKind::Xa { verb, .. } => matches!(verb, Xa::Rollback),
        TransactionKind::Begin
        | TransactionKind::Commit
        | TransactionKind::Savepoint { .. }
        | TransactionKind::Release { .. } => false,
    }
}

fn of_ddl(ddl: Ddl, statement: &Statement, device: &DeviceId) -> Treatment {
    let databases = databases(&ddl, &statement.database);
    if !databases.is_empty() && databases.iter().all(|name| mapping::is_system(name)) {
        return Treatment::Nothing;
    }
    match astray(&ddl, &statement.database) {
        // It holds no rows. The device's own definition is there for a restore.
        Some(_) if matches!(ddl.kind, DdlKind::CreateView | DdlKind::AlterView) => {
            return Treatment::Keep;
        }
        Some(parked) => return Treatment::Park(parked),
        None => {}
    }
    match unsupported(&ddl, &databases, device) {
        Some((reason, remedy)) => Treatment::Park(Parked { reason, remedy: remedy.to_owned() }),
        None => Treatment::Apply(ddl),
    }
}

/// A statement that would look at a database which is not the device's: one of the server's, or whichever is
/// current at the shard.
fn astray(ddl: &Ddl, default: &str) -> Option<Parked> {
    let park = |reason: String, remedy: &str| Some(Parked { reason, remedy: remedy.to_owned() });
    let mut unqualified = ddl.tables.iter().chain(&ddl.reads).filter(|t| t.database.is_none());
    let is_default = mapping::is_system(default) && unqualified.clone().next().is_some();
    let mut named = ddl.mentions.iter().map(String::as_str);
    let system = named.find(|name| mapping::is_system(name)).or(is_default.then_some(default));
    if let Some(system) = system {
        return park(
            format!("a statement refers to the database {system}, which belongs to the server"),
            "it would mean another thing at the shard, or show what is not the device's: make it there by hand without that database, and release the device with --skip-statement",
        );
    }
    // An ALTER DATABASE without a name means the default one.
    let is_nameless = ddl.tables.is_empty() && ddl.databases.is_empty();
    if default.is_empty() && (is_nameless || unqualified.next().is_some()) {
        return park(
            "a statement names no database, and has no default database".to_owned(),
            "no server runs such a statement, so that the log is not as the device's server wrote it: look at who may publish as this device",
        );
    }
    None
}

/// The databases, under their names at the device, that the statement changes something in.
pub(crate) fn databases(ddl: &Ddl, default: &str) -> Vec<String> {
    let of_tables = ddl.tables.iter().map(|t| t.database.as_deref().unwrap_or(default));
    let named = ddl.databases.iter().map(String::as_str).chain(of_tables);
    let mut databases: Vec<String> =
        named.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if databases.is_empty() && !default.is_empty() {
        databases.push(default.to_owned());
    }
    databases.sort();
    databases.dedup();
    databases
}

fn unsupported(
    ddl: &Ddl,
    databases: &[String],
    device: &DeviceId,
) -> Option<(String, &'static str)> {
    const BY_HAND: &str =
        "make the change at the shard by hand, then release the device with --skip-statement";
    if let Some(system) = databases.iter().find(|name| mapping::is_system(name)) {
        return Some((
            format!("a statement changes {system} and another database at once"),
            BY_HAND,
        ));
    }
    if let Some(long) = databases.iter().find(|name| mapping::database(device, name).is_none()) {
        return Some((
            format!(
                "database {long} has too long a name: with the device's id it passes 64 characters"
            ),
            "rename the database at the device, or give the device a shorter id",
        ));
    }
    let fault = match ddl {
        Ddl { kind: DdlKind::Sequence, .. } => "sequences (MariaDB) are not replicated",
        Ddl { system_versioning: true, .. } => {
            "the past rows of a system-versioned table are in no binlog"
        }
        Ddl { filled_by_select: true, .. } => {
            "CREATE TABLE … SELECT was logged as a statement: its rows are in no binlog"
        }
        Ddl { numbers_rows: true, .. } => {
            "an AUTO_INCREMENT column is added to a table with rows: the shard may number them in another order"
        }
        Ddl { varies: true, .. } => {
            return Some((
                "a column is added whose default another server or session would compute otherwise, such as UUID(), a division or WEEK(): the rows that are there could get others at the shard".to_owned(),
                ANEW,
            ));
        }
        Ddl { drops_duplicates: true, .. } => {
            return Some((
                "ALTER IGNORE drops rows that are equal in a unique key: which of them stays depends on the order in which a server finds them".to_owned(),
                ANEW,
            ));
        }
        Ddl { contents_from_file: true, .. } => {
            "DISCARD or IMPORT TABLESPACE: the rows come from a file and are in no binlog"
        }
        _ => return None,
    };
    Some((fault.to_owned(), BY_HAND))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn treat(sql: &str) -> Treatment {
        treatment(&statement(sql), &"d1".parse().expect("valid"))
    }

    fn statement(sql: &str) -> Statement {
        Statement {
            database: "app".into(),
            sql: sql.as_bytes().to_vec(),
            sql_mode: 0,
            charset_client: 45,
            collation_connection: 45,
            collation_server: 45,
            collation_database: 45,
            no_foreign_key_checks: false,
            timestamp_us: 1_764_000_000_000_000,
            time_zone: String::new(),
            ..Statement::default()
        }
    }

    #[test]
    fn ddl_is_applied_and_code_is_kept() {
        assert!(matches!(treat("CREATE TABLE t (id INT PRIMARY KEY)"), Treatment::Apply(_)));
        assert!(matches!(treat("DROP DATABASE app"), Treatment::Apply(_)));
        let trigger = "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1";
        assert!(matches!(treat(trigger), Treatment::Keep));
        for view in [
            "CREATE VIEW v AS SELECT * FROM mysql.user",
            "CREATE VIEW v AS SELECT sys.format_bytes(a) FROM t",
            "CREATE VIEW v AS SELECT performance_schema.threads.name FROM t",
        ] {
            assert!(matches!(treat(view), Treatment::Keep), "{view}");
        }
    }

    #[test]
    fn accounts_transactions_and_system_databases_are_passed() {
        for sql in ["GRANT SELECT ON *.* TO x", "BEGIN", "ALTER TABLE mysql.user ENGINE=InnoDB"] {
            assert!(matches!(treat(sql), Treatment::Nothing), "{sql}");
        }
    }

    #[test]
    fn a_name_that_would_be_looked_for_in_whatever_database_is_current_parks() {
        let parks = |sql: &str, database: &str| {
            let statement = Statement { database: database.into(), ..statement(sql) };
            let treatment = treatment(&statement, &"d1".parse().expect("valid"));
            !matches!(treatment, Treatment::Apply(_))
        };
        assert!(parks("DROP TABLE v5", ""));
        assert!(parks("CREATE TABLE app.t LIKE u", ""));
        assert!(parks("CREATE VIEW app.v AS SELECT * FROM v2", "mysql"));
        assert!(parks("ALTER DATABASE CHARACTER SET utf8mb4", ""));
        assert!(!parks("CREATE VIEW app.v AS SELECT * FROM app.v2", "mysql"));
        assert!(!parks("DROP TABLE app.v5", ""));
    }

    #[test]
    fn what_would_lose_rows_or_is_not_understood_parks() {
        for sql in [
            "INSERT INTO t VALUES (1)",
            "FROBNICATE TABLE t",
            "CREATE SEQUENCE s",
            "ALTER TABLE t ADD id INT AUTO_INCREMENT PRIMARY KEY",
            "ALTER TABLE t ADD COLUMN id SERIAL",
            "ALTER TABLE t ADD u CHAR(36) NOT NULL DEFAULT UUID()",
            "ALTER TABLE t IMPORT TABLESPACE",
            "ALTER IGNORE TABLE t ADD UNIQUE KEY (e)",
            "ROLLBACK",
            "CREATE TABLE t (id INT); DROP DATABASE other__app",
            "DROP TABLE t;DROP TABLE other__app.t",
            "ALTER TABLE t COMMENT 'x' /* ; */ ; DROP TABLE mysql.user",
            "TRUNCATE t;;SELECT 1",
            "CREATE TABLE t (a INT) /*! COMMENT 'x' /*! SELECT * FROM B__app.secret */ */",
            "CREATE VIEW v AS SELECT x'41''a\\' c'; DROP TABLE B__app.v3; -- '",
            "CREATE TABLE t LIKE information_schema.tables",
            "CREATE VIEW v AS SELECT @@datadir",
        ] {
            assert!(matches!(treat(sql), Treatment::Park(_)), "{sql}");
        }
    }
}
