//! Runs that are known not to be right yet, in one place, each with its reason: `cases/known.toml`.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::case::{Case, Run};
use super::expectation::{Layout, Pair};

/// The list. A run that is listed and right is as wrong as one that is not listed and not right: the list is
/// always true.
#[derive(Debug, Default)]
pub struct Known {
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    case: String,
    /// On this pairing alone, if it is named.
    pair: Option<Pair>,
    /// In this layout alone, if it is named.
    layout: Option<Layout>,
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    known: Vec<Entry>,
}

impl Known {
    /// Reads the list, and checks that each entry names runs that there are.
    ///
    /// # Errors
    /// When it cannot be understood, or names what there is not.
    pub fn parse(text: &str, cases: &[Case]) -> Result<Known> {
        let File { known: entries } = toml::from_str(text).context("known.toml")?;
        for entry in &entries {
            let found = cases.iter().flat_map(Case::runs).any(|run| entry.covers(&run));
            anyhow::ensure!(found, "known.toml: no run is like {entry:?}");
        }
        Ok(Known { entries })
    }

    /// Why the run is known not to be right.
    pub fn reason(&self, run: &Run<'_>) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.covers(run))?;
        Some(&entry.reason)
    }
}

impl Entry {
    fn covers(&self, run: &Run<'_>) -> bool {
        self.case == run.case.name
            && self.pair.is_none_or(|pair| pair == run.pair)
            && self.layout.is_none_or(|layout| layout == run.layout)
    }
}
