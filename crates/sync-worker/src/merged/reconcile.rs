//! Makes the shared tables hold what a device's shadow says.

use crate::apply::Target;
use crate::ddl::{DdlError, mapped};
use crate::merged::shape::Shape;
use crate::merged::union::{self, Place, Steps};
use crate::merged::{Merged, carry};
use crate::pass::Task;
use crate::sql_error::SqlError;
use std::time::Duration;
use tributary_schema::{DdlKind, quote};
use tributary_wire::DeviceId;

/// One worker changes shared tables of a server at a time.
const LOCK: &str = "tributary.merged";
const LOCK_WAIT_S: u32 = 30;
/// How long a change of a shared table waits for those who use it. A rebuild needs the table for itself at its
/// end, and would begin anew.
const TABLE_WAIT_S: u32 = 60;
/// A shared table that is rebuilt for a wider column is as large as all its devices' together.
const LIMIT: Duration = Duration::from_secs(6 * 3600);
/// The longest text of a statement in a reason.
const TEXT_CHARS_MAX: usize = 300;

/// Goes through the tables that a task may have made or changed.
///
/// # Errors
/// [`DdlError::Stop`] where a table cannot hold the device's.
pub(crate) async fn after(
    target: &mut Target,
    merged: &Merged,
    device: &DeviceId,
    task: &Task<'_>,
) -> Result<(), DdlError> {
    match task {
        Task::Run(order) if makes_tables(order.ddl.kind) => {
            for (database, name) in order.tables() {
                table(target, merged, device, database, name).await?;
            }
            Ok(())
        }
        Task::Define { database, table: name, .. } => {
            table(target, merged, device, database, name).await
        }
        Task::Run(_) | Task::Databases(_) | Task::Tables { .. } => Ok(()),
    }
}

fn makes_tables(kind: DdlKind) -> bool {
    use DdlKind::{AlterTable, CreateIndex, CreateTable, DropIndex, RenameTable};
    matches!(kind, CreateTable | AlterTable | RenameTable | CreateIndex | DropIndex)
}

/// Brings one shared table up to the device's; nothing for one that the shadow does not have.
async fn table(
    target: &mut Target,
    merged: &Merged,
    device: &DeviceId,
    database: &str,
    table: &str,
) -> Result<(), DdlError> {
    let shadow = mapped(device, database);
    let Some(own) = read(target, &shadow, table).await? else { return Ok(()) };
    let shared = merged.database(database).map_err(DdlError::Stop)?;
    let place = Place { database: &shared, table, device_column: &merged.device_column };
    carry::refuse_unfit(target, place, &shadow).await?;
    if left(target, place, &own).await?.is_none() {
        return Ok(());
    }
    let lock = format!("SELECT GET_LOCK('{LOCK}', {LOCK_WAIT_S})");
    let got: Result<Vec<Option<u8>>, _> = target.session.rows("lock the layout", &lock).await;
    if got.map_err(DdlError::Bookkeeping)?.first() != Some(&Some(1)) {
        return Err(DdlError::Busy);
    }
    let outcome = bring(target, place, &own).await;
    let unlock = format!("DO RELEASE_LOCK('{LOCK}')");
    // The lock goes with the connection in any case.
    let _ = target.session.run("unlock the layout", unlock.as_bytes()).await;
    target.catalog.clear();
    outcome
}

/// The steps that are left for a table, `None` when there are none.
async fn left(
    target: &mut Target,
    place: Place<'_>,
    own: &Shape,
) -> Result<Option<Steps>, DdlError> {
    let shared = read(target, place.database, place.table).await?;
    let steps = union::steps(place, own, shared.as_ref()).map_err(DdlError::Stop)?;
    Ok((steps != Steps::default()).then_some(steps))
}

/// Reads a table in a transaction: nobody may change it between two questions about it.
async fn read(target: &mut Target, database: &str, table: &str) -> Result<Option<Shape>, DdlError> {
    let begin = target.session.run("begin", b"START TRANSACTION").await;
    begin.map_err(DdlError::Bookkeeping)?;
    let shape = Shape::hold(&mut target.session, database, table).await;
    let shape = carry::undone(target, shape.map_err(DdlError::Bookkeeping)).await?;
    let end = target.session.run("end the transaction", b"ROLLBACK").await;
    end.map_err(DdlError::Bookkeeping)?;
    Ok(shape)
}

async fn bring(target: &mut Target, place: Place<'_>, own: &Shape) -> Result<(), DdlError> {
    let Some(steps) = left(target, place, own).await? else { return Ok(()) };
    // The server's account of members and expressions is in this character set, and rows are written in none.
    let set_up = format!("SET NAMES utf8mb4; SET SESSION lock_wait_timeout={TABLE_WAIT_S}");
    let set_up = target.session.run("set up the session", set_up.as_bytes()).await;
    set_up.map_err(DdlError::Bookkeeping)?;
    let outcome = take(target, place, steps).await;
    target.session.reset().await.map_err(DdlError::Bookkeeping)?;
    outcome
}

async fn take(target: &mut Target, place: Place<'_>, steps: Steps) -> Result<(), DdlError> {
    if let Some(sql) = steps.table {
        note(target, place).await.map_err(DdlError::Bookkeeping)?;
        let outcome =
            target.session.run_within("change a shared table", sql.as_bytes(), LIMIT).await;
        outcome.map_err(|source| DdlError::Statement {
            source,
            text: sql.chars().take(TEXT_CHARS_MAX).collect(),
        })?;
        tracing::info!(
            database = place.database,
            table = place.table,
            "a shared table was made or grew"
        );
    }
    for sql in steps.indexes {
        let outcome =
            target.session.run_within("index a shared table", sql.as_bytes(), LIMIT).await;
        match outcome {
            Ok(()) => {}
            // Too long a key, too many indexes: rows do not need it.
            Err(SqlError::Refused { code: 1069..=1071 | 1170 | 1709 | 1713, message, .. }) => {
                tracing::warn!(
                    sql,
                    message,
                    "a shared table does without an index of the device's"
                );
            }
            Err(source) => {
                let text = sql.chars().take(TEXT_CHARS_MAX).collect();
                return Err(DdlError::Statement { source, text });
            }
        }
    }
    Ok(())
}

/// Notes the table as one that may hold rows of devices, before it is made.
async fn note(target: &mut Target, place: Place<'_>) -> Result<(), SqlError> {
    let mut sql = format!(
        "CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4; \
         INSERT IGNORE INTO {}.merged_table (database_name, table_name) VALUES (",
        quote(place.database),
        quote(&target.database)
    )
    .into_bytes();
    crate::literal::quoted(&mut sql, place.database.as_bytes());
    sql.push(b',');
    crate::literal::quoted(&mut sql, place.table.as_bytes());
    sql.push(b')');
    target.session.run("note a shared table", &sql).await
}
