//! Foreign keys whose actions change rows that no binlog holds.

use crate::apply::Target;
use crate::catalog::place;
use crate::ddl::mapped;
use crate::pass::Barrier;
use crate::sql_error::SqlError;
use crate::watermark::Parked;
use tributary_schema::DdlKind;
use tributary_wire::DeviceId;

/// True when the server that `source` identifies logs the rows that a foreign key's action changes.
///
/// InnoDB does these actions below the SQL layer, which is where the binlog is written; MySQL does
/// them in the SQL layer from 9.6 on. A batch names its server by identity and not by version, so no
/// server is known to log them.
fn logs_cascades(source: &str) -> bool {
    let _ = source;
    false
}

/// Looks at the tables of a statement that has run: with a foreign key that cascades or sets NULL, the
/// device has to be parked.
pub(crate) async fn check(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<Option<Parked>, SqlError> {
    let makes_keys = matches!(barrier.ddl.kind, DdlKind::CreateTable | DdlKind::AlterTable);
    if !makes_keys || logs_cascades(&barrier.header.source) {
        return Ok(None);
    }
    for table in &barrier.ddl.tables {
        let database = table.database.as_deref().unwrap_or(&barrier.statement.database);
        let database = mapped(device, database);
        let place = place(&database, &table.table).replace("table_schema", "constraint_schema");
        let sql = format!(
            "SELECT constraint_name FROM information_schema.referential_constraints WHERE {place} \
             AND (delete_rule IN ('CASCADE','SET NULL','SET DEFAULT') \
             OR update_rule IN ('CASCADE','SET NULL','SET DEFAULT')) LIMIT 1"
        );
        let found: Vec<Vec<u8>> = target.session.rows("look for cascades", &sql).await?;
        if let Some(name) = found.first() {
            let name = String::from_utf8_lossy(name);
            return Ok(Some(parked(&name, &database, &table.table)));
        }
    }
    Ok(None)
}

fn parked(constraint: &str, database: &str, table: &str) -> Parked {
    Parked {
        reason: format!(
            "foreign key {constraint} of {database}.{table} cascades or sets NULL: MariaDB, and MySQL before 9.6, do that inside InnoDB, and the rows it changes are in no binlog"
        ),
        remedy: "make the foreign key RESTRICT at the device; or, if the device runs MySQL 9.6 or later, which logs these rows, release the device as it is".to_owned(),
    }
}
