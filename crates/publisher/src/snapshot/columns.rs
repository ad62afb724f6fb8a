//! A table's columns, from the server's catalog to the shape that its rows have on the wire.

use super::json;
use crate::Error;
use crate::filter::Filter;
use mysql_async::Row;
use std::sync::Arc;
use tributary_binlog::{Room, Selection};
use tributary_schema::quote;
use tributary_wire::{ColumnKind, ColumnShape, TableShape};

/// How a table's rows are selected, and what they become.
#[derive(Debug, Clone)]
pub struct Columns {
    /// The shape of its rows as they are sent.
    pub(crate) shape: Arc<TableShape>,
    /// The shape of its rows as they are read: all columns.
    pub(crate) whole: Arc<TableShape>,
    /// What becomes of them in between; `None` where all are sent as they are.
    pub(crate) selection: Option<Selection>,
    /// One expression for each column that is read.
    pub(crate) select: String,
    /// The same, one by one.
    expressions: Vec<String>,
    rooms: Vec<Room>,
    /// Character set and collation of the key's text columns, in key order.
    pub(crate) key_text: Vec<Option<(String, String)>>,
    /// It can be read range by range.
    pub by_range: bool,
}

/// Where a collation's number stands by its full name. MariaDB has, from 10.10 on, collations for several
/// character sets that its other list names without one.
pub(crate) const NUMBERS: &str = "information_schema.collations o ON o.collation_name";
pub(crate) const NUMBERS_OF_FULL_NAMES: &str =
    "information_schema.collation_character_set_applicability o ON o.full_collation_name";

/// The question whose answer [`Columns::read`] takes; `database` and `table` are quoted strings.
pub(crate) fn question(database: &str, table: &str, numbers: &str) -> String {
    format!(
        "SELECT c.column_name, c.data_type, c.column_type, c.is_nullable, c.character_set_name, \
         c.collation_name, COALESCE(o.id, 0), COALESCE(c.datetime_precision, 0), \
         COALESCE(c.numeric_scale, 0), COALESCE(c.character_octet_length, 0), \
         COALESCE(k.seq_in_index, 0), COALESCE(k.sub_part, 0), \
         COALESCE(c.numeric_precision, 0) \
         FROM information_schema.columns c \
         LEFT JOIN {numbers} = c.collation_name \
         LEFT JOIN information_schema.statistics k ON k.table_schema = c.table_schema \
         AND k.table_name = c.table_name AND k.column_name = c.column_name \
         AND k.index_name = 'PRIMARY' \
         WHERE c.table_schema = {database} AND c.table_name = {table} \
         ORDER BY c.ordinal_position"
    )
}

struct Column {
    shape: ColumnShape,
    select: String,
    text: Option<(String, String)>,
    key: u64,
    /// Only its beginning is part of the key.
    in_part: bool,
    room: Room,
}

