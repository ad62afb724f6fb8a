//! Why no shared table holds a device's, and what a person has to do. Pure.

use crate::merged::shape::{Column, Key};
use crate::merged::union::Place;
use crate::watermark::Parked;

// === impl Place ===

impl Place<'_> {
    pub(super) fn taken(&self, column: &str) -> Parked {
        Parked {
            reason: format!(
                "table {}.{} has a column {column} at the device, the name by which the merged layout calls the device",
                self.database, self.table
            ),
            remedy: "leave the table out with the device's filter and begin anew; or hold the fleet on a new shard with another merged.device_column".to_owned(),
        }
    }

    /// MySQL writes a literal of another character set in that one's bytes, and MariaDB does not say which
    /// one it is; the shared table has no ZEROFILL.
    pub(super) fn unreadable(&self, column: &Column) -> Parked {
        Parked {
            reason: format!(
                "column {} of table {}.{} is computed by an expression with text beyond ASCII, or of a ZEROFILL column, which the shared table would compute otherwise",
                column.name, self.database, self.table
            ),
            remedy: "leave the table out with the device's filter and begin anew, or hold the device on a shard of the layout schema_per_device".to_owned(),
        }
    }

    /// A MEMORY table loses its rows with the server, and others have them on another one: an ALTER cannot go
    /// through either.
    pub(super) fn unfit(&self, engine: &str) -> Parked {
        Parked {
            reason: format!(
                "table {}.{} is of the engine {engine}, which the merged layout cannot carry rows through",
                self.database, self.table
            ),
            remedy: "let the table be InnoDB at the device, or leave it out with the device's filter, and begin anew; or hold the device on a shard of the layout schema_per_device".to_owned(),
        }
    }

    pub(super) fn not_ours(&self) -> Parked {
        Parked {
            reason: format!(
                "table {}.{} exists at the shard and does not begin with the column {}: it is none of the merged layout's",
                self.database, self.table, self.device_column
            ),
            remedy: "rename or drop that table at the shard, then release the device".to_owned(),
        }
    }

    pub(super) fn other_key(&self, own: &Key, shared: &Key) -> Parked {
        Parked {
            reason: format!(
                "table {}.{} has {} at the device and {} at the devices that came before",
                self.database,
                self.table,
                own.text(),
                shared.text()
            ),
            remedy: "where no other device uses the table any more, drop it at the shard and release the device; otherwise leave the table out with the device's filter and begin anew, or hold the device on another shard".to_owned(),
        }
    }

    pub(super) fn conflict(&self, own: &Column, shared: &Column, has_key: bool) -> Parked {
        let by_text = has_key
            && own.generated.is_none()
            && shared.generated.is_none()
            && own.data.is_said_by_text() | shared.data.is_said_by_text();
        let remedy = if by_text {
            "at the shard, let the column hold both as text (ALTER TABLE … MODIFY … LONGTEXT COMMENT 'mixed'), then release the device; or leave the table out with the device's filter and begin anew"
        } else {
            "at the shard, give the column a type that holds both where there is one, then release the device; otherwise leave the table out with the device's filter and begin anew, or hold the device on another shard"
        };
        Parked {
            reason: format!(
                "column {} of table {}.{} is {} at the device and {} at the devices that came before",
                own.name,
                self.database,
                self.table,
                own.describe(),
                shared.describe()
            ),
            remedy: remedy.to_owned(),
        }
    }
}

// === impl Column ===

impl Column {
    fn describe(&self) -> String {
        let mut text = self.text.clone();
        if let Some((_, collation)) = &self.collation {
            text = format!("{text} collate {collation}");
        }
        if let Some(generated) = &self.generated {
            text = format!("{text} as {generated}");
        }
        text
    }
}
