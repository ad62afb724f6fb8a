//! The filter against the tables that are there: what it cannot do exactly, what it means that a former
//! one did not, and which of its patterns mean nothing.

use super::definition::{identifiers, same};
use super::{COLUMN, DATABASE, Decision, Filter, TABLE};
use crate::Error;
use crate::source::Source;
use std::collections::{HashMap, HashSet};
use tributary_binlog::Choice;

/// What a filter meets on a server.
#[derive(Debug, Default)]
pub struct Survey {
    /// Tables and views that are carried.
    pub carried: usize,
    /// Tables and views that stay on the device.
    pub left: usize,
    /// Columns that are left out or masked.
    pub columns: usize,
    /// What cannot be done exactly, each with its remedy; at most [`FINDINGS_MAX`].
    pub faults: Vec<String>,
    /// What is carried now and was not, or not like this, under the former filter; as many.
    pub widened: Vec<String>,
    /// Patterns that match nothing.
    pub idle: Vec<String>,
}

/// So many findings of a kind are told.
pub const FINDINGS_MAX: usize = 10;

/// A column as `information_schema` describes it.
#[derive(Debug, Clone, Default)]
pub struct ColumnFacts {
    /// Database and table.
    pub table: (String, String),
    /// Its name.
    pub name: String,
    /// It may be NULL.
    pub nullable: bool,
    /// `varchar`, `int` …
    pub data_type: String,
    /// The most characters of a string.
    pub characters: Option<u64>,
    /// It has a default other than NULL.
    pub has_default: bool,
    /// How a generated one is made; empty for an ordinary one.
    pub expression: String,
}

/// A unique index's part: database and table, index, column.
#[derive(Debug, Clone)]
pub struct KeyFacts {
    /// Database and table.
    pub table: (String, String),
    /// `PRIMARY`, or the index's name.
    pub index: String,
    /// The column; `None` for an expression.
    pub column: Option<String>,
}

/// Takes what a server has, table by table, so that memory does not depend on how many there are.
pub(crate) struct Surveyor<'f> {
    filter: &'f Filter,
    former: Option<&'f Filter>,
    same_salt: bool,
    /// Tables with rules of columns that were there before their keys were asked for. One that is made
    /// meanwhile is judged when the log tells of it.
    known: HashSet<(String, String)>,
    keys: HashMap<(String, String), Vec<KeyFacts>>,
    used: Vec<bool>,
    table: Vec<ColumnFacts>,
    survey: Survey,
}

/// Asks the server for its tables and holds the filter against them. `former` is the one under which the
/// device was published until now, and whether it had the same salt.
///
/// # Errors
/// As every question.
pub async fn look(
    source: &mut Source,
    filter: &Filter,
    former: Option<(&Filter, bool)>,
) -> Result<Survey, Error> {
    let mut surveyor = Surveyor::new(filter, former);
    for database in source.databases().await? {
        surveyor.database(&database);
    }
    source.tables(|table, has_rows| surveyor.table(table, has_rows)).await?;
    source.unique_columns(|key| surveyor.key(key)).await?;
    source.columns(|column| surveyor.column(column)).await?;
    Ok(surveyor.finish())
}

// === impl Surveyor ===

