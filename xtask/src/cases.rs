//! `cargo xtask cases`: builds the services and `tributary-cases`, and runs it.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::step;

/// Run the cases from the field: SQL of applications, tools and bug reports, on real servers.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// Passed on; `cargo xtask cases --help` builds first, and then says which there are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) rest: Vec<String>,
}

/// Runs them.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let packages =
        ["-p", "tributary-e2e", "-p", "tributary-publisher", "-p", "tributary-sync-worker"];
    step::run("build", &mut step::cargo(["build", "--bins"].iter().chain(&packages)))?;
    let program = step::target_directory().join("debug/tributary-cases");
    eprintln!("== cases: cargo xtask cases {}", arguments.rest.join(" "));
    let status = Command::new(program).args(&arguments.rest).status()?;
    if !status.success() {
        bail!("cases ended with {status}");
    }
    Ok(())
}
