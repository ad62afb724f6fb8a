//! What travels between a device and the cloud: positions, batches, subjects, heartbeats.
//!
//! Pure: bytes in, values out. **This crate knows nothing of sockets, clocks or MySQL connections.**
//! `schemas/wire/` describes every field, and holds golden vectors that the tests here decode.
//!
//! - [`Position`] orders everything a device ever wrote.
//! - [`BatchBuilder`] collects row changes column by column and seals them into one message;
//!   [`Batch::decode`] reads it back. The message is hostile until decoded: every size is capped
//!   before it is allocated.
//! - [`DeviceId`] is validated once and then trusted: it is a NATS token and part of a database name.
//! - [`partition`] is the same function as the server's `partition()` subject mapping.

mod anchor;
mod batch;
mod builder;
mod cell;
mod decode;
mod device;
mod draft;
mod encode;
mod error;
mod frame;
mod heartbeat;
mod partition;
mod position;
mod reader;
mod size;
mod snapshot;
mod table;

pub use anchor::Anchor;
pub use batch::{Batch, Header, Op, Resume, Run, Statement, TableBlock, Transaction};
pub use builder::{BatchBuilder, Pushed, Seal, TableIndex};
pub use cell::{Cell, ColumnBuffer, cells, split_cells};
pub use decode::Limits;
pub use device::{DeviceId, InvalidDeviceId, subject};
pub use draft::TableColumns;
pub use error::DecodeError;
pub use frame::{MAGIC, VERSION};
pub use heartbeat::{
    Applied, Directive, HeartbeatReply, HeartbeatRequest, Retention, SnapshotProgress,
};
pub use partition::partition;
pub use position::Position;
pub use snapshot::{Chunk, Item, Names, SnapshotCursor};
pub use table::{ColumnKind, ColumnShape, TableShape};
