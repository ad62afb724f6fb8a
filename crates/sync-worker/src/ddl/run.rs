//! Runs a device's DDL statement as the device ran it: its default database, its session, its
//! collations as far as the target has them.

use crate::apply::Target;
use crate::ddl::defaults::Defaults;
use crate::ddl::parts::Parts;
use crate::ddl::rename::{self, Renaming};
use crate::ddl::{DdlError, charset, collation, mapped, mode};
use crate::mapping;
use crate::pass::Order;
use crate::session::{Server, Session};
use crate::sql_error::SqlError;
use crate::treatment;
use crate::watermark::Parked;
use std::time::Duration;
use tributary_schema::{self as schema, Condition, DdlKind, SqlMode, quote, rewrite_for};
use tributary_wire::{DeviceId, Header, Statement};

/// Rebuilding the largest table of a device must fit in.
pub(super) const LIMIT: Duration = Duration::from_secs(6 * 3600);
/// How long a statement waits for those who use its table, while others wait for it.
const LOCK_WAIT_S: u32 = 60;
/// A statement names this many different collations at most that the target may lack.
const COLLATIONS_MAX: usize = 16;
/// How much of a statement goes into a reason.
const TEXT_CHARS_MAX: usize = 300;
const UNKNOWN_COLLATION: u16 = 1273;

/// Runs the statement, and leaves the session as it was.
///
/// # Errors
/// [`DdlError`].
pub(super) async fn execute(
    target: &mut Target,
    device: &DeviceId,
    header: &Header,
    order: &Order<'_>,
) -> Result<(), DdlError> {
    let name = |name: &str| mapped(device, name);
    execute_as(target, device, header, order, &name).await
}

/// [`execute`] with names of its own for the device's databases.
pub(super) async fn execute_as(
    target: &mut Target,
    device: &DeviceId,
    header: &Header,
    order: &Order<'_>,
    name: &(dyn Fn(&str) -> String + Sync),
) -> Result<(), DdlError> {
    let statement = order.statement;
    let (from_mariadb, to_mariadb) = (is_mariadb(header), target.session.server().mariadb);
    let other = (from_mariadb != to_mariadb).then_some(to_mariadb);
    let parts = parts(target, order, other, name).await.map_err(DdlError::Bookkeeping)?;
    let sql = written(statement, name, other, &parts)?;
    refuse_untold(target.session.server(), header, statement)?;
    let mut sql = with_own_collation(target.session.server(), header, order, sql);
    if from_mariadb {
        let (session, default) = (&mut target.session, &statement.database);
        let renaming = rename::of_what_is_there(session, &order.ddl, default, name).await;
        match renaming.map_err(DdlError::Bookkeeping)? {
            Renaming::Whole => {}
            Renaming::Part(rest) => sql = rest.into_bytes(),
            Renaming::Nothing => {
                tracing::info!(%device, "RENAME TABLE of what is not at the target is passed: of temporary tables");
                return Ok(());
            }
        }
    }
    let context = Context { device, header, order, name };
    let outcome = run(target, &context, sql).await;
    target.catalog.clear();
    if outcome.as_ref().err().is_none_or(SqlError::keeps_connection) {
        target.session.reset().await.map_err(DdlError::Bookkeeping)?;
    }
    outcome.map_err(|source| failed(source, &statement.sql))
}

/// Stops a device whose statement means what only MariaDB can be told.
fn refuse_untold(server: &Server, header: &Header, statement: &Statement) -> Result<(), DdlError> {
    let crosses = is_mariadb(header) && !server.mariadb;
    let mode = mode::untold(statement.sql_mode, &statement.sql).filter(|_| crosses);
    let Some(mode) = mode else { return Ok(()) };
    Err(DdlError::Stop(Parked {
        reason: format!("a statement was run in sql_mode {mode} of MariaDB, in which types and values have another meaning, and which MySQL does not have"),
        remedy: "make the change at the shard by hand, with the types that SHOW CREATE TABLE on the device says, then release the device with --skip-statement; or keep the device in a MariaDB shard".to_owned(),
    }))
}

/// The statement as it is run here. `other` is given where the target is of the other product, and says which.
fn written(
    statement: &Statement,
    name: &(dyn Fn(&str) -> String + Sync),
    other: Option<bool>,
    parts: &Parts,
) -> Result<Vec<u8>, DdlError> {
    // What cannot be turned into UTF-8 was refused before.
    let text = treatment::text(statement).unwrap_or_default();
    let is_made = |condition: &Condition| parts.made(condition);
    let target = schema::Target { map: &|database| name(database), other, is_made: &is_made };
    rewrite_for(&text, SqlMode(statement.sql_mode), &target).map_err(|error| DdlError::Stop(Parked {
        reason: format!("a statement cannot be given the target's database names: {error}"),
        remedy: "make the change at the shard by hand, then release the device with --skip-statement".to_owned(),
    }))
}

