//! A DDL statement of a device, run at the target so that a crash at any point neither loses nor
//! repeats it.
//!
//! MySQL commits DDL by itself, so the statement and the watermark cannot move together. Instead:
//! [`begin`] notes in the watermark's row which statement is about to run, and what its objects look
//! like; [`execute`] runs it; [`finish`] moves the watermark past it. A worker that finds a note
//! compares: objects that still look the same mean that the statement did not take effect.

mod cascade;
mod charset;
pub mod collation;
pub(crate) mod defaults;
mod engine;
pub mod fingerprint;
pub mod mode;
mod parts;
mod rename;
mod run;
mod snapshot;

use crate::apply::Target;
use crate::classify::{Class, Subject, classify};
use crate::ddl::fingerprint::Fingerprint;
use crate::mapping;
use crate::merged::{Layout, carry, reconcile};
use crate::pass::{Barrier, Task};
use crate::session::{BEGIN, COMMIT, ROLLBACK};
use crate::sql_error::SqlError;
use crate::watermark::{self, Intent, Parked, Watermark};
use tributary_schema::{DdlKind, quote};
use tributary_wire::DeviceId;

/// A statement of a device could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum DdlError {
    /// One of our own statements failed.
    #[error(transparent)]
    Bookkeeping(SqlError),
    /// The device's statement failed.
    #[error("{source}; the statement: {text}")]
    Statement {
        /// What failed.
        source: SqlError,
        /// Its beginning.
        text: String,
    },
    /// It ran, or cannot be run, and leaves the device in a state that must not be gone on from.
    #[error("{}", .0.reason)]
    Stop(Parked),
    /// Another worker is at the same statement.
    #[error("another worker has been running this statement for {LOCK_WAIT_S} s")]
    Busy,
}

/// What is left to be done about a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// To run it.
    Run,
    /// Of a DROP of tables or of views that was cut off: to drop these, `(database, table)` at the
    /// target.
    Drop(DdlKind, Vec<(String, String)>),
    /// Nothing: it took effect before a crash.
    TookEffect,
    /// Nothing: the watermark is elsewhere, another worker has gone on.
    MovedOn,
}

const LOCK_WAIT_S: u32 = 5;

