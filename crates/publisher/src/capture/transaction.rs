//! Where transactions begin and end.

use super::{Capture, CaptureError, LogEvent, Open};
use tributary_binlog::{BinlogError, Body, Server};
use tributary_wire::{Position, Seal};

/// So much of a transaction is kept until its end is known; of a larger one nothing can be undone.
const HELD_BYTES_MAX: usize = 4 << 20;

fn undone() -> BinlogError {
    BinlogError::Lost(format!(
        "a transaction undoes changes of its own that are carried already (it holds more than {} MiB), or a statement",
        HELD_BYTES_MAX >> 20
    ))
}

impl Capture {
    /// A transaction begins here; `body` is a [`Body::Gtid`].
    pub(super) fn gtid(&mut self, log: &LogEvent<'_>, body: Body<'_>) -> Result<(), CaptureError> {
        let Body::Gtid { gtid, commit_time_us, standalone, begins, prepares, transactional } = body
        else {
            return Ok(());
        };
        if self.open.as_ref().is_some_and(|open| open.told || !open.held.is_empty()) {
            return Err(self.malformed("GTID", "a transaction begins within another"));
        }
        let start = log.span.map_or(self.offset, |(start, _)| start);
        self.server = if log.event.code == 162 { Server::MariaDb } else { Server::MySql };
        // MariaDB's event leaves the server's id to the common header: domain-server-sequence.
        let gtid = gtid.map(|gtid| match gtid.split_once('-') {
            Some((domain, sequence)) if log.event.code == 162 => {
                format!("{domain}-{}-{sequence}", log.server_id)
            }
            _ => gtid,
        });
        let known = match (&mut self.elsewhere, &gtid) {
            (_, None) => false,
            (Some(carried), Some(gtid)) => carried.passes(gtid),
            (None, Some(gtid)) => self.gtids.as_ref().is_some_and(|gtids| gtids.contains(gtid)),
        };
        if known && self.elsewhere.is_none() {
            return Err(CaptureError::NotThere(self.read()));
        }
        // Its place among those that are carried is another server's.
        let gtid = gtid.filter(|_| !known);
        self.open = Some(Open {
            start: Position::boundary(self.epoch, self.file, start),
            time_us: commit_time_us.unwrap_or(log.time_us),
            gtid,
            standalone,
            known,
            transactional,
            is_xa: prepares,
            begun: begins,
            held: std::mem::take(&mut self.spare),
            released: false,
            told: false,
            skip: 0,
            changes: 0,
        });
        Ok(())
    }

    /// A transaction of more than a statement begins.
    pub(super) fn begin(&mut self) -> Result<(), CaptureError> {
        match self.open.as_mut() {
            None => Err(self.malformed("QUERY", "a transaction without a GTID event")),
            Some(open) => {
                open.begun = true;
                Ok(())
            }
        }
    }

