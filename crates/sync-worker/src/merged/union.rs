//! From a device's table and the shared one, as it is, to what makes the shared one hold both. Pure.
//!
//! The shared table is the union of the devices' columns. Values are exact; constraints are the devices'
//! business: columns outside of the key take NULL, which is what they hold for devices that lack them;
//! UNIQUE indexes become plain ones, or a device whose version lacks one could be refused; there are no
//! foreign keys, checks, defaults or AUTO_INCREMENT. Nothing is dropped or made narrower.

use crate::merged::column::Type;
use crate::merged::expression;
use crate::merged::shape::{Column, Index, Key, MIXED, Shape};
use crate::watermark::Parked;
use tributary_schema::quote;

/// What has to be run, in order. Empty when the shared table holds the device's already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// CREATE TABLE or ALTER TABLE, without which rows would not fit.
    pub table: Option<String>,
    /// Indexes, which only serve readers.
    pub indexes: Vec<String>,
}

/// A device's id, as every shared table has it.
const DEVICE: &str = "VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL";
/// The index of a table without a key.
const DEVICE_INDEX: &str = "tributary_device";
/// Character sets whose text is the same after it was turned to utf8mb4.
const UNICODE: [&str; 5] = ["ascii", "latin1", "utf8", "utf8mb3", "utf8mb4"];
const WIDEST: (&str, &str) = ("utf8mb4", "utf8mb4_bin");
/// The longest VARCHAR in utf8mb4, in characters.
const VARCHAR_MAX: u32 = 16_383;
const LONG: u8 = 4;

/// The shared table and its column of devices.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its database.
    pub database: &'a str,
    /// The table.
    pub table: &'a str,
    /// The column that says whose a row is.
    pub device_column: &'a str,
}

/// The steps that are left.
///
/// # Errors
/// Why no shared table holds both, with what has to be done about it.
pub fn steps(place: Place<'_>, own: &Shape, shared: Option<&Shape>) -> Result<Steps, Parked> {
    if let Some(column) = own.column(place.device_column) {
        return Err(place.taken(&column.name));
    }
    // The text of a ZEROFILL column, which the shared table has without the zeros.
    let is_padded = |expression: &str| {
        let mut bases = own.columns.iter().filter(|base| is_base(&base.name, expression));
        bases.any(|base| base.text.contains("zerofill"))
    };
    let is_unreadable = |column: &&Column| {
        let is = |it: &String| !expression::has_plain_literals(it) || is_padded(it);
        column.generated.as_ref().is_some_and(is)
    };
    if let Some(column) = own.columns.iter().find(is_unreadable) {
        return Err(place.unreadable(column));
    }
    let Some(shared) = shared else {
        let table = Some(create(place, own));
        return Ok(Steps { table, indexes: indexes(place, own, &[]) });
    };
    let key = without_device(place, shared)?;
    if !key.is_like(&own.key) {
        return Err(place.other_key(&own.key, &key));
    }
    let mut clauses = Vec::new();
    for column in &own.columns {
        match shared.column(&column.name) {
            None => clauses.push(format!("ADD COLUMN {}", definition(&plain(column), &own.key))),
            Some(found) => {
                let columns = own.columns.iter().chain(&shared.columns);
                let mut expressions = columns.filter_map(|column| column.generated.as_deref());
                // What is computed of it would change with its type, for every device.
                let may_differ = !expressions.any(|expression| is_base(&column.name, expression))
                    || (found.data.reads_like(&column.data)
                        && found.collation == column.collation
                        && !found.mixed);
                let joined = join(found, column, &own.key)
                    .filter(|_| may_differ)
                    .ok_or_else(|| place.conflict(column, found, own.key != Key::None))?;
                if joined != *found {
                    clauses.push(format!("MODIFY COLUMN {}", definition(&joined, &own.key)));
                }
            }
        }
    }
    let alter = || format!("ALTER TABLE {} {}", place.name(), clauses.join(", "));
    let table = (!clauses.is_empty()).then(alter);
    Ok(Steps { table, indexes: indexes(place, own, &shared.indexes) })
}

/// True when an expression may name the column.
fn is_base(column: &str, expression: &str) -> bool {
    expression.to_lowercase().contains(&quote(column).to_lowercase())
}

/// The key of a shared table for the rows of one device.
fn without_device(place: Place<'_>, shared: &Shape) -> Result<Key, Parked> {
    let is_device = |name: &str| name.eq_ignore_ascii_case(place.device_column);
    if !shared.columns.first().is_some_and(|first| is_device(&first.name)) {
        return Err(place.not_ours());
    }
    Ok(match &shared.key {
        Key::None => Key::None,
        Key::Primary(parts) if parts.first().is_some_and(|(name, _)| is_device(name)) => {
            Key::Primary(parts[1..].to_vec())
        }
        Key::Unique(keys) if keys.iter().all(|key| key.first().is_some_and(|n| is_device(n))) => {
            Key::Unique(keys.iter().map(|key| key[1..].to_vec()).collect())
        }
        Key::Primary(_) | Key::Unique(_) => return Err(place.not_ours()),
    })
}