impl<'f> Surveyor<'f> {
    pub(crate) fn new(filter: &'f Filter, former: Option<(&'f Filter, bool)>) -> Self {
        Self {
            filter,
            former: former.map(|(former, _)| former),
            same_salt: former.is_none_or(|(_, same)| same),
            known: HashSet::new(),
            keys: HashMap::new(),
            used: vec![false; filter.patterns().count()],
            table: Vec::new(),
            survey: Survey::default(),
        }
    }

    /// A database, which may have no table.
    pub(crate) fn database(&mut self, name: &str) {
        let filter = self.filter;
        for (pattern, used) in filter.patterns().zip(&mut self.used) {
            *used |= pattern.len() == 1 && filter.at(pattern, DATABASE, name);
        }
    }

    /// A table. All are told before the first key.
    pub(crate) fn table(&mut self, table: (String, String), has_rows: bool) {
        if has_rows && self.filter.touches(&table.0, &table.1) {
            self.known.insert(table);
        }
    }

    /// A part of a unique index. Only tables with rules of columns are remembered.
    pub(crate) fn key(&mut self, key: KeyFacts) {
        if self.filter.touches(&key.table.0, &key.table.1) {
            self.keys.entry(key.table.clone()).or_default().push(key);
        }
    }

    /// A column; those of one table follow one another.
    pub(crate) fn column(&mut self, column: ColumnFacts) {
        if self.table.first().is_some_and(|first| first.table != column.table) {
            self.judge();
        }
        self.table.push(column);
    }

    pub(crate) fn finish(mut self) -> Survey {
        self.judge();
        let idle = self.filter.patterns().zip(&self.used).filter(|(_, used)| !**used);
        self.survey.idle = idle.map(|(pattern, _)| pattern.text().to_owned()).collect();
        self.survey
    }

    fn judge(&mut self) {
        let columns = std::mem::take(&mut self.table);
        let Some((database, table)) = columns.first().map(|column| column.table.clone()) else {
            return;
        };
        self.mark(&database, &table, &columns);
        let filter = self.filter;
        let decision = filter.decide(&database, &table);
        if decision == Decision::Left {
            self.survey.left += 1;
            return;
        }
        self.survey.carried += 1;
        self.compare(&database, &table, &columns);
        if !self.known.contains(&(database.clone(), table.clone())) {
            return;
        }
        let choice = |column: &str| filter.column(&database, &table, column);
        let keys = self.keys.remove(&(database.clone(), table.clone())).unwrap_or_default();
        let ruled = columns.iter().filter(|column| choice(&column.name) != Choice::Keep);
        self.survey.columns += ruled.clone().count();
        let exact = ruled.filter_map(|column| {
            let fault = fault(column, choice(&column.name), &keys)?;
            Some(format!("{database}.{table}.{}: {fault}", column.name))
        });
        let leaks = columns.iter().filter(|column| choice(&column.name) == Choice::Keep);
        let leaks = leaks.filter_map(|column| {
            let words = identifiers(&column.expression);
            let from = columns.iter().find(|other| {
                choice(&other.name) != Choice::Keep && words.iter().any(|word| same(word, &other.name))
            })?;
            Some(format!(
                "{database}.{table}.{}: it is generated from {}, and would tell of it: exclude or mask it as well",
                column.name, from.name
            ))
        });
        let faults = exact.chain(leaks).collect::<Vec<_>>();
        keep(&mut self.survey.faults, faults);
    }

    fn mark(&mut self, database: &str, table: &str, columns: &[ColumnFacts]) {
        let filter = self.filter;
        for (pattern, used) in filter.patterns().zip(&mut self.used) {
            let names_table = filter.at(pattern, DATABASE, database)
                && (pattern.len() == 1 || filter.at(pattern, TABLE, table));
            let names_column = |column: &ColumnFacts| pattern.matches(COLUMN, &column.name, true);
            *used |= names_table && (pattern.len() < 3 || columns.iter().any(names_column));
        }
    }

    /// What the former filter left of this table, which is carried now.
    fn compare(&mut self, database: &str, table: &str, columns: &[ColumnFacts]) {
        let Some(former) = self.former else { return };
        if former.decide(database, table) == Decision::Left {
            return keep(&mut self.survey.widened, [format!("table {database}.{table}")]);
        }
        let table_keys = self.keys.get(&(database.to_owned(), table.to_owned()));
        let is_key = |column: &ColumnFacts| {
            let is = |key: &KeyFacts| {
                key.index == "PRIMARY" && key.column.as_ref().is_some_and(|k| same(k, &column.name))
            };
            table_keys.is_some_and(|keys| keys.iter().any(is))
        };
        let differs = |column: &&ColumnFacts| {
            let then = former.column(database, table, &column.name);
            let now = self.filter.column(database, table, &column.name);
            match (then, now) {
                (Choice::Hash, Choice::Hash) => !self.same_salt,
                // By its hash no row is found that was carried under its own key.
                (Choice::Keep, Choice::Hash) if is_key(column) => true,
                // What lay there before stays there; nothing that is carried now is missing.
                (Choice::Keep, _) | (_, Choice::Drop | Choice::Null | Choice::Empty) => false,
                (then, now) => then != now,
            }
        };
        let columns = columns.iter().filter(differs);
        let columns =
            columns.map(|c| format!("column {database}.{table}.{}", c.name)).collect::<Vec<_>>();
        keep(&mut self.survey.widened, columns);
    }
}

fn keep(findings: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    findings.extend(more);
    findings.truncate(FINDINGS_MAX);
}

/// Why a column cannot be left out or masked like this, and what to do instead.
fn fault(column: &ColumnFacts, choice: Choice, keys: &[KeyFacts]) -> Option<String> {
    const DATES_AND_MEMBERS: [&str; 8] =
        ["date", "time", "datetime", "timestamp", "year", "enum", "set", "uuid"];
    const SHAPES: [&str; 9] = [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geomcollection",
        "vector",
    ];
    let data_type = column.data_type.to_lowercase();
    let is_shape = SHAPES.contains(&data_type.as_str()) || data_type == "geometrycollection";
    let in_index =
        |key: &KeyFacts| key.column.as_ref().is_some_and(|name| same(name, &column.name));
    let is_primary = keys.iter().any(|key| key.index == "PRIMARY" && in_index(key));
    let is_unique = keys.iter().any(|key| key.index != "PRIMARY" && in_index(key));
    let is_distinct = choice == Choice::Hash && column.characters.is_some_and(|n| n >= 32);
    let constant = match choice {
        Choice::Empty => true,
        Choice::Drop => !column.nullable || column.has_default,
        Choice::Hash => !is_distinct,
        Choice::Keep | Choice::Null => false,
    };
    if !keys.iter().any(|key| key.index == "PRIMARY") {
        return Some("the table has no primary key, so that every column is needed to find a row: give it one, or exclude the table".to_owned());
    }
    if is_primary && !is_distinct {
        return Some("it is part of the primary key, without which rows cannot be told apart: mask it with \"hash\" where it has 32 characters or more, or exclude the table".to_owned());
    }
    if is_unique && constant {
        return Some("a UNIQUE index would hold the same value twice at the target: let it be NULL and mask it with \"null\", or with \"hash\" where it has 32 characters or more, or exclude the table".to_owned());
    }
    match choice {
        Choice::Null if !column.nullable => {
            Some("it is NOT NULL: mask it with \"empty\"".to_owned())
        }
        Choice::Drop | Choice::Empty
            if is_shape && (choice == Choice::Empty || !column.nullable) =>
        {
            Some(format!(
                "a {data_type} has no empty value: let it be NULL and mask it with \"null\", or exclude the table"
            ))
        }
        Choice::Hash if is_shape || DATES_AND_MEMBERS.contains(&data_type.as_str()) => {
            Some(format!("a {data_type} cannot hold a hash: mask it with \"null\" or \"empty\""))
        }
        _ => None,
    }
}
