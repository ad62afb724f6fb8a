//! Where a device goes that would hold up its lane: to a connection of its own, until it has caught
//! up. A DDL statement may rebuild a table for an hour; the other devices of the lane must not wait.

use crate::apply::Target;
use crate::executor::{Executor, Slow};
use crate::job::{Job, by_device};
use crate::lane::{Delivery, Place};
use crate::metrics;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tributary_wire::DeviceId;

/// Detours of a lane that have a connection at the same time.
const CONNECTIONS_MAX: usize = 2;
/// Messages that may wait for one device. When there are more, the lane waits a little, and then leaves
/// them in the stream until the device is back.
const QUEUE_BATCHES: usize = 256;
/// How long the other devices of a lane may have to wait for one with a full queue: most statements
/// are quick, and reading the stream again costs more.
const PATIENCE: Duration = Duration::from_secs(2);

/// The devices of a lane that are on a detour.
#[derive(Debug)]
pub(crate) struct Detours {
    place: Place,
    running: HashMap<DeviceId, Detour>,
    tasks: JoinSet<Ended>,
    connections: Arc<Semaphore>,
    spare: Vec<Target>,
}

#[derive(Debug)]
struct Detour {
    queue: mpsc::Sender<Delivery>,
    /// The first message that found no room: everything from it on stays in the stream.
    left: Option<u64>,
}

/// A detour that has caught up.
#[derive(Debug)]
pub(crate) struct Ended {
    device: DeviceId,
    queue: mpsc::Receiver<Delivery>,
    target: Option<Target>,
}

// === impl Detours ===

impl Detours {
    /// None yet.
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            spare: Vec::new(),
        }
    }

    /// True without any.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Sends the jobs of devices that are on a detour after them, and returns the others.
    pub(crate) async fn forward(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        let mut others = Vec::with_capacity(jobs.len());
        for job in jobs {
            match self.running.get_mut(&job.device) {
                Some(detour) => detour.follow(job).await,
                None => others.push(job),
            }
        }
        others
    }

    /// Sends devices on their way.
    pub(crate) fn begin(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            let (sender, queue) = mpsc::channel(QUEUE_BATCHES);
            self.running.insert(job.device.clone(), Detour { queue: sender, left: None });
            let executor = Executor::new(self.place.clone(), Slow::Wait, self.spare.pop());
            self.tasks.spawn(run(executor, job, queue, Arc::clone(&self.connections)));
        }
    }

    /// Waits until a device is back, and returns what came for it in the last moment.
    pub(crate) async fn ended(&mut self) -> Vec<Job> {
        let Some(ended) = self.tasks.join_next().await else {
            return std::future::pending().await;
        };
        let Ok(mut ended) = ended else {
            // It panicked, which has been logged. Which device's it was is no longer known, so all of
            // them are forgotten; what waited for them is delivered again.
            self.running.clear();
            return Vec::new();
        };
        let left = self.running.remove(&ended.device).and_then(|detour| detour.left);
        if let Some(sequence) = left {
            self.place.directory.replays.leave(&ended.device, self.place.shard_index, sequence);
        }
        if self.spare.len() < CONNECTIONS_MAX {
            self.spare.extend(ended.target.take());
        }
        let mut late = Vec::new();
        while let Ok(delivery) = ended.queue.try_recv() {
            late.push(delivery);
        }
        by_device(late)
    }

    /// Closes the connections that wait for another detour.
    pub(crate) async fn close(self) {
        for target in self.spare {
            target.session.close().await;
        }
    }
}

/// Applies a device's messages until none waits.
async fn run(
    mut executor: Executor,
    job: Job,
    mut queue: mpsc::Receiver<Delivery>,
    connections: Arc<Semaphore>,
) -> Ended {
    let device = job.device.clone();
    // The semaphore is never closed.
    let _connection = connections.acquire().await;
    let mut jobs = vec![job];
    loop {
        // An executor that waits hands nothing back.
        executor.process(jobs).await;
        let mut next = Vec::new();
        while let Ok(delivery) = queue.try_recv() {
            next.push(delivery);
        }
        if next.is_empty() {
            return Ended { device, queue, target: executor.into_target() };
        }
        jobs = by_device(next);
    }
}

// === impl Detour ===

impl Detour {
    /// Puts messages behind their device. Once one has found no room, none may go before it.
    async fn follow(&mut self, job: Job) {
        for delivery in job.deliveries {
            if self.left.is_none() {
                match self.queue.send_timeout(delivery, PATIENCE).await {
                    Ok(()) => continue,
                    Err(refused) => self.leave(refused.into_inner()).await,
                }
            } else {
                self.leave(delivery).await;
            }
        }
    }

    async fn leave(&mut self, delivery: Delivery) {
        let sequence = delivery.sequence;
        self.left = Some(self.left.map_or(sequence, |left| left.min(sequence)));
        ::metrics::counter!(metrics::DROPPED).increment(1);
        delivery.acknowledge().await;
    }
}
