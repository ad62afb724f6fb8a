//! What must not leave the device never does: which databases, tables and columns are carried, and
//! which columns only masked.
//!
//! The filter decides by names. Whatever it says, positions stay the same: what is left counts as
//! skipped changes, as the tables of the server's own databases always do. Pure, but for [`survey`],
//! whose questions [`crate::source`] asks.

pub(crate) mod agree;
mod config;
mod definition;
mod pattern;
mod remembered;
mod statement;
pub mod survey;

pub use config::{FilterConfig, InvalidFilter, MaskConfig, MaskWith, NamesConfig};
pub use remembered::Remembered;
pub use statement::{Carriage, Refusal, Session};

use crate::capture::SYSTEM_DATABASES;
use pattern::Pattern;
use ring::hmac;
use std::sync::Arc;
use tributary_binlog::{Choice, Digest, Hashing};

/// Whether something is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is.
    Carried,
    /// It stays on the device.
    Left,
}

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Filter {
    databases: Names,
    tables: Names,
    columns: Names,
    masks: Vec<(Pattern, MaskWith)>,
    digest: Arc<dyn Digest>,
    /// The names of databases and tables have no case on this server.
    fold: bool,
}

#[derive(Debug, Clone, Default)]
struct Names {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

/// HMAC-SHA-256.
struct Salted(hmac::Key);

struct Signing(hmac::Context);

const SALT_BYTES_MIN: usize = 16;
const DATABASE: usize = 0;
const TABLE: usize = 1;
const COLUMN: usize = 2;

// === impl Filter ===

impl Filter {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// [`InvalidFilter`].
    pub fn new(config: &FilterConfig) -> Result<Self, InvalidFilter> {
        let hashes = config.mask.iter().any(|mask| mask.with == MaskWith::Hash);
        let salt = config.salt.as_ref().map_or("", |salt| salt.expose());
        if hashes && salt.is_empty() {
            return Err(InvalidFilter::Salt("is not set"));
        }
        if config.salt.is_some() && salt.len() < SALT_BYTES_MIN {
            return Err(InvalidFilter::Salt("has fewer than 16 bytes"));
        }
        Self::compile(&Remembered::of(config), salt)
    }

    fn compile(rules: &Remembered, salt: &str) -> Result<Self, InvalidFilter> {
        let mask =
            |mask: &MaskConfig| Ok((pattern("filter.mask.column", &mask.column, 3)?, mask.with));
        Ok(Self {
            databases: Names::new(&rules.databases, "filter.databases", 1)?,
            tables: Names::new(&rules.tables, "filter.tables", 2)?,
            columns: Names::new(&rules.columns, "filter.columns", 3)?,
            masks: rules.mask.iter().map(mask).collect::<Result<_, _>>()?,
            digest: Arc::new(Salted::new(salt)),
            fold: false,
        })
    }

    /// The same filter for a server whose names of databases and tables have no case
    /// (`lower_case_table_names` is not 0). Names of columns never have.
    #[must_use]
    pub fn folding_case(self, fold: bool) -> Self {
        Self { fold, ..self }
    }

    /// True when everything is carried as it is.
    pub fn is_empty(&self) -> bool {
        let names = [&self.databases, &self.tables, &self.columns];
        self.masks.is_empty() && names.iter().all(|names| names.is_empty())
    }

    /// True when it says something of columns.
    pub fn has_column_rules(&self) -> bool {
        !self.masks.is_empty() || !self.columns.is_empty()
    }

    /// Whether a database, and what is in it, is carried. One of which no table could be is not.
    pub fn database(&self, database: &str) -> Decision {
        let carried = !self.is_system(database)
            && self.databases.pass(|pattern| self.at(pattern, DATABASE, database))
            && (self.tables.include.is_empty()
                || self.tables.include.iter().any(|p| self.at(p, DATABASE, database)))
            && !self
                .tables
                .exclude
                .iter()
                .any(|p| p.is_everything(TABLE) && self.at(p, DATABASE, database));
        if carried { Decision::Carried } else { Decision::Left }
    }

