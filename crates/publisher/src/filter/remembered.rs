//! The filter under which a device was published so far.

use super::{Filter, FilterConfig, InvalidFilter, MaskConfig, NamesConfig, Salted};
use serde::{Deserialize, Serialize};
use tributary_binlog::Digest;

/// A filter without its secret, as it stands in the checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    /// [`FilterConfig::databases`].
    pub databases: NamesConfig,
    /// [`FilterConfig::tables`].
    pub tables: NamesConfig,
    /// [`FilterConfig::columns`].
    pub columns: NamesConfig,
    /// [`FilterConfig::mask`].
    pub mask: Vec<MaskConfig>,
    /// Tells one salt from another: 64 bits of a hash under it. Empty without one.
    pub salt_fingerprint: String,
}

// === impl Remembered ===

impl Remembered {
    /// What is to be remembered of a configuration.
    pub fn of(config: &FilterConfig) -> Self {
        let fingerprint = |salt: &tributary_runtime::Secret| {
            let hash = Salted::new(salt.expose()).digest(b"tributary filter");
            hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
        };
        Self {
            databases: config.databases.clone(),
            tables: config.tables.clone(),
            columns: config.columns.clone(),
            mask: config.mask.clone(),
            salt_fingerprint: config.salt.as_ref().map(fingerprint).unwrap_or_default(),
        }
    }

    /// True for no filter at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The filter as it decided; its hashes are not those it made.
    ///
    /// # Errors
    /// [`InvalidFilter`] when the checkpoint was written by something else.
    pub fn filter(&self) -> Result<Filter, InvalidFilter> {
        Filter::compile(self, "")
    }
}
