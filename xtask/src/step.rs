//! One step of a longer command: its name, its command line and its time are printed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Cargo with the given arguments, in the workspace's root.
pub(crate) fn cargo<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    // What cargo set for this program would make build scripts (ring's) run again, and all after them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether cargo has the subcommand.
pub(crate) fn cargo_has(subcommand: &str) -> bool {
    let mut command = cargo([subcommand, "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a step to its end.
///
/// # Errors
/// When the command cannot be started or fails; the error shows how to run it by itself.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<()> {
    let line = command_line(command);
    eprintln!("== {name}: {line}");
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot start: {line}"))?;
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{name} failed after {seconds:.1} s ({status}); to repeat it alone: {line}");
    }
    eprintln!("== {name}: passed in {seconds:.1} s");
    Ok(())
}

/// Says that a step is left out, and why.
pub(crate) fn skip(name: &str, why: &str) {
    eprintln!("== {name}: skipped, {why}");
}

fn command_line(command: &Command) -> String {
    let words = command.get_args().map(|word| word.to_string_lossy());
    ["cargo".into()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    named.map_or_else(|| root().join("target"), |directory| root().join(directory))
}

/// Cargo sets the package's directory, which is one below the root.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    package.and_then(|dir| dir.parent().map(PathBuf::from)).unwrap_or_else(|| PathBuf::from("."))
}
