//! Events that are not taken at once: compressed transactions, and rows that are read from a stream.
//!
//! They are opened, and then gone on with step by step, so that an event of any size waits for the batches
//! that it fills.

use super::{Capture, CaptureError, LogEvent, Mapped};
use std::io::{self, BufRead, Cursor, Read};
use std::sync::Arc;
use tributary_binlog::{
    Event, Inner, InnerBody, Payload, RowStream, StreamError, TablePlan, rows_stream,
};
use tributary_wire::Seal;

/// What is open of an event.
pub(super) enum Opened {
    Payload(Payload, Origin),
    Rows(Box<OpenRows>),
}

/// What the common header of the event in the log says.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    span: Option<(u64, u64)>,
    time_us: i64,
}

pub(super) struct OpenRows {
    stream: RowStream<RowSource>,
    plan: Arc<TablePlan>,
    carried: bool,
    origin: Origin,
}

/// Where rows are read from.
enum RowSource {
    Alone(Box<dyn Read + Send>),
    Inside(InnerBody),
}

/// The body of an event that is not in memory.
pub struct StoredBody {
    /// The body.
    pub reader: Box<dyn BufRead + Send>,
    /// How many bytes it has.
    pub bytes: u64,
}

/// After so many changes others have their turn, even if no batch is full.
const STEPS: usize = 64;
/// A compressed rows event of more bytes is read as a stream.
const EVENT_BYTES_HELD_MAX: u64 = 1 << 20;

impl Read for RowSource {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Alone(reader) => reader.read(out),
            Self::Inside(body) => body.read(out),
        }
    }
}

// === impl Capture ===

impl Capture {
    /// True while an event is open: [`Capture::unpack`] comes before the next event.
    pub fn is_unpacking(&self) -> bool {
        self.opened.is_some()
    }

    /// Goes on with the event that is open, until a batch is full or others should have their turn.
    ///
    /// # Errors
    /// [`CaptureError`]; this pass is then over.
    pub fn unpack(&mut self, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        match self.opened.take() {
            None => Ok(()),
            Some(Opened::Rows(rows)) => self.go_on(rows, sealed),
            Some(Opened::Payload(payload, origin)) => self.inner_event(payload, origin, sealed),
        }
    }

    /// Takes an event whose body is not in memory; the one in `log` is empty.
    ///
    /// # Errors
    /// [`CaptureError`]; this pass is then over.
    pub fn take_stored(
        &mut self,
        log: &LogEvent<'_>,
        mut body: StoredBody,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        if self.passes_over(log)? {
            return Ok(());
        }
        let origin = Origin { span: log.span, time_us: log.time_us };
        match log.event.code {
            code @ (23..=25 | 30..=32) => {
                self.open_rows(code, RowSource::Alone(body.reader), body.bytes, origin, sealed)
            }
            166..=171 => self.inflate_rows(log, body.reader, sealed),
            40 => self.open_payload(body, origin),
            // IGNORABLE, ROWS_QUERY, MariaDB ANNOTATE_ROWS: the text of a statement whose rows follow.
            28 | 29 | 160 => {
                self.past(origin);
                Ok(())
            }
            // A statement.
            _ if body.bytes <= self.message_bytes_max as u64 => {
                let mut data = Vec::new();
                body.reader.read_to_end(&mut data).map_err(CaptureError::Stored)?;
                let event = Event { data: &data, ..log.event };
                self.take(&LogEvent { event, ..*log }, sealed)
            }
            _ => {
                let bytes = usize::try_from(body.bytes).unwrap_or(usize::MAX);
                Err(CaptureError::TooLarge { at: self.read(), bytes })
            }
        }
    }

    pub(super) fn open_held_payload(&mut self, log: &LogEvent<'_>) -> Result<(), CaptureError> {
        let origin = Origin { span: log.span, time_us: log.time_us };
        let data = log.event.data.to_vec();
        let bytes = data.len() as u64;
        self.open_payload(StoredBody { reader: Box::new(Cursor::new(data)), bytes }, origin)
    }

    fn open_payload(&mut self, body: StoredBody, origin: Origin) -> Result<(), CaptureError> {
        let payload = Payload::read_from(body.reader, body.bytes);
        let payload = payload.map_err(|source| self.event_error(source))?;
        self.opened = Some(Opened::Payload(payload, origin));
        Ok(())
    }

