//! How fast a device that holds data is copied, end to end.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use tributary_testkit::Flavour;
use tributary_testkit::stack::{self, Stack, StackOptions};

use super::peak_mib;

/// The first copy of one table of five columns, from a device to a shard, both durable.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Rows of the table.
    #[arg(long, default_value_t = 2_000_000)]
    rows: u64,
    /// Only this sort of server.
    #[arg(long, value_enum)]
    server: Option<Server>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Server {
    Mysql,
    Mariadb,
}

const PATIENCE: Duration = Duration::from_secs(1200);
const TABLE: &str = "CREATE TABLE bench.t (id BIGINT PRIMARY KEY AUTO_INCREMENT, sensor INT NOT NULL, \
                     at DATETIME(3) NOT NULL, value DOUBLE NOT NULL, unit VARCHAR(16) NOT NULL)";

/// Measures each server with itself as the shard.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (server, flavour) in [(Server::Mysql, Flavour::MySql), (Server::Mariadb, Flavour::MariaDb)]
    {
        if arguments.server.is_none_or(|wanted| wanted == server) {
            runtime.block_on(measure(flavour, arguments))?;
        }
    }
    Ok(())
}

async fn measure(flavour: Flavour, arguments: &Arguments) -> Result<()> {
    let options = StackOptions {
        shards: vec![flavour],
        workers: 1,
        ..StackOptions::new(&[flavour], stack::built_binaries()?)
    };
    let mut stack = Stack::servers(&options)?;
    fill(&stack, arguments.rows).await?;
    let began = Instant::now();
    stack.launch()?;
    stack.caught_up(PATIENCE).await?;
    let seconds = began.elapsed().as_secs_f64();
    let publisher_mib = peak_mib(&stack.devices[0].publisher)?;
    let worker_mib = peak_mib(&stack.workers[0])?;
    let verdict = stack.verdict(&stack.devices[0]).await?;
    ensure!(
        verdict.equal() && verdict.rows == arguments.rows,
        "{verdict}\n{:#?}",
        verdict.differences
    );
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = arguments.rows as f64 / seconds;
    let rows = arguments.rows;
    if arguments.json {
        println!(
            "{{\"bench\":\"snapshot\",\"server\":\"{flavour}\",\"rows\":{rows},\"seconds\":{seconds:.2},\"rows_per_second\":{rate:.0},\"publisher_rss_mb\":{:.1},\"worker_rss_mb\":{:.1}}}",
            publisher_mib * 1.048_576,
            worker_mib * 1.048_576
        );
    } else {
        println!(
            "{flavour}: {rows} rows in {seconds:.1} s, {rate:.0} rows/s, start of the services included; equal; at its peak: publisher {publisher_mib:.1} MiB, worker {worker_mib:.1} MiB"
        );
    }
    Ok(())
}

async fn fill(stack: &Stack, rows: u64) -> Result<()> {
    let device = &stack.devices[0];
    device.sql(&["CREATE DATABASE bench", TABLE]).await?;
    let mut left = rows;
    while left > 0 {
        let some = left.min(500_000);
        let insert = format!(
            "INSERT INTO bench.t (sensor, at, value, unit) WITH RECURSIVE s (n) AS \
             (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) \
             SELECT a.n, '2026-01-01' + INTERVAL b.n SECOND, a.n / b.n, 'celsius' \
             FROM s a, s b LIMIT {some}"
        );
        device.sql(&[&insert]).await?;
        left -= some;
    }
    device.forget_log(PATIENCE).await
}
