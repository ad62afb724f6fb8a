//! The device agent: binlog in, batches on `device.<id>.changes` out.
//!
//! ```text
//! source ──event──▶ capture ──seal──▶ window ──message──▶ link ──▶ NATS
//!  (IO)             (pure)            (pure)    ◀──ack───  (IO)
//! ```
//!
//! [`session::run`] is the only loop. It owns one attempt: it decides where to start
//! ([`start`], pure), reads the binlog ([`source`]), turns events into batches ([`capture`]), keeps
//! what is not acknowledged ([`window`]) and goes back to the first unacknowledged batch when an
//! acknowledgement fails to come. Anything that goes wrong ends the attempt, and the next begins the
//! same way as the first: recovery and start-up are one path.
//!
//! **The checkpoint is only a cache.** Losing it costs a question to the cloud, never data.

mod anchor;
pub mod capture;
pub mod check;
pub mod checkpoint;
pub mod config;
pub mod credit;
pub mod dump;
pub mod error;
pub mod filter;
mod history;
pub mod identity;
pub mod link;
pub mod metrics;
mod origin;
pub mod pace;
pub mod retention;
pub mod service;
pub mod session;
mod silence;
pub mod snapshot;
pub mod source;
pub mod start;
pub mod tail;
pub mod window;

pub use config::Config;
pub use error::{Error, Fate};
pub use service::run;
