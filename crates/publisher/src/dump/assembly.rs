//! One event out of its packet's pieces: in memory when it is small, else in a file without a name.

use crate::Error;
use crate::capture::StoredBody;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tributary_wire::Position;

/// An event of more bytes than this is set aside on disk.
pub const EVENT_BYTES_HELD_MAX: usize = 1 << 20;
const HEADER_BYTES: usize = 19;
const CHECKSUM_BYTES: usize = 4;
const FORMAT_DESCRIPTION: u8 = 15;
/// `LOG_EVENT_BINLOG_IN_USE_F`: set while a file is written, and not part of its checksum.
const IN_USE: u8 = 1;
const FLAGS_AT: usize = 17;
const CRC32: u8 = 1;

/// An event's common header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHeader {
    /// When its statement began, Unix seconds.
    pub seconds: u32,
    /// Its type.
    pub code: u8,
    /// The server that wrote it.
    pub server_id: u32,
    /// Its size in bytes, with header and checksum.
    pub bytes: u32,
    /// The lower 32 bits of the offset at which the next event begins.
    pub end: u32,
    /// Its flags.
    pub flags: u16,
}

/// What follows the header, without the checksum.
#[derive(Debug)]
pub enum EventBody {
    /// In memory: the whole event, and where its body lies in it.
    Held(Vec<u8>, std::ops::Range<usize>),
    /// On disk.
    Spooled(Spooled),
}

/// The body of a large event, in a file that nobody else can see and that goes when it is dropped.
#[derive(Debug)]
pub struct Spooled {
    file: File,
    bytes: u64,
}

/// An event that has arrived whole.
#[derive(Debug)]
pub struct Received {
    /// What its header says.
    pub header: EventHeader,
    /// Its body.
    pub body: EventBody,
    /// Its CRC32 is the one that it carries, or it carries none.
    pub intact: bool,
    /// The CRC32 over its bytes but the checksum; 0 for one that was set aside.
    pub crc32: u32,
}

pub(super) enum Arrived {
    Event(Received),
    /// The server has ended the stream.
    End,
    /// An ERR packet.
    Refusal(Vec<u8>),
}

/// What has arrived of a packet: a status byte and an event.
pub(super) struct Assembly {
    dir: PathBuf,
    status: Option<u8>,
    held: Vec<u8>,
    spool: Option<Spool>,
    /// The events of this file end in a checksum.
    checksums: bool,
    /// Where the newest whole event ends, for messages.
    after: u32,
}

struct Spool {
    file: File,
    header: [u8; HEADER_BYTES],
    bytes: u64,
    /// Over what has been written, up to the checksum.
    crc: crc32fast::Hasher,
    crc_left: u64,
}

// === impl Assembly ===

