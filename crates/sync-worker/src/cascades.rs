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
#[serde(transparent)]
pub struct Cascades(Vec<Parent>);

/// A table that others refer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its database at the device.
    pub database: String,
    /// Its name.
    pub table: String,
    /// The columns that are referred to.
    pub columns: Vec<String>,
    /// The target's server does not do here what InnoDB does.
    pub beyond: bool,
}

/// A device's schema has fewer. Beyond, its statements are refused.
pub(crate) const PARENTS_MAX: usize = 10_000;

// === impl Cascades ===

impl Cascades {
    /// Takes in a column that is referred to.
    pub fn note(&mut self, database: &str, table: &str, column: &str) {
        let column = column.to_lowercase();
        match self.0.iter_mut().find(|parent| parent.is(database, table)) {
            Some(parent) if parent.columns.contains(&column) => {}
            Some(parent) => parent.columns.push(column),
            None => self.0.push(Parent {
                database: database.to_owned(),
                table: table.to_owned(),
                columns: vec![column],
                beyond: false,
            }),
        }
    }

    /// Notes that the target's server does not do for a table what InnoDB does.
    pub fn note_beyond(&mut self, database: &str, table: &str) {
        let parents = self.0.iter_mut().filter(|parent| parent.is(database, table));
        parents.for_each(|parent| parent.beyond = true);
    }

    /// True for a table whose followers the target's server does not change as InnoDB does.
    pub fn is_beyond(&self, block: &TableBlock) -> bool {
        let (database, table) = (&block.shape.database, &block.shape.table);
        self.0.iter().any(|parent| parent.beyond && parent.is(database, table))
    }

    /// A table has, or may have, another name by now.
    pub fn rename(&mut self, old: (&str, &str), new: (&str, &str)) {
        let Some(parent) = self.0.iter().find(|parent| parent.is(old.0, old.1)) else { return };
        let (columns, beyond) = (parent.columns.clone(), parent.beyond);
        for column in columns {
            self.note(new.0, new.1, &column);
        }
        if beyond {
            self.note_beyond(new.0, new.1);
        }
    }

    /// Takes in all of another list.
    pub fn merge(&mut self, other: &Self) {
        for parent in &other.0 {
            for column in &parent.columns {
                self.note(&parent.database, &parent.table, column);
            }
            if parent.beyond {
                self.note_beyond(&parent.database, &parent.table);
            }
        }
    }

    /// How many tables they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for a device without such keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when other rows may follow a change of this sort.
    pub fn follow(&self, block: &TableBlock, op: Op) -> bool {
        if self.0.is_empty() || op == Op::Insert {
            return false;
        }
        let shape = &block.shape;
        let Some(parent) = self.0.iter().find(|parent| parent.is(&shape.database, &shape.table))
        else {
            return false;
        };
        let key = |column: &String| {
            let names = shape.primary_key.iter().map(|at| &shape.columns[usize::from(*at)].name);
            names.into_iter().any(|name| name.to_lowercase() == *column)
        };
        // What keeps its key keeps what is referred to, where that is of the key.
        op != Op::Update || !parent.columns.iter().all(key)
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
    fn is(&self, database: &str, table: &str) -> bool {
        self.database == database && self.table == table
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
        cascades.note("shop", "customer", "ID");
        let follow = |cascades: &Cascades, table: &str, op| cascades.follow(&block(table), op);
        assert!(follow(&cascades, "customer", Op::Delete));
        assert!(follow(&cascades, "customer", Op::Rekey));
        assert!(!follow(&cascades, "customer", Op::Update));
        assert!(!follow(&cascades, "customer", Op::Insert));
        assert!(!follow(&cascades, "other", Op::Delete));
        cascades.note("shop", "customer", "code");
        assert!(follow(&cascades, "customer", Op::Update));
        cascades.rename(("shop", "customer"), ("shop", "client"));
        assert!(follow(&cascades, "client", Op::Delete));
        let bytes = cascades.to_bytes();
        assert_eq!(Cascades::parse(bytes.as_deref()), Some(cascades));
    }
}
