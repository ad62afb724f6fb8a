//! One struct per service, out of a TOML file and the environment.
//!
//! `TRIBUTARY_<SECTION>__<KEY>=value` goes before the file: `TRIBUTARY_NATS__URL` sets `url` in
//! `[nats]`, and `TRIBUTARY_DEVICE` a key at the top. Structs deny unknown fields, which then also
//! holds for what comes from the environment. A value in brackets that is a TOML array is a list.

pub use crate::environment::OTHER_VARIABLES;
use crate::environment::{overlay, variable};
use config::{ConfigError as Fault, File, FileFormat, Map, Source, Value, ValueKind};
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The configuration cannot be used. A restart changes nothing: correct it first.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read configuration file {path}: {source}; create it, or name another with --config or TRIBUTARY_CONFIG",
        path = path.display()
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {path} is not TOML: {reason}; correct that line", path = path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Line, column and fault. Not the line itself, which may hold a secret.
        reason: String,
    },
    /// A variable with our prefix is not a setting.
    #[error(
        "environment variable {name} {reason}; write TRIBUTARY_<SECTION>__<KEY>=<value>, or unset it"
    )]
    Variable {
        /// Which variable.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that the service needs is set nowhere.
    #[error("configuration key {key} is missing: set it in {file}, or as {variable}")]
    Missing {
        /// The dotted path of the key.
        key: String,
        /// The file that was read.
        file: String,
        /// The variable that would set it.
        variable: String,
    },
    /// A key is unknown, or its value is not what the service takes.
    #[error("configuration key {key} ({origin}): {reason}; correct or remove it")]
    Refused {
        /// The dotted path of the key.
        key: String,
        /// The file or the environment variable that it came from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads the file at `path`, if any, and lays the environment of this process over it.
///
/// # Errors
/// [`ConfigError`], which names the key and where it came from.
pub fn load<T: DeserializeOwned>(path: Option<&Path>) -> Result<T, ConfigError> {
    load_with(path, std::env::vars_os())
}

/// [`load`] with the environment as an argument, for tests.
///
/// # Errors
/// [`ConfigError`], which names the key and where it came from.
pub fn load_with<T: DeserializeOwned>(
    path: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<T, ConfigError> {
    let mut table = path.map_or_else(|| Ok(Map::new()), read)?;
    overlay(&mut table, variables)?;
    let root = Value::new(None, ValueKind::Table(table));
    root.clone().try_deserialize().map_err(|fault| explain(fault, &root, path))
}

fn read(path: &Path) -> Result<Map<String, Value>, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    File::from_str(&text, FileFormat::Toml).collect().map_err(|fault| ConfigError::Syntax {
        path: path.to_owned(),
        reason: without_excerpt(&fault.to_string()),
    })
}

/// A TOML error without the lines that quote the file: `3 | password = hunter2`.
fn without_excerpt(error: &str) -> String {
    let is_excerpt = |line: &str| {
        line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|')
    };
    error.lines().filter(|line| !is_excerpt(line)).collect::<Vec<_>>().join(": ")
}

/// Says which key is at fault and where it came from.
fn explain(fault: Fault, root: &Value, path: Option<&Path>) -> ConfigError {
    let file =
        path.map_or_else(|| "a file named with --config".to_owned(), |p| p.display().to_string());
    let (section, reason) = match fault {
        Fault::NotFound(key) => {
            return ConfigError::Missing { variable: variable(&key), key, file };
        }
        Fault::At { key, error, .. } => match *error {
            Fault::NotFound(field) => {
                let key = join(&key.unwrap_or_default(), &field);
                return ConfigError::Missing { variable: variable(&key), key, file };
            }
            error => (key.unwrap_or_default(), error.to_string()),
        },
        Fault::Type { key, unexpected, expected, .. } => {
            (key.unwrap_or_default(), format!("{unexpected} where {expected} is wanted"))
        }
        other => (String::new(), other.to_string()),
    };
    // serde names an unknown field in its message only.
    let unknown = reason.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    let key = match unknown {
        Some((field, _)) => join(&section, field),
        None => section,
    };
    let origin = origin(root, &key).map_or(file, str::to_owned);
    ConfigError::Refused { key, origin, reason }
}

fn join(section: &str, field: &str) -> String {
    if section.is_empty() { field.to_owned() } else { format!("{section}.{field}") }
}

/// The variable that set `key` or something under it; `None` when that was the file.
fn origin<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    if value.origin().is_some() {
        return value.origin();
    }
    let ValueKind::Table(table) = &value.kind else { return None };
    if key.is_empty() {
        return table.values().find_map(|child| origin(child, ""));
    }
    table.iter().find_map(|(name, child)| {
        let rest = key.strip_prefix(name.as_str())?;
        match rest.strip_prefix('.') {
            Some(rest) => origin(child, rest),
            // The name may be the beginning of another; `[` leads into a list.
            None if rest.is_empty() || rest.starts_with('[') => origin(child, ""),
            None => None,
        }
    })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
