//! The partitions that this replica reads: takes, renews, replays and releases them.

use crate::consumer::{self, ACK_PENDING_MAX};
use crate::directory::Directory;
use crate::intake::{Ended, Intake};
use crate::lane::Health;
use crate::lease::{self, Held, Lease};
use crate::ownership::Ownership;
use crate::provision::Provisioned;
use crate::share;
use crate::slots::Slots;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tributary_runtime::CancellationToken;
use tributary_wire as wire;

/// A partition is not read anew more often than this.
const RENEWAL: Duration = Duration::from_secs(1);
/// Intakes that stop have so long to get their messages committed before the leases are given away.
const DRAIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Partitions {
    ownership: Ownership,
    running: BTreeMap<u32, Running>,
    /// The newest generation that was seen of each partition: a lease that something else was written over
    /// goes on there.
    generations: BTreeMap<u32, u64>,
    /// Where a partition is to be read again from that could not be taken anew.
    postponed: BTreeMap<u32, u64>,
    due: Arc<Notify>,
}

#[derive(Debug)]
struct Running {
    generation: u64,
    revision: u64,
    begun: Instant,
    stop: CancellationToken,
    task: Task,
    slots: Arc<Slots>,
}

/// A task that does not outlive its handle.
#[derive(Debug)]
struct Task(JoinHandle<Ended>);

/// What is due for a partition.
enum Due {
    Nothing,
    /// To take it, or to take it anew, from an earlier message where one is named.
    Take(Option<u64>),
    /// To give it to whoever should have it.
    Release,
    /// To let go of a lease that an earlier process of this name left behind: the others see its owner
    /// alive and would wait for ever.
    Disown,
    /// To stop reading it: someone else has it.
    Stop,
}

// === impl Task ===

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Partitions ===

impl Partitions {
    /// None yet.
    pub(crate) fn new(ownership: Ownership) -> Self {
        Self {
            ownership,
            running: BTreeMap::new(),
            generations: BTreeMap::new(),
            postponed: BTreeMap::new(),
            due: Arc::new(Notify::new()),
        }
    }

    /// Waits until a partition cannot be read any more as it is.
    pub(crate) async fn wants_a_turn(&self) {
        self.due.notified().await;
    }

    /// Does what is due for each partition. One that fails does not keep the others from it.
    pub(crate) async fn reconcile(
        &mut self,
        made: &Provisioned,
        leases: Vec<(u32, Held)>,
        live: &[String],
    ) -> Result<(), String> {
        let mut outcome = Ok(());
        let mut release = Vec::new();
        for (partition, mut held) in leases {
            let newest = self.generations.entry(partition).or_default();
            *newest = held.lease.generation.max(*newest);
            if held.is_unreadable {
                tracing::warn!(
                    partition,
                    generation = *newest,
                    "something that is no lease was written in its place; it is written anew"
                );
                held.lease.generation = *newest;
            }
            let done = match self.due(partition, &held, live).await {
                Due::Nothing => Ok(()),
                Due::Take(replay_from) => self.take(made, partition, &held, replay_from).await,
                Due::Stop => {
                    let owner = held.lease.owner.as_deref();
                    tracing::info!(partition, owner, "the lease is someone else's now");
                    self.stop(partition).await;
                    Ok(())
                }
                Due::Release => {
                    release.push(partition);
                    Ok(())
                }
                Due::Disown => {
                    free_lease(made, partition, held.lease.generation, held.revision).await
                }
            };
            outcome = outcome.and(done);
        }
        outcome.and(self.release(made, release).await)
    }

    /// Stops all intakes, and keeps the leases: they are taken anew if they are still ours.
    pub(crate) fn stop_reading(&self) {
        for running in self.running.values() {
            running.stop.cancel();
        }
    }

    /// Releases everything.
    pub(crate) async fn give_back(&mut self, made: &Provisioned) {
        let all = self.running.keys().copied().collect();
        if let Err(reason) = self.release(made, all).await {
            tracing::debug!(reason, "leases were not given back; they age");
        }
    }

    async fn due(&self, partition: u32, held: &Held, live: &[String]) -> Due {
        let me = self.ownership.worker_id.as_str();
        let mine = share::owner(partition, live) == Some(me);
        let owner = held.lease.owner.as_deref();
        let free =
            owner.is_none_or(|owner| owner == me || !live.iter().any(|worker| worker == owner));
        match self.running.get(&partition) {
            None if mine && free => Due::Take(None),
            None if owner == Some(me) => Due::Disown,
            None => Due::Nothing,
            // Nobody else has taken it.
            Some(_) if held.is_unreadable && mine => Due::Take(None),
            Some(running) if held.revision != running.revision => Due::Stop,
            Some(_) if !mine => Due::Release,
            Some(running) if !running.task.0.is_finished() => {
                let replay_from = self.replay_due(partition).await;
                replay_from.map_or(Due::Nothing, |from| Due::Take(Some(from)))
            }
            Some(running) if running.begun.elapsed() >= RENEWAL => Due::Take(None),
            Some(_) => {
                let due = Arc::clone(&self.due);
                tokio::spawn(async move {
                    tokio::time::sleep(RENEWAL).await;
                    due.notify_one();
                });
                Due::Nothing
            }
        }
    }

