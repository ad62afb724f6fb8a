//! What the link carries: how much may be on its way at once, how large a batch should be, and how long
//! an acknowledgement may take. Learnt from acknowledgements alone. Pure.
//!
//! A thin link shows itself by the rate at which bytes are acknowledged. Only a few seconds' worth of that
//! is sent ahead, so that a heartbeat or a ping never stands behind a long queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub struct Pace {
    /// A batch is sealed when it holds so many bytes before compression, at the most.
    body_bytes_max: usize,
    /// An acknowledgement is waited for at least so long.
    patience: Duration,
    /// Bytes of messages that were acknowledged, and when the last one was.
    delivered: u64,
    delivered_at: Option<Instant>,
    /// Bytes a second, as acknowledgements showed them lately; the oldest first.
    rates: VecDeque<(Instant, f64)>,
    /// The shortest time that an acknowledgement took.
    round_trip: Option<Duration>,
    /// Bytes before compression for each byte of a message.
    ratio: f64,
    /// Time-outs since the last acknowledgement.
    timeouts: u32,
}

/// What is remembered of a sending until its acknowledgement comes.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    sent_at: Instant,
    /// What had been delivered by then, and since when that is counted.
    delivered: u64,
    since: Instant,
    /// Nothing else was on its way: a small message then tells of the round trip, and not of the rate.
    alone: bool,
}

/// With so many bytes in flight nothing more is sent. On a link with a tenth of a second there and back
/// that is 40 MB/s.
pub const BYTES_MAX: usize = 4 << 20;
/// So much goes at once whatever the link: messages have a size of their own, and small batches compress badly.
const BYTES_MIN: usize = 8 << 10;
/// The same before the first acknowledgement has shown anything.
const BYTES_AT_FIRST: usize = 16 << 10;
/// A batch before compression, before anything is known, and at the least.
const BODY_BYTES_AT_FIRST: usize = 32 << 10;
const BODY_BYTES_MIN: usize = 16 << 10;
/// What is sent ahead takes the link so long, far longer than a signal to a satellite; a batch takes half of it.
const AHEAD_SECONDS: f64 = 5.0;
/// A rate counts for so long. The newest counts until there is another.
const MEMORY: Duration = Duration::from_secs(10);
/// An acknowledgement of less says nothing of the rate when it was on its way alone.
const TELLING_BYTES: usize = 8 << 10;
/// Bytes a second that a link is trusted to carry of which nothing is known.
const RATE_AT_FIRST: f64 = 1024.0;
const DOUBLINGS_MAX: u32 = 6;
const TIMEOUT_MAX: Duration = Duration::from_secs(1800);

// === impl Pace ===

impl Pace {
    /// Of a link that has carried nothing yet.
    pub fn new(body_bytes_max: usize, patience: Duration) -> Self {
        Self {
            body_bytes_max,
            patience,
            delivered: 0,
            delivered_at: None,
            rates: VecDeque::new(),
            round_trip: None,
            ratio: 4.0,
            timeouts: 0,
        }
    }

    /// A batch was sealed: how well its rows compress tells how many the next should hold.
    pub fn sealed(&mut self, body_bytes: usize, message_bytes: usize) {
        let ratio = number(body_bytes) / number(message_bytes.max(1));
        self.ratio += (ratio.clamp(0.5, 100.0) - self.ratio) / 4.0;
    }

    /// Something is sent now; `in_flight` bytes are on their way before it.
    pub fn sent(&mut self, now: Instant, in_flight: usize) -> Mark {
        let alone = in_flight == 0;
        let since = self.delivered_at.filter(|_| !alone).unwrap_or(now);
        Mark { sent_at: now, delivered: self.delivered, since, alone }
    }

