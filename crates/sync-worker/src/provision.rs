//! Brings the stream and the buckets into being. Creates what is missing; never shrinks, never
//! deletes, and refuses what it cannot use.

use crate::config::StreamConfig;
use crate::definition::{self, Bucket};
use async_nats::jetstream::context::{
    CreateKeyValueError, CreateStreamError, GetStreamError, GetStreamErrorKind, KeyValueErrorKind,
    UpdateStreamError,
};
use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::stream::{self, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use std::time::Duration;

/// The stream's name.
pub const STREAM: &str = "CHANGES";

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
    /// The stream, or a bucket, cannot be brought up to date.
    #[error(
        "cannot raise the limits of a stream or bucket: {source}; give the worker's account the right to do so, and JetStream room for it"
    )]
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

/// Creates what is missing and returns what there is.
///
/// # Errors
/// [`ProvisionError`].
pub async fn reconcile(
    context: &Context,
    config: &StreamConfig,
    lease_ttl: Duration,
) -> Result<Provisioned, ProvisionError> {
    let wanted = definition::stream(config)?;
    let stream = match context.get_stream(STREAM).await {
        Ok(stream) => adopt(context, stream, &wanted).await?,
        Err(error) if is_missing(&error) => {
            tracing::info!(partitions = config.partitions, "creating stream {STREAM}");
            let created = context.create_stream(wanted).await;
            created.map_err(|source| ProvisionError::Create { source })?
        }
        Err(source) => return Err(ProvisionError::Get { source }),
    };
    let buckets = definition::buckets(lease_ttl)?;
    Ok(Provisioned {
        stream,
        workers: bucket(context, buckets.workers, config.replicas).await?,
        leases: bucket(context, buckets.leases, config.replicas).await?,
    })
}

/// Takes an existing stream, with larger limits where the configuration wants them.
async fn adopt(
    context: &Context,
    stream: Stream,
    wanted: &stream::Config,
) -> Result<Stream, ProvisionError> {
    let found = &stream.cached_info().config;
    definition::check(found, wanted)?;
    let grown = definition::grown(found, wanted);
    if grown == *found {
        return Ok(stream);
    }
    tracing::info!("raising the limits of stream {STREAM}");
    let updated = context.update_stream(&grown).await;
    updated.map_err(|source| ProvisionError::Update { source })?;
    context.get_stream(STREAM).await.map_err(|source| ProvisionError::Get { source })
}

async fn bucket(
    context: &Context,
    wanted: Bucket,
    replicas: usize,
) -> Result<Store, ProvisionError> {
    let name = wanted.bucket.clone();
    match context.get_key_value(&name).await {
        Ok(store) => return grow(context, store, &wanted, replicas).await,
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

/// Takes an existing bucket, with a longer age and more replicas where those are wanted: a sign of life
/// that ages sooner than it is refreshed would make every worker die and live again and again.
async fn grow(
    context: &Context,
    store: Store,
    wanted: &Bucket,
    replicas: usize,
) -> Result<Store, ProvisionError> {
    let found = &store.stream.cached_info().config;
    let grown = definition::grown_bucket(found, Duration::from_nanos(wanted.max_age), replicas);
    if grown != *found {
        let updated = context.update_stream(&grown).await;
        updated.map_err(|source| ProvisionError::Update { source })?;
    }
    Ok(store)
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
