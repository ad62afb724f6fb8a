//! Brings the bookkeeping database of a shard up to this build's version.

use crate::session::Session;
use crate::sql_error::SqlError;
use tributary_schema::quote;

/// One file of `schemas/shard/`, in order; its version is its place, counted from 1.
const MIGRATIONS: [&str; 7] = [
    include_str!("../../../schemas/shard/0001_watermark.sql"),
    include_str!("../../../schemas/shard/0002_routine.sql"),
    include_str!("../../../schemas/shard/0003_snapshot.sql"),
    include_str!("../../../schemas/shard/0004_layout.sql"),
    include_str!("../../../schemas/shard/0005_identity.sql"),
    include_str!("../../../schemas/shard/0006_anchor.sql"),
    include_str!("../../../schemas/shard/0007_cascade.sql"),
];
/// A column that is to be added is there: the ALTER, which is atomic, had run before a crash. MySQL has
/// no `ADD COLUMN IF NOT EXISTS`.
const DUPLICATE_COLUMN: u16 = 1060;
/// One worker migrates a server at a time; the others wait this long for it.
const LOCK: &str = "tributary.migrate";
const LOCK_WAIT_S: u32 = 30;

/// The bookkeeping database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Another worker holds the migration lock for too long.
    #[error(
        "another worker has been migrating database {database} for {LOCK_WAIT_S} s: look for a stuck statement in SHOW PROCESSLIST, then restart"
    )]
    Locked {
        /// The bookkeeping database.
        database: String,
    },
    /// A newer build has migrated it.
    #[error(
        "database {database} has schema version {found}, this build knows {known}: upgrade the sync-worker"
    )]
    Newer {
        /// The bookkeeping database.
        database: String,
        /// Its version.
        found: u32,
        /// The newest that this build knows.
        known: u32,
    },
    /// It holds devices in another layout than the configured one.
    #[error(
        "database {database} says that this shard's layout is {found}, and the configuration says {wanted}: set layout back to what the shard has, or give the other layout a shard of its own; devices that are to change go there with their first copy"
    )]
    Layout {
        /// The bookkeeping database.
        database: String,
        /// The shard's layout.
        found: String,
        /// The configured one.
        wanted: String,
    },
    /// Its layout or its identity could not be compared or noted.
    #[error("cannot compare what database {database} notes of this shard: {source}")]
    Remember {
        /// The bookkeeping database.
        database: String,
        /// What failed.
        source: SqlError,
    },
    /// A statement failed.
    #[error("cannot migrate database {database} to schema version {version}: {source}")]
    Statement {
        /// The bookkeeping database.
        database: String,
        /// The version that was under way.
        version: u32,
        /// What failed.
        source: SqlError,
    },
}

/// Creates the database where it is missing, and runs every migration that has not been run. Leaves
/// `database` as the session's default database.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(session: &mut Session, database: &str) -> Result<(), MigrateError> {
    let failed = |version: u32| {
        let database = database.to_owned();
        move |source| MigrateError::Statement { database, version, source }
    };
    let lock = format!("SELECT GET_LOCK('{LOCK}', {LOCK_WAIT_S})");
    let got: Vec<Option<u8>> =
        session.rows("lock the migrations", &lock).await.map_err(failed(0))?;
    if got.first() != Some(&Some(1)) {
        return Err(MigrateError::Locked { database: database.to_owned() });
    }
    let outcome = migrate_locked(session, database, failed).await;
    let unlock = format!("DO RELEASE_LOCK('{LOCK}')");
    // The lock goes with the connection in any case.
    let _ = session.run("unlock the migrations", unlock.as_bytes()).await;
    outcome
}

async fn migrate_locked<E: FnOnce(SqlError) -> MigrateError>(
    session: &mut Session,
    database: &str,
    failed: impl Fn(u32) -> E,
) -> Result<(), MigrateError> {
    const OPERATION: &str = "migrate the bookkeeping database";
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let name = quote(database);
    let prepare = format!(
        "CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; USE {name}; \
         CREATE TABLE IF NOT EXISTS schema_version (version INT UNSIGNED NOT NULL PRIMARY KEY, \
         migrated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB"
    );
    session.run(OPERATION, prepare.as_bytes()).await.map_err(failed(0))?;
    let sql = "SELECT COALESCE(MAX(version), 0) FROM schema_version";
    let versions: Vec<u32> = session.rows(OPERATION, sql).await.map_err(failed(0))?;
    let found = versions.first().copied().unwrap_or(0);
    if found > known {
        return Err(MigrateError::Newer { database: database.to_owned(), found, known });
    }
    for (version, text) in (1..).zip(MIGRATIONS).skip(found as usize) {
        for statement in statements(text) {
            let outcome = session.run(OPERATION, statement.as_bytes()).await;
            let has_run =
                outcome.as_ref().is_err_and(|error| error.code() == Some(DUPLICATE_COLUMN));
            if !has_run {
                outcome.map_err(failed(version))?;
            }
        }
        let note = format!("INSERT IGNORE INTO schema_version (version) VALUES ({version})");
        session.run(OPERATION, note.as_bytes()).await.map_err(failed(version))?;
        tracing::info!(database, version, "migrated the bookkeeping database");
    }
    Ok(())
}

/// The statements of a migration: each ends with a semicolon at the end of a line.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.split(";\n").map(str::trim).filter(|statement| {
        statement.lines().any(|line| !line.trim().is_empty() && !line.starts_with("--"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_has_statements_and_each_can_be_run_twice() {
        for text in MIGRATIONS {
            assert!(statements(text).count() > 0);
            for statement in statements(text) {
                // An ALTER that ran already is known by the column that it adds.
                let repeatable = ["IF NOT EXISTS", "ADD COLUMN"];
                assert!(repeatable.iter().any(|words| statement.contains(words)), "{statement}");
            }
        }
    }
}
