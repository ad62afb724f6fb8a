//! What becomes of a statement.
//!
//! The copy is what the source holds, as far as the filter carries it. A statement about what is left is
//! left; one about both is carried as far as it concerns what is carried, where that can be said exactly;
//! and where rows would be missing afterwards the device stops.

use super::definition::{self, same};
use super::{Decision, Filter};
use tributary_binlog::Choice;
use tributary_schema::{Ddl, DdlKind, SqlMode, Statement, TableRef, quote};

/// A statement's session, as far as a filter has to know.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// Its default database.
    pub database: &'a str,
    /// Its text.
    pub sql: &'a [u8],
    /// Its `sql_mode`.
    pub mode: SqlMode,
}

/// What becomes of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carriage {
    /// It is carried as it is.
    Whole,
    /// It is carried in another form.
    Changed {
        /// Another text.
        sql: Option<Vec<u8>>,
        /// Without its default database, which is not carried and which nothing in it refers to.
        without_database: bool,
        /// With `foreign_key_checks=0`: it refers to a table that the target does not have.
        without_foreign_key_checks: bool,
    },
    /// It stays on the device, and counts as one change.
    Left,
}

/// Why the device has to stop before a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it.
    pub reason: String,
    /// What a person can do.
    pub remedy: &'static str,
    /// A snapshot would bring what is missing.
    pub needs_snapshot: bool,
}

const BEGIN_ANEW: &str = "set snapshot.when_lost to \"resnapshot\" to have every table copied again; or exclude the new name as well";
const EXCLUDE_IT: &str = "exclude it as well, or carry what it is made of and let the device begin anew (docs/operations.md)";
const RULE_FOR_BOTH: &str =
    "give the new name the rules of the old one in [filter], and start again";
const EXCLUDE_COLUMN: &str = "exclude or mask the generated column as well, and start again";

// === impl Filter ===

impl Filter {
    /// Decides about a statement.
    ///
    /// # Errors
    /// [`Refusal`] where the copy could not be exact afterwards, or a value could leave the device that
    /// must not.
    pub fn statement(&self, class: &Statement, session: Session<'_>) -> Result<Carriage, Refusal> {
        if self.is_empty() {
            return Ok(Carriage::Whole);
        }
        match class {
            Statement::Ddl(ddl) => self.ddl(ddl, session),
            Statement::Routine { name, .. } => {
                let database = name.database.as_deref().unwrap_or(session.database);
                Ok(whole_or_left(self.database(database)))
            }
            Statement::Unknown { .. } => Err(Refusal {
                reason: "a statement is not understood, so that it cannot be told whether it concerns what the filter leaves on the device".to_owned(),
                remedy: "upgrade the publisher; or, without a filter, let the target park the device there and the device begin anew",
                needs_snapshot: false,
            }),
            Statement::Ignored { .. } | Statement::Transaction(_) | Statement::Dml { .. } => {
                Ok(Carriage::Whole)
            }
        }
    }

    fn ddl(&self, ddl: &Ddl, session: Session<'_>) -> Result<Carriage, Refusal> {
        if ddl.tables.is_empty() {
            let database = ddl.databases.first().map_or(session.database, String::as_str);
            return Ok(whole_or_left(self.database(database)));
        }
        let left = ddl.tables.iter().filter(|table| self.is_left(table, session)).count();
        if left == ddl.tables.len() {
            return Ok(Carriage::Left);
        }
        if left > 0 {
            return self.mixed(ddl, session);
        }
        self.refuse_renames(ddl, session)?;
        self.refuse_columns(ddl, session)?;
        self.carried(ddl, session)
    }

    fn is_left(&self, table: &TableRef, session: Session<'_>) -> bool {
        let database = table.database.as_deref().unwrap_or(session.database);
        self.decide(database, &table.table) == Decision::Left
    }

