//! One transaction of a lane: lock the watermarks, check the chains, write, move the watermarks,
//! commit.

use crate::catalog::Catalog;
use crate::classify::Subject;
use crate::merged::Layout;
use crate::pass::{Gap, Pass, pass};
use crate::script::{Expect, Script};
use crate::session::{COMMIT, ROLLBACK, Session};
use crate::sql_error::SqlError;
use crate::watermark::{self, Parked, Watermark};
use crate::write;
use std::collections::HashMap;
use tributary_wire::{Batch, DeviceId};

/// What waits for one device, in the order in which it arrived.
#[derive(Debug)]
pub struct Work<'a> {
    /// The device.
    pub device: &'a DeviceId,
    /// Its batches.
    pub batches: Vec<&'a Batch>,
    /// It is to be parked with this reason, and nothing of it applied.
    pub park: Option<Parked>,
    /// The shard is known to hold the device: without a row of it, nothing may be applied.
    pub must_exist: bool,
    /// Changes of tables without a key are made one by one: together they were refused.
    pub one_by_one: bool,
}

/// What a transaction did for one device.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// What was done, as it is now committed.
    pub pass: Pass<'a>,
    /// The device's row as it is now; `None` when it still has none.
    pub watermark: Option<Watermark>,
    /// The row that had to be there is gone.
    pub lost: bool,
}

/// A transaction failed and changed nothing.
#[derive(Debug, thiserror::Error)]
#[error("{}{source}", table.as_ref().map(|table| format!("table {table}: ")).unwrap_or_default())]
pub struct ApplyError {
    /// What failed.
    pub source: SqlError,
    /// Whether it was a statement of a device's, or one of ours.
    pub subject: Subject,
    /// Which of the works' it was, where it can only be of one of them.
    pub owner: Option<usize>,
    /// `database.table` at the target that the statement was about, where it was a device's.
    pub table: Option<String>,
}

/// A connection with what it knows: everything that a transaction needs of a shard.
#[derive(Debug)]
pub struct Target {
    /// The connection.
    pub session: Session,
    /// The tables.
    pub catalog: Catalog,
    /// The bookkeeping database.
    pub database: String,
    /// How devices lie side by side.
    pub layout: Layout,
}

/// Does, in one transaction, all that can be done for these devices up to each one's first DDL
/// statement.
///
/// # Errors
/// [`ApplyError`]. The transaction may have been committed all the same when the connection was lost;
/// the chain rule makes doing it again harmless.
pub async fn apply<'a>(
    target: &mut Target,
    works: &[Work<'a>],
) -> Result<Vec<Outcome<'a>>, ApplyError> {
    let rows = lock(target, works).await.map_err(bookkeeping)?;
    let is_lost = |work: &Work<'_>| work.must_exist && !rows.contains_key(work.device);
    let passes = works.iter().map(|work| match &work.park {
        _ if is_lost(work) => Pass::default(),
        Some(parked) => parked_pass(rows.get(work.device), parked.clone(), &work.batches),
        None => pass(rows.get(work.device), &work.batches),
    });
    let mut passes: Vec<Pass<'a>> = passes.collect();
    let mut script = Script::default();
    for (owner, parked) in write::all(target, works, &passes, &mut script).await? {
        let Work { device, batches, .. } = &works[owner];
        passes[owner] = parked_pass(rows.get(*device), parked, batches);
    }
    let outcome = |(work, pass): (&Work<'_>, Pass<'a>)| {
        let watermark = pass.watermark.clone().or_else(|| rows.get(work.device).cloned());
        Outcome { pass, watermark, lost: is_lost(work) }
    };
    let outcomes: Vec<Outcome<'a>> = works.iter().zip(passes).map(outcome).collect();
    let devices = works.len();
    store(target, works, &outcomes, &mut script);
    commit(target, script).await.map_err(|(source, at)| {
        let (owner, table) = at.filter(|(owner, _)| *owner < devices).unzip();
        let subject = if owner.is_some() { Subject::Device } else { Subject::Bookkeeping };
        // A statement of the merged layout carries rows of many devices.
        let owner = owner.filter(|_| matches!(target.layout, Layout::SchemaPerDevice));
        ApplyError { source, subject, owner, table: table.flatten() }
    })?;
    Ok(outcomes)
}

async fn lock(
    target: &mut Target,
    works: &[Work<'_>],
) -> Result<HashMap<DeviceId, Watermark>, SqlError> {
    let devices: Vec<&DeviceId> = works.iter().map(|work| work.device).collect();
    let sql = watermark::select(&target.database, &devices, true);
    let rows = target.session.begin_with("lock the watermarks", &sql).await?;
    Ok(watermark::parse(rows)?.into_iter().collect())
}

/// Adds the watermarks: new rows by a plain INSERT, those that are locked by an upsert.
fn store(target: &Target, works: &[Work<'_>], outcomes: &[Outcome<'_>], script: &mut Script) {
    for new in [true, false] {
        let of_sort = works.iter().zip(outcomes).filter(|(_, outcome)| outcome.pass.is_new == new);
        let moved: Vec<(&DeviceId, &Watermark)> = of_sort
            .filter_map(|(work, outcome)| Some((work.device, outcome.pass.watermark.as_ref()?)))
            .collect();
        if !moved.is_empty() {
            let sql = watermark::store(&target.database, new, &moved);
            script.push(works.len(), Expect::Success, &sql);
        }
    }
}

/// Whose statement it was, and about which table.
type At = (usize, Option<String>);

async fn commit(target: &mut Target, mut script: Script) -> Result<(), (SqlError, Option<At>)> {
    let session = &mut target.session;
    if script.is_empty() {
        return session
            .run("end the transaction", ROLLBACK.as_bytes())
            .await
            .map_err(|error| (error, None));
    }
    let together = script.is_unconditional();
    if together {
        script.push(usize::MAX, Expect::Success, COMMIT.as_bytes());
    }
    session.run_script(&script).await.map_err(|error| {
        let at = error.statement();
        let at = at.and_then(|at| Some((script.owner(at)?, script.table(at))));
        (error, at)
    })?;
    if together {
        return Ok(());
    }
    session.run("commit", COMMIT.as_bytes()).await.map_err(|error| (error, None))
}

/// Nothing but the device's stop.
fn parked_pass<'a>(row: Option<&Watermark>, parked: Parked, batches: &[&Batch]) -> Pass<'a> {
    let mut pass = Pass { is_new: row.is_none(), ..Pass::default() };
    let mut watermark = row.cloned().unwrap_or_else(Watermark::unseen);
    if watermark.parked.is_none() {
        watermark.parked = Some(parked);
        pass.watermark = Some(watermark);
    }
    let at = row.map(|row| row.position);
    pass.gap = batches.last().map(|batch| Gap { run: batch.header.run, watermark: at });
    pass.tally.dropped = batches.len() as u64;
    pass
}

pub(crate) fn bookkeeping(source: SqlError) -> ApplyError {
    ApplyError { source, subject: Subject::Bookkeeping, owner: None, table: None }
}
