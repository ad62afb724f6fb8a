//! `[filter]` as it stands in the file.

use serde::{Deserialize, Serialize};
use tributary_runtime::Secret;

/// What must not leave the device. Patterns are names in which `*` stands for any characters and `?`
/// for one; a part in backticks is taken as it stands.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterConfig {
    /// Databases: `shop`.
    pub databases: NamesConfig,
    /// Tables and views: `shop.customer`.
    pub tables: NamesConfig,
    /// Columns: `shop.customer.phone`. A table that `include` names has only the columns it names.
    pub columns: NamesConfig,
    /// Columns that are carried with other values than their own; the first that matches holds.
    pub mask: Vec<MaskConfig>,
    /// The secret of `with = "hash"`, or `file:/path`: 16 bytes at least.
    pub salt: Option<Secret>,
}

/// Which names are carried: those that `include` names, all when it is empty, and never those that
/// `exclude` names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamesConfig {
    /// Only these.
    pub include: Vec<String>,
    /// Never these.
    pub exclude: Vec<String>,
}

/// A column whose values are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskConfig {
    /// The column: `shop.customer.phone`.
    pub column: String,
    /// What stands in its place.
    pub with: MaskWith,
}

/// What a masked column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskWith {
    /// NULL.
    Null,
    /// 0, the empty string, the zero date.
    #[serde(alias = "zero")]
    Empty,
    /// HMAC-SHA-256 under the salt; NULL stays NULL.
    Hash,
}

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// A pattern that names nothing.
    #[error(
        "{key}: {pattern:?} is no pattern of the form {form}: write {form}, with * and ? where names vary, and names that hold a point in backticks"
    )]
    Pattern {
        /// The key.
        key: &'static str,
        /// What was given.
        pattern: String,
        /// What it must look like.
        form: &'static str,
    },
    /// A hash without a secret is a dictionary away from the value.
    #[error(
        "filter.mask asks for a hash, and filter.salt {0}: set it to 16 random bytes at least, such as the output of `openssl rand -hex 32`, best as file:/path"
    )]
    Salt(&'static str),
}
