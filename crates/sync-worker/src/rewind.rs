//! When a publisher has to publish again. Pure.

use crate::pass::Gap;
use std::time::Instant;
use tributary_wire::Position;

/// A heartbeat said that more was published than is applied. It may be on its way, or lost at the end
/// of the stream, where no later batch shows the gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    /// The publisher's run.
    pub run: u64,
    /// What it had published.
    pub published: Position,
    /// The stream's last sequence after that heartbeat: what was published by then lies at or before
    /// it, or is lost.
    pub stream_sequence: u64,
    /// When that was.
    pub raised_at: Instant,
}

/// How far a partition's consumer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to this stream sequence is acknowledged.
    pub ack_floor: u64,
    /// Messages that are not delivered yet.
    pub pending: u64,
    /// Messages that are delivered and not acknowledged.
    pub ack_pending: u64,
    /// Not older than this.
    pub asked_at: Instant,
}

// === impl Suspicion ===

impl Suspicion {
    /// True once everything that was in the stream at the time of the heartbeat has been dealt with.
    pub fn is_ripe(&self, progress: Progress) -> bool {
        let is_empty = progress.pending == 0 && progress.ack_pending == 0;
        progress.asked_at > self.raised_at
            && (progress.ack_floor >= self.stream_sequence || is_empty)
    }

    /// True when what was published is still not applied: then it is lost.
    pub fn is_lost(&self, watermark: Option<Position>) -> bool {
        watermark.is_none_or(|watermark| watermark < self.published)
    }
}

/// True when the gap is this run's, and nothing has been applied since it was found.
pub fn gap_is_open(gap: Gap, run: u64, watermark: Option<Position>) -> bool {
    gap.run == run && (gap.watermark.is_none() || gap.watermark == watermark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(offset: u64) -> Position {
        Position::boundary(1, 1, offset)
    }

    #[test]
    fn a_gap_is_closed_by_a_new_run_or_by_progress() {
        let gap = Gap { run: 7, watermark: Some(at(100)) };
        assert!(gap_is_open(gap, 7, Some(at(100))));
        assert!(!gap_is_open(gap, 8, Some(at(100))));
        assert!(!gap_is_open(gap, 7, Some(at(200))));
        assert!(gap_is_open(Gap { run: 7, watermark: None }, 7, Some(at(200))));
    }

    #[test]
    fn what_is_still_on_its_way_is_not_lost() {
        let raised_at = Instant::now();
        let suspicion = Suspicion { run: 1, published: at(500), stream_sequence: 40, raised_at };
        let asked_at = raised_at + Duration::from_secs(1);
        let progress = |ack_floor, pending, ack_pending| Progress {
            ack_floor,
            pending,
            ack_pending,
            asked_at,
        };
        let early = Progress { asked_at: raised_at, ..progress(40, 0, 0) };
        assert!(!suspicion.is_ripe(early));
        assert!(!suspicion.is_ripe(progress(39, 5, 0)));
        assert!(!suspicion.is_ripe(progress(39, 0, 1)));
        // Everything before it is dealt with, although newer messages wait.
        assert!(suspicion.is_ripe(progress(40, 9, 9)));
        // The partition is empty: its last message may be older than the stream's.
        assert!(suspicion.is_ripe(progress(12, 0, 0)));
        assert!(suspicion.is_lost(Some(at(499))) && suspicion.is_lost(None));
        assert!(!suspicion.is_lost(Some(at(500))));
    }
}
