//! The source and its two followers, of which one runs at a time.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tributary_testkit::Flavour;
use tributary_testkit::audit::Verdict;
use tributary_testkit::stack::{self, Device, Stack, StackOptions};

use super::super::process::{Cost, Meter};
use super::super::published;
use super::super::replica::Replica;
use super::{PATIENCE, backlog};

/// Who drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follower {
    /// A MySQL replica.
    Native,
    /// Publisher, nats-server, one sync-worker and a shard.
    Tributary,
}

impl fmt::Display for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Follower::Native => "native",
            Follower::Tributary => "tributary",
        })
    }
}

/// What draining a backlog took.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) seconds: f64,
    /// By process.
    pub(super) costs: Vec<(&'static str, Cost)>,
    /// Bytes of messages; none are counted for a replica.
    pub(super) wire_bytes: f64,
}

/// Everything that runs.
pub(super) struct Contest {
    stack: Stack,
    replica: Replica,
}

/// MySQL's own defaults (innodb_buffer_pool_size, innodb_redo_log_capacity), where the kit's are smaller.
const ALL_SERVERS: [&str; 2] =
    ["--innodb-buffer-pool-size=134217728", "--innodb-redo-log-capacity=104857600"];
/// A replica by auto-position needs GTIDs; the shard has what the replica has.
const TARGETS: [&str; 3] =
    ["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--binlog-row-metadata=MINIMAL"];
const TARGET_BINLOG: &str = "--log-bin=binlog";
const READY: Duration = Duration::from_secs(60);
/// Fine against drains of seconds, and next to nothing for the shard.
const POLL: Duration = Duration::from_millis(5);

impl Contest {
    /// Starts everything, with empty tables on all three servers.
    pub(super) async fn start(target_binlog: bool) -> Result<Self> {
        let mut targets: Vec<&str> = [&ALL_SERVERS[..], &TARGETS].concat();
        targets.extend(target_binlog.then_some(TARGET_BINLOG));
        let targets: Vec<String> = targets.into_iter().map(str::to_owned).collect();
        let options = StackOptions {
            shards: vec![Flavour::MySql],
            workers: 1,
            // What a publisher does when it is not told otherwise.
            heartbeat_seconds: 10.0,
            device_arguments: ALL_SERVERS.map(str::to_owned).to_vec(),
            shard_arguments: targets.clone(),
            ..StackOptions::new(&[Flavour::MySql], stack::built_binaries()?)
        };
        let mut stack = Stack::start(&options)?;
        stack.ready(READY).await?;
        let replica = Replica::new(&stack.devices[0], &targets).await?;
        backlog::prepare(&stack.devices[0]).await?;
        stack.devices[0].publisher.stop()?;
        Ok(Self { stack, replica })
    }

    pub(super) fn device(&self) -> &Device {
        &self.stack.devices[0]
    }

    /// Empties the tables everywhere; then nobody follows.
    pub(super) async fn begin(&mut self) -> Result<()> {
        backlog::empty(self.device()).await?;
        self.replica.start().await?;
        self.stack.devices[0].publisher.start()?;
        self.stack.caught_up(READY).await?;
        self.replica.caught_up(self.device(), READY).await?;
        self.stop(Follower::Native).await?;
        self.stop(Follower::Tributary).await
    }

    /// The size of the source's log.
    pub(super) async fn log_bytes(&self) -> Result<u64> {
        let mut conn = stack::connect(&self.device().server).await?;
        let files: Vec<Row> = conn.query("SHOW BINARY LOGS").await?;
        Ok(files.iter().filter_map(|file| file.get::<u64, _>(1)).sum())
    }

    /// From the follower's start until its server has committed all that is in the log. It goes on running.
    pub(super) async fn drain(&mut self, follower: Follower) -> Result<Drain> {
        match follower {
            Follower::Native => self.drain_natively().await,
            Follower::Tributary => Box::pin(self.drain_by_tributary()).await,
        }
    }

    /// Stops a follower.
    pub(super) async fn stop(&mut self, follower: Follower) -> Result<()> {
        match follower {
            Follower::Native => self.replica.stop().await,
            Follower::Tributary => self.stack.devices[0].publisher.stop(),
        }
    }

    /// Compares every table of the source with the follower's.
    pub(super) async fn verdict(&self, follower: Follower) -> Result<Verdict> {
        match follower {
            Follower::Native => self.replica.verdict(self.device()).await,
            Follower::Tributary => self.stack.verdict(self.device()).await,
        }
    }

    async fn drain_natively(&mut self) -> Result<Drain> {
        let meters = [
            ("source", Meter::start(self.device().server.pid())?),
            ("target", Meter::start(self.replica.server.pid())?),
        ];
        let began = Instant::now();
        self.replica.start().await?;
        self.replica.caught_up(self.device(), PATIENCE).await?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(Drain { seconds, costs: read(&meters)?, wire_bytes: 0.0 })
    }

    async fn drain_by_tributary(&mut self) -> Result<Drain> {
        let head = self.device().head().await?;
        let mut watch = stack::connect(&self.stack.shards[0].server).await?;
        let mut meters = vec![
            ("source", Meter::start(self.device().server.pid())?),
            ("nats", Meter::start(self.stack.nats.pid())?),
            ("worker", Meter::start(self.stack.workers[0].pid())?),
            ("target", Meter::start(self.stack.shards[0].server.pid())?),
        ];
        let began = Instant::now();
        self.stack.devices[0].publisher.start()?;
        meters.push(("publisher", Meter::start(self.device().publisher.pid())?));
        self.applied(&mut watch, head, began).await?;
        let seconds = began.elapsed().as_secs_f64();
        let costs = read(&meters)?;
        // The last acknowledgement may come to the publisher after the shard's commit.
        published(&mut self.stack.devices[0], READY).await?;
        let metrics = self.device().publisher.metrics().await?;
        let wire_bytes = metrics.get("tributary_publisher_bytes_published_total", &[]);
        Ok(Drain { seconds, costs, wire_bytes: wire_bytes.context("no bytes are counted")? })
    }

    /// Waits until the shard's watermark is at the log's end.
    async fn applied(
        &mut self,
        watch: &mut mysql_async::Conn,
        head: (u32, u64),
        began: Instant,
    ) -> Result<()> {
        let question = "SELECT file, `offset` FROM tributary.watermark";
        while watch.query_first(question).await?.is_none_or(|applied: (u32, u64)| applied < head) {
            let publisher = &mut self.stack.devices[0].publisher;
            if began.elapsed() > PATIENCE || !publisher.is_running() {
                bail!("the backlog is not drained\n{}", publisher.log_tail(15));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

fn read(meters: &[(&'static str, Meter)]) -> Result<Vec<(&'static str, Cost)>> {
    meters.iter().map(|(process, meter)| Ok((*process, meter.read()?))).collect()
}
