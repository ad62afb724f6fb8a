//! Membership and leases, as they stand in the buckets.

use async_nats::jetstream::kv::{self, Operation, Store, UpdateErrorKind};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

/// A bucket did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {reason}")]
pub struct LeaseError {
    /// What was asked.
    pub operation: &'static str,
    /// Why not.
    pub reason: String,
}

/// Who owns a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The worker, or nobody.
    pub owner: Option<String>,
    /// Grows with every owner: names the partition's consumer.
    pub generation: u64,
}

/// A lease with the revision that a change of it has to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The lease; none that was ever taken is free, of generation 0.
    pub lease: Lease,
    /// The revision; 0 for a lease that does not exist.
    pub revision: u64,
}

/// Says that the worker lives. Returns the revision, which [`resign`] needs.
///
/// # Errors
/// [`LeaseError`].
pub async fn refresh(workers: &Store, worker: &str) -> Result<u64, LeaseError> {
    let put = workers.put(format!("worker.{worker}"), "".into()).await;
    put.map_err(failed("refresh this worker's membership"))
}

/// Says that the worker has stopped, so that the others need not wait for its key to age.
///
/// # Errors
/// [`LeaseError`].
pub async fn resign(workers: &Store, revision: u64) -> Result<(), LeaseError> {
    let deleted = workers.stream.delete_message(revision).await;
    deleted.map(|_| ()).map_err(failed("withdraw this worker's membership"))
}

/// The workers that live, in no order.
///
/// # Errors
/// [`LeaseError`].
pub async fn live(workers: &Store) -> Result<Vec<String>, LeaseError> {
    let error = failed::<async_nats::Error>("list the workers");
    let prefix = format!("{}worker.", workers.prefix);
    let subjects = workers.stream.info_with_subjects(format!("{prefix}*")).await;
    let subjects: Vec<(String, usize)> = subjects
        .map_err(failed("list the workers"))?
        .try_collect()
        .await
        .map_err(|source| error(source.into()))?;
    let names = subjects.iter().filter_map(|(subject, _)| subject.strip_prefix(&prefix));
    Ok(names.map(str::to_owned).collect())
}

/// The lease of a partition.
///
/// # Errors
/// [`LeaseError`].
pub async fn read(leases: &Store, partition: u32) -> Result<Held, LeaseError> {
    let entry = leases.entry(key(partition)).await.map_err(failed("read a lease"))?;
    Ok(entry.map_or_else(Held::free, Held::from_entry))
}

/// Writes a lease if it is still at `revision`. `None` when someone else was faster.
///
/// # Errors
/// [`LeaseError`].
pub async fn write(
    leases: &Store,
    partition: u32,
    lease: &Lease,
    revision: u64,
) -> Result<Option<u64>, LeaseError> {
    // Two strings and a number: nothing that JSON cannot say.
    let value = serde_json::to_vec(lease).unwrap_or_default();
    match leases.update(key(partition), value.into(), revision).await {
        Ok(revision) => Ok(Some(revision)),
        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
        Err(error) => Err(failed("write a lease")(error)),
    }
}

// === impl Held ===

impl Held {
    fn free() -> Self {
        Self { lease: Lease { owner: None, generation: 0 }, revision: 0 }
    }

    fn from_entry(entry: kv::Entry) -> Self {
        let value = (entry.operation == Operation::Put).then_some(entry.value);
        let lease = value.and_then(|value| serde_json::from_slice(&value).ok());
        Self { lease: lease.unwrap_or(Self::free().lease), revision: entry.revision }
    }
}

fn key(partition: u32) -> String {
    format!("partition.{partition}")
}

fn failed<E: std::fmt::Display>(operation: &'static str) -> impl Fn(E) -> LeaseError {
    move |source| LeaseError { operation, reason: source.to_string() }
}
