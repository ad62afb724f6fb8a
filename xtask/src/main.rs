//! The project's own commands: `cargo xtask <command>`.
//!
//! One file per command, each with its arguments and a `run`. To add one: a file, a line in `Command`, a
//! line in `main`.

mod setup;

use clap::{Parser, Subcommand};

/// Commands for working on Tributary.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Setup(arguments) => setup::run(&arguments),
    }
}