    /// A statement about tables that are carried and tables that are not.
    fn mixed(&self, ddl: &Ddl, session: Session<'_>) -> Result<Carriage, Refusal> {
        let is_left = |table: &TableRef| self.is_left(table, session);
        let carried = || ddl.tables.iter().filter(|table| !is_left(table));
        let names = || ddl.tables.iter().map(|t| name(t, session)).collect::<Vec<_>>().join(", ");
        let came = ddl.renames.iter().find(|(from, to)| is_left(from) && !is_left(to));
        if let Some((from, to)) = came {
            return Err(Refusal {
                reason: format!(
                    "{}, which the filter leaves on the device, is renamed to {}, which it carries: its rows were never carried",
                    name(from, session),
                    name(to, session)
                ),
                remedy: BEGIN_ANEW,
                needs_snapshot: true,
            });
        }
        let all_go = !ddl.renames.is_empty()
            && ddl.tables.len() == 2 * ddl.renames.len()
            && ddl.renames.iter().all(|(from, to)| !is_left(from) && is_left(to));
        match ddl.kind {
            DdlKind::DropTable => Ok(drop_tables("TABLE", ddl.if_exists, carried(), session)),
            DdlKind::DropView => Ok(drop_tables("VIEW", ddl.if_exists, carried(), session)),
            // Under its new name the table is no longer part of what is copied.
            DdlKind::RenameTable | DdlKind::AlterTable if all_go => {
                Ok(drop_tables("TABLE", ddl.if_exists, carried(), session))
            }
            _ => Err(Refusal {
                reason: format!(
                    "one statement changes tables that the filter carries and tables that it leaves on the device ({})",
                    names()
                ),
                remedy: "carry them all or exclude them all; what was not carried before needs the device to begin anew (docs/operations.md)",
                needs_snapshot: false,
            }),
        }
    }

    /// Rules of columns go by the table's name: where rows or definitions go from one name to another,
    /// both names must have the same.
    fn refuse_renames(&self, ddl: &Ddl, session: Session<'_>) -> Result<(), Refusal> {
        let rules = |table: &TableRef| {
            let database = table.database.as_deref().unwrap_or(session.database);
            self.column_rules(database, &table.table)
        };
        let renames = ddl.renames.iter().map(|(from, to)| (from, to));
        // EXCHANGE PARTITION and its like, and CREATE TABLE … LIKE.
        let is_exchange = ddl.kind == DdlKind::AlterTable;
        let exchanges = ddl.tables.first().into_iter().flat_map(|first| {
            let others = ddl.tables.iter().skip(1).filter(move |_| is_exchange);
            let copied = ddl.reads.iter().filter(|_| ddl.like);
            others.chain(copied).map(move |other| (other, first))
        });
        let Some((from, to)) = renames.chain(exchanges).find(|(from, to)| rules(from) != rules(to))
        else {
            return Ok(());
        };
        Err(Refusal {
            reason: format!(
                "what {} is becomes {}, and the filter's rules for their columns differ",
                name(from, session),
                name(to, session)
            ),
            remedy: RULE_FOR_BOTH,
            needs_snapshot: false,
        })
    }

    /// A column that is generated from one that must not leave, or that loses its rule with its name.
    fn refuse_columns(&self, ddl: &Ddl, session: Session<'_>) -> Result<(), Refusal> {
        let Some(table) = ddl.tables.first() else { return Ok(()) };
        let database = table.database.as_deref().unwrap_or(session.database);
        let defines = matches!(ddl.kind, DdlKind::CreateTable | DdlKind::AlterTable);
        if !defines || !self.touches(database, &table.table) {
            return Ok(());
        }
        let found = definition::read(session.sql, session.mode);
        let choice = |column: &str| self.column(database, &table.table, column);
        let leak = found.generated.iter().find(|(column, from)| {
            choice(column) == Choice::Keep && from.iter().any(|word| choice(word) != Choice::Keep)
        });
        if let Some((column, _)) = leak {
            return Err(Refusal {
                reason: format!(
                    "column {column} of {} is generated from a column that the filter leaves out or masks, and would tell of it",
                    name(table, session)
                ),
                remedy: EXCLUDE_COLUMN,
                needs_snapshot: false,
            });
        }
        let renamed =
            found.renamed.iter().find(|(old, new)| !same(old, new) && choice(old) != choice(new));
        renamed.map_or(Ok(()), |(old, new)| {
            Err(Refusal {
                reason: format!(
                    "column {old} of {} is renamed to {new}, and the filter treats them differently",
                    name(table, session)
                ),
                remedy: RULE_FOR_BOTH,
                needs_snapshot: false,
            })
        })
    }

