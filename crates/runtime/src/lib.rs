//! The shell that every service shares: what surrounds the work and is no part of it.
//!
//! - [`config`]: a TOML file and `TRIBUTARY_…` variables, into one struct; [`Secret`] never prints.
//! - [`telemetry`]: log lines on stderr, metrics for Prometheus.
//! - [`admin`]: the port that serves `/metrics`, `/healthz` and `/readyz`; [`Readiness`] is what the
//!   last one says.
//! - [`shutdown`]: a token that SIGTERM cancels, and a grace period.
//! - [`backoff`]: how long to wait before the next attempt.
//! - [`memory`]: how a process keeps its memory.
//! - [`transport`]: which connections have to be encrypted.
//! - [`exit`]: what the process's exit code means.
//!
//! **This crate knows nothing of MySQL, NATS or batches.**

pub mod admin;
pub mod backoff;
pub mod config;
mod environment;
pub mod exit;
pub mod memory;
pub mod readiness;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
pub mod transport;

pub use admin::{Admin, AdminError};
pub use backoff::Backoff;
pub use config::ConfigError;
pub use metrics_exporter_prometheus::PrometheusHandle;
pub use readiness::Readiness;
pub use secret::Secret;
pub use shutdown::GraceExpired;
pub use telemetry::TelemetryError;
pub use tokio_util::sync::CancellationToken;
