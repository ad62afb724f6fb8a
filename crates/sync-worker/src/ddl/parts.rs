//! What a table has, for changes that a device made under a condition and that this server makes without one.

use crate::catalog::place;
use crate::session::Session;
use crate::sql_error::SqlError;
use std::collections::HashSet;
use tributary_schema::{Condition, Part};

/// The names of a table's parts, in small letters.
#[derive(Debug, Default)]
pub(super) struct Parts {
    names: HashSet<(Part, String)>,
}

const SORTS: [(Part, &str, &str); 4] = [
    (Part::Column, "columns", "column_name"),
    (Part::Index, "statistics", "index_name"),
    (Part::Constraint, "table_constraints", "constraint_name"),
    (Part::Partition, "partitions", "partition_name"),
];

// === impl Parts ===

impl Parts {
    /// Asks the server.
    ///
    /// # Errors
    /// [`SqlError`].
    pub(super) async fn of(
        session: &mut Session,
        database: &str,
        table: &str,
    ) -> Result<Self, SqlError> {
        let mut parts = Self::default();
        for (part, from, column) in SORTS {
            let sql = format!(
                "SELECT {column} FROM information_schema.{from} WHERE {}",
                place(database, table)
            );
            let names: Vec<Option<Vec<u8>>> = session.rows("look at a table's parts", &sql).await?;
            let names = names.into_iter().flatten();
            let named = |name: Vec<u8>| (part, String::from_utf8_lossy(&name).to_lowercase());
            parts.names.extend(names.map(named));
        }
        Ok(parts)
    }

    /// Whether the change was made at the device, whose table was like this one.
    pub(super) fn made(&self, condition: &Condition) -> bool {
        let part = (condition.what, condition.name.to_lowercase());
        self.names.contains(&part) == condition.if_exists
    }
}
