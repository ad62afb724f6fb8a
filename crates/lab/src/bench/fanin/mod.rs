//! Many devices into one shard.

mod device;
mod fleet;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use tributary_testkit::Flavour;
use tributary_testkit::stack::{self, Stack, StackOptions};

use super::json::Line;
use super::process::{Cost, Meter};
use fleet::Fleet;

/// Small batches of many devices through the real nats-server, one sync-worker and one durable MySQL shard.
/// The devices exist only as what they publish. Making their databases is not part of the rate.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How many devices.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    devices: u32,
    /// Batches of each device.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Rows in a batch.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rows: u32,
    /// Only this layout: how the devices lie side by side in the shard.
    #[arg(long, value_enum)]
    layout: Option<Layout>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// As the worker's configuration calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// A database for each database of each device.
    #[value(name = "schema_per_device")]
    SchemaPerDevice,
    /// One set of tables for all.
    #[value(name = "merged")]
    Merged,
}

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Layout::SchemaPerDevice => "schema_per_device",
            Layout::Merged => "merged",
        }
    }

    /// All that differs between the two in the worker's configuration.
    fn settings(self) -> String {
        format!("layout = \"{}\"\n", self.name())
    }
}

/// Enough for a table of each device and each of the worker's connections, where the system lets it have so
/// many files.
const SHARD: [&str; 3] =
    ["--table-open-cache=100000", "--table-definition-cache=40000", "--open-files-limit=210000"];
const READY: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(1200);

/// What was measured.
struct Measured {
    setup_seconds: f64,
    seconds: f64,
    nats: Cost,
    worker: Cost,
    target: Cost,
}

/// Measures each layout, one after the other.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for layout in [Layout::SchemaPerDevice, Layout::Merged] {
        if arguments.layout.is_none_or(|wanted| wanted == layout) {
            let measured = runtime.block_on(Box::pin(measure(arguments, layout)))?;
            report(arguments, layout, &measured);
        }
    }
    Ok(())
}

async fn measure(arguments: &Arguments, layout: Layout) -> Result<Measured> {
    let options = StackOptions {
        shards: vec![Flavour::MySql],
        workers: 1,
        worker_settings: layout.settings(),
        shard_arguments: SHARD.map(str::to_owned).to_vec(),
        ..StackOptions::new(&[], stack::built_binaries()?)
    };
    let mut stack = Stack::start(&options)?;
    stack.ready(READY).await?;
    let mut fleet = Fleet::new(&stack, arguments.devices).await?;
    fleet.say_caches().await?;

    eprintln!("{} devices make their databases", arguments.devices);
    let began = Instant::now();
    let messages = fleet.create()?;
    fleet.publish(messages).await?;
    fleet.applied(PATIENCE).await?;
    let setup_seconds = began.elapsed().as_secs_f64();

    eprintln!("made in {setup_seconds:.1} s; {} rounds of batches", arguments.rounds);
    let messages = fleet.rounds(arguments.rounds, arguments.rows)?;
    let nats = Meter::start(stack.nats.pid())?;
    let worker = Meter::start(stack.workers[0].pid())?;
    let target = Meter::start(stack.shards[0].server.pid())?;
    let began = Instant::now();
    fleet.publish(messages).await?;
    fleet.applied(PATIENCE).await?;
    let seconds = began.elapsed().as_secs_f64();
    let (nats, worker, target) = (nats.read()?, worker.read()?, target.read()?);
    eprintln!("applied in {seconds:.2} s; looking at every device's rows");
    fleet.verify(layout, u64::from(arguments.rounds * arguments.rows)).await?;
    Ok(Measured { setup_seconds, seconds, nats, worker, target })
}

fn report(arguments: &Arguments, layout: Layout, measured: &Measured) {
    let Measured { setup_seconds, seconds, nats, worker, target } = measured;
    let layout = layout.name();
    let (devices, batches) = (arguments.devices, arguments.devices * arguments.rounds);
    let rows = f64::from(batches) * f64::from(arguments.rows);
    let processes = [("nats", nats), ("worker", worker), ("target", target)];
    let costs = processes.map(|(name, cost)| (name, cost.cpu_seconds / rows * 1e6, cost.peak_mb));
    if arguments.json {
        let mut line = Line::new("fanin")
            .text("layout", layout)
            .plain("devices", devices)
            .number("rows", rows, 0)
            .number("rows_per_second", rows / seconds, 0)
            .number("batches_per_second", f64::from(batches) / seconds, 0)
            .number("seconds", *seconds, 3)
            .number("setup_seconds", *setup_seconds, 1);
        for (name, cpu, peak) in costs {
            line = line.number(&format!("{name}_cpu_s_per_million_rows"), cpu, 2).number(
                &format!("{name}_rss_mb"),
                peak,
                1,
            );
        }
        line.print();
        return;
    }
    let costs = costs.map(|(name, cpu, peak)| format!("{name} {cpu:.1}, {peak:.0}"));
    println!(
        "{layout}, {devices} devices: {rows:.0} rows in {batches} batches, {seconds:.2} s, {:.0} rows/s, \
         {:.0} batches/s; set up in {setup_seconds:.1} s\nCPU s per million rows, peak MB: {}",
        rows / seconds,
        f64::from(batches) / seconds,
        costs.join("; ")
    );
}
