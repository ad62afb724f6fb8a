//! What can go wrong between a worker and a shard.

use mysql_async::{DriverError, Error};
use std::time::Duration;

/// An exchange with a shard failed.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// No answer in time. The connection is in an unknown state and must not be used again.
    #[error("no answer to '{operation}' within {} s", after.as_secs_f64())]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The server refused.
    #[error("the server refused '{operation}': error {code}: {message}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The server's error number.
        code: u16,
        /// The server's words.
        message: String,
        /// Which statement of a script it was.
        statement: Option<usize>,
    },
    /// The connection failed.
    #[error("the connection was lost at '{operation}': {source}")]
    Lost {
        /// What was asked.
        operation: &'static str,
        /// Why.
        source: Error,
    },
    /// A statement succeeded and did not do what it had to.
    #[error("{fault}")]
    Unexpected {
        /// What it did instead.
        fault: String,
        /// Which statement of the script it was.
        statement: usize,
    },
}

// === impl SqlError ===

impl SqlError {
    /// Sorts a driver's error.
    pub(crate) fn new(operation: &'static str, error: Error) -> Self {
        match error {
            Error::Server(server) => Self::Refused {
                operation,
                code: server.code,
                message: server.message,
                statement: None,
            },
            source => Self::Lost { operation, source },
        }
    }

    /// A row that is not what was asked for: the bookkeeping tables are not ours, or not of our
    /// version.
    pub(crate) fn unreadable(operation: &'static str) -> Self {
        let source = Error::Driver(DriverError::ConnectionClosed);
        Self::Lost { operation, source }
    }

    /// Says which statement of a script it was.
    pub(crate) fn at(mut self, index: usize) -> Self {
        if let Self::Refused { statement, .. } = &mut self {
            *statement = Some(index);
        }
        self
    }

    /// The server's error number.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Timeout { .. } | Self::Lost { .. } | Self::Unexpected { .. } => None,
        }
    }

    /// [`SqlError::code`] of a refusal that says something of what was asked about: not of a lock wait, a
    /// deadlock, or a statement that was interrupted or ran out of time.
    pub(crate) fn lasting_code(&self) -> Option<u16> {
        self.code().filter(|code| !matches!(code, 1205 | 1213 | 1317 | 1969 | 3024))
    }

    /// The statement of a script that failed.
    pub fn statement(&self) -> Option<usize> {
        match self {
            Self::Refused { statement, .. } => *statement,
            Self::Unexpected { statement, .. } => Some(*statement),
            Self::Timeout { .. } | Self::Lost { .. } => None,
        }
    }

    /// True when no answer came.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// True when the connection can still be used. After a refusal for lack of a privilege, or a value
    /// beyond `max_allowed_packet`, it is of no use: a GRANT on `*.*` and a limit that was raised are
    /// seen by new connections only.
    pub fn keeps_connection(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                let is_gone = matches!(code, 1053 | 1927 | 4031);
                !is_gone && !matches!(code, 1044 | 1142 | 1143 | 1227 | 1370 | 1410)
            }
            // Its limits may be from before someone raised them.
            Self::Unexpected { .. } => false,
            Self::Timeout { .. } | Self::Lost { .. } => false,
        }
    }
}
