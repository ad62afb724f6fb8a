//! What was left in the stream of one device, because of that device alone: it is parked, on a detour that
//! has no more room, or there is no room for its rows at the shard. Asks nobody and waits for nothing.
//!
//! Places are sequences of the stream. All of it can be lost: what is missing then is asked for by a rewind.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_runtime::CancellationToken;

/// How long a device waits that there is no room for, or whose rows someone holds locked.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// The first message that was left, and the last one.
    range: Option<(u64, u64)>,
    /// It is on a detour, behind whose end the rest can be read.
    on_detour: bool,
    /// When to read it again without being told to, and how long it was waited for that.
    retry_at: Option<Instant>,
    retry_pause: Duration,
    reader: Option<Reader>,
}

/// Tells a reader to stop, and which reader it is.
pub(crate) type Stop = Arc<CancellationToken>;

/// What reads it again just now.
#[derive(Debug, Clone)]
struct Reader {
    /// From here on it is not known to be applied.
    from: u64,
    stop: Stop,
}

// === impl Left ===

impl Left {
    /// True while something may still come from the stream without being asked for.
    pub(crate) fn is_awaited(&self) -> bool {
        self.on_detour || self.reader.is_some() || self.retry_at.is_some()
    }

    /// The message at `sequence` was left, and is read again once someone has released the device.
    pub(crate) fn note(&mut self, sequence: u64) {
        let (first, last) = self.range.unwrap_or((sequence, sequence));
        self.range = Some((first.min(sequence), last.max(sequence)));
    }

    /// The device goes on a detour.
    pub(crate) fn detour_begun(&mut self) {
        self.on_detour = true;
    }

    /// The message at `sequence` was left, and is read again once the device's detour has ended.
    pub(crate) fn note_on_detour(&mut self, sequence: u64) {
        self.note(sequence);
        self.cancel();
        // It may have been forgotten meanwhile.
        self.on_detour = true;
    }

    /// The detour has ended.
    pub(crate) fn detour_ended(&mut self, now: Instant) {
        self.on_detour = false;
        if self.range.is_some() {
            self.retry_at.get_or_insert(now);
        }
    }

    /// The message at `sequence` was left, and is read again after a while, a longer one each time that
    /// nothing could be applied.
    pub(crate) fn note_for_later(&mut self, sequence: u64, now: Instant) {
        self.note(sequence);
        self.cancel();
        if self.retry_at.is_none() {
            self.retry_pause = (self.retry_pause * 2).clamp(RETRY_MIN, RETRY_MAX);
            self.retry_at = Some(now + self.retry_pause);
        }
    }

    /// Everything up to `sequence` is applied: by the chain rule also what was left before it.
    pub(crate) fn applied(&mut self, sequence: u64) {
        self.retry_pause = Duration::ZERO;
        if let Some(reader) = &mut self.reader {
            reader.from = reader.from.max(sequence + 1);
        }
        match &mut self.range {
            Some((_, last)) if *last <= sequence => {
                (self.range, self.retry_at) = (None, None);
            }
            Some((first, _)) => *first = (*first).max(sequence + 1),
            None => {}
        }
    }

