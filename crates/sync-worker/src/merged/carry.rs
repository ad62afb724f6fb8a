//! The rows of a device around a statement that may change them without a row event.
//!
//! [`before`] fills the shadow with the device's rows where the statement may change them; the server
//! then changes them as the device's did. [`after`] puts the rows of the shadow in the place of those in
//! the shared tables, in the transaction that moves the watermark past the statement. Until that is
//! committed the shared tables are as they were, and everything here may be repeated.

use crate::apply::Target;
use crate::ddl::{DdlError, mapped};
use crate::merged::Merged;
use crate::merged::shape::Shape;
use crate::merged::union::Place;
use crate::pass::{Order, Task};
use crate::presence;
use crate::sql_error::SqlError;
use std::collections::BTreeSet;
use std::time::Duration;
use tributary_schema::{Ddl, DdlKind, quote};
use tributary_wire::DeviceId;

/// All rows of a device's largest table must fit in.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// A shared table: database and table.
type Shared = (String, String);

/// Before a statement: empties the shadow of its tables, and fills it where rows may change.
///
/// # Errors
/// [`DdlError`]; calling it again begins anew.
pub(crate) async fn before(
    target: &mut Target,
    merged: &Merged,
    device: &DeviceId,
    order: &Order<'_>,
) -> Result<(), DdlError> {
    for (database, table) in order.tables() {
        let begin = target.session.run("begin", b"START TRANSACTION").await;
        begin.map_err(DdlError::Bookkeeping)?;
        let outcome = fill(target, merged, device, order, database, table).await;
        undone(target, outcome).await?;
        let commit = target.session.run("fill the shadow", b"COMMIT").await;
        commit.map_err(DdlError::Bookkeeping)?;
    }
    Ok(())
}

async fn fill(
    target: &mut Target,
    merged: &Merged,
    device: &DeviceId,
    order: &Order<'_>,
    database: &str,
    table: &str,
) -> Result<(), DdlError> {
    let shadow = mapped(device, database);
    let own = Shape::hold(&mut target.session, &shadow, table).await;
    let Some(own) = own.map_err(DdlError::Bookkeeping)? else {
        // Rows of a device that begins anew: it has none in a table that it is about to make.
        if order.ddl.kind == DdlKind::CreateTable {
            clear(target, merged, device, database, table).await?;
        }
        return Ok(());
    };
    let name = format!("{}.{}", quote(&shadow), quote(table));
    let shared = merged.database(database).map_err(DdlError::Stop)?;
    let place = Place { database: &shared, table, device_column: &merged.device_column };
    refuse_unfit(target, place, &shadow).await?;
    let mut sql = format!("DELETE FROM {name}");
    if changes_rows(&order.ddl) && is_shared(target, place).await? {
        let columns = own.written();
        sql = format!(
            "{sql}; INSERT INTO {name} ({columns}) SELECT {columns} FROM {}.{} WHERE {}",
            quote(&shared),
            quote(table),
            merged.is_of(device)
        );
    }
    run(target, "fill the shadow", &sql).await
}

/// True when the table is there, and one of the layout's.
async fn is_shared(target: &mut Target, place: Place<'_>) -> Result<bool, DdlError> {
    let Place { database, table, device_column } = place;
    let found = presence::hold(&mut target.session, database, table, Some(device_column)).await;
    found.map_err(DdlError::Bookkeeping)
}

/// Refuses a table whose engine does not keep its rows here.
pub(crate) async fn refuse_unfit(
    target: &mut Target,
    place: Place<'_>,
    shadow: &str,
) -> Result<(), DdlError> {
    let engine = Shape::unfit_engine(&mut target.session, shadow, place.table).await;
    match engine.map_err(DdlError::Bookkeeping)? {
        Some(engine) => Err(DdlError::Stop(place.unfit(&engine))),
        None => Ok(()),
    }
}

/// After a task, in the transaction that moves the watermark.
///
/// # Errors
/// [`DdlError`].
pub(crate) async fn after(
    target: &mut Target,
    merged: &Merged,
    device: &DeviceId,
    task: &Task<'_>,
) -> Result<(), DdlError> {
    match task {
        Task::Run(order) => after_statement(target, merged, device, order).await,
        // What its rows are is still to come; whatever is left of others was cleared before.
        Task::Define { .. } => Ok(()),
        Task::Databases(names) => {
            let kept: BTreeSet<String> =
                names.iter().filter_map(|name| merged.database(name).ok()).collect();
            clear_where(target, merged, device, |(database, _)| !kept.contains(database)).await
        }
        Task::Tables { database, names } => {
            let Ok(shared) = merged.database(database) else { return Ok(()) };
            let kept: BTreeSet<&str> = names.iter().collect();
            let goes =
                |(database, table): &Shared| *database == shared && !kept.contains(table.as_str());
            clear_where(target, merged, device, goes).await
        }
    }
}