    fn inner_event(
        &mut self,
        payload: Payload,
        origin: Origin,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let next = payload.next_event().map_err(|source| self.event_error(source))?;
        match next {
            None => Ok(()),
            Some((Inner::Rows(code, body), _)) => {
                let bytes = body.left();
                self.open_rows(code, RowSource::Inside(body), bytes, origin, sealed)
            }
            Some((Inner::Event(inner), rest)) => {
                let log = LogEvent {
                    event: inner.event(),
                    span: origin.span,
                    server_id: inner.server_id,
                    seconds: inner.seconds,
                    time_us: origin.time_us,
                };
                self.take(&log, sealed)?;
                if self.opened.is_some() {
                    return Err(self.malformed("TRANSACTION_PAYLOAD", "compressed twice"));
                }
                let rest = rest.filter(|payload| !payload.is_done());
                self.opened = rest.map(|payload| Opened::Payload(payload, origin));
                Ok(())
            }
        }
    }

    /// An event of MariaDB's that is compressed by itself.
    pub(super) fn inflate(
        &mut self,
        log: &LogEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let plain = log.event.inflate().map_err(|source| self.event_error(source))?;
        let Some((code, data)) = plain else {
            return self.inflate_rows(log, Box::new(Cursor::new(log.event.data.to_vec())), sealed);
        };
        let event = Event { code, flags: log.event.flags, data: &data };
        self.take(&LogEvent { event, ..*log }, sealed)
    }

    fn inflate_rows(
        &mut self,
        log: &LogEvent<'_>,
        packed: Box<dyn Read + Send>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let opened = rows_stream(log.event.code, packed);
        let (code, mut plain, bytes) = opened.map_err(|error| self.stream_error(error))?;
        if bytes > EVENT_BYTES_HELD_MAX {
            let origin = Origin { span: log.span, time_us: log.time_us };
            return self.open_rows(code, RowSource::Alone(plain), bytes, origin, sealed);
        }
        let mut data = Vec::new();
        plain.read_to_end(&mut data).map_err(|error| self.stream_error(error.into()))?;
        if data.len() as u64 != bytes {
            return Err(self.malformed("rows", "it unpacks to less than it announces"));
        }
        let event = Event { code, flags: log.event.flags, data: &data };
        self.take(&LogEvent { event, ..*log }, sealed)
    }

    fn open_rows(
        &mut self,
        code: u8,
        source: RowSource,
        bytes: u64,
        origin: Origin,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        if !self.carries_at_once(sealed)? {
            return self.drain(source, origin);
        }
        let stream = RowStream::open(code, source, bytes);
        let stream = stream.map_err(|error| self.stream_error(error))?;
        let (plan, carried) = self.plan_of(stream.table_id)?;
        let rows = OpenRows { stream, plan, carried, origin };
        self.opened = Some(Opened::Rows(Box::new(rows)));
        Ok(())
    }

    /// Passes over rows that were carried before.
    fn drain(&mut self, source: RowSource, origin: Origin) -> Result<(), CaptureError> {
        if let RowSource::Inside(mut body) = source {
            io::copy(&mut body, &mut io::sink()).map_err(CaptureError::Stored)?;
            let payload = body.finish().map_err(|source| self.event_error(source))?;
            self.opened = Some(Opened::Payload(payload, origin));
        }
        self.past(origin);
        Ok(())
    }

    fn go_on(
        &mut self,
        mut rows: Box<OpenRows>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        for _ in 0..STEPS {
            let OpenRows { stream, plan, carried, .. } = &mut *rows;
            if !self.step(stream, plan, *carried, sealed)? {
                return self.close(*rows);
            }
            if !sealed.is_empty() {
                break;
            }
        }
        self.opened = Some(Opened::Rows(rows));
        Ok(())
    }

    fn close(&mut self, rows: OpenRows) -> Result<(), CaptureError> {
        match rows.stream.into_inner() {
            RowSource::Alone(_) => {}
            RowSource::Inside(body) => {
                let payload = body.finish().map_err(|source| self.event_error(source))?;
                self.opened = Some(Opened::Payload(payload, rows.origin));
            }
        }
        self.past(rows.origin);
        Ok(())
    }

    fn past(&mut self, origin: Origin) {
        if let Some((_, end)) = origin.span {
            self.offset = end;
        }
    }

    pub(super) fn stream_error(&self, error: StreamError) -> CaptureError {
        match error {
            StreamError::Event(source) => self.event_error(source),
            StreamError::Io(source) => CaptureError::Stored(source),
        }
    }

    /// The plan of a table, and whether its rows are carried.
    pub(super) fn plan_of(&self, table_id: u64) -> Result<(Arc<TablePlan>, bool), CaptureError> {
        if self.open.as_ref().is_none_or(|open| !open.begun) {
            return Err(self.malformed("rows", "rows outside a transaction"));
        }
        match self.maps.get(&table_id) {
            None => Err(self.malformed("rows", "rows without a table map")),
            Some(Mapped { plan, left, .. }) => {
                let known = self.open.as_ref().is_some_and(|open| open.known);
                Ok((Arc::clone(plan), !*left && !known))
            }
        }
    }
}
