//! What was acknowledged without having been applied, because its shard was down:
//! it is still in the stream, and is read again from there. That spares the device's uplink.
//!
//! All of it can be lost: a device whose batches are missing is asked for them again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tributary_wire::{DeviceId, partition};

/// A partition is read again for a shard after so long at the earliest; for one that goes down again and again,
/// twice as long each time.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// What was left, by partition and by the shard it was for.
#[derive(Debug)]
pub struct Replays {
    partitions: u32,
    left: Mutex<HashMap<u32, HashMap<usize, Pending>>>,
}

#[derive(Debug, Default)]
struct Pending {
    /// The oldest message that was left.
    oldest: Option<u64>,
    /// When it was read again, and how long not to do so after that.
    replayed: Option<(Instant, Duration)>,
}

// === impl Replays ===

impl Replays {
    /// Nothing was left yet, in so many partitions.
    pub fn new(partitions: u32) -> Self {
        Self { partitions, left: Mutex::default() }
    }

    /// The message at `sequence` was left, because of `shard`.
    pub fn leave(&self, device: &DeviceId, shard: usize, sequence: u64) {
        let mut left = self.lock();
        let partition = left.entry(partition(device, self.partitions)).or_default();
        let oldest = &mut partition.entry(shard).or_default().oldest;
        *oldest = Some(oldest.map_or(sequence, |oldest| oldest.min(sequence)));
    }

    /// True while something for that shard waits to be read again in the partition.
    pub fn is_waiting_for(&self, partition: u32, shard: usize) -> bool {
        let left = self.lock();
        let left = left.get(&partition).and_then(|shards| shards.get(&shard));
        left.is_some_and(|left| left.oldest.is_some())
    }

    /// True while something of the partition waits to be read again.
    pub fn is_waiting(&self, partition: u32) -> bool {
        let left = self.lock();
        left.get(&partition).is_some_and(|shards| shards.values().any(|one| one.oldest.is_some()))
    }

    /// Where to read the partition again from, if that is due: only what was for shards that take
    /// changes, which `takes` says.
    pub fn due(&self, partition: u32, takes: impl Fn(usize) -> bool) -> Option<u64> {
        let mut left = self.lock();
        let shards = left.get_mut(&partition)?.iter_mut();
        let ready = shards.filter(|(shard, left)| !left.is_paused() && takes(**shard));
        ready.filter_map(|(_, left)| left.take()).min()
    }

    /// The partition is someone else's now.
    pub fn forget(&self, partition: u32) {
        self.lock().remove(&partition);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, HashMap<usize, Pending>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pending ===

impl Pending {
    fn is_paused(&self) -> bool {
        self.replayed.is_some_and(|(at, pause)| at.elapsed() < pause)
    }

    fn take(&mut self) -> Option<u64> {
        let oldest = self.oldest.take()?;
        let now = Instant::now();
        let again = self.replayed.filter(|(at, pause)| now < *at + *pause * 2 + INTERVAL_MIN);
        let pause = again.map_or(INTERVAL_MIN, |(_, pause)| (pause * 2).min(INTERVAL_MAX));
        self.replayed = Some((now, pause));
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_for_a_shard_that_is_back_is_read_again_from_its_oldest() {
        let replays = Replays::new(1);
        let device: DeviceId = "d".parse().expect("valid");
        replays.leave(&device, 0, 50);
        replays.leave(&device, 0, 40);
        replays.leave(&device, 1, 10);
        assert!(replays.is_waiting(0) && !replays.is_waiting(1));
        assert!(replays.is_waiting_for(0, 1) && !replays.is_waiting_for(0, 2));
        assert_eq!(replays.due(0, |shard| shard == 0), Some(40));
        assert!(replays.is_waiting(0));
        replays.leave(&device, 0, 60);
        // Not at once for a shard for which it was of no use.
        assert_eq!(replays.due(0, |shard| shard == 0), None);
        assert_eq!(replays.due(0, |_| true), Some(10));
        assert!(replays.is_waiting_for(0, 0) && !replays.is_waiting_for(0, 1));
        replays.forget(0);
        assert!(!replays.is_waiting(0));
    }
}
