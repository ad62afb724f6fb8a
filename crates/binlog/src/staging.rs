//! Which values go ahead of their row in pieces.
//!
//! The rule depends on the change alone: not on the server that takes the messages, not on where a batch
//! ends, not on whether the event was in memory. So a transaction that is read again, by another run or
//! for another server, is cut at the same places.

use crate::TablePlan;

/// A value of more bytes goes ahead in pieces.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// A value with which the cells of its change would pass so many bytes goes ahead in pieces, unless it
/// belongs to the primary key.
pub const CHANGE_BYTES_MAX: usize = 256 << 10;
/// Every piece of a value has so many bytes, except the last.
pub const PIECE_BYTES: usize = 64 << 10;
/// What stands in a value's place takes about so much: nothing is gained below it.
const REFERENCE_BYTES: usize = 16;

/// The cells of one change, counted in wire form.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inline {
    bytes: usize,
}

// === impl Inline ===

impl Inline {
    /// Counts a cell.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Whether a value of `bytes` bytes in `column` goes ahead.
    pub(crate) fn stages(self, bytes: usize, plan: &TablePlan, column: usize) -> bool {
        bytes > VALUE_BYTES_MAX
            || (bytes > REFERENCE_BYTES
                && self.bytes + bytes > CHANGE_BYTES_MAX
                && !plan.is_key(column))
    }
}

/// How many pieces a value becomes.
pub(crate) fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES as u64)).unwrap_or(u32::MAX)
}