/// Runs a statement and moves the watermark past it. `None` when the watermark is elsewhere.
///
/// # Errors
/// [`DdlError`]. Whatever it is, calling this again goes on where it stopped.
pub async fn apply(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<Option<Watermark>, DdlError> {
    // A worker that died leaves its connection, and this lock, to the statement it was running.
    let lock = format!("SELECT GET_LOCK('tributary.ddl.{device}', {LOCK_WAIT_S})");
    let got: Vec<Option<u8>> =
        target.session.rows("lock the device's DDL", &lock).await.map_err(DdlError::Bookkeeping)?;
    if got.first() != Some(&Some(1)) {
        return Err(DdlError::Busy);
    }
    let outcome = apply_locked(target, device, barrier).await;
    let unlock = format!("DO RELEASE_LOCK('tributary.ddl.{device}')");
    // The lock goes with the connection in any case.
    let _ = target.session.run("unlock the device's DDL", unlock.as_bytes()).await;
    outcome
}

async fn apply_locked(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<Option<Watermark>, DdlError> {
    match begin(target, device, barrier).await? {
        Begun::MovedOn => return Ok(None),
        Begun::TookEffect => {
            tracing::info!(%device, position = %barrier.before, "a DDL statement had taken effect before a crash");
        }
        Begun::Drop(what, rest) => run::drop_rest(target, what, &rest).await?,
        Begun::Run => {
            let outcome = execute(target, device, barrier).await;
            if outcome.as_ref().is_err_and(|error| is_refusal(error, barrier)) {
                // Without this the note would stay, and what an operator then changes to mend it would look
                // as if the statement had taken effect. When it fails, the note stays.
                let _ = forget(target, device, barrier).await;
            }
            outcome?;
        }
    }
    finish(target, device, barrier).await
}

/// True when the server has refused a statement as a whole. A DROP of several objects may have dropped some.
fn is_refusal(error: &DdlError, barrier: &Barrier<'_>) -> bool {
    let drops = matches!(&barrier.task, Task::Run(order)
        if matches!(order.ddl.kind, DdlKind::DropTable | DdlKind::DropView | DdlKind::DropDatabase));
    let DdlError::Statement { source, .. } = error else { return false };
    !drops && source.code().is_some() && classify(source, Subject::Device) == Class::Data
}

/// Takes the note back of a statement that has not run.
async fn forget(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<(), DdlError> {
    target.session.reset().await.map_err(DdlError::Bookkeeping)?;
    let Some(mut row) = lock_row(target, device, barrier).await? else { return Ok(()) };
    row.intent = None;
    store(target, device, &row).await
}

/// Does what is to be done, without asking whether it has been done.
///
/// # Errors
/// [`DdlError`].
pub async fn execute(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<(), DdlError> {
    match &barrier.task {
        Task::Run(order) => {
            if let Layout::Merged(merged) = target.layout.clone() {
                carry::before(target, &merged, device, order).await?;
            }
            if barrier.header.end.items() > 0 {
                snapshot::make_way(target, device, order).await?;
            }
            run::execute(target, device, barrier.header, order).await
        }
        Task::Define { order, database, table } => {
            snapshot::define(target, device, barrier.header, order, database, table).await
        }
        Task::Databases(names) => snapshot::databases(target, device, names).await,
        Task::Tables { database, names } => snapshot::tables(target, device, database, names).await,
    }
}

/// Notes what is about to run, or finds that it was noted before and compares.
///
/// # Errors
/// [`DdlError`].
pub async fn begin(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<Begun, DdlError> {
    let row = lock_row(target, device, barrier).await?;
    let Some(mut row) = row else {
        return Ok(Begun::MovedOn);
    };
    let Task::Run(order) = &barrier.task else {
        // The steps of a snapshot say what is to be, and may be repeated: they need no note.
        end(target, ROLLBACK).await?;
        return Ok(Begun::Run);
    };
    let objects = fingerprint::objects(&order.ddl, &order.statement.database, device);
    let now =
        Fingerprint::take(&mut target.session, &objects).await.map_err(DdlError::Bookkeeping)?;
    let noted = row.intent.as_ref().filter(|intent| intent.position == barrier.before);
    let noted = noted.and_then(|intent| Fingerprint::parse(&intent.fingerprint));
    // Items of a snapshot have places at which a statement of the log may follow instead, after a restart.
    if let Some(noted) = noted.filter(|noted| noted.is_of_the_same(&now)) {
        end(target, ROLLBACK).await?;
        return Ok(fingerprint::compare(&order.ddl, &noted, &now));
    }
    row.intent = Some(Intent { position: barrier.before, fingerprint: now.to_text() });
    store(target, device, &row).await?;
    Ok(Begun::Run)
}

/// Moves the watermark past a statement that has run.
///
/// # Errors
/// [`DdlError`].
pub async fn finish(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<Option<Watermark>, DdlError> {
    let order = barrier.task.order();
    let made = cascade::made(target, device, barrier).await;
    let (made, left_out) = made.map_err(DdlError::Bookkeeping)?;
    let stop = left_out.or(engine::settle(target, device, barrier).await?);
    let layout = target.layout.clone();
    if let Layout::Merged(merged) = &layout {
        reconcile::after(target, merged, device, &barrier.task).await?;
    }
    let Some(mut row) = lock_row(target, device, barrier).await? else {
        return Ok(None);
    };
    row.advance(barrier.after, barrier.header);
    row.shape_generation += 1;
    row.parked = cascade::note(&mut row.cascades, &made, order).or(stop);
    if let Layout::Merged(merged) = &layout {
        let carried = carry::after(target, merged, device, &barrier.task).await;
        carry::undone(target, carried).await?;
    }
    if let Task::Databases(_) = barrier.task {
        // The device's code follows, and so do the pieces of whatever is still to come.
        let book = quote(&target.database);
        let sql = format!(
            "DELETE FROM {book}.routine WHERE device_id='{device}'; \
             DELETE FROM {book}.piece WHERE device_id='{device}'"
        );
        let forget = target.session.run("forget the device's code", sql.as_bytes()).await;
        forget.map_err(DdlError::Bookkeeping)?;
    }
    store(target, device, &row).await?;
    Ok(Some(row))
}

/// Begins a transaction and locks the device's row; `None`, and no transaction, unless it stands
/// before this statement and the device is not parked.
async fn lock_row(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<Option<Watermark>, DdlError> {
    let begin = target.session.run("begin", BEGIN.as_bytes()).await;
    begin.map_err(DdlError::Bookkeeping)?;
    let sql = watermark::select(&target.database, &[device], true);
    let rows = target.session.rows("lock the watermark", &sql).await;
    let rows = rows.and_then(watermark::parse).map_err(DdlError::Bookkeeping)?;
    let here = |row: &Watermark| row.position == barrier.before && row.parked.is_none();
    let row = rows.into_iter().map(|(_, row)| row).find(here);
    if row.is_none() {
        end(target, ROLLBACK).await?;
    }
    Ok(row)
}

async fn store(target: &mut Target, device: &DeviceId, row: &Watermark) -> Result<(), DdlError> {
    let sql = watermark::store(&target.database, false, &[(device, row)]);
    target.session.run("move the watermark", &sql).await.map_err(DdlError::Bookkeeping)?;
    end(target, COMMIT).await
}

async fn end(target: &mut Target, how: &str) -> Result<(), DdlError> {
    target.session.run("end the transaction", how.as_bytes()).await.map_err(DdlError::Bookkeeping)
}

/// The name of a device's database at the target. Too long a name was refused before.
pub(crate) fn mapped(device: &DeviceId, database: &str) -> String {
    mapping::database(device, database)
        .unwrap_or_else(|| format!("{device}{}{database}", mapping::SEPARATOR))
}
