//! A replication connection: events as the server sends them, never held whole when they are large.
//!
//! The driver that answers questions ([`crate::source`]) hands its events out whole, and does not give
//! up its stream. So this connection is our own; packets and proofs of the password are
//! `mysql_common`'s.

mod assembly;
mod channel;
mod login;

pub use assembly::{EVENT_BYTES_HELD_MAX, EventBody, EventHeader, Received, Spooled};

use crate::Error;
use crate::config::SourceConfig;
use crate::source::{CONNECT_TIMEOUT, Facts, Flavour, lost_or_refused};
use assembly::{Arrived, Assembly};
use channel::Channel;
use std::io;
use std::path::Path;
use tokio::time::timeout;

/// Where a server begins to send its log.
#[derive(Debug, Clone, Copy)]
pub enum From<'a> {
    /// At an event's beginning.
    Place {
        /// The file's name.
        file: &'a str,
        /// The offset in it; the protocol has 32 bits.
        offset: u32,
    },
    /// With the first transaction that is not in a set (MySQL): the set as `gtid_executed` is encoded,
    /// number of sources (8 bytes), for each its uuid (16), number of intervals (8) and their
    /// beginnings and ends (8 each, the end not included).
    Executed(&'a [u8]),
}

/// The stream of a server's log.
pub struct Dump {
    channel: Channel,
    assembly: Assembly,
    address: String,
}

const COM_QUERY: u8 = 0x03;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// `BINLOG_THROUGH_GTID`.
const THROUGH_GTID: u16 = 4;

// === impl Dump ===

impl Dump {
    /// Connects under the replica id `replica`, and asks for the log. Large events are set aside in
    /// `spool_dir`.
    ///
    /// # Errors
    /// [`Error::SourceRefused`] for the login and without REPLICATION SLAVE, else
    /// [`Error::SourceLost`].
    pub async fn open(
        config: &SourceConfig,
        facts: &Facts,
        replica: u32,
        from: From<'_>,
        spool_dir: &Path,
    ) -> Result<Self, Error> {
        let address = config.address();
        let asked = timeout(CONNECT_TIMEOUT, ask(config, facts, replica, from)).await;
        let late = || {
            let seconds = CONNECT_TIMEOUT.as_secs();
            let message = format!("no log within {seconds} s");
            mysql_async::Error::from(io::Error::new(io::ErrorKind::TimedOut, message))
        };
        let channel = asked.unwrap_or_else(|_| Err(late()));
        let channel = channel.map_err(|error| lost_or_refused(&address, error))?;
        Ok(Self { channel, assembly: Assembly::new(spool_dir), address })
    }

    /// The next event, its checksum computed. May be dropped while it waits; nothing is lost.
    ///
    /// # Errors
    /// [`Error::SourceLost`], [`Error::SourceEnded`], [`Error::Spool`]; [`Error::OutOfReach`] when
    /// the server cannot serve its log from there.
    pub async fn next(&mut self) -> Result<Received, Error> {
        loop {
            let chunk = self.channel.chunk().await;
            let lost = |error: io::Error| lost_or_refused(&self.address, error.into());
            if let Some(bytes) = chunk.map_err(lost)? {
                self.assembly.push(bytes)?;
                continue;
            }
            return match self.assembly.finish()? {
                Arrived::Event(received) => Ok(received),
                Arrived::End => Err(Error::SourceEnded { address: self.address.clone() }),
                Arrived::Refusal(packet) => Err(self.refusal(&packet)),
            };
        }
    }

    /// Takes an event's memory back, to hold another.
    pub fn recycle(&mut self, event: Received) {
        self.assembly.recycle(event);
    }

    /// What the server says when it cannot serve the log is said for good; a broken line is not.
    fn refusal(&self, packet: &[u8]) -> Error {
        // ER_MASTER_FATAL_ERROR_READING_BINLOG: purged, or a position that is no event's beginning.
        const FATAL_READING_BINLOG: u16 = 1236;
        let error = login::refuse(packet).err();
        let error = error.unwrap_or_else(|| login::unexpected("an empty refusal"));
        match &error {
            mysql_async::Error::Server(server) if server.code == FATAL_READING_BINLOG => {
                Error::OutOfReach {
                    reason: format!(
                        "source {} cannot serve its log from there: {}",
                        self.address, server.message
                    ),
                }
            }
            _ => lost_or_refused(&self.address, error),
        }
    }
}

async fn ask(
    config: &SourceConfig,
    facts: &Facts,
    replica: u32,
    from: From<'_>,
) -> Result<Channel, mysql_async::Error> {
    let mut channel = login::connect(config).await?;
    let heartbeat_ns = u64::from(config.heartbeat_seconds) * 1_000_000_000;
    // MySQL 8.4 prefers the second names; MariaDB sends its GTID events only to who says that it knows
    // them.
    let mut setup = format!(
        "SET @master_heartbeat_period={heartbeat_ns}, @source_heartbeat_period={heartbeat_ns}, \
         @master_binlog_checksum='CRC32', @source_binlog_checksum='CRC32'"
    );
    if facts.flavour == Flavour::MariaDb {
        setup.push_str(", @mariadb_slave_capability=4");
    }
    command(&mut channel, &[&[COM_QUERY], setup.as_bytes()]).await?;
    // The replica's id; its host, user and password, all empty; port, rank and its source's id.
    let empty = [0_u8; 3 + 2 + 4 + 4];
    command(&mut channel, &[&[COM_REGISTER_SLAVE], &replica.to_le_bytes(), &empty]).await?;
    let request = match from {
        From::Place { file, offset } => [
            &[COM_BINLOG_DUMP][..],
            &offset.to_le_bytes(),
            &0_u16.to_le_bytes(),
            &replica.to_le_bytes(),
            file.as_bytes(),
        ]
        .concat(),
        From::Executed(set) => [
            &[COM_BINLOG_DUMP_GTID][..],
            &THROUGH_GTID.to_le_bytes(),
            &replica.to_le_bytes(),
            &0_u32.to_le_bytes(), // length of a file's name
            &4_u64.to_le_bytes(), // offset in it
            &u32::try_from(set.len()).map_err(io::Error::other)?.to_le_bytes(),
            set,
        ]
        .concat(),
    };
    channel.command(&request).await?;
    Ok(channel)
}

/// Sends a command that is answered with OK.
async fn command(channel: &mut Channel, parts: &[&[u8]]) -> Result<(), mysql_async::Error> {
    channel.command(&parts.concat()).await?;
    let answer = channel.read().await?;
    login::refuse(&answer)?;
    if answer.first() == Some(&0x00) { Ok(()) } else { Err(login::unexpected("more than OK")) }
}
