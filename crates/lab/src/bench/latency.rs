//! From a row's commit on an idle device to its commit on the shard.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tributary_testkit::Flavour;
use tributary_testkit::stack::{self, Stack, StackOptions};

/// One row at a time, on an otherwise idle system: commit on the device to commit on the shard.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How many rows.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    samples: u32,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

const DEADLINE: Duration = Duration::from_secs(30);
/// Long enough that the row before has left no work behind.
const IDLE: Duration = Duration::from_millis(50);

/// Measures MySQL and MariaDB devices, one after the other, each against a MySQL shard.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let binaries = stack::built_binaries()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for device in Flavour::ALL {
        let options = StackOptions {
            shards: vec![Flavour::MySql],
            workers: 1,
            ..StackOptions::new(&[device], binaries.clone())
        };
        let mut samples = runtime.block_on(measure(&options, arguments.samples))?;
        samples.sort_unstable();
        report(device, &samples, arguments.json);
    }
    Ok(())
}

fn report(device: Flavour, samples: &[Duration], json: bool) {
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let (p50, p90, p99, max) = (at(50), at(90), at(99), at(100));
    let count = samples.len();
    if json {
        println!(
            "{{\"bench\":\"latency\",\"load\":\"idle\",\"device\":\"{device}\",\"samples\":{count},\"p50_ms\":{p50:.2},\"p90_ms\":{p90:.2},\"p99_ms\":{p99:.2},\"max_ms\":{max:.2}}}"
        );
    } else {
        println!(
            "idle, one row, {device} device: {count} samples, p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"
        );
    }
}

async fn measure(options: &StackOptions, samples: u32) -> Result<Vec<Duration>> {
    let mut stack = Stack::start(options)?;
    stack.ready(DEADLINE).await?;
    let device = &stack.devices[0];
    device
        .sql(&["CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(20))"])
        .await?;
    stack.caught_up(DEADLINE).await?;
    let mut source = stack::connect(&device.server).await?;
    let mut target = stack::connect(&stack.shards[0].server).await?;
    let copy = format!("{}__app.t", device.id);
    let mut took = Vec::new();
    for id in 0..samples {
        tokio::time::sleep(IDLE).await;
        source.query_drop(format!("INSERT INTO app.t VALUES ({id}, 'row {id}')")).await?;
        took.push(until_there(&mut target, &copy, id).await?);
    }
    Ok(took)
}

/// Asks for the row until it is there: the answer is as fine as one question takes, well under a
/// millisecond on this machine.
async fn until_there(target: &mut Conn, table: &str, id: u32) -> Result<Duration> {
    let committed = Instant::now();
    let question = format!("SELECT 1 FROM {table} WHERE id = {id}");
    while target.query_first::<u8, _>(&question).await?.is_none() {
        if committed.elapsed() > DEADLINE {
            bail!("row {id} did not arrive within {} s", DEADLINE.as_secs());
        }
    }
    Ok(committed.elapsed())
}
