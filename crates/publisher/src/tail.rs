//! The binlog stream: events as the server sends them, their checksums verified.

use crate::Error;
use crate::capture::LogEvent;
use crate::config::SourceConfig;
use crate::source::{self, Facts, Flavour, lost_or_refused};
use futures_util::{FutureExt, StreamExt};
use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::Event as RawEvent;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tributary_binlog::{Event, payload};
use tributary_wire::{DeviceId, Position};

/// A source's binlog from a position on.
pub struct Tail {
    stream: BinlogStream,
    address: String,
    silence_max: Duration,
    heard: Instant,
    /// Where the next event begins; 64 bits, where the header has 32.
    offset: u64,
    /// The format of this connection's events has been announced.
    announced: bool,
    /// The driver repeats a compressed transaction's events after it; so many bytes of them are left.
    repeated_bytes: u64,
}

/// One event, owned.
pub struct TailEvent {
    raw: RawEvent,
    span: Option<(u64, u64)>,
    time_us: i64,
}

const ARTIFICIAL: u16 = 0x20;
const HEARTBEAT: u8 = 27;
const HEARTBEAT_V2: u8 = 41;
const ROTATE: u8 = 4;
const TRANSACTION_PAYLOAD: u8 = 40;
/// The type code of the event that announces a file's format.
pub const FORMAT_DESCRIPTION: u8 = 15;
const HEADER_BYTES: u64 = 19;

// === impl Tail ===

impl Tail {
    /// Asks for the log from `at` on, a boundary in file `file`.
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
    ) -> Result<Self, Error> {
        let address = config.address();
        let mut conn = source::connect(config).await?;
        let heartbeat_ns = u64::from(config.heartbeat_seconds) * 1_000_000_000;
        // 8.4 prefers the second name; MariaDB sends its GTID events only to who says that it knows them.
        let mut setup = format!(
            "SET @master_heartbeat_period={heartbeat_ns}, @source_heartbeat_period={heartbeat_ns}"
        );
        if facts.flavour == Flavour::MariaDb {
            setup.push_str(", @mariadb_slave_capability=4");
        }
        let refused = |error| lost_or_refused(&address, error);
        conn.query_drop(setup).await.map_err(refused)?;
        // COM_BINLOG_DUMP has 32 bits for the offset. A boundary lies beyond only at the end of a file
        // whose last transaction is larger than 3 GiB.
        if u32::try_from(at.offset).is_err() {
            return Err(Error::OutOfReach {
                reason: format!("the offset of {at} has more than 32 bits"),
            });
        }
        let request = BinlogStreamRequest::new(config.replica_id(device))
            .with_filename(file.as_bytes())
            .with_pos(at.offset);
        let stream = conn.get_binlog_stream(request).await.map_err(refused)?;
        let silence_max = Duration::from_secs(u64::from(config.heartbeat_seconds) * 3);
        Ok(Self {
            stream,
            address,
            silence_max,
            heard: Instant::now(),
            offset: at.offset,
            announced: false,
            repeated_bytes: 0,
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
            let raw = self.receive().await?;
            if self.repeated_bytes > 0 {
                self.pass_over(&raw)?;
                continue;
            }
            let code = raw.header().event_type_raw();
            if code == TRANSACTION_PAYLOAD {
                // Capture refuses one whose header cannot be read.
                self.repeated_bytes = payload::unpacked_bytes(raw.data()).unwrap_or(0);
            }
            self.announced |= code == FORMAT_DESCRIPTION;
            // Before the format is announced, the server repeats the place it was asked for, and the
            // driver cannot know yet whether that ends in a checksum.
            if self.announced {
                return self.accept(raw);
            }
        }
    }

    /// Capture unpacks a compressed transaction itself, and checks that it adds up: the driver says
    /// nothing when it does not. What the driver unpacked is passed over.
    fn pass_over(&mut self, raw: &RawEvent) -> Result<(), Error> {
        let bytes = u64::from(raw.header().event_size());
        let left = self.repeated_bytes.checked_sub(bytes);
        let after = Position::boundary(0, 0, self.offset);
        self.repeated_bytes = left.ok_or(Error::Framing { after })?;
        Ok(())
    }

    async fn receive(&mut self) -> Result<RawEvent, Error> {
        // The driver unwraps where an event's length exceeds its packet.
        let next = AssertUnwindSafe(self.stream.next()).catch_unwind();
        let deadline = self.heard + self.silence_max;
        let Ok(next) = tokio::time::timeout_at(deadline, next).await else {
            return Err(Error::SourceSilent {
                address: self.address.clone(),
                seconds: self.silence_max.as_secs(),
            });
        };
        let after = Position::boundary(0, 0, self.offset);
        let raw = match next.map_err(|_| Error::Framing { after })? {
            None => return Err(Error::SourceEnded { address: self.address.clone() }),
            Some(Err(error)) => return Err(stream_error(&self.address, error)),
            Some(Ok(raw)) => raw,
        };
        self.heard = Instant::now();
        Ok(raw)
    }

    fn accept(&mut self, raw: RawEvent) -> Result<TailEvent, Error> {
        let header = raw.header();
        let code = header.event_type_raw();
        let flags = header.flags_raw();
        let made_up = flags & ARTIFICIAL != 0
            || header.log_pos() == 0
            || matches!(code, HEARTBEAT | HEARTBEAT_V2);
        if !checksum_holds(&raw) {
            return Err(Error::Checksum {
                at: Position::boundary(0, 0, u64::from(header.log_pos())),
            });
        }
        let span = (!made_up).then(|| {
            let end = widen(header.log_pos(), self.offset);
            (end.saturating_sub(u64::from(header.event_size())), end)
        });
        if let Some((_, end)) = span {
            self.offset = end;
        }
        if code == ROTATE {
            // The next file's events count from where it says.
            let body: Option<[u8; 8]> = raw.data().first_chunk().copied();
            self.offset = body.map_or(4, u64::from_le_bytes);
        }
        Ok(TailEvent { span, time_us: commit_time_us(header.timestamp()), raw })
    }
}

