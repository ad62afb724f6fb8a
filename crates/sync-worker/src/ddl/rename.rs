//! MariaDB writes RENAME TABLE of a temporary table to its log as if the table were real, also together with real
//! ones in one statement. Nothing in the event tells the two apart; the target does: it has no temporary tables of
//! a device.
//!
//! A real table that is missing at the target is missing under its old name and under its new one: passing its
//! renaming over changes nothing, and its next row parks the device.

use crate::session::Session;
use crate::sql_error::SqlError;
use std::collections::BTreeMap;
use tributary_schema::{Ddl, DdlKind, TableRef, quote};

/// What a RENAME TABLE of MariaDB leaves to be done at the target.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Renaming {
    /// All of it, as it is written.
    Whole,
    /// This statement: the rest is of tables that are not there.
    Part(String),
    /// Nothing.
    Nothing,
}

/// Looks which of the tables that are renamed there are. `mapped` gives a device's database its name at the
/// target.
pub(super) async fn of_what_is_there(
    session: &mut Session,
    ddl: &Ddl,
    default: &str,
    mapped: &(dyn Fn(&str) -> String + Sync),
) -> Result<Renaming, SqlError> {
    if ddl.kind != DdlKind::RenameTable {
        return Ok(Renaming::Whole);
    }
    let place = |table: &TableRef| {
        (mapped(table.database.as_deref().unwrap_or(default)), table.table.clone())
    };
    let renames: Vec<Rename> =
        ddl.renames.iter().map(|(from, to)| (place(from), place(to))).collect();
    let mut there = BTreeMap::new();
    for (from, _) in &renames {
        if !there.contains_key(from) {
            there.insert(from.clone(), exists(session, from).await?);
        }
    }
    Ok(remaining(&renames, there))
}

/// Database and table at the target.
type Place = (String, String);
type Rename = (Place, Place);

/// The renames of what is there, one after the other: a table may be there under a name that another had before.
fn remaining(renames: &[Rename], mut there: BTreeMap<Place, bool>) -> Renaming {
    let mut kept = Vec::new();
    for (from, to) in renames {
        if there.insert(from.clone(), false) == Some(true) {
            there.insert(to.clone(), true);
            kept.push(format!("{} TO {}", name(from), name(to)));
        }
    }
    match kept.len() {
        0 => Renaming::Nothing,
        all if all == renames.len() => Renaming::Whole,
        _ => Renaming::Part(format!("RENAME TABLE {}", kept.join(", "))),
    }
}

fn name((database, table): &Place) -> String {
    format!("{}.{}", quote(database), quote(table))
}

/// Whether there is one of that name, or one that differs from it in capitals alone: such a statement is run, and
/// parks the device if the target tells the two apart.
async fn exists(session: &mut Session, (database, table): &Place) -> Result<bool, SqlError> {
    let quoted = |text: &str| {
        let mut sql = Vec::new();
        crate::literal::quoted(&mut sql, text.as_bytes());
        String::from_utf8_lossy(&sql).into_owned()
    };
    let sql = format!(
        "SELECT 1 FROM information_schema.tables WHERE (table_schema={} AND table_name={}) \
         OR (LOWER(table_schema)={} AND LOWER(table_name)={})",
        quoted(database),
        quoted(table),
        // Not with LOWER(): literals are bytes here, which it leaves as they are.
        quoted(&database.to_lowercase()),
        quoted(&table.to_lowercase())
    );
    let rows: Vec<u8> = session.rows("look for a table that is renamed", &sql).await?;
    Ok(!rows.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(table: &str) -> Place {
        ("d".to_owned(), table.to_owned())
    }

    fn what(renames: &[(&str, &str)], there: &[&str]) -> Renaming {
        let renames: Vec<Rename> =
            renames.iter().map(|(from, to)| (place(from), place(to))).collect();
        remaining(&renames, there.iter().map(|table| (place(table), true)).collect())
    }

    #[test]
    fn what_is_not_there_is_left_out_of_the_statement() {
        assert_eq!(what(&[("t", "u")], &[]), Renaming::Nothing);
        assert_eq!(what(&[("t", "u")], &["t"]), Renaming::Whole);
        let part = Renaming::Part("RENAME TABLE `d`.`k` TO `d`.`l`".to_owned());
        assert_eq!(what(&[("temporary", "t"), ("k", "l")], &["k"]), part);
    }

    #[test]
    fn a_swap_is_whole_although_its_middle_name_is_not_there_before() {
        assert_eq!(what(&[("a", "m"), ("b", "a"), ("m", "b")], &["a", "b"]), Renaming::Whole);
    }
}
