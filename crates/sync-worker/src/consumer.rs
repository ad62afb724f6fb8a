//! The consumer of a partition, made anew by each owner.

use crate::rewind::Progress;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, Info, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::TryStreamExt;
use std::time::{Duration, Instant};
use tributary_wire::{DeviceId, subject};

/// Messages of a partition that may be delivered and not acknowledged.
pub const ACK_PENDING_MAX: usize = 1024;
const ACK_WAIT: Duration = Duration::from_secs(60);
/// Pull requests that may wait at the server: one, and those of connections that were lost.
const WAITING_MAX: i64 = 8;

/// The same of a device that catches up.
pub const DEVICE_ACK_PENDING_MAX: usize = 256;
/// A consumer without a reader for so long is deleted.
const ABANDONED: Duration = Duration::from_secs(30);

/// A consumer could not be made or asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} of partition {partition}: {reason}")]
pub struct ConsumerError {
    /// What was asked.
    pub operation: &'static str,
    /// Which partition.
    pub partition: u32,
    /// Why not.
    pub reason: String,
}

/// Makes the consumer for a partition's new owner, where the former owner's had come to, or at
/// `replay_from` if that is earlier, and deletes the former owners'.
///
/// # Errors
/// [`ConsumerError`].
pub async fn take_over(
    stream: &Stream,
    partition: u32,
    generation: u64,
    replay_from: Option<u64>,
) -> Result<PullConsumer, ConsumerError> {
    let failed = |operation| move |source: async_nats::Error| error(operation, partition, &source);
    let former = former(stream, partition).await.map_err(failed("find the former consumers"))?;
    let info = stream.get_info().await;
    let info = info.map_err(|source| error("ask for the stream", partition, &source))?;
    let newest = former.iter().max_by_key(|(generation, _)| *generation);
    let start = newest.map_or(DeliverPolicy::All, |(_, consumer)| {
        start(consumer, info.state.last_sequence, replay_from)
    });
    let consumer = stream.create_consumer(definition(partition, generation, start)).await;
    let consumer = consumer.map_err(|source| error("make the consumer", partition, &source))?;
    for (older, info) in former {
        if older != generation {
            // One that stays behind is found again by the next owner.
            let _ = stream.delete_consumer(&info.name).await;
        }
    }
    Ok(consumer)
}

/// A consumer of one device's messages from `from` on. The server deletes it once nobody reads it.
///
/// # Errors
/// [`ConsumerError`].
pub async fn of_device(
    stream: &Stream,
    partition: u32,
    device: &DeviceId,
    from: u64,
) -> Result<PullConsumer, ConsumerError> {
    let config = pull::Config {
        description: Some(format!("what device {device} has missed")),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        filter_subject: subject::device_filter(partition, device),
        max_ack_pending: i64::try_from(DEVICE_ACK_PENDING_MAX).unwrap_or(i64::MAX),
        inactive_threshold: ABANDONED,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await;
    consumer.map_err(|source| error("make a consumer for a device", partition, &source))
}

/// How far a consumer has come.
pub fn progress(info: &Info, asked_at: Instant) -> Progress {
    Progress {
        ack_floor: info.ack_floor.stream_sequence,
        pending: info.num_pending,
        ack_pending: info.num_ack_pending as u64,
        asked_at,
    }
}

/// The name of a partition's consumer.
pub fn name(partition: u32, generation: u64) -> String {
    format!("apply-{partition}-g{generation}")
}

/// Where a new consumer begins: after what the former one's owner had acknowledged; at the beginning
/// of a stream that has lost what that had seen.
fn start(former: &Info, stream_last_sequence: u64, replay_from: Option<u64>) -> DeliverPolicy {
    let next = former.ack_floor.stream_sequence + 1;
    let start_sequence = replay_from.map_or(next, |sequence| sequence.min(next));
    if former.delivered.stream_sequence > stream_last_sequence || start_sequence <= 1 {
        DeliverPolicy::All
    } else {
        DeliverPolicy::ByStartSequence { start_sequence }
    }
}

fn definition(partition: u32, generation: u64, start: DeliverPolicy) -> pull::Config {
    pull::Config {
        durable_name: Some(name(partition, generation)),
        description: Some(format!("partition {partition}, generation {generation} of its lease")),
        deliver_policy: start,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        filter_subject: subject::partition_filter(partition),
        max_ack_pending: i64::try_from(ACK_PENDING_MAX).unwrap_or(i64::MAX),
        max_waiting: WAITING_MAX,
        ..pull::Config::default()
    }
}

/// Every consumer that an owner of the partition has made, with its generation.
async fn former(stream: &Stream, partition: u32) -> Result<Vec<(u64, Info)>, async_nats::Error> {
    let prefix = format!("apply-{partition}-g");
    let mut names = stream.consumer_names();
    let mut found = Vec::new();
    while let Some(name) = names.try_next().await? {
        let generation = name.strip_prefix(&prefix).and_then(|rest| rest.parse().ok());
        if let Some(generation) = generation {
            found.push((generation, name));
        }
    }
    let mut former = Vec::with_capacity(found.len());
    for (generation, name) in found {
        // One that was deleted in between is of no use.
        if let Ok(info) = stream.consumer_info(&name).await {
            former.push((generation, info));
        }
    }
    Ok(former)
}

fn error(operation: &'static str, partition: u32, reason: &dyn std::fmt::Display) -> ConsumerError {
    ConsumerError { operation, partition, reason: reason.to_string() }
}