    /// True while the open transaction lies before the place to go on from: it was carried before.
    pub(super) fn is_past(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.start < self.from.floor())
    }

    /// An event that changes something: kept until nothing can undo it.
    pub(super) fn content(
        &mut self,
        log: &LogEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let is_past = self.is_past();
        let Some(open) = self.open.as_mut().filter(|open| open.begun) else {
            return Err(self.malformed("rows", "rows outside a transaction"));
        };
        if open.released {
            return if is_past { Ok(()) } else { self.carry(log, sealed) };
        }
        open.held.push(log);
        let (bytes, is_xa) = (open.held.bytes(), open.is_xa);
        match is_xa {
            true if !self.may_prepare(bytes) => Err(self.xa_too_large()),
            false if bytes > HELD_BYTES_MAX => self.release(sealed),
            _ => Ok(()),
        }
    }

    /// Carries what was kept of the open transaction; what follows is carried as it comes.
    fn release(&mut self, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        let is_past = self.is_past();
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        let held = std::mem::take(&mut open.held);
        open.released = true;
        if !is_past && !held.is_empty() {
            for log in held.events() {
                self.carry(&log, sealed)?;
                self.seal_if_full(sealed)?;
            }
        }
        self.spare = held.recycled();
        Ok(())
    }

    /// What follows is too large to be kept, and carried as it is read. False when it was before.
    pub(super) fn carries_at_once(&mut self, sealed: &mut Vec<Seal>) -> Result<bool, CaptureError> {
        let Some(open) = self.open.as_ref().filter(|open| open.begun) else {
            return Err(self.malformed("rows", "rows outside a transaction"));
        };
        if open.is_xa && !open.released {
            return Err(self.xa_too_large());
        }
        if !open.released {
            self.release(sealed)?;
        }
        self.tell()
    }

    fn carry(&mut self, log: &LogEvent<'_>, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        let body = log.event.parse().map_err(|source| self.event_error(source))?;
        match body {
            Body::TableMap => self.table_map(log.event.data),
            Body::Query(query) => self.statement(log, &query, None, sealed),
            _ => self.rows(log, sealed),
        }
    }

    /// Tells the batch of the open transaction, at the place where it goes on. False when all of it was
    /// carried before.
    pub(super) fn tell(&mut self) -> Result<bool, CaptureError> {
        let (from, is_past) = (self.from, self.is_past());
        let is_reached = self.is_reached();
        let Some(open) = self.open.as_mut() else {
            return Err(self.malformed("QUERY", "a transaction without a GTID event"));
        };
        if open.told || is_past {
            return Ok(!is_past);
        }
        open.begun = true;
        open.told = true;
        if open.start == from.floor() {
            // Inside this transaction is where an earlier batch was cut, unless `from` is a boundary.
            open.skip = from.changes();
        } else if !is_reached {
            return Err(CaptureError::NotThere(from));
        }
        let start = open.start.inside(open.skip);
        self.builder.begin(start, open.time_us);
        Ok(true)
    }

    pub(super) fn commit(
        &mut self,
        log: &LogEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        self.release(sealed)?;
        let Some(open) = self.open.take() else {
            return Err(self.malformed("XID", "a commit outside a transaction"));
        };
        if !open.told {
            return self.end_without_changes(log, open);
        }
        let Some((_, end)) = log.span else {
            return Err(self.malformed("XID", "a commit that has no place in the log"));
        };
        if open.skip > 0 {
            return Err(CaptureError::NotThere(self.from));
        }
        self.offset = end;
        let at = self.read();
        self.builder.commit(at, None);
        self.passed(at, open.gtid.as_deref())
    }

    /// The end of a transaction of which nothing is carried: it holds nothing, or was carried before,
    /// or waits for its outcome, or is undone.
    pub(super) fn end_without_changes(
        &mut self,
        log: &LogEvent<'_>,
        open: Open,
    ) -> Result<(), CaptureError> {
        if let Some((_, end)) = log.span {
            self.offset = end;
        }
        // What lies across the place to go on from does not end before it.
        if open.start < self.from.floor() && self.read() > self.from.floor() {
            return Err(CaptureError::NotThere(self.from));
        }
        self.mark(open.gtid.as_deref())?;
        self.spare = open.held.recycled();
        Ok(())
    }

    /// The log ended within a transaction: the server died while it wrote. MariaDB's replicas discard
    /// what there is of it, as the server itself did.
    pub(super) fn cut_off(&mut self, name: &str) -> Result<(), CaptureError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if open.told || !open.transactional || self.server != Server::MariaDb {
            return Err(self.event_error(BinlogError::Lost(format!(
                "{name} follows inside a transaction, of which a part is carried, or stayed in a table without transactions"
            ))));
        }
        self.spare = open.held.recycled();
        Ok(())
    }

    /// A transaction that undoes all of itself.
    pub(super) fn roll_back(&mut self, log: &LogEvent<'_>) -> Result<(), CaptureError> {
        match self.open.take() {
            Some(open) if !open.told && !open.held.has_statement() => {
                self.end_without_changes(log, open)
            }
            _ => Err(self.event_error(undone())),
        }
    }

    pub(super) fn roll_back_to(&mut self, name: &str) -> Result<(), CaptureError> {
        let is_past = self.is_past();
        let undone_all = self.open.as_mut().is_some_and(|open| match open.released {
            true => is_past,
            false => open.held.roll_back_to(name),
        });
        if undone_all { Ok(()) } else { Err(self.event_error(undone())) }
    }
}
