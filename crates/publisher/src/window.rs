//! What has been published and is not yet known to be stored.
//!
//! Batches form a chain, so the stream must hold them in order. A batch counts as stored only when
//! every batch before it is. A late acknowledgement is one all the same, whichever sending it is for: a time-out
//! does not mean "not stored". What was sent again may lie in the stream twice; the worker drops the second.
//!
//! The one thing an acknowledgement of an earlier sending cannot say is that the order is right: a batch that
//! was stored before its predecessor lies in the wrong place, and will be dropped as a gap. So what is
//! acknowledged counts only in the order of the sendings.

use crate::pace::{Mark, Pace};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
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
    /// When it was first sent on this connection.
    mark: Option<Mark>,
    /// The newest sending of it that is stored.
    stored: Option<u64>,
}

/// The unacknowledged batches, oldest first. Bounded: see [`Window::has_room`].
#[derive(Debug)]
pub struct Window {
    batches: VecDeque<InFlight>,
    batches_max: usize,
    /// How many of them, from the oldest on, were sent in this attempt, and the sizes of their messages.
    sent: usize,
    sent_bytes: usize,
    attempt: u64,
    /// The first attempt on this connection.
    connected: u64,
    /// Acknowledgements of earlier attempts say nothing about the order any more.
    ordered_from: u64,
    next_number: u64,
    pace: Pace,
}

// === impl Window ===

impl Window {
    /// A window of at most `batches_max` batches, on a link of that pace.
    pub fn new(batches_max: usize, pace: Pace) -> Self {
        Self {
            batches: VecDeque::new(),
            batches_max: batches_max.max(1),
            sent: 0,
            sent_bytes: 0,
            attempt: 0,
            connected: 0,
            ordered_from: 0,
            next_number: 0,
            pace,
        }
    }

    /// The same, with tickets of that run.
    #[must_use]
    pub fn of_run(self, run: u64) -> Self {
        let attempt = run >> 1;
        Self { attempt, connected: attempt, ordered_from: attempt, ..self }
    }

