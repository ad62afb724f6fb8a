//! Why a worker does not start or does not go on.

use crate::membership::NameTaken;
use crate::nats::NatsError;
use crate::provision::ProvisionError;
use crate::settings::InvalidConfig;
use tributary_runtime::{AdminError, ConfigError, GraceExpired, TelemetryError, exit};

/// The worker ends with this.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration contradicts itself.
    #[error("configuration: {0}")]
    Invalid(#[from] InvalidConfig),
    /// Metrics or logs cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The admin port does not work.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// NATS cannot be used.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The stream cannot be brought into being.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// Heartbeats cannot be received.
    #[error(
        "cannot subscribe to heartbeats: {0}; allow the worker's NATS account to subscribe device.*.heartbeat"
    )]
    Subscribe(#[from] async_nats::SubscribeError),
    /// Another worker has this one's name.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    /// A stop took too long.
    #[error(transparent)]
    Grace(#[from] GraceExpired),
    /// A part of the worker has ended that must not: the log says why.
    #[error(
        "{0} although it must not: this is a bug; restart the worker, and report the last log lines"
    )]
    Internal(&'static str),
    /// Something that an operator asked for is not so.
    #[error("{0}")]
    Operation(String),
}

// === impl WorkerError ===

impl WorkerError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Invalid(_) => exit::USAGE,
            Self::Telemetry(_) | Self::Internal(_) => exit::INTERNAL,
            Self::Admin(_) => exit::SYSTEM,
            Self::Nats(NatsError::Credentials { .. }) => exit::USAGE,
            Self::Nats(_) | Self::Subscribe(_) => exit::UNAVAILABLE,
            Self::Provision(ProvisionError::Incompatible { .. }) => exit::USAGE,
            Self::NameTaken(_) => exit::USAGE,
            Self::Provision(_) => exit::UNAVAILABLE,
            Self::Grace(_) => exit::GRACE_EXPIRED,
            Self::Operation(_) => exit::FAILURE,
        }
    }
}
