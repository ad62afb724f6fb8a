//! Tables that have to be copied at one place of the log: a foreign key changes rows of some of them when others
//! change, and what it does is in no log.
//!
//! Tables are copied in the order of their names, and what is copied is one cursor. So all from the first to the
//! last of a family go together, those between them as well.

use super::TableName;
use super::catalog::Catalog;
use crate::Error;
use crate::config::SourceConfig;
use crate::filter::{Decision, Filter};
use crate::source::Facts;
use std::collections::{BTreeMap, BTreeSet};
use tributary_binlog::Choice;
use tributary_wire::SnapshotCursor;

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignKey {
    /// The table that has it.
    pub(crate) child: TableName,
    /// The table that it refers to.
    pub(crate) parent: TableName,
    /// It cascades or sets NULL.
    pub(crate) acts: bool,
}

/// A column of a foreign key that cascades or sets NULL, and what it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyColumn {
    pub(crate) child: (TableName, String),
    pub(crate) parent: (TableName, String),
}

/// What a key does to rows that are carried has to be done at the target too, which needs the rows that they
/// follow.
///
/// # Errors
/// [`Error::Filter`] where the filter leaves or masks those, or what refers to them.
pub(crate) async fn refuse_left_out(
    config: &SourceConfig,
    facts: &Facts,
    filter: &Filter,
) -> Result<(), Error> {
    if filter.is_empty() || facts.logs_cascades() {
        return Ok(());
    }
    let mut catalog = Catalog::connect(config, facts).await?;
    let columns = catalog.acting_columns().await;
    catalog.close().await;
    let faults: BTreeSet<String> =
        columns?.iter().filter_map(|column| left_out(column, filter)).collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::Filter { faults: faults.into_iter().collect() })
}

fn left_out(key: &KeyColumn, filter: &Filter) -> Option<String> {
    let KeyColumn { child: (child, column), parent: (parent, referred) } = key;
    let is_carried =
        |(database, table): &TableName| filter.decide(database, table) == Decision::Carried;
    let is_whole = |(database, table): &TableName, column: &str| {
        filter.column(database, table, column) == Choice::Keep
    };
    if !is_carried(child)
        || (is_carried(parent) && is_whole(child, column) && is_whole(parent, referred))
    {
        return None;
    }
    Some(format!(
        "{}.{} follows {}.{} by a foreign key that cascades or sets NULL, which the filter leaves or masks ({column}, {referred}): what the key does is in no log; carry both tables with these columns, or leave {}.{} as well",
        child.0, child.1, parent.0, parent.1, child.0, child.1
    ))
}

/// First and last table of each family among the tables that are copied, in order and apart from each other.
///
/// # Errors
/// Why the keys cannot be followed.
pub(crate) fn spans<'a>(
    keys: &[ForeignKey],
    copied: impl Iterator<Item = &'a TableName>,
) -> Result<Vec<(TableName, TableName)>, String> {
    let copied: BTreeSet<&TableName> = copied.collect();
    let mut neighbours: BTreeMap<&TableName, Vec<&TableName>> = BTreeMap::new();
    let mut acting: Vec<&TableName> = Vec::new();
    for ForeignKey { child, parent, acts } in keys {
        if !copied.contains(child) {
            continue;
        }
        if !copied.contains(parent) {
            if *acts {
                return Err(format!(
                    "{}.{} has a foreign key to {}.{} that cascades or sets NULL, and that table is not carried: what the key does is in no log; include it, or exclude both with the filter",
                    child.0, child.1, parent.0, parent.1
                ));
            }
            continue;
        }
        neighbours.entry(child).or_default().push(parent);
        neighbours.entry(parent).or_default().push(child);
        if *acts {
            acting.push(child);
        }
    }
    let mut seen: BTreeSet<&TableName> = BTreeSet::new();
    let mut spans: Vec<(&TableName, &TableName)> = Vec::new();
    for start in acting {
        let mut family = BTreeSet::new();
        let mut open = vec![start];
        while let Some(table) = open.pop() {
            if seen.insert(table) {
                family.insert(table);
                open.extend(neighbours.get(table).into_iter().flatten().copied());
            }
        }
        spans.extend(family.first().copied().zip(family.last().copied()));
    }
    spans.sort();
    let mut apart: Vec<(TableName, TableName)> = Vec::new();
    for (first, last) in spans {
        match apart.last_mut().filter(|(_, end)| first <= end) {
            Some((_, end)) if last > &*end => end.clone_from(last),
            Some(_) => {}
            None => apart.push((first.clone(), last.clone())),
        }
    }
    Ok(apart)
}

/// A place before this table, at which it is not live.
pub(crate) fn before((database, mut table): TableName) -> SnapshotCursor {
    table.pop();
    SnapshotCursor { database, table, complete: true, ..SnapshotCursor::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{FilterConfig, NamesConfig};

    fn name(name: &str) -> TableName {
        ("d".to_owned(), name.to_owned())
    }

    fn key(child: &str, parent: &str, acts: bool) -> ForeignKey {
        ForeignKey { child: name(child), parent: name(parent), acts }
    }

    fn of(keys: &[ForeignKey]) -> Result<Vec<(TableName, TableName)>, String> {
        let tables: Vec<TableName> = ('a'..='k').map(|letter| name(&letter.to_string())).collect();
        spans(keys, tables.iter())
    }

    #[test]
    fn tables_that_a_key_that_acts_connects_go_together_with_those_between() {
        assert_eq!(of(&[]), Ok(vec![]));
        assert_eq!(of(&[key("b", "a", false)]), Ok(vec![]));
        assert_eq!(of(&[key("e", "e", true)]), Ok(vec![(name("e"), name("e"))]));
        let chain = [key("b", "d", true), key("f", "d", false), key("h", "k", true)];
        let wanted = vec![(name("b"), name("f")), (name("h"), name("k"))];
        assert_eq!(of(&chain), Ok(wanted));
        let crossed = [key("a", "d", true), key("c", "f", true)];
        assert_eq!(of(&crossed), Ok(vec![(name("a"), name("f"))]));
    }

    #[test]
    fn what_a_key_that_acts_needs_is_not_left_on_the_device() {
        let column = |child: &str, parent: &str| KeyColumn {
            child: (name(child), "p".to_owned()),
            parent: (name(parent), "id".to_owned()),
        };
        let exclude = |tables: &[&str], columns: &[&str]| {
            let names = |names: &[&str]| NamesConfig {
                exclude: names.iter().map(|name| (*name).to_owned()).collect(),
                ..NamesConfig::default()
            };
            let (tables, columns) = (names(tables), names(columns));
            Filter::new(&FilterConfig { tables, columns, ..FilterConfig::default() })
                .expect("is right")
        };
        let left = exclude(&["d.a"], &[]);
        assert!(left_out(&column("b", "a"), &left).is_some());
        assert_eq!(left_out(&column("a", "b"), &left), None);
        assert_eq!(left_out(&column("b", "c"), &left), None);
        let masked = exclude(&[], &["d.b.p"]);
        assert!(left_out(&column("b", "a"), &masked).is_some());
        assert_eq!(left_out(&column("c", "a"), &masked), None);
    }

    #[test]
    fn a_key_to_a_table_that_is_not_carried_is_refused_where_it_acts() {
        assert!(of(&[key("a", "z", true)]).is_err());
        assert_eq!(of(&[key("a", "z", false), key("z", "a", true)]), Ok(vec![]));
    }
}