/// The column that holds the values of both.
fn join(found: &Column, own: &Column, key: &Key) -> Option<Column> {
    if found.generated.is_some() || own.generated.is_some() {
        let same = (&found.generated, &found.data) == (&own.generated, &own.data);
        return (same && found.collation == own.collation).then(|| found.clone());
    }
    let in_key = key.has(&own.name);
    if found.mixed && found.data.is_text() && own.data.is_said_by_text() {
        // A number in a text is found by no comparison, so it may not be what tells rows apart.
        return (!in_key && *key != Key::None).then(|| found.clone());
    }
    let data = found.data.join(&own.data)?;
    let (data, collation) = match (&found.collation, &own.collation) {
        // The numbers of ENUM and SET are in no character set.
        _ if matches!(data, Type::Members { .. }) => (data, found.collation.clone()),
        (Some(found), Some(own)) if found == own => (data, Some(found.clone())),
        // Which rows are the same is decided by the collation of a key, and by all bytes without one.
        (Some((a, _)), Some((b, _))) if a == b && !in_key => (data, found.collation.clone()),
        (Some((a, _)), Some((b, _))) if !in_key && *key != Key::None => {
            let known = |charset: &str| UNICODE.contains(&charset);
            if !known(a) || !known(b) {
                return None;
            }
            let collation = match &found.collation {
                Some((charset, _)) if charset == WIDEST.0 => found.collation.clone(),
                _ => Some((WIDEST.0.to_owned(), WIDEST.1.to_owned())),
            };
            (unicode(data), collation)
        }
        (None, None) => (data, None),
        _ => return None,
    };
    let text = if data == found.data { found.text.clone() } else { data.sql() };
    Some(Column { name: found.name.clone(), text, data, collation, ..found.clone() })
}

/// The type that holds as many characters when each takes four bytes.
fn unicode(data: Type) -> Type {
    match data {
        Type::Text(_) => Type::Text(LONG),
        Type::Char { length, fixed: false } if length > VARCHAR_MAX => Type::Text(LONG),
        data => data,
    }
}

fn create(place: Place<'_>, own: &Shape) -> String {
    let device = quote(place.device_column);
    let mut parts = vec![format!("{device} {DEVICE}")];
    parts.extend(own.columns.iter().map(|own_column| definition(&plain(own_column), &own.key)));
    match &own.key {
        Key::None => parts.push(format!("KEY {} ({device})", quote(DEVICE_INDEX))),
        Key::Primary(key) => parts.push(format!("PRIMARY KEY ({device},{})", columns(key))),
        Key::Unique(keys) => parts.extend(keys.iter().map(|key| {
            let names: Vec<String> = key.iter().map(|name| quote(name)).collect();
            format!("UNIQUE KEY ({device},{})", names.join(","))
        })),
    }
    format!(
        "CREATE TABLE {} ({}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
        place.name(),
        parts.join(", ")
    )
}

/// A device's comment says nothing here.
fn plain(column: &Column) -> Column {
    Column { mixed: false, ..column.clone() }
}

fn definition(column: &Column, key: &Key) -> String {
    let collate = column.collation.as_ref().map_or_else(String::new, |(charset, collation)| {
        format!(" CHARACTER SET {charset} COLLATE {collation}")
    });
    let head = format!("{} {}{collate}", quote(&column.name), column.data.sql());
    match &column.generated {
        Some(generated) => format!("{head} GENERATED ALWAYS AS {generated}"),
        None if key.has(&column.name) => format!("{head} NOT NULL"),
        None if column.mixed => format!("{head} NULL DEFAULT NULL COMMENT '{MIXED}'"),
        None => format!("{head} NULL DEFAULT NULL"),
    }
}

/// The indexes that the shared table lacks, by name, the device in front of what was unique.
fn indexes(place: Place<'_>, own: &Shape, found: &[Index]) -> Vec<String> {
    let lacks = |index: &&Index| {
        !index.columns.is_empty() && found.iter().all(|f| !f.name.eq_ignore_ascii_case(&index.name))
    };
    let add = |index: &Index| {
        let (table, name, parts) = (place.name(), quote(&index.name), columns(&index.columns));
        match index.method.as_str() {
            "BTREE" | "HASH" if index.unique => {
                let device = quote(place.device_column);
                Some(format!("ALTER TABLE {table} ADD INDEX {name} ({device},{parts})"))
            }
            "BTREE" | "HASH" => Some(format!("ALTER TABLE {table} ADD INDEX {name} ({parts})")),
            "FULLTEXT" => {
                // A server's own number of the prefix is none.
                let names: Vec<String> = index.columns.iter().map(|(n, _)| quote(n)).collect();
                let parts = names.join(",");
                Some(format!("ALTER TABLE {table} ADD FULLTEXT INDEX {name} ({parts})"))
            }
            // SPATIAL and VECTOR take no NULL.
            _ => None,
        }
    };
    own.indexes.iter().filter(lacks).filter_map(add).collect()
}

fn columns(parts: &[(String, Option<u32>)]) -> String {
    let part = |(name, prefix): &(String, Option<u32>)| match prefix {
        Some(length) => format!("{}({length})", quote(name)),
        None => quote(name),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

// === impl Place ===

impl Place<'_> {
    /// The table's name, quoted.
    pub fn name(&self) -> String {
        format!("{}.{}", quote(self.database), quote(self.table))
    }
}

#[cfg(test)]
#[path = "union_tests.rs"]
mod tests;