    /// True when it is time to read again what was to be read after a while.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        !self.on_detour && self.reader.is_none() && self.retry_at.is_some_and(|at| at <= now)
    }

    /// Where to read from, if there is anything to read and it need not wait. The reader is to stop when
    /// told so, and to say when it has ended.
    pub(crate) fn begin(&mut self, now: Instant, stop: CancellationToken) -> Option<(u64, Stop)> {
        let has_to_wait = self.retry_at.is_some_and(|at| now < at);
        if self.on_detour || self.reader.is_some() || has_to_wait {
            return None;
        }
        let (from, _) = self.range.take()?;
        self.retry_at = None;
        let stop = Arc::new(stop);
        self.reader = Some(Reader { from, stop: Arc::clone(&stop) });
        Some((from, stop))
    }

    /// Up to where this reader has brought the device; `None` when it has been stopped.
    pub(crate) fn reader_at(&self, stop: &Stop) -> Option<u64> {
        let reader = self.reader.as_ref().filter(|reader| Arc::ptr_eq(&reader.stop, stop));
        reader.map(|reader| reader.from)
    }

    /// This reader has ended.
    pub(crate) fn reader_ended(&mut self, stop: &Stop) {
        self.reader.take_if(|reader| Arc::ptr_eq(&reader.stop, stop));
    }

    /// This reader has failed: what it has not brought is read again after a while.
    pub(crate) fn reader_failed(&mut self, stop: &Stop, now: Instant) {
        if let Some(from) = self.reader_at(stop) {
            self.note_for_later(from, now);
        }
    }

    /// Stops the reader: what it has not brought yet is left as well.
    pub(crate) fn cancel(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.stop.cancel();
            self.note(reader.from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(left: &mut Left, now: Instant) -> Option<u64> {
        left.begin(now, CancellationToken::new()).map(|(from, _)| from)
    }

    #[test]
    fn what_is_applied_is_not_read_again_and_what_is_left_behind_it_is() {
        let (mut left, now) = (Left::default(), Instant::now());
        left.detour_begun();
        left.note_on_detour(50);
        left.note_on_detour(90);
        // The detour goes on with what it took in before them, and behind the first of them.
        left.applied(49);
        left.applied(55);
        assert_eq!(begin(&mut left, now), None, "the detour has not ended");
        left.detour_ended(now);
        assert_eq!(begin(&mut left, now), Some(56));
        assert!(left.is_awaited());
    }

    #[test]
    fn nothing_is_left_once_the_last_of_it_is_applied() {
        let (mut left, now) = (Left::default(), Instant::now());
        left.note_for_later(50, now);
        left.note_for_later(60, now);
        left.applied(60);
        assert!(!left.is_awaited());
        assert_eq!(begin(&mut left, now + RETRY_MAX), None);
    }

    #[test]
    fn a_reader_that_is_stopped_leaves_what_it_had_not_brought() {
        let (mut left, now) = (Left::default(), Instant::now());
        left.note(10);
        left.note(99);
        let (from, stop) = left.begin(now, CancellationToken::new()).expect("begins");
        assert_eq!(from, 10);
        left.applied(40);
        // A message of the partition's own reader finds no room; this reader still has 41 to 99.
        left.note_on_detour(120);
        assert!(stop.is_cancelled());
        left.detour_ended(now);
        let (from, other) = left.begin(now, CancellationToken::new()).expect("begins again");
        assert_eq!(from, 41);
        left.reader_ended(&stop);
        assert!(left.is_awaited(), "the end of the first is not that of the second");
        left.reader_ended(&other);
        assert!(!left.is_awaited());
    }

    #[test]
    fn what_a_reader_failed_to_bring_is_read_later() {
        let (mut left, now) = (Left::default(), Instant::now());
        left.note(10);
        let (_, stop) = left.begin(now, CancellationToken::new()).expect("begins");
        left.detour_begun();
        left.applied(20);
        assert_eq!(left.reader_at(&stop), Some(21));
        left.reader_failed(&stop, now);
        assert!(stop.is_cancelled() && left.reader_at(&stop).is_none());
        let later = now + RETRY_MIN;
        assert!(!left.is_due(later), "the detour has not ended");
        left.detour_ended(later);
        assert!(left.is_due(later));
        assert_eq!(begin(&mut left, later), Some(21));
    }

    #[test]
    fn a_device_waits_longer_each_time_until_something_is_applied() {
        let (mut left, mut now) = (Left::default(), Instant::now());
        for pause in [5, 10, 20, 30, 30] {
            left.note_for_later(7, now);
            left.note_for_later(8, now);
            let due = now + Duration::from_secs(pause);
            let early = due.checked_sub(Duration::from_millis(1)).expect("later than 1970");
            assert!(!left.is_due(early) && begin(&mut left, early).is_none());
            assert!(left.is_due(due));
            let (from, stop) = left.begin(due, CancellationToken::new()).expect("begins");
            assert_eq!(from, 7);
            left.reader_ended(&stop);
            now = due;
        }
        left.applied(7);
        left.note_for_later(8, now);
        assert!(left.is_due(now + RETRY_MIN));
    }

    #[test]
    fn a_parked_device_is_read_for_when_it_is_released_and_not_before() {
        let (mut left, now) = (Left::default(), Instant::now());
        left.note(5);
        assert!(!left.is_awaited() && !left.is_due(now));
        assert_eq!(begin(&mut left, now), Some(5));
    }
}
