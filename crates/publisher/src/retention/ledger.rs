//! When the oldest change was committed that no target is known to hold.

use tributary_wire::Position;

/// Batches that were sealed and are not known to be applied. JetStream's acknowledgement says little: it
/// may lose what it has, and a parked device's messages are dropped. Then the binary log is asked again.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The end of each batch, and when its first change was committed, microseconds since the Unix epoch.
    batches: Vec<(Position, i64)>,
    applied: Option<Position>,
}

/// When there are more, neighbours count as one, which began when the older did.
const BATCHES_MAX: usize = 256;

// === impl Ledger ===

impl Ledger {
    /// A batch that ends at `end` was sealed. One that only moves the position has no time, 0.
    pub fn sealed(&mut self, end: Position, commit_us: i64) {
        if commit_us == 0 || self.applied.is_some_and(|applied| end <= applied) {
            return;
        }
        self.batches.push((end, commit_us));
        if self.batches.len() > BATCHES_MAX {
            self.batches.sort_unstable();
            let pairs = self.batches.chunks(2).map(|pair| {
                let end = pair.iter().map(|(end, _)| *end).max();
                end.zip(pair.iter().map(|(_, us)| *us).min())
            });
            self.batches = pairs.flatten().collect();
        }
    }

    /// The target holds everything up to `position`.
    pub fn applied(&mut self, position: Position) {
        self.applied = Some(position);
        self.batches.retain(|(end, _)| *end > position);
    }

    /// Up to where the target holds everything, as it last said.
    pub fn safe(&self) -> Option<Position> {
        self.applied
    }

    /// When the oldest change was committed that is not known to be applied.
    pub fn oldest_us(&self) -> Option<i64> {
        self.batches.iter().map(|(_, us)| *us).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position::boundary(1, 1, offset)
    }

    #[test]
    fn what_is_applied_is_forgotten_and_what_is_published_again_counts_once_more() {
        let mut ledger = Ledger::default();
        for offset in [10, 20, 30] {
            ledger.sealed(at(offset), i64::try_from(offset).expect("small"));
        }
        ledger.sealed(at(40), 0);
        ledger.applied(at(20));
        assert_eq!((ledger.oldest_us(), ledger.safe()), (Some(30), Some(at(20))));
        ledger.sealed(at(15), 15);
        assert_eq!(ledger.oldest_us(), Some(30), "applied already");
        ledger.applied(at(10));
        ledger.sealed(at(15), 15);
        assert_eq!(ledger.oldest_us(), Some(15), "the target lost it");
        ledger.applied(at(30));
        assert_eq!(ledger.oldest_us(), None);
    }

    #[test]
    fn a_long_outage_takes_no_more_memory_and_never_looks_younger() {
        let mut ledger = Ledger::default();
        for offset in 1..100_000_u32 {
            ledger.sealed(at(offset.into()), offset.into());
            assert!(ledger.batches.len() <= BATCHES_MAX);
        }
        assert_eq!(ledger.oldest_us(), Some(1));
        ledger.applied(at(50_000));
        assert!(ledger.oldest_us().is_some_and(|us| us <= 50_001));
    }
}
