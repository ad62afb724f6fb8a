//! What a shard is called by itself: drawn once, and kept in its bookkeeping.

use crate::migrate::MigrateError;
use crate::session::Session;
use crate::sql_error::SqlError;
use tributary_schema::quote;

/// Reads it; draws it where there is none yet.
///
/// # Errors
/// [`MigrateError::Remember`].
pub(crate) async fn identify(
    session: &mut Session,
    database: &str,
) -> Result<String, MigrateError> {
    let failed = |source| MigrateError::Remember { database: database.to_owned(), source };
    if let Some(known) = known(session, database).await.map_err(failed)? {
        return Ok(known);
    }
    let drawn = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    // Two workers may draw at once: the first row stays.
    let table = quote(database);
    let write = format!("INSERT IGNORE INTO {table}.identity (id, value) VALUES (1, '{drawn}')");
    session.run("note the shard's identity", write.as_bytes()).await.map_err(failed)?;
    Ok(known(session, database).await.map_err(failed)?.unwrap_or(drawn))
}

/// Reads it, if there is one.
///
/// # Errors
/// [`SqlError`], also where the shard has no bookkeeping yet.
pub(crate) async fn known(
    session: &mut Session,
    database: &str,
) -> Result<Option<String>, SqlError> {
    let sql = format!("SELECT value FROM {}.identity WHERE id=1", quote(database));
    let known: Vec<String> = session.rows("read the shard's identity", &sql).await?;
    Ok(known.into_iter().next())
}
