//! Tables of a device whose rows others follow by a foreign key: ON DELETE or ON UPDATE with CASCADE, SET NULL or
//! SET DEFAULT. Pure.
//!
//! InnoDB does that below the SQL layer, where the log is written. A change on which a foreign key acts so is
//! marked ([`tributary_wire::Run::Rows`]); the target's own InnoDB does the same where the change is made at
//! its place in the device's order, with `foreign_key_checks=1`, as at a replica.

use serde::{Deserialize, Serialize};
use tributary_wire::{Op, TableBlock};

/// Such tables of a device. None is ever left out again: one too many costs time and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cascades {
    parents: Vec<Parent>,
    /// See [`Cascades::unproved`].
    several: Option<String>,
}

/// A table that others refer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its database at the device.
    pub database: String,
    /// Its name.
    pub table: String,
    /// The columns that are referred to.
    pub columns: Vec<String>,
    /// Rows follow its rows' deletes, and not changes of what they refer to alone.
    pub deletes: bool,
}

/// A device's schema has fewer. Beyond, its statements are refused.
pub(crate) const PARENTS_MAX: usize = 10_000;

// === impl Cascades ===

impl Cascades {
    /// Takes in a column that is referred to, and whether rows follow a delete.
    pub fn note(&mut self, database: &str, table: &str, column: &str, deletes: bool) {
        let column = column.to_lowercase();
        let known = self.parents.iter_mut().find(|parent| parent.is(database, table));
        if let Some(parent) = known {
            parent.deletes |= deletes;
            if !parent.columns.contains(&column) {
                parent.columns.push(column);
            }
            return;
        }
        self.parents.push(Parent {
            database: database.to_owned(),
            table: table.to_owned(),
            columns: vec![column],
            deletes,
        });
    }

    /// Notes that a table has more than one such key, at a server of which it is not proved that it does the
    /// same with them.
    pub fn note_several(&mut self, database: &str, table: &str) {
        self.several.get_or_insert_with(|| format!("{database}.{table}"));
    }

    /// The table, `database.table`, whose keys keep all of the device's from being followed: any of its changes
    /// may reach that table, through others.
    pub fn unproved(&self) -> Option<&str> {
        self.several.as_deref()
    }

    /// A table has, or may have, another name by now.
    pub fn rename(&mut self, old: (&str, &str), new: (&str, &str)) {
        let known = self.parents.iter().find(|parent| parent.is(old.0, old.1));
        let Some(parent) = known.cloned() else { return };
        for column in &parent.columns {
            self.note(new.0, new.1, column, parent.deletes);
        }
    }

    /// Takes in all of another list.
    pub fn merge(&mut self, other: &Self) {
        for parent in &other.parents {
            for column in &parent.columns {
                self.note(&parent.database, &parent.table, column, parent.deletes);
            }
        }
        if self.several.is_none() {
            self.several.clone_from(&other.several);
        }
    }

    /// How many tables they are.
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// True for a device without such keys.
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// True when other rows may follow a change of this sort.
    pub fn follow(&self, block: &TableBlock, op: Op) -> bool {
        let shape = &block.shape;
        let known = self.parents.iter().find(|parent| parent.is(&shape.database, &shape.table));
        let Some(parent) = known else { return false };
        let key = |column: &String| {
            let names = shape.primary_key.iter().map(|at| &shape.columns[usize::from(*at)].name);
            names.into_iter().any(|name| name.to_lowercase() == *column)
        };
        match op {
            Op::Insert => false,
            Op::Delete => parent.deletes,
            // What keeps its key keeps what is referred to, where that is of the key.
            Op::Update => !parent.columns.iter().all(key),
            Op::Rekey => true,
        }
    }

    pub(crate) fn parse(bytes: Option<&[u8]>) -> Option<Self> {
        bytes.map_or_else(|| Some(Self::default()), |bytes| rmp_serde::from_slice(bytes).ok())
    }

    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        // Strings: nothing that MessagePack cannot say.
        (!self.is_empty()).then(|| rmp_serde::to_vec(self).unwrap_or_default())
    }
}

// === impl Parent ===

impl Parent {
    /// A server may fold the names that its catalog says. Two tables that differ in case alone count as one.
    fn is(&self, database: &str, table: &str) -> bool {
        self.database.to_lowercase() == database.to_lowercase()
            && self.table.to_lowercase() == table.to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_wire::{ColumnKind, ColumnShape, TableShape};

    fn block(table: &str) -> TableBlock {
        let column = |name: &str| ColumnShape {
            name: name.into(),
            kind: ColumnKind::Integer,
            unsigned: false,
            nullable: false,
            collation: 0,
            scale: 0,
            size: 0,
        };
        let shape = TableShape {
            database: "shop".into(),
            table: table.into(),
            columns: vec![column("Id"), column("code")],
            primary_key: vec![0],
        };
        let identity = shape.identity();
        TableBlock { shape, identity, images: Vec::new(), identities: Vec::new() }
    }

    #[test]
    fn rows_follow_a_delete_and_a_change_of_what_they_refer_to() {
        let mut cascades = Cascades::default();
        cascades.note("shop", "customer", "ID", true);
        let follow = |cascades: &Cascades, table: &str, op| cascades.follow(&block(table), op);
        assert!(follow(&cascades, "customer", Op::Delete));
        assert!(follow(&cascades, "customer", Op::Rekey));
        assert!(!follow(&cascades, "customer", Op::Update));
        assert!(!follow(&cascades, "customer", Op::Insert));
        assert!(!follow(&cascades, "other", Op::Delete));
        cascades.note("shop", "Customer", "code", false);
        assert_eq!(cascades.len(), 1);
        assert!(follow(&cascades, "customer", Op::Update));
        cascades.rename(("shop", "customer"), ("shop", "client"));
        assert!(follow(&cascades, "client", Op::Delete));
        cascades.note_several("shop", "line");
        let bytes = cascades.to_bytes();
        assert_eq!(Cascades::parse(bytes.as_deref()), Some(cascades));
    }

    #[test]
    fn rows_do_not_follow_a_delete_where_only_changes_cascade() {
        let mut cascades = Cascades::default();
        cascades.note("shop", "customer", "id", false);
        assert!(!cascades.follow(&block("customer"), Op::Delete));
        assert!(cascades.follow(&block("customer"), Op::Rekey));
        cascades.note("shop", "customer", "id", true);
        assert!(cascades.follow(&block("customer"), Op::Delete));
    }
}
