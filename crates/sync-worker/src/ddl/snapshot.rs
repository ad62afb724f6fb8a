//! What a snapshot says of databases and tables, made true at the target. Each of these says what is to
//! be and may be repeated after a crash at any point.

use crate::apply::Target;
use crate::catalog::place;
use crate::ddl::run::{self, LIMIT};
use crate::ddl::{DdlError, fingerprint, mapped};
use crate::literal::quoted;
use crate::merged::{Layout, carry};
use crate::pass::Order;
use crate::sql_error::SqlError;
use std::collections::HashSet;
use tributary_schema::{DdlKind, quote};
use tributary_wire::{DeviceId, Header, Names, Statement};

/// A database beside the device's own, in which a table is made as the device says it, to be compared.
/// There no name of a constraint is taken. It is none of the device's, so [`databases`] drops one that
/// a crash has left.
const TRIAL: &str = "_tributary_trial";

/// Makes a table as its CREATE TABLE says; one that already is so keeps its rows.
///
/// One that is not is dropped and made: the rows of its chunks follow, so nothing is lost by that. A
/// crash between the two leaves no table, and the next attempt makes it.
pub(super) async fn define(
    target: &mut Target,
    device: &DeviceId,
    header: &Header,
    order: &Order<'_>,
    database: &str,
    table: &str,
) -> Result<(), DdlError> {
    // A table that a foreign key points to may come later.
    let statement = Statement { no_foreign_key_checks: true, ..order.statement.clone() };
    let order = &Order { statement: &statement, ddl: order.ddl.clone() };
    let own = mapped(device, database);
    match kind(target, &own, table).await.map_err(DdlError::Bookkeeping)? {
        None => clear(target, device, database, table).await?,
        Some(Kind::Table) => {
            if is_same(target, device, header, order, database, table).await? {
                return Ok(());
            }
            clear(target, device, database, table).await?;
            drop_object(target, Kind::Table, &own, table).await?;
        }
        Some(kind) => drop_object(target, kind, &own, table).await?,
    }
    run::execute(target, device, header, order).await
}

/// In the merged layout a table's rows go before its definition does: there they are elsewhere.
async fn clear(
    target: &mut Target,
    device: &DeviceId,
    database: &str,
    table: &str,
) -> Result<(), DdlError> {
    match target.layout.clone() {
        Layout::SchemaPerDevice => Ok(()),
        Layout::Merged(merged) => carry::clear(target, &merged, device, database, table).await,
    }
}

/// Makes the wanted table elsewhere and compares.
async fn is_same(
    target: &mut Target,
    device: &DeviceId,
    header: &Header,
    order: &Order<'_>,
    database: &str,
    table: &str,
) -> Result<bool, DdlError> {
    let (own, trial) = (mapped(device, database), mapped(device, TRIAL));
    drop_database(target, &trial).await?;
    let name = |name: &str| if name == database { trial.clone() } else { mapped(device, name) };
    run::execute_as(target, device, header, order, &name).await?;
    let session = &mut target.session;
    let wanted = fingerprint::definition(session, &trial, table).await;
    let wanted = wanted.map_err(DdlError::Bookkeeping)?;
    let found = fingerprint::definition(session, &own, table).await;
    let found = found.map_err(DdlError::Bookkeeping)?;
    drop_database(target, &trial).await?;
    Ok(wanted == found)
}

/// A view may be where the device had a table when the target was last like it: the table goes.
pub(super) async fn make_way(
    target: &mut Target,
    device: &DeviceId,
    order: &Order<'_>,
) -> Result<(), DdlError> {
    if order.ddl.kind != DdlKind::CreateView {
        return Ok(());
    }
    for name in &order.ddl.tables {
        let database = name.database.as_deref().unwrap_or(&order.statement.database);
        let database = mapped(device, database);
        let found = kind(target, &database, &name.table).await.map_err(DdlError::Bookkeeping)?;
        if let Some(kind @ (Kind::Table | Kind::Sequence)) = found {
            drop_object(target, kind, &database, &name.table).await?;
        }
    }
    Ok(())
}

/// Drops the device's databases that are not among `names`.
pub(super) async fn databases(
    target: &mut Target,
    device: &DeviceId,
    names: &Names,
) -> Result<(), DdlError> {
    // An id holds no '__' and does not end in '_': no other device's databases begin like this.
    let prefix = mapped(device, "");
    let kept: HashSet<String> = names.iter().map(|name| mapped(device, name)).collect();
    let sql = "SELECT schema_name FROM information_schema.schemata";
    let found = listed(target, sql).await.map_err(DdlError::Bookkeeping)?;
    for name in found {
        if name.starts_with(&prefix) && !kept.contains(&name) {
            drop_database(target, &name).await?;
        }
    }
    target.catalog.clear();
    Ok(())
}

/// Drops the tables and views of a database that are not among `names`.
pub(super) async fn tables(
    target: &mut Target,
    device: &DeviceId,
    database: &str,
    names: &Names,
) -> Result<(), DdlError> {
    let database = mapped(device, database);
    let kept: HashSet<&str> = names.iter().collect();
    let mut sql = b"SELECT table_name FROM information_schema.tables WHERE table_schema=".to_vec();
    quoted(&mut sql, database.as_bytes());
    let sql = String::from_utf8_lossy(&sql).into_owned();
    let found = listed(target, &sql).await.map_err(DdlError::Bookkeeping)?;
    for name in found {
        if kept.contains(name.as_str()) {
            continue;
        }
        let kind = kind(target, &database, &name).await.map_err(DdlError::Bookkeeping)?;
        drop_object(target, kind.unwrap_or(Kind::Table), &database, &name).await?;
    }
    target.catalog.clear();
    Ok(())
}

/// What stands behind a table's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    View,
    Sequence,
}

async fn kind(target: &mut Target, database: &str, name: &str) -> Result<Option<Kind>, SqlError> {
    let place = place(database, name);
    let sql = format!("SELECT table_type FROM information_schema.tables WHERE {place}");
    let found = listed(target, &sql).await?;
    Ok(found.first().map(|kind| match kind.as_str() {
        "VIEW" => Kind::View,
        "SEQUENCE" => Kind::Sequence,
        _ => Kind::Table,
    }))
}

async fn listed(target: &mut Target, sql: &str) -> Result<Vec<String>, SqlError> {
    let names: Vec<Vec<u8>> = target.session.rows("list a device's objects", sql).await?;
    Ok(names.into_iter().map(|name| String::from_utf8_lossy(&name).into_owned()).collect())
}

async fn drop_object(
    target: &mut Target,
    kind: Kind,
    database: &str,
    name: &str,
) -> Result<(), DdlError> {
    let word = match kind {
        Kind::Table => "TABLE",
        Kind::View => "VIEW",
        Kind::Sequence => "SEQUENCE",
    };
    let sql = format!("DROP {word} IF EXISTS {}.{}", quote(database), quote(name));
    run_drop(target, &sql).await
}

async fn drop_database(target: &mut Target, database: &str) -> Result<(), DdlError> {
    run_drop(target, &format!("DROP DATABASE IF EXISTS {}", quote(database))).await
}

/// The session has `foreign_key_checks=0`: what points to it is still to be replaced.
async fn run_drop(target: &mut Target, sql: &str) -> Result<(), DdlError> {
    let outcome = target.session.run_within("make room", sql.as_bytes(), LIMIT).await;
    outcome.map_err(|source| DdlError::Statement { source, text: sql.to_owned() })
}
