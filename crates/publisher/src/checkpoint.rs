//! The local cache of progress: a small JSON file, replaced atomically.

use crate::Error;
use crate::filter::Remembered;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use tributary_wire::{DeviceId, Position, Resume};

/// Up to where JetStream has acknowledged this device's batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Whose.
    pub device: DeviceId,
    /// Identity of the server that the position belongs to.
    pub source: String,
    /// End of the newest batch that is stored with all before it.
    pub position: Position,
    /// Where to read the binlog again to go on from there.
    pub resume: Resume,
    /// The filter under which everything up to there was published.
    #[serde(default, skip_serializing_if = "Remembered::is_empty")]
    pub filter: Remembered,
}

/// The state directory, held by this process alone.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    /// The lock lives as long as the file is open.
    _lock: File,
}

// === impl CheckpointFile ===

impl CheckpointFile {
    /// Takes hold of `dir`, creating it where it is missing.
    ///
    /// # Errors
    /// [`Error::StateHeld`] when another process has it, [`Error::State`] when it cannot be written.
    pub fn open(dir: &Path, device: &DeviceId) -> Result<Self, Error> {
        let failed = |source| Error::State { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let lock_path = dir.join(format!("{device}.lock"));
        let lock = File::create(&lock_path).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => Error::StateHeld { path: lock_path },
            fs::TryLockError::Error(source) => failed(source),
        })?;
        Ok(Self { path: dir.join(format!("{device}.checkpoint.json")), _lock: lock })
    }

    /// Where the checkpoint is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last checkpoint. A file that is missing or damaged is no checkpoint: the cloud knows the
    /// watermark.
    pub fn load(&self) -> Option<Checkpoint> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "checkpoint cannot be read; asking the cloud instead");
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(|error| {
                tracing::warn!(path = %self.path.display(), %error, "checkpoint is damaged; asking the cloud instead");
            })
            .ok()
    }

    /// Removes the checkpoint.
    ///
    /// # Errors
    /// Whatever the file system says; one that is not there is none.
    pub fn remove(&self) -> std::io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Replaces the checkpoint, durably.
    ///
    /// # Errors
    /// Whatever the file system says; the old checkpoint is then still there.
    pub fn store(&self, checkpoint: &Checkpoint) -> std::io::Result<()> {
        let next = self.path.with_extension("json.next");
        let mut file = File::create(&next)?;
        file.write_all(&serde_json::to_vec(checkpoint)?)?;
        file.sync_data()?;
        fs::rename(&next, &self.path)
    }
}
