//! The protocol's packets over a stream: small ones whole, those of the log in pieces.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a connection runs over: TCP, or TLS on it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that counts its packets.
pub(super) struct Channel {
    stream: Box<dyn Stream>,
    buffer: Box<[u8]>,
    /// What has been received and not taken yet.
    unread: std::ops::Range<usize>,
    /// Bytes of the frame under way that have not been taken.
    frame_left: usize,
    packet: Packet,
    sequence: u8,
}

/// Where in a packet the next frame stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packet {
    /// The next frame begins one.
    Between,
    /// The frame under way is full, so another one goes on with it.
    GoesOn,
    /// The frame under way is its last.
    Ends,
}

const BUFFER_BYTES: usize = 64 << 10;
/// A frame of this length is followed by another of the same packet.
const FRAME_BYTES_MAX: usize = 0xff_ffff;
const FRAME_HEADER_BYTES: usize = 4;
/// What the connection phase and the answers to commands are held to.
const SMALL_PACKET_BYTES_MAX: usize = 1 << 20;

// === impl Channel ===

impl Channel {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER_BYTES].into(),
            unread: 0..0,
            frame_left: 0,
            packet: Packet::Between,
            sequence: 0,
        }
    }

    /// The stream, for the change to TLS: the server sends nothing before it.
    pub(super) fn into_stream(self) -> (Box<dyn Stream>, u8) {
        (self.stream, self.sequence)
    }

    /// Goes on with the numbers of another channel.
    pub(super) fn with_sequence(mut self, sequence: u8) -> Self {
        self.sequence = sequence;
        self
    }

    /// The next bytes of the packet that is arriving; `None` at its end, once. May be dropped while it
    /// waits; nothing is lost.
    pub(super) async fn chunk(&mut self) -> io::Result<Option<&[u8]>> {
        while self.frame_left == 0 {
            if self.packet == Packet::Ends {
                self.packet = Packet::Between;
                return Ok(None);
            }
            self.fill(FRAME_HEADER_BYTES).await?;
            let at = self.unread.start;
            let header = &self.buffer[at..at + FRAME_HEADER_BYTES];
            self.frame_left =
                usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            self.sequence = header[3].wrapping_add(1);
            self.unread.start += FRAME_HEADER_BYTES;
            let full = self.frame_left == FRAME_BYTES_MAX;
            self.packet = if full { Packet::GoesOn } else { Packet::Ends };
        }
        self.fill(1).await?;
        let take = self.frame_left.min(self.unread.len());
        self.frame_left -= take;
        let start = self.unread.start;
        self.unread.start += take;
        Ok(Some(&self.buffer[start..start + take]))
    }

    /// Receives until `wanted` bytes are there.
    async fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.unread.len() >= wanted {
            return Ok(());
        }
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        while self.unread.len() < wanted {
            let received = self.stream.read(&mut self.buffer[self.unread.end..]).await?;
            if received == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.end += received;
        }
        Ok(())
    }

    /// A whole packet, of at most 1 MiB.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut packet = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if packet.len() + chunk.len() > SMALL_PACKET_BYTES_MAX {
                return Err(io::Error::other("the answer is larger than any that is expected"));
            }
            packet.extend_from_slice(chunk);
        }
        Ok(packet)
    }

    /// Sends a packet of less than 16 MiB as an answer to the one before.
    pub(super) async fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes();
        if payload.len() >= FRAME_BYTES_MAX {
            return Err(io::Error::other("a command of 16 MiB or more"));
        }
        let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
        frame.extend_from_slice(&length[..3]);
        frame.push(self.sequence);
        frame.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// Sends a command; its packet is the first of an exchange.
    pub(super) async fn command(&mut self, payload: &[u8]) -> io::Result<()> {
        self.sequence = 0;
        self.write(payload).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn receive(bytes: Vec<u8>) -> io::Result<Vec<Vec<u8>>> {
        let mut channel =
            Channel::new(Box::new(tokio::io::join(io::Cursor::new(bytes), tokio::io::sink())));
        let mut packets = vec![Vec::new()];
        loop {
            match channel.chunk().await {
                Ok(Some(chunk)) => packets.last_mut().expect("one").extend_from_slice(chunk),
                Ok(None) => packets.push(Vec::new()),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    packets.pop();
                    return Ok(packets);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn frame(payload: &[u8], sequence: u8) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("fits").to_le_bytes();
        let mut frame = vec![length[0], length[1], length[2], sequence];
        frame.extend_from_slice(payload);
        frame
    }

    #[tokio::test]
    async fn packets_of_any_size_come_out_as_they_went_in() {
        for length in [1, BUFFER_BYTES - 5, BUFFER_BYTES, 3 * BUFFER_BYTES + 1] {
            let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let bytes = [frame(&payload, 0), frame(b"next", 1)].concat();
            let packets = receive(bytes).await.expect("reads");
            assert_eq!(packets, [payload, b"next".to_vec()]);
        }
    }

    #[tokio::test]
    async fn full_frames_are_joined_and_an_empty_one_ends_them() {
        let full = vec![7; FRAME_BYTES_MAX];
        let bytes = [frame(&full, 0), frame(b"", 1), frame(b"next", 2)].concat();
        assert_eq!(receive(bytes).await.expect("reads"), [full.clone(), b"next".to_vec()]);
        let bytes = [frame(&full, 0), frame(b"tail", 1)].concat();
        let packets = receive(bytes).await.expect("reads");
        assert_eq!(packets.len(), 1);
        assert!(packets[0].len() == full.len() + 4 && packets[0].ends_with(b"\x07tail"));
    }
}
