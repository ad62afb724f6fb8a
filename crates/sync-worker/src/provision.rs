//! Brings the stream and the buckets into being. Creates what is missing; never shrinks, never
//! deletes, and refuses what it cannot use.

use crate::config::StreamConfig;
use async_nats::jetstream::context::{
    CreateKeyValueError, CreateStreamError, GetStreamError, GetStreamErrorKind, KeyValueErrorKind,
    UpdateStreamError,
};
use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::stream::{self, StorageType, Stream, SubjectTransform};
use async_nats::jetstream::{Context, ErrorCode};
use serde::Deserialize;
use std::time::Duration;

/// The stream's name.
pub const STREAM: &str = "CHANGES";

const STREAM_JSON: &str = include_str!("../../../jetstream/stream.json");
const KV_JSON: &str = include_str!("../../../jetstream/kv.json");
const GIB: u64 = 1 << 30;
/// The least that a stream is given to live in; a bucket's `max_age` cannot be shorter than the
/// server's shortest.
const AGE_MIN: Duration = Duration::from_secs(1);

/// The stream or the buckets cannot be brought into being.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// Our own definition is damaged.
    #[error(
        "the definition {file} built into this program is no valid JSON: {source}; this is a bug"
    )]
    Definition {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// JetStream did not answer.
    #[error(
        "JetStream does not answer a question about stream {STREAM}: {source}; look at the NATS servers"
    )]
    Get {
        /// Why.
        source: GetStreamError,
    },
    /// The stream cannot be created.
    #[error(
        "cannot create stream {STREAM}: {source}; give the worker's account the right to do so, and JetStream room for it (see jetstream/README.md)"
    )]
    Create {
        /// Why.
        source: CreateStreamError,
    },
    /// The stream cannot be brought up to date.
    #[error("cannot update stream {STREAM}: {source}")]
    Update {
        /// Why.
        source: UpdateStreamError,
    },
    /// A stream of this name exists that is not ours.
    #[error(
        "stream {STREAM} exists and cannot be used: its {what} is {found}, not {wanted}; {remedy}"
    )]
    Incompatible {
        /// Which setting.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it has to be.
        wanted: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A bucket cannot be opened.
    #[error(
        "JetStream does not answer a question about bucket {bucket}: {source}; look at the NATS servers"
    )]
    OpenBucket {
        /// Which bucket.
        bucket: String,
        /// Why.
        source: async_nats::jetstream::context::KeyValueError,
    },
    /// A bucket cannot be created.
    #[error(
        "cannot create bucket {bucket}: {source}; give the worker's account the right to do so"
    )]
    CreateBucket {
        /// Which bucket.
        bucket: String,
        /// Why.
        source: CreateKeyValueError,
    },
}

/// What the workers use of JetStream.
#[derive(Debug, Clone)]
pub struct Provisioned {
    /// The stream.
    pub stream: Stream,
    /// Live workers.
    pub workers: Store,
    /// Leases.
    pub leases: Store,
}

#[derive(Debug, Deserialize)]
struct Buckets {
    workers: Bucket,
    leases: Bucket,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    bucket: String,
    description: String,
    history: i64,
    max_age: u64,
    max_bytes: i64,
    storage: StorageType,
}

/// Creates what is missing and returns what there is.
///
/// # Errors
/// [`ProvisionError`].
pub async fn reconcile(
    context: &Context,
    config: &StreamConfig,
    lease_ttl: Duration,
) -> Result<Provisioned, ProvisionError> {
    let wanted = definition(config)?;
    let stream = match context.get_stream(STREAM).await {
        Ok(stream) => adopt(context, stream, &wanted).await?,
        Err(error) if is_missing(&error) => {
            tracing::info!(partitions = config.partitions, "creating stream {STREAM}");
            let created = context.create_stream(wanted).await;
            created.map_err(|source| ProvisionError::Create { source })?
        }
        Err(source) => return Err(ProvisionError::Get { source }),
    };
    let buckets: Buckets = serde_json::from_str(KV_JSON)
        .map_err(|source| ProvisionError::Definition { file: "kv.json", source })?;
    let workers = Bucket { max_age: nanos(lease_ttl.max(AGE_MIN)), ..buckets.workers };
    Ok(Provisioned {
        stream,
        workers: bucket(context, workers, config.replicas).await?,
        leases: bucket(context, buckets.leases, config.replicas).await?,
    })
}

/// The stream as the configuration wants it.
///
/// # Errors
/// [`ProvisionError::Definition`].
pub fn definition(config: &StreamConfig) -> Result<stream::Config, ProvisionError> {
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

/// Takes an existing stream, with larger limits where the configuration wants them.
async fn adopt(
    context: &Context,
    stream: Stream,
    wanted: &stream::Config,
) -> Result<Stream, ProvisionError> {
    let found = &stream.cached_info().config;
    check(found, wanted)?;
    let grown = stream::Config {
        max_age: longer(found.max_age, wanted.max_age),
        max_bytes: larger(found.max_bytes, wanted.max_bytes),
        num_replicas: found.num_replicas.max(wanted.num_replicas),
        ..found.clone()
    };
    if grown == *found {
        return Ok(stream);
    }
    tracing::info!("raising the limits of stream {STREAM}");
    let updated = context.update_stream(&grown).await;
    updated.map_err(|source| ProvisionError::Update { source })?;
    context.get_stream(STREAM).await.map_err(|source| ProvisionError::Get { source })
}

fn check(found: &stream::Config, wanted: &stream::Config) -> Result<(), ProvisionError> {
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

async fn bucket(
    context: &Context,
    wanted: Bucket,
    replicas: usize,
) -> Result<Store, ProvisionError> {
    let name = wanted.bucket.clone();
    match context.get_key_value(&name).await {
        Ok(store) => return Ok(store),
        Err(error) if error.kind() == KeyValueErrorKind::GetBucket && !is_gone(&error) => {
            return Err(ProvisionError::OpenBucket { bucket: name, source: error });
        }
        Err(_) => tracing::info!(bucket = name, "creating a bucket"),
    }
    let config = kv::Config {
        bucket: wanted.bucket,
        description: wanted.description,
        history: wanted.history,
        max_age: Duration::from_nanos(wanted.max_age),
        max_bytes: wanted.max_bytes,
        storage: wanted.storage,
        num_replicas: replicas,
        ..kv::Config::default()
    };
    let created = context.create_key_value(config).await;
    created.map_err(|source| ProvisionError::CreateBucket { bucket: name, source })
}

/// True when the server says that there is no such stream.
pub(crate) fn is_missing(error: &GetStreamError) -> bool {
    match error.kind() {
        GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        _ => false,
    }
}

fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<GetStreamError>().is_some_and(is_missing) {
            return true;
        }
        source = error.source();
    }
    false
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
        let stream = definition(&config(7)).expect("valid");
        let transform = stream.subject_transform.expect("there is one");
        assert_eq!(transform.source, "device.*.changes");
        assert_eq!(transform.destination, "changes.{{partition(7,1)}}.{{wildcard(1)}}");
        assert_eq!(stream.max_age, Duration::from_secs(7 * 24 * 3600));
    }

    #[test]
    fn another_number_of_partitions_is_refused_with_a_remedy() {
        let found = definition(&config(64)).expect("valid");
        let wanted = definition(&config(32)).expect("valid");
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
        let buckets: Buckets = serde_json::from_str(KV_JSON).expect("valid");
        assert_eq!(buckets.workers.bucket, "tributary_workers");
        assert_eq!(buckets.leases.max_age, 0);
    }
}
