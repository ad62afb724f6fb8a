//! What has been published and is not yet known to be stored.
//!
//! Batches form a chain, so the stream must hold them in order. A batch counts as stored only when
//! every batch before it is; and when one acknowledgement fails to come, everything from that batch
//! on is sent again, in order, even what was acknowledged: a later batch that the stream took before
//! an earlier one lies in the wrong order there and will be dropped as a gap. A time-out does not mean
//! "not stored", so the stream may hold a batch twice; the worker drops the second.

use bytes::Bytes;
use std::collections::VecDeque;
use tributary_wire::{Position, Resume, Seal};

/// Identifies one sending of one batch; stands in the reply subject of its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Grows by one each time everything is sent again, from a number of the run's own on: what an
    /// earlier run has sent may still be acknowledged.
    pub attempt: u64,
    /// Grows by one with each batch.
    pub number: u64,
}

/// Where the stream holds everything up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// End of the newest batch that is stored with all before it.
    pub position: Position,
    /// Where to read the binlog again to go on from there.
    pub resume: Resume,
    /// Rows in the batches that this acknowledgement completed.
    pub rows: u64,
    /// Their messages' sizes together, in bytes.
    pub bytes: u64,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    message: Bytes,
    position: Position,
    resume: Resume,
    rows: u64,
    acked: bool,
}

/// The unacknowledged batches, oldest first. Bounded: see [`Window::has_room`].
#[derive(Debug)]
pub struct Window {
    batches: VecDeque<InFlight>,
    batches_max: usize,
    /// Their messages' sizes together.
    bytes: usize,
    attempt: u64,
    next_number: u64,
}

/// With so many bytes in flight nothing more is sent. On a link with a tenth of a second there and back
/// that is 40 MB/s.
const BYTES_MAX: usize = 4 << 20;

// === impl Window ===

impl Window {
    /// A window of at most `batches_max` batches.
    pub fn new(batches_max: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            batches_max: batches_max.max(1),
            bytes: 0,
            attempt: 0,
            next_number: 0,
        }
    }

    /// The same, with tickets of that run.
    #[must_use]
    pub fn of_run(self, run: u64) -> Self {
        Self { attempt: run >> 1, ..self }
    }

    /// True when nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many batches are in flight.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// True for a ticket of the attempt under way.
    pub fn is_current(&self, ticket: Ticket) -> bool {
        ticket.attempt == self.attempt
    }

    /// True when another batch may be sent: so many are not in flight, and not so many bytes. One that is
    /// larger goes alone.
    pub fn has_room(&self) -> bool {
        self.batches.len() < self.batches_max && self.bytes < BYTES_MAX
    }

    /// Takes a batch into the window; the caller sends it under the ticket.
    pub fn push(&mut self, seal: Seal) -> (Ticket, Bytes) {
        let message = Bytes::from(seal.message);
        let number = self.next_number;
        self.next_number += 1;
        self.bytes += message.len();
        self.batches.push_back(InFlight {
            number,
            message: message.clone(),
            position: seal.header.end,
            resume: seal.header.resume,
            rows: seal.rows,
            acked: false,
        });
        (Ticket { attempt: self.attempt, number }, message)
    }

    /// Notes an acknowledgement. Returns how far the stream now reaches, if it reaches further.
    /// One of an earlier attempt says nothing about the order of this one, and is passed over.
    pub fn acknowledge(&mut self, ticket: Ticket) -> Option<Progress> {
        if ticket.attempt != self.attempt {
            return None;
        }
        let batch = self.batches.iter_mut().find(|batch| batch.number == ticket.number)?;
        batch.acked = true;
        let mut progress: Option<Progress> = None;
        while self.batches.front().is_some_and(|batch| batch.acked)
            && let Some(batch) = self.batches.pop_front()
        {
            self.bytes -= batch.message.len();
            let (rows, bytes) = progress.map_or((0, 0), |so_far| (so_far.rows, so_far.bytes));
            progress = Some(Progress {
                position: batch.position,
                resume: batch.resume,
                rows: rows + batch.rows,
                bytes: bytes + batch.message.len() as u64,
            });
        }
        progress
    }

    /// Begins a new attempt: everything in the window, in order, under new tickets.
    pub fn resend(&mut self) -> Vec<(Ticket, Bytes)> {
        self.attempt += 1;
        let attempt = self.attempt;
        self.batches
            .iter_mut()
            .map(|batch| {
                batch.acked = false;
                (Ticket { attempt, number: batch.number }, batch.message.clone())
            })
            .collect()
    }
}

// === impl Ticket ===

impl Ticket {
    /// The last token of the reply subject.
    pub fn to_token(self) -> String {
        format!("{}-{}", self.attempt, self.number)
    }

    /// Reads a token back.
    pub fn from_token(token: &str) -> Option<Self> {
        let (attempt, number) = token.split_once('-')?;
        Some(Self { attempt: attempt.parse().ok()?, number: number.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_wire::Header;

    fn seal(end: u64) -> Seal {
        let position = Position::boundary(1, 1, end);
        let resume = Resume { position, gtid: None, ..Resume::default() };
        let header = Header {
            device: "d".parse().expect("valid"),
            run: 1,
            source: String::new(),
            server: "9.7.0".into(),
            prev: position,
            end: position,
            resume,
            commit_time_first_us: 0,
            commit_time_last_us: 0,
        };
        Seal { message: vec![1; 10], header, rows: 1, body_bytes: 10 }
    }

    #[test]
    fn progress_moves_only_over_the_contiguous_acknowledged_prefix() {
        let mut window = Window::new(4);
        let tickets: Vec<Ticket> = (1..=3).map(|end| window.push(seal(end)).0).collect();
        assert_eq!(window.acknowledge(tickets[1]), None);
        let progress = window.acknowledge(tickets[0]).expect("moves");
        assert_eq!((progress.position.offset, progress.rows), (2, 2));
        assert_eq!(
            window.acknowledge(tickets[0]),
            None,
            "a second acknowledgement changes nothing"
        );
        assert!(!window.is_empty());
    }

    #[test]
    fn a_resend_repeats_what_was_acknowledged_out_of_order_and_forgets_older_tickets() {
        let mut window = Window::new(4);
        let old: Vec<Ticket> = (1..=3).map(|end| window.push(seal(end)).0).collect();
        window.acknowledge(old[1]);
        let again = window.resend();
        assert_eq!(again.iter().map(|(ticket, _)| ticket.number).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(window.acknowledge(old[0]), None, "that attempt is over");
        assert_eq!(window.acknowledge(again[0].0).expect("moves").position.offset, 1);
        assert_eq!(window.acknowledge(again[1].0).expect("moves").position.offset, 2);
    }

    #[test]
    fn bytes_bound_the_window_as_well_as_batches() {
        let mut window = Window::new(8);
        let large = |end| Seal { message: vec![0; BYTES_MAX / 2], ..seal(end) };
        let first = window.push(large(1)).0;
        assert!(window.has_room());
        window.push(large(2));
        assert!(!window.has_room(), "two of eight, and full");
        window.acknowledge(first).expect("moves");
        assert!(window.has_room());
    }

    #[test]
    fn a_ticket_survives_its_token() {
        let ticket = Ticket { attempt: 3, number: 99 };
        assert_eq!(Ticket::from_token(&ticket.to_token()), Some(ticket));
        assert_eq!(Ticket::from_token("x"), None);
    }
}
