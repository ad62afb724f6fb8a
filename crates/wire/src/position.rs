//! Where in a device's change log something stands.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A point in one device's change log. Totally ordered, field by field, within the device.
///
/// A *boundary* lies between two transactions: `offset` is the byte offset in binlog file number
/// `file` at which the next event begins. What a snapshot adds is placed at boundaries, so `part`
/// counts there the snapshot items that were carried since the log came to it.
///
/// A position *inside* a transaction has the offset at which the transaction's first event begins,
/// and `part` is 2^62 and the number of changes of that transaction which lie before the position:
/// behind everything that a snapshot can have placed at the same offset. Changes are counted as they
/// stand in the binlog, so a transaction that is read again is cut at the same places.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position {
    /// Grows by one whenever coordinates stop being comparable (another server, `RESET MASTER`).
    pub epoch: u32,
    /// The number at the end of the binlog file's name: 12 for `binlog.000012`.
    pub file: u32,
    /// Byte offset in that file.
    pub offset: u64,
    /// At a boundary the snapshot items carried there; inside a transaction 2^62 and its changes.
    pub part: u64,
}

/// What `part` counts from inside a transaction.
const INSIDE: u64 = 1 << 62;

// === impl Position ===

impl Position {
    /// A boundary between transactions.
    pub fn boundary(epoch: u32, file: u32, offset: u64) -> Self {
        Self { epoch, file, offset, part: 0 }
    }

    /// Before the first thing that a device ever wrote in `epoch`. Binlog files count from 1, so
    /// nothing else lies here; a batch whose `prev` is this begins a device's history.
    pub fn beginning(epoch: u32) -> Self {
        Self::boundary(epoch, 0, 0)
    }

    /// True between transactions, false inside one.
    pub fn is_boundary(&self) -> bool {
        self.part < INSIDE
    }

    /// Changes of the transaction at `offset` that lie before; 0 at a boundary.
    pub fn changes(&self) -> u64 {
        self.part.saturating_sub(INSIDE)
    }

    /// Snapshot items that were carried at this boundary; 0 inside a transaction.
    pub fn items(&self) -> u64 {
        if self.is_boundary() { self.part } else { 0 }
    }

    /// The boundary at its offset, before any snapshot item.
    #[must_use]
    pub fn floor(self) -> Self {
        Self { part: 0, ..self }
    }

    /// Inside the transaction that begins at this offset, after so many of its changes; the boundary
    /// before it for none.
    #[must_use]
    pub fn inside(self, changes: u64) -> Self {
        Self { part: if changes == 0 { 0 } else { INSIDE.saturating_add(changes) }, ..self }
    }

    /// So many changes further on in the transaction that it lies in, or that begins at it.
    #[must_use]
    pub fn advance(self, changes: u64) -> Self {
        if changes == 0 { self } else { self.inside(self.changes().saturating_add(changes)) }
    }

    /// The boundary at its offset, behind so many snapshot items.
    #[must_use]
    pub fn after_items(self, items: u64) -> Self {
        Self { part: items.min(INSIDE - 1), ..self }
    }
}

/// `1/000012:4567`, `1/000012:4567~2` behind two snapshot items, `1/000012:4567+3` inside a
/// transaction.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:06}:{}", self.epoch, self.file, self.offset)?;
        if !self.is_boundary() {
            write!(f, "+{}", self.changes())?;
        } else if self.part > 0 {
            write!(f, "~{}", self.part)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_by_epoch_then_file_then_offset_then_part() {
        let base = Position { epoch: 1, file: 2, offset: 300, part: 0 }.inside(4);
        let after = [
            Position { epoch: 2, file: 1, offset: 4, part: 0 },
            Position { file: 3, offset: 4, part: 0, ..base },
            Position { offset: 301, part: 0, ..base },
            base.advance(1),
        ];
        for later in after {
            assert!(base < later, "{base} must come before {later}");
        }
    }

    #[test]
    fn a_snapshot_stands_between_a_boundary_and_the_transaction_that_begins_there() {
        let boundary = Position::boundary(1, 2, 300);
        let line = [boundary, boundary.after_items(1), boundary.after_items(9), boundary.inside(1)];
        assert!(line.is_sorted());
        assert_eq!(line.map(|at| at.is_boundary()), [true, true, true, false]);
        assert_eq!(line.map(|at| at.items()), [0, 1, 9, 0]);
        assert_eq!(line.map(|at| at.changes()), [0, 0, 0, 1]);
        assert_eq!(boundary.after_items(9).advance(2), boundary.inside(2));
        assert!(line.iter().all(|at| at.floor() == boundary));
    }

    #[test]
    fn positions_print_what_their_part_means() {
        let at = Position::boundary(1, 12, 4567);
        assert_eq!(at.to_string(), "1/000012:4567");
        assert_eq!(at.inside(3).to_string(), "1/000012:4567+3");
        assert_eq!(at.after_items(2).to_string(), "1/000012:4567~2");
    }
}
