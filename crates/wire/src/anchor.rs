//! What a place in a log looked like: tells another log that has the same files, sizes and numbers.

use serde::{Deserialize, Serialize};

/// The beginning of a transaction that was read: its first events, in bytes `begin` to `end` of a binlog file.
/// A transaction is never written anew, so whoever finds other bytes there reads another log: that of a
/// device that was restored from an image, of a clone, or one that was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Anchor {
    /// The number of the binlog file.
    pub file: u32,
    /// Where its first event begins.
    pub begin: u64,
    /// Where the last event ends that counts.
    pub end: u64,
    /// The CRC32 over the CRC32s of these events, four bytes each, little-endian. An event's is over all of
    /// its bytes but the checksum that may stand at its end.
    pub crc32: u32,
}
