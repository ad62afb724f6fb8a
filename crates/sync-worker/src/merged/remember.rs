//! A shard remembers its layout: another one would not find the rows that are there.

use crate::literal::quoted;
use crate::merged::Layout;
use crate::migrate::MigrateError;
use crate::session::Session;
use crate::sql_error::SqlError;
use mysql_async::Row;
use tributary_schema::quote;

/// How the layouts are called in the configuration and at a shard.
const SCHEMA_PER_DEVICE: &str = "schema_per_device";
const MERGED: &str = "merged";

/// Mode, template and column of devices.
type Written = (String, String, String);

/// Compares the shard's layout with the configured one. A shard without a device takes the configured
/// one; a shard from before there were two has the one that there was.
///
/// # Errors
/// [`MigrateError::Layout`] when they differ.
pub async fn remember(
    session: &mut Session,
    database: &str,
    layout: &Layout,
) -> Result<(), MigrateError> {
    let failed = |source| MigrateError::Remember { database: database.to_owned(), source };
    let wanted = written(layout);
    let known = read(session, database).await.map_err(failed)?;
    if known.as_ref() == Some(&wanted) {
        return Ok(());
    }
    let found = known.unwrap_or_else(|| written(&Layout::SchemaPerDevice));
    if found != wanted && is_used(session, database).await.map_err(failed)? {
        return Err(MigrateError::Layout {
            database: database.to_owned(),
            found: shown(&found),
            wanted: shown(&wanted),
        });
    }
    let mut sql = format!(
        "REPLACE INTO {}.layout (id, mode, database_template, device_column) VALUES (1",
        quote(database)
    )
    .into_bytes();
    for text in [&wanted.0, &wanted.1, &wanted.2] {
        sql.push(b',');
        quoted(&mut sql, text.as_bytes());
    }
    sql.push(b')');
    session.run("remember the layout", &sql).await.map_err(failed)
}

/// The shard's layout where it is another one than the configured one; for `check`, which changes nothing.
///
/// # Errors
/// [`SqlError`], also where the shard has no bookkeeping yet.
pub async fn differs(
    session: &mut Session,
    database: &str,
    layout: &Layout,
) -> Result<Option<String>, SqlError> {
    let found = read(session, database).await?.unwrap_or_else(|| written(&Layout::SchemaPerDevice));
    if found == written(layout) || !is_used(session, database).await? {
        return Ok(None);
    }
    Ok(Some(shown(&found)))
}

/// As an operator knows it.
pub fn name(layout: &Layout) -> String {
    shown(&written(layout))
}

fn written(layout: &Layout) -> Written {
    match layout.merged() {
        None => (SCHEMA_PER_DEVICE.to_owned(), String::new(), String::new()),
        Some(merged) => (MERGED.to_owned(), merged.template.clone(), merged.device_column.clone()),
    }
}

fn shown((mode, template, column): &Written) -> String {
    if mode == SCHEMA_PER_DEVICE {
        return mode.clone();
    }
    format!("{mode} (database {template:?}, device_column {column:?})")
}

async fn read(session: &mut Session, database: &str) -> Result<Option<Written>, SqlError> {
    let sql = format!(
        "SELECT mode, database_template, device_column FROM {}.layout WHERE id=1",
        quote(database)
    );
    let rows: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = session.rows("read the layout", &sql).await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(rows.into_iter().next().map(|(a, b, c)| (text(a), text(b), text(c))))
}

/// True when there is, or was, a device here.
async fn is_used(session: &mut Session, database: &str) -> Result<bool, SqlError> {
    let book = quote(database);
    let sql = format!(
        "(SELECT 1 FROM {book}.watermark LIMIT 1) UNION ALL (SELECT 1 FROM {book}.merged_table LIMIT 1)"
    );
    let rows: Vec<Row> = session.rows("look for devices", &sql).await?;
    Ok(!rows.is_empty())
}
