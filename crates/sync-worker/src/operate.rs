//! What an operator asks for on the command line: which devices are parked, and to let one go on.

use crate::error::WorkerError;
use crate::settings::Settings;
use crate::shard::Shard;
use serde::Serialize;
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
    /// Why.
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
    for settings in &settings.shards {
        let shard = Shard::new(settings.clone());
        let rows = shard.parked().await.map_err(failed)?;
        list.extend(rows.into_iter().filter_map(|(device, row)| {
            let parked = row.parked?;
            Some(ParkedDevice {
                device,
                shard: settings.name.clone(),
                position: row.position.to_string(),
                reason: parked.reason,
                remedy: parked.remedy,
            })
        }));
    }
    Ok(list)
}

/// Lets a parked device go on, and returns the shards at which it was parked. Its publisher is asked
/// for what was dropped with its next heartbeat.
///
/// # Errors
/// [`WorkerError::Operation`] when a shard cannot be asked, or the device is not parked.
pub async fn release(
    settings: &Settings,
    device: &DeviceId,
    skip_statement: bool,
) -> Result<Vec<String>, WorkerError> {
    let mut released = Vec::new();
    for settings in &settings.shards {
        let shard = Shard::new(settings.clone());
        let row = shard.watermark(device).await.map_err(failed)?;
        if row.is_some_and(|row| row.parked.is_some()) {
            shard.release(device, skip_statement).await.map_err(failed)?;
            released.push(settings.name.clone());
        }
    }
    if released.is_empty() {
        return Err(WorkerError::Operation(format!(
            "device {device} is parked at no shard: tributary-sync-worker parked lists those that are"
        )));
    }
    Ok(released)
}

fn failed(error: impl std::fmt::Display) -> WorkerError {
    WorkerError::Operation(error.to_string())
}
