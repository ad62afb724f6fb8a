//! Which partitions this replica reads: a loop that compares what it should own with what it owns.
//!
//! It takes no orders and keeps no list of things to do: each turn looks at the buckets and does what
//! is due. Leases are for efficiency; the chain rule is what keeps data safe.

use crate::config::StreamConfig;
use crate::consumer;
use crate::directory::Directory;
use crate::intake::{Ended, Intake, Lanes};
use crate::lane::Health;
use crate::lease::{self, Held, Lease};
use crate::metrics;
use crate::provision::{self, Provisioned};
use crate::share;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tributary_runtime::{CancellationToken, Readiness};
use tributary_wire::{self as wire, Limits};

/// Leases that are read at the same time.
const READS_MAX: usize = 16;
/// A partition is not read anew more often than this.
const RENEWAL: Duration = Duration::from_secs(1);
/// An intake that stops has so long to get its messages committed before its lease is given away.
const DRAIN: Duration = Duration::from_secs(10);

/// What ownership works with.
#[derive(Debug)]
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

#[derive(Debug)]
struct Running {
    generation: u64,
    revision: u64,
    begun: Instant,
    stop: CancellationToken,
    task: JoinHandle<Ended>,
    slots: Arc<Semaphore>,
}

// === impl Owned ===

impl Owned {
    /// The consumer of a partition, if this replica owns it.
    pub fn consumer(&self, partition: u32) -> Option<PullConsumer> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner).get(&partition).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u32, PullConsumer>)) {
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut consumers);
        #[expect(clippy::cast_precision_loss, reason = "at most 1024 partitions")]
        ::metrics::gauge!(metrics::PARTITIONS_OWNED).set(consumers.len() as f64);
    }
}

// === impl Ownership ===

impl Ownership {
    /// Runs until `stop`, then gives everything back.
    pub async fn run(self, stop: CancellationToken) {
        let mut state = State::new(self);
        let mut tick = tokio::time::interval(state.ownership.lease_ttl / 3);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
                () = state.ended.notified() => {}
            }
            let turn = tokio::select! {
                () = stop.cancelled() => break,
                turn = state.turn() => turn,
            };
            state.judge(turn);
        }
        state.give_back().await;
    }
}

struct State {
    ownership: Ownership,
    provisioned: Option<Provisioned>,
    membership: Option<u64>,
    refreshed: Instant,
    running: BTreeMap<u32, Running>,
    ended: Arc<Notify>,
}

// === impl State ===

impl State {
    fn new(ownership: Ownership) -> Self {
        Self {
            ownership,
            provisioned: None,
            membership: None,
            refreshed: Instant::now(),
            running: BTreeMap::new(),
            ended: Arc::new(Notify::new()),
        }
    }

    /// One comparison of what should be with what is.
    async fn turn(&mut self) -> Result<(), String> {
        let Ownership { context, stream, lease_ttl, .. } = &self.ownership;
        let provisioned = provision::reconcile(context, stream, *lease_ttl).await;
        let provisioned = provisioned.map_err(|error| error.to_string())?;
        self.provisioned = Some(provisioned.clone());
        let worker = self.ownership.worker_id.clone();
        let text = |error: lease::LeaseError| error.to_string();
        self.membership = Some(lease::refresh(&provisioned.workers, &worker).await.map_err(text)?);
        self.refreshed = Instant::now();
        let mut live = lease::live(&provisioned.workers).await.map_err(text)?;
        if !live.contains(&worker) {
            live.push(worker);
        }
        let leases = self.read_leases(&provisioned).await?;
        for (partition, held) in leases {
            self.partition(&provisioned, partition, held, &live).await?;
        }
        Ok(())
    }

