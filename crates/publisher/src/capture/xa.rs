//! XA transactions: what is prepared reaches the target when it is committed.
//!
//! The log holds the changes where they were prepared, and the outcome later, as a transaction of its
//! own, perhaps in another file. Until then the changes are kept in memory, and the place to restart
//! from does not move past the oldest of them: whoever reads the log again keeps them again. At the
//! commit they are the changes of the committing transaction, and `part` counts them there.

use super::held::Held;
use super::{Capture, CaptureError, LogEvent};
use std::collections::HashMap;
use tributary_binlog::BinlogError;
use tributary_schema::Xa;
use tributary_wire::{Resume, Seal};

/// Transactions that are prepared and not decided.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    by_xid: HashMap<String, (Held, Resume)>,
}

/// What all of them may take together.
const PREPARED_BYTES_MAX: usize = 32 << 20;
/// No application prepares more; each may also pin the log with nothing in it.
const PREPARED_MAX: usize = 10_000;

// === impl Prepared ===

impl Prepared {
    /// Where a reader of the log has to restart to find all of them again.
    pub(super) fn resume(&self) -> Option<&Resume> {
        self.by_xid.values().map(|(_, from)| from).min_by_key(|from| from.position)
    }

    fn bytes(&self) -> usize {
        self.by_xid.values().map(|(held, _)| held.bytes()).sum()
    }
}

/// The server writes an identifier in several places; hexadecimal digits are the same in both cases.
fn key(xid: &str) -> String {
    xid.to_ascii_lowercase()
}

// === impl Capture ===

impl Capture {
    /// True while another transaction of `bytes` bytes may be kept.
    pub(super) fn may_prepare(&self, bytes: usize) -> bool {
        bytes.saturating_add(self.prepared.bytes()) <= PREPARED_BYTES_MAX
            && self.prepared.by_xid.len() < PREPARED_MAX
    }

    /// XA PREPARE, or XA COMMIT … ONE PHASE, at the end of the transaction's changes.
    pub(super) fn prepare(
        &mut self,
        log: &LogEvent<'_>,
        xid: &str,
        one_phase: bool,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        if one_phase {
            return self.commit(log, sealed);
        }
        let Some(mut open) = self.open.take().filter(|open| open.is_xa && !open.released) else {
            return Err(self.malformed("XA_PREPARE", "it ends no XA transaction"));
        };
        let held = std::mem::take(&mut open.held);
        let known = self.prepared.by_xid.insert(key(xid), (held, self.resume()));
        if known.is_some() {
            return Err(self.malformed("XA_PREPARE", &format!("{xid} is prepared twice")));
        }
        self.end_without_changes(log, open)
    }

    /// A step of an XA transaction that is logged as a statement.
    pub(super) fn xa(
        &mut self,
        log: &LogEvent<'_>,
        verb: Xa,
        xid: &str,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        match verb {
            Xa::Start => {
                self.begin()?;
                self.open.iter_mut().for_each(|open| open.is_xa = true);
                Ok(())
            }
            Xa::End => Ok(()),
            Xa::Commit | Xa::Rollback => self.decide(log, verb == Xa::Commit, xid, sealed),
            Xa::Prepare | Xa::CommitOnePhase => {
                Err(self.malformed("QUERY", "an XA transaction is prepared by a statement"))
            }
        }
    }

    fn decide(
        &mut self,
        log: &LogEvent<'_>,
        commits: bool,
        xid: &str,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let prepared = self.prepared.by_xid.remove(&key(xid));
        let is_past = self.is_past();
        let Some(open) = self.open.as_mut().filter(|open| !open.begun) else {
            return Err(self.malformed("QUERY", "an XA transaction is decided within another"));
        };
        match prepared {
            Some((held, _)) if commits => {
                open.begun = true;
                open.held = held;
            }
            // What was carried before needs no rows any more.
            None if commits && !is_past => {
                return Err(self.event_error(BinlogError::Lost(format!(
                    "XA transaction {xid} is committed, and was prepared before the place where reading began"
                ))));
            }
            Some(_) | None => {}
        }
        self.commit(log, sealed)
    }

    /// Refuses an XA transaction that is too large to be kept until it is decided.
    pub(super) fn xa_too_large(&self) -> CaptureError {
        self.event_error(BinlogError::Lost(format!(
            "XA transactions that are prepared and not decided hold more than {} MiB: decide them sooner, or split them",
            PREPARED_BYTES_MAX >> 20
        )))
    }
}
