//! From a transaction's commit on the device to its commit at the target, idle and under load.

mod load;
mod probe;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tributary_testkit::Flavour;
use tributary_testkit::stack::{self, Stack, StackOptions};

use super::json::Line;
use super::pair::{Follower, Pair};
use load::Load;
use probe::{Probe, Samples};

/// Commit on the device to commit at the target, beside MySQL's own replication in the same run. One
/// follower works at a time. A MariaDB device is measured idle, and without a replica: MySQL does not replicate it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// `idle` (one row at a time), or rows a second; several may be given. Idle, 100 and 5000 otherwise.
    #[arg(long = "rate")]
    loads: Vec<Load>,
    /// How many rows when idle.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    samples: u32,
    /// How many seconds at each rate.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Whether replica and shard write a binary log of their own, one more sync for each commit.
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    target_binlog: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

const DEADLINE: Duration = Duration::from_secs(60);

/// Measures a MySQL device under each load, then a MariaDB device.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let usual = [Load::Idle, Load::RowsPerSecond(100), Load::RowsPerSecond(5000)];
    let loads = if arguments.loads.is_empty() { &usual[..] } else { &arguments.loads };
    runtime.block_on(Box::pin(beside_native(loads, arguments)))?;
    if loads.contains(&Load::Idle) {
        let samples = runtime.block_on(Box::pin(mariadb(arguments)))?;
        report(Load::Idle, Follower::Tributary, Flavour::MariaDb, samples, arguments.json);
    }
    Ok(())
}

async fn beside_native(loads: &[Load], arguments: &Arguments) -> Result<()> {
    let mut pair = Pair::new(arguments.target_binlog).await?;
    probe::prepare(pair.device()).await?;
    let mut next_id = 0;
    for &load in loads {
        for follower in Follower::ALL {
            pair.start(follower).await?;
            pair.caught_up(follower, DEADLINE).await?;
            let (server, database) = match follower {
                Follower::Native => (&pair.replica.server, "app".to_owned()),
                Follower::Tributary => {
                    (&pair.stack.shards[0].server, format!("{}__app", pair.device().id))
                }
            };
            let mut probe = Probe::new(pair.device(), server, &database, next_id).await?;
            let samples = measure(&mut probe, load, arguments).await?;
            next_id = probe.next_id();
            pair.stop(follower).await?;
            report(load, follower, Flavour::MySql, samples, arguments.json);
        }
    }
    Ok(())
}

async fn mariadb(arguments: &Arguments) -> Result<Samples> {
    let options = StackOptions {
        shards: vec![Flavour::MySql],
        workers: 1,
        ..StackOptions::new(&[Flavour::MariaDb], stack::built_binaries()?)
    };
    let mut stack = Stack::start(&options)?;
    stack.ready(DEADLINE).await?;
    let device = &stack.devices[0];
    probe::prepare(device).await?;
    stack.caught_up(DEADLINE).await?;
    let database = format!("{}__app", device.id);
    let mut probe = Probe::new(device, &stack.shards[0].server, &database, 0).await?;
    measure(&mut probe, Load::Idle, arguments).await
}

async fn measure(probe: &mut Probe, load: Load, arguments: &Arguments) -> Result<Samples> {
    match load {
        Load::Idle => probe.idle(arguments.samples).await,
        Load::RowsPerSecond(rate) => probe.loaded(rate, arguments.seconds).await,
    }
}

fn report(load: Load, follower: Follower, device: Flavour, samples: Samples, json: bool) {
    let Samples { mut took, rows_per_second } = samples;
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let (p50, p90, p99, max) = (at(50), at(90), at(99), at(100));
    let count = took.len();
    if json {
        Line::new("latency")
            .text("load", load)
            .text("follower", follower)
            .text("device", device)
            .plain("samples", count)
            .number("rows_per_second", rows_per_second, 0)
            .number("p50_ms", p50, 2)
            .number("p90_ms", p90, 2)
            .number("p99_ms", p99, 2)
            .number("max_ms", max, 2)
            .print();
    } else {
        println!(
            "load {load}, {device} device, {follower}: {count} samples at {rows_per_second:.0} rows/s, p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"
        );
    }
}
