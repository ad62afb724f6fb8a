//! Catches a device up from the stream that was parked, or had to wait for a lock, for room or for a long
//! statement: what was left meanwhile is still there, and need not come over its uplink again. A reader of
//! the device's messages alone, beside the partition's; the chain rule puts the two together.
//!
//! All of it can be lost or fail: what is missing then is asked for by a rewind.

use crate::consumer;
use crate::directory::Directory;
use crate::intake::{Intake, Lanes};
use crate::provision;
use crate::slots::Slots;
use async_nats::jetstream::Context;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tributary_runtime::CancellationToken;
use tributary_wire::{DeviceId, Limits};

/// Devices that catch up at the same time.
const READERS_MAX: usize = 8;
/// What was read is committed within this time, or asked for again.
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
        let stop = self.stop.child_token();
        let begun = self.directory.update(device, |known| {
            let begun = known.left.begin(Instant::now(), stop);
            if begun.is_some() {
                (known.gap, known.suspicion) = (None, None);
            }
            begun
        });
        let Some((from, stop)) = begun else { return };
        let (this, device) = (self.clone(), device.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                outcome = this.read(&device, partition, from, &stop) => match outcome {
                    Ok(()) => tracing::info!(%device, from, "the device was caught up from the stream"),
                    Err(reason) => tracing::info!(%device, reason, "the device cannot be caught up from the stream"),
                },
            }
            this.directory.update_known(&device, |known| known.left.reader_ended(&stop));
        });
    }

    /// Begins for every device that has waited long enough.
    pub(crate) fn begin_due(&self, partitions: u32) {
        let (now, mut due) = (Instant::now(), Vec::new());
        self.directory.for_each(|device, known| {
            if known.left.is_due(now) {
                due.push(device.clone());
            }
        });
        due.iter()
            .for_each(|device| self.begin(device, tributary_wire::partition(device, partitions)));
    }

    async fn read(
        &self,
        device: &DeviceId,
        partition: u32,
        from: u64,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let _reader = self.readers.acquire().await;
        let stream = self.context.get_stream(provision::STREAM).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let consumer = consumer::of_device(&stream, partition, device, from).await;
        let consumer = consumer.map_err(|error| error.to_string())?;
        if consumer.cached_info().num_pending == 0 {
            return Ok(());
        }
        let slots = Slots::new(consumer::ACK_PENDING_MAX);
        let intake = Intake {
            partition,
            consumer,
            directory: Arc::clone(&self.directory),
            lanes: Arc::clone(&self.lanes),
            limits: self.limits,
            payload_bytes_max: self.context.client().max_payload(),
            slots: Arc::clone(&slots),
            until_empty: true,
        };
        intake.run(stop.clone()).await;
        let drained = tokio::time::timeout(DRAIN, slots.drained()).await;
        drained.map_err(|_| "its messages are not applied in time".to_owned())
    }
}
