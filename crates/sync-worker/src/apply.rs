//! One transaction of a lane: lock the watermarks, check the chains, write, move the watermarks,
//! commit.

use crate::catalog::Catalog;
use crate::classify::Subject;
use crate::literal::quoted;
use crate::mapping;
use crate::pass::{Gap, Pass, pass};
use crate::plan::{self, Context, PlanError};
use crate::script::{Expect, Script};
use crate::session::Session;
use crate::sql_error::SqlError;
use crate::watermark::{self, Parked, Watermark};
use std::collections::HashMap;
use tributary_schema::quote;
use tributary_wire::{Batch, DeviceId, Position};

/// Multi-row statements are made about this long: longer ones gain nothing more.
const STATEMENT_BYTES: usize = 1 << 20;

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
    /// Which of the works' it was, where that is known.
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
    let mut script = Script::default();
    let mut outcomes = Vec::with_capacity(works.len());
    for (owner, work) in works.iter().enumerate() {
        let row = rows.get(work.device);
        let lost = row.is_none() && work.must_exist;
        let mut pass = match &work.park {
            _ if lost => Pass::default(),
            Some(parked) => parked_pass(row, parked.clone(), &work.batches),
            None => pass(row, &work.batches),
        };
        let written = script.len();
        if let Err(parked) = write(target, owner, work.device, &pass, &mut script).await? {
            script.truncate(written);
            pass = parked_pass(row, parked, &work.batches);
        }
        let watermark = pass.watermark.clone().or_else(|| row.cloned());
        outcomes.push(Outcome { pass, watermark, lost });
    }
    let devices = works.len();
    store(target, works, &outcomes, &mut script);
    commit(target, script).await.map_err(|(source, at)| {
        let (owner, table) = at.filter(|(owner, _)| *owner < devices).unzip();
        let subject = if owner.is_some() { Subject::Device } else { Subject::Bookkeeping };
        ApplyError { source, subject, owner, table: table.flatten() }
    })?;
    Ok(outcomes)
}

