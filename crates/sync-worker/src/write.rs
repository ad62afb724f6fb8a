//! What passes do, as statements of one transaction.

use crate::apply::{ApplyError, Target, Work, bookkeeping};
use crate::classify::{Class, Subject, classify};
use crate::keyless::Counts;
use crate::likeness;
use crate::literal::quoted;
use crate::merged::{Layout, gather};
use crate::net::TableWork;
use crate::pass::Pass;
use crate::plan::{self, Context, PlanError};
use crate::render::Writer;
use crate::script::{Expect, Script};
use crate::session::Session;
use crate::sql_error::SqlError;
use crate::watermark::Parked;
use std::sync::Arc;
use tributary_schema::quote;
use tributary_wire::{DeviceId, Position};

/// Multi-row statements are made about this long. The server keeps a tree of all of a statement's values:
/// of 1 MiB it takes a fifth longer a row than of 64 KiB, and of 32 KiB no less.
const STATEMENT_BYTES: usize = 64 << 10;

/// Adds what all passes do. Returns those that cannot be written, by their place, and why their devices
/// have to be parked; of them nothing is added.
pub(crate) async fn all(
    target: &mut Target,
    works: &[Work<'_>],
    passes: &[Pass<'_>],
    script: &mut Script,
) -> Result<Vec<(usize, Parked)>, ApplyError> {
    if let Layout::Merged(merged) = target.layout.clone() {
        if gather::all(target, &merged, works, passes, script).await? {
            return Ok(Vec::new());
        }
        // Something cannot be written: device by device, to see whose it is.
        script.truncate(0);
    }
    let mut refused = Vec::new();
    for (owner, (work, pass)) in works.iter().zip(passes).enumerate() {
        let written = script.len();
        if let Err(parked) = one(target, owner, work, pass, script).await? {
            script.truncate(written);
            refused.push((owner, parked));
        }
    }
    Ok(refused)
}

/// Adds what a pass does, or says why its device has to be parked instead.
async fn one(
    target: &mut Target,
    owner: usize,
    of: &Work<'_>,
    pass: &Pass<'_>,
    script: &mut Script,
) -> Result<Result<(), Parked>, ApplyError> {
    let device = of.device;
    let generation = pass.watermark.as_ref().map_or(0, |watermark| watermark.shape_generation);
    if let Err(parked) = before(target, owner, device, pass, script) {
        return Ok(Err(parked));
    }
    for work in &pass.tables {
        let database = match target.layout.database(device, &work.shape.database) {
            Ok(database) => database,
            Err(parked) => return Ok(Err(parked)),
        };
        let in_sets = !of.one_by_one && pass.has_only(work);
        let table = Table { owner, database: &database, generation, in_sets };
        if let Err(parked) = tables(target, table, &[work], script).await? {
            return Ok(Err(parked));
        }
    }
    after(target, owner, device, pass, script);
    Ok(Ok(()))
}

/// A table of the target, and whose changes of it are to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    /// See [`Context::owner`].
    pub(crate) owner: usize,
    /// Its database.
    pub(crate) database: &'a str,
    /// See [`crate::catalog::Catalog::table`].
    pub(crate) generation: u64,
    /// Many changes without a key may be made together. The shard's rows are counted before anything is written, so
    /// nothing else of the transaction may be about the table.
    pub(crate) in_sets: bool,
}

/// Adds changes of one table; those of several devices must be of one shape, and keyed. A table that is
/// not as remembered is looked at once more.
pub(crate) async fn tables(
    target: &mut Target,
    Table { owner, database, generation, in_sets }: Table<'_>,
    works: &[&TableWork<'_>],
    script: &mut Script,
) -> Result<Result<(), Parked>, ApplyError> {
    let Some(first) = works.first() else { return Ok(Ok(())) };
    let table = &first.shape.table;
    let pieces = format!("{}.piece", quote(&target.database));
    let Target { session, catalog, layout, .. } = &mut *target;
    let charsets = Arc::clone(&session.server().charsets);
    let bytes_max = session.statement_bytes_max();
    let mariadb = session.server().mariadb;
    // Shared tables only grow, and they do with the statements of any device.
    let (generation, device_column) = match layout {
        Layout::SchemaPerDevice => (generation, None),
        Layout::Merged(merged) => (0, Some(merged.device_column.as_str())),
    };
    let mut looked_again = false;
    loop {
        let written = script.len();
        let known = catalog.table(session, database, table, generation).await;
        let known = known.map_err(|source| ApplyError {
            owner: device_column.is_none().then_some(owner),
            ..bookkeeping(source)
        })?;
        let planned = match known {
            None => Err(PlanError::TableMissing { table: format!("{database}.{table}") }),
            Some(known) => {
                let context = Context {
                    owner,
                    database,
                    target: &known,
                    charsets: &charsets,
                    pieces: &pieces,
                    device_column,
                    mariadb,
                    statement_bytes: STATEMENT_BYTES.min(bytes_max),
                    statement_bytes_max: bytes_max,
                };
                let together = match in_sets {
                    true => together(session, first, context, script).await,
                    false => Ok(Ok(false)),
                };
                let together = together.map_err(|source| ApplyError {
                    source,
                    subject: Subject::Device,
                    owner: Some(owner),
                    table: Some(format!("{database}.{table}")),
                })?;
                match together {
                    Ok(false) => plan::plan(works, context, script),
                    written => written.map(|_| ()),
                }
            }
        };
        let Err(error) = planned else { return Ok(Ok(())) };
        script.truncate(written);
        catalog.clear();
        if std::mem::replace(&mut looked_again, true) {
            let (reason, remedy) = (error.to_string(), error.remedy().to_owned());
            return Ok(Err(Parked { reason, remedy }));
        }
    }
}

/// Adds many changes of a table without a key as work on sets of rows; false when there are few, or the shard cannot
/// do it.
async fn together(
    session: &mut Session,
    work: &TableWork<'_>,
    context: Context<'_>,
    script: &mut Script,
) -> Result<Result<bool, PlanError>, SqlError> {
    let prepared = match plan::in_sets(work, context) {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return Ok(Ok(false)),
        Err(error) => return Ok(Err(error)),
    };
    let writer = Writer::new(prepared.work, context, &prepared.columns);
    let mut counts = Counts::new();
    session.begins_for(context.owner);
    for question in prepared.bulk.questions(&writer) {
        let rows = session.rows_slowly::<(Vec<u8>, u64)>("count equal rows", &question).await;
        let rows = match rows {
            // Not this way, then.
            Err(error) if classify(&error, Subject::Device) == Class::Data => return Ok(Ok(false)),
            rows => rows?,
        };
        for (digest, copies) in rows {
            counts.extend(likeness::from_hex(&digest).map(|digest| (digest, copies)));
        }
    }
    Ok(prepared.bulk.plan(&counts, &writer, script))
}

/// Adds what has to be there before a pass's rows: the pieces of large values, whose rows may come with a
/// later batch.
pub(crate) fn before(
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

/// Adds what follows a pass's rows.
pub(crate) fn after(
    target: &Target,
    owner: usize,
    device: &DeviceId,
    pass: &Pass<'_>,
    script: &mut Script,
) {
    if let Some(at) = pass.pieces_used {
        let Position { epoch, file, offset, part } = at;
        // In log order: those of rows that were written, or that later ones have overtaken.
        let sql = format!(
            "DELETE FROM {}.piece WHERE device_id='{device}' AND (epoch<{epoch} OR (epoch={epoch} AND \
             (file<{file} OR (file={file} AND (`offset`<{offset} OR (`offset`={offset} AND part<={part}))))))",
            quote(&target.database)
        );
        script.push(owner, Expect::Success, sql.as_bytes());
    }
    routines(&target.database, owner, device, pass, script);
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