    /// So many bytes are stored; sent as `mark` says, or at a time that is not known.
    pub fn stored(&mut self, now: Instant, mark: Option<Mark>, bytes: usize) {
        self.delivered += bytes as u64;
        self.delivered_at = Some(now);
        self.timeouts = 0;
        let Some(mark) = mark else { return };
        let took = now.saturating_duration_since(mark.sent_at);
        self.round_trip = Some(self.round_trip.map_or(took, |best| best.min(took)));
        let seconds = now.saturating_duration_since(mark.since).as_secs_f64().max(1e-4);
        #[expect(clippy::cast_precision_loss, reason = "a rate, not a count")]
        let rate = (self.delivered - mark.delivered) as f64 / seconds;
        let tells = !mark.alone || bytes >= TELLING_BYTES;
        if tells || self.rate().is_some_and(|known| rate > known) {
            self.rates.push_back((now, rate));
            let is_old = |at: &Instant| now.saturating_duration_since(*at) > MEMORY;
            while self.rates.len() > 1 && self.rates.front().is_some_and(|(at, _)| is_old(at)) {
                self.rates.pop_front();
            }
            // A rate that a later one exceeds will never be the highest again.
            self.rates.retain(|(at, one)| *at == now || *one > rate);
        }
    }

    /// An acknowledgement has failed to come in time.
    pub fn timed_out(&mut self) {
        self.timeouts = (self.timeouts + 1).min(DOUBLINGS_MAX);
    }

    /// Bytes a second that the link carries; `None` before it has shown any.
    pub fn rate(&self) -> Option<f64> {
        // Each is higher than all that came after it.
        self.rates.front().map(|(_, rate)| *rate)
    }

    /// With so many bytes on their way nothing more is sent.
    pub fn window_bytes(&self) -> usize {
        let Some(rate) = self.rate() else { return BYTES_AT_FIRST };
        bytes(rate * AHEAD_SECONDS / f64::from(1 << self.timeouts)).clamp(BYTES_MIN, BYTES_MAX)
    }

    /// A batch is full when it holds so many bytes before compression.
    pub fn body_bytes(&self) -> usize {
        let wanted = match self.rate() {
            Some(rate) => bytes(rate * AHEAD_SECONDS / 2.0 * self.ratio),
            None => BODY_BYTES_AT_FIRST,
        };
        wanted.max(BODY_BYTES_MIN).min(self.body_bytes_max)
    }

    /// How long an acknowledgement may take with `in_flight` bytes on their way: as long as is configured,
    /// and twice what the link should need; doubled with each time-out.
    pub fn timeout(&self, in_flight: usize) -> Duration {
        let rate = self.rate().unwrap_or(RATE_AT_FIRST).max(1.0);
        let needs = Duration::from_secs_f64(number(in_flight) / rate);
        let once = self.patience + (self.round_trip.unwrap_or_default() + needs) * 2;
        (once * (1 << self.timeouts)).min(TIMEOUT_MAX)
    }
}

fn bytes(amount: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates, and every use has bounds of its own"
    )]
    let bytes = amount as usize;
    bytes
}