impl Columns {
    /// Reads the answer to [`question`]; `None` for a table that is not there.
    ///
    /// # Errors
    /// [`Error::Snapshot`] for a column of a type that is not known here.
    pub(crate) fn read(database: &str, table: &str, rows: Vec<Row>) -> Result<Option<Self>, Error> {
        let columns = rows.into_iter().map(|row| {
            column(&row).ok_or_else(|| Error::Snapshot {
                reason: format!(
                    "{database}.{table} has a column that this build does not know ({})",
                    row.get_opt::<String, _>(2).and_then(Result::ok).unwrap_or_default()
                ),
            })
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        if columns.is_empty() {
            return Ok(None);
        }
        let mut key: Vec<usize> = (0..columns.len()).filter(|&at| columns[at].key > 0).collect();
        // As the log does: a key of beginnings is none.
        if key.iter().any(|&at| columns[at].in_part) {
            key.clear();
        }
        key.sort_by_key(|&at| columns[at].key);
        let primary_key: Vec<u16> = key.iter().filter_map(|&at| u16::try_from(at).ok()).collect();
        let key_text = key.iter().map(|&at| columns[at].text.clone()).collect();
        let ordered = key.iter().all(|&at| is_ordered(columns[at].shape.kind));
        let expressions: Vec<String> = columns.iter().map(|c| c.select.clone()).collect();
        let select = expressions.join(",");
        let rooms = columns.iter().map(|column| column.room).collect();
        let by_range = !primary_key.is_empty() && ordered;
        let columns = columns.into_iter().map(|column| column.shape).collect();
        let (database, table) = (database.to_owned(), table.to_owned());
        let shape = Arc::new(TableShape { database, table, columns, primary_key });
        let whole = Arc::clone(&shape);
        let selection = None;
        Ok(Some(Self { shape, whole, selection, select, expressions, rooms, key_text, by_range }))
    }

    /// Without what the filter leaves out. What it does not have to know of a value is not read.
    ///
    /// # Errors
    /// [`Error::Snapshot`] for rules with which rows could not be copied exactly.
    pub(crate) fn narrowed(self, filter: &Filter) -> Result<Self, Error> {
        let TableShape { database, table, .. } = &*self.whole;
        if !filter.touches(database, table) {
            return Ok(self);
        }
        let room = |at: usize| self.rooms.get(at).copied().unwrap_or_default();
        let choose = |_, column: &ColumnShape| filter.column(database, table, &column.name);
        let selection = Selection::new(&self.whole, room, choose, filter.digest());
        let selection = selection.map_err(|error| Error::Snapshot {
            reason: format!(
                "the filter's rules for the columns of {database}.{table} cannot be kept: {error}"
            ),
        })?;
        let Some(selection) = selection else { return Ok(self) };
        let expression = |(at, expression): (usize, &String)| {
            if selection.reads(at) { expression.clone() } else { "NULL".to_owned() }
        };
        let expressions = self.expressions.iter().enumerate().map(expression);
        let select = expressions.collect::<Vec<_>>().join(",");
        // Hashes have another order than their values: no range of them is a range of the others.
        let keeps = |&at: &u16| selection.keeps(usize::from(at));
        let by_range = self.by_range && self.whole.primary_key.iter().all(keeps);
        let shape = Arc::clone(selection.shape());
        Ok(Self { shape, selection: Some(selection), select, by_range, ..self })
    }

    /// The key's columns, quoted.
    pub(crate) fn key_names(&self) -> Vec<String> {
        let name = |&at: &u16| quote(&self.shape.columns[usize::from(at)].name);
        self.shape.primary_key.iter().map(name).collect()
    }
}

/// Kinds whose values can be written as a literal that compares exactly as the column does.
fn is_ordered(kind: ColumnKind) -> bool {
    use ColumnKind as K;
    matches!(
        kind,
        K::Integer
            | K::Decimal
            | K::Bit
            | K::Year
            | K::Date
            | K::Time
            | K::DateTime
            | K::Timestamp
            | K::Text
            | K::Binary
    )
}

fn column(row: &Row) -> Option<Column> {
    let text = |index: usize| row.get_opt::<Option<String>, _>(index)?.ok();
    let number = |index: usize| row.get_opt::<u64, _>(index)?.ok();
    let name = text(0)??;
    let (data_type, column_type) = (text(1)??.to_lowercase(), text(2)??.to_lowercase());
    let quoted = quote(&name);
    let mut select = quoted.clone();
    let (mut collation, mut scale) = (number(6)?, 0);
    use ColumnKind as K;
    let kind = match data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => K::Integer,
        "float" => K::Float,
        "double" => K::Double,
        "decimal" => {
            scale = number(8)?;
            K::Decimal
        }
        "bit" => {
            scale = digits(&column_type);
            K::Bit
        }
        "year" => K::Year,
        "date" => K::Date,
        "time" | "datetime" | "timestamp" => {
            scale = number(7)?;
            match data_type.as_str() {
                "time" => K::Time,
                "datetime" => K::DateTime,
                _ => K::Timestamp,
            }
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            if data_type == "char" {
                scale = number(9)?;
            }
            K::Text
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            if data_type == "binary" {
                scale = number(9)?;
            }
            collation = 63;
            K::Binary
        }
        // Their numbers, which no change of a member's name touches.
        "enum" | "set" => {
            select = format!("CAST({quoted} AS UNSIGNED)");
            if data_type == "enum" { K::Enum } else { K::Set }
        }
        "json" => {
            select = json::selection(&quoted);
            collation = 0;
            K::Json
        }
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geomcollection" | "geometrycollection" => K::Geometry,
        "vector" => K::Vector,
        // As they lie in the log.
        "inet6" | "uuid" => {
            select = format!("CAST({quoted} AS BINARY(16))");
            (collation, scale) = (63, 16);
            K::Binary
        }
        "inet4" => {
            select = format!("CAST({quoted} AS BINARY(4))");
            (collation, scale) = (63, 4);
            K::Binary
        }
        _ => return None,
    };
    let bytes = match data_type.as_str() {
        "tinyint" => 1,
        "smallint" => 2,
        "mediumint" => 3,
        "int" => 4,
        "bigint" => 8,
        _ => number(9)?.max(scale),
    };
    let digits = number(12)?;
    let size = match kind {
        K::Integer | K::Text | K::Binary => bytes,
        K::Decimal => digits,
        K::Enum | K::Set => members(&column_type),
        _ => 0,
    };
    let shape = ColumnShape {
        name,
        kind,
        unsigned: column_type.contains("unsigned"),
        nullable: text(3)?? == "YES",
        collation: u16::try_from(collation).ok()?,
        scale: u16::try_from(scale).unwrap_or(u16::MAX),
        size: u32::try_from(size).unwrap_or(u32::MAX),
    };
    let text = text(4)?.zip(text(5)?).filter(|_| kind == K::Text);
    let room = Room {
        bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        digits: u32::try_from(digits).ok()?,
    };
    let (key, in_part) = (number(10)?, number(11)? > 0);
    Some(Column { shape, select, text, key, in_part, room })
}

/// How many members `enum('a','b''c')` has: each stands between quotes, and a quote in it is written twice.
fn members(column_type: &str) -> u64 {
    let inner = column_type.split_once('(').map_or("", |(_, inner)| inner);
    let (mut count, mut inside) = (0, false);
    for c in inner.chars() {
        inside ^= c == '\'';
        count += u64::from(!inside && c == ',');
    }
    count + 1
}

/// The number in `bit(12)`.
fn digits(column_type: &str) -> u64 {
    let digits: String = column_type.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(1)
}
