//! Temporary directories that are removed with their owner, or by the next one if the owner was killed.
//!
//! Every directory holds a lock file, locked as long as its owner lives. The first directory made by a
//! process sweeps away those whose lock is free, and kills a server that still runs in one (possible only
//! where setpriv is missing).

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

const OWNER: &str = "owner.lock";
const SERVER: &str = "server.pid";

/// A private temporary directory, removed on drop.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _owner: File,
}

impl Scratch {
    /// Makes a directory `tributary-<uid>-…` under `$TMPDIR`.
    ///
    /// # Errors
    /// When the directory or its lock cannot be made.
    pub fn new() -> Result<Scratch> {
        static SWEPT: OnceLock<()> = OnceLock::new();
        SWEPT.get_or_init(sweep);

        let base = fs::canonicalize(std::env::temp_dir()).context("cannot resolve TMPDIR")?;
        let name = format!("{}{:012x}", prefix(), fastrand::u64(..1 << 48));
        // Locked under another name first, so that a sweep never sees it without its lock.
        let draft = base.join(format!(".new-{name}"));
        let path = base.join(name);
        DirBuilder::new().mode(0o700).create(&draft).with_context(|| {
            format!("cannot make a temporary directory in {}: set TMPDIR", base.display())
        })?;
        let owner = File::create(draft.join(OWNER))
            .and_then(|file| file.lock().map(|()| file))
            .and_then(|file| fs::rename(&draft, &path).map(|()| file))
            .with_context(|| format!("cannot lock {}", draft.display()))?;
        Ok(Scratch { path, _owner: owner })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes the server that runs in this directory, for the sweep.
    pub(crate) fn note_server(&self, pid: u32) {
        let _ = fs::write(self.path.join(SERVER), pid.to_string());
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn prefix() -> String {
    format!("tributary-{}-", rustix::process::getuid().as_raw())
}

fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    let prefix = prefix();
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(&prefix) && is_abandoned(&entry.path()) {
            kill_server(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(dir: &Path) -> bool {
    match File::open(dir.join(OWNER)) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Kills the noted process if it really is a server of that directory.
fn kill_server(dir: &Path) {
    let noted = fs::read_to_string(dir.join(SERVER)).ok().and_then(|text| text.parse::<i32>().ok());
    let Some(pid) = noted else { return };
    let Ok(command_line) = fs::read(format!("/proc/{pid}/cmdline")) else { return };
    if String::from_utf8_lossy(&command_line).contains(&*dir.to_string_lossy())
        && let Some(pid) = Pid::from_raw(pid)
    {
        let _ = kill_process(pid, Signal::KILL);
    }
}
