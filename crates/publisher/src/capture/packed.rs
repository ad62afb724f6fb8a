//! Compressed transactions and events.

use super::{Capture, CaptureError, LogEvent};
use tributary_binlog::{Event, Payload};
use tributary_wire::Seal;

/// A TRANSACTION_PAYLOAD event: what has not been taken of it, and what its common header says.
pub(super) struct Packed {
    payload: Payload,
    span: Option<(u64, u64)>,
    time_us: i64,
}

// === impl Capture ===

impl Capture {
    /// True while a compressed transaction is open: [`Capture::unpack`] comes before the next event.
    pub fn is_unpacking(&self) -> bool {
        self.packed.is_some()
    }

    /// Takes the next event of a compressed transaction. One at a time, so that a transaction of any
    /// size waits for the batches that it fills.
    ///
    /// # Errors
    /// [`CaptureError`]; this pass is then over.
    pub fn unpack(&mut self, sealed: &mut Vec<Seal>) -> Result<(), CaptureError> {
        let Some(mut packed) = self.packed.take() else { return Ok(()) };
        let inner = packed.payload.next_event().map_err(|source| self.event_error(source))?;
        let Some(inner) = inner else { return Ok(()) };
        let log = LogEvent {
            event: inner.event(),
            span: packed.span,
            server_id: inner.server_id,
            seconds: inner.seconds,
            time_us: packed.time_us,
        };
        self.take(&log, sealed)?;
        self.packed = Some(packed).filter(|packed| !packed.payload.is_done());
        Ok(())
    }

    pub(super) fn open_payload(&mut self, log: &LogEvent<'_>) -> Result<(), CaptureError> {
        let payload = Payload::open(log.event.data).map_err(|source| self.event_error(source))?;
        self.packed = Some(Packed { payload, span: log.span, time_us: log.time_us });
        Ok(())
    }

    pub(super) fn inflate(
        &mut self,
        log: &LogEvent<'_>,
        sealed: &mut Vec<Seal>,
    ) -> Result<(), CaptureError> {
        let plain = log.event.inflate().map_err(|source| self.event_error(source))?;
        let Some((code, data)) = plain else { return Ok(()) };
        let event = Event { code, flags: log.event.flags, data: &data };
        self.take(&LogEvent { event, ..*log }, sealed)
    }
}