fn number(bytes: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let number = bytes as f64;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn seconds(count: f64) -> Duration {
        Duration::from_secs_f64(count)
    }

    /// A link of so many bytes a second and so long a round trip, kept as full as the pace says, for `count`
    /// messages of the size that the pace wants. Returns the longest time that one was on its way.
    fn drive(
        pace: &mut Pace,
        clock: &mut Instant,
        rate: f64,
        round_trip: Duration,
        count: usize,
    ) -> Duration {
        let mut now = *clock;
        let (mut free_at, mut in_flight) = (now, VecDeque::new());
        let (mut queued, mut longest, mut left) = (0_usize, Duration::ZERO, count);
        while left > 0 || !in_flight.is_empty() {
            while left > 0 && (queued == 0 || queued < pace.window_bytes()) {
                let size = bytes(number(pace.body_bytes()) / 4.0);
                let mark = pace.sent(now, queued);
                pace.sealed(size * 4, size);
                free_at = free_at.max(now) + seconds(number(size) / rate);
                in_flight.push_back((free_at + round_trip, mark, size));
                (queued, left) = (queued + size, left - 1);
            }
            let Some((at, mark, size)) = in_flight.pop_front() else { break };
            assert!(at <= now + pace.timeout(queued), "an acknowledgement on its way was given up");
            now = at;
            longest = longest.max(now.saturating_duration_since(mark.sent_at));
            queued -= size;
            pace.stored(now, Some(mark), size);
        }
        *clock = now;
        longest
    }

    #[test]
    fn a_thin_link_is_given_batches_of_seconds_and_a_fast_one_all_that_is_allowed() {
        let mut clock = Instant::now();
        let mut thin = Pace::new(768 << 10, PATIENCE);
        drive(&mut thin, &mut clock, 2000.0, seconds(0.6), 5);
        // What was sent before anything was known has left by now.
        let longest = drive(&mut thin, &mut clock, 2000.0, seconds(0.6), 100);
        assert!(longest < seconds(12.0), "{longest:?}");
        assert!((BYTES_MIN..16 << 10).contains(&thin.window_bytes()), "{}", thin.window_bytes());
        assert!(thin.body_bytes() <= 32 << 10, "{}", thin.body_bytes());
        let mut fast = Pace::new(768 << 10, PATIENCE);
        drive(&mut fast, &mut clock, 50e6, seconds(0.002), 20);
        assert_eq!((fast.window_bytes(), fast.body_bytes()), (BYTES_MAX, 768 << 10));
        let mut far = Pace::new(768 << 10, PATIENCE);
        drive(&mut far, &mut clock, 5e6, seconds(0.6), 40);
        assert_eq!((far.window_bytes(), far.body_bytes()), (BYTES_MAX, 768 << 10));
    }

    #[test]
    fn a_link_that_becomes_thin_or_fast_is_followed() {
        let mut clock = Instant::now();
        let mut pace = Pace::new(768 << 10, PATIENCE);
        drive(&mut pace, &mut clock, 16_000.0, seconds(0.6), 50);
        let before = pace.window_bytes();
        assert!((48 << 10..128 << 10).contains(&before), "{before}");
        drive(&mut pace, &mut clock, 8_000.0, seconds(0.6), 50);
        assert!(pace.window_bytes() < before * 2 / 3, "{}", pace.window_bytes());
        drive(&mut pace, &mut clock, 1e6, seconds(0.1), 50);
        assert!(pace.window_bytes() > 1 << 20, "{}", pace.window_bytes());
    }

    #[test]
    fn an_idle_device_does_not_make_its_link_look_thin() {
        let mut pace = Pace::new(768 << 10, PATIENCE);
        let mut now = Instant::now();
        for _ in 0..20 {
            let mark = pace.sent(now, 0);
            pace.stored(now + seconds(0.6), Some(mark), 300);
            now += seconds(60.0);
        }
        assert_eq!(pace.rate(), None);
        assert_eq!(pace.window_bytes(), BYTES_AT_FIRST);
    }

    #[test]
    fn a_time_out_grows_with_what_is_in_flight_and_doubles_until_something_is_stored() {
        let mut clock = Instant::now();
        let mut pace = Pace::new(768 << 10, PATIENCE);
        assert_eq!(pace.timeout(0), PATIENCE);
        assert!(pace.timeout(100_000) > seconds(100.0), "nothing is known of the link");
        drive(&mut pace, &mut clock, 2000.0, seconds(0.6), 100);
        let once = pace.timeout(8000);
        assert!(
            once > PATIENCE + seconds(2.0 * 4.6) && once < PATIENCE + seconds(30.0),
            "{once:?}"
        );
        pace.timed_out();
        assert_eq!(pace.timeout(8000), once * 2);
        pace.timed_out();
        assert_eq!(pace.timeout(8000), once * 4);
        pace.stored(Instant::now(), None, 10);
        assert_eq!(pace.timeout(8000), once);
    }
}
