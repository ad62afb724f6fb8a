//! Whether the other end of the link is still there. Pure.

use std::time::{Duration, Instant};

/// What was heard, and what is waited for.
#[derive(Debug)]
pub(crate) struct Silence {
    heard_at: Instant,
    /// Since when an acknowledgement is waited for.
    awaited_at: Instant,
    /// The first heartbeat that nobody has answered.
    asked_at: Option<Instant>,
    /// How often the connection was made anew for that.
    times: u32,
}

/// Heartbeats may go unanswered for so long; then twice as long, and so on: a worker that knows nothing says
/// nothing.
const PATIENCE: Duration = Duration::from_secs(60);
const DOUBLINGS_MAX: u32 = 4;

// === impl Silence ===

impl Silence {
    /// Nothing is waited for.
    pub(crate) fn new(now: Instant) -> Self {
        Self { heard_at: now, awaited_at: now, asked_at: None, times: 0 }
    }

    /// Something was heard.
    pub(crate) fn broken(&mut self, now: Instant) {
        (self.heard_at, self.asked_at, self.times) = (now, None, 0);
    }

    /// The connection was made anew: what was asked on the former one needs no answer any more.
    pub(crate) fn renewed(&mut self) {
        self.asked_at = None;
    }

    /// An acknowledgement is waited for from now on.
    pub(crate) fn awaited(&mut self, now: Instant) {
        self.awaited_at = now;
    }

    /// A heartbeat was sent.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.asked_at.get_or_insert(now);
    }

    /// True when nothing was heard since an acknowledgement is waited for.
    pub(crate) fn is_unbroken(&self) -> bool {
        self.heard_at <= self.awaited_at
    }

    /// True when heartbeats have gone unanswered for too long on a link that takes `needs` for what is on its
    /// way; they are counted anew then.
    pub(crate) fn is_too_long(&mut self, now: Instant, needs: Duration) -> bool {
        let patience = PATIENCE * (1 << self.times) + needs;
        let is_too_long =
            self.asked_at.is_some_and(|at| now.saturating_duration_since(at) >= patience);
        if is_too_long {
            self.times = (self.times + 1).min(DOUBLINGS_MAX);
            self.asked_at = None;
        }
        is_too_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_connection_is_made_anew_ever_more_rarely_and_a_word_ends_the_silence() {
        let mut now = Instant::now();
        let mut silence = Silence::new(now);
        silence.asked(now);
        assert!(!silence.is_too_long(now + PATIENCE / 2, Duration::ZERO));
        assert!(!silence.is_too_long(now + PATIENCE, PATIENCE), "the link is slow");
        assert!(silence.is_too_long(now + PATIENCE, Duration::ZERO));
        assert!(!silence.is_too_long(now + PATIENCE * 9, Duration::ZERO), "nobody was asked since");
        now += PATIENCE;
        silence.asked(now);
        assert!(!silence.is_too_long(now + PATIENCE, Duration::ZERO));
        assert!(silence.is_too_long(now + PATIENCE * 2, Duration::ZERO));
        silence.renewed();
        silence.asked(now);
        assert!(
            !silence.is_too_long(now + PATIENCE * 3, Duration::ZERO),
            "a connection is no answer"
        );
        silence.broken(now);
        silence.asked(now);
        assert!(silence.is_too_long(now + PATIENCE, Duration::ZERO));
    }

    #[test]
    fn what_was_heard_before_an_acknowledgement_was_due_says_nothing_of_it() {
        let now = Instant::now();
        let mut silence = Silence::new(now);
        silence.broken(now);
        silence.awaited(now + PATIENCE);
        assert!(silence.is_unbroken());
        silence.broken(now + PATIENCE * 2);
        assert!(!silence.is_unbroken());
    }
}
