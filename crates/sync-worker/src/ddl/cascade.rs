//! Foreign keys whose actions change rows that no binlog holds.

use crate::apply::Target;
use crate::catalog::place;
use crate::ddl::mapped;
use crate::pass::Barrier;
use crate::sql_error::SqlError;
use crate::watermark::Parked;
use tributary_schema::DdlKind;
use tributary_wire::{DeviceId, Header};

/// True when this server logs the rows that a foreign key's action changes.
///
/// InnoDB does these actions below the SQL layer, which is where the binlog is written; MySQL does them
/// in the SQL layer from 9.6 on.
fn logs_cascades(header: &Header) -> bool {
    let mut numbers = header.server.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let is_mariadb = header.source.starts_with("mariadb-")
        || header.server.to_ascii_lowercase().contains("mariadb");
    !is_mariadb && version >= (9, 6)
}

/// Looks at the tables of a statement that has run: with a foreign key that cascades or sets NULL, the
/// device has to be parked.
pub(crate) async fn check(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<Option<Parked>, SqlError> {
    let Some(order) = barrier.task.order() else { return Ok(None) };
    let makes_keys = matches!(order.ddl.kind, DdlKind::CreateTable | DdlKind::AlterTable);
    if !makes_keys || logs_cascades(barrier.header) {
        return Ok(None);
    }
    for (database, table) in order.tables() {
        let database = mapped(device, database);
        let place = place(&database, table).replace("table_schema", "constraint_schema");
        let sql = format!(
            "SELECT constraint_name FROM information_schema.referential_constraints WHERE {place} \
             AND (delete_rule IN ('CASCADE','SET NULL','SET DEFAULT') \
             OR update_rule IN ('CASCADE','SET NULL','SET DEFAULT')) LIMIT 1"
        );
        let found: Vec<Vec<u8>> = target.session.rows("look for cascades", &sql).await?;
        if let Some(name) = found.first() {
            let name = String::from_utf8_lossy(name);
            return Ok(Some(parked(&name, &database, table)));
        }
    }
    Ok(None)
}

fn parked(constraint: &str, database: &str, table: &str) -> Parked {
    Parked {
        reason: format!(
            "foreign key {constraint} of {database}.{table} cascades or sets NULL: MariaDB, and MySQL before 9.6, do that inside InnoDB, and the rows it changes are in no binlog"
        ),
        remedy: "make the foreign key RESTRICT at the device, or upgrade the device to MySQL 9.6 or later, which logs these rows; then drop the device's databases and its watermark at the shard, so that it begins anew; where the foreign key never acts, release the device as it is".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_wire::{Position, Resume};

    #[test]
    fn cascades_are_logged_by_mysql_from_9_6_on() {
        for (source, server, logs) in [
            ("uuid", "9.6.0", true),
            ("uuid", "9.7.0-commercial", true),
            ("uuid", "10.0.1", true),
            ("uuid", "9.5.2", false),
            ("uuid", "8.4.7", false),
            ("mariadb-1", "10.11.6-MariaDB-log", false),
            ("mariadb-1", "11.8.2", false),
            ("uuid", "", false),
        ] {
            let header = Header {
                device: "d".parse().expect("valid"),
                run: 1,
                source: source.into(),
                server: server.into(),
                prev: Position::beginning(1),
                end: Position::beginning(1),
                resume: Resume::default(),
                commit_time_first_us: 0,
                commit_time_last_us: 0,
            };
            assert_eq!(logs_cascades(&header), logs, "{source} {server}");
        }
    }
}
