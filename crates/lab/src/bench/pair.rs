//! A device and its two followers: MySQL's own replication, and Tributary.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use tributary_testkit::Flavour;
use tributary_testkit::audit::Verdict;
use tributary_testkit::stack::{self, Device, Stack, StackOptions};

use super::replica::Replica;

/// Who follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follower {
    /// A MySQL replica.
    Native,
    /// Publisher, nats-server, one sync-worker and a shard.
    Tributary,
}

impl Follower {
    pub(super) const ALL: [Follower; 2] = [Follower::Native, Follower::Tributary];
}

impl fmt::Display for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Follower::Native => "native",
            Follower::Tributary => "tributary",
        })
    }
}

/// All servers, and what runs beside them. Each follower can be stopped while the other one works.
pub(super) struct Pair {
    pub(super) stack: Stack,
    pub(super) replica: Replica,
}

/// MySQL's own defaults (innodb_buffer_pool_size, innodb_redo_log_capacity), where the kit's are smaller.
const ALL_SERVERS: [&str; 2] =
    ["--innodb-buffer-pool-size=134217728", "--innodb-redo-log-capacity=104857600"];
/// A replica by auto-position needs GTIDs; the shard has what the replica has.
const TARGETS: [&str; 3] =
    ["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--binlog-row-metadata=MINIMAL"];
const TARGET_BINLOG: &str = "--log-bin=binlog";
const READY: Duration = Duration::from_secs(60);

impl Pair {
    /// Starts the servers, all durable and with the same settings; nobody follows yet.
    pub(super) async fn new(target_binlog: bool) -> Result<Self> {
        Self::with_neighbours(target_binlog, 0).await
    }

    /// The same, with more devices, which only Tributary follows and from the beginning. All share one lane.
    pub(super) async fn with_neighbours(target_binlog: bool, neighbours: usize) -> Result<Self> {
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
            ..StackOptions::new(&vec![Flavour::MySql; 1 + neighbours], stack::built_binaries()?)
        };
        let lanes = if neighbours > 0 { 1 } else { options.lanes };
        let options = StackOptions { lanes, ..options };
        let mut stack = Stack::start(&options)?;
        stack.ready(READY).await?;
        let replica = Replica::new(&stack.devices[0], &targets).await?;
        stack.devices[0].publisher.stop()?;
        Ok(Self { stack, replica })
    }

    pub(super) fn device(&self) -> &Device {
        &self.stack.devices[0]
    }

    /// Follows from now on.
    pub(super) async fn start(&mut self, follower: Follower) -> Result<()> {
        match follower {
            Follower::Native => self.replica.start().await,
            Follower::Tributary => self.stack.devices[0].publisher.start(),
        }
    }

    /// Follows no more.
    pub(super) async fn stop(&mut self, follower: Follower) -> Result<()> {
        match follower {
            Follower::Native => self.replica.stop().await,
            Follower::Tributary => self.stack.devices[0].publisher.stop(),
        }
    }

    /// Waits until everything is applied that the device has committed.
    pub(super) async fn caught_up(&self, follower: Follower, patience: Duration) -> Result<()> {
        match follower {
            Follower::Native => self.replica.caught_up(self.device(), patience).await,
            Follower::Tributary => self.stack.caught_up(patience).await,
        }
    }

    /// Compares every table of the device with the follower's.
    pub(super) async fn verdict(&self, follower: Follower) -> Result<Verdict> {
        match follower {
            Follower::Native => self.replica.verdict(self.device()).await,
            Follower::Tributary => self.stack.verdict(self.device()).await,
        }
    }
}
