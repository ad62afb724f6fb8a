//! TRANSACTION_PAYLOAD: a transaction of MySQL 8.0.20 and later whose events were compressed together
//! (`libs/mysql/binlog/event/codecs/binary.cpp`).
//!
//! The header is a list of fields, each a type, a length and a value, all length-encoded integers. What
//! follows is a stream of events with their common headers and without checksums.

use crate::reader::Reader;
use crate::{BinlogError, Event};
use std::io::{self, BufRead, Cursor, Read};

const NAME: &str = "TRANSACTION_PAYLOAD";
/// The common header of an event: seconds (4), type (1), server id (4), size (4), end (4), flags (2).
const HEADER_BYTES: usize = 19;
/// No server writes a larger one: `max_allowed_packet` goes up to this.
const EVENT_BYTES_MAX: u64 = 1 << 30;
/// A rows event of more bytes is read as a stream; no other is this large in a transaction that a
/// message can hold.
const EVENT_BYTES_HELD_MAX: u64 = 1 << 20;
/// The header's fields are numbers; a field that is not known is passed over up to this length.
const FIELD_BYTES_MAX: u64 = 1 << 10;

/// Where a payload is read from.
type Packed = io::Take<Box<dyn BufRead + Send>>;

/// The events of a compressed transaction, unpacked one at a time.
///
/// In memory are zstd's window (2 MiB at the server's default level, at most 128 MiB) and one event, of
/// at most 1 MiB when it holds rows.
pub struct Payload {
    stream: Stream,
    /// What the header announces and has not come out yet, in bytes.
    left: u64,
    /// The header of the event that comes next; `None` behind the last.
    next: Option<[u8; HEADER_BYTES]>,
}

enum Stream {
    Plain(Packed),
    Zstd(Box<zstd::stream::read::Decoder<'static, Packed>>),
}

/// What comes next in a [`Payload`].
pub enum Inner {
    /// An event.
    Event(InnerEvent),
    /// A rows event that is too large to be held: type, and the payload, to read its body from.
    Rows(u8, InnerBody),
}

/// An event of a [`Payload`], with what its common header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerEvent {
    /// When its statement began, Unix seconds.
    pub seconds: u32,
    /// The type code.
    pub code: u8,
    /// The server that wrote it.
    pub server_id: u32,
    /// The flags.
    pub flags: u16,
    /// What follows the common header.
    pub data: Vec<u8>,
}

/// The body of one event of a [`Payload`], as a stream.
pub struct InnerBody {
    payload: Payload,
    left: u64,
}

/// What the header says.
struct Head {
    zstd: bool,
    bytes: u64,
}

// === impl Head ===

impl Head {
    /// Reads up to where the packed events begin; `left` is how many bytes follow.
    fn read(data: &mut Packed) -> Result<Self, BinlogError> {
        const END: u64 = 0;
        const PACKED_BYTES: u64 = 1;
        const COMPRESSION: u64 = 2;
        const BYTES: u64 = 3;
        const ZSTD: u64 = 0;
        const NONE: u64 = 255;
        let (mut compression, mut packed_bytes, mut bytes) = (None, None, None);
        loop {
            let field = lenenc(data)?;
            if field == END {
                break;
            }
            let length = lenenc(data)?;
            let value = read(data, length.min(FIELD_BYTES_MAX))?;
            if value.len() as u64 != length {
                return Err(BinlogError::malformed(NAME, format!("a field of {length} bytes")));
            }
            let mut value = Reader::new(NAME, &value);
            match field {
                PACKED_BYTES => packed_bytes = Some(value.lenenc()?),
                COMPRESSION => compression = Some(value.lenenc()?),
                BYTES => bytes = Some(value.lenenc()?),
                // Every reader of the server passes over a field that it does not know.
                _ => {}
            }
        }
        let error = |detail: String| Err(BinlogError::malformed(NAME, detail));
        if packed_bytes != Some(data.limit()) {
            return error(format!(
                "{packed_bytes:?} bytes are announced and {} follow",
                data.limit()
            ));
        }
        match (compression, bytes, packed_bytes) {
            (Some(ZSTD), Some(bytes), _) => Ok(Self { zstd: true, bytes }),
            (Some(NONE), None, Some(bytes)) => Ok(Self { zstd: false, bytes }),
            (Some(NONE), Some(bytes), packed_bytes) if Some(bytes) == packed_bytes => {
                Ok(Self { zstd: false, bytes })
            }
            (Some(ZSTD | NONE), ..) => error("its unpacked size is missing or wrong".to_owned()),
            (Some(other), ..) => Err(BinlogError::Unsupported(format!(
                "a transaction is compressed in way {other}, which is unknown to this build: upgrade the publisher"
            ))),
            (None, ..) => error("it does not say how it is compressed".to_owned()),
        }
    }
}

