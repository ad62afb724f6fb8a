//! The project's own commands: `cargo xtask <command>`.
//!
//! One file per command, with its arguments and a `run`. To add one: the file, a variant of [`Command`], an
//! arm in [`main`].

mod cases;
mod check;
mod lab;
mod setup;
mod step;
mod test;

use std::process::ExitCode;

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
    Demo(lab::Demo),
    Bench(lab::Bench),
    Test(test::Arguments),
    Cases(cases::Arguments),
    Check(check::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Demo(arguments) => lab::demo(&arguments),
        Command::Bench(arguments) => lab::bench(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Cases(arguments) => cases::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
