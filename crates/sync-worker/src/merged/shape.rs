//! What a table is, as far as a shared one has to be like it; read from a server.

use crate::catalog::place;
use crate::merged::column::Type;
use crate::merged::expression::balanced;
use crate::presence;
use crate::session::Session;
use crate::sql_error::SqlError;
use mysql_async::Row;
use mysql_async::prelude::FromValue;
use std::collections::{BTreeMap, BTreeSet};
use tributary_schema::quote;

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// What tells its rows apart.
    pub key: Key,
    /// Its other indexes.
    pub indexes: Vec<Index>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as the server says it, for a person.
    pub text: String,
    /// Its type.
    pub data: Type,
    /// Character set and collation, for character columns.
    pub collation: Option<(String, String)>,
    /// `(expression) STORED` or `VIRTUAL`: the server computes it.
    pub generated: Option<String>,
    /// Its comment is [`MIXED`].
    pub mixed: bool,
}

/// The comment of a shared text column in which someone lets numbers and dates stand as text.
pub const MIXED: &str = "mixed";

/// What tells rows apart. Columns in lower case; a number is the length of a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Key {
    /// Nothing.
    #[default]
    None,
    /// The primary key.
    Primary(Vec<(String, Option<u32>)>),
    /// UNIQUE indexes of columns that cannot be NULL, of which the log names one.
    Unique(BTreeSet<Vec<String>>),
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its columns; a number is the length of a prefix. Empty for one with an expression.
    pub columns: Vec<(String, Option<u32>)>,
    /// It is UNIQUE.
    pub unique: bool,
    /// `BTREE`, `FULLTEXT`, …
    pub method: String,
    /// It holds whole columns that cannot be NULL.
    whole: bool,
}

// === impl Shape ===

impl Shape {
    /// Reads a table, and keeps it as it is until the transaction ends that this is a part of; `None` when
    /// there is none, or a view.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn hold(
        session: &mut Session,
        database: &str,
        table: &str,
    ) -> Result<Option<Self>, SqlError> {
        const OPERATION: &str = "read a table's shape";
        if !presence::hold(session, database, table, None).await? {
            return Ok(None);
        }
        let place = place(database, table);
        let sql = format!(
            "SELECT column_name, column_type, character_set_name, collation_name, extra, column_comment \
             FROM information_schema.columns WHERE {place} AND EXISTS (SELECT 1 \
             FROM information_schema.tables t WHERE t.{} AND t.table_type='BASE TABLE') \
             ORDER BY ordinal_position",
            place.replace(" AND ", " AND t.")
        );
        let rows: Vec<Row> = session.rows(OPERATION, &sql).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let unreadable = || SqlError::unreadable(OPERATION);
        let mut columns: Vec<Column> =
            rows.into_iter().map(column).collect::<Option<_>>().ok_or_else(unreadable)?;
        if columns.iter().any(|column| column.generated.is_some()) {
            let sql = format!("SHOW CREATE TABLE {}.{}", quote(database), quote(table));
            let mut rows: Vec<Row> = session.rows(OPERATION, &sql).await?;
            let definition = rows.pop().and_then(|mut row| text(&mut row, 1));
            note_expressions(&mut columns, &definition.ok_or_else(unreadable)?);
        }
        let sql = format!(
            "SELECT s.index_name, s.column_name, CAST(s.sub_part AS CHAR), s.non_unique=0, s.index_type, \
             COALESCE(c.is_nullable, 'YES')='NO' FROM information_schema.statistics s \
             LEFT JOIN information_schema.columns c ON c.table_schema=s.table_schema \
             AND c.table_name=s.table_name AND c.column_name=s.column_name \
             WHERE s.{} ORDER BY s.index_name, s.seq_in_index",
            place.replace(" AND ", " AND s.")
        );
        let rows: Vec<Row> = session.rows(OPERATION, &sql).await?;
        let parts = rows.into_iter().map(part).collect::<Option<_>>().ok_or_else(unreadable)?;
        let mut indexes = indexes(parts);
        let key = key(&mut indexes);
        Ok(Some(Self { columns, key, indexes }))
    }

    /// The engine of a table that keeps no rows, or keeps them elsewhere; `None` for one that is sound.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn unfit_engine(
        session: &mut Session,
        database: &str,
        table: &str,
    ) -> Result<Option<String>, SqlError> {
        let sql = format!(
            "SELECT CAST(engine AS CHAR) FROM information_schema.tables WHERE {} AND engine NOT IN ('InnoDB','MyISAM','Aria')",
            place(database, table)
        );
        let engines: Vec<String> = session.rows("read a table's engine", &sql).await?;
        Ok(engines.into_iter().next())
    }

    /// The column of this name, whatever its case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The names, quoted and with commas, of the columns that are written.
    pub fn written(&self) -> String {
        let written = self.columns.iter().filter(|column| column.generated.is_none());
        written.map(|column| quote(&column.name)).collect::<Vec<_>>().join(",")
    }
}

// === impl Key ===

