//! Tables whose engine keeps a row although the transaction was undone that wrote it.
//!
//! With a key that does not matter: what is written again is written over itself. Without one the row would be
//! there twice.

use crate::apply::Target;
use crate::catalog::place;
use crate::ddl::mapped;
use crate::merged::Layout;
use crate::pass::Barrier;
use crate::sql_error::SqlError;
use crate::watermark::Parked;
use tributary_schema::DdlKind;
use tributary_wire::DeviceId;

/// Looks at the tables of a statement that has run: the device has to be parked for one without transactions
/// and without a key. In the layout `merged` no table is of such an engine.
pub(crate) async fn check(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<Option<Parked>, SqlError> {
    let Some(order) = barrier.task.order() else { return Ok(None) };
    let may_make_one =
        matches!(order.ddl.kind, DdlKind::CreateTable | DdlKind::AlterTable | DdlKind::DropIndex);
    if !may_make_one || target.layout != Layout::SchemaPerDevice {
        return Ok(None);
    }
    for (database, table) in order.tables() {
        let database = mapped(device, database);
        let place = place(&database, table);
        let sql = format!(
            "SELECT CAST(engine AS CHAR) FROM information_schema.tables WHERE {place} AND engine NOT IN \
             (SELECT engine FROM information_schema.engines WHERE transactions='YES') \
             AND NOT EXISTS (SELECT 1 FROM information_schema.statistics s WHERE s.{} AND s.non_unique=0 \
             GROUP BY s.index_name HAVING SUM(s.nullable='YES')=0)",
            place.replace(" AND ", " AND s.")
        );
        let engines: Vec<String> = target.session.rows("look at a table's engine", &sql).await?;
        if let Some(engine) = engines.first() {
            return Ok(Some(parked(engine, &database, table)));
        }
    }
    Ok(None)
}

fn parked(engine: &str, database: &str, table: &str) -> Parked {
    Parked {
        reason: format!(
            "{database}.{table} has no primary key, and its engine {engine} no transactions: after a failure its rows could be there twice"
        ),
        remedy: "at the shard run ALTER TABLE … ENGINE=InnoDB on it (and better at the device as well, or give it a primary key), then release the device; or leave the table out with the device's filter".to_owned(),
    }
}