    async fn read_leases(&self, provisioned: &Provisioned) -> Result<Vec<(u32, Held)>, String> {
        let read = |partition| {
            let leases = provisioned.leases.clone();
            async move { lease::read(&leases, partition).await.map(|held| (partition, held)) }
        };
        let reads = futures_util::stream::iter(0..self.ownership.stream.partitions).map(read);
        let read: Vec<_> = reads.buffer_unordered(READS_MAX).collect().await;
        read.into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    /// Does what is due for one partition.
    async fn partition(
        &mut self,
        provisioned: &Provisioned,
        partition: u32,
        held: Held,
        live: &[String],
    ) -> Result<(), String> {
        let me = self.ownership.worker_id.as_str();
        let mine = share::owner(partition, live) == Some(me);
        let owner = held.lease.owner.as_deref();
        let free =
            owner.is_none_or(|owner| owner == me || !live.iter().any(|worker| worker == owner));
        match self.running.get(&partition) {
            Some(running) if held.revision != running.revision => {
                tracing::warn!(partition, owner, "the lease is someone else's now");
                self.stop(partition).await;
                Ok(())
            }
            Some(_) if !mine => self.release(provisioned, partition).await,
            Some(running) if running.task.is_finished() => {
                if running.begun.elapsed() >= RENEWAL {
                    self.acquire(provisioned, partition, held, None).await?;
                } else {
                    self.look_again_later();
                }
                Ok(())
            }
            Some(_) => match self.replay_due(partition).await {
                Some(from) => self.replay(provisioned, partition, held, from).await,
                None => Ok(()),
            },
            None if mine && free => self.acquire(provisioned, partition, held, None).await,
            None => Ok(()),
        }
    }

    fn look_again_later(&self) {
        let ended = Arc::clone(&self.ended);
        tokio::spawn(async move {
            tokio::time::sleep(RENEWAL).await;
            ended.notify_one();
        });
    }

    /// Where the partition has to be read again from, because shards that were down are back.
    async fn replay_due(&self, partition: u32) -> Option<u64> {
        let Directory { replays, shards, .. } = &*self.ownership.directory;
        if !replays.is_waiting(partition) {
            return None;
        }
        let mut takes = Vec::with_capacity(shards.len());
        for (shard, lanes) in shards.iter().zip(self.ownership.lanes.iter()) {
            let up = lanes.iter().all(|lane| lane.health() == Health::Up);
            takes.push(up && shard.is_reachable().await);
        }
        replays.due(partition, |shard| takes.get(shard) == Some(&true))
    }

    /// Reads the partition again from there.
    async fn replay(
        &mut self,
        provisioned: &Provisioned,
        partition: u32,
        held: Held,
        from: u64,
    ) -> Result<(), String> {
        tracing::info!(partition, from, "reading again what was left in the stream");
        if let Some(mut running) = self.running.remove(&partition) {
            running.stop.cancel();
            // It only fails when the intake panicked, which has been logged.
            let _ = (&mut running.task).await;
        }
        let partitions = self.ownership.stream.partitions;
        self.ownership.directory.reopen(|device| wire::partition(device, partitions) == partition);
        self.acquire(provisioned, partition, held, Some(from)).await
    }

    /// Takes the lease, makes a consumer, starts the intake.
    async fn acquire(
        &mut self,
        provisioned: &Provisioned,
        partition: u32,
        held: Held,
        replay_from: Option<u64>,
    ) -> Result<(), String> {
        let generation = held.lease.generation + 1;
        let lease = Lease { owner: Some(self.ownership.worker_id.clone()), generation };
        let written = lease::write(&provisioned.leases, partition, &lease, held.revision).await;
        let Some(revision) = written.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        let taken =
            consumer::take_over(&provisioned.stream, partition, generation, replay_from).await;
        // Without a consumer the lease is still ours, and the next turn takes it again.
        let consumer = taken.map_err(|error| error.to_string())?;
        tracing::debug!(partition, generation, "took a partition");
        let slots = Intake::slots();
        let intake = Intake {
            partition,
            consumer: consumer.clone(),
            directory: Arc::clone(&self.ownership.directory),
            lanes: Arc::clone(&self.ownership.lanes),
            limits: self.ownership.limits,
            payload_bytes_max: self.ownership.context.client().max_payload(),
            slots: Arc::clone(&slots),
        };
        let (stop, ended) = (CancellationToken::new(), Arc::clone(&self.ended));
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let outcome = intake.run(token).await;
            if outcome == Ended::Broken {
                ended.notify_one();
            }
            outcome
        });
        self.ownership.owned.change(|consumers| {
            consumers.insert(partition, consumer);
        });
        let begun = Instant::now();
        let running = Running { generation, revision, begun, stop, task, slots };
        self.running.insert(partition, running);
        Ok(())
    }

    /// Gives a partition to whoever should have it: stops its intake, lets what is in flight be
    /// committed, then frees the lease.
    async fn release(&mut self, provisioned: &Provisioned, partition: u32) -> Result<(), String> {
        let Some(running) = self.stop(partition).await else { return Ok(()) };
        let _ = tokio::time::timeout(DRAIN, Intake::drained(&running.slots)).await;
        let lease = Lease { owner: None, generation: running.generation };
        let freed = lease::write(&provisioned.leases, partition, &lease, running.revision).await;
        tracing::debug!(partition, "released a partition");
        freed.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Stops reading a partition, and forgets its devices.
    async fn stop(&mut self, partition: u32) -> Option<Running> {
        let mut running = self.running.remove(&partition)?;
        self.ownership.owned.change(|consumers| {
            consumers.remove(&partition);
        });
        running.stop.cancel();
        // It only fails when the intake panicked, which has been logged.
        let _ = (&mut running.task).await;
        let (directory, partitions) = (&self.ownership.directory, self.ownership.stream.partitions);
        directory.replays.forget(partition);
        directory.forget_where(|device| wire::partition(device, partitions) == partition);
        Some(running)
    }

    /// Says how a turn went; a replica that could not say that it lives stops, because others have
    /// taken its partitions by now.
    fn judge(&mut self, turn: Result<(), String>) {
        let lost = self.refreshed.elapsed() >= self.ownership.lease_ttl;
        match &turn {
            Ok(()) => {}
            Err(reason) => tracing::warn!(reason, "cannot look after the partitions; trying again"),
        }
        if lost {
            for running in self.running.values() {
                running.stop.cancel();
            }
        }
        self.ownership.readiness.set_ready("nats", turn);
    }

    async fn give_back(&mut self) {
        let partitions: Vec<u32> = self.running.keys().copied().collect();
        for running in self.running.values() {
            running.stop.cancel();
        }
        let Some(provisioned) = self.provisioned.clone() else { return };
        for partition in partitions {
            if let Err(reason) = self.release(&provisioned, partition).await {
                tracing::debug!(partition, reason, "a lease was not given back; it ages");
            }
        }
        if let Some(revision) = self.membership.take() {
            let _ = lease::resign(&provisioned.workers, revision).await;
        }
    }
}