async fn lock(
    target: &mut Target,
    works: &[Work<'_>],
) -> Result<HashMap<DeviceId, Watermark>, SqlError> {
    target.session.run("begin", b"START TRANSACTION").await?;
    let devices: Vec<&DeviceId> = works.iter().map(|work| work.device).collect();
    let sql = watermark::select(&target.database, &devices, true);
    let rows = target.session.rows("lock the watermarks", &sql).await?;
    Ok(watermark::parse(rows)?.into_iter().collect())
}

/// Writes what a pass does, or says why the device has to be parked instead.
async fn write(
    target: &mut Target,
    owner: usize,
    device: &DeviceId,
    pass: &Pass<'_>,
    script: &mut Script,
) -> Result<Result<(), Parked>, ApplyError> {
    let generation = pass.watermark.as_ref().map_or(0, |watermark| watermark.shape_generation);
    let charsets = std::sync::Arc::clone(&target.session.server().charsets);
    let pieces = format!("{}.piece WHERE device_id='{device}'", quote(&target.database));
    if let Err(parked) = store_pieces(target, owner, device, pass, script) {
        return Ok(Err(parked));
    }
    for work in &pass.tables {
        let Some(database) = mapping::database(device, &work.shape.database) else {
            return Ok(Err(long_name(&work.shape.database)));
        };
        let table = &work.shape.table;
        let Target { session, catalog, .. } = &mut *target;
        let known = catalog.table(session, &database, table, generation).await;
        let known = known.map_err(|source| ApplyError {
            source,
            subject: Subject::Bookkeeping,
            owner: None,
            table: None,
        })?;
        let planned = match known {
            None => Err(PlanError::TableMissing { table: format!("{database}.{table}") }),
            Some(known) => {
                let bytes_max = session.statement_bytes_max();
                let context = Context {
                    owner,
                    database: &database,
                    target: &known,
                    charsets: &charsets,
                    pieces: &pieces,
                    statement_bytes: STATEMENT_BYTES.min(bytes_max),
                    statement_bytes_max: bytes_max,
                };
                plan::plan(work, context, script)
            }
        };
        if let Err(error) = planned {
            catalog.clear();
            return Ok(Err(Parked {
                reason: error.to_string(),
                remedy: error.remedy().to_owned(),
            }));
        }
    }
    if let Some(at) = pass.pieces_used {
        let Position { epoch, file, offset, part } = at;
        // In log order: those of rows that were written, or that later ones have overtaken.
        let sql = format!(
            "DELETE FROM {pieces} AND (epoch<{epoch} OR (epoch={epoch} AND (file<{file} OR (file={file} \
             AND (`offset`<{offset} OR (`offset`={offset} AND part<={part}))))))"
        );
        script.push(owner, Expect::Success, sql.as_bytes());
    }
    routines(&target.database, owner, device, pass, script);
    Ok(Ok(()))
}

/// Keeps the pieces of large values for their rows, which may come with a later batch.
fn store_pieces(
    target: &Target,
    owner: usize,
    device: &DeviceId,
    pass: &Pass<'_>,
    script: &mut Script,
) -> Result<(), Parked> {
    let bytes_max = target.session.statement_bytes_max();
    for (Position { epoch, file, offset, part }, bytes) in &pass.pieces {
        let mut sql = format!(
            "REPLACE INTO {}.piece (device_id,epoch,file,`offset`,part,data) VALUES \
             ('{device}',{epoch},{file},{offset},{part},",
            quote(&target.database)
        )
        .into_bytes();
        quoted(&mut sql, bytes);
        sql.push(b')');
        if sql.len() > bytes_max {
            let table = "of pieces".to_owned();
            let error = PlanError::RowTooLarge { table, bytes: sql.len(), bytes_max };
            let (reason, remedy) = (error.to_string(), error.remedy().to_owned());
            return Err(Parked { reason, remedy });
        }
        script.push(owner, Expect::Success, &sql);
    }
    Ok(())
}

fn routines(database: &str, owner: usize, device: &DeviceId, pass: &Pass<'_>, script: &mut Script) {
    for (at, statement) in &pass.routines {
        let mut sql = format!(
            "REPLACE INTO {}.routine (device_id,epoch,file,`offset`,part,database_name,statement,\
             sql_mode,charset_client,collation_connection,collation_database) VALUES \
             ('{device}',{},{},{},{},",
            quote(database),
            at.epoch,
            at.file,
            at.offset,
            at.part
        )
        .into_bytes();
        quoted(&mut sql, statement.database.as_bytes());
        sql.push(b',');
        quoted(&mut sql, &statement.sql);
        let rest = format!(
            ",{},{},{},{})",
            statement.sql_mode,
            statement.charset_client,
            statement.collation_connection,
            statement.collation_database
        );
        sql.extend_from_slice(rest.as_bytes());
        script.push(owner, Expect::Success, &sql);
    }
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
            .run("end the transaction", b"ROLLBACK")
            .await
            .map_err(|error| (error, None));
    }
    let together = script.is_unconditional();
    if together {
        script.push(usize::MAX, Expect::Success, b"COMMIT");
    }
    session.run_script(&script).await.map_err(|error| {
        let at = error.statement();
        let at = at.and_then(|at| Some((script.owner(at)?, script.table(at))));
        (error, at)
    })?;
    if together {
        return Ok(());
    }
    session.run("commit", b"COMMIT").await.map_err(|error| (error, None))
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

fn long_name(database: &str) -> Parked {
    Parked {
        reason: format!(
            "database {database} has too long a name: with the device's id it passes 64 characters"
        ),
        remedy: "rename the database at the device, or give the device a shorter id".to_owned(),
    }
}

fn bookkeeping(source: SqlError) -> ApplyError {
    ApplyError { source, subject: Subject::Bookkeeping, owner: None, table: None }
}
