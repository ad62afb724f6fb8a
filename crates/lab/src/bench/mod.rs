//! `cargo xtask bench`: figures, measured on this machine in one run. Nothing here fails on a number.

mod latency;
mod sizes;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Measure. Figures are printed, never asserted.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench latency
  cargo xtask bench latency --samples 500 --json
  cargo xtask bench sizes --case row_64_mib")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    Latency(latency::Arguments),
    Sizes(sizes::Arguments),
}

/// Runs the one that was asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.bench {
        Bench::Latency(arguments) => latency::run(arguments),
        Bench::Sizes(arguments) => sizes::run(arguments),
    }
}
