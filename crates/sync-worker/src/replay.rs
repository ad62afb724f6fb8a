//! What was acknowledged without having been applied, because its shard was down or its device busy:
//! it is still in the stream, and is read again from there. That spares the device's uplink.
//!
//! All of it can be lost: a device whose batches are missing is asked for them again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tributary_wire::{DeviceId, partition};

/// A partition is not read again more often than this.
const INTERVAL: Duration = Duration::from_secs(15);

/// The oldest message that was left, by partition and by the shard it was for.
#[derive(Debug)]
pub struct Replays {
    partitions: u32,
    left: Mutex<HashMap<u32, Left>>,
}

#[derive(Debug, Default)]
struct Left {
    by_shard: HashMap<usize, u64>,
    replayed_at: Option<Instant>,
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
        let oldest = partition.by_shard.entry(shard).or_insert(sequence);
        *oldest = sequence.min(*oldest);
    }

    /// True while something for that shard waits to be read again in the partition.
    pub fn is_waiting_for(&self, partition: u32, shard: usize) -> bool {
        self.lock().get(&partition).is_some_and(|left| left.by_shard.contains_key(&shard))
    }

    /// True while something of the partition waits to be read again.
    pub fn is_waiting(&self, partition: u32) -> bool {
        self.lock().get(&partition).is_some_and(|left| !left.by_shard.is_empty())
    }

    /// Where to read the partition again from, if that is due: only what was for shards that take
    /// changes, which `takes` says.
    pub fn due(&self, partition: u32, takes: impl Fn(usize) -> bool) -> Option<u64> {
        let mut left = self.lock();
        let left = left.get_mut(&partition)?;
        if left.replayed_at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return None;
        }
        let ready: Vec<usize> =
            left.by_shard.keys().copied().filter(|shard| takes(*shard)).collect();
        let oldest = ready.iter().filter_map(|shard| left.by_shard.remove(shard)).min()?;
        left.replayed_at = Some(Instant::now());
        Some(oldest)
    }

    /// The partition is someone else's now.
    pub fn forget(&self, partition: u32) {
        self.lock().remove(&partition);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
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
        // Not again at once, although the other shard is back as well.
        assert_eq!(replays.due(0, |_| true), None);
        replays.forget(0);
        assert!(!replays.is_waiting(0));
    }
}
