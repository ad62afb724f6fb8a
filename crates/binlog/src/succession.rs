//! Whether the log of another MariaDB server continues a copy, and from where.
//!
//! Within a domain the order of a log is the order of its transactions on every server. Sequence numbers
//! are not: a server counts on from what it has seen, so two of them give the same number to different
//! transactions, and one that replicates and is written to has numbers that go back. What proves that a
//! transaction is in a log is the whole GTID, and that every server's own numbers grow.

use crate::{BinlogError, Gtids, gtids::mariadb_gtid};
use std::collections::BTreeMap;

/// The last transaction of every server in every domain, as `gtid_binlog_state` has it, and a file's
/// GTID_LIST: `0-1-100,0-2-90`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogState(BTreeMap<(u32, u32), u64>);

// === impl LogState ===

impl LogState {
    /// Reads it, with or without brackets.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, BinlogError> {
        let text = text.trim().trim_start_matches('[').trim_end_matches(']');
        let mut state = BTreeMap::new();
        for gtid in text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty()) {
            let (domain, server, sequence) = mariadb_gtid(gtid).ok_or_else(|| {
                BinlogError::malformed("GTID_LIST", format!("{gtid:.80?} is no GTID"))
            })?;
            state.insert((domain, server), sequence);
        }
        Ok(Self(state))
    }

    /// A transaction of `copy` that a log in this state has never held.
    pub fn lacks(&self, copy: &Gtids) -> Option<String> {
        let Gtids::MariaDb(domains) = copy else { return Some(copy.to_string()) };
        let lacking = domains.iter().find(|(domain, (server, sequence))| {
            self.0.get(&(**domain, *server)).is_none_or(|last| last < sequence)
        });
        lacking.map(|(domain, (server, sequence))| format!("{domain}-{server}-{sequence}"))
    }

    /// At the beginning of a file, before which `last` are the last transactions by domain: those of
    /// `copy` that are still to come. `None` where something lies before it that the copy lacks.
    pub fn awaits(&self, last: &Gtids, copy: &Gtids) -> Option<Gtids> {
        let (Gtids::MariaDb(last), Gtids::MariaDb(copy)) = (last, copy) else { return None };
        if self.0.keys().any(|(domain, _)| !copy.contains_key(domain)) {
            return None;
        }
        let mut awaited = BTreeMap::new();
        for (domain, end) in copy {
            if last.get(domain) == Some(end) {
                continue;
            }
            if self.0.get(&(*domain, end.0)).is_some_and(|seen| *seen >= end.1) {
                return None;
            }
            awaited.insert(*domain, *end);
        }
        Some(Gtids::MariaDb(awaited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Gtids {
        Gtids::parse(text, true).expect("a position")
    }

    fn state(text: &str) -> LogState {
        LogState::parse(text).expect("a state")
    }

    #[test]
    fn a_log_holds_a_copy_whose_last_transactions_it_has_held_by_their_whole_names() {
        let branched = state("[0-1-103,0-2-223]");
        assert_eq!(branched.lacks(&at("0-1-143")), Some("0-1-143".to_owned()));
        assert_eq!(branched.lacks(&at("0-1-103")), None);
        assert_eq!(branched.lacks(&at("0-1-103,7-1-1")), Some("7-1-1".to_owned()));
        assert!(LogState::parse("0-1").is_err());
    }

    #[test]
    fn a_file_awaits_what_it_holds_of_the_copy_and_begins_too_late_where_more_lies_before_it() {
        let copy = at("0-1-103,5-1-9");
        let awaits = |list: &str, last: &str| state(list).awaits(&at(last), &copy);
        assert_eq!(awaits("", ""), Some(copy.clone()));
        assert_eq!(awaits("[0-1-53]", "0-1-53"), Some(copy.clone()));
        assert_eq!(awaits("[0-1-103]", "0-1-103"), Some(at("5-1-9")));
        assert_eq!(awaits("[0-1-103,0-2-104]", "0-2-104"), None);
        assert_eq!(awaits("[0-1-53,8-1-1]", "0-1-53,8-1-1"), None);
        // Two writers: what the other wrote has a lower number, and may lie before or behind.
        assert_eq!(awaits("[0-1-103,0-2-60]", "0-2-60"), None);
        assert_eq!(awaits("[0-2-60,0-1-103]", "0-1-103"), Some(at("5-1-9")));
    }
}