fn lenenc(data: &mut Packed) -> Result<u64, BinlogError> {
    let mut number = read(data, 1)?;
    let more = match number.first() {
        Some(0xfc) => 2,
        Some(0xfd) => 3,
        Some(0xfe) => 8,
        _ => 0,
    };
    number.extend(read(data, more)?);
    Reader::new(NAME, &number).lenenc()
}

fn read(data: &mut Packed, bytes: u64) -> Result<Vec<u8>, BinlogError> {
    let mut out = Vec::new();
    data.by_ref().take(bytes).read_to_end(&mut out).map_err(damaged)?;
    Ok(out)
}

// === impl Payload ===

impl Payload {
    /// Opens the body of a TRANSACTION_PAYLOAD event.
    ///
    /// # Errors
    /// When the header is malformed, or names a compression that this build does not know.
    pub fn open(data: &[u8]) -> Result<Self, BinlogError> {
        Self::read_from(Box::new(Cursor::new(data.to_vec())), data.len() as u64)
    }

    /// The same, of a body of `bytes` bytes that is not in memory.
    ///
    /// # Errors
    /// As [`Payload::open`].
    pub fn read_from(body: Box<dyn BufRead + Send>, bytes: u64) -> Result<Self, BinlogError> {
        let mut packed = body.take(bytes);
        let head = Head::read(&mut packed)?;
        let stream = if head.zstd {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(damaged)?;
            Stream::Zstd(Box::new(decoder))
        } else {
            Stream::Plain(packed)
        };
        let mut payload = Self { stream, left: head.bytes, next: None };
        payload.look_ahead()?;
        Ok(payload)
    }

    /// True when every event has been taken, and they added up to what the header announces.
    pub fn is_done(&self) -> bool {
        self.next.is_none()
    }

    /// Unpacks the next event; `None` behind the last.
    ///
    /// The last event comes out only after everything has been found to add up, so that no commit is
    /// seen of a transaction that is damaged.
    ///
    /// # Errors
    /// When the stream is damaged or cut off, when the sizes contradict each other, or for an event
    /// that cannot be part of a transaction.
    pub fn next_event(mut self) -> Result<Option<(Inner, Option<Self>)>, BinlogError> {
        let Some(header) = self.next.take() else { return Ok(None) };
        let mut reader = Reader::new(NAME, &header);
        let (seconds, code, server_id) = (reader.u32()?, reader.u8()?, reader.u32()?);
        let size = u64::from(reader.u32()?);
        reader.take(4)?;
        let flags = reader.u16()?;
        let body = size.checked_sub(HEADER_BYTES as u64);
        let body = body.filter(|body| *body <= self.left.min(EVENT_BYTES_MAX));
        let body = body.ok_or_else(|| {
            reader.error(format!("an event of {size} bytes with {} left", self.left))
        })?;
        // ROTATE, FORMAT_DESCRIPTION, the GTID events, and itself.
        if matches!(code, 4 | 15 | 33..=35 | 40 | 42) {
            return Err(reader.error(format!("an event of type {code} inside")));
        }
        if size > EVENT_BYTES_HELD_MAX && matches!(code, 23..=25 | 30..=32) {
            let body = InnerBody { payload: self, left: body };
            return Ok(Some((Inner::Rows(code, body), None)));
        }
        let mut data = Vec::new();
        self.read(body, &mut data)?;
        self.look_ahead()?;
        let event = InnerEvent { seconds, code, server_id, flags, data };
        Ok(Some((Inner::Event(event), Some(self))))
    }

