//! The anchor of a resume point: the log is read again where the copy ends, and must be the same.
//!
//! File numbers, sizes and GTIDs agree between two lives of one device more often than one would think: an
//! image that is put back makes the same next file, and rows of a sensor have equal sizes. The bytes of a
//! transaction hold the time of its writing and what it wrote, so they agree by accident only where nothing
//! else differs.

use crate::Error;
use crate::config::SourceConfig;
use crate::dump::{Dump, From, Received};
use crate::source::{BinlogFile, Facts};
use crate::tail;
use std::path::Path;
use std::time::Duration;
use tributary_wire::{Anchor, DeviceId};

/// So much of a transaction is looked at: its first event, and those that end within so many bytes.
const ANCHOR_BYTES_MAX: u64 = 256 << 10;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The first event of a file.
const FILE_BEGIN: u64 = 4;

/// An anchor of one event: where it lies, and its CRC32.
pub(crate) fn begin(file: u32, (begin, end): (u64, u64), crc32: u32) -> Anchor {
    Anchor { file, begin, end, crc32: fold(0, crc32) }
}

/// Takes another event in, where it follows and is not too far off.
pub(crate) fn extend(anchor: &mut Anchor, (begin, end): (u64, u64), crc32: u32) {
    if begin == anchor.end && end > begin && end - anchor.begin <= ANCHOR_BYTES_MAX {
        anchor.end = end;
        anchor.crc32 = fold(anchor.crc32, crc32);
    }
}

fn fold(so_far: u32, crc32: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(so_far);
    hasher.update(&crc32.to_le_bytes());
    hasher.finalize()
}

/// Where the anchors of one server's log are looked up.
pub(crate) struct Reader<'a> {
    pub(crate) config: &'a SourceConfig,
    pub(crate) device: &'a DeviceId,
    pub(crate) facts: &'a Facts,
    /// Large events are set aside here.
    pub(crate) spool_dir: &'a Path,
}

// === impl Reader ===

impl Reader<'_> {
    /// True when the log still has what `anchor` was made of. Where its file was purged nobody can tell.
    pub(crate) async fn holds(&self, files: &[BinlogFile], anchor: &Anchor) -> Result<bool, Error> {
        let Some(file) = files.iter().find(|file| file.number == anchor.file) else {
            return Ok(true);
        };
        if anchor.end > file.bytes {
            return Ok(false);
        }
        // Beyond 32 bits the protocol cannot ask.
        let Ok(offset) = u32::try_from(anchor.begin) else { return Ok(true) };
        let found = self.read(&file.name, anchor.file, offset, anchor.end).await;
        match found {
            Ok(found) => Ok(found == Some(*anchor)),
            // No event begins there.
            Err(Error::OutOfReach { .. } | Error::Framing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The anchor of a file's own first event, which says when it was begun: for a place before which no
    /// transaction was read.
    pub(crate) async fn head(&self, file: &BinlogFile) -> Result<Option<Anchor>, Error> {
        self.read(&file.name, file.number, FILE_BEGIN as u32, FILE_BEGIN).await
    }

    /// An anchor of the events from `offset` to `end`, at least one.
    async fn read(
        &self,
        name: &str,
        number: u32,
        offset: u32,
        end: u64,
    ) -> Result<Option<Anchor>, Error> {
        let mut dump = self.dump(name, offset).await?;
        let (mut at, mut found) = (u64::from(offset), None);
        let mut announced = false;
        loop {
            let received = self.next(&mut dump).await?;
            let code = received.header.code;
            if tail::is_made_up(&received.header) {
                // The server waits at the log's end, or goes on with the next file: there is no more.
                if tail::is_heartbeat(code) || announced && code == tail::ROTATE {
                    return Ok(found);
                }
                announced |= code == tail::FORMAT_DESCRIPTION;
                continue;
            }
            announced = true;
            let span = (at, at + u64::from(received.header.bytes));
            at = span.1;
            match &mut found {
                None => found = Some(begin(number, span, received.crc32)),
                Some(anchor) => extend(anchor, span, received.crc32),
            }
            dump.recycle(received);
            if at >= end {
                return Ok(found);
            }
        }
    }

    /// The log from an offset of a file on.
    pub(crate) async fn dump(&self, file: &str, offset: u32) -> Result<Dump, Error> {
        let (from, replica) = (From::Place { file, offset }, self.config.replica_id(self.device));
        Dump::open(self.config, self.facts, replica, from, self.spool_dir).await
    }

    /// The next event, within a deadline.
    pub(crate) async fn next(&self, dump: &mut Dump) -> Result<Received, Error> {
        let received = tokio::time::timeout(ANSWER_TIMEOUT, dump.next()).await;
        received.unwrap_or_else(|_| {
            let seconds = ANSWER_TIMEOUT.as_secs();
            Err(Error::SourceSilent { address: self.config.address(), seconds })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_tells_order_and_content_and_ends_where_it_is_long_enough() {
        let two = |first: u32, second: u32| {
            let mut anchor = begin(3, (4, 100), first);
            extend(&mut anchor, (100, 150), second);
            anchor
        };
        let anchor = two(1, 2);
        assert_eq!((anchor.file, anchor.begin, anchor.end), (3, 4, 150));
        assert!(anchor.crc32 != two(2, 1).crc32 && anchor.crc32 != two(1, 3).crc32);
        let mut same = anchor;
        // An event of the same place again, one that does not follow, and one that is too large.
        for span in [(100, 150), (160, 170), (150, 150 + ANCHOR_BYTES_MAX)] {
            extend(&mut same, span, 9);
            assert_eq!(same, anchor);
        }
    }
}
