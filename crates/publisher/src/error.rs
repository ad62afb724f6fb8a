//! What can end an attempt, and what to do about it.

use crate::capture::CaptureError;
use std::path::PathBuf;
use tributary_binlog::BinlogError;
use tributary_runtime::exit;
use tributary_wire::Position;

/// What ended an attempt to capture and publish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The MySQL server cannot be reached, or the connection broke.
    #[error("source {address}: {source}; trying again")]
    SourceLost {
        /// Where it was expected.
        address: String,
        /// What the driver says.
        source: Box<mysql_async::Error>,
    },
    /// The MySQL server sent nothing, not even a heartbeat.
    #[error(
        "source {address}: silent for {seconds} s, though it was asked for a heartbeat; connecting again"
    )]
    SourceSilent {
        /// Where it is.
        address: String,
        /// For how long.
        seconds: u64,
    },
    /// The MySQL server ended the binlog stream.
    #[error("source {address}: it ended the binlog stream; connecting again")]
    SourceEnded {
        /// Where it is.
        address: String,
    },
    /// The account is refused, or lacks a privilege.
    #[error("source {address}: {reason}")]
    SourceRefused {
        /// Where it is.
        address: String,
        /// What the server says, and the grant that is missing.
        reason: String,
    },
    /// The server is set up in a way that would lose data.
    #[error("source {address} would lose data:\n{}", faults.join("\n"))]
    SourceUnfit {
        /// Where it is.
        address: String,
        /// One line each, with the statement that mends it.
        faults: Vec<String>,
    },
    /// The binlog does not reach back to where this device's copy ends, or has to begin.
    #[error(
        "{reason}; this device needs a snapshot of its tables: set snapshot.when_lost to \"resnapshot\" to have it taken"
    )]
    OutOfReach {
        /// What is missing.
        reason: String,
    },
    /// A snapshot cannot be taken.
    #[error("snapshot: {reason}")]
    Snapshot {
        /// Why, and what to do.
        reason: String,
    },
    /// A snapshot has to be begun again where it stands.
    #[error("snapshot: {reason}; trying again")]
    SnapshotDelayed {
        /// What kept it.
        reason: String,
    },
    /// Another server publishes under this device's id by now.
    #[error(
        "the cloud's copy of this device follows server {other} now: if that is a clone, give it a device id of its own; if it replaces this server, stop this publisher"
    )]
    Displaced {
        /// The other server's identity.
        other: String,
    },
    /// The binlog holds something that cannot be carried.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The filter cannot be kept on this server.
    #[error("the filter cannot be kept:\n{}", faults.join("\n"))]
    Filter {
        /// One line each, with the remedy.
        faults: Vec<String>,
    },
    /// The filter carries what a former one left on the device.
    #[error(
        "the filter carries what it left on the device, or masked otherwise, before: {what}; the target lacks what came before. Restore the former filter (it stands in {path}), or set snapshot.when_lost to \"resnapshot\" to have every table copied again"
    )]
    FilterWidened {
        /// Tables and columns.
        what: String,
        /// The checkpoint.
        path: PathBuf,
    },
    /// An event's checksum does not match its bytes.
    #[error("the event that ends at {at} is damaged (its CRC32 does not match); reading again")]
    Checksum {
        /// The event's end in its file.
        at: Position,
    },
    /// A large event cannot be set aside.
    #[error(
        "state.dir {dir} cannot hold a large event: {source}; free the disk (an event can be as large as the source's max_allowed_packet); nothing is lost, trying again"
    )]
    Spool {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// An event's length is not the one that it states.
    #[error("the event after {after} is damaged: its length makes no sense; reading again")]
    Framing {
        /// The last good position.
        after: Position,
    },
    /// The NATS connection cannot be set up.
    #[error("NATS: {0}")]
    Nats(String),
    /// Another publisher runs on the same state directory.
    #[error(
        "{path} is held by another publisher: one process per device id; stop the other, or give this one its own state.dir"
    )]
    StateHeld {
        /// The lock file.
        path: PathBuf,
    },
    /// The state directory cannot be used at all.
    #[error(
        "state.dir {path}: {source}; create it, and give it to the user that runs the publisher"
    )]
    State {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The admin port.
    #[error(transparent)]
    Admin(#[from] tributary_runtime::AdminError),
}

/// What follows from an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Time may mend it: wait, and begin the attempt again.
    Retry,
    /// Only a person can: end with this exit code.
    Stop(u8),
}

// === impl Error ===

impl Error {
    /// True when the log no longer holds, or never held, what follows on the copy, or a filter has left
    /// it: only a snapshot brings the copy back to the device.
    pub fn needs_snapshot(&self) -> bool {
        match self {
            Self::OutOfReach { .. }
            | Self::FilterWidened { .. }
            | Self::Capture(CaptureError::NotThere(_)) => true,
            Self::Capture(CaptureError::Filter { needs_snapshot, .. }) => *needs_snapshot,
            Self::Capture(CaptureError::Event { source, .. }) => {
                matches!(source, BinlogError::Lost(_))
            }
            _ => false,
        }
    }

    /// The one place that decides what is worth another try.
    pub fn fate(&self) -> Fate {
        match self {
            // Networks and servers come back.
            Self::SourceLost { .. } | Self::SourceSilent { .. } | Self::SourceEnded { .. } => {
                Fate::Retry
            }
            // A damaged transfer reads well the second time; a damaged file never does, and the
            // position does not move past it.
            Self::Checksum { .. } | Self::Framing { .. } => Fate::Retry,
            // A disk that is full is freed one day; the log waits.
            Self::Spool { .. } | Self::Capture(CaptureError::Stored(_)) => Fate::Retry,
            Self::SourceRefused { .. } => Fate::Stop(exit::PERMISSION),
            Self::SourceUnfit { .. } | Self::Filter { .. } | Self::FilterWidened { .. } => {
                Fate::Stop(exit::USAGE)
            }
            Self::SnapshotDelayed { .. } => Fate::Retry,
            Self::OutOfReach { .. }
            | Self::Capture(_)
            | Self::Snapshot { .. }
            | Self::Displaced { .. } => Fate::Stop(exit::DATA),
            Self::Nats(_) => Fate::Stop(exit::USAGE),
            Self::StateHeld { .. } | Self::State { .. } | Self::Admin(_) => {
                Fate::Stop(exit::SYSTEM)
            }
        }
    }
}
