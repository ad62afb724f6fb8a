//! What the stream and the buckets are to be like: the JSON of `jetstream/`, with the configuration's
//! numbers. Pure.

use crate::config::StreamConfig;
use crate::provision::ProvisionError;
use async_nats::jetstream::stream::{self, StorageType, SubjectTransform};
use serde::Deserialize;
use std::time::Duration;

const STREAM_JSON: &str = include_str!("../../../jetstream/stream.json");
const KV_JSON: &str = include_str!("../../../jetstream/kv.json");
const GIB: u64 = 1 << 30;
/// The shortest age that the server takes for a bucket.
const AGE_MIN: Duration = Duration::from_secs(1);

/// The buckets as they are to be.
#[derive(Debug, Deserialize)]
pub(crate) struct Buckets {
    pub(crate) workers: Bucket,
    pub(crate) leases: Bucket,
}

/// A bucket as it is to be.
#[derive(Debug, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) bucket: String,
    pub(crate) description: String,
    pub(crate) history: i64,
    pub(crate) max_age: u64,
    pub(crate) max_bytes: i64,
    pub(crate) storage: StorageType,
}

/// The buckets; a worker's sign of life lasts for `lease_ttl`.
///
/// # Errors
/// [`ProvisionError::Definition`].
pub(crate) fn buckets(lease_ttl: Duration) -> Result<Buckets, ProvisionError> {
    let mut buckets: Buckets = serde_json::from_str(KV_JSON)
        .map_err(|source| ProvisionError::Definition { file: "kv.json", source })?;
    buckets.workers.max_age = nanos(lease_ttl.max(AGE_MIN));
    Ok(buckets)
}

/// The stream as the configuration wants it.
///
/// # Errors
/// [`ProvisionError::Definition`].
pub(crate) fn stream(config: &StreamConfig) -> Result<stream::Config, ProvisionError> {
    let mut wanted: stream::Config = serde_json::from_str(STREAM_JSON)
        .map_err(|source| ProvisionError::Definition { file: "stream.json", source })?;
    wanted.num_replicas = config.replicas;
    if let Some(hours) = config.max_age_hours {
        wanted.max_age = Duration::from_secs(hours.saturating_mul(3600));
    }
    if let Some(gib) = config.max_gib {
        wanted.max_bytes = i64::try_from(gib.saturating_mul(GIB)).unwrap_or(i64::MAX);
    }
    if let Some(transform) = &mut wanted.subject_transform {
        transform.destination = destination(config.partitions);
    }
    Ok(wanted)
}

/// An existing stream with larger limits where those are wanted.
pub(crate) fn grown(found: &stream::Config, wanted: &stream::Config) -> stream::Config {
    stream::Config {
        max_age: longer(found.max_age, wanted.max_age),
        max_bytes: larger(found.max_bytes, wanted.max_bytes),
        num_replicas: found.num_replicas.max(wanted.num_replicas),
        // What is denied once stays denied.
        deny_delete: found.deny_delete || wanted.deny_delete,
        deny_purge: found.deny_purge || wanted.deny_purge,
        ..found.clone()
    }
}

/// An existing bucket with a longer age and more replicas where those are wanted.
pub(crate) fn grown_bucket(
    found: &stream::Config,
    max_age: Duration,
    replicas: usize,
) -> stream::Config {
    stream::Config {
        max_age: longer(found.max_age, max_age),
        num_replicas: found.num_replicas.max(replicas),
        ..found.clone()
    }
}

/// Says why a stream that exists cannot be used.
///
/// # Errors
/// [`ProvisionError::Incompatible`].
pub(crate) fn check(found: &stream::Config, wanted: &stream::Config) -> Result<(), ProvisionError> {
    let shown = |transform: &Option<SubjectTransform>| {
        transform.as_ref().map_or_else(
            || "missing".to_owned(),
            |transform| format!("{} to {}", transform.source, transform.destination),
        )
    };
    if found.subjects != wanted.subjects {
        return Err(ProvisionError::Incompatible {
            what: "list of subjects",
            found: found.subjects.join(", "),
            wanted: wanted.subjects.join(", "),
            remedy: "rename or delete that stream; nothing in it is needed, the devices publish again",
        });
    }
    if found.subject_transform != wanted.subject_transform {
        return Err(ProvisionError::Incompatible {
            what: "subject transform",
            found: shown(&found.subject_transform),
            wanted: shown(&wanted.subject_transform),
            remedy: "set stream.partitions to the stream's number; or, to change the number, stop all workers and delete the stream and the bucket tributary_leases: the devices publish again",
        });
    }
    Ok(())
}

fn destination(partitions: u32) -> String {
    format!("changes.{{{{partition({partitions},1)}}}}.{{{{wildcard(1)}}}}")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The longer age; zero is no limit.
fn longer(a: Duration, b: Duration) -> Duration {
    if a.is_zero() || b.is_zero() { Duration::ZERO } else { a.max(b) }
}

/// The larger size; -1 is no limit.
fn larger(a: i64, b: i64) -> i64 {
    if a < 0 || b < 0 { -1 } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(partitions: u32) -> StreamConfig {
        StreamConfig { partitions, ..StreamConfig::default() }
    }

    #[test]
    fn the_definition_has_the_configured_partitions() {
        let made = stream(&config(7)).expect("valid");
        let transform = made.subject_transform.expect("there is one");
        assert_eq!(transform.source, "device.*.changes");
        assert_eq!(transform.destination, "changes.{{partition(7,1)}}.{{wildcard(1)}}");
        assert_eq!(made.max_age, Duration::from_secs(7 * 24 * 3600));
    }

    #[test]
    fn another_number_of_partitions_is_refused_with_a_remedy() {
        let found = stream(&config(64)).expect("valid");
        let wanted = stream(&config(32)).expect("valid");
        let error = check(&found, &wanted).expect_err("refused").to_string();
        assert!(
            error.contains("partition(64,1)") && error.contains("set stream.partitions"),
            "{error}"
        );
    }

    #[test]
    fn limits_grow_and_never_shrink() {
        assert_eq!(larger(100, 50), 100);
        assert_eq!(larger(100, -1), -1);
        assert_eq!(longer(Duration::from_secs(5), Duration::from_secs(9)), Duration::from_secs(9));
        assert_eq!(longer(Duration::ZERO, Duration::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn the_buckets_are_defined() {
        let buckets = buckets(Duration::from_secs(9)).expect("valid");
        assert_eq!(buckets.workers.max_age, 9_000_000_000);
        assert_eq!(buckets.workers.bucket, "tributary_workers");
        assert_eq!(buckets.leases.max_age, 0);
    }
}
