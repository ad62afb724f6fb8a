//! Which heartbeats are looked at, and in which order. A device may send what it likes, as fast as it likes:
//! it takes its own turn and nobody else's. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};
use tributary_wire::DeviceId;

/// Heartbeats that wait or are being answered: one of each device, the newest.
#[derive(Debug)]
pub(crate) struct Turnstile<T> {
    rates: HashMap<DeviceId, Rate>,
    latest: HashMap<DeviceId, (T, usize)>,
    queue: VecDeque<DeviceId>,
    busy: HashSet<DeviceId>,
    bytes: usize,
    swept_at: Instant,
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
struct Rate {
    tokens: f64,
    at: Instant,
}

/// A publisher sends one in ten seconds, and one a second while it waits; ten is the most that can be
/// configured.
const PER_SECOND: f64 = 12.0;
const AT_ONCE: f64 = 24.0;
/// Heartbeats that are answered at the same time.
const ANSWERS_MAX: usize = 64;
/// What waits, in bytes.
const BYTES_MAX: usize = 16 << 20;
/// Devices that were silent for so long are forgotten.
const SWEEP: Duration = Duration::from_secs(60);

// === impl Turnstile ===

impl<T> Turnstile<T> {
    /// Empty.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            rates: HashMap::new(),
            latest: HashMap::new(),
            queue: VecDeque::new(),
            busy: HashSet::new(),
            bytes: 0,
            swept_at: now,
        }
    }

    /// Takes a heartbeat of so many bytes, in the place of an older one that waits. False when the device has
    /// sent too many, or everybody has.
    pub(crate) fn offer(
        &mut self,
        device: &DeviceId,
        heartbeat: T,
        bytes: usize,
        now: Instant,
    ) -> bool {
        self.sweep(now);
        let is_let_in = self.is_let_in(device, now) && self.bytes + bytes <= BYTES_MAX;
        if !is_let_in {
            return false;
        }
        self.bytes += bytes;
        match self.latest.insert(device.clone(), (heartbeat, bytes)) {
            Some((_, older)) => self.bytes -= older,
            None if self.busy.contains(device) => {}
            None => self.queue.push_back(device.clone()),
        }
        true
    }

    /// The next to be answered, if there is room for another answer.
    pub(crate) fn next(&mut self) -> Option<(DeviceId, T)> {
        if self.busy.len() >= ANSWERS_MAX {
            return None;
        }
        let device = self.queue.pop_front()?;
        let (heartbeat, bytes) = self.latest.remove(&device)?;
        self.bytes -= bytes;
        self.busy.insert(device.clone());
        Some((device, heartbeat))
    }

    /// The device's heartbeat was dealt with.
    pub(crate) fn done(&mut self, device: DeviceId) {
        self.busy.remove(&device);
        if self.latest.contains_key(&device) {
            self.queue.push_back(device);
        }
    }

    fn is_let_in(&mut self, device: &DeviceId, now: Instant) -> bool {
        let Some(rate) = self.rates.get_mut(device) else {
            self.rates.insert(device.clone(), Rate { tokens: AT_ONCE - 1.0, at: now });
            return true;
        };
        let earned = now.saturating_duration_since(rate.at).as_secs_f64() * PER_SECOND;
        *rate = Rate { tokens: (rate.tokens + earned).min(AT_ONCE), at: now };
        let is_let_in = rate.tokens >= 1.0;
        if is_let_in {
            rate.tokens -= 1.0;
        }
        is_let_in
    }

    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept_at) >= SWEEP {
            self.rates.retain(|_, rate| now.saturating_duration_since(rate.at) < SWEEP);
            self.swept_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: usize) -> DeviceId {
        format!("dev-{n}").parse().expect("valid")
    }

    #[test]
    fn the_newest_of_a_device_is_answered_and_one_at_a_time() {
        let now = Instant::now();
        let mut turnstile = Turnstile::new(now);
        for n in 0..3 {
            assert!(turnstile.offer(&device(1), n, 100, now));
        }
        assert!(turnstile.offer(&device(2), 10, 100, now));
        assert_eq!(turnstile.next(), Some((device(1), 2)));
        assert!(turnstile.offer(&device(1), 3, 100, now));
        assert_eq!(turnstile.next(), Some((device(2), 10)));
        assert_eq!(turnstile.next(), None, "device 1 has its answer under way");
        turnstile.done(device(1));
        assert_eq!(turnstile.next(), Some((device(1), 3)));
        turnstile.done(device(1));
        turnstile.done(device(2));
        assert_eq!((turnstile.next(), turnstile.bytes), (None, 0));
    }

    #[test]
    fn a_flood_of_one_device_takes_nothing_from_another_and_ends() {
        let mut now = Instant::now();
        let mut turnstile = Turnstile::new(now);
        let mut let_in = 0;
        for n in 0..410_000 {
            now += Duration::from_micros(24);
            let_in += u32::from(turnstile.offer(&device(1), n, 200, now));
        }
        assert!((130..200).contains(&let_in), "{let_in} in ten seconds");
        assert!(turnstile.offer(&device(2), 0, 200, now));
        now += Duration::from_secs(1);
        assert!(turnstile.offer(&device(1), 0, 200, now));
    }

    #[test]
    fn what_waits_is_bounded_and_who_is_silent_is_forgotten() {
        let mut now = Instant::now();
        let mut turnstile = Turnstile::new(now);
        let size = 64 << 10;
        let let_in = (0..1000).filter(|n| turnstile.offer(&device(*n), (), size, now)).count();
        assert_eq!(let_in, BYTES_MAX / size);
        assert_eq!(std::iter::from_fn(|| turnstile.next()).count(), ANSWERS_MAX);
        now += SWEEP;
        turnstile.offer(&device(1), (), size, now);
        assert_eq!(turnstile.rates.len(), 1);
    }
}
