//! What was acknowledged without having been applied, because its shard was down or its lane crowded:
//! it is still in the stream, and is read again from there. That spares the device's uplink.
//!
//! All of it can be lost: a device whose batches are missing is asked for them again.

use crate::lane;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tributary_wire::{DeviceId, partition};

/// A partition is read again for a shard after so long at the earliest; for one that goes down again and again,
/// twice as long each time.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// What was left, by partition and by the shard and lane it was for.
#[derive(Debug)]
pub struct Replays {
    partitions: u32,
    /// How many lanes each shard has.
    lanes: Vec<usize>,
    left: Mutex<Partitions>,
}

/// What was left of each partition, by shard and lane.
type Partitions = HashMap<u32, HashMap<(usize, usize), Pending>>;

#[derive(Debug, Default)]
struct Pending {
    /// The oldest message that was left.
    oldest: Option<u64>,
    /// When it was read again, and how long not to do so after that.
    replayed: Option<(Instant, Duration)>,
}

// === impl Replays ===

impl Replays {
    /// Nothing was left yet, in so many partitions and lanes of each shard.
    pub fn new(partitions: u32, lanes: Vec<usize>) -> Self {
        Self { partitions, lanes, left: Mutex::default() }
    }

    /// The message at `sequence` was left, because of `shard`.
    pub fn leave(&self, device: &DeviceId, shard: usize, sequence: u64) {
        let lane = lane::number_of(device, self.lanes.get(shard).copied().unwrap_or(1));
        let mut left = self.lock();
        let partition = left.entry(partition(device, self.partitions)).or_default();
        let oldest = &mut partition.entry((shard, lane)).or_default().oldest;
        *oldest = Some(oldest.map_or(sequence, |oldest| oldest.min(sequence)));
    }

    /// True while something for the device's lane of that shard waits to be read again in its partition.
    pub fn is_waiting_for(&self, device: &DeviceId, shard: usize) -> bool {
        let lane = lane::number_of(device, self.lanes.get(shard).copied().unwrap_or(1));
        let left = self.lock();
        let lanes = left.get(&partition(device, self.partitions));
        lanes.and_then(|lanes| lanes.get(&(shard, lane))).is_some_and(|left| left.oldest.is_some())
    }

    /// True while something of the partition waits to be read again.
    pub fn is_waiting(&self, partition: u32) -> bool {
        let left = self.lock();
        left.get(&partition).is_some_and(|shards| shards.values().any(|one| one.oldest.is_some()))
    }

    /// Where to read the partition again from, if that is due: only what was for lanes that take
    /// changes, which `takes` says of a shard and a lane.
    pub fn due(&self, partition: u32, takes: impl Fn(usize, usize) -> bool) -> Option<u64> {
        let mut left = self.lock();
        let lanes = left.get_mut(&partition)?.iter_mut();
        let ready = lanes.filter(|((shard, lane), left)| !left.is_paused() && takes(*shard, *lane));
        ready.filter_map(|(_, left)| left.take()).min()
    }

    /// The partition is someone else's now.
    pub fn forget(&self, partition: u32) {
        self.lock().remove(&partition);
    }

    fn lock(&self) -> MutexGuard<'_, Partitions> {
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
        let replays = Replays::new(1, vec![1, 1]);
        let device: DeviceId = "d".parse().expect("valid");
        replays.leave(&device, 0, 50);
        replays.leave(&device, 0, 40);
        replays.leave(&device, 1, 10);
        assert!(replays.is_waiting(0) && !replays.is_waiting(1));
        assert!(replays.is_waiting_for(&device, 1) && !replays.is_waiting_for(&device, 2));
        assert_eq!(replays.due(0, |shard, _| shard == 0), Some(40));
        assert!(replays.is_waiting(0));
        replays.leave(&device, 0, 60);
        // Not at once for a shard for which it was of no use.
        assert_eq!(replays.due(0, |shard, _| shard == 0), None);
        assert_eq!(replays.due(0, |_, _| true), Some(10));
        assert!(replays.is_waiting_for(&device, 0) && !replays.is_waiting_for(&device, 1));
        replays.forget(0);
        assert!(!replays.is_waiting(0));
    }

    #[test]
    fn a_lane_that_is_crowded_keeps_no_other_of_its_shard_from_being_read_again() {
        let replays = Replays::new(1, vec![8]);
        let device = |n: u32| format!("d{n}").parse::<DeviceId>().expect("valid");
        let lane = |device: &DeviceId| lane::number_of(device, 8);
        let one = device(0);
        let other = (1..).map(device).find(|other| lane(other) != lane(&one)).expect("in time");
        replays.leave(&one, 0, 10);
        replays.leave(&other, 0, 20);
        assert_eq!(replays.due(0, |_, of| of != lane(&one)), Some(20));
        assert!(replays.is_waiting_for(&one, 0) && !replays.is_waiting_for(&other, 0));
        assert_eq!(replays.due(0, |_, of| of != lane(&one)), None);
        assert_eq!(replays.due(0, |_, _| true), Some(10));
    }
}
