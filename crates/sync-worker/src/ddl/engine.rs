//! Tables whose engine keeps a row although the transaction was undone that wrote it.
//!
//! With a key that does not matter: what is written again is written over itself. Without one the row would be
//! there twice, so such a table is kept as InnoDB.

use crate::apply::Target;
use crate::catalog::place;
use crate::ddl::run::LIMIT;
use crate::ddl::{DdlError, mapped};
use crate::merged::Layout;
use crate::pass::Barrier;
use crate::sql_error::SqlError;
use crate::watermark::Parked;
use tributary_schema::{DdlKind, quote};
use tributary_wire::DeviceId;

/// Looks at the tables of a statement that has run. One without transactions and without a key becomes InnoDB; where
/// that cannot be, the device has to be parked. In the layout `merged` no table is of such an engine.
pub(super) async fn settle(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<Option<Parked>, DdlError> {
    let Some(order) = barrier.task.order() else { return Ok(None) };
    let may_make_one =
        matches!(order.ddl.kind, DdlKind::CreateTable | DdlKind::AlterTable | DdlKind::DropIndex);
    if !may_make_one || target.layout != Layout::SchemaPerDevice {
        return Ok(None);
    }
    for (database, table) in order.tables() {
        let database = mapped(device, database);
        let engine = without_transactions(target, &database, table).await;
        let Some(engine) = engine.map_err(DdlError::Bookkeeping)? else { continue };
        match make_transactional(target, &database, table).await {
            Ok(()) => tracing::warn!(
                %device, database, table, engine,
                "a table without a key, and without transactions at the device, is kept as InnoDB: with its own engine a failure could double its rows"
            ),
            Err(error @ SqlError::Refused { .. }) => {
                return Ok(Some(parked(&engine, &database, table, &error)));
            }
            Err(error) => return Err(DdlError::Bookkeeping(error)),
        }
    }
    Ok(None)
}

/// The engine of a table that has neither a key nor transactions.
async fn without_transactions(
    target: &mut Target,
    database: &str,
    table: &str,
) -> Result<Option<String>, SqlError> {
    let place = place(database, table);
    let sql = format!(
        "SELECT CAST(engine AS CHAR) FROM information_schema.tables WHERE {place} AND engine NOT IN \
         (SELECT engine FROM information_schema.engines WHERE transactions='YES') \
         AND NOT EXISTS (SELECT 1 FROM information_schema.statistics s WHERE s.{} AND s.non_unique=0 \
         GROUP BY s.index_name HAVING SUM(s.nullable='YES')=0)",
        place.replace(" AND ", " AND s.")
    );
    let engines: Vec<String> = target.session.rows("look at a table's engine", &sql).await?;
    Ok(engines.into_iter().next())
}

/// Definitions that the other engine took, such as ROW_FORMAT=FIXED, are taken as far as InnoDB has them.
async fn make_transactional(
    target: &mut Target,
    database: &str,
    table: &str,
) -> Result<(), SqlError> {
    target.catalog.clear();
    let lenient = b"SET SESSION innodb_strict_mode=0, sql_mode=''";
    // The variable needs a privilege on some servers: without it, as it is.
    let _ = target.session.run("let definitions in", lenient).await;
    let sql = format!("ALTER TABLE {}.{} ENGINE=InnoDB", quote(database), quote(table));
    let outcome = target.session.run_within("keep a table as InnoDB", sql.as_bytes(), LIMIT).await;
    if outcome.as_ref().err().is_none_or(SqlError::keeps_connection) {
        let _ = target.session.run("forget it", b"SET SESSION innodb_strict_mode=DEFAULT").await;
        target.session.reset().await?;
    }
    outcome
}

fn parked(engine: &str, database: &str, table: &str, error: &SqlError) -> Parked {
    Parked {
        reason: format!(
            "{database}.{table} has no primary key, its engine {engine} no transactions, so that after a failure its rows could be there twice; and it cannot be kept as InnoDB: {error}"
        ),
        remedy: "give the table a primary key at the device, or leave it out with the device's filter; then drop the device's databases and its watermark at the shard, so that it begins anew; or release the device as it is, where rows that are there twice after a failure do no harm".to_owned(),
    }
}
