//! Foreign keys whose actions change rows that no binlog holds: which tables those rows follow is noted when a
//! key is made, and asked again by [`crate::pass`].

use crate::apply::Target;
use crate::cascades::{Cascades, PARENTS_MAX};
use crate::catalog::place;
use crate::ddl::mapped;
use crate::pass::{Barrier, Order};
use crate::sql_error::SqlError;
use crate::watermark::Parked;
use tributary_schema::{DdlKind, TableRef};
use tributary_wire::{DeviceId, Header};

/// The tables that are followed by those of a statement that has run; and why the device has to be parked, where one
/// of them is not carried: its changes never come, and what they do is in no log.
pub(super) async fn made(
    target: &mut Target,
    device: &DeviceId,
    barrier: &Barrier<'_>,
) -> Result<(Cascades, Option<Parked>), SqlError> {
    let (mut made, mut stop) = (Cascades::default(), None);
    let Some(order) = barrier.task.order() else { return Ok((made, stop)) };
    if !matches!(order.ddl.kind, DdlKind::CreateTable | DdlKind::AlterTable) {
        return Ok((made, stop));
    }
    // With foreign_key_checks=0, as in a dump and while a snapshot is under way, it may still come.
    let must_be_there =
        !order.statement.no_foreign_key_checks && never_logs_cascades(barrier.header);
    let own = mapped(device, "");
    let is_mariadb = target.session.server().mariadb;
    for (database, table) in order.tables() {
        let keys: Vec<Reference> = target
            .session
            .rows("look for cascades", &question(&mapped(device, database), table))
            .await?;
        let several = keys.iter().any(|(_, _, _, key, _, _)| *key != keys[0].3);
        if several && !is_mariadb {
            made.note_several(database, table);
        }
        for (referred_database, referred, column, _, deletes, is_there) in keys {
            let [referred_database, referred, column] = [referred_database, referred, column]
                .map(|name| String::from_utf8_lossy(&name).into_owned());
            // MySQL may fold the name that it says.
            let prefix =
                referred_database.get(..own.len()).filter(|name| name.eq_ignore_ascii_case(&own));
            if prefix.is_some() {
                made.note(&referred_database[own.len()..], &referred, &column, deletes != 0);
            }
            if must_be_there && is_there == 0 {
                stop.get_or_insert_with(|| left_out((database, table), &referred));
            }
        }
    }
    Ok((made, stop))
}

/// MariaDB, and MySQL before 9.6. A later one says with each change whether it does.
fn never_logs_cascades(header: &Header) -> bool {
    let mut numbers = header.server.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    header.source.starts_with("mariadb-") || version < (9, 6)
}

fn left_out((database, table): (&str, &str), referred: &str) -> Parked {
    Parked {
        reason: format!(
            "rows of {database}.{table} follow those of {referred} by a foreign key that cascades or sets NULL, and that table is not at the shard: what the key does is in no log"
        ),
        remedy: "carry both tables, or leave both with the device's filter, or make the foreign key RESTRICT; then drop the device's databases and its watermark at the shard, so that it begins anew".to_owned(),
    }
}

/// The columns that a table's acting keys refer to.
fn question(database: &str, table: &str) -> String {
    let constraint = place(database, table).replace("table_schema", "r.constraint_schema");
    let constraint = constraint.replace(" AND table_name", " AND r.table_name");
    let column = place(database, table).replace("table_schema", "k.table_schema");
    let column = column.replace(" AND table_name", " AND k.table_name");
    format!(
        "SELECT k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name, r.constraint_name, \
         r.delete_rule IN ('CASCADE','SET NULL','SET DEFAULT'), \
         EXISTS (SELECT 1 FROM information_schema.tables t WHERE t.table_schema=k.referenced_table_schema AND t.table_name=k.referenced_table_name) \
         FROM information_schema.referential_constraints r \
         JOIN information_schema.key_column_usage k ON k.constraint_name=r.constraint_name \
         WHERE {constraint} AND {column} AND k.referenced_table_name IS NOT NULL \
         AND (r.delete_rule IN ('CASCADE','SET NULL','SET DEFAULT') \
         OR r.update_rule IN ('CASCADE','SET NULL','SET DEFAULT'))"
    )
}

/// Database, table, column, the key's own name, whether it acts on a delete, and whether the table is there.
type Reference = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, u8, u8);

/// Notes what a statement has made; the device has to be parked where it is too much.
pub(super) fn note(
    cascades: &mut Cascades,
    made: &Cascades,
    order: Option<&Order<'_>>,
) -> Option<Parked> {
    cascades.merge(made);
    if let Some(order) = order.filter(|_| !cascades.is_empty()) {
        let full = |name: &TableRef| {
            let database = name.database.as_deref().unwrap_or(&order.statement.database);
            (database.to_owned(), name.table.clone())
        };
        for (old, new) in &order.ddl.renames {
            let (old, new) = (full(old), full(new));
            cascades.rename((&old.0, &old.1), (&new.0, &new.1));
        }
    }
    (cascades.len() > PARENTS_MAX).then(|| Parked {
        reason: format!("rows follow those of more than {PARENTS_MAX} tables by foreign keys"),
        remedy: "drop what is not needed at the device; then drop the device's databases and its watermark at the shard, so that it begins anew".to_owned(),
    })
}
