//! A lane: one connection to a shard, and the queue in front of it.

use crate::directory::Directory;
use crate::hash;
use crate::metrics;
use crate::pass::Gap;
use crate::shard::Shard;
use crate::slots::Slot;
use async_nats::jetstream::message::Acker;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tributary_runtime::CancellationToken;
use tributary_wire::{Batch, DeviceId};

/// Batches that may wait for a lane.
const QUEUE_BATCHES: usize = 512;
/// Memory that the batches of a lane may take, waiting or in hand, in KiB: two transactions' worth.
const QUEUE_KIB: usize = 16 << 10;
/// Batches and bytes that go into one transaction.
const GROUP_BATCHES: usize = 256;
const GROUP_BYTES: usize = 8 << 20;
/// A lane that makes no room for so long is crowded: what comes for it is left in the stream at once, and its
/// partitions wait for it no more, until half of its room is free.
const PATIENCE: Duration = Duration::from_secs(2);
/// An acknowledgement that NATS does not take in this time is left out: the message comes again.
const ACK: Duration = Duration::from_secs(1);

/// A message on its way through a lane.
pub struct Delivery {
    /// Whose it is.
    pub device: DeviceId,
    /// The shard is known to hold the device's row.
    pub held: bool,
    /// Its place in the stream.
    pub sequence: u64,
    /// What it says.
    pub content: Content,
    /// Acknowledges it.
    pub acker: Acker,
    /// Keeps its place in its reader's limit of messages in flight.
    pub slot: Slot,
    /// Keeps its place in the lane's limit of bytes; the lane's entrance sets it.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// What a message says.
#[derive(Debug)]
pub enum Content {
    /// A batch.
    Batch(Box<Batch>),
    /// Nothing that can be read, for this reason.
    Unreadable(String),
}

/// Whether a lane takes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does, or has not been found not to.
    Up,
    /// Its shard cannot be written to.
    Down,
}

/// The way into a lane.
#[derive(Debug, Clone)]
pub struct Entrance {
    queue: mpsc::Sender<Delivery>,
    memory: Arc<Semaphore>,
    health: watch::Receiver<Health>,
    crowded: Arc<AtomicBool>,
}

/// Where a lane stands, and what it shares with its detours.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its shard.
    pub shard: Arc<Shard>,
    /// Index of the shard.
    pub shard_index: usize,
    /// Its number within the shard.
    pub number: usize,
    /// Where its findings go.
    pub directory: Arc<Directory>,
    /// Once this is cancelled it takes no more, and ends when what it has is done.
    pub finish: CancellationToken,
    /// Whether the shard can be written to.
    pub(crate) health: watch::Sender<Health>,
}

/// A lane. [`Lane::run`] is its loop.
#[derive(Debug)]
pub struct Lane {
    pub(crate) place: Place,
    queue: mpsc::Receiver<Delivery>,
}

/// Makes a lane and the way into it.
pub fn lane(
    shard: Arc<Shard>,
    shard_index: usize,
    number: usize,
    directory: Arc<Directory>,
    finish: CancellationToken,
) -> (Entrance, Lane) {
    let (sender, queue) = mpsc::channel(QUEUE_BATCHES);
    let (health, watched) = watch::channel(Health::Up);
    let memory = Arc::new(Semaphore::new(QUEUE_KIB));
    let entrance = Entrance { queue: sender, memory, health: watched, crowded: Arc::default() };
    let place = Place { shard, shard_index, number, directory, finish, health };
    (entrance, Lane { place, queue })
}

/// Which of a shard's lanes a device has: always the same.
pub(crate) fn number_of(device: &DeviceId, lanes: usize) -> usize {
    let hash = hash::stable(&["lane", device.as_str()]);
    usize::try_from(hash % lanes.max(1) as u64).unwrap_or(0)
}

// === impl Entrance ===

