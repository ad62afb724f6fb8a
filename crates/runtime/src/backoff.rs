//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential waits with jitter over their whole range, so that a fleet which lost its server at one
/// moment does not return to it at one moment.
///
/// The n-th wait is drawn evenly from `min` to `min * 2^n`, and never passes `max`.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
}

// === impl Backoff ===

impl Backoff {
    /// Waits of at least `min` and at most `max`; a `max` below `min` counts as `min`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), attempts: 0 }
    }

    /// How long to wait now; the next wait may be twice as long.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so an Option would be noise")]
    pub fn next(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let factor = 2_u32.saturating_pow(self.attempts);
        let ceiling = self.min.saturating_mul(factor).min(self.max);
        self.min + (ceiling - self.min).mul_f64(fastrand::f64())
    }

    /// Begins again with the shortest wait. Call it when an attempt has succeeded.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How many waits were handed out since the start or the last reset.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(30);

    fn skip(backoff: &mut Backoff, attempts: u32) {
        for _ in 0..attempts {
            backoff.next();
        }
    }

    #[test]
    fn every_wait_lies_between_min_and_its_ceiling() {
        for _ in 0..200 {
            let mut backoff = Backoff::new(MIN, MAX);
            for attempt in 1..=40_u32 {
                let wait = backoff.next();
                let ceiling = MIN.saturating_mul(2_u32.saturating_pow(attempt)).min(MAX);
                assert!((MIN..=ceiling).contains(&wait), "attempt {attempt} waited {wait:?}");
            }
        }
    }

    #[test]
    fn waits_of_many_clients_spread_over_the_whole_range() {
        let waits: Vec<Duration> = (0..1000)
            .map(|_| {
                let mut backoff = Backoff::new(MIN, MAX);
                skip(&mut backoff, 9);
                backoff.next()
            })
            .collect();
        assert!(waits.iter().any(|wait| *wait < MAX / 5), "no client waits a short time");
        assert!(waits.iter().any(|wait| *wait > MAX * 4 / 5), "no client waits a long time");
    }

    #[test]
    fn a_reset_begins_again_with_the_shortest_wait() {
        let mut backoff = Backoff::new(MIN, MAX);
        skip(&mut backoff, 20);
        assert_eq!(backoff.attempts(), 20);
        backoff.reset();
        assert_eq!(backoff.attempts(), 0);
        assert!(backoff.next() <= MIN * 2);
    }

    #[test]
    fn limits_the_wrong_way_round_and_endless_attempts_do_not_overflow() {
        let mut backoff = Backoff::new(MAX, MIN);
        assert_eq!(backoff.next(), MAX);
        let mut backoff = Backoff { min: Duration::MAX, max: Duration::MAX, attempts: u32::MAX };
        assert_eq!(backoff.next(), Duration::MAX);
    }
}
