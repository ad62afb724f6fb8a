//! What a snapshot adds to the log: the state of a table at a place in it, range by range.
//!
//! A snapshot's steps stand in batches of their own, which hold items and no transactions. All items
//! of a batch lie at one boundary of the log and say what is true *there*, so they mean the same
//! whatever came before, and may be repeated.

use serde::{Deserialize, Serialize};

/// One step of a snapshot; each moves the position by one ([`crate::Position::items`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A statement, index into [`crate::Batch::statements`], that brings the target to the state of
    /// the device and may be run where it already is so: `CREATE DATABASE IF NOT EXISTS`,
    /// `CREATE OR REPLACE VIEW`; or the definition of a trigger, a routine or an event.
    Statement(u32),
    /// The table is to be as this `CREATE TABLE` makes it. One that is already so keeps its rows;
    /// another is replaced by an empty one.
    Define {
        /// Index into [`crate::Batch::statements`].
        statement: u32,
        /// The table's database on the device.
        database: String,
        /// The table.
        table: String,
    },
    /// The rows of a range of a table's keys, or of a table.
    Chunk(Chunk),
    /// A piece of a value that is too large for a message, index into [`crate::Batch::pieces`]; see
    /// [`crate::Cell::Staged`].
    Piece(u32),
    /// The databases that the device has; others of this device are to go, and so are the
    /// definitions of code that were kept: those of the device follow.
    Databases(Names),
    /// The tables and views that a database of the device has; others are to go.
    Tables {
        /// The database on the device.
        database: String,
        /// Its tables and views.
        names: Names,
    },
}

/// These, and no other, are the rows of a table with `lower < key <= upper`.
///
/// The key is the primary key, in key order, compared as the server compares it. Its values stand
/// among the identities of the table's block: `lower`, `upper`, then the kept keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chunk {
    /// Index into [`crate::Batch::tables`].
    pub table: u32,
    /// How many row images.
    pub rows: u32,
    /// There is a lower bound; without one the range begins before the first row.
    pub lower: bool,
    /// There is an upper bound; without one the range ends behind the last row.
    pub upper: bool,
    /// So many keys of the range are left as they are at the target: the log changed their rows while
    /// the chunk was read, and what it told of them is newer.
    pub kept: u32,
    /// The rows only come in addition: they continue the chunk before, whose range is the whole table.
    pub append: bool,
    /// Index of the first image in the table's block.
    #[serde(skip)]
    pub image: u32,
    /// Index of the first identity in the table's block.
    #[serde(skip)]
    pub identity: u32,
}

/// Names in one string, each followed by a NUL, so that no message unpacks to many times its size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Names(String);

/// How far a snapshot has come. Tables are copied in the byte order of database and name.
///
/// A table up to and including this one is *live*: the log's changes to it are carried. Changes to the
/// tables behind it are not, for their copy is still to come, and brings them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SnapshotCursor {
    /// The database of the newest live table; empty before the first.
    pub database: String,
    /// The newest live table.
    pub table: String,
    /// Its rows up to this key are copied: the key's cells in wire form, one after another. Empty
    /// before the first.
    #[serde(with = "crate::batch::bytes_field")]
    pub key: Vec<u8>,
    /// All its rows are copied.
    pub complete: bool,
}

// === impl Chunk ===

impl Chunk {
    /// How many identities it owns.
    pub fn identities(&self) -> u32 {
        u32::from(self.lower).saturating_add(u32::from(self.upper)).saturating_add(self.kept)
    }

    /// Index of its lower bound's identity in the table's block.
    pub fn lower_index(&self) -> Option<usize> {
        self.lower.then_some(self.identity as usize)
    }

    /// Index of its upper bound's identity in the table's block.
    pub fn upper_index(&self) -> Option<usize> {
        self.upper.then_some(self.identity as usize + usize::from(self.lower))
    }

    /// Indexes of the kept keys' identities in the table's block.
    pub fn kept_indexes(&self) -> std::ops::Range<usize> {
        let first = self.identity as usize + usize::from(self.lower) + usize::from(self.upper);
        first..first + self.kept as usize
    }
}

// === impl Names ===

impl Names {
    /// Its names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator('\0')
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl<S: AsRef<str>> FromIterator<S> for Names {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut joined = String::new();
        for name in names {
            joined.push_str(name.as_ref());
            joined.push('\0');
        }
        Self(joined)
    }
}

// === impl SnapshotCursor ===

impl SnapshotCursor {
    /// True when the log's changes to a table are carried.
    pub fn is_live(&self, database: &str, table: &str) -> bool {
        (database, table) <= (self.database.as_str(), self.table.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went_in() {
        for names in [vec![], vec!["a"], vec!["a", "设备", ""]] {
            assert_eq!(names.iter().collect::<Names>().iter().collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn tables_up_to_the_cursor_are_live() {
        let cursor = SnapshotCursor {
            database: "shop".into(),
            table: "orders".into(),
            ..SnapshotCursor::default()
        };
        for (database, table, live) in [
            ("crm", "zone", true),
            ("shop", "a", true),
            ("shop", "orders", true),
            ("shop", "orders2", false),
            ("shop2", "a", false),
        ] {
            assert_eq!(cursor.is_live(database, table), live, "{database}.{table}");
        }
        assert!(!SnapshotCursor::default().is_live("a", "a"));
    }
}
