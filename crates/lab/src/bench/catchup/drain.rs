//! A backlog is drained and the costs are counted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use tributary_testkit::stack;

use super::super::pair::{Follower, Pair};
use super::super::process::{Cost, Meter};
use super::super::published;
use super::PATIENCE;

/// What draining a backlog took.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) seconds: f64,
    /// By process.
    pub(super) costs: Vec<(&'static str, Cost)>,
    /// Bytes of messages; none are counted for a replica.
    pub(super) wire_bytes: f64,
}

const READY: Duration = Duration::from_secs(60);
/// Fine against drains of seconds, and next to nothing for the shard.
const POLL: Duration = Duration::from_millis(5);

/// From the follower's start until its server has committed all that is in the log. It goes on running.
pub(super) async fn drain(pair: &mut Pair, follower: Follower) -> Result<Drain> {
    match follower {
        Follower::Native => natively(pair).await,
        Follower::Tributary => Box::pin(by_tributary(pair)).await,
    }
}

async fn natively(pair: &mut Pair) -> Result<Drain> {
    let meters = [
        ("source", Meter::start(pair.device().server.pid())?),
        ("target", Meter::start(pair.replica.server.pid())?),
    ];
    let began = Instant::now();
    pair.replica.start().await?;
    pair.replica.caught_up(pair.device(), PATIENCE).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Drain { seconds, costs: read(&meters)?, wire_bytes: 0.0 })
}

async fn by_tributary(pair: &mut Pair) -> Result<Drain> {
    let head = pair.device().head().await?;
    let mut watch = stack::connect(&pair.stack.shards[0].server).await?;
    let mut meters = vec![
        ("source", Meter::start(pair.device().server.pid())?),
        ("nats", Meter::start(pair.stack.nats.pid())?),
        ("worker", Meter::start(pair.stack.workers[0].pid())?),
        ("target", Meter::start(pair.stack.shards[0].server.pid())?),
    ];
    let began = Instant::now();
    pair.stack.devices[0].publisher.start()?;
    meters.push(("publisher", Meter::start(pair.device().publisher.pid())?));
    applied(pair, &mut watch, head, began).await?;
    let seconds = began.elapsed().as_secs_f64();
    let costs = read(&meters)?;
    // The last acknowledgement may come to the publisher after the shard's commit.
    published(&mut pair.stack.devices[0], READY).await?;
    let metrics = pair.device().publisher.metrics().await?;
    let wire_bytes = metrics.get("tributary_publisher_bytes_published_total", &[]);
    Ok(Drain { seconds, costs, wire_bytes: wire_bytes.context("no bytes are counted")? })
}

/// Waits until the shard's watermark is at the log's end.
async fn applied(
    pair: &mut Pair,
    watch: &mut mysql_async::Conn,
    head: (u32, u64),
    began: Instant,
) -> Result<()> {
    let question = "SELECT file, `offset` FROM tributary.watermark";
    while watch.query_first(question).await?.is_none_or(|applied: (u32, u64)| applied < head) {
        let publisher = &mut pair.stack.devices[0].publisher;
        if began.elapsed() > PATIENCE || !publisher.is_running() {
            bail!("the backlog is not drained\n{}", publisher.log_tail(15));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn read(meters: &[(&'static str, Meter)]) -> Result<Vec<(&'static str, Cost)>> {
    meters.iter().map(|(process, meter)| Ok((*process, meter.read()?))).collect()
}
