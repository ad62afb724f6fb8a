//! Changes of many devices to one shared table, in the same statements.

use crate::apply::{ApplyError, Target, Work};
use crate::merged::Merged;
use crate::net::{Changes, TableWork};
use crate::pass::Pass;
use crate::script::Script;
use crate::write::{self, Table};
use std::collections::HashMap;
use tributary_wire::ColumnShape;

/// Adds what all passes do. False when something cannot be written; the script then holds a part of it.
///
/// Devices share no rows, so only a device's own order counts: pieces go before the rows that they are put
/// together for, and changes of one table stay in order where there are several lots of them.
pub(crate) async fn all(
    target: &mut Target,
    merged: &Merged,
    works: &[Work<'_>],
    passes: &[Pass<'_>],
    script: &mut Script,
) -> Result<bool, ApplyError> {
    for (owner, (work, pass)) in works.iter().zip(passes).enumerate() {
        if write::before(target, owner, work.device, pass, script).is_err() {
            return Ok(false);
        }
    }
    let Some(lots) = lots(merged, passes) else { return Ok(false) };
    for Lot { owner, database, works: of, is_only } in lots {
        let in_sets = is_only && !works[owner].one_by_one;
        let table = Table { owner, database: &database, generation: 0, in_sets };
        if write::tables(target, table, &of, script).await?.is_err() {
            return Ok(false);
        }
    }
    for (owner, (work, pass)) in works.iter().zip(passes).enumerate() {
        write::after(target, owner, work.device, pass, script);
    }
    Ok(true)
}

/// Changes that go out together.
struct Lot<'a, 'b> {
    /// One of those whose changes they are.
    owner: usize,
    database: String,
    works: Vec<&'a TableWork<'b>>,
    /// Nothing else of the device is about the table.
    is_only: bool,
}

/// Rows can share a statement when their table has the same name and the same columns.
type Alike<'a> = (String, &'a str, &'a [ColumnShape], &'a [u16]);

/// Puts changes that may go out together into one lot, in order; `None` when a database has no name.
fn lots<'a, 'b>(merged: &Merged, passes: &'a [Pass<'b>]) -> Option<Vec<Lot<'a, 'b>>> {
    let mut lots: Vec<Lot<'a, 'b>> = Vec::new();
    let mut open: HashMap<Alike<'a>, usize> = HashMap::new();
    for (owner, pass) in passes.iter().enumerate() {
        for work in &pass.tables {
            let shape = work.shape;
            let database = merged.database(&shape.database).ok()?;
            let is_only = pass.has_only(work);
            if matches!(work.changes, Changes::Keyed(_)) && is_only {
                let alike =
                    (database.clone(), shape.table.as_str(), &shape.columns[..], work.identity);
                if let Some(at) = open.get(&alike) {
                    lots[*at].works.push(work);
                    continue;
                }
                open.insert(alike, lots.len());
            }
            lots.push(Lot { owner, database, works: vec![work], is_only });
        }
    }
    Some(lots)
}
