//! Where fetched servers live: one directory outside the checkout, shared by every process of a user.
//!
//! ```text
//! <cache>/setup.lock            held while anything below is being made
//! <cache>/<product>/            unpacked packages, with the libraries they need
//! <cache>/<product>.ready       stamp: recipe and version; written last, by rename
//! <cache>/templates/<name>/     an initialised data directory; complete because renamed into place
//! <cache>/work/                 downloads in progress, kept so that a broken one resumes
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::product::{Product, Version};

/// The cache directory and the names of what is in it.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$TRIBUTARY_CACHE`, else `$XDG_CACHE_HOME/tributary`, else `~/.cache/tributary`.
    ///
    /// # Errors
    /// When none of the three variables is set, or the directory cannot be made.
    pub fn open() -> Result<Cache> {
        let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = variable("TRIBUTARY_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("tributary")))
            .or_else(|| variable("HOME").map(|dir| dir.join(".cache/tributary")))
            .context("no place for the server cache: set TRIBUTARY_CACHE to a directory")?;
        Cache::at(&root)
    }

    /// A cache in the given directory, which is made if need be.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn at(root: &Path) -> Result<Cache> {
        fs::create_dir_all(root).with_context(|| {
            format!("cannot make the server cache {}: set TRIBUTARY_CACHE", root.display())
        })?;
        let root = fs::canonicalize(root)
            .with_context(|| format!("cannot resolve the server cache {}", root.display()))?;
        Ok(Cache { root })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the product's packages are unpacked.
    pub fn prefix(&self, product: Product) -> PathBuf {
        self.root.join(product.key())
    }

    /// Where the initialised data directory of that name is.
    pub fn template(&self, name: &str) -> PathBuf {
        self.root.join("templates").join(name)
    }

    /// Scratch space for a download, kept until it is unpacked.
    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.root.join("work").join(name)
    }

    /// Whether downloads are left.
    pub(crate) fn has_work(&self) -> bool {
        self.root.join("work").exists()
    }

    /// Deletes the templates made by an earlier fetched version of the product.
    pub(crate) fn forget_templates(&self, product: Product) {
        let start = format!("{}-", product.key());
        for entry in fs::read_dir(self.root.join("templates")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&start) && name.contains("-fetched-") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Forgets downloads, once everything is unpacked.
    pub(crate) fn clear_work(&self) {
        let _ = fs::remove_dir_all(self.root.join("work"));
    }

    /// The version of the product that is ready, if it is.
    pub(crate) fn ready(&self, product: Product) -> Option<Version> {
        let stamp = fs::read_to_string(self.stamp(product)).ok()?;
        let version = stamp.strip_prefix(&format!("recipe {} version ", product.recipe()))?;
        Version::find(version)
    }

    /// Marks the product as complete.
    pub(crate) fn set_ready(&self, product: Product, version: Version) -> Result<()> {
        let stamp = self.stamp(product);
        let draft = stamp.with_extension("draft");
        fs::write(&draft, format!("recipe {} version {version}\n", product.recipe()))
            .and_then(|()| fs::rename(&draft, &stamp))
            .with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// Takes the product back to "absent"; its files may stay until they are replaced.
    pub(crate) fn set_absent(&self, product: Product) {
        let _ = fs::remove_file(self.stamp(product));
    }

    /// Waits until no other process is changing the cache, and keeps others out until dropped.
    pub(crate) fn lock(&self, on_wait: impl FnOnce()) -> Result<File> {
        let path = self.root.join("setup.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        if file.try_lock().is_err() {
            on_wait();
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }

    fn stamp(&self, product: Product) -> PathBuf {
        self.root.join(format!("{}.ready", product.key()))
    }
}

/// Puts a finished directory in place of an older one.
pub(crate) fn replace_dir(draft: &Path, place: &Path) -> Result<()> {
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    fs::rename(draft, place).with_context(|| format!("cannot rename to {}", place.display()))
}

/// Copies a directory tree of plain files.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), &place)
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
