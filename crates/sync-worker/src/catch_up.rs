//! Catches a device up from the stream that was parked, or had to wait for a lock, for room or for a long
//! statement: what was left meanwhile is still there, and need not come over its uplink again. A reader of
//! the device's messages alone, beside the partition's; the chain rule puts the two together.
//!
//! All of it can be lost or fail: what is missing then is asked for by a rewind.

use crate::consumer;
use crate::directory::Directory;
use crate::intake::{Ended, Intake, Lanes};
use crate::left::Stop;
use crate::provision;
use crate::slots::Slots;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::PullConsumer;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tributary_runtime::CancellationToken;
use tributary_wire::{DeviceId, Limits};

/// Devices that catch up at the same time.
const READERS_MAX: usize = 8;
/// What was read is committed within this time, or read again later.
const DRAIN: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Clone)]
pub struct CatchUp {
    /// JetStream.
    pub context: Context,
    /// Where devices belong.
    pub directory: Arc<Directory>,
    /// Where batches go.
    pub lanes: Lanes,
    /// What a message may make us allocate.
    pub limits: Limits,
    /// Ends all of it.
    pub stop: CancellationToken,
    /// Limits the readers.
    pub readers: Arc<Semaphore>,
}

/// One device that catches up; the directory is told of its end in any case.
struct Reader {
    with: CatchUp,
    device: DeviceId,
    partition: u32,
    stop: Stop,
}

// === impl CatchUp ===

impl CatchUp {
    /// Reads nothing yet.
    pub fn new(
        context: Context,
        directory: Arc<Directory>,
        lanes: Lanes,
        limits: Limits,
        stop: CancellationToken,
    ) -> Self {
        let readers = Arc::new(Semaphore::new(READERS_MAX));
        Self { context, directory, lanes, limits, stop, readers }
    }

    /// Begins, if something of the device was left and need not wait any longer. Until it has ended the
    /// device's publisher is asked for nothing.
    pub(crate) fn begin(&self, device: &DeviceId, partition: u32) {
        let token = self.stop.child_token();
        let begun = self.directory.update(device, |known| {
            let begun = known.left.begin(Instant::now(), token);
            if begun.is_some() {
                (known.gap, known.suspicion) = (None, None);
            }
            begun
        });
        let Some((from, stop)) = begun else { return };
        let reader = Reader { with: self.clone(), device: device.clone(), partition, stop };
        tokio::spawn(reader.run(from));
    }

    /// Begins for every device that has waited long enough, where `is_ours` holds for its partition.
    pub(crate) fn begin_due(&self, partitions: u32, is_ours: impl Fn(u32) -> bool) {
        let (now, mut due) = (Instant::now(), Vec::new());
        self.directory.for_each(|device, known| {
            let partition = tributary_wire::partition(device, partitions);
            let is_parked = known.watermark.as_ref().is_some_and(|row| row.parked.is_some());
            if known.left.is_due(now) && !is_parked && is_ours(partition) {
                due.push((device.clone(), partition));
            }
        });
        due.iter().for_each(|(device, partition)| self.begin(device, *partition));
    }
}

// === impl Reader ===

impl Drop for Reader {
    fn drop(&mut self) {
        self.with.directory.update_known(&self.device, |known| {
            known.left.reader_ended(&self.stop);
        });
    }
}

impl Reader {
    /// Reads until there is no more. What came to the partition's reader while this one was at its end may
    /// have been too early for it: the end is looked at again for as long as that helps.
    async fn run(self, from: u64) {
        let mut next = from;
        loop {
            let has_brought = match self.read(next).await {
                Ok(has_brought) => has_brought,
                Err(reason) => return self.fail(&reason),
            };
            let known = self.with.directory.knowledge(&self.device);
            match known.and_then(|known| known.left.reader_at(&self.stop)) {
                Some(at) if has_brought && at > next => next = at,
                _ => break,
            }
        }
        if !self.stop.is_cancelled() {
            tracing::info!(device = %self.device, from, "the device was caught up from the stream");
        }
    }

    fn fail(&self, reason: &str) {
        tracing::info!(device = %self.device, reason, "the device was not caught up from the stream; it is tried again");
        let now = Instant::now();
        self.with.directory.update_known(&self.device, |known| {
            known.left.reader_failed(&self.stop, now);
        });
    }

    /// Brings what there is from there on, and waits until it is dealt with. False when there was nothing.
    async fn read(&self, from: u64) -> Result<bool, String> {
        let CatchUp { context, readers, .. } = &self.with;
        let reader = tokio::select! {
            () = self.stop.cancelled() => return Ok(false),
            reader = readers.acquire() => reader,
        };
        let stream = context.get_stream(provision::STREAM).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let consumer = consumer::of_device(&stream, self.partition, &self.device, from).await;
        let consumer = consumer.map_err(|error| error.to_string())?;
        let info = consumer.cached_info();
        let (name, pending) = (info.name.clone(), info.num_pending);
        let slots = Slots::new(consumer::DEVICE_ACK_PENDING_MAX);
        let outcome = match pending {
            0 => Ok(()),
            _ => self.bring(consumer, &slots).await,
        };
        // The others need not wait for what this one has brought.
        drop(reader);
        let applied = async {
            let drained = tokio::time::timeout(DRAIN, slots.drained()).await;
            drained.map_err(|_| "its messages are not applied in time".to_owned())
        };
        let drained = tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            drained = applied => drained,
        };
        // Without this the server would delete it after a while.
        let _ = stream.delete_consumer(&name).await;
        outcome.and(drained).map(|()| pending > 0)
    }

    async fn bring(&self, consumer: PullConsumer, slots: &Arc<Slots>) -> Result<(), String> {
        let CatchUp { context, directory, lanes, limits, .. } = &self.with;
        let intake = Intake {
            partition: self.partition,
            consumer,
            directory: Arc::clone(directory),
            lanes: Arc::clone(lanes),
            limits: *limits,
            payload_bytes_max: context.client().max_payload(),
            slots: Arc::clone(slots),
            until_empty: true,
        };
        match intake.run((*self.stop).clone()).await {
            Ended::Empty | Ended::Stopped => Ok(()),
            Ended::Broken => Err("its messages did not all come".to_owned()),
        }
    }
}
