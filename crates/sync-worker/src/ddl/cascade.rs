//! Foreign keys whose actions change rows that no binlog holds: which tables those rows follow is noted when a
//! key is made, and asked again by [`crate::pass`].

use crate::apply::Target;
use crate::cascades::{Cascades, PARENTS_MAX};
use crate::catalog::place;
use crate::ddl::mapped;
use crate::pass::Order;
use crate::sql_error::SqlError;
use crate::watermark::Parked;
use tributary_schema::{DdlKind, TableRef};
use tributary_wire::DeviceId;

/// The tables that are followed by those of a statement that has run.
pub(super) async fn made(
    target: &mut Target,
    device: &DeviceId,
    order: Option<&Order<'_>>,
) -> Result<Cascades, SqlError> {
    let mut made = Cascades::default();
    let Some(order) = order else { return Ok(made) };
    if !matches!(order.ddl.kind, DdlKind::CreateTable | DdlKind::AlterTable) {
        return Ok(made);
    }
    let own = mapped(device, "");
    let is_mariadb = target.session.server().mariadb;
    for (database, table) in order.tables() {
        let keys: Vec<Reference> = target
            .session
            .rows("look for cascades", &question(&mapped(device, database), table))
            .await?;
        let several = keys.iter().any(|(_, _, _, key, _)| *key != keys[0].3);
        if several && !is_mariadb {
            made.note_several(database, table);
        }
        for (database, table, column, _, deletes) in keys {
            let [database, table, column] =
                [database, table, column].map(|name| String::from_utf8_lossy(&name).into_owned());
            // MySQL may fold the name that it says.
            let prefix =
                database.get(..own.len()).filter(|prefix| prefix.eq_ignore_ascii_case(&own));
            if prefix.is_some() {
                made.note(&database[own.len()..], &table, &column, deletes != 0);
            }
        }
    }
    Ok(made)
}

/// The columns that a table's acting keys refer to.
fn question(database: &str, table: &str) -> String {
    let constraint = place(database, table).replace("table_schema", "r.constraint_schema");
    let constraint = constraint.replace(" AND table_name", " AND r.table_name");
    let column = place(database, table).replace("table_schema", "k.table_schema");
    let column = column.replace(" AND table_name", " AND k.table_name");
    format!(
        "SELECT k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name, r.constraint_name, \
         r.delete_rule IN ('CASCADE','SET NULL','SET DEFAULT') \
         FROM information_schema.referential_constraints r \
         JOIN information_schema.key_column_usage k ON k.constraint_name=r.constraint_name \
         WHERE {constraint} AND {column} AND k.referenced_table_name IS NOT NULL \
         AND (r.delete_rule IN ('CASCADE','SET NULL','SET DEFAULT') \
         OR r.update_rule IN ('CASCADE','SET NULL','SET DEFAULT'))"
    )
}

/// Database, table, column, the key's own name, and whether it acts on a delete.
type Reference = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, u8);

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