    /// Where the partition has to be read again from, because shards that were down are back, or lanes that were
    /// crowded have room.
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
        takes.push(self.ownership.directory.roster_complaint().is_none());
        let has_room = |shard: usize, lane: usize| {
            if shard == shards.len() {
                return true;
            }
            let lane = self.ownership.lanes.get(shard).and_then(|lanes| lanes.get(lane));
            lane.is_some_and(|lane| !lane.is_crowded())
        };
        replays
            .due(partition, |shard, lane| takes.get(shard) == Some(&true) && has_room(shard, lane))
    }

    /// Takes the lease, makes a consumer, starts the intake; ends the one that there was.
    async fn take(
        &mut self,
        made: &Provisioned,
        partition: u32,
        held: &Held,
        replay_from: Option<u64>,
    ) -> Result<(), String> {
        if let Some(running) = self.running.remove(&partition) {
            running.stop.cancel();
        }
        let postponed = self.postponed.get(&partition).copied();
        let replay_from = replay_from.into_iter().chain(postponed).min();
        if let Some(from) = replay_from {
            self.postponed.insert(partition, from);
            tracing::info!(partition, from, "reading again what was left in the stream");
            self.ownership.directory.reopen(|device| self.is_in(device, partition));
        }
        let generation = held.lease.generation + 1;
        let lease = Lease { owner: Some(self.ownership.worker_id.clone()), generation };
        let written = lease::write(&made.leases, partition, &lease, held.revision).await;
        let Some(revision) = written.map_err(|error| error.to_string())? else {
            // Someone else's now: not ours to answer for.
            self.ownership.owned.set(partition, None);
            self.ownership.directory.forget_where(|device| self.is_in(device, partition));
            return Ok(());
        };
        self.generations.insert(partition, generation);
        // Without a consumer the lease is still ours, and the next turn takes it again.
        let taken = consumer::take_over(&made.stream, partition, generation, replay_from).await;
        let consumer = taken.map_err(|error| error.to_string())?;
        tracing::debug!(partition, generation, "took a partition");
        self.postponed.remove(&partition);
        self.ownership.owned.set(partition, Some(consumer.clone()));
        let running = self.start(partition, consumer, generation, revision);
        self.running.insert(partition, running);
        Ok(())
    }

    fn start(
        &self,
        partition: u32,
        consumer: async_nats::jetstream::consumer::PullConsumer,
        generation: u64,
        revision: u64,
    ) -> Running {
        let slots = Slots::new(ACK_PENDING_MAX);
        let intake = Intake {
            partition,
            consumer,
            directory: Arc::clone(&self.ownership.directory),
            lanes: Arc::clone(&self.ownership.lanes),
            limits: self.ownership.limits,
            payload_bytes_max: self.ownership.context.client().max_payload(),
            slots: Arc::clone(&slots),
            until_empty: false,
        };
        let (stop, due) = (CancellationToken::new(), Arc::clone(&self.due));
        let token = stop.clone();
        let task = Task(tokio::spawn(async move {
            let ended = intake.run(token).await;
            if ended == Ended::Broken {
                due.notify_one();
            }
            ended
        }));
        Running { generation, revision, begun: Instant::now(), stop, task, slots }
    }

    /// Gives partitions to whoever should have them: stops their intakes, lets what is in flight be
    /// committed, then frees the leases.
    async fn release(&mut self, made: &Provisioned, partitions: Vec<u32>) -> Result<(), String> {
        let mut stopped = Vec::with_capacity(partitions.len());
        for partition in partitions {
            stopped.extend(self.stop(partition).await.map(|running| (partition, running)));
        }
        let drained = join_all(stopped.iter().map(|(_, running)| running.slots.drained()));
        // What is not committed by then is read again by the next owner, and found to be a duplicate.
        let _ = tokio::time::timeout(DRAIN, drained).await;
        for (partition, _) in &stopped {
            // What was committed meanwhile has told of its devices.
            self.ownership.directory.forget_where(|device| self.is_in(device, *partition));
        }
        let free = stopped.iter().map(|(partition, running)| {
            free_lease(made, *partition, running.generation, running.revision)
        });
        join_all(free).await.into_iter().collect()
    }

    /// Stops reading a partition, and forgets its devices.
    async fn stop(&mut self, partition: u32) -> Option<Running> {
        self.postponed.remove(&partition);
        let mut running = self.running.remove(&partition)?;
        self.ownership.owned.set(partition, None);
        running.stop.cancel();
        // It only fails when the intake panicked, which has been logged.
        let _ = (&mut running.task.0).await;
        self.ownership.directory.replays.forget(partition);
        self.ownership.directory.forget_where(|device| self.is_in(device, partition));
        Some(running)
    }

    fn is_in(&self, device: &wire::DeviceId, partition: u32) -> bool {
        wire::partition(device, self.ownership.stream.partitions) == partition
    }
}

/// Frees a lease that nobody reads under, if it is still at `revision`.
async fn free_lease(
    made: &Provisioned,
    partition: u32,
    generation: u64,
    revision: u64,
) -> Result<(), String> {
    let lease = Lease { owner: None, generation };
    let written = lease::write(&made.leases, partition, &lease, revision).await;
    written.map(|_| ()).map_err(|error| error.to_string())
}
