//! Binlog event bodies in, wire cells out.
//!
//! Pure: **this crate knows nothing of connections, files or clocks.** An event arrives as its type
//! and its body (header and checksum already taken off, [`Event`]); what leaves are table shapes,
//! statements and cells. A malformed event is an error and never a panic, because the bytes come from
//! a disk that may be failing.
//!
//! - [`event`] tells events apart and parses the small ones (QUERY, GTID, ROTATE).
//! - [`table_map`] turns a TABLE_MAP event into a [`TablePlan`], compiled once per table definition.
//! - [`rows`] walks a rows event by that plan, straight into a batch's columns.
//! - [`select`] narrows a plan: columns that are left out, or masked.
//!
//! Formats: MySQL source, `libs/mysql/binlog/event/`; MariaDB source, `sql/log_event.h`.

pub mod event;
mod json;
mod mask;
mod numeric;
mod reader;
pub mod rows;
pub mod select;
pub mod table_map;
mod value;

pub use event::{Body, Event, QueryEvent};
pub use rows::Rows;
pub use select::{Choice, Digest, SelectError};
pub use table_map::TablePlan;

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
    /// A kind of event or column that this build does not carry.
    #[error("{0}")]
    Unsupported(String),
}

impl BinlogError {
    pub(crate) fn malformed(event: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed { event, detail: detail.into() }
    }
}