    /// Reads the header of the event that follows, or finds that nothing does.
    fn look_ahead(&mut self) -> Result<(), BinlogError> {
        let mut header = Vec::new();
        if self.left > 0 {
            self.read(HEADER_BYTES as u64, &mut header)?;
            self.next = header.as_slice().try_into().ok();
            return Ok(());
        }
        self.fill(1, &mut header)?;
        if header.is_empty() {
            return Ok(());
        }
        Err(BinlogError::malformed(NAME, "it unpacks to more than it announces"))
    }

    /// Reads exactly `bytes` of what is announced.
    fn read(&mut self, bytes: u64, out: &mut Vec<u8>) -> Result<(), BinlogError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| {
            BinlogError::malformed(NAME, format!("{bytes} bytes wanted, {} left", self.left))
        })?;
        self.fill(bytes, out)?;
        if out.len() as u64 == bytes {
            return Ok(());
        }
        Err(BinlogError::malformed(NAME, "it unpacks to less than it announces"))
    }

    /// Reads up to `bytes`. Memory grows with what comes out, not with what was asked for.
    fn fill(&mut self, bytes: u64, out: &mut Vec<u8>) -> Result<(), BinlogError> {
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.take(bytes).read_to_end(out),
            Stream::Zstd(stream) => stream.take(bytes).read_to_end(out),
        };
        read.map(drop).map_err(damaged)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn damaged(error: io::Error) -> BinlogError {
    BinlogError::malformed(NAME, error.to_string())
}

// === impl InnerBody ===

impl InnerBody {
    /// How many bytes are left of it.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The payload, behind this event.
    ///
    /// # Errors
    /// When the body has not been read whole, and as [`Payload::next_event`].
    pub fn finish(mut self) -> Result<Payload, BinlogError> {
        if self.left > 0 {
            return Err(BinlogError::malformed(NAME, format!("{} bytes are left over", self.left)));
        }
        self.payload.look_ahead()?;
        Ok(self.payload)
    }
}

impl Read for InnerBody {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = match &mut self.payload.stream {
            Stream::Plain(stream) => stream.read(&mut out[..wanted]),
            Stream::Zstd(stream) => stream.read(&mut out[..wanted]),
        };
        let read = read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.left -= read as u64;
        self.payload.left -= read as u64;
        Ok(read)
    }
}

// === impl InnerEvent ===

impl InnerEvent {
    /// As if it had been read from the log.
    pub fn event(&self) -> Event<'_> {
        Event { code: self.code, flags: self.flags, data: &self.data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(code: u8, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER_BYTES + body.len()).expect("small");
        let mut event = 7u32.to_le_bytes().to_vec();
        event.push(code);
        event.extend(9u32.to_le_bytes());
        event.extend(size.to_le_bytes());
        event.extend([0, 0, 0, 0, 0x80, 0]);
        event.extend(body);
        event
    }

    /// A field of the header whose value takes nine bytes.
    fn field(kind: u8, value: u64) -> Vec<u8> {
        let mut field = vec![kind, 9, 0xfe];
        field.extend(value.to_le_bytes());
        field
    }

