//! `cargo xtask bench`: figures, measured on this machine in one run. Nothing here fails on a number.

mod latency;
mod sizes;
mod snapshot;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use tributary_testkit::stack::Service;

/// Measure. Figures are printed, never asserted.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench latency
  cargo xtask bench latency --samples 500 --json
  cargo xtask bench sizes --case row_64_mib
  cargo xtask bench snapshot --rows 500000 --server mysql")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    Latency(latency::Arguments),
    Sizes(sizes::Arguments),
    Snapshot(snapshot::Arguments),
}

/// Runs the one that was asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.bench {
        Bench::Latency(arguments) => latency::run(arguments),
        Bench::Sizes(arguments) => sizes::run(arguments),
        Bench::Snapshot(arguments) => snapshot::run(arguments),
    }
}

/// The largest resident set that a process has had (`VmHWM`), in MiB.
fn peak_mib(service: &Service) -> Result<f64> {
    let pid = service.pid().context("it does not run")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: f64 = kib.context("the kernel does not say VmHWM")?.trim().parse()?;
    Ok(kib / 1024.0)
}