/// Takes the rows of a device out of a shared table.
///
/// # Errors
/// [`DdlError`].
pub(crate) async fn clear(
    target: &mut Target,
    merged: &Merged,
    device: &DeviceId,
    database: &str,
    table: &str,
) -> Result<(), DdlError> {
    let Ok(shared) = merged.database(database) else { return Ok(()) };
    clear_shared(target, merged, device, &(shared, table.to_owned())).await
}

async fn after_statement(
    target: &mut Target,
    merged: &Merged,
    device: &DeviceId,
    order: &Order<'_>,
) -> Result<(), DdlError> {
    use DdlKind::{AlterDatabase, CreateDatabase, CreateIndex, DropDatabase, DropIndex};
    let ddl = &order.ddl;
    match ddl.kind {
        CreateIndex | DropIndex | AlterDatabase => return Ok(()),
        CreateDatabase | DropDatabase => {
            if ddl.kind == CreateDatabase && !ddl.or_replace {
                return Ok(());
            }
            let named = ddl.databases.iter().filter_map(|name| merged.database(name).ok());
            let gone: BTreeSet<String> = named.collect();
            return clear_where(target, merged, device, |(name, _)| gone.contains(name)).await;
        }
        _ => {}
    }
    for (database, table) in order.tables() {
        let shadow = mapped(device, database);
        let own = Shape::hold(&mut target.session, &shadow, table).await;
        let own = own.map_err(DdlError::Bookkeeping)?;
        if own.is_some() && stays(ddl) {
            continue;
        }
        clear(target, merged, device, database, table).await?;
        let Some(own) = own.filter(|_| changes_rows(ddl)) else { continue };
        let shared = merged.database(database).map_err(DdlError::Stop)?;
        let columns = own.written();
        let sql = format!(
            "INSERT INTO {}.{} ({},{columns}) SELECT '{device}',{columns} FROM {}.{}",
            quote(&shared),
            quote(table),
            quote(&merged.device_column),
            quote(&shadow),
            quote(table)
        );
        run(target, "take the rows of the shadow", &sql).await?;
    }
    Ok(())
}

/// True for a statement that may change or move rows that no row event tells of.
fn changes_rows(ddl: &Ddl) -> bool {
    matches!(ddl.kind, DdlKind::AlterTable | DdlKind::RenameTable)
}

/// True for a statement that changes nothing of a table that is there after it.
fn stays(ddl: &Ddl) -> bool {
    match ddl.kind {
        DdlKind::CreateTable => ddl.if_not_exists,
        DdlKind::AlterTable | DdlKind::RenameTable | DdlKind::TruncateTable => false,
        _ => true,
    }
}

/// Ends the transaction that an error has left open: the next one to begin would commit it.
pub(crate) async fn undone<T>(
    target: &mut Target,
    outcome: Result<T, DdlError>,
) -> Result<T, DdlError> {
    if outcome.is_err() {
        // Without a connection there is no transaction either.
        let _ = target.session.run("undo", b"ROLLBACK").await;
    }
    outcome
}

async fn clear_where(
    target: &mut Target,
    merged: &Merged,
    device: &DeviceId,
    goes: impl Fn(&Shared) -> bool,
) -> Result<(), DdlError> {
    let sql = format!(
        "SELECT database_name, table_name FROM {}.merged_table ORDER BY 1, 2",
        quote(&target.database)
    );
    let noted: Result<Vec<(Vec<u8>, Vec<u8>)>, _> =
        target.session.rows("list the shared tables", &sql).await;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let noted = noted.map_err(DdlError::Bookkeeping)?.into_iter();
    for shared in noted.map(|(database, table)| (text(database), text(table))) {
        if goes(&shared) {
            clear_shared(target, merged, device, &shared).await?;
        }
    }
    Ok(())
}

async fn clear_shared(
    target: &mut Target,
    merged: &Merged,
    device: &DeviceId,
    (database, table): &Shared,
) -> Result<(), DdlError> {
    let sql =
        format!("DELETE FROM {}.{} WHERE {}", quote(database), quote(table), merged.is_of(device));
    match run(target, "take a device's rows out of a shared table", &sql).await {
        // Nor has anyone rows there.
        Err(DdlError::Statement { source, .. }) if presence::is_missing(&source) => Ok(()),
        outcome => outcome,
    }
}

async fn run(target: &mut Target, operation: &'static str, sql: &str) -> Result<(), DdlError> {
    let outcome = target.session.run_within(operation, sql.as_bytes(), LIMIT).await;
    outcome.map_err(|source: SqlError| DdlError::Statement { source, text: sql.to_owned() })
}

// === impl Merged ===

impl Merged {
    /// The condition of a device's rows. A device's id needs no escapes.
    fn is_of(&self, device: &DeviceId) -> String {
        format!("{}='{device}'", quote(&self.device_column))
    }
}
