//! What a case needs beside SQL, as data: `steps.toml`.
//!
//! ```toml
//! [[step]]
//! when = "running"            # before: the publisher has never run; starting, running: ahead of live.sql; after
//! on = "mysql"                # only where the device is of this product
//! do = "sql"
//! text = "INSERT INTO d.t VALUES {}"
//! each = "({n})"              # `{}` is this for n = 1 to count, with commas between
//! count = 1000
//! ```

use anyhow::Result;
use serde::Deserialize;
use tributary_testkit::Flavour;

/// One step.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    /// When it is taken.
    #[serde(default)]
    pub when: When,
    on: Option<Product>,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
}

/// When a step is taken; those of one time one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// After `before.sql`: the publisher has not run yet.
    Before,
    /// Everything has just been started, and may be copying.
    Starting,
    /// Everything runs, and what was there before is copied; ahead of `live.sql`.
    Running,
    /// After `live.sql`.
    #[default]
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Product {
    Mysql,
    Mariadb,
}

/// Which of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The device's.
    #[default]
    Device,
    /// The shard's.
    Shard,
}

/// What a step does.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Runs statements on a connection of their own.
    Sql {
        /// The statements.
        text: String,
        /// Where.
        #[serde(default)]
        server: Side,
        /// What stands for `{}` in them, once for each number up to `count`, which is `{n}` in it.
        #[serde(default)]
        each: String,
        /// How often.
        #[serde(default)]
        count: u32,
    },
    /// Waits until the copy has come to the end of the device's log.
    CatchUp,
    /// Waits until the copy of a table has as many rows as the device has in it.
    Arrived {
        /// `database.table`.
        table: String,
    },
    /// Waits until the worker has answered so many heartbeats more.
    Heartbeats {
        /// How many.
        count: u32,
    },
    /// Restarts the device's server.
    RestartDevice,
    /// Kills the publisher and starts it again.
    RestartPublisher,
    /// Kills the worker and starts it again.
    RestartWorker,
    /// Cuts off a file of the device's server.
    Truncate {
        /// In its data directory.
        file: String,
        /// So much stays.
        bytes: u64,
    },
    /// Makes a directory in the data directory of the device's server.
    MakeDirectory {
        /// Its name.
        name: String,
    },
}

impl Step {
    /// Whether it is taken with a device of this product.
    pub fn is_on(&self, flavour: Flavour) -> bool {
        match self.on {
            None => true,
            Some(Product::Mysql) => flavour == Flavour::MySql,
            Some(Product::Mariadb) => flavour == Flavour::MariaDb,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    step: Vec<Step>,
}

/// Reads a `steps.toml`.
///
/// # Errors
/// When it is not understood.
pub fn parse(text: &str) -> Result<Vec<Step>> {
    let File { step } = toml::from_str(text)?;
    Ok(step)
}

/// The statements with `each` in the place of `{}`, `count` times.
pub(super) fn expand(text: &str, each: &str, count: u32) -> String {
    let list: Vec<String> = (1..=count).map(|n| each.replace("{n}", &n.to_string())).collect();
    text.replace("{}", &list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_put_into_the_statement() {
        assert_eq!(expand("SELECT ({}) + 1", "{n}", 3), "SELECT (1,2,3) + 1");
        assert_eq!(expand("SELECT 1", "", 0), "SELECT 1");
    }

    #[test]
    fn steps_are_read() {
        let text = "[[step]]\nwhen = \"before\"\non = \"mysql\"\ndo = \"sql\"\ntext = \"SELECT 1\"\n\
                    [[step]]\ndo = \"restart_device\"";
        let steps = parse(text).expect("reads");
        assert_eq!((steps[0].when, steps[1].when), (When::Before, When::After));
        assert!(steps[0].is_on(Flavour::MySql) && !steps[0].is_on(Flavour::MariaDb));
        assert!(matches!(steps[1].action, Action::RestartDevice));
        assert!(parse("[[step]]\ndo = \"something\"").is_err());
    }
}