    /// What has been learnt of the link.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The same, for the window that comes after this one.
    pub fn into_pace(self) -> Pace {
        self.pace
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

    /// True when another batch may be taken: so many are not in flight, and not so many bytes. One that is
    /// larger goes alone. What is to be sent again goes first.
    pub fn has_room(&self) -> bool {
        self.batches.len() < self.batches_max && self.sent == self.batches.len() && self.may_send()
    }

    fn may_send(&self) -> bool {
        self.sent_bytes == 0 || self.sent_bytes < self.pace.window_bytes()
    }

    /// Takes a batch into the window; [`Window::next`] sends it.
    pub fn push(&mut self, seal: Seal) {
        let message = Bytes::from(seal.message);
        self.pace.sealed(seal.body_bytes, message.len());
        let number = self.next_number;
        self.next_number += 1;
        self.batches.push_back(InFlight {
            number,
            message,
            position: seal.header.end,
            resume: seal.header.resume,
            rows: seal.rows,
            mark: None,
            stored: None,
        });
    }

    /// What is to be sent next, now.
    pub fn next(&mut self, now: Instant) -> Option<(Ticket, Bytes)> {
        if !self.may_send() {
            return None;
        }
        let batch = self.batches.get_mut(self.sent)?;
        let mark = self.pace.sent(now, self.sent_bytes);
        batch.mark.get_or_insert(mark);
        self.sent += 1;
        self.sent_bytes += batch.message.len();
        Some((Ticket { attempt: self.attempt, number: batch.number }, batch.message.clone()))
    }

    /// Notes an acknowledgement, of whichever sending. Returns how far the stream now reaches, if it
    /// reaches further.
    pub fn acknowledge(&mut self, ticket: Ticket, now: Instant) -> Option<Progress> {
        if ticket.attempt < self.ordered_from || ticket.attempt > self.attempt {
            return None;
        }
        let batch = self.batches.iter_mut().find(|batch| batch.number == ticket.number)?;
        if batch.stored.is_none() {
            // The time of another connection's sending says nothing about this one.
            let mark = batch.mark.filter(|_| ticket.attempt >= self.connected);
            self.pace.stored(now, mark, batch.message.len());
        }
        batch.stored = batch.stored.max(Some(ticket.attempt));
        let mut progress = None;
        while let Some(stored) = self.batches.front().and_then(|batch| batch.stored)
            && stored >= self.ordered_from
        {
            self.ordered_from = stored;
            self.complete(&mut progress);
        }
        progress
    }

    /// The target holds everything up to `position`, so the stream has held it.
    pub fn applied(&mut self, position: Position, now: Instant) -> Option<Progress> {
        let mut progress = None;
        while self.batches.front().is_some_and(|batch| batch.position <= position) {
            self.complete(&mut progress);
        }
        if let Some(Progress { bytes, .. }) = &progress {
            self.pace.stored(now, None, usize::try_from(*bytes).unwrap_or(usize::MAX));
        }
        progress
    }

    fn complete(&mut self, progress: &mut Option<Progress>) {
        let Some(batch) = self.batches.pop_front() else { return };
        if self.sent > 0 {
            self.sent -= 1;
            self.sent_bytes -= batch.message.len();
        }
        let (rows, bytes) = progress.as_ref().map_or((0, 0), |so_far| (so_far.rows, so_far.bytes));
        *progress = Some(Progress {
            position: batch.position,
            resume: batch.resume,
            rows: rows + batch.rows,
            bytes: bytes + batch.message.len() as u64,
        });
    }

    /// How long the next acknowledgement may take.
    pub fn timeout(&self) -> Duration {
        self.pace.timeout(self.sent_bytes)
    }

    /// None has come in time.
    pub fn timed_out(&mut self) {
        self.pace.timed_out();
    }

    /// Begins a new attempt: everything in the window goes again, in order, under new tickets, as fast as
    /// [`Window::next`] lets it.
    pub fn resend(&mut self) {
        self.attempt += 1;
        (self.sent, self.sent_bytes) = (0, 0);
    }

    /// The same because a batch was refused: what was stored behind it lies in the wrong place.
    pub fn resend_refused(&mut self) {
        self.resend();
        self.ordered_from = self.attempt;
    }

    /// The same on a new connection.
    pub fn reconnected(&mut self) {
        self.resend();
        self.connected = self.attempt;
        for batch in &mut self.batches {
            batch.mark = None;
        }
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
    use crate::pace::BYTES_MAX;
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

    fn window(batches_max: usize) -> Window {
        Window::new(batches_max, Pace::new(768 << 10, Duration::from_secs(5)))
    }

    /// Sends everything that may go.
    fn send(window: &mut Window) -> Vec<Ticket> {
        let now = Instant::now();
        std::iter::from_fn(|| window.next(now)).map(|(ticket, _)| ticket).collect()
    }

    /// Takes batches that end at these offsets, and sends them.
    fn fill(window: &mut Window, ends: std::ops::RangeInclusive<u64>) -> Vec<Ticket> {
        for end in ends {
            window.push(seal(end));
        }
        send(window)
    }

    /// Where the stream reaches to after that acknowledgement.
    fn reached(window: &mut Window, ticket: Ticket) -> Option<u64> {
        window.acknowledge(ticket, Instant::now()).map(|progress| progress.position.offset)
    }

    #[test]
    fn progress_moves_only_over_the_contiguous_acknowledged_prefix() {
        let mut window = window(4);
        let tickets = fill(&mut window, 1..=3);
        assert_eq!(reached(&mut window, tickets[1]), None);
        let progress = window.acknowledge(tickets[0], Instant::now()).expect("moves");
        assert_eq!((progress.position.offset, progress.rows), (2, 2));
        assert_eq!(reached(&mut window, tickets[0]), None, "a second one changes nothing");
        assert!(!window.is_empty());
    }

    #[test]
    fn a_late_acknowledgement_is_one_whichever_sending_it_is_for() {
        let mut window = window(4);
        let first = fill(&mut window, 1..=3);
        window.timed_out();
        window.resend();
        let second = send(&mut window);
        assert_eq!(second.iter().map(|ticket| ticket.number).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(reached(&mut window, first[0]), Some(1));
        assert_eq!(reached(&mut window, second[1]), Some(2));
        assert_eq!(reached(&mut window, second[0]), None);
        // The second batch counts as stored by the second sending; the third's first may lie before it.
        assert_eq!(reached(&mut window, first[2]), None);
        assert_eq!(reached(&mut window, second[2]), Some(3));
        assert!(window.is_empty() && window.has_room());
    }

    #[test]
    fn after_a_refusal_only_what_was_sent_since_counts() {
        let mut window = window(4);
        let first = fill(&mut window, 1..=3);
        // The first was refused, and the second was stored all the same: in the wrong place.
        assert_eq!(reached(&mut window, first[1]), None);
        window.resend_refused();
        let second = send(&mut window);
        assert_eq!(reached(&mut window, first[0]), None);
        assert_eq!(reached(&mut window, second[0]), Some(1));
        assert_eq!(reached(&mut window, second[2]), None);
        assert_eq!(reached(&mut window, second[1]), Some(3));
    }

    #[test]
    fn what_is_applied_was_stored() {
        let mut window = window(4);
        let tickets = fill(&mut window, 1..=3);
        let at = |end| Position::boundary(1, 1, end);
        assert_eq!(window.applied(at(0), Instant::now()), None);
        let progress = window.applied(at(2), Instant::now()).expect("moves");
        assert_eq!((progress.position.offset, progress.rows, progress.bytes), (2, 2, 20));
        assert_eq!(reached(&mut window, tickets[2]), Some(3));
        // Also what waits to be sent again.
        fill(&mut window, 4..=5);
        window.resend();
        assert!(window.applied(at(5), Instant::now()).is_some());
        assert!(window.is_empty() && send(&mut window).is_empty());
    }

    #[test]
    fn what_is_sent_again_waits_for_room_as_well_and_keeps_its_order() {
        let mut window = window(8);
        for end in 1..=3 {
            window.push(Seal { message: vec![0; 10 << 10], ..seal(end) });
        }
        let first = send(&mut window);
        assert_eq!(first.len(), 2, "nothing is known of the link");
        assert!(!window.has_room());
        window.reconnected();
        let second = send(&mut window);
        assert_eq!(second.iter().map(|ticket| ticket.number).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(reached(&mut window, second[0]), Some(1));
        assert_eq!(send(&mut window).iter().map(|t| t.number).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn bytes_bound_the_window_as_well_as_batches() {
        let mut window = window(8);
        let large = |end| Seal { message: vec![0; BYTES_MAX], ..seal(end) };
        window.push(large(1));
        let first = send(&mut window);
        assert!(!window.has_room(), "one of eight, and full");
        reached(&mut window, first[0]).expect("moves");
        assert!(window.has_room());
    }

    #[test]
    fn a_ticket_survives_its_token() {
        let ticket = Ticket { attempt: 3, number: 99 };
        assert_eq!(Ticket::from_token(&ticket.to_token()), Some(ticket));
        assert_eq!(Ticket::from_token("x"), None);
    }

    /// A stream that takes some sendings, refuses or forgets others, and acknowledges when it likes. Whatever
    /// happens, what the window calls stored lies in the stream in order.
    #[test]
    fn what_counts_as_stored_lies_in_the_stream_in_order_whatever_comes_late() {
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut window, now) = (window(6), Instant::now());
            let (mut stream, mut wire, mut acks) = (Vec::new(), VecDeque::new(), VecDeque::new());
            let (mut next, mut reached) = (0, 0);
            for _ in 0..300 {
                match random.u8(0..20) {
                    0..6 if window.has_room() => {
                        next += 1;
                        window.push(seal(next));
                    }
                    0..9 => wire.extend(window.next(now).map(|(ticket, _)| ticket)),
                    9..13 => {
                        let Some(ticket) = wire.pop_front() else { continue };
                        // One in ten is forgotten by the stream.
                        if random.u8(0..10) > 0 {
                            stream.push(ticket.number + 1);
                            acks.push_back(ticket);
                        }
                    }
                    13..18 => {
                        // One in five acknowledgements is lost.
                        let Some(ticket) = acks.pop_front() else { continue };
                        if random.u8(0..5) > 0
                            && let Some(progress) = window.acknowledge(ticket, now)
                        {
                            reached = progress.position.offset;
                        }
                    }
                    18 => window.resend(),
                    _ => {
                        wire.clear();
                        window.reconnected();
                    }
                }
                // As a worker reads it: what does not chain is dropped.
                let applied =
                    stream.iter().fold(0, |at, end| if *end == at + 1 { *end } else { at });
                assert!(applied >= reached, "seed {seed}: {reached} of {stream:?}");
            }
        }
    }
}