    fn payload(compression: u64, bytes: Option<u64>, packed: &[u8]) -> Vec<u8> {
        let mut data = [field(2, compression), field(1, packed.len() as u64)].concat();
        data.extend(bytes.map(|bytes| field(3, bytes)).unwrap_or_default());
        data.push(0);
        data.extend(packed);
        data
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).expect("packs")
    }

    /// What comes out before it fails, and whether it does.
    fn until_error(data: &[u8]) -> Vec<InnerEvent> {
        let (mut payload, mut events) = (Payload::open(data).ok(), Vec::new());
        while let Some(open) = payload.take() {
            if let Ok(Some((Inner::Event(event), rest))) = open.next_event() {
                events.push(event);
                payload = rest;
            }
        }
        events
    }

    fn unpack(data: &[u8]) -> Result<Vec<InnerEvent>, BinlogError> {
        let (mut payload, mut events) = (Some(Payload::open(data)?), Vec::new());
        while let Some(open) = payload.take() {
            let Some((inner, rest)) = open.next_event()? else { break };
            match inner {
                Inner::Event(event) => {
                    events.push(event);
                    payload = rest;
                }
                Inner::Rows(code, mut body) => {
                    let mut data = Vec::new();
                    body.read_to_end(&mut data).map_err(damaged)?;
                    events.push(InnerEvent { seconds: 0, code, server_id: 0, flags: 0, data });
                    payload = Some(body.finish()?);
                }
            }
        }
        Ok(events)
    }

    #[test]
    fn events_come_out_one_by_one_packed_or_not() {
        let events = [event(2, b"BEGIN"), event(16, &[1; 8])].concat();
        let whole = Some(events.len() as u64);
        for data in [
            payload(0, whole, &zstd(&events)),
            payload(255, None, &events),
            payload(255, whole, &events),
        ] {
            let inner = unpack(&data).expect("unpacks");
            assert_eq!(inner.len(), 2);
            assert_eq!(inner[0].event().data, b"BEGIN");
            let last =
                InnerEvent { seconds: 7, code: 16, server_id: 9, flags: 0x80, data: vec![1; 8] };
            assert_eq!(inner[1], last);
        }
    }

    #[test]
    fn a_large_rows_event_is_read_as_a_stream_and_what_follows_it_is_found() {
        let rows = event(30, &vec![5; 3 << 20]);
        let events = [event(2, b"BEGIN"), rows, event(16, &[1; 8])].concat();
        let bytes = Some(events.len() as u64);
        let inner = unpack(&payload(0, bytes, &zstd(&events))).expect("unpacks");
        assert_eq!(inner.iter().map(|event| event.code).collect::<Vec<_>>(), [2, 30, 16]);
        assert!(inner[1].data == vec![5; 3 << 20]);
        let short = payload(0, bytes, &zstd(&events[..events.len() - 50]));
        assert!(unpack(&short).is_err(), "cut off");
    }

    #[test]
    fn what_does_not_add_up_is_refused_before_the_last_event_comes_out() {
        let events = [event(2, b"BEGIN"), event(16, &[1; 8])].concat();
        let bytes = events.len() as u64;
        let packed = zstd(&events);
        let truncated = zstd(&events[..events.len() - 3]);
        let cases = [
            ("more declared than there is", payload(0, Some(bytes + 1), &packed)),
            ("a header more declared", payload(0, Some(bytes + 19), &packed)),
            ("less declared than there is", payload(0, Some(bytes - 1), &packed)),
            ("the last event left out", payload(0, Some(bytes - 27), &packed)),
            ("nothing declared", payload(0, None, &packed)),
            ("an absurd size", payload(0, Some(u64::MAX), &packed)),
            ("the stream cut off", payload(0, Some(bytes), &packed[..packed.len() - 4])),
            ("an event cut off", payload(0, Some(bytes - 3), &truncated)),
            (
                "bytes behind the frame",
                payload(0, Some(bytes), &[packed.clone(), vec![0]].concat()),
            ),
            ("a second frame", payload(0, Some(bytes), &[packed.clone(), packed.clone()].concat())),
            ("plain with another size", payload(255, Some(bytes - 1), &events)),
        ];
        for (what, data) in cases {
            assert!(until_error(&data).iter().all(|event| event.code != 16), "{what}");
            assert!(unpack(&data).is_err(), "{what}");
        }
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let events = event(16, &[1; 8]);
        let bytes = events.len() as u64;
        let data = payload(0, Some(bytes), &zstd(&events));
        assert!(unpack(&data[..data.len() - 1]).is_err(), "cut off");
        assert!(unpack(&[data.clone(), vec![0]].concat()).is_err(), "trailing");
        assert!(unpack(&[]).is_err());
        assert!(unpack(&[0]).is_err(), "no field at all");
        let error = unpack(&payload(1, Some(bytes), &events)).expect_err("unknown");
        assert!(error.to_string().contains("way 1"), "{error}");
    }

    #[test]
    fn events_that_no_transaction_holds_are_refused() {
        for code in [4, 15, 33, 34, 35, 40, 42] {
            let events = event(code, &[0; 30]);
            assert!(unpack(&payload(255, None, &events)).is_err(), "{code}");
        }
        let mut short = event(16, &[]);
        short[9] = 5;
        assert!(unpack(&payload(255, None, &short)).is_err(), "shorter than its header");
        let mut long = event(16, &[]);
        long[9..13].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(unpack(&payload(255, None, &long)).is_err(), "longer than the payload");
    }
}
