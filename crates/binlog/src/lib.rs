//! Binlog event bodies in, wire cells out.
//!
//! Pure: **this crate knows nothing of connections, files or clocks.** An event arrives as its type
//! and its body (header and checksum already taken off, [`Event`]); what leaves are table shapes,
//! statements and cells. A malformed event is an error and never a panic, because the bytes come from
//! a disk that may be failing.
//!
//! - [`event`] tells events apart and parses the small ones (QUERY, GTID, ROTATE).
//! - [`table_map`] turns a TABLE_MAP event into a [`TablePlan`], compiled once per table definition.
//! - [`gtids`] keeps account of the transactions that lie before a place in the log.
//! - [`succession`] says whether another server's log continues a copy.
//! - [`payload`] unpacks MySQL's compressed transactions; [`Event::inflate`] MariaDB's compressed events.
//! - [`rows`] walks a rows event by that plan, straight into a batch's columns.
//! - [`select`] narrows a plan: columns that are left out, or masked.
//! - [`stream`] does the same for rows of any size, value by value; [`staging`] says which values go ahead
//!   in pieces.
//!
//! Formats: MySQL source, `libs/mysql/binlog/event/`; MariaDB source, `sql/log_event.h`.

pub mod event;
mod gtid;
pub mod gtids;
mod inflate;
mod json;
mod json_scalar;
mod mask;
mod numeric;
pub mod payload;
mod query;
mod reader;
pub mod rows;
pub mod select;
pub mod staging;
pub mod stream;
pub mod succession;
pub mod table_map;
mod value;
mod window;

#[cfg(test)]
mod mutation_tests;

pub use event::{Body, Event};
pub use gtids::Gtids;
pub use inflate::rows_stream;
pub use json_scalar::is_json_number;
pub use payload::{Inner, InnerBody, Payload};
pub use query::QueryEvent;
pub use rows::Rows;
pub use select::{Choice, Digest, Hashing, Room, SelectError, Selection};
pub use stream::{RowStream, Step};
pub use succession::LogState;
pub use table_map::{Server, TablePlan};
pub use window::StreamError;

/// Why an event cannot be understood. The device stops at it: nothing is skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BinlogError {
    /// The event ends before what it announces, or contradicts itself.
    #[error("malformed {event} event: {detail}")]
    Malformed {
        /// The event's name in the server's source.
        event: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The server writes less than is needed to copy rows exactly.
    #[error("{0}")]
    Setting(String),
    /// The log no longer tells what is needed: only a new copy of the tables brings it back.
    #[error("{0}: the device needs a new snapshot")]
    Lost(String),
    /// A kind of event or column that this build does not carry.
    #[error("{0}")]
    Unsupported(String),
}

impl BinlogError {
    pub(crate) fn malformed(event: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed { event, detail: detail.into() }
    }
}
