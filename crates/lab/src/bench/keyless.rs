//! A purge of a table without a key, and what the neighbours of the device that runs it see of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use mysql_async::prelude::Queryable;
use tributary_testkit::stack::{self, Device};

use super::json::Line;
use super::pair::{Follower, Pair};

/// One DELETE of a third of a table without a key, whose rows lie in no order of what is deleted, beside MySQL's
/// own replication in the same run. While it is applied a second device of the same lane writes, and how long its rows
/// take is measured as well.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Rows of the table.
    #[arg(long, default_value_t = 60_000)]
    rows: u64,
    /// Rows that are deleted.
    #[arg(long, default_value_t = 20_000)]
    deleted: u64,
    /// Only Tributary: native replication takes long.
    #[arg(long)]
    alone: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

const PATIENCE: Duration = Duration::from_secs(1200);
const PROBE_PERIOD: Duration = Duration::from_millis(20);
const PROBE_LOOK: Duration = Duration::from_millis(1);

/// Measures both followers, one after the other.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Box::pin(measure(arguments)))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let mut pair = Pair::with_neighbours(false, 1).await?;
    let neighbour = &pair.stack.devices[1];
    neighbour.sql(&["CREATE DATABASE app", "CREATE TABLE app.p (id BIGINT PRIMARY KEY)"]).await?;
    fill(pair.device(), arguments.rows).await?;
    for follower in Follower::ALL {
        pair.start(follower).await?;
        pair.caught_up(follower, PATIENCE).await?;
        pair.stop(follower).await?;
    }
    let purge = format!("DELETE FROM app.log WHERE ts < {}", arguments.deleted);
    let began = Instant::now();
    pair.device().sql(&[&purge]).await?;
    report(arguments, "device", began.elapsed(), None);
    if !arguments.alone {
        let began = Instant::now();
        pair.start(Follower::Native).await?;
        pair.caught_up(Follower::Native, PATIENCE).await?;
        report(arguments, "native", began.elapsed(), None);
        pair.stop(Follower::Native).await?;
    }
    let began = Instant::now();
    pair.start(Follower::Tributary).await?;
    let (done, finished) = tokio::sync::watch::channel(false);
    let purge = async {
        let outcome = pair.caught_up(Follower::Tributary, PATIENCE).await;
        let took = began.elapsed();
        let _ = done.send(true);
        outcome.map(|()| took)
    };
    let (took, seen) = tokio::join!(purge, probe(&pair, finished));
    report(arguments, "tributary", took?, Some(seen?));
    let verdict = pair.verdict(Follower::Tributary).await?;
    ensure!(verdict.equal(), "{verdict}\n{:#?}", verdict.differences);
    Ok(())
}

/// Writes rows at the second device for as long as the purge goes on; how long each took to arrive.
async fn probe(pair: &Pair, finished: tokio::sync::watch::Receiver<bool>) -> Result<Vec<Duration>> {
    let neighbour = &pair.stack.devices[1];
    let mut source = stack::connect(&neighbour.server).await?;
    let mut target = stack::connect(&pair.stack.shards[0].server).await?;
    let highest = format!("SELECT MAX(id) FROM {}__app.p", neighbour.id);
    let mut took = Vec::new();
    for id in 1_u64.. {
        if *finished.borrow() && took.len() >= 100 {
            break;
        }
        tokio::time::sleep(PROBE_PERIOD).await;
        source.query_drop(format!("INSERT INTO app.p VALUES ({id})")).await?;
        let committed = Instant::now();
        while target.query_first::<Option<u64>, _>(&highest).await?.flatten() < Some(id) {
            ensure!(committed.elapsed() < PATIENCE, "a row of the second device does not arrive");
            tokio::time::sleep(PROBE_LOOK).await;
        }
        took.push(committed.elapsed());
    }
    Ok(took)
}

async fn fill(device: &Device, rows: u64) -> Result<()> {
    let insert = format!(
        "INSERT INTO app.log WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 999) \
         SELECT a.n * 1000 + b.n AS ts, REPEAT('m', 100) FROM s a, s b \
         WHERE a.n * 1000 + b.n < {rows} ORDER BY CRC32(a.n * 1000 + b.n)"
    );
    let table = "CREATE TABLE app.log (ts INT, msg VARCHAR(120))";
    device.sql(&["CREATE DATABASE app", table, &insert]).await
}

fn report(arguments: &Arguments, who: &str, took: Duration, seen: Option<Vec<Duration>>) {
    let Arguments { rows, deleted, json, .. } = arguments;
    let percentile = |seen: &mut Vec<Duration>, percent: usize| {
        seen.sort_unstable();
        seen[(seen.len() - 1) * percent / 100].as_secs_f64() * 1e3
    };
    let seconds = took.as_secs_f64();
    let mut figures = None;
    if let Some(mut seen) = seen {
        figures = Some((
            percentile(&mut seen, 50),
            percentile(&mut seen, 99),
            percentile(&mut seen, 100),
        ));
    }
    if *json {
        let line = Line::new("keyless").text("follower", who).plain("rows", rows);
        let line = line.plain("deleted", deleted).number("seconds", seconds, 2);
        match figures {
            Some((p50, p99, max)) => line
                .number("neighbour_p50_ms", p50, 2)
                .number("neighbour_p99_ms", p99, 2)
                .number("neighbour_max_ms", max, 2)
                .print(),
            None => line.print(),
        }
        return;
    }
    let neighbour = figures.map_or_else(String::new, |(p50, p99, max)| {
        format!("; rows of a second device of the lane meanwhile: p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    });
    println!("{who}: {deleted} of {rows} rows without a key deleted in {seconds:.2} s{neighbour}");
}