/// What the statement's table has, where that decides what of the statement is run.
async fn parts(
    target: &mut Target,
    order: &Order<'_>,
    other: Option<bool>,
    name: &(dyn Fn(&str) -> String + Sync),
) -> Result<Parts, SqlError> {
    match order.ddl.tables.first() {
        Some(table) if other == Some(false) && !order.ddl.conditions.is_empty() => {
            let database = table.database.as_deref().unwrap_or(&order.statement.database);
            Parts::of(&mut target.session, &name(database), &table.table).await
        }
        _ => Ok(Parts::default()),
    }
}

/// Names the collation that utf8mb4 means at the device where it means another one at the target.
fn with_own_collation(
    server: &Server,
    header: &Header,
    order: &Order<'_>,
    sql: Vec<u8>,
) -> Vec<u8> {
    let here = charset::default_collation(&server.version);
    let told = collation::name(order.statement.collation_utf8mb4, &server.charsets);
    let told = told.filter(|_| order.statement.collation_utf8mb4 != 0);
    let by_version = || {
        (!header.server.is_empty()).then(|| charset::default_collation(&header.server).to_owned())
    };
    let Some(wanted) = told.or_else(by_version).filter(|wanted| wanted != here) else { return sql };
    let wanted = wanted.as_str();
    let has = server.charsets.has_collation(wanted).then(|| wanted.to_owned());
    let mode = SqlMode(order.statement.sql_mode);
    match has.or_else(|| collation::nearest(wanted, &server.charsets)) {
        Some(name) => charset::with_collation(&sql, mode, order.ddl.kind, &name),
        None => sql,
    }
}

/// A statement and where it is to run.
pub(super) struct Context<'a> {
    device: &'a DeviceId,
    pub(super) header: &'a Header,
    pub(super) order: &'a Order<'a>,
    name: &'a (dyn Fn(&str) -> String + Sync),
}

/// Finishes a DROP of several tables that was cut off.
pub(super) async fn drop_rest(
    target: &mut Target,
    what: DdlKind,
    rest: &[(String, String)],
) -> Result<(), DdlError> {
    let what = if what == DdlKind::DropView { "VIEW" } else { "TABLE" };
    let names =
        rest.iter().map(|(database, table)| format!("{}.{}", quote(database), quote(table)));
    let sql = format!("DROP {what} IF EXISTS {}", names.collect::<Vec<_>>().join(","));
    target.catalog.clear();
    let outcome = target.session.run_within("finish a DROP", sql.as_bytes(), LIMIT).await;
    outcome.map_err(|source| failed(source, sql.as_bytes()))
}

async fn run(target: &mut Target, context: &Context<'_>, sql: Vec<u8>) -> Result<(), SqlError> {
    make_databases(target, context).await?;
    let_keys_in(target, context.order.ddl.kind).await?;
    let prologue = prologue(target, context).await?;
    let session = &mut target.session;
    session.run("set up the statement's session", prologue.as_bytes()).await?;
    let defaults = Defaults::set(session, context).await?;
    let outcome = run_with_nearest(session, context, sql).await;
    if outcome.as_ref().err().is_none_or(SqlError::keeps_connection) {
        defaults.unset(session).await?;
    }
    outcome
}

/// Runs the statement with the nearest collations in the place of those that the target lacks.
async fn run_with_nearest(
    session: &mut Session,
    context: &Context<'_>,
    mut sql: Vec<u8>,
) -> Result<(), SqlError> {
    for _ in 0..COLLATIONS_MAX {
        let outcome = session.run_within("run the device's statement", &sql, LIMIT).await;
        let Err(SqlError::Refused { code: UNKNOWN_COLLATION, message, .. }) = &outcome else {
            return outcome;
        };
        let charsets = &session.server().charsets;
        let lacking = collation::refused(message).map(str::to_owned);
        let nearest = lacking.as_deref().and_then(|name| collation::nearest(name, charsets));
        let (Some(lacking), Some(nearest)) = (lacking, nearest) else {
            return outcome;
        };
        tracing::warn!(
            device = %context.device,
            lacking,
            nearest,
            "the target lacks a collation of the device; the nearest one takes its place, and may order and compare differently"
        );
        sql = collation::replace(&sql, &lacking, &nearest);
    }
    session.run_within("run the device's statement", &sql, LIMIT).await
}

/// The databases that a statement about tables needs, where they are missing: made before the stream
/// began.
async fn make_databases(target: &mut Target, context: &Context<'_>) -> Result<(), SqlError> {
    let Order { statement, ddl } = context.order;
    if is_about_databases(ddl.kind) {
        return Ok(());
    }
    let mut names = treatment::databases(ddl, &statement.database);
    if !statement.database.is_empty() && !mapping::is_system(&statement.database) {
        names.push(statement.database.clone());
    }
    let charsets = std::sync::Arc::clone(&target.session.server().charsets);
    for name in names {
        let is_default = name == statement.database && statement.collation_database != 0;
        let id = if is_default { statement.collation_database } else { statement.collation_server };
        let collate = match (charsets.charset(id), collation::name(id, &charsets)) {
            (Some(charset), Some(collation)) => {
                format!(" CHARACTER SET {charset} COLLATE {collation}")
            }
            _ => String::new(),
        };
        let name = quote(&(context.name)(&name));
        let sql = format!("CREATE DATABASE IF NOT EXISTS {name}{collate}");
        target.session.run("create the device's database", sql.as_bytes()).await?;
    }
    Ok(())
}

