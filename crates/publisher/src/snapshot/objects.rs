//! What a device has besides its tables' rows: databases, views, and code that is kept for a restore.

use super::TableName;
use super::catalog::{Catalog, literal, statement, system_databases};
use crate::Error;
use crate::filter::{Carriage, Decision, Filter, Session};
use mysql_async::Row;
use std::collections::HashMap;
use tributary_schema::{SqlMode, classify, quote};
use tributary_wire::{Item, Names, Statement};

/// An item and the statement it refers to.
pub(super) type Step = (Item, Option<Statement>);

/// What there is, as far as it is carried: everything else that the target holds of this device goes,
/// and with it what a former filter let pass. What the filter leaves is not named here.
pub(super) async fn inventory(catalog: &mut Catalog, filter: &Filter) -> Result<Vec<Step>, Error> {
    let mut databases = catalog.databases().await?;
    databases.retain(|database| filter.database(&database.name) == Decision::Carried);
    let tables = catalog.tables().await?.into_iter().map(|table| table.name);
    let views = catalog.views().await?;
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    let carried = |name: &TableName| filter.decide(&name.0, &name.1) == Decision::Carried;
    for (database, table) in tables.chain(views).filter(carried) {
        names.entry(database).or_default().push(table);
    }
    let all = databases.iter().map(|database| &database.name).collect::<Names>();
    let mut steps = vec![(Item::Databases(all), None)];
    for database in &databases {
        let names = names.remove(&database.name).unwrap_or_default().iter().collect::<Names>();
        steps.push((Item::Tables { database: database.name.clone(), names }, None));
    }
    for database in databases {
        let (name, charset, collation) =
            (quote(&database.name), &database.charset, &database.collation);
        for verb in ["CREATE DATABASE IF NOT EXISTS", "ALTER DATABASE"] {
            let sql = format!("{verb} {name} CHARACTER SET {charset} COLLATE {collation}");
            let text = statement(sql, &database.name, database.collation_id);
            steps.push((Item::Statement(0), Some(text)));
        }
    }
    Ok(steps)
}

/// Views, triggers, routines and events. `None` when one went away in the meantime.
///
/// # Errors
/// [`Error::Snapshot`] for one that the filter carries and that cannot be made without what it leaves.
pub(super) async fn definitions(
    catalog: &mut Catalog,
    filter: &Filter,
) -> Result<Option<Vec<Step>>, Error> {
    let mut steps = Vec::new();
    let mut views = Vec::new();
    let mut names = catalog.views().await?;
    names.retain(|name| filter.decide(&name.0, &name.1) == Decision::Carried);
    for name in names {
        let Some(text) = catalog.definition("VIEW", &name, 1).await? else { return Ok(None) };
        if is_carried(filter, &name, &text, 0)? {
            views.push((name, text));
        }
    }
    for (name, text) in in_order(views) {
        // SHOW CREATE VIEW begins with CREATE, whatever follows.
        let text = text.replacen("CREATE ", "CREATE OR REPLACE ", 1);
        steps.push((Item::Statement(0), Some(statement(text, &name.0, 0))));
    }
    for (what, question, column) in code() {
        let mut found: Vec<TableName> = catalog.query(&question).await?;
        found.retain(|name| filter.database(&name.0) == Decision::Carried);
        for name in found {
            let Some(text) = catalog.definition(what, &name, column).await? else {
                return Ok(None);
            };
            let mode = mode(catalog, what, &name).await?;
            let mut text = statement(text, &name.0, 0);
            text.sql_mode = mode;
            steps.push((Item::Statement(0), Some(text)));
        }
    }
    Ok(Some(steps))
}

/// Whether the filter carries a definition.
fn is_carried(filter: &Filter, name: &TableName, text: &str, mode: u64) -> Result<bool, Error> {
    let (sql, mode) = (text.as_bytes(), SqlMode(mode));
    let session = Session { database: &name.0, sql, mode };
    match filter.statement(&classify(sql, mode), session) {
        Ok(carriage) => Ok(carriage != Carriage::Left),
        Err(refusal) => Err(Error::Snapshot {
            reason: format!("{}.{}: {}: {}", name.0, name.1, refusal.reason, refusal.remedy),
        }),
    }
}

