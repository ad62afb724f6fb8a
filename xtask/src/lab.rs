//! `cargo xtask demo` and `cargo xtask bench`: build the services and `tributary-lab` as they are shipped, and
//! run it. A program of its own, so that the other commands need not build a MySQL client first.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::step;

/// Run the main job on this machine: three devices, two workers, two shards, and SIGKILL for all of them.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Demo {
    /// Passed on; `cargo xtask demo --help` builds first, and then says which there are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Measure. Figures are printed, never asserted.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Bench {
    /// Passed on; `cargo xtask bench --help` builds first, and then says which there are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs the demo.
pub(crate) fn demo(arguments: &Demo) -> Result<()> {
    run("demo", &arguments.rest)
}

/// Runs a bench.
pub(crate) fn bench(arguments: &Bench) -> Result<()> {
    run("bench", &arguments.rest)
}

fn run(command: &str, rest: &[String]) -> Result<()> {
    tributary_testkit::setup::run()?;
    let packages =
        ["-p", "tributary-lab", "-p", "tributary-publisher", "-p", "tributary-sync-worker"];
    step::run("build", &mut step::cargo(["build", "--release", "--bins"].iter().chain(&packages)))?;
    let program = step::target_directory().join("release/tributary-lab");
    let status = Command::new(program).arg(command).args(rest).status()?;
    if !status.success() {
        bail!("{command} ended with {status}");
    }
    Ok(())
}
