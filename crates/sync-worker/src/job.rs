//! The messages of one device that a lane has in hand.

use crate::apply::Work;
use crate::directory::Directory;
use crate::lane::{Content, Delivery};
use crate::metrics;
use crate::watermark::Parked;
use std::time::Instant;
use tributary_wire::{Batch, DeviceId, Run};

/// So many changes of rows that only a reading of the table finds are not made while other devices wait.
const SCANS_MAX: u64 = 500;

/// See the module.
#[derive(Debug)]
pub(crate) struct Job {
    /// The device.
    pub(crate) device: DeviceId,
    /// Its messages, in the order in which they arrived.
    pub(crate) deliveries: Vec<Delivery>,
    /// It is to be parked with this reason.
    pub(crate) park: Option<Parked>,
    /// Transactions that failed because another one was in the way.
    pub(crate) conflicts: u32,
    /// Its data were refused once, and then tried with a fresh look at the tables.
    pub(crate) looked_again: bool,
}

/// Sorts messages by device; each device's stay in order.
pub(crate) fn by_device(group: Vec<Delivery>) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for delivery in group {
        match jobs.iter_mut().find(|job| job.device == delivery.device) {
            Some(job) => job.deliveries.push(delivery),
            None => jobs.push(Job::new(delivery.device.clone(), delivery)),
        }
    }
    jobs
}

// === impl Job ===

impl Job {
    /// Of one message.
    pub(crate) fn new(device: DeviceId, delivery: Delivery) -> Self {
        let deliveries = vec![delivery];
        Self { device, deliveries, park: None, conflicts: 0, looked_again: false }
    }

    /// What a transaction is to do for it.
    pub(crate) fn work(&self) -> Work<'_> {
        let batches = self.deliveries.iter().filter_map(|delivery| match &delivery.content {
            Content::Batch(batch) => Some(batch.as_ref()),
            Content::Unreadable(_) => None,
        });
        let unreadable = self.deliveries.iter().find_map(|delivery| match &delivery.content {
            Content::Batch(_) => None,
            Content::Unreadable(reason) => Some(unreadable(reason)),
        });
        Work {
            device: &self.device,
            batches: batches.collect::<Vec<&Batch>>(),
            park: self.park.clone().or(unreadable),
            must_exist: self.deliveries.iter().any(|delivery| delivery.held),
            one_by_one: self.looked_again,
        }
    }

    /// True when it may take long for what it is: many changes or deletions in tables without a key.
    pub(crate) fn is_heavy(&self) -> bool {
        let scans = |delivery: &Delivery| match &delivery.content {
            Content::Batch(batch) => scans(batch),
            Content::Unreadable(_) => 0,
        };
        self.deliveries.iter().map(scans).sum::<u64>() > SCANS_MAX
    }

    /// What its messages take in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.deliveries.iter().map(|delivery| delivery.content.memory_bytes()).sum()
    }

    /// The places in the stream of its first message and of its last one; `None` where reading them again
    /// would be of no use.
    pub(crate) fn span(&self) -> Option<[u64; 2]> {
        let is_readable = |one: &Delivery| matches!(one.content, Content::Batch(_));
        let oldest = self.deliveries.iter().map(|delivery| delivery.sequence).min();
        let span = oldest.zip(self.newest()).map(|(oldest, newest)| [oldest, newest]);
        span.filter(|_| self.deliveries.iter().all(is_readable))
    }

    /// The place in the stream of its last message.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.deliveries.iter().map(|delivery| delivery.sequence).max()
    }

    /// Acknowledges its messages.
    pub(crate) async fn acknowledge(self) {
        for delivery in self.deliveries {
            delivery.acknowledge().await;
        }
    }

    /// Acknowledges its messages without having applied them, because of this device alone. They are read
    /// again after a while: see [`crate::left::Left`].
    pub(crate) async fn leave_alone(self, directory: &Directory) {
        for delivery in self.deliveries {
            directory.update(&delivery.device, |known| {
                known.left.note_for_later(delivery.sequence, Instant::now());
            });
            ::metrics::counter!(metrics::DROPPED).increment(1);
            delivery.acknowledge().await;
        }
    }

    /// Acknowledges its messages without having applied them; see [`Delivery::leave_behind`].
    pub(crate) async fn leave_behind(self, directory: &Directory, shard: usize) {
        for delivery in self.deliveries {
            delivery.leave_behind(directory, shard).await;
        }
    }
}

/// Changes of a batch that take away rows of tables without a key.
fn scans(batch: &Batch) -> u64 {
    let runs = batch.transactions.iter().flat_map(|transaction| &transaction.runs);
    let of_keyless = |run: &&Run| match run {
        Run::Rows { table, op, .. } => {
            let block = batch.tables.get(*table as usize);
            op.has_identity() && block.is_some_and(|block| !block.shape.has_key())
        }
        _ => false,
    };
    runs.filter(of_keyless).map(Run::changes).sum()
}

fn unreadable(reason: &str) -> Parked {
    Parked {
        reason: format!("a message cannot be read: {reason}"),
        remedy: "upgrade the sync-worker if the publisher is newer; otherwise look at what publishes under this device's id; then release the device".to_owned(),
    }
}
