//! The layout `merged`: one set of tables for all devices, the device leading every key.
//!
//! A device keeps databases of its own, `<device>__<database>`, in which its statements run as they do in
//! the other layout. Here they are its *shadow*: tables without rows. What a table is at the device, the
//! server itself says of the shadow; [`union`] is the pure step from there to the table that all share,
//! and [`reconcile`] makes it so. Rows lie in the shared tables. For a statement that may change rows
//! without logging them (ALTER, RENAME) [`carry`] brings the device's rows into the shadow before it and
//! back after it, so the server converts them, and nothing here has to know what the statement means.

pub mod carry;
pub mod column;
mod expression;
pub(crate) mod gather;
mod reasons;
pub mod reconcile;
pub mod remember;
pub mod shape;
pub mod union;

use crate::mapping::{self, NAME_CHARS_MAX, SEPARATOR};
use crate::watermark::Parked;
use std::sync::Arc;
use tributary_wire::DeviceId;

/// What stands for the device's name of a database in [`Merged::template`].
pub const PLACEHOLDER: &str = "{database}";

/// How devices lie side by side in a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Layout {
    /// A database `<device>__<database>` for each database of each device.
    #[default]
    SchemaPerDevice,
    /// One set of tables for all devices.
    Merged(Arc<Merged>),
}

/// The names of the layout `merged`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The shared database of the devices' databases of one name; holds [`PLACEHOLDER`] once.
    pub template: String,
    /// The column that says whose a row is.
    pub device_column: String,
    /// The bookkeeping database, which no shared database may be.
    pub bookkeeping: String,
}

// === impl Layout ===

impl Layout {
    /// The names of the shared tables, where there are any.
    pub fn merged(&self) -> Option<&Arc<Merged>> {
        match self {
            Self::SchemaPerDevice => None,
            Self::Merged(merged) => Some(merged),
        }
    }

    /// The database that holds the rows of a device's database.
    ///
    /// # Errors
    /// Why there can be none.
    pub fn database(&self, device: &DeviceId, database: &str) -> Result<String, Parked> {
        match self {
            Self::SchemaPerDevice => {
                mapping::database(device, database).ok_or_else(|| long_name(database))
            }
            Self::Merged(merged) => merged.database(database),
        }
    }
}

// === impl Merged ===

impl Merged {
    /// The shared database of the devices' databases of this name.
    ///
    /// # Errors
    /// Why there can be none: the name is too long, or is not free.
    pub fn database(&self, database: &str) -> Result<String, Parked> {
        let name = self.template.replace(PLACEHOLDER, database);
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(refused(database, &name, "has more than 64 characters"));
        }
        if name.contains(SEPARATOR) {
            return Err(refused(database, &name, "could be a device's own: it holds '__'"));
        }
        if name.eq_ignore_ascii_case(&self.bookkeeping) {
            return Err(refused(database, &name, "is the bookkeeping database's"));
        }
        if mapping::is_system(&name) {
            return Err(refused(database, &name, "belongs to the server"));
        }
        Ok(name)
    }
}

fn refused(database: &str, name: &str, why: &str) -> Parked {
    Parked {
        reason: format!("database {database} would be {name} in the merged layout, a name that {why}"),
        remedy: "leave the database out with the device's filter, or hold the device on a shard of the layout schema_per_device; on a shard without devices merged.database may be changed".to_owned(),
    }
}

fn long_name(database: &str) -> Parked {
    Parked {
        reason: format!(
            "database {database} has too long a name: with the device's id it passes 64 characters"
        ),
        remedy: "rename the database at the device, or give the device a shorter id".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(template: &str) -> Merged {
        Merged {
            template: template.into(),
            device_column: "device_id".into(),
            bookkeeping: "tributary".into(),
        }
    }

    #[test]
    fn a_database_is_shared_by_its_name() {
        assert_eq!(merged("{database}").database("app"), Ok("app".to_owned()));
        assert_eq!(merged("fleet_{database}").database("app"), Ok("fleet_app".to_owned()));
    }

    #[test]
    fn a_name_that_is_not_free_is_refused() {
        for name in ["tributary", "Tributary", "dev__app", "mysql", &"x".repeat(65)] {
            assert!(merged("{database}").database(name).is_err(), "{name}");
        }
        assert!(merged("fleet_{database}").database("_app").is_err());
    }
}
