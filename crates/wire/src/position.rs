//! Where in a device's change log something stands.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A point in one device's change log. Totally ordered, field by field, within the device.
///
/// A *boundary* (`part == 0`) lies between two transactions: `offset` is the byte offset in binlog
/// file number `file` at which the next event begins. A position *inside* a transaction has
/// `part > 0`: `offset` is where the transaction's first event begins, and `part` counts the changes
/// of that transaction which lie before the position. Changes are counted as they stand in the
/// binlog, so a transaction that is read again is cut at the same places.
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
    /// Changes of the transaction at `offset` that lie before this position; 0 at a boundary.
    pub part: u64,
}

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
        self.part == 0
    }

    /// The same place with another `part`.
    pub fn with_part(self, part: u64) -> Self {
        Self { part, ..self }
    }
}

/// `1/000012:4567`, and `1/000012:4567+3` inside a transaction.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:06}:{}", self.epoch, self.file, self.offset)?;
        if self.part > 0 {
            write!(f, "+{}", self.part)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_by_epoch_then_file_then_offset_then_part() {
        let base = Position { epoch: 1, file: 2, offset: 300, part: 4 };
        let after = [
            Position { epoch: 2, file: 1, offset: 4, part: 0 },
            Position { file: 3, offset: 4, part: 0, ..base },
            Position { offset: 301, part: 0, ..base },
            Position { part: 5, ..base },
        ];
        for later in after {
            assert!(base < later, "{base} must come before {later}");
        }
    }

    #[test]
    fn positions_print_their_part_only_inside_a_transaction() {
        assert_eq!(Position::boundary(1, 12, 4567).to_string(), "1/000012:4567");
        assert_eq!(Position::boundary(1, 12, 4567).with_part(3).to_string(), "1/000012:4567+3");
    }
}
