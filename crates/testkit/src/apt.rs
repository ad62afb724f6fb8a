//! Debian packages without root and without installing: apt resolves and downloads into directories of
//! our own, dpkg unpacks.
//!
//! apt reads a configuration of ours after the system's, so proxies and credentials of the system still
//! hold, while lists, archives, sources, preferences and the database of installed packages are ours. That
//! database claims a few tools that the servers' packages ask for and the servers never run; everything
//! else is fetched, including the C library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::mirror;
use crate::process::GuardedCommand;
use crate::progress::{Progress, Unit, say};

/// Asked for by the servers' packages, for their installation scripts and wrappers; never run by us.
const ASSUMED: [&str; 18] = [
    "adduser",
    "debconf",
    "debianutils",
    "galera-4",
    "gawk",
    "iproute2",
    "libconfig-inifiles-perl",
    "libdbi-perl",
    "lsof",
    "passwd",
    "perl",
    "perl-base",
    "procps",
    "psmisc",
    "rsync",
    "socat",
    "systemd",
    "systemd-sysusers",
];
const ATTEMPTS: u32 = 4;
/// For one run of apt-get: hours of a thin link are broken off and resumed.
const DEADLINE: Duration = Duration::from_secs(3600);
const POLL: Duration = Duration::from_millis(200);

/// One suite of the Debian archive, with its lists downloaded.
#[derive(Clone)]
pub(crate) struct Suite {
    dir: PathBuf,
    name: String,
}

