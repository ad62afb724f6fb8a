//! `cargo xtask check`: what continuous integration runs.

use anyhow::Result;
use clap::Args;

use crate::{cases, step, test};

/// Run everything that continuous integration runs: format, lints, dependencies, tests, cases, another decoder.
#[derive(Args)]
#[command(after_help = "\
Stops at the first step that fails and shows its command.

Examples:
  cargo xtask check
  cargo xtask check --no-test      only what takes no servers")]
pub(crate) struct Arguments {
    /// Leave the tests out.
    #[arg(long)]
    no_test: bool,
}

/// Runs the steps in order, cheapest first.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    step::run("format", &mut step::cargo(["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    step::run("lints", &mut step::cargo(clippy))?;
    if step::cargo_has("deny") {
        step::run("dependencies", &mut step::cargo(["deny", "check"]))?;
    } else {
        step::skip("dependencies", "cargo-deny is not installed");
    }
    if arguments.no_test {
        step::skip("test", "as asked");
        return Ok(());
    }
    test::run(&test::Arguments { rest: Vec::new() })?;
    // Half of the cases one day, the other half the next.
    let share = format!("{}/2", days() % 2);
    cases::run(&cases::Arguments { rest: vec!["--share".to_owned(), share] })?;
    // Not in the workspace: see there.
    let manifest = "crates/differential/Cargo.toml";
    let mut differential = step::cargo(["test", "--locked", "--manifest-path", manifest]);
    differential.arg("--target-dir").arg(step::target_directory());
    step::run("our decoder beside another", &mut differential)
}

/// Days since 1970.
fn days() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_secs() / (24 * 3600)
}