impl Assembly {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            status: None,
            held: Vec::new(),
            spool: None,
            checksums: false,
            after: 0,
        }
    }

    /// Takes the next bytes of the packet. Writing goes to the system's cache, so it does not wait.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut bytes = bytes;
        if self.status.is_none() {
            let Some((status, rest)) = bytes.split_first() else { return Ok(()) };
            self.status = Some(*status);
            bytes = rest;
        }
        let disk = |source| Error::Spool { dir: self.dir.clone(), source };
        if self.spool.is_none() && self.held.len() + bytes.len() > EVENT_BYTES_HELD_MAX {
            let Some(header) = self.held.first_chunk() else { return Err(self.framing()) };
            self.spool = Some(Spool::begin(&self.dir, header, &self.held).map_err(disk)?);
            self.held.clear();
        }
        match &mut self.spool {
            Some(spool) => spool.write(bytes).map_err(disk)?,
            None => self.held.extend_from_slice(bytes),
        }
        Ok(())
    }

    /// The packet is at its end.
    pub(super) fn finish(&mut self) -> Result<Arrived, Error> {
        match self.status.take() {
            Some(0x00) => {}
            Some(0xfe) if self.spool.is_none() && self.held.len() < 8 => return Ok(Arrived::End),
            Some(0xff) if self.spool.is_none() => {
                self.held.insert(0, 0xff);
                return Ok(Arrived::Refusal(std::mem::take(&mut self.held)));
            }
            _ => return Err(self.framing()),
        }
        let received = match self.spool.take() {
            Some(spool) => self.spooled(spool)?,
            None => self.held()?,
        };
        self.after = received.header.end;
        Ok(Arrived::Event(received))
    }

    fn held(&mut self) -> Result<Received, Error> {
        let event = std::mem::take(&mut self.held);
        let Some(header) = event.first_chunk().map(EventHeader::parse) else {
            return Err(self.framing());
        };
        if header.bytes as usize != event.len() {
            return Err(self.framing());
        }
        if header.code == FORMAT_DESCRIPTION {
            // Ends in the algorithm and, whatever it is, a checksum.
            let algorithm = event.len().checked_sub(CHECKSUM_BYTES + 1);
            self.checksums = algorithm.and_then(|at| event.get(at)) == Some(&CRC32);
        }
        let checksum = if self.checksums { CHECKSUM_BYTES } else { 0 };
        let Some(end) = event.len().checked_sub(checksum).filter(|end| *end >= HEADER_BYTES) else {
            return Err(self.framing());
        };
        let crc32 = checksum_of(&event[..end]);
        let intact = !self.checksums || crc32.to_le_bytes() == event[end..];
        Ok(Received { header, body: EventBody::Held(event, HEADER_BYTES..end), intact, crc32 })
    }

    fn spooled(&self, mut spool: Spool) -> Result<Received, Error> {
        let header = EventHeader::parse(&spool.header);
        if u64::from(header.bytes) != spool.bytes {
            return Err(self.framing());
        }
        let mut bytes = spool.bytes - HEADER_BYTES as u64;
        let mut intact = true;
        if self.checksums {
            let disk = |source| Error::Spool { dir: self.dir.clone(), source };
            bytes -= CHECKSUM_BYTES as u64;
            intact = spool.checksum().map_err(disk)? == spool.crc.finalize().to_le_bytes();
        }
        Ok(Received {
            header,
            body: EventBody::Spooled(Spooled { file: spool.file, bytes }),
            intact,
            crc32: 0,
        })
    }

    /// Takes an event's memory back.
    pub(super) fn recycle(&mut self, event: Received) {
        if let EventBody::Held(mut memory, _) = event.body
            && memory.capacity() > self.held.capacity()
            && self.held.is_empty()
        {
            memory.clear();
            self.held = memory;
        }
    }

    fn framing(&self) -> Error {
        Error::Framing { after: Position::boundary(0, 0, u64::from(self.after)) }
    }
}

fn checksum_of(event: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let in_use = event[4] == FORMAT_DESCRIPTION && event[FLAGS_AT] & IN_USE != 0;
    if in_use {
        crc.update(&event[..FLAGS_AT]);
        crc.update(&[event[FLAGS_AT] & !IN_USE]);
        crc.update(&event[FLAGS_AT + 1..]);
    } else {
        crc.update(event);
    }
    crc.finalize()
}

// === impl Spool ===

impl Spool {
    fn begin(dir: &Path, header: &[u8; HEADER_BYTES], held: &[u8]) -> io::Result<Self> {
        let checked = u64::from(EventHeader::parse(header).bytes);
        let mut spool = Self {
            file: tempfile::tempfile_in(dir)?,
            header: *header,
            bytes: 0,
            crc: crc32fast::Hasher::new(),
            crc_left: checked.saturating_sub(CHECKSUM_BYTES as u64),
        };
        spool.write(held)?;
        Ok(spool)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        let covered = usize::try_from(self.crc_left).unwrap_or(usize::MAX).min(bytes.len());
        self.crc.update(&bytes[..covered]);
        self.crc_left -= covered as u64;
        Ok(())
    }

    /// The last four bytes.
    fn checksum(&mut self) -> io::Result<[u8; CHECKSUM_BYTES]> {
        let mut checksum = [0; CHECKSUM_BYTES];
        self.file.seek(SeekFrom::End(-4))?;
        self.file.read_exact(&mut checksum)?;
        Ok(checksum)
    }
}

// === impl Spooled ===

impl Spooled {
    /// The body, from its beginning.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn into_body(mut self) -> io::Result<StoredBody> {
        self.file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
        let reader = Box::new(BufReader::new(self.file.take(self.bytes)));
        Ok(StoredBody { reader, bytes: self.bytes })
    }
}

// === impl EventHeader ===

impl EventHeader {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            seconds: u32_at(0),
            code: bytes[4],
            server_id: u32_at(5),
            bytes: u32_at(9),
            end: u32_at(13),
            flags: u16::from_le_bytes([bytes[FLAGS_AT], bytes[FLAGS_AT + 1]]),
        }
    }
}
