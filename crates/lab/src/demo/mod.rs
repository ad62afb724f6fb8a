//! `cargo xtask demo`: the main job, on real servers, with everything killed on the way.

mod script;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use tributary_testkit::Flavour;
use tributary_testkit::stack::{self, Stack, StackOptions, Workload};

use script::Script;
use table::Table;

/// Run the main job on this machine: three devices, two workers, two shards, and SIGKILL for all of them.
#[derive(Args)]
#[command(after_help = "\
Fetches and starts real servers (nothing is installed, everything listens on 127.0.0.1 only), builds the
services, and writes on the devices while a worker, a publisher and nats-server are killed and started again.
At the end every table of every device is compared with its copy, row by row.

Examples:
  cargo xtask demo                        until Ctrl-C; the verdict comes after 60 s
  cargo xtask demo --seconds 60 --exit    ends after the verdict; exit code 0 only when all is equal
  cargo xtask demo --rate 200             200 transactions a second on each device

A machine whose devices' servers cannot be fetched: see `cargo xtask setup --help`.")]
pub(crate) struct Arguments {
    /// How long the devices are written to before they are compared with their copies.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    seconds: u64,
    /// End after the verdict instead of going on until Ctrl-C.
    #[arg(long)]
    exit: bool,
    /// Transactions a second on each device.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Seed of the workload.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const DEVICES: [Flavour; 3] = [Flavour::MySql, Flavour::MariaDb, Flavour::MySql];
const START: Duration = Duration::from_secs(60);
const CATCH_UP: Duration = Duration::from_secs(300);
const REFRESH: Duration = Duration::from_secs(1);

/// Builds, starts, plays the script, compares.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let binaries = stack::built_binaries()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            outcome = play(arguments, binaries) => outcome,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("\nstopping");
                Ok(())
            }
        }
    })
}

async fn play(arguments: &Arguments, binaries: PathBuf) -> Result<()> {
    let options = StackOptions::new(&DEVICES, binaries);
    eprintln!("== servers: starting nats-server, 3 devices, 2 shards, 2 workers, 3 publishers");
    let mut stack = Stack::start(&options)?;
    stack.ready(START).await?;
    eprintln!("== logs and configurations: {}", stack.directory().display());
    let mut round = 0;
    loop {
        round += 1;
        let equal = play_round(arguments, &mut stack, round).await?;
        if arguments.exit || !equal {
            return if equal { Ok(()) } else { bail!("a copy differs from its device") };
        }
        eprintln!("== going on with the next round until Ctrl-C");
    }
}

/// Writes, kills, waits, compares. True when every copy is equal.
async fn play_round(arguments: &Arguments, stack: &mut Stack, round: u64) -> Result<bool> {
    let workloads: Vec<Workload> = stack
        .devices
        .iter()
        .zip(1u64..)
        .map(|(device, nth)| {
            let seed = arguments.seed.wrapping_mul(1000).wrapping_add(round * 10 + nth);
            Workload::start(&device.server.admin_url(), seed, arguments.rate)
        })
        .collect();
    let began = Instant::now();
    let length = Duration::from_secs(arguments.seconds);
    let (mut script, mut table) = (Script::new(length), Table::new());
    while began.elapsed() < length {
        for line in script.play(began.elapsed(), stack)? {
            table.note(&line);
        }
        table.show(stack, &workloads).await;
        tokio::time::sleep(REFRESH).await;
    }
    for line in script.play(Duration::MAX, stack)? {
        table.note(&line);
    }
    let mut rows = 0;
    for workload in workloads {
        let report = workload.finish().await?;
        rows += report.rows;
        table.note(&format!(
            "a device wrote {} rows in {} transactions, and altered tables {} times",
            report.rows, report.transactions, report.alterations
        ));
    }
    eprintln!("== waiting until every device is caught up");
    let waiting = Instant::now();
    stack.caught_up(CATCH_UP).await.context("not caught up")?;
    eprintln!("== caught up after {:.1} s; comparing row by row", waiting.elapsed().as_secs_f64());
    verdict(stack, rows).await
}

async fn verdict(stack: &Stack, rows_written: u64) -> Result<bool> {
    let mut equal = true;
    let (mut tables, mut rows) = (0, 0);
    for device in &stack.devices {
        let verdict = stack.verdict(device).await?;
        println!("{} ({}): {verdict}", device.id, device.server.flavour());
        for difference in &verdict.differences {
            println!("    {difference}");
        }
        equal &= verdict.equal();
        tables += verdict.tables;
        rows += verdict.rows;
    }
    let word = if equal { "all equal" } else { "NOT EQUAL" };
    println!(
        "{word}: {} devices, {tables} tables, {rows} rows compared, {rows_written} row changes written",
        stack.devices.len()
    );
    Ok(equal)
}
