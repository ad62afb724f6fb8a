//! What an operator asks for on the command line: which devices are parked, and to let one go on; which shards
//! there are, and to forget one.

use crate::error::WorkerError;
use crate::nats;
use crate::provision;
use crate::roster::{self, Entry};
use crate::settings::{Settings, ShardSettings};
use crate::shard::Shard;
use async_nats::jetstream::kv::Store;
use futures_util::future::join_all;
use serde::Serialize;
use std::sync::Arc;
use tributary_wire::DeviceId;

/// A parked device.
#[derive(Debug, Serialize)]
pub struct ParkedDevice {
    /// Its id.
    pub device: DeviceId,
    /// The shard that holds it.
    pub shard: String,
    /// Where it stands.
    pub position: String,
    /// Since when, in RFC 3339 by the shard's clock.
    pub since: String,
    /// Why; names the table where there is one.
    pub reason: String,
    /// What has to be done.
    pub remedy: String,
}

/// Every parked device of every shard.
///
/// # Errors
/// [`WorkerError::Operation`] when a shard cannot be asked.
pub async fn parked(settings: &Settings) -> Result<Vec<ParkedDevice>, WorkerError> {
    let mut list = Vec::new();
    for shard in &settings.shards {
        list.extend(parked_at(shard).await?);
    }
    Ok(list)
}

/// Every parked device of one shard.
///
/// # Errors
/// [`WorkerError::Operation`] when it cannot be asked.
pub async fn parked_at(settings: &ShardSettings) -> Result<Vec<ParkedDevice>, WorkerError> {
    let rows = Shard::new(settings.clone()).parked().await.map_err(failed)?;
    let parked = rows.into_iter().filter_map(|(device, row, since)| {
        let parked = row.parked?;
        Some(ParkedDevice {
            device,
            shard: settings.name.clone(),
            position: row.position.to_string(),
            since,
            reason: parked.reason,
            remedy: parked.remedy,
        })
    });
    Ok(parked.collect())
}

/// Lets a parked device go on, and returns the shards at which it was parked. What was dropped is read
/// again from the stream after its next heartbeat, or its publisher is asked for it.
///
/// # Errors
/// [`WorkerError::Operation`] when the device is parked at no shard that can be asked.
pub async fn release(
    settings: &Settings,
    device: &DeviceId,
    skip_statement: bool,
) -> Result<Vec<String>, WorkerError> {
    let (mut released, mut silent) = (Vec::new(), None);
    for settings in &settings.shards {
        let shard = Shard::new(settings.clone());
        let row = match shard.watermark(device).await {
            Ok(row) => row,
            // It is no reason to leave the device parked at another.
            Err(error) => {
                silent = Some(failed(error));
                continue;
            }
        };
        if row.is_some_and(|row| row.parked.is_some()) {
            shard.release(device, skip_statement).await.map_err(failed)?;
            released.push(settings.name.clone());
        }
    }
    if let (true, Some(error)) = (released.is_empty(), silent) {
        return Err(error);
    }
    if released.is_empty() {
        return Err(WorkerError::Operation(format!(
            "device {device} is parked at no shard: tributary-sync-worker parked lists those that are"
        )));
    }
    Ok(released)
}

/// Every shard that any worker was given, and whether this configuration has it.
///
/// # Errors
/// [`WorkerError`] when NATS cannot be asked.
pub async fn shards(settings: &Settings) -> Result<Vec<(Entry, bool)>, WorkerError> {
    let bucket = bucket(settings).await?;
    let roster = roster::read(&bucket).await.map_err(failed)?;
    let shards = settings.shards.iter().cloned().map(Shard::new).map(Arc::new).collect::<Vec<_>>();
    // A shard may be listed under another name: only it can tell.
    join_all(shards.iter().map(|shard| shard.learn_identity())).await;
    let lacking = roster::lacking(&roster, &shards);
    Ok(roster.into_iter().map(|entry| (entry.clone(), !lacking.contains(&entry))).collect())
}

/// Takes a shard off the list of shards.
///
/// # Errors
/// [`WorkerError::Operation`] when this configuration still has it, or when it is not on the list.
pub async fn retire(settings: &Settings, shard: &str) -> Result<(), WorkerError> {
    if settings.shards.iter().any(|one| one.name == shard) {
        return Err(WorkerError::Operation(format!(
            "this configuration still has {shard}, and so may running workers, which would enter it again: take it out of [[shards]] of all workers, restart them, then retire it"
        )));
    }
    if roster::retire(&bucket(settings).await?, shard).await.map_err(failed)? {
        return Ok(());
    }
    Err(WorkerError::Operation(format!(
        "no worker was ever given a shard {shard}: tributary-sync-worker shards lists those that one was"
    )))
}

async fn bucket(settings: &Settings) -> Result<Store, WorkerError> {
    let client = nats::connect(&settings.nats, &settings.worker_id).await?;
    let context = async_nats::jetstream::new(client);
    let made = provision::reconcile(&context, &settings.stream, settings.lease_ttl).await?;
    Ok(made.leases)
}

fn failed(error: impl std::fmt::Display) -> WorkerError {
    WorkerError::Operation(error.to_string())
}