impl Suite {
    /// Downloads the suite's lists into `dir`, from the first of this system's mirrors that has it.
    pub(crate) fn open(dir: &Path, name: &str) -> Result<Suite> {
        for sub in ["lists/partial", "none", "log"] {
            fs::create_dir_all(dir.join(sub))
                .with_context(|| format!("cannot make {sub} in {}", dir.display()))?;
        }
        let suite = Suite { dir: dir.to_owned(), name: name.to_owned() };
        let mut failures = Vec::new();
        for uri in mirror::candidates(&dir.join("none"))? {
            suite.configure(&uri)?;
            say(&format!("Debian {name}: reading the package lists"));
            match suite.retry(&["update"]) {
                Ok(_) => return Ok(suite),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        bail!(
            "cannot read the package lists of Debian {name}; check the network, or set \
             TRIBUTARY_DEBIAN_MIRROR:\n{}",
            failures.join("\n")
        )
    }

    /// Downloads `packages` and all they depend on into `archives`; what is already there is kept.
    /// Returns the package files.
    pub(crate) fn download(
        &self,
        what: &str,
        packages: &[&str],
        archives: &Path,
    ) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(archives.join("partial"))
            .with_context(|| format!("cannot make {}", archives.display()))?;
        let place = format!("Dir::Cache::Archives={}", archives.display());
        let mut install = vec!["-o", &place, "-y", "--no-install-recommends", "install"];
        install.extend_from_slice(packages);

        // A download broken off long ago may have left packages that the suite has since replaced.
        self.run(&["-o", &place, "autoclean"])?;
        let mut plan = vec!["--print-uris"];
        plan.extend_from_slice(&install);
        let total = size_of_files(archives) + planned_bytes(&self.run(&plan)?);

        let mut download = vec!["--download-only"];
        download.extend_from_slice(&install);
        let partial = archives.join("partial");
        let done = || size_of_files(archives) + size_of_files(&partial);
        let mut progress =
            Progress::start(&format!("{what}: downloading"), Unit::Bytes, done(), total);
        thread::scope(|scope| {
            let running = scope.spawn(|| self.retry(&download));
            while !running.is_finished() {
                progress.at(done());
                thread::park_timeout(POLL);
            }
            running.join().unwrap_or_else(|_| bail!("the download of {what} panicked"))
        })?;
        progress.finish();
        package_files(archives)
    }

    fn configure(&self, uri: &str) -> Result<()> {
        let dir = self.dir.display();
        let keyring = mirror::keyring()?;
        let architecture = architecture()?;
        let source = format!("deb [signed-by={}] {uri} {} main\n", keyring.display(), self.name);
        let conf = format!(
            "Dir::State \"{dir}\";\n\
             Dir::State::Lists \"{dir}/lists\";\n\
             Dir::State::status \"{dir}/status\";\n\
             Dir::Cache \"{dir}\";\n\
             Dir::Cache::pkgcache \"\";\n\
             Dir::Cache::srcpkgcache \"\";\n\
             Dir::Log \"{dir}/log\";\n\
             Dir::Etc::SourceList \"{dir}/sources.list\";\n\
             Dir::Etc::SourceParts \"-\";\n\
             Dir::Etc::Preferences \"/dev/null\";\n\
             Dir::Etc::PreferencesParts \"{dir}/none\";\n\
             APT::Architecture \"{architecture}\";\n\
             #clear APT::Architectures;\n\
             #clear APT::Default-Release;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             #clear Acquire::IndexTargets::deb::DEP-11;\n\
             #clear Acquire::IndexTargets::deb::Translations;\n\
             APT::Update::Error-Mode \"any\";\n\
             APT::Sandbox::User \"root\";\n\
             Debug::NoLocking \"true\";\n\
             Acquire::Retries \"3\";\n"
        );
        let stanza = |name: &&str| {
            format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\n\
                 Multi-Arch: allowed\nVersion: 99:0\nMaintainer: none\nDescription: assumed\n\n"
            )
        };
        let status: String = ASSUMED.iter().map(stanza).collect();
        for (name, text) in [("sources.list", source), ("apt.conf", conf), ("status", status)] {
            let path = self.dir.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn retry(&self, arguments: &[&str]) -> Result<String> {
        let mut attempt = 1;
        loop {
            match self.run(arguments) {
                Err(error) if attempt < ATTEMPTS => {
                    say(&format!("attempt {attempt} of {ATTEMPTS} failed, resuming: {error:#}"));
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Runs apt-get under the guard, so that it ends with its owner and never writes beside a later one.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let log = self.dir.join("log/apt-get");
        let _ = fs::remove_file(&log);
        let mut child = GuardedCommand::new("apt-get")
            .args(["-q".as_ref(), "-c".as_ref(), self.dir.join("apt.conf").as_os_str()])
            .args(arguments)
            .env("LC_ALL", "C")
            .log_to(&log)
            .spawn()
            .context("cannot run apt-get")?;
        let status = child.wait(DEADLINE);
        let text = fs::read_to_string(&log).unwrap_or_default();
        match status {
            Some(status) if status.success() => Ok(text),
            Some(status) => bail!("apt-get ended with {status}: {}", complaints(&text)),
            None => bail!("apt-get took longer than {} minutes", DEADLINE.as_secs() / 60),
        }
    }
}

/// apt's own errors and warnings, or all it said if there are none.
fn complaints(text: &str) -> String {
    let is_complaint = |line: &&str| line.starts_with("E:") || line.starts_with("W:");
    let lines: Vec<&str> = text.lines().filter(is_complaint).collect();
    if lines.is_empty() { text.trim().to_owned() } else { lines.join("; ") }
}

/// Unpacks every package file into `prefix`, without what the servers do not need.
pub(crate) fn unpack(what: &str, packages: &[PathBuf], prefix: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(prefix);
    fs::create_dir_all(prefix).with_context(|| format!("cannot make {}", prefix.display()))?;
    let mut progress =
        Progress::start(&format!("{what}: unpacking"), Unit::Packages, 0, packages.len() as u64);
    for (done, package) in packages.iter().enumerate() {
        let output = Command::new("dpkg-deb").arg("-x").arg(package).arg(prefix).output();
        checked("dpkg-deb", &output.context("cannot run dpkg-deb")?)
            .with_context(|| format!("cannot unpack {}", package.display()))?;
        progress.at(done as u64 + 1);
    }
    for extra in ["doc", "man", "info", "locale", "lintian", "bash-completion"] {
        let _ = fs::remove_dir_all(prefix.join("usr/share").join(extra));
    }
    progress.finish();
    Ok(())
}

/// Says why this system cannot fetch Debian packages, if it cannot.
pub(crate) fn unavailable() -> Option<String> {
    ["apt-get", "dpkg-deb", "dpkg"]
        .iter()
        .find(|tool| Command::new(tool).arg("--version").output().is_err())
        .map(|tool| format!("this system has no {tool}"))
}

fn architecture() -> Result<String> {
    let output =
        Command::new("dpkg").arg("--print-architecture").output().context("cannot run dpkg")?;
    Ok(checked("dpkg", &output)?.trim().to_owned())
}

fn checked(program: &str, output: &Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    bail!("{program} ended with {}: {}", output.status, errors.trim())
}

/// Sums the sizes in `'<uri>' <file> <bytes> <hash>` lines.
fn planned_bytes(print_uris: &str) -> u64 {
    let lines = print_uris.lines().filter(|line| line.starts_with('\''));
    lines.filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum()
}

fn size_of_files(dir: &Path) -> u64 {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}

fn package_files(archives: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(archives).with_context(|| format!("cannot list {}", archives.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "deb"))
        .collect();
    files.sort();
    Ok(files)
}
