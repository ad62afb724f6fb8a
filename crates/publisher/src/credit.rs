//! How much may be published ahead of what is applied. While the cloud applies nothing, because its
//! workers or a shard are down, JetStream's disk would fill; the binary log on the device is the buffer.
//!
//! Pure. Counted since the publisher's start: what an earlier one has published is not known.

use tributary_wire::Position;

/// Bytes that were published and are not known to be applied.
#[derive(Debug)]
pub struct Credit {
    /// The end of each batch, and its message's size.
    batches: Vec<(Position, u64)>,
    bytes: u64,
    /// `None` for no limit.
    bytes_max: Option<u64>,
    applied: Option<Position>,
}

/// When there are more, neighbours count as one, which ends where the later does.
const BATCHES_MAX: usize = 1024;

// === impl Credit ===

impl Credit {
    /// Of so many bytes; without a limit for 0.
    pub fn new(bytes_max: u64) -> Self {
        let bytes_max = (bytes_max > 0).then_some(bytes_max);
        Self { batches: Vec::new(), bytes: 0, bytes_max, applied: None }
    }

    /// True when more may be published. A batch that passes the limit still goes.
    pub fn has_room(&self) -> bool {
        self.bytes_max.is_none_or(|max| self.bytes < max)
    }

    /// Bytes that were published and are not known to be applied.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A batch that ends at `end` is published, in a message of so many bytes.
    pub fn published(&mut self, end: Position, bytes: usize) {
        if self.applied.is_some_and(|applied| end <= applied) {
            return;
        }
        let bytes = bytes as u64;
        self.bytes += bytes;
        self.batches.push((end, bytes));
        if self.batches.len() > BATCHES_MAX {
            self.batches.sort_unstable();
            let pairs = self.batches.chunks(2);
            let joined = pairs.filter_map(|pair| {
                let end = pair.iter().map(|(end, _)| *end).max()?;
                Some((end, pair.iter().map(|(_, bytes)| bytes).sum()))
            });
            self.batches = joined.collect();
        }
    }

    /// The target holds everything up to `position`.
    pub fn applied(&mut self, position: Position) {
        self.applied = Some(position);
        self.batches.retain(|(end, _)| *end > position);
        self.bytes = self.batches.iter().map(|(_, bytes)| bytes).sum();
    }

    /// Publishing begins again at `from`: what lies behind it was perhaps never stored, and is published,
    /// and counted, once more.
    pub fn restart(&mut self, from: Position) {
        self.batches.retain(|(end, _)| *end <= from);
        self.bytes = self.batches.iter().map(|(_, bytes)| bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position::boundary(1, 1, offset)
    }

    #[test]
    fn what_is_applied_makes_room_and_what_is_lost_as_well() {
        let mut credit = Credit::new(100);
        credit.published(at(10), 60);
        assert!(credit.has_room());
        credit.published(at(20), 60);
        assert!(!credit.has_room());
        credit.applied(at(10));
        assert_eq!((credit.bytes(), credit.has_room()), (60, true));
        credit.published(at(10), 60);
        assert_eq!(credit.bytes(), 60, "applied already");
        credit.published(at(30), 60);
        assert!(!credit.has_room());
        credit.restart(at(20));
        assert_eq!(
            (credit.bytes(), credit.has_room()),
            (60, true),
            "what ends at 30 was not stored"
        );
        credit.published(at(30), 60);
        credit.restart(at(0));
        assert!(credit.has_room());
        let mut unlimited = Credit::new(0);
        unlimited.published(at(10), usize::MAX);
        assert!(unlimited.has_room());
    }

    #[test]
    fn a_long_outage_takes_no_more_memory_and_no_byte_is_forgotten() {
        let mut credit = Credit::new(1 << 30);
        for offset in 1..=10_000_u64 {
            credit.published(at(offset), 7);
            assert!(credit.batches.len() <= BATCHES_MAX);
        }
        assert_eq!(credit.bytes(), 70_000);
        credit.applied(at(9_999));
        assert!((7..7_000).contains(&credit.bytes()), "never less than there is");
        credit.applied(at(10_000));
        assert_eq!(credit.bytes(), 0);
    }
}