impl Key {
    /// True for a column of it.
    pub fn has(&self, column: &str) -> bool {
        let is = |name: &String| name.eq_ignore_ascii_case(column);
        match self {
            Self::None => false,
            Self::Primary(parts) => parts.iter().any(|(name, _)| is(name)),
            Self::Unique(keys) => keys.iter().flatten().any(is),
        }
    }

    /// True when rows are the same by both.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Primary(a), Self::Primary(b)) => {
                a.len() == b.len() && a.iter().all(|part| b.contains(part))
            }
            _ => self == other,
        }
    }

    /// For a person: `primary key (a, b)`.
    pub fn text(&self) -> String {
        match self {
            Self::None => "no key".to_owned(),
            Self::Primary(parts) => {
                let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
                format!("primary key ({})", names.join(", "))
            }
            Self::Unique(keys) => {
                let keys = keys.iter().map(|key| format!("unique key ({})", key.join(", ")));
                keys.collect::<Vec<_>>().join(" and ")
            }
        }
    }
}

#[cfg(test)]
impl Index {
    /// An index of whole columns.
    pub(crate) fn new(name: &str, columns: &[&str], unique: bool) -> Self {
        let columns = columns.iter().map(|column| ((*column).to_owned(), None)).collect();
        Self { name: name.into(), columns, unique, method: "BTREE".into(), whole: false }
    }
}

fn column(mut row: Row) -> Option<Column> {
    let (name, kind) = (text(&mut row, 0)?, text(&mut row, 1)?);
    let collation = text(&mut row, 2).zip(text(&mut row, 3));
    let extra = text(&mut row, 4).unwrap_or_default().to_uppercase();
    // MySQL also says DEFAULT_GENERATED, of an ordinary column with an expression as default.
    let generated =
        ["VIRTUAL", "STORED"].into_iter().find(|word| extra.contains(&format!("{word} GENERATED")));
    Some(Column {
        name,
        data: Type::read(&kind),
        text: kind,
        collation,
        generated: generated.map(str::to_owned),
        mixed: text(&mut row, 5).is_some_and(|comment| comment == MIXED),
    })
}

/// Puts the expressions of generated columns before their words. `information_schema` has them too, on
/// MySQL with its own quotes around theirs.
fn note_expressions(columns: &mut [Column], definition: &str) {
    for column in columns {
        let Some(word) = &column.generated else { continue };
        let head = format!("\n  {} ", quote(&column.name));
        let line = definition.split_once(&head).map(|(_, line)| line);
        let expression = line.and_then(|line| line.split_once(" AS (")).map(|(_, rest)| rest);
        let expression = expression.and_then(balanced).unwrap_or_default();
        column.generated = Some(format!("({expression}) {word}"));
    }
}

/// Of an index: its name, a column, the length of a prefix, unique, the method, never NULL.
type Part = (String, Option<String>, Option<u32>, bool, String, bool);

fn part(mut row: Row) -> Option<Part> {
    let prefix = text(&mut row, 2).and_then(|length| length.parse().ok());
    let (unique, never_null) = (take::<u8>(&mut row, 3)? == 1, take::<u8>(&mut row, 5)? == 1);
    Some((text(&mut row, 0)?, text(&mut row, 1), prefix, unique, text(&mut row, 4)?, never_null))
}

fn indexes(parts: Vec<Part>) -> Vec<Index> {
    let mut indexes: BTreeMap<String, (Index, bool)> = BTreeMap::new();
    for (name, column, prefix, unique, method, never_null) in parts {
        let (index, has_expression) = indexes.entry(name.clone()).or_insert_with(|| {
            (Index { name, columns: Vec::new(), unique, method, whole: true }, false)
        });
        index.whole &= never_null && prefix.is_none() && column.is_some();
        *has_expression |= column.is_none();
        index.columns.extend(column.map(|column| (column, prefix)));
    }
    let finish = |(mut index, has_expression): (Index, bool)| {
        if has_expression {
            index.columns.clear();
        }
        index
    };
    indexes.into_values().map(finish).collect()
}

/// Takes the primary key, or what stands for it, out of the indexes.
fn key(indexes: &mut Vec<Index>) -> Key {
    let lower = |(name, prefix): &(String, Option<u32>)| (name.to_lowercase(), *prefix);
    if let Some(at) = indexes.iter().position(|index| index.name == "PRIMARY") {
        return Key::Primary(indexes.remove(at).columns.iter().map(lower).collect());
    }
    let tells = |index: &&Index| index.unique && index.whole && !index.columns.is_empty();
    let names = |index: &Index| index.columns.iter().map(|part| lower(part).0).collect();
    let keys: BTreeSet<Vec<String>> = indexes.iter().filter(tells).map(names).collect();
    indexes.retain(|index| !tells(&index));
    if keys.is_empty() { Key::None } else { Key::Unique(keys) }
}

fn take<T: FromValue>(row: &mut Row, index: usize) -> Option<T> {
    row.take_opt(index)?.ok()
}

fn text(row: &mut Row, index: usize) -> Option<String> {
    let bytes: Vec<u8> = take::<Option<Vec<u8>>>(row, index)??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
