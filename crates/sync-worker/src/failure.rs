//! Why a group of batches could not be applied, in the form in which it is acted upon.

use crate::apply::ApplyError;
use crate::classify::{Class, Subject, classify, remedy};
use crate::ddl::DdlError;
use crate::shard::ShardError;
use crate::sql_error::SqlError;
use crate::watermark::Parked;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What is to be done.
    pub(crate) class: Class,
    /// What happened, for a person.
    pub(crate) error: String,
    /// What a person has to do, if the device is parked for it.
    pub(crate) remedy: &'static str,
    /// Which job of the group it befell, where that is known.
    pub(crate) owner: Option<usize>,
    /// The connection can still be used.
    pub(crate) keeps_connection: bool,
    /// Someone else holds rows locked, and may do so for long.
    pub(crate) is_lock_wait: bool,
    /// The shard answers nobody.
    pub(crate) is_silence: bool,
    /// The shard is still at it, and has been for too long.
    pub(crate) is_slow: bool,
    /// It was a statement of a device's that was refused.
    pub(crate) is_refusal: bool,
}

/// Who has waited so long for an answer, from a shard that answers others, waits for a slow statement.
const LONG: Duration = Duration::from_secs(60);

/// Lock wait timeout exceeded.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// Why a statement of a device did not run to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It will not run as long as nobody mends something; whether the connection can be used on.
    Park(Parked, bool),
    /// It is to be tried again.
    Failed(Failure),
}

// === impl Failure ===

impl Failure {
    /// The shard cannot be connected to.
    pub(crate) fn unreachable(error: &ShardError) -> Self {
        Self {
            class: Class::Unavailable,
            error: error.to_string(),
            remedy: "",
            owner: None,
            keeps_connection: false,
            is_lock_wait: false,
            is_silence: false,
            is_slow: false,
            is_refusal: false,
        }
    }

    /// A transaction takes longer than the others should have to wait for it.
    pub(crate) fn slow(owner: Option<usize>, after: Duration) -> Self {
        Self {
            class: Class::Conflict,
            error: format!("a transaction has taken {} s", after.as_secs_f64().round()),
            remedy: "",
            owner,
            keeps_connection: false,
            is_lock_wait: false,
            is_silence: false,
            is_slow: true,
            is_refusal: false,
        }
    }

    /// The shard does not answer on this connection, and not on another one.
    pub(crate) fn silent(error: &ShardError) -> Self {
        Self { is_silence: true, ..Self::unreachable(error) }
    }

    fn new(source: &SqlError, subject: Subject, error: String) -> Self {
        Self {
            class: classify(source, subject),
            error,
            remedy: remedy(source),
            owner: None,
            keeps_connection: source.keeps_connection(),
            is_lock_wait: source.code() == Some(LOCK_WAIT_TIMEOUT),
            is_silence: false,
            is_slow: matches!(source, SqlError::Timeout { after, .. } if *after >= LONG),
            is_refusal: source.code().is_some() && subject == Subject::Device,
        }
    }
}

impl From<&ApplyError> for Failure {
    fn from(error: &ApplyError) -> Self {
        let failure = Self::new(&error.source, error.subject, error.to_string());
        Self { owner: error.owner, ..failure }
    }
}

// === impl Stop ===

impl From<DdlError> for Stop {
    fn from(error: DdlError) -> Self {
        let text = error.to_string();
        match error {
            DdlError::Stop(parked) => Self::Park(parked, true),
            DdlError::Busy => Self::Failed(Failure {
                class: Class::Conflict,
                error: text,
                remedy: "",
                owner: None,
                keeps_connection: true,
                is_lock_wait: false,
                is_silence: false,
                is_slow: false,
                is_refusal: false,
            }),
            DdlError::Bookkeeping(source) => {
                Self::Failed(Failure::new(&source, Subject::Bookkeeping, text))
            }
            DdlError::Statement { source, .. } => {
                let failure = Failure::new(&source, Subject::Device, text);
                match failure.class {
                    Class::Data => {
                        let remedy = failure.remedy.to_owned();
                        let parked = Parked { reason: failure.error, remedy };
                        Self::Park(parked, failure.keeps_connection)
                    }
                    Class::Conflict
                    | Class::Reconnect
                    | Class::Unavailable
                    | Class::Full
                    | Class::Halt => Self::Failed(failure),
                }
            }
        }
    }
}
