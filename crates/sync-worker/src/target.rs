//! A table as the target has it: what has to be known before rows can be written to it.

use crate::merged::column::Type;
use std::collections::{BTreeMap, BTreeSet};

/// A table of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetTable {
    /// Its columns by their names in lower case: MySQL's column names ignore case.
    pub columns: BTreeMap<String, TargetColumn>,
    /// The primary key's columns in lower case, in any order.
    pub primary_key: Vec<String>,
    /// The columns, in lower case, of UNIQUE indexes that tell rows apart as well: none of their columns
    /// can be NULL. Without a primary key, the log names one of them in its place.
    pub other_keys: Vec<Vec<String>>,
    /// Columns, in lower case, that an index begins with.
    pub indexed: BTreeSet<String>,
    /// It has a UNIQUE index besides the one that tells its rows apart.
    pub unique_secondary: bool,
}

/// A column of a shard's table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetColumn {
    /// The server computes it: it must not be written.
    pub generated: bool,
    /// It is of the type JSON, which takes no string of unknown character set.
    pub json: bool,
    /// Its character set, for character columns.
    pub charset: Option<String>,
    /// Its collation, for character columns.
    pub collation: Option<String>,
    /// It is part of a UNIQUE index, the primary key among them: its collation decides which rows are
    /// one and the same.
    pub unique: bool,
    /// Its type; `None` where that was not asked.
    pub data: Option<Type>,
    /// Its type as the server says it, for a person.
    pub text: String,
    /// The bytes it holds, for strings.
    pub octets: u64,
}

/// The character sets of a server's collations, by the collation's id.
#[derive(Debug, Clone, Default)]
pub struct Charsets {
    /// `(collation, character set)` by id.
    collations: BTreeMap<u16, (String, String)>,
}

// === impl TargetTable ===

impl TargetTable {
    /// The column of this name, whatever its case.
    pub fn column(&self, name: &str) -> Option<&TargetColumn> {
        self.columns.get(&name.to_lowercase())
    }

    /// True when nothing tells rows apart.
    pub fn is_without_key(&self) -> bool {
        self.primary_key.is_empty() && self.other_keys.is_empty()
    }

    /// True when exactly these columns are the primary key, or without one a key in its place.
    pub fn has_key<'a>(&self, names: impl ExactSizeIterator<Item = &'a str>) -> bool {
        let names: Vec<String> = names.map(str::to_lowercase).collect();
        let is = |key: &Vec<String>| {
            names.len() == key.len() && names.iter().all(|name| key.contains(name))
        };
        if self.primary_key.is_empty() {
            return self.other_keys.iter().any(is);
        }
        is(&self.primary_key)
    }
}

// === impl Charsets ===

impl Charsets {
    /// From `(id, collation, character set)`, as `information_schema.collations` lists them.
    pub fn new(rows: impl IntoIterator<Item = (u16, String, String)>) -> Self {
        let entries = rows.into_iter().map(|(id, collation, charset)| (id, (collation, charset)));
        Self { collations: entries.collect() }
    }

    /// The character set of a collation. Where this server does not know the collation, the id says
    /// it all the same: MySQL and MariaDB number the ones they do not share in ranges of their own.
    pub fn charset(&self, collation: u16) -> Option<&str> {
        let known = self.collations.get(&collation).map(|(_, charset)| charset.as_str());
        known.or(match collation {
            255..=323 => Some("utf8mb4"),
            2304..=2559 => Some("utf8mb4"),
            _ => None,
        })
    }

    /// The name of a collation that this server has.
    pub fn collation(&self, id: u16) -> Option<&str> {
        self.collations.get(&id).map(|(collation, _)| collation.as_str())
    }

    /// True when this server has a collation of this name.
    pub fn has_collation(&self, name: &str) -> bool {
        self.collations.values().any(|(collation, _)| collation == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collation_that_the_server_lacks_still_has_a_character_set() {
        let charsets = Charsets::new([(45, "utf8mb4_general_ci".into(), "utf8mb4".into())]);
        assert_eq!(charsets.charset(45), Some("utf8mb4"));
        assert_eq!(charsets.charset(255), Some("utf8mb4"));
        assert_eq!(charsets.charset(3), None);
        assert_eq!(charsets.collation(255), None);
    }

    #[test]
    fn a_key_is_the_same_in_any_order_and_any_case() {
        let primary_key = vec!["id".to_owned(), "region".to_owned()];
        let table = TargetTable { primary_key, ..TargetTable::default() };
        assert!(table.has_key(["Region", "ID"].into_iter()));
        assert!(!table.has_key(["id"].into_iter()));
        assert!(!table.has_key(["id", "other"].into_iter()));
    }

    #[test]
    fn without_a_primary_key_another_takes_its_place() {
        let other_keys = vec![vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]];
        let table = TargetTable { other_keys, ..TargetTable::default() };
        assert!(table.has_key(["C", "b"].into_iter()) && table.has_key(["a"].into_iter()));
        assert!(!table.has_key(["b"].into_iter()));
        let table = TargetTable { primary_key: vec!["id".to_owned()], ..table };
        assert!(!table.has_key(["a"].into_iter()));
    }
}
