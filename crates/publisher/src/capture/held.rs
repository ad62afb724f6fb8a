//! What a transaction changes, kept until its end is known.
//!
//! A log may undo what it has written: MariaDB logs ROLLBACK and ROLLBACK TO SAVEPOINT after the rows
//! that they undo, a crash leaves a transaction without its end, and an XA transaction waits for its
//! outcome. Rows of tables without transactions are no part of this: both servers log them in
//! transactions of their own. So events are carried only once nothing can undo them any more, or when
//! there are too many to keep; then an undoing stops the device.

use super::LogEvent;
use tributary_binlog::Event;

/// Events of one transaction, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    events: Vec<HeldEvent>,
    /// Names, and how many events lie before.
    savepoints: Vec<(String, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct HeldEvent {
    code: u8,
    flags: u16,
    server_id: u32,
    seconds: u32,
    time_us: i64,
    /// Where its body ends in `bytes`.
    end: usize,
}

/// Memory that is kept for the next transaction.
const SPARE_BYTES: usize = 256 << 10;

// === impl Held ===

impl Held {
    pub(super) fn push(&mut self, log: &LogEvent<'_>) {
        self.bytes.extend_from_slice(log.event.data);
        self.events.push(HeldEvent {
            code: log.event.code,
            flags: log.event.flags,
            server_id: log.server_id,
            seconds: log.seconds,
            time_us: log.time_us,
            end: self.bytes.len(),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What it takes in memory, at most; savepoints are few.
    pub(super) fn bytes(&self) -> usize {
        const SAVEPOINT_BYTES: usize = 1 << 10;
        self.bytes.len()
            + self.events.len() * size_of::<HeldEvent>()
            + self.savepoints.len() * SAVEPOINT_BYTES
    }

    /// The events as they were read.
    pub(super) fn events(&self) -> impl Iterator<Item = LogEvent<'_>> {
        let mut begin = 0;
        self.events.iter().map(move |held| {
            let data = &self.bytes[std::mem::replace(&mut begin, held.end)..held.end];
            LogEvent {
                event: Event { code: held.code, flags: held.flags, data },
                span: None,
                server_id: held.server_id,
                seconds: held.seconds,
                time_us: held.time_us,
            }
        })
    }

    /// True when a statement is among them, which no rollback undoes.
    pub(super) fn has_statement(&self) -> bool {
        self.events.iter().any(|event| event.code == tributary_binlog::event::QUERY)
    }

    /// A name that is set again moves. Names are the same in upper and lower case.
    pub(super) fn savepoint(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.savepoints.retain(|(known, _)| *known != name);
        self.savepoints.push((name, self.events.len()));
    }

    /// Drops what came after the savepoint; false when that is not clear. Which letters beyond ASCII are
    /// the same is the server's collation's to say.
    pub(super) fn roll_back_to(&mut self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let is_clear = name.is_ascii() && self.savepoints.iter().all(|(known, _)| known.is_ascii());
        let nth = self.savepoints.iter().position(|(known, _)| *known == name);
        let Some(nth) = nth.filter(|_| is_clear) else { return false };
        self.savepoints.truncate(nth + 1);
        self.events.truncate(self.savepoints[nth].1);
        self.bytes.truncate(self.events.last().map_or(0, |last| last.end));
        true
    }

    /// Empty, with its memory where that is worth keeping.
    pub(super) fn recycled(mut self) -> Self {
        if self.bytes.capacity() > SPARE_BYTES {
            return Self::default();
        }
        self.bytes.clear();
        self.events.clear();
        self.savepoints.clear();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(data: &[u8]) -> LogEvent<'_> {
        let event = Event { code: 30, flags: 0, data };
        LogEvent { event, span: Some((4, 8)), server_id: 1, seconds: 2, time_us: 3 }
    }

    fn bodies(held: &Held) -> Vec<&[u8]> {
        held.events().map(|log| log.event.data).collect()
    }

    #[test]
    fn a_rollback_to_a_savepoint_drops_what_came_after_it() {
        let mut held = Held::default();
        held.push(&log(b"one"));
        held.savepoint("a");
        held.push(&log(b"two"));
        held.savepoint("b");
        held.push(&log(b"three"));
        assert!(held.roll_back_to("b"));
        assert_eq!(bodies(&held), [&b"one"[..], b"two"]);
        assert!(held.roll_back_to("a"));
        assert!(!held.roll_back_to("b"), "it went with what came after a");
        held.push(&log(b"four"));
        held.savepoint("a");
        held.push(&log(b"five"));
        assert!(held.roll_back_to("a") && held.roll_back_to("a"));
        assert_eq!(bodies(&held), [&b"one"[..], b"four"]);
        held.savepoint("A");
        held.push(&log(b"six"));
        assert!(held.roll_back_to("a"));
        assert_eq!(bodies(&held), [&b"one"[..], b"four"]);
        held.savepoint("é");
        assert!(!held.roll_back_to("a"), "it might be the same as another name");
        assert!(held.recycled().is_empty());
    }
}
