//! The whole of a replica: what is started, in which order, and how it stops.

use crate::catch_up::CatchUp;
use crate::directory::Directory;
use crate::error::WorkerError;
use crate::heartbeat::Heartbeats;
use crate::intake::Lanes;
use crate::lane;
use crate::nats;
use crate::ownership::{Owned, Ownership};
use crate::preflight;
use crate::provision;
use crate::scrape::Scrape;
use crate::settings::Settings;
use crate::shard::Shard;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tributary_runtime::{CancellationToken, Readiness, shutdown};
use tributary_wire::Limits;

/// Bodies are never read smaller than this, whatever the server's `max_payload` says today: the
/// stream may hold messages from before it was lowered.
const BODY_BYTES_MIN: usize = 8 << 20;

/// Acknowledgements that are still on their way out get so long.
const FLUSH: Duration = Duration::from_secs(2);

/// A replica that is ready to run.
#[derive(Debug)]
pub struct Worker {
    settings: Settings,
    client: async_nats::Client,
    directory: Arc<Directory>,
    owned: Arc<Owned>,
    lanes: Lanes,
    running_lanes: JoinSet<()>,
    finish: CancellationToken,
    readiness: Readiness,
}

// === impl Worker ===

impl Worker {
    /// Connects to NATS, brings the stream into being, and starts the lanes. A shard that cannot be
    /// reached holds nothing up.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn start(settings: Settings, readiness: Readiness) -> Result<Self, WorkerError> {
        let client = nats::connect(&settings.nats, &settings.worker_id).await?;
        let context = async_nats::jetstream::new(client.clone());
        provision::reconcile(&context, &settings.stream, settings.lease_ttl).await?;
        let shards: Vec<Arc<Shard>> =
            settings.shards.iter().cloned().map(Shard::new).map(Arc::new).collect();
        let partitions = settings.stream.partitions;
        let directory =
            Arc::new(Directory::new(shards.clone(), settings.routing.clone(), partitions));
        let (mut running_lanes, finish) = (JoinSet::new(), CancellationToken::new());
        let mut lanes = Vec::with_capacity(shards.len());
        for (index, shard) in shards.iter().enumerate() {
            let mut entrances = Vec::with_capacity(shard.settings().lanes);
            for number in 0..shard.settings().lanes {
                let (entrance, lane) = lane::lane(
                    Arc::clone(shard),
                    index,
                    number,
                    Arc::clone(&directory),
                    finish.clone(),
                );
                entrances.push(entrance);
                running_lanes.spawn(lane.run());
            }
            lanes.push(entrances);
        }
        let owned = Arc::default();
        let lanes = Arc::new(lanes);
        Ok(Self { settings, client, directory, owned, lanes, running_lanes, finish, readiness })
    }

    /// What sets the gauges before each scrape.
    pub fn scrape(&self) -> Scrape {
        Scrape::new(Arc::clone(&self.directory), Arc::clone(&self.lanes), self.readiness.clone())
    }

    /// Runs until `stop`: then no more is taken in, what is in flight is committed and acknowledged,
    /// and the leases are given back.
    ///
    /// # Errors
    /// [`WorkerError`] when heartbeats cannot be received, or when the stop takes too long.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let context = async_nats::jetstream::new(self.client.clone());
        let (directory, lanes) = (Arc::clone(&self.directory), Arc::clone(&self.lanes));
        let limits = limits(self.client.max_payload());
        let catch_up = CatchUp::new(context.clone(), directory, lanes, limits, stop.clone());
        let ownership = Ownership {
            catch_up: catch_up.clone(),
            context: context.clone(),
            stream: self.settings.stream.clone(),
            worker_id: self.settings.worker_id.clone(),
            lease_ttl: self.settings.lease_ttl,
            directory: Arc::clone(&self.directory),
            lanes: Arc::clone(&self.lanes),
            limits,
            owned: Arc::clone(&self.owned),
            readiness: self.readiness.clone(),
        };
        let heartbeats = Heartbeats::new(
            self.client.clone(),
            context,
            self.settings.stream.clone(),
            Arc::clone(&self.directory),
            Arc::clone(&self.owned),
            catch_up,
            stop.clone(),
        );
        tracing::info!(
            worker = self.settings.worker_id,
            shards = self.settings.shards.len(),
            partitions = self.settings.stream.partitions,
            "running"
        );
        let mut checks = JoinSet::new();
        checks.spawn(preflight::watch(self.settings.shards.clone()));
        // Aborted when this future is dropped, so that nothing goes on behind its back.
        let mut tasks = JoinSet::new();
        tasks.spawn(ownership.run(stop.clone()));
        let mut lanes = self.running_lanes;
        let ended = tokio::select! {
            answered = heartbeats.run() => answered.map_err(WorkerError::from),
            // It ends of itself for one reason alone.
            Some(Ok(Err(taken))) = tasks.join_next() => Err(WorkerError::from(taken)),
            // Lanes end when they are told to, and nobody has.
            _ = lanes.join_next() => Err(WorkerError::Internal("a lane has ended")),
        };
        stop.cancel();
        let finished = shutdown::within(self.settings.grace, async {
            // Ends when every partition is drained or its time is up.
            tasks.join_next().await;
            self.finish.cancel();
            while lanes.join_next().await.is_some() {}
            let _ = tokio::time::timeout(FLUSH, self.client.flush()).await;
        });
        finished.await?;
        ended
    }
}

/// What a message may make us allocate. A publisher builds no body larger than the server's
/// `max_payload`, and a cell takes a byte of it at least.
fn limits(payload_bytes_max: usize) -> Limits {
    let body = u32::try_from(payload_bytes_max.max(BODY_BYTES_MIN)).unwrap_or(u32::MAX);
    Limits { body_bytes_max: body, cells_max: u64::from(body) }
}