/// A view stands behind those that it reads. SHOW CREATE VIEW names them in full, in backticks.
fn in_order(mut views: Vec<(TableName, String)>) -> Vec<(TableName, String)> {
    let mut ordered = Vec::with_capacity(views.len());
    while !views.is_empty() {
        let reads = |text: &str, (database, table): &TableName| {
            text.contains(&format!("{}.{}", quote(database), quote(table)))
        };
        let waits = |at: usize| {
            let (name, text) = &views[at];
            views.iter().any(|(other, _)| other != name && reads(text, other))
        };
        // Views cannot read one another in a circle; a name inside a string may look like it.
        let next = (0..views.len()).find(|&at| !waits(at)).unwrap_or(0);
        ordered.push(views.remove(next));
    }
    ordered
}

/// Sorts of code: what SHOW CREATE calls it, the question for its names, and the column of its text.
fn code() -> [(&'static str, String, usize); 4] {
    let system = system_databases();
    let routine = |sort: &str| {
        format!(
            "SELECT routine_schema, routine_name FROM information_schema.routines \
             WHERE routine_type = '{sort}' AND routine_schema NOT IN ({system}) ORDER BY 1, 2"
        )
    };
    [
        (
            "TRIGGER",
            format!(
                "SELECT trigger_schema, trigger_name FROM information_schema.triggers \
                 WHERE trigger_schema NOT IN ({system}) ORDER BY 1, 2"
            ),
            2,
        ),
        ("PROCEDURE", routine("PROCEDURE"), 2),
        ("FUNCTION", routine("FUNCTION"), 2),
        (
            "EVENT",
            format!(
                "SELECT event_schema, event_name FROM information_schema.events \
                 WHERE event_schema NOT IN ({system}) ORDER BY 1, 2"
            ),
            3,
        ),
    ]
}

/// The sql_mode that code was defined in, as the bit mask that the binlog carries.
async fn mode(catalog: &mut Catalog, what: &str, name: &TableName) -> Result<u64, Error> {
    let (table, prefix) = match what {
        "TRIGGER" => ("triggers", "trigger"),
        "EVENT" => ("events", "event"),
        _ => ("routines", "routine"),
    };
    // A list of names becomes its mask by way of the variable that has it as its type.
    let sql = format!(
        "SELECT sql_mode FROM information_schema.{table} \
         WHERE {prefix}_schema = {} AND {prefix}_name = {} LIMIT 1",
        literal(&name.0),
        literal(&name.1)
    );
    let rows: Vec<Row> = catalog.query(&sql).await?;
    let names = rows.first().and_then(|row| row.get_opt::<String, _>(0)?.ok());
    Ok(names.map_or(0, |names| mask(&names)))
}

/// Of the modes that change how code is read; `sql/query_options.h` and `sql/sql_class.h` number them.
fn mask(names: &str) -> u64 {
    const MODES: [(&str, u64); 5] = [
        ("PIPES_AS_CONCAT", 1 << 1),
        ("ANSI_QUOTES", 1 << 2),
        ("IGNORE_SPACE", 1 << 3),
        ("ORACLE", 1 << 9),
        ("NO_BACKSLASH_ESCAPES", 1 << 20),
    ];
    let named = |mode: &str| names.split(',').any(|name| name.eq_ignore_ascii_case(mode));
    MODES.iter().filter(|(mode, _)| named(mode)).fold(0, |mask, (_, bit)| mask | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_follows_those_that_it_reads() {
        let view = |name: &str, text: &str| (("d".to_owned(), name.to_owned()), text.to_owned());
        let views = vec![
            view("a", "select 1 from `d`.`b` join `d`.`c`"),
            view("b", "select 1 from `d`.`c`"),
            view("c", "select 1 from `d`.`t`"),
        ];
        let names: Vec<String> = in_order(views).into_iter().map(|(name, _)| name.1).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[test]
    fn the_modes_that_change_the_meaning_of_code_are_kept() {
        assert_eq!(mask("ANSI_QUOTES,STRICT_TRANS_TABLES"), 4);
        assert_eq!(mask(""), 0);
    }
}
