//! `cargo xtask bench`: figures, measured on this machine in one run. Nothing here fails on a number.

mod catchup;
mod fanin;
mod json;
mod keyless;
mod latency;
mod link;
mod pair;
mod process;
mod replica;
mod sizes;
mod snapshot;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use tributary_testkit::stack::{Device, Service};

/// Measure. Figures are printed, never asserted.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench catchup --backlog tx20 --rounds 1 --scale 0.1
  cargo xtask bench fanin --devices 200
  cargo xtask bench keyless
  cargo xtask bench latency
  cargo xtask bench latency --samples 500 --json
  cargo xtask bench link --rate 16
  cargo xtask bench sizes --case row_64_mib
  cargo xtask bench snapshot --rows 500000 --server mysql")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    Catchup(catchup::Arguments),
    Fanin(fanin::Arguments),
    Keyless(keyless::Arguments),
    Latency(latency::Arguments),
    Link(link::Arguments),
    Sizes(sizes::Arguments),
    Snapshot(snapshot::Arguments),
}

/// Runs the one that was asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.bench {
        Bench::Catchup(arguments) => catchup::run(arguments),
        Bench::Fanin(arguments) => fanin::run(arguments),
        Bench::Keyless(arguments) => keyless::run(arguments),
        Bench::Latency(arguments) => latency::run(arguments),
        Bench::Link(arguments) => link::run(arguments),
        Bench::Sizes(arguments) => sizes::run(arguments),
        Bench::Snapshot(arguments) => snapshot::run(arguments),
    }
}

/// The largest resident set that a process has had, in MiB.
fn peak_mib(service: &Service) -> Result<f64> {
    Ok(process::peak_kib(service.pid().context("it does not run")?)? / 1024.0)
}

/// The one in the middle, or the mean of the two that are.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

/// Waits until everything that the device's log holds now is stored.
async fn published(device: &mut Device, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    let (file, offset) = device.head().await?;
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
    let head = (f64::from(file), offset as f64);
    let stage = [("stage", "published")];
    loop {
        // The admin port opens a moment after the start.
        if let Ok(metrics) = device.publisher.metrics().await {
            let file = metrics.get("tributary_publisher_position_file", &stage);
            let offset = metrics.get("tributary_publisher_position_offset_bytes", &stage);
            if file.zip(offset).is_some_and(|published| published >= head) {
                return Ok(());
            }
        }
        if Instant::now() > until || !device.publisher.is_running() {
            bail!("the log is not published\n{}", device.publisher.log_tail(15));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_needs_no_order() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < 1e-9);
    }
}
