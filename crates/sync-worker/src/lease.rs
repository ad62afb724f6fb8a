//! Leases, as they stand in their bucket.

use async_nats::jetstream::kv::{self, Operation, Store, UpdateErrorKind};
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
    /// Something else stands in its place: the lease is unknown.
    pub is_unreadable: bool,
}

/// The lease of a partition.
///
/// # Errors
/// [`LeaseError`].
pub async fn read(leases: &Store, partition: u32) -> Result<Held, LeaseError> {
    let entry = leases.entry(key(partition)).await.map_err(failed("read a lease"))?;
    Ok(entry.map_or_else(Held::free, |entry| Held::from_entry(&entry)))
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
        Self { lease: Lease { owner: None, generation: 0 }, revision: 0, is_unreadable: false }
    }

    fn from_entry(entry: &kv::Entry) -> Self {
        let (lease, is_unreadable) = match entry.operation {
            Operation::Put => match serde_json::from_slice(&entry.value) {
                Ok(lease) => (lease, false),
                Err(_) => (Self::free().lease, true),
            },
            Operation::Delete | Operation::Purge => (Self::free().lease, false),
        };
        Self { lease, revision: entry.revision, is_unreadable }
    }
}

fn key(partition: u32) -> String {
    format!("partition.{partition}")
}

pub(crate) fn failed<E: std::fmt::Display>(operation: &'static str) -> impl Fn(E) -> LeaseError {
    move |source| LeaseError { operation, reason: source.to_string() }
}