impl Entrance {
    /// Hands a message over; waits a little while the lane is full.
    ///
    /// # Errors
    /// Gives it back when the lane's shard is down, or goes down meanwhile, or the lane makes no room in
    /// time or has made none for the message before: its partition must not wait for it.
    pub async fn push(&self, mut delivery: Delivery) -> Result<(), Box<Delivery>> {
        let mut health = self.health.clone();
        if *health.borrow_and_update() == Health::Down {
            return Err(Box::new(delivery));
        }
        if self.is_crowded() {
            return Err(Box::new(delivery));
        }
        let kib = u32::try_from(delivery.content.memory_bytes() / 1024 + 1).unwrap_or(u32::MAX);
        // A batch larger than all of the lane's memory goes alone.
        let kib = kib.min(u32::try_from(QUEUE_KIB).unwrap_or(u32::MAX));
        let room = async {
            let memory = Arc::clone(&self.memory).acquire_many_owned(kib).await.ok()?;
            let place = self.queue.reserve().await.ok()?;
            Some((memory, place))
        };
        tokio::select! {
            room = room => match room {
                Some((memory, place)) => {
                    delivery.memory = Some(memory);
                    place.send(delivery);
                    Ok(())
                }
                None => Err(Box::new(delivery)),
            },
            _ = health.wait_for(|health| *health == Health::Down) => Err(Box::new(delivery)),
            () = tokio::time::sleep(PATIENCE) => {
                self.crowded.store(true, Ordering::Relaxed);
                Err(Box::new(delivery))
            }
        }
    }

    /// True from when the lane has made no room in time until half of its room is free.
    pub fn is_crowded(&self) -> bool {
        let is_roomy = self.queue.capacity() >= QUEUE_BATCHES / 2
            && self.memory.available_permits() >= QUEUE_KIB / 2;
        if is_roomy {
            self.crowded.store(false, Ordering::Relaxed);
        }
        self.crowded.load(Ordering::Relaxed)
    }

    /// Batches that wait.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Whether the lane takes anything.
    pub fn health(&self) -> Health {
        *self.health.borrow()
    }
}

// === impl Delivery ===

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Delivery {
    /// Acknowledges the message. When NATS does not take it, it is delivered again and found to be a
    /// duplicate.
    pub async fn acknowledge(self) {
        let _ = tokio::time::timeout(ACK, self.acker.ack()).await;
    }

    /// Acknowledges the message without having applied it. It stays in the stream, and is read again
    /// once `shard` takes changes.
    pub async fn leave_behind(self, directory: &Directory, shard: usize) {
        directory.replays.leave(&self.device, shard, self.sequence);
        ::metrics::counter!(metrics::DROPPED).increment(1);
        self.acknowledge().await;
    }

    /// Acknowledges the message without having applied it, and notes the gap that it leaves.
    pub async fn drop_for_rewind(self, directory: &Directory) {
        if let Content::Batch(batch) = &self.content {
            directory.missed(&self.device, Gap { run: batch.header.run, watermark: None });
        }
        ::metrics::counter!(metrics::DROPPED).increment(1);
        self.acknowledge().await;
    }
}

// === impl Content ===

impl Content {
    /// What it takes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Content::Batch(batch) => batch.memory_bytes(),
            Content::Unreadable(reason) => reason.len(),
        }
    }
}

// === impl Lane ===

impl Lane {
    /// The next message. `None` when nothing will come any more.
    pub(crate) async fn receive(&mut self) -> Option<Delivery> {
        tokio::select! {
            biased;
            delivery = self.queue.recv() => delivery,
            () = self.place.finish.cancelled() => {
                self.queue.close();
                self.queue.recv().await
            }
        }
    }

    /// Waits for something to do, then takes all that is there, within the limits of a transaction.
    /// `None` when nothing will come any more.
    pub(crate) async fn take(&mut self) -> Option<Vec<Delivery>> {
        let first = self.receive().await?;
        let mut bytes = first.content.memory_bytes();
        let mut group = vec![first];
        while group.len() < GROUP_BATCHES && bytes < GROUP_BYTES {
            let Ok(next) = self.queue.try_recv() else { break };
            bytes += next.content.memory_bytes();
            group.push(next);
        }
        Some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_crowded_until_half_of_its_room_is_free() {
        let (queue, _waiting) = mpsc::channel(QUEUE_BATCHES);
        let memory = Arc::new(Semaphore::new(QUEUE_KIB));
        let (_, health) = watch::channel(Health::Up);
        let entrance =
            Entrance { queue, memory: Arc::clone(&memory), health, crowded: Arc::default() };
        let mut held: Vec<_> = (0..4)
            .filter_map(|_| {
                memory.try_acquire_many(u32::try_from(QUEUE_KIB / 4).expect("fits")).ok()
            })
            .collect();
        assert!(!entrance.is_crowded(), "it is full, and may make room at any moment");
        entrance.crowded.store(true, Ordering::Relaxed);
        held.pop();
        assert!(entrance.is_crowded());
        held.pop();
        assert!(!entrance.is_crowded());
        held.clear();
        assert!(!entrance.is_crowded());
    }
}