    /// Whether a table or a view is carried.
    pub fn decide(&self, database: &str, table: &str) -> Decision {
        let matches = |pattern: &Pattern| self.names_table(pattern, database, table);
        match self.database(database) {
            Decision::Carried if self.tables.pass(matches) => Decision::Carried,
            _ => Decision::Left,
        }
    }

    /// True when it says something of this table's columns.
    pub fn touches(&self, database: &str, table: &str) -> bool {
        self.column_patterns().any(|pattern| self.names_table(pattern, database, table))
    }

    /// What becomes of a column of a table that is carried.
    pub fn column(&self, database: &str, table: &str, column: &str) -> Choice {
        let names_table = |pattern: &Pattern| self.names_table(pattern, database, table);
        let matches =
            |pattern: &Pattern| names_table(pattern) && pattern.matches(COLUMN, column, true);
        let listed = self.columns.include.iter().any(names_table);
        if self.columns.exclude.iter().any(matches)
            || (listed && !self.columns.include.iter().any(matches))
        {
            return Choice::Drop;
        }
        let mask = self.masks.iter().find(|(pattern, _)| matches(pattern));
        mask.map_or(Choice::Keep, |(_, with)| match with {
            MaskWith::Null => Choice::Null,
            MaskWith::Empty => Choice::Empty,
            MaskWith::Hash => Choice::Hash,
        })
    }

    /// The keyed hash of masks.
    pub fn digest(&self) -> &Arc<dyn Digest> {
        &self.digest
    }

    /// The server's own databases.
    fn is_system(&self, database: &str) -> bool {
        let is = |system: &&str| {
            *system == database || (self.fold && system.eq_ignore_ascii_case(database))
        };
        SYSTEM_DATABASES.iter().any(is)
    }

    /// Every pattern, in a fixed order.
    fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        let names = [&self.databases, &self.tables, &self.columns];
        let names = names.into_iter().flat_map(|names| names.include.iter().chain(&names.exclude));
        names.chain(self.masks.iter().map(|(pattern, _)| pattern))
    }

    fn column_patterns(&self) -> impl Iterator<Item = &Pattern> {
        let names = self.columns.include.iter().chain(&self.columns.exclude);
        names.chain(self.masks.iter().map(|(pattern, _)| pattern))
    }

    fn at(&self, pattern: &Pattern, part: usize, name: &str) -> bool {
        pattern.matches(part, name, self.fold)
    }

    fn names_table(&self, pattern: &Pattern, database: &str, table: &str) -> bool {
        self.at(pattern, DATABASE, database) && self.at(pattern, TABLE, table)
    }
}

fn pattern(key: &'static str, text: &str, parts: usize) -> Result<Pattern, InvalidFilter> {
    let form = ["database", "database.table", "database.table.column"][parts - 1];
    Pattern::parse(text, parts).ok_or_else(|| InvalidFilter::Pattern {
        key,
        pattern: text.to_owned(),
        form,
    })
}

// === impl Names ===

impl Names {
    fn new(config: &NamesConfig, key: &'static str, parts: usize) -> Result<Self, InvalidFilter> {
        let compile = |texts: &[String]| {
            texts.iter().map(|text| pattern(key, text, parts)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { include: compile(&config.include)?, exclude: compile(&config.exclude)? })
    }

    fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    fn pass(&self, matches: impl Fn(&Pattern) -> bool) -> bool {
        (self.include.is_empty() || self.include.iter().any(&matches))
            && !self.exclude.iter().any(&matches)
    }
}

// === impl Salted ===

impl Salted {
    fn new(salt: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes()))
    }
}

impl Digest for Salted {
    fn begin(&self) -> Box<dyn Hashing> {
        Box::new(Signing(hmac::Context::with_key(&self.0)))
    }
}

impl Hashing for Signing {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.sign().as_ref());
        digest
    }
}

impl std::fmt::Debug for Salted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salted(***)")
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
