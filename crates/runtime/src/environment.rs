//! Settings out of the environment: `TRIBUTARY_<SECTION>__<KEY>=value`, laid over those of the file.

use crate::ConfigError;
use config::{File, FileFormat, Map, Source, Value, ValueKind};
use std::collections::BTreeMap;
use std::ffi::OsString;

const PREFIX: &str = "TRIBUTARY_";
const SEPARATOR: &str = "__";
const ORIGIN: &str = "environment variable ";

/// Variables that begin with the prefix and are no settings of a service: they belong to the tools of
/// the workspace, to the command line and to the log.
pub const OTHER_VARIABLES: [&str; 11] = [
    "TRIBUTARY_CACHE",
    "TRIBUTARY_CASES",
    "TRIBUTARY_CONFIG",
    "TRIBUTARY_DEBIAN_MIRROR",
    "TRIBUTARY_KINDS",
    "TRIBUTARY_LOG",
    "TRIBUTARY_MARIADBD",
    "TRIBUTARY_MYSQLD",
    "TRIBUTARY_NATS_SERVER",
    "TRIBUTARY_SEED",
    "TRIBUTARY_SEEDS",
];

/// Lays every setting among `variables` over `table`.
pub(crate) fn overlay(
    table: &mut Map<String, Value>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), ConfigError> {
    // Sorted, so that an outcome does not depend on the order of the environment.
    let settings: BTreeMap<String, OsString> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&name.as_str()))
        .collect();
    for (name, value) in settings {
        let refused =
            |reason: &str| ConfigError::Variable { name: name.clone(), reason: reason.to_owned() };
        let value = value.into_string().map_err(|_| refused("is not UTF-8"))?;
        let path: Vec<&str> = name[PREFIX.len()..].split(SEPARATOR).collect();
        if path.iter().any(|segment| segment.is_empty()) {
            return Err(refused("names no key"));
        }
        set(table, &path, parse(&name, value))
            .ok_or_else(|| refused("lies inside a value that is no section"))?;
    }
    Ok(())
}

/// The name of the variable that would set `key`, a dotted path.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', SEPARATOR).to_uppercase())
}

/// A value stays text, and becomes a number or a boolean only where the struct asks for one: a
/// password of digits keeps its leading zeros. Only a list cannot be read from text later.
fn parse(name: &str, value: String) -> Value {
    let origin = format!("{ORIGIN}{name}");
    let list = value.starts_with('[').then(|| {
        let parsed = File::from_str(&format!("list = {value}"), FileFormat::Toml).collect().ok()?;
        match parsed.into_iter().next() {
            Some((_, Value { kind: kind @ ValueKind::Array(_), .. })) => Some(kind),
            _ => None,
        }
    });
    Value::new(Some(&origin), list.flatten().unwrap_or(ValueKind::String(value)))
}

/// Puts `value` where `path` leads, through sections that may not exist yet. `None` when one of them
/// is no section.
fn set(table: &mut Map<String, Value>, path: &[&str], value: Value) -> Option<()> {
    let (segment, rest) = path.split_first()?;
    let key = key(table, segment);
    if rest.is_empty() {
        table.insert(key, value);
        return Some(());
    }
    let section =
        table.entry(key).or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
    match &mut section.kind {
        ValueKind::Table(section) => set(section, rest, value),
        _ => None,
    }
}

/// The key that a segment means: one that the file has already, whatever its case. Otherwise a
/// segment in capitals is written in lower case, and one in mixed case is meant as it stands.
fn key(table: &Map<String, Value>, segment: &str) -> String {
    if let Some(known) = table.keys().find(|known| known.eq_ignore_ascii_case(segment)) {
        known.clone()
    } else if segment.chars().any(char::is_lowercase) {
        segment.to_owned()
    } else {
        segment.to_lowercase()
    }
}
