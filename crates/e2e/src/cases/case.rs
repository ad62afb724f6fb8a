//! The folders of the cases.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::expectation::{Expectation, Layout, Pair, Way};
use super::steps::{self, Step};

/// One folder.
#[derive(Debug, Clone)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// What it asks for.
    pub expectation: Expectation,
    /// `before.sql`, its bytes as they are.
    pub before: Option<Vec<u8>>,
    /// `live.sql`, its bytes as they are.
    pub live: Option<Vec<u8>>,
    /// `steps.toml`.
    pub steps: Vec<Step>,
}

/// A case on one pairing in one layout.
#[derive(Debug, Clone)]
pub struct Run<'c> {
    /// The case.
    pub case: &'c Case,
    /// The pairing.
    pub pair: Pair,
    /// The layout.
    pub layout: Layout,
    /// How `before.sql` comes to the shard.
    pub way: Way,
}

impl Case {
    /// Reads every folder in `directory`, in the order of their names.
    ///
    /// # Errors
    /// When a folder cannot be read or understood; the error names it.
    pub fn all(directory: &Path) -> Result<Vec<Case>> {
        let entries = fs::read_dir(directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        let mut folders: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
        folders.retain(|path| path.is_dir());
        folders.sort();
        folders.iter().map(|folder| Case::read(folder)).collect()
    }

    fn read(folder: &Path) -> Result<Case> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = || -> Result<Case> {
            let expectation = match bytes(&folder.join("expect.json"))? {
                Some(bytes) => serde_json::from_slice(&bytes).context("expect.json")?,
                None => Expectation::of_name(&name),
            };
            let steps = match bytes(&folder.join("steps.toml"))? {
                Some(bytes) => steps::parse(&String::from_utf8(bytes)?).context("steps.toml")?,
                None => Vec::new(),
            };
            let before = bytes(&folder.join("before.sql"))?;
            let live = bytes(&folder.join("live.sql"))?;
            Ok(Case { name: name.clone(), expectation, before, live, steps })
        };
        read().with_context(|| format!("cannot read the case {name}"))
    }

    /// Every pairing, layout and way that it names.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let Expectation { pairs, layouts, ways, .. } = &self.expectation;
        pairs.iter().flat_map(move |&pair| {
            layouts.iter().flat_map(move |&layout| {
                ways.iter().map(move |&way| Run { case: self, pair, layout, way })
            })
        })
    }
}

impl fmt::Display for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.case.name, self.pair, self.layout.name())?;
        if self.way == Way::Log { f.write_str(" by log") } else { Ok(()) }
    }
}

/// A file's bytes; `None` where there is none.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
