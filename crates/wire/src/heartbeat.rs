//! What a publisher tells the cloud every ten seconds, and what it is told.
//!
//! Level-triggered: each message says the whole state, so a lost one costs ten seconds and no more.
//! Encoded as MessagePack maps with field names, so that either side may learn new fields first.

use crate::{DecodeError, DeviceId, Position, Resume};
use serde::{Deserialize, Serialize};

/// A publisher's state, sent as a request on `device.<id>.heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRequest {
    /// Who asks. Must agree with the subject.
    pub device: DeviceId,
    /// The run it publishes under; see [`crate::Header::run`].
    pub run: u64,
    /// Identity of its MySQL server; see [`crate::Header::source`].
    pub source: String,
    /// The end of the newest batch that JetStream has acknowledged in this run.
    pub published: Option<Position>,
    /// Where the source's binlog ends, as far as the publisher knows.
    pub head: Option<Position>,
    /// The publisher's version.
    pub version: String,
    /// How long the source still keeps what is not known to be applied; `None` from an older publisher, and before
    /// it has looked.
    #[serde(default)]
    pub retention: Option<Retention>,
    /// How far the snapshot has come that is under way.
    #[serde(default)]
    pub snapshot: Option<SnapshotProgress>,
}

/// How long a source keeps of its binlog what is not known to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Seconds until the source may purge the oldest event that is not known to be applied; `None` without a
    /// limit, or while it is not known.
    pub seconds_left: Option<u64>,
    /// How much of the limit is used, in percent: 0 when everything is applied.
    pub used_percent: u32,
    /// Size of all binlog files in bytes.
    pub log_bytes: u64,
    /// How fast the binlog grows; `None` before it is known.
    pub bytes_per_second: Option<u64>,
}

/// How far a snapshot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SnapshotProgress {
    /// Tables that are copied.
    pub tables_done: u64,
    /// Tables there are.
    pub tables: u64,
    /// Rows that were copied since the publisher started.
    pub rows_done: u64,
    /// Rows that are left, as the server estimates them.
    pub rows_left: u64,
}

/// The cloud's answer. No answer is sent by a worker that cannot reach the device's shard: only `None` in
/// `applied` says that the cloud knows the device to be new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// What the target has committed of this device; `None` when it has never seen it.
    pub applied: Option<Applied>,
    /// What the publisher should do.
    pub directive: Option<Directive>,
}

/// The watermark of a device, as its target holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Everything up to here is committed.
    pub position: Position,
    /// Where a reader of the binlog has to restart to go on from `position`.
    pub resume: Resume,
    /// Identity of the MySQL server that the position belongs to.
    pub source: String,
    /// Microseconds from commit at the source to commit at the target, for the newest batch applied.
    pub lag_us: u64,
}

/// What a publisher is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Directive {
    /// Publish again from the watermark: what the stream held beyond it is lost. Meant for the run
    /// that is named; a publisher that has begun another since ignores it.
    Rewind {
        /// The run that has the gap.
        run: u64,
    },
    /// The device is stopped at the target; publishing goes on to no purpose.
    Parked {
        /// Why.
        reason: String,
    },
    /// A word of a newer worker: nothing that this build could do. The watermark beside it still
    /// counts.
    #[serde(other)]
    Other,
}

/// No honest heartbeat is longer.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

macro_rules! message {
    ($type:ty) => {
        impl $type {
            /// The NATS message's payload.
            pub fn encode(&self) -> Vec<u8> {
                // Strings, numbers and options: nothing that MessagePack cannot say.
                rmp_serde::to_vec_named(self).unwrap_or_default()
            }

            /// Reads a payload.
            ///
            /// # Errors
            /// [`DecodeError`] when it is none, or longer than 64 KiB.
            pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
                if payload.len() > MESSAGE_BYTES_MAX {
                    return Err(DecodeError::TooLarge {
                        what: "the heartbeat in bytes",
                        found: payload.len() as u64,
                        limit: MESSAGE_BYTES_MAX as u64,
                    });
                }
                rmp_serde::from_slice(payload).map_err(DecodeError::damaged)
            }
        }
    };
}

message!(HeartbeatRequest);
message!(HeartbeatReply);
