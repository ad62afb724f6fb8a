//! A server program that can be run: found on this system, or unpacked in the cache.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::process::{GuardedCommand, find_program};
use crate::product::{Product, Version};

/// A program with what it needs to run.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Which server it is.
    pub product: Product,
    /// Its version.
    pub version: Version,
    /// The server program itself.
    pub program: PathBuf,
    /// The directory that holds `share/`, `lib/` of an unpacked server; `None` for the system's own.
    pub base: Option<PathBuf>,
    /// An argument that a data directory must be made with, if there is one: see [`Installation::made_with`].
    pub(crate) initial: Option<String>,
    /// What to put before the program: its own dynamic linker and library path.
    launcher: Vec<OsString>,
}

impl Installation {
    /// A command that runs the server with the given arguments still to be added.
    pub fn command(&self) -> GuardedCommand {
        self.tool(&self.program)
    }

    /// A command that runs another program of the same installation, by its path.
    pub fn tool(&self, program: &Path) -> GuardedCommand {
        match self.launcher.split_first() {
            Some((linker, rest)) => GuardedCommand::new(linker).args(rest).args([program]),
            None => GuardedCommand::new(program),
        }
    }

    /// The words that run the server, without arguments: for a shell or a log.
    pub fn command_line(&self) -> Vec<String> {
        let words = self.launcher.iter().map(OsString::as_os_str).chain([self.program.as_os_str()]);
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// A client program such as `mysqldump` or `mariadb-binlog`, where the installation has it.
    pub fn client(&self, name: &str) -> Option<PathBuf> {
        match &self.base {
            Some(base) => Some(base.join("bin").join(name)).filter(|path| path.is_file()),
            None => find_program(Path::new(name)),
        }
    }

    /// The same, with a template of its own where an argument holds for a data directory's whole life:
    /// MySQL refuses another `lower_case_table_names` than the one it was made with.
    #[must_use]
    pub(crate) fn made_with(mut self, arguments: &[String]) -> Installation {
        let names = |argument: &&String| argument.starts_with("--lower-case-table-names=");
        self.initial = match self.product {
            Product::MySql => arguments.iter().rfind(names).cloned(),
            Product::MariaDb | Product::Nats => None,
        };
        self
    }

    /// A name that differs whenever a data directory made by one must not be used by the other.
    pub(crate) fn template_name(&self) -> String {
        let origin = match &self.base {
            Some(_) => "fetched".to_owned(),
            None => self.program.to_string_lossy().replace('/', "_"),
        };
        let initial = self.initial.as_deref().unwrap_or_default();
        format!(
            "{}-{}-{origin}-r{}{initial}",
            self.product.key(),
            self.version,
            self.product.recipe()
        )
    }

    /// The unpacked server in the cache, whose version the stamp says.
    pub(crate) fn fetched(
        cache: &Cache,
        product: Product,
        version: Version,
    ) -> Result<Installation> {
        Installation::unpacked(&cache.prefix(product), product, version)
    }

    /// The server unpacked under `prefix`, asked for its version.
    pub(crate) fn probe_unpacked(prefix: &Path, product: Product) -> Result<Installation> {
        let mut found = Installation::unpacked(prefix, product, product.oldest())?;
        match found.probe() {
            Ok(version) => found.version = version,
            Err(why) => bail!("the fetched {product} does not run: {why}"),
        }
        Ok(found)
    }

    /// A program of this system. The error says in one phrase why it will not do.
    pub(crate) fn of_system(program: &Path, product: Product) -> Result<Installation, String> {
        let mut found = Installation {
            product,
            version: product.oldest(),
            program: program.to_owned(),
            base: None,
            initial: None,
            launcher: Vec::new(),
        };
        found.version = found.probe()?;
        Ok(found)
    }

    fn unpacked(prefix: &Path, product: Product, version: Version) -> Result<Installation> {
        let program = ["sbin", "bin"]
            .iter()
            .map(|dir| prefix.join("usr").join(dir).join(product.program()))
            .find(|path| path.is_file())
            .with_context(|| format!("no {} under {}", product.program(), prefix.display()))?;
        let launcher = launcher(prefix)?;
        let base = Some(prefix.join("usr"));
        Ok(Installation { product, version, program, base, initial: None, launcher })
    }

    fn probe(&self) -> Result<Version, String> {
        let mut words =
            self.launcher.iter().map(OsString::as_os_str).chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        let output = command.args(words).arg("--version").output();
        let output = output.map_err(|error| format!("it cannot be run: {error}"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(format!("--version ended with {}: {}", output.status, text.trim()));
        }
        self.product.judge(&String::from_utf8_lossy(&output.stdout))
    }
}

/// The unpacked dynamic linker with a search path that stays inside the prefix.
fn launcher(prefix: &Path) -> Result<Vec<OsString>> {
    let mut dirs = Vec::new();
    let mut linker = None;
    for lib in [prefix.join("lib"), prefix.join("usr/lib")] {
        for dir in [lib.clone()].into_iter().chain(subdirectories(&lib)) {
            linker = linker.or_else(|| linker_in(&dir));
            if dir.to_string_lossy().contains("-linux-gnu") {
                dirs.push(dir.clone());
            }
        }
    }
    dirs.push(prefix.join("usr/lib/mysql/private"));
    let linker = linker.with_context(|| format!("no dynamic linker under {}", prefix.display()))?;
    let path = std::env::join_paths(dirs).context("the cache's path contains a colon: move it")?;
    let words = [linker.into(), "--inhibit-cache".into(), "--library-path".into(), path];
    Ok(words.into())
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// `ld-linux-x86-64.so.2`, `ld-linux-aarch64.so.1`, …: a real file, since links may be absolute.
fn linker_in(dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let is_linker = |entry: &fs::DirEntry| {
        entry.file_name().to_string_lossy().starts_with("ld-linux")
            && entry.file_type().is_ok_and(|kind| kind.is_file())
    };
    let linker = entries.into_iter().find(is_linker)?;
    Some(linker.path())
}