/// The session that the device ran the statement in.
async fn prologue(target: &mut Target, context: &Context<'_>) -> Result<String, SqlError> {
    let Order { statement, ddl } = context.order;
    let Statement { database, sql_mode, no_foreign_key_checks, timestamp_us, time_zone, .. } =
        statement;
    let from_mariadb = is_mariadb(context.header);
    let server = target.session.server();
    let mode = mode::names(*sql_mode, from_mariadb, server.mariadb);
    // In the merged layout the tables that are referred to have no rows here.
    let has_rows = target.layout.merged().is_none();
    let checks = u8::from(!no_foreign_key_checks && has_rows);
    let mut settings = vec![
        format!("sql_mode='{mode}'"),
        format!("foreign_key_checks={checks}"),
        format!("lock_wait_timeout={LOCK_WAIT_S}"),
        format!("lc_time_names={}", statement.locale),
    ];
    if statement.if_exists && server.mariadb {
        settings.push("sql_if_exists=1".to_owned());
    }
    // What NOW() and DEFAULT CURRENT_TIMESTAMP meant; 0 would set the clock going again.
    let (seconds, fraction) = (timestamp_us / 1_000_000, timestamp_us % 1_000_000);
    if seconds > 0 {
        settings.push(format!("timestamp={seconds}.{fraction:06}"));
    }
    if !time_zone.is_empty() {
        let mut value = Vec::new();
        crate::literal::quoted(&mut value, time_zone.as_bytes());
        settings.push(format!("time_zone={}", String::from_utf8_lossy(&value)));
    }
    let charsets = &server.charsets;
    // What is run is what was written from the statement, and that is UTF-8.
    settings.push("character_set_client=utf8mb4".to_owned());
    for (variable, id) in [
        ("collation_connection", statement.collation_connection),
        ("collation_server", statement.collation_server),
    ] {
        if let Some(collation) = collation::name(id, charsets) {
            settings.push(format!("{variable}={collation}"));
        }
    }
    let mut prologue = format!("SET SESSION {}", settings.join(", "));
    let is_own = !database.is_empty() && !mapping::is_system(database);
    if is_own {
        let name = (context.name)(database);
        if !is_about_databases(ddl.kind) || exists(target, &name).await? {
            prologue = format!("USE {}; {prologue}", quote(&name));
        }
    }
    Ok(prologue)
}

/// The device's server is MariaDB.
fn is_mariadb(header: &Header) -> bool {
    header.source.starts_with("mariadb-")
}

/// A foreign key may refer to a key that is not unique: MySQL took that before 8.4, and MariaDB does.
async fn let_keys_in(target: &mut Target, kind: DdlKind) -> Result<(), SqlError> {
    if target.session.server().mariadb
        || !matches!(kind, DdlKind::CreateTable | DdlKind::AlterTable)
    {
        return Ok(());
    }
    let sql = b"SET SESSION restrict_fk_on_non_standard_key=OFF";
    match target.session.run("let foreign keys in", sql).await {
        // An older server lets them in; an account that may not set it is told by the statement.
        Err(SqlError::Refused { .. }) => Ok(()),
        outcome => outcome,
    }
}

async fn exists(target: &mut Target, database: &str) -> Result<bool, SqlError> {
    let mut sql = b"SELECT 1 FROM information_schema.schemata WHERE schema_name=".to_vec();
    crate::literal::quoted(&mut sql, database.as_bytes());
    let sql = String::from_utf8_lossy(&sql).into_owned();
    let rows: Vec<u8> = target.session.rows("look for a database", &sql).await?;
    Ok(!rows.is_empty())
}

/// The log gives CREATE and DROP DATABASE the database itself as their default.
fn is_about_databases(kind: DdlKind) -> bool {
    matches!(kind, DdlKind::CreateDatabase | DdlKind::AlterDatabase | DdlKind::DropDatabase)
}

fn failed(source: SqlError, sql: &[u8]) -> DdlError {
    let text = masked(&String::from_utf8_lossy(sql));
    DdlError::Statement { source, text: text.chars().take(TEXT_CHARS_MAX).collect() }
}

/// Without what stands between quotes: it may be a password (`CONNECTION='…'`).
fn masked(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut inside = None;
    for c in sql.chars() {
        match inside {
            Some(quote) if c == quote => {
                text.push(c);
                inside = None;
            }
            Some(_) => {}
            None => {
                text.push(c);
                if c == '\'' || c == '"' {
                    text.push('…');
                    inside = Some(c);
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_a_statement_are_not_repeated() {
        let sql = "CREATE TABLE t (a INT) ENGINE=FEDERATED CONNECTION='mysql://u:secret@h/d/t'";
        assert_eq!(masked(sql), "CREATE TABLE t (a INT) ENGINE=FEDERATED CONNECTION='…'");
    }
}
