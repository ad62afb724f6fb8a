//! Devices of a partition whose shard is not known yet: the shards are asked, one of them may hang, and
//! the messages of the other devices go on meanwhile.

use crate::directory::{Directory, Placement};
use crate::lane::Delivery;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use tributary_wire::DeviceId;

/// Devices that are looked for at the same time. With more, the partition waits.
const DEVICES_MAX: usize = 256;
/// Messages that wait for the outcomes, and their bytes. What is beyond stays in the stream.
const MESSAGES_MAX: usize = 256;
const BYTES_MAX: usize = 4 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Lookups {
    directory: Arc<Directory>,
    /// Tasks: a question to a shard has to go on while the partition waits for a lane.
    running: JoinSet<(DeviceId, Placement)>,
    waiting: HashMap<DeviceId, Waiting>,
    messages: usize,
    bytes: usize,
}

/// The messages of a device, in order.
#[derive(Debug, Default)]
struct Waiting {
    deliveries: Vec<Delivery>,
    /// The first that found no room: everything from it on stays in the stream.
    left: Option<u64>,
}

/// The outcome for a device.
#[derive(Debug)]
pub(crate) struct Found {
    /// The device.
    pub(crate) device: DeviceId,
    /// Where it belongs.
    pub(crate) placement: Placement,
    /// What waited for that.
    pub(crate) deliveries: Vec<Delivery>,
    /// The first message that was acknowledged unread.
    pub(crate) left: Option<u64>,
}

// === impl Lookups ===

impl Drop for Lookups {
    /// The partition's reader has ended. What it did not acknowledge comes again; the rest is noted.
    fn drop(&mut self) {
        let now = Instant::now();
        for (device, waiting) in &self.waiting {
            if let Some(sequence) = waiting.left {
                self.directory.update(device, |known| known.left.note_for_later(sequence, now));
            }
        }
    }
}

impl Lookups {
    /// None yet.
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        let (running, waiting) = (JoinSet::new(), HashMap::new());
        Self { directory, running, waiting, messages: 0, bytes: 0 }
    }

    /// True while the device is looked for: its messages have to wait behind those that do.
    pub(crate) fn is_waiting(&self, device: &DeviceId) -> bool {
        self.waiting.contains_key(device)
    }

    /// True when no device is looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True when no more devices can be looked for.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= DEVICES_MAX
    }

    /// Has the message wait until its device is found. Gives it back when there is no room: it is to be
    /// acknowledged, and [`Found::left`] says so later.
    pub(crate) fn wait(&mut self, delivery: Delivery) -> Option<Delivery> {
        if !self.waiting.contains_key(&delivery.device) {
            let (directory, device) = (Arc::clone(&self.directory), delivery.device.clone());
            let lookup = async move {
                let placement = directory.locate(&device).await;
                (device, placement)
            };
            self.running.spawn(lookup);
        }
        let waiting = self.waiting.entry(delivery.device.clone()).or_default();
        let bytes = self.bytes + delivery.content.memory_bytes();
        // Once one is left, none may go before it. A message that is alone goes whatever its size.
        let has_room = self.messages == 0 || (self.messages < MESSAGES_MAX && bytes <= BYTES_MAX);
        if waiting.left.is_some() || !has_room {
            waiting.left.get_or_insert(delivery.sequence);
            return Some(delivery);
        }
        (self.messages, self.bytes) = (self.messages + 1, bytes);
        waiting.deliveries.push(delivery);
        None
    }

    /// Waits until a device is found; for ever, without any.
    pub(crate) async fn next(&mut self) -> Found {
        let (device, placement) = loop {
            match self.running.join_next().await {
                Some(Ok(found)) => break found,
                // It panicked, which has been logged; the device waits until the partition is read anew.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        };
        let Waiting { deliveries, left } = self.waiting.remove(&device).unwrap_or_default();
        self.messages -= deliveries.len();
        self.bytes -= deliveries.iter().map(|one| one.content.memory_bytes()).sum::<usize>();
        Found { device, placement, deliveries, left }
    }
}