    /// A statement about tables that are all carried; what it only refers to may not be.
    fn carried(&self, ddl: &Ddl, session: Session<'_>) -> Result<Carriage, Refusal> {
        let is_absent = |table: &&TableRef| {
            let database = table.database.as_deref().unwrap_or(session.database);
            self.is_left(table, session) && !self.is_system(database)
        };
        let absent = ddl.reads.iter().find(is_absent);
        let needs_it = ddl.like || matches!(ddl.kind, DdlKind::CreateView | DdlKind::AlterView);
        if let Some(absent) = absent.filter(|_| needs_it) {
            let made = ddl.tables.first().map(|table| name(table, session)).unwrap_or_default();
            return Err(Refusal {
                reason: format!(
                    "{made} is made of {}, which the filter leaves on the device",
                    name(absent, session)
                ),
                remedy: EXCLUDE_IT,
                needs_snapshot: false,
            });
        }
        let mut named = ddl.tables.iter().chain(&ddl.reads);
        let without_database = !session.database.is_empty()
            && self.database(session.database) == Decision::Left
            && named.all(|table| table.database.is_some());
        if absent.is_none() && !without_database {
            return Ok(Carriage::Whole);
        }
        Ok(Carriage::Changed {
            sql: None,
            without_database,
            without_foreign_key_checks: absent.is_some(),
        })
    }

    /// What the filter says of a table's columns, without the table's name.
    fn column_rules(&self, database: &str, table: &str) -> Vec<String> {
        let rules = |patterns: &[super::Pattern]| {
            let matching = patterns.iter().filter(|p| self.names_table(p, database, table));
            matching.map(|pattern| format!("{:?}", pattern.part(super::COLUMN))).collect::<Vec<_>>()
        };
        let mut include = rules(&self.columns.include);
        let mut exclude = rules(&self.columns.exclude);
        include.sort();
        exclude.sort();
        let masks = self.masks.iter().filter(|(p, _)| self.names_table(p, database, table));
        let masks = masks.map(|(p, with)| format!("{:?} {with:?}", p.part(super::COLUMN)));
        include.into_iter().chain(["-".to_owned()]).chain(exclude).chain(masks).collect()
    }
}

fn whole_or_left(decision: Decision) -> Carriage {
    match decision {
        Decision::Carried => Carriage::Whole,
        Decision::Left => Carriage::Left,
    }
}

fn name(table: &TableRef, session: Session<'_>) -> String {
    format!("{}.{}", table.database.as_deref().unwrap_or(session.database), table.table)
}

/// The part of a DROP that concerns what is carried. Names are written with their databases: the
/// statement's own default database need not be carried.
fn drop_tables<'t>(
    what: &str,
    if_exists: bool,
    tables: impl Iterator<Item = &'t TableRef>,
    session: Session<'_>,
) -> Carriage {
    let names: Vec<String> = tables
        .map(|table| {
            let database = table.database.as_deref().unwrap_or(session.database);
            format!("{}.{}", quote(database), quote(&table.table))
        })
        .collect();
    let condition = if if_exists { " IF EXISTS" } else { "" };
    let sql = format!("DROP {what}{condition} {}", names.join(", ")).into_bytes();
    Carriage::Changed { sql: Some(sql), without_database: true, without_foreign_key_checks: true }
}
