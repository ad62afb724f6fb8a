//! Reads from a stream of known length through a small buffer.

use crate::BinlogError;
use crate::reader::le_uint;
use std::io::{self, ErrorKind, Read};

/// How much is in memory at once, and the most that [`Window::bytes`] gives.
pub(crate) const WINDOW_BYTES: usize = 64 << 10;

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// What it holds is not understood.
    #[error(transparent)]
    Event(#[from] BinlogError),
    /// It cannot be read: the disk, not the log.
    #[error(transparent)]
    Io(io::Error),
}

/// A cursor over a stream.
pub(crate) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    at: usize,
    /// Bytes of the stream that are not in the buffer yet.
    outside: u64,
}

const NAME: &str = "rows";

// === impl StreamError ===

impl From<io::Error> for StreamError {
    /// What does not unpack is damaged, and so is what ends too early; all else is the disk.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
                Self::Event(BinlogError::malformed(NAME, error.to_string()))
            }
            _ => Self::Io(error),
        }
    }
}

// === impl Window ===

impl<R: Read> Window<R> {
    /// The next `bytes` bytes of `input`.
    pub(crate) fn new(input: R, bytes: u64) -> Self {
        Self { input, buffer: Vec::new(), at: 0, outside: bytes }
    }

    /// The stream, read to wherever the buffer reaches.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// Bytes that have not been taken.
    pub(crate) fn left(&self) -> u64 {
        self.outside + (self.buffer.len() - self.at) as u64
    }

    fn cut_off(&self, wanted: u64) -> StreamError {
        let left = self.left();
        BinlogError::malformed(NAME, format!("{wanted} bytes wanted, {left} left")).into()
    }

    /// Takes `count` bytes, at most [`WINDOW_BYTES`].
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&[u8], StreamError> {
        if count as u64 > self.left() || count > WINDOW_BYTES {
            return Err(self.cut_off(count as u64));
        }
        if self.buffer.len() - self.at < count {
            self.buffer.drain(..self.at);
            self.at = 0;
            let kept = self.buffer.len();
            let room = (WINDOW_BYTES - kept) as u64;
            let wanted = usize::try_from(room.min(self.outside)).unwrap_or(0);
            self.buffer.resize(kept + wanted, 0);
            self.input.read_exact(&mut self.buffer[kept..])?;
            self.outside -= wanted as u64;
        }
        let begin = self.at;
        self.at += count;
        Ok(&self.buffer[begin..self.at])
    }

    /// Takes an unsigned number of `count` bytes, at most 8.
    pub(crate) fn uint(&mut self, count: usize) -> Result<u64, StreamError> {
        self.bytes(count.min(8)).map(le_uint)
    }

    /// Takes a length-encoded integer.
    pub(crate) fn lenenc(&mut self) -> Result<u64, StreamError> {
        match self.uint(1)? {
            0xfc => self.uint(2),
            0xfd => self.uint(3),
            0xfe => self.uint(8),
            0xfb | 0xff => Err(BinlogError::malformed(NAME, "not a length-encoded integer").into()),
            small => Ok(small),
        }
    }

    /// Walks past `count` bytes.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), StreamError> {
        if count > self.left() {
            return Err(self.cut_off(count));
        }
        let mut left = count;
        while left > 0 {
            let step = left.min(WINDOW_BYTES as u64);
            self.bytes(usize::try_from(step).unwrap_or(WINDOW_BYTES))?;
            left -= step;
        }
        Ok(())
    }

    /// Takes `count` bytes, however many. Memory grows with what is there, not with what is asked for.
    pub(crate) fn all(&mut self, count: u64) -> Result<Vec<u8>, StreamError> {
        if count > self.left() {
            return Err(self.cut_off(count));
        }
        let mut all = Vec::new();
        let mut left = count;
        while left > 0 {
            let step = left.min(WINDOW_BYTES as u64);
            all.extend_from_slice(self.bytes(usize::try_from(step).unwrap_or(WINDOW_BYTES))?);
            left -= step;
        }
        Ok(all)
    }
}
