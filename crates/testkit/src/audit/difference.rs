//! What the auditor found.

use std::fmt;

/// Kept in full; the rest are counted.
const KEPT: usize = 20;

/// One place where source and target differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The source's database.
    pub database: String,
    /// The table.
    pub table: String,
    /// What differs: a row by its key, a column, or the table itself.
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: {}", self.database, self.table, self.detail)
    }
}

/// The outcome of a comparison.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Tables of the source that were looked at.
    pub tables: u64,
    /// Rows of the source that were read.
    pub rows: u64,
    /// How many differences there are.
    pub difference_count: u64,
    /// The first twenty of them.
    pub differences: Vec<Difference>,
}

impl Verdict {
    /// Whether the target holds exactly what the source holds.
    pub fn equal(&self) -> bool {
        self.difference_count == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = format!("{} rows in {} tables", self.rows, self.tables);
        match self.differences.first() {
            None => write!(f, "equal: {read}"),
            Some(first) => {
                write!(f, "{} differences over {read}; first: {first}", self.difference_count)
            }
        }
    }
}

/// A verdict in the making.
#[derive(Debug, Default)]
pub(super) struct Findings {
    tables: u64,
    rows: u64,
    count: u64,
    kept: Vec<Difference>,
}

impl Findings {
    pub(super) fn begin_table(&mut self) {
        self.tables += 1;
    }

    pub(super) fn add_row(&mut self) {
        self.rows += 1;
    }

    pub(super) fn add(&mut self, database: &str, table: &str, detail: String) {
        self.count += 1;
        if self.kept.len() < KEPT {
            let (database, table) = (database.to_owned(), table.to_owned());
            self.kept.push(Difference { database, table, detail });
        }
    }

    pub(super) fn into_verdict(self) -> Verdict {
        Verdict {
            tables: self.tables,
            rows: self.rows,
            difference_count: self.count,
            differences: self.kept,
        }
    }
}
