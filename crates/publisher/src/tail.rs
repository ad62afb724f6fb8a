//! The binlog stream: events as the server sends them, their checksums verified.

use crate::Error;
use crate::capture::LogEvent;
use crate::config::SourceConfig;
use crate::dump::{Dump, EventBody, EventHeader, From, Received, Spooled};
use crate::source::Facts;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tributary_binlog::Event;
use tributary_wire::{DeviceId, Position};

/// A source's binlog from a position on.
pub struct Tail {
    dump: Dump,
    address: String,
    silence_max: Duration,
    heard: Instant,
    /// Where the next event begins; 64 bits, where the header has 32.
    offset: u64,
    /// The format of this connection's events has been announced.
    announced: bool,
}

/// One event, owned.
pub struct TailEvent {
    received: Received,
    span: Option<(u64, u64)>,
    time_us: i64,
}

const ARTIFICIAL: u16 = 0x20;
const HEARTBEAT: u8 = 27;
const HEARTBEAT_V2: u8 = 41;
/// The type code of the event that names the file that follows.
pub const ROTATE: u8 = 4;
/// The type code of the event that announces a file's format.
pub const FORMAT_DESCRIPTION: u8 = 15;

// === impl Tail ===

impl Tail {
    /// Asks for the log from `at` on, a boundary in file `file`. Large events are set aside in
    /// `spool_dir`.
    ///
    /// # Errors
    /// [`Error::SourceRefused`] without REPLICATION SLAVE; [`Error::OutOfReach`] for an offset that
    /// the protocol cannot say.
    pub async fn open(
        config: &SourceConfig,
        device: &DeviceId,
        facts: &Facts,
        file: &str,
        at: Position,
        spool_dir: &Path,
    ) -> Result<Self, Error> {
        // COM_BINLOG_DUMP has 32 bits for the offset. A boundary lies beyond only at the end of a file
        // whose last transaction is larger than 3 GiB.
        let Ok(offset) = u32::try_from(at.offset) else {
            return Err(Error::OutOfReach {
                reason: format!("the offset of {at} has more than 32 bits"),
            });
        };
        let from = From::Place { file, offset };
        let dump = Dump::open(config, facts, config.replica_id(device), from, spool_dir).await?;
        let silence_max = Duration::from_secs(u64::from(config.heartbeat_seconds) * 3);
        Ok(Self {
            dump,
            address: config.address(),
            silence_max,
            heard: Instant::now(),
            offset: at.offset,
            announced: false,
        })
    }

    /// Tells that nobody is listening just now, so that the source's silence means nothing.
    pub fn pause(&mut self) {
        self.heard = Instant::now();
    }

    /// The next event. May be dropped while it waits; nothing is lost.
    ///
    /// # Errors
    /// [`Error::SourceSilent`], [`Error::SourceLost`], [`Error::SourceEnded`] when the connection ends;
    /// [`Error::Checksum`] and [`Error::Framing`] for a damaged event.
    pub async fn next(&mut self) -> Result<TailEvent, Error> {
        loop {
            let received = self.receive().await?;
            let code = received.header.code;
            self.announced |= code == FORMAT_DESCRIPTION;
            // Before the format is announced, the server repeats the place it was asked for, and
            // nobody can know yet whether that ends in a checksum.
            if self.announced {
                return self.accept(received);
            }
        }
    }

    /// Takes an event back whose memory can hold the next.
    pub fn recycle(&mut self, event: TailEvent) {
        self.dump.recycle(event.received);
    }

    async fn receive(&mut self) -> Result<Received, Error> {
        let deadline = self.heard + self.silence_max;
        let Ok(next) = tokio::time::timeout_at(deadline, self.dump.next()).await else {
            return Err(Error::SourceSilent {
                address: self.address.clone(),
                seconds: self.silence_max.as_secs(),
            });
        };
        let received = next?;
        self.heard = Instant::now();
        Ok(received)
    }

    fn accept(&mut self, received: Received) -> Result<TailEvent, Error> {
        let EventHeader { code, end, bytes, seconds, .. } = received.header;
        let made_up = is_made_up(&received.header);
        if !received.intact {
            return Err(Error::Checksum { at: Position::boundary(0, 0, u64::from(end)) });
        }
        let span = (!made_up).then(|| {
            let end = widen(end, self.offset);
            (end.saturating_sub(u64::from(bytes)), end)
        });
        if let Some((_, end)) = span {
            self.offset = end;
        }
        let event = TailEvent { received, span, time_us: commit_time_us(seconds) };
        if code == ROTATE {
            // The next file's events count from where it says.
            let body: Option<[u8; 8]> = event.held().first_chunk().copied();
            self.offset = body.map_or(4, u64::from_le_bytes);
        }
        Ok(event)
    }
}

/// True for an event that the server made for this connection, and that stands in no file.
pub(crate) fn is_made_up(header: &EventHeader) -> bool {
    header.flags & ARTIFICIAL != 0 || header.end == 0 || is_heartbeat(header.code)
}

/// True for what a server says while nothing is written.
pub(crate) fn is_heartbeat(code: u8) -> bool {
    matches!(code, HEARTBEAT | HEARTBEAT_V2)
}

/// The full offset whose lower 32 bits are `low`, at or after `from`.
pub(crate) fn widen(low: u32, from: u64) -> u64 {
    let candidate = from & !u64::from(u32::MAX) | u64::from(low);
    if candidate < from { candidate + (1 << 32) } else { candidate }
}

/// The header knows whole seconds. While an event is read within its own second, the moment of reading
/// is closer to the commit than the second's beginning.
fn commit_time_us(seconds: u32) -> i64 {
    let written_us = i64::from(seconds) * 1_000_000;
    let now_us = now_us();
    if (written_us..written_us + 1_000_000).contains(&now_us) { now_us } else { written_us }
}

/// This device's clock, microseconds since the Unix epoch.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

// === impl TailEvent ===

impl TailEvent {
    /// As capture takes it. Of an event that was set aside on disk the body is missing.
    pub fn log(&self) -> LogEvent<'_> {
        let header = &self.received.header;
        LogEvent {
            event: Event { code: header.code, flags: header.flags, data: self.held() },
            span: self.span,
            server_id: header.server_id,
            seconds: header.seconds,
            time_us: self.time_us,
        }
    }

    fn held(&self) -> &[u8] {
        match &self.received.body {
            EventBody::Held(event, body) => &event[body.clone()],
            EventBody::Spooled(_) => &[],
        }
    }

    /// The body of an event that was set aside on disk.
    pub fn take_spooled(&mut self) -> Option<Spooled> {
        let nothing = EventBody::Held(Vec::new(), 0..0);
        match std::mem::replace(&mut self.received.body, nothing) {
            EventBody::Spooled(spooled) => Some(spooled),
            held @ EventBody::Held(..) => {
                self.received.body = held;
                None
            }
        }
    }

    /// Its size in the log, in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.received.header.bytes)
    }

    /// The CRC32 over its bytes; 0 for one that was set aside on disk.
    pub fn crc32(&self) -> u32 {
        self.received.crc32
    }

    /// When the source wrote it, Unix seconds.
    pub fn seconds(&self) -> u32 {
        self.received.header.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_beyond_four_gibibytes_are_counted_on() {
        assert_eq!(widen(500, 400), 500);
        assert_eq!(widen(10, u64::from(u32::MAX) - 5), (1 << 32) + 10);
        assert_eq!(widen(20, (1 << 32) + 10), (1 << 32) + 20);
    }
}
