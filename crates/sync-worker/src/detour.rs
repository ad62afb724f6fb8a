//! Where a device goes that would hold up its lane: to a connection of its own, until it has caught
//! up. A DDL statement may rebuild a table for an hour, and so may a purge of a table without a key; the other
//! devices of the lane must not wait.

use crate::apply::Target;
use crate::directory::Directory;
use crate::executor::{Executor, Slow};
use crate::job::{Job, by_device};
use crate::lane::{Delivery, Place};
use crate::metrics;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{Id, JoinSet};
use tributary_wire::DeviceId;

/// Detours of a lane that have a connection at the same time.
const CONNECTIONS_MAX: usize = 2;
/// Messages that may wait for one device. When there are more, the lane waits a little, and then leaves
/// them in the stream until the device is back.
const QUEUE_BATCHES: usize = 256;
/// Memory that the messages of all detours of a lane may take, in KiB. It is not the lane's: the others
/// must not wait for it.
const QUEUES_KIB: usize = 16 << 10;
/// So much of it is for the first message of each: one device's queue keeps no other from its detour.
const FIRSTS_KIB: usize = QUEUES_KIB / 2;
/// How long the other devices of a lane may have to wait for one with a full queue: most statements
/// are quick, and reading the stream again costs more.
const PATIENCE: Duration = Duration::from_secs(2);

/// The devices of a lane that are on a detour.
#[derive(Debug)]
pub(crate) struct Detours {
    place: Place,
    running: HashMap<DeviceId, Detour>,
    devices: HashMap<Id, DeviceId>,
    tasks: JoinSet<Ended>,
    connections: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    spare: Vec<Target>,
}

#[derive(Debug)]
struct Detour {
    queue: mpsc::Sender<Delivery>,
    memory: Arc<Semaphore>,
    /// A message has found no room: everything from it on stays in the stream.
    has_left: bool,
}

/// A detour that has caught up.
#[derive(Debug)]
struct Ended {
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
            devices: HashMap::new(),
            tasks: JoinSet::new(),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            memory: Arc::new(Semaphore::new(QUEUES_KIB)),
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
                Some(detour) => detour.follow(&self.place.directory, job).await,
                None => others.push(job),
            }
        }
        others
    }

    /// Sends devices on their way. One for whose first message there is no room has to wait.
    pub(crate) async fn begin(&mut self, jobs: Vec<Job>) {
        let directory = Arc::clone(&self.place.directory);
        for mut job in jobs {
            if !job.deliveries.first_mut().is_some_and(|first| take_in(&self.memory, first, 0)) {
                tracing::info!(device = %job.device, "there is no room to wait beside the lane; the device's messages are left in the stream for a while");
                job.leave_alone(&directory).await;
                continue;
            }
            directory.update(&job.device, |known| known.left.detour_begun());
            let (sender, queue) = mpsc::channel(QUEUE_BATCHES);
            let memory = Arc::clone(&self.memory);
            let mut detour = Detour { queue: sender, memory, has_left: false };
            for mut delivery in job.deliveries.split_off(1) {
                if detour.follows(&mut delivery) {
                    job.deliveries.push(delivery);
                } else {
                    detour.leave(&directory, delivery).await;
                }
            }
            let device = job.device.clone();
            let executor = Executor::new(self.place.clone(), Slow::Wait, self.spare.pop());
            let task = self.tasks.spawn(run(executor, job, queue, Arc::clone(&self.connections)));
            self.devices.insert(task.id(), device.clone());
            self.running.insert(device, detour);
        }
    }

    /// Waits until a device is back, and returns what came for it in the last moment.
    pub(crate) async fn ended(&mut self) -> Vec<Job> {
        let Some(joined) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (task, ended) = match joined {
            Ok((task, ended)) => (task, Some(ended)),
            // It panicked, which has been logged: what it had is not acknowledged.
            Err(error) => (error.id(), None),
        };
        if let Some(device) = self.devices.remove(&task) {
            self.running.remove(&device);
            let now = Instant::now();
            self.place.directory.update_known(&device, |known| known.left.detour_ended(now));
        }
        let Some(Ended { mut queue, target }) = ended else { return Vec::new() };
        if self.spare.len() < CONNECTIONS_MAX {
            self.spare.extend(target);
        }
        let mut late = Vec::new();
        while let Ok(delivery) = queue.try_recv() {
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
    // The semaphore is never closed.
    let _connection = connections.acquire().await;
    let mut jobs = vec![job];
    loop {
        for piece in jobs.into_iter().flat_map(pieces) {
            // An executor that waits hands nothing back.
            executor.process(vec![piece]).await;
        }
        let mut next = Vec::new();
        while let Ok(delivery) = queue.try_recv() {
            next.push(delivery);
        }
        if next.is_empty() {
            return Ended { queue, target: executor.into_target() };
        }
        jobs = by_device(next);
    }
}

/// What takes long is committed message by message: locks are held for a piece of it, and whoever takes the device
/// over goes on behind the last one.
fn pieces(job: Job) -> Vec<Job> {
    if !job.is_heavy() {
        return vec![job];
    }
    let Job { device, deliveries, park, .. } = job;
    let alone = |delivery| Job { park: park.clone(), ..Job::new(device.clone(), delivery) };
    deliveries.into_iter().map(alone).collect()
}

// === impl Detour ===

impl Detour {
    /// Puts messages behind their device. Once one has found no room, none may go before it.
    async fn follow(&mut self, directory: &Directory, job: Job) {
        for mut delivery in job.deliveries {
            if self.follows(&mut delivery) {
                match self.queue.send_timeout(delivery, PATIENCE).await {
                    Ok(()) => continue,
                    Err(refused) => self.leave(directory, refused.into_inner()).await,
                }
            } else {
                self.leave(directory, delivery).await;
            }
        }
    }

    /// Takes a message in behind its device. False when there is no room, or when its reader has half of
    /// what it may have in flight: the rest is for the others.
    fn follows(&self, delivery: &mut Delivery) -> bool {
        !self.has_left && !delivery.slot.is_crowded() && take_in(&self.memory, delivery, FIRSTS_KIB)
    }

    async fn leave(&mut self, directory: &Directory, delivery: Delivery) {
        self.has_left = true;
        directory.update(&delivery.device, |known| known.left.note_on_detour(delivery.sequence));
        ::metrics::counter!(metrics::DROPPED).increment(1);
        delivery.acknowledge().await;
    }
}

/// Moves a message from the lane's memory to that of the detours, where that leaves `rest` KiB of it. False
/// when there is no room.
fn take_in(memory: &Arc<Semaphore>, delivery: &mut Delivery, rest: usize) -> bool {
    let Some(held) = &delivery.memory else { return true };
    // It came back from a detour.
    if Arc::ptr_eq(held.semaphore(), memory) {
        return true;
    }
    // A larger one takes no more: it goes where the first messages have room.
    let kib = held.num_permits().min(QUEUES_KIB - FIRSTS_KIB);
    if memory.available_permits() < kib + rest {
        return false;
    }
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    match Arc::clone(memory).try_acquire_many_owned(kib) {
        Ok(memory) => {
            delivery.memory = Some(memory);
            true
        }
        Err(_) => false,
    }
}
