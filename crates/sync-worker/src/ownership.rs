//! Which partitions this replica reads: a loop that compares what it should own with what it owns.
//!
//! It takes no orders and keeps no list of things to do: each turn looks at the buckets and does what
//! is due. Leases are for efficiency; the chain rule is what keeps data safe.

use crate::catch_up::CatchUp;
use crate::config::StreamConfig;
use crate::directory::Directory;
use crate::intake::Lanes;
use crate::lease::{self, Held};
use crate::membership::{Membership, MembershipError, NameTaken};
use crate::metrics;
use crate::partitions::Partitions;
use crate::provision::{self, Provisioned};
use crate::roster;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tributary_runtime::{CancellationToken, Readiness};
use tributary_wire::Limits;

/// Leases that are read at the same time.
const READS_MAX: usize = 16;

/// What ownership works with.
#[derive(Debug, Clone)]
pub struct Ownership {
    /// JetStream.
    pub context: Context,
    /// What the stream has to be like.
    pub stream: StreamConfig,
    /// This replica's name.
    pub worker_id: String,
    /// Without a sign of life for so long, a replica is gone.
    pub lease_ttl: Duration,
    /// Where devices belong.
    pub directory: Arc<Directory>,
    /// Where batches go.
    pub lanes: Lanes,
    /// What a message may make us allocate.
    pub limits: Limits,
    /// Reads again what single devices have missed.
    pub catch_up: CatchUp,
    /// What the rest of the replica sees of it.
    pub owned: Arc<Owned>,
    /// Where it says whether it can work.
    pub readiness: Readiness,
}

/// The partitions that this replica owns, with their consumers.
#[derive(Debug, Default)]
pub struct Owned {
    consumers: Mutex<BTreeMap<u32, PullConsumer>>,
}

/// Why a turn did not come to its end.
#[derive(Debug)]
enum TurnError {
    /// The next may.
    Now(String),
    /// None will.
    NameTaken(NameTaken),
}

impl From<String> for TurnError {
    fn from(reason: String) -> Self {
        Self::Now(reason)
    }
}

impl From<MembershipError> for TurnError {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Bucket(error) => Self::Now(error.to_string()),
            MembershipError::NameTaken(taken) => Self::NameTaken(taken),
        }
    }
}

// === impl Owned ===

impl Owned {
    /// The consumer of a partition, if this replica owns it.
    pub fn consumer(&self, partition: u32) -> Option<PullConsumer> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner).get(&partition).cloned()
    }

    /// True when this replica owns the partition.
    pub(crate) fn owns(&self, partition: u32) -> bool {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&partition)
    }

    /// Notes the consumer of a partition, or that there is none any more.
    pub(crate) fn set(&self, partition: u32, consumer: Option<PullConsumer>) {
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        match consumer {
            Some(consumer) => consumers.insert(partition, consumer),
            None => consumers.remove(&partition),
        };
        #[expect(clippy::cast_precision_loss, reason = "at most 1024 partitions")]
        ::metrics::gauge!(metrics::PARTITIONS_OWNED).set(consumers.len() as f64);
    }
}

// === impl Ownership ===

impl Ownership {
    /// Runs until `stop`, then gives everything back.
    ///
    /// # Errors
    /// [`NameTaken`] when another process has this worker's name, and had it first.
    pub async fn run(self, stop: CancellationToken) -> Result<(), NameTaken> {
        let mut partitions = Partitions::new(self.clone());
        let mut membership = Membership::new(self.worker_id.clone(), self.lease_ttl);
        let mut tick = tokio::time::interval(self.lease_ttl / 3);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut provisioned = None;
        let outcome = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                _ = tick.tick() => {}
                () = partitions.wants_a_turn() => {}
            }
            let turn = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                turn = self.turn(&mut partitions, &mut membership) => turn,
            };
            if membership.has_lapsed() {
                // Others have taken its partitions by now.
                partitions.stop_reading();
            }
            let state = match turn {
                Ok(now) => {
                    provisioned = Some(now);
                    Ok(())
                }
                Err(TurnError::NameTaken(taken)) => break Err(taken),
                Err(TurnError::Now(reason)) => Err(reason),
            };
            if let Err(reason) = &state {
                tracing::warn!(reason, "cannot look after the partitions; trying again");
            }
            self.readiness.set_ready("nats", state);
        };
        if let Some(provisioned) = provisioned {
            partitions.give_back(&provisioned).await;
            if outcome.is_ok() {
                membership.end(&provisioned).await;
            }
        }
        outcome
    }

    /// One comparison of what should be with what is.
    async fn turn(
        &self,
        partitions: &mut Partitions,
        membership: &mut Membership,
    ) -> Result<Provisioned, TurnError> {
        let provisioned = provision::reconcile(&self.context, &self.stream, self.lease_ttl).await;
        let provisioned = provisioned.map_err(|error| error.to_string())?;
        let live = membership.refresh(&provisioned).await?;
        let Some(live) = live else {
            tracing::info!(
                worker = self.worker_id,
                "waiting until it is certain that the former worker of this name is gone"
            );
            return Ok(provisioned);
        };
        // Before a partition is taken: its devices may be at a shard that only others know.
        let missing = roster::merge(&provisioned.leases, &self.directory.shards).await;
        let missing = missing.map_err(|error| error.to_string())?;
        self.directory.set_roster_complaint(roster::complaint(&missing));
        let leases = self.read_leases(&provisioned).await?;
        // Taking over may be slow: membership goes on meanwhile.
        let outcome = tokio::select! {
            never = membership.keep_up(&provisioned) => match never {},
            outcome = partitions.reconcile(&provisioned, leases, &live) => outcome,
        };
        let is_ours = |partition| self.owned.owns(partition);
        self.catch_up.begin_due(self.stream.partitions, is_ours);
        outcome?;
        Ok(provisioned)
    }

    async fn read_leases(&self, provisioned: &Provisioned) -> Result<Vec<(u32, Held)>, String> {
        let read = |partition| {
            let leases = provisioned.leases.clone();
            async move { lease::read(&leases, partition).await.map(|held| (partition, held)) }
        };
        let reads = futures_util::stream::iter(0..self.stream.partitions).map(read);
        let read: Vec<_> = reads.buffer_unordered(READS_MAX).collect().await;
        read.into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string())
    }
}