/// What the server says when it cannot serve the log is said for good; a broken line is not.
fn stream_error(address: &str, error: mysql_async::Error) -> Error {
    // ER_MASTER_FATAL_ERROR_READING_BINLOG: purged, or a position that is no event's beginning.
    const FATAL_READING_BINLOG: u16 = 1236;
    match &error {
        mysql_async::Error::Server(server) if server.code == FATAL_READING_BINLOG => {
            Error::OutOfReach {
                reason: format!(
                    "source {address} cannot serve its log from there: {}",
                    server.message
                ),
            }
        }
        _ => lost_or_refused(address, error),
    }
}

/// The full offset whose lower 32 bits are `low`, at or after `from`.
fn widen(low: u32, from: u64) -> u64 {
    let candidate = from & !u64::from(u32::MAX) | u64::from(low);
    if candidate < from { candidate + (1 << 32) } else { candidate }
}

fn checksum_holds(raw: &RawEvent) -> bool {
    const CRC32: BinlogChecksumAlg = BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32;
    let has_checksum = matches!(raw.footer().get_checksum_alg(), Ok(Some(alg)) if alg == CRC32);
    !has_checksum
        || raw.checksum().is_none_or(|sum| raw.calc_checksum(CRC32) == u32::from_le_bytes(sum))
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
    /// As capture takes it.
    pub fn log(&self) -> LogEvent<'_> {
        let header = self.raw.header();
        LogEvent {
            event: Event {
                code: header.event_type_raw(),
                flags: header.flags_raw(),
                data: self.raw.data(),
            },
            span: self.span,
            server_id: header.server_id(),
            seconds: header.timestamp(),
            time_us: self.time_us,
        }
    }

    /// Its size in the log, in bytes.
    pub fn bytes(&self) -> u64 {
        self.raw.data().len() as u64 + HEADER_BYTES
    }

    /// When the source wrote it, Unix seconds.
    pub fn seconds(&self) -> u32 {
        self.raw.header().timestamp()
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
