//! Tables that have to be copied at one place of the log: a foreign key changes rows of some of them when others
//! change, and what it does is in no log. Pure.
//!
//! Tables are copied in the order of their names, and what is copied is one cursor. So all from the first to the
//! last of a family go together, those between them as well.

use super::TableName;
use std::collections::{BTreeMap, BTreeSet};
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
    fn a_key_to_a_table_that_is_not_carried_is_refused_where_it_acts() {
        assert!(of(&[key("a", "z", true)]).is_err());
        assert_eq!(of(&[key("a", "z", false), key("z", "a", true)]), Ok(vec![]));
    }
}
