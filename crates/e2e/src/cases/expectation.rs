//! What a case asks for.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tributary_testkit::Flavour::{self, MariaDb, MySql};

/// Which server the device has, and which the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Pair {
    /// The device's.
    pub device: Flavour,
    /// The shard's.
    pub shard: Flavour,
}

impl FromStr for Pair {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Pair> {
        let (device, shard) = text.split_once('-').context("a pairing is `mysql-mariadb` or so")?;
        let flavour = |name: &str| match name {
            "mysql" => Ok(MySql),
            "mariadb" => Ok(MariaDb),
            _ => bail!("{name:?} is neither mysql nor mariadb"),
        };
        Ok(Pair { device: flavour(device)?, shard: flavour(shard)? })
    }
}

impl TryFrom<String> for Pair {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Pair> {
        text.parse()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |flavour| match flavour {
            MySql => "mysql",
            MariaDb => "mariadb",
        };
        write!(f, "{}-{}", name(self.device), name(self.shard))
    }
}

/// Where a shard keeps what devices have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// A database for each of each device.
    SchemaPerDevice,
    /// One set of tables for all.
    Merged,
}

impl Layout {
    /// Its name in the worker's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Layout::SchemaPerDevice => "schema_per_device",
            Layout::Merged => "merged",
        }
    }
}

impl FromStr for Layout {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Layout> {
        match text {
            "schema_per_device" => Ok(Layout::SchemaPerDevice),
            "merged" => Ok(Layout::Merged),
            _ => bail!("{text:?} is neither schema_per_device nor merged"),
        }
    }
}

/// How what `before.sql` makes comes to the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It was there before the publisher first started, and its log is lost.
    Snapshot,
    /// It is made while everything runs.
    Log,
}

/// `expect.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The pairings to run on.
    #[serde(default = "one_pair")]
    pub pairs: Vec<Pair>,
    /// The layouts to run in.
    #[serde(default = "one_layout")]
    pub layouts: Vec<Layout>,
    /// The ways to run in.
    #[serde(default = "one_way")]
    pub ways: Vec<Way>,
    /// More arguments of the device's server.
    #[serde(default)]
    pub opts: Vec<String>,
    /// More arguments of the shard's server.
    #[serde(default)]
    pub shard_opts: Vec<String>,
    /// How the verdict begins, in words as [`super::Verdict`] prints them: `EQUAL`, or `PARKED` and a part of
    /// the reason.
    pub verdict: String,
    /// The device has nothing, and has written nothing to its log, when its publisher starts.
    #[serde(default)]
    pub empty: bool,
    /// Whether definitions are compared as well, where both servers are of one product.
    #[serde(default = "yes")]
    pub schema: bool,
    /// Databases, and tables as `database.table`, that are not compared.
    #[serde(default)]
    pub except: Vec<String>,
    /// What a log of the publisher or the worker has to say in the end.
    #[serde(default)]
    pub told: Vec<String>,
    /// What no log may say.
    #[serde(default)]
    pub untold: Vec<String>,
    /// Too slow, or too much, for a share that is run with every change.
    #[serde(default)]
    pub slow: bool,
}

fn one_pair() -> Vec<Pair> {
    vec![Pair { device: MySql, shard: MySql }]
}

fn one_layout() -> Vec<Layout> {
    vec![Layout::SchemaPerDevice]
}

fn one_way() -> Vec<Way> {
    vec![Way::Snapshot]
}

fn yes() -> bool {
    true
}

impl Expectation {
    /// What a folder without `expect.json` asks for: equal copies, on MariaDB where the folder is called so.
    pub fn of_name(name: &str) -> Expectation {
        let flavour = if name.contains("mariadb") { MariaDb } else { MySql };
        Expectation {
            pairs: vec![Pair { device: flavour, shard: flavour }],
            layouts: one_layout(),
            ways: one_way(),
            opts: Vec::new(),
            shard_opts: Vec::new(),
            verdict: "EQUAL".to_owned(),
            empty: false,
            schema: true,
            except: Vec::new(),
            told: Vec::new(),
            untold: Vec::new(),
            slow: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_one_pairing_of_mysql_in_the_first_layout() {
        let read: Expectation = serde_json::from_str(r#"{"verdict":"EQUAL"}"#).expect("reads");
        assert_eq!(read.pairs, one_pair());
        assert_eq!((read.layouts, read.schema), (one_layout(), true));
    }

    #[test]
    fn a_key_that_nobody_knows_is_an_error() {
        let read = serde_json::from_str::<Expectation>(r#"{"verdict":"EQUAL","pair":[]}"#);
        assert!(read.is_err());
    }

    #[test]
    fn pairings_read_as_they_print() {
        for text in ["mysql-mysql", "mysql-mariadb", "mariadb-mysql", "mariadb-mariadb"] {
            assert_eq!(text.parse::<Pair>().expect("reads").to_string(), text);
        }
        assert!("mysql".parse::<Pair>().is_err());
    }
}
