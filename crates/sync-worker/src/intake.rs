//! The intake of a partition: messages from its consumer, decoded, to the lanes of their shards.

use crate::directory::{Directory, Placement};
use crate::lane::{self, Content, Delivery, Entrance};
use crate::lookup::{Found, Lookups};
use crate::metrics;
use crate::slots::Slots;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::{MessagesError, Stream};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tributary_runtime::CancellationToken;
use tributary_wire::{Batch, DeviceId, Limits, MAGIC};

/// A pull ends after this, so that a lost request costs no more.
const EXPIRES: Duration = Duration::from_secs(6);
/// The server says that it is there this often.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Messages and bytes of one pull. The bytes are what a partition holds in the client at most.
const PULL_MESSAGES: usize = 256;
const PULL_BYTES: usize = 2 << 20;

/// The lanes of every shard: `lanes[shard][lane]`.
pub type Lanes = Arc<Vec<Vec<Entrance>>>;

/// Why an intake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// It has read what there was.
    Empty,
    /// Its consumer is gone or has lost a delivery on its way: a new one brings everything that is
    /// not acknowledged, at once and in order.
    Broken,
}

/// What an intake works with.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The partition.
    pub partition: u32,
    /// Its consumer.
    pub consumer: PullConsumer,
    /// Where devices belong.
    pub directory: Arc<Directory>,
    /// Where batches go.
    pub lanes: Lanes,
    /// What a message may make us allocate.
    pub limits: Limits,
    /// The server's largest message, in bytes.
    pub payload_bytes_max: usize,
    /// Room for its messages in flight.
    pub slots: Arc<Slots>,
    /// It ends once nothing more is there.
    pub until_empty: bool,
}

// === impl Intake ===

impl Intake {
    /// Runs until `stop`, or until the consumer cannot be relied on any more.
    pub async fn run(self, stop: CancellationToken) -> Ended {
        tokio::select! {
            () = stop.cancelled() => Ended::Stopped,
            outcome = self.pull() => match outcome {
                Ok(()) => Ended::Empty,
                Err(reason) => {
                    tracing::info!(partition = self.partition, reason, "the partition is read anew");
                    Ended::Broken
                }
            }
        }
    }

    /// Reads messages for as long as each comes right after the one before it. Says why it cannot go on.
    async fn pull(&self) -> Result<(), String> {
        let mut messages = self.messages().await?;
        let (mut expected, mut left) = (1, u64::MAX);
        let mut lookups = Lookups::new(Arc::clone(&self.directory));
        while !self.until_empty || left > 0 || !lookups.is_empty() {
            let message = tokio::select! {
                found = lookups.next() => {
                    self.found(found).await;
                    continue;
                }
                message = self.next(&mut messages), if !lookups.is_full() => message?,
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the messages ended".to_owned()),
            };
            // Counts deliveries. A hole is a delivery that a broken connection swallowed: it would come
            // again after the acknowledgement's deadline, behind the messages that now follow.
            let info = message.info();
            let info = info.map(|i| (i.consumer_sequence, i.stream_sequence, i.pending)).ok();
            let Some((_, sequence, pending)) = info.filter(|(delivery, ..)| *delivery == expected)
            else {
                return Err("a delivery was lost".to_owned());
            };
            (expected, left) = (expected + 1, pending);
            self.handle(message, sequence, &mut lookups).await;
        }
        Ok(())
    }

    /// The next message. A reader that ends when there are no more waits for none for ever: the stream may
    /// have dropped what there was when it began.
    async fn next(
        &self,
        messages: &mut Stream,
    ) -> Result<Option<Result<Message, MessagesError>>, String> {
        if !self.until_empty {
            return Ok(messages.next().await);
        }
        let next = tokio::time::timeout(EXPIRES * 2, messages.next()).await;
        next.map_err(|_| "the stream does not hold any more what it held".to_owned())
    }

    async fn messages(&self) -> Result<Stream, String> {
        // A message that is larger than a pull takes is never delivered.
        let bytes = PULL_BYTES.max(self.payload_bytes_max + (64 << 10));
        self.consumer
            .stream()
            .max_messages_per_batch(PULL_MESSAGES)
            .max_bytes_per_batch(bytes)
            .expires(EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|error| error.to_string())
    }

    async fn handle(&self, message: Message, sequence: u64, lookups: &mut Lookups) {
        let slot = self.slots.take().await;
        ::metrics::counter!(metrics::BYTES_RECEIVED).increment(message.payload.len() as u64);
        let Some(device) = DeviceId::from_subject(&message.subject) else {
            tracing::warn!(subject = %message.subject, "a message's subject names no device; it is dropped");
            let _ = message.ack().await;
            return;
        };
        if !message.payload.starts_with(&MAGIC) {
            // Nobody's batch. If one is missing, the chain shows it.
            ::metrics::counter!(metrics::UNREADABLE).increment(1);
            tracing::debug!(%device, sequence, "a message that is no batch is dropped");
            let _ = message.ack().await;
            return;
        }
        let content = read(&device, &message.payload, &self.limits);
        let (_, acker) = message.split();
        let delivery =
            Delivery { device, held: false, sequence, content, acker, slot, memory: None };
        let known = self.directory.known_placement(&delivery.device);
        match known.filter(|_| !lookups.is_waiting(&delivery.device)) {
            Some(placement) => self.deliver(&placement, delivery).await,
            None => {
                if let Some(refused) = lookups.wait(delivery) {
                    ::metrics::counter!(metrics::DROPPED).increment(1);
                    refused.acknowledge().await;
                }
            }
        }
    }

    /// Hands over what waited for its device to be found.
    async fn found(&self, found: Found) {
        for delivery in found.deliveries {
            self.deliver(&found.placement, delivery).await;
        }
        let Some(sequence) = found.left else { return };
        match found.placement {
            Placement::At { shard, .. } | Placement::Undecided { shard, .. } => {
                self.directory.replays.leave(&found.device, shard, sequence);
            }
            // Nothing of it is applied before someone has cleared that, and then it is asked for.
            Placement::Conflict { .. } => {}
        }
    }

    async fn deliver(&self, placement: &Placement, mut delivery: Delivery) {
        match placement {
            Placement::At { shard, held } => {
                delivery.held = *held;
                self.push(*shard, delivery).await;
            }
            Placement::Undecided { shard, reason } => {
                tracing::debug!(device = %delivery.device, reason, "a device cannot be assigned yet");
                delivery.leave_behind(&self.directory, *shard).await;
            }
            Placement::Conflict { .. } => delivery.drop_for_rewind(&self.directory).await,
        }
    }

    async fn push(&self, shard: usize, delivery: Delivery) {
        let lanes = &self.lanes[shard];
        let lane = lane::number_of(&delivery.device, lanes.len());
        if let Err(refused) = lanes[lane].push(delivery).await {
            refused.leave_behind(&self.directory, shard).await;
        }
    }
}

/// A message's batch; or why it has none that belongs to the device of its subject.
fn read(device: &DeviceId, payload: &[u8], limits: &Limits) -> Content {
    let reason = match Batch::decode(payload, limits) {
        Ok(batch) if batch.header.device == *device => return Content::Batch(Box::new(batch)),
        Ok(batch) => {
            format!("it was published by {device} and says that it is {}'s", batch.header.device)
        }
        Err(error) => error.to_string(),
    };
    ::metrics::counter!(metrics::UNREADABLE).increment(1);
    Content::Unreadable(reason)
}
