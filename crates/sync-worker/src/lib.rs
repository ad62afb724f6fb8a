//! The cloud's side: takes batches of changes out of JetStream and applies them to shards.
//!
//! intake → chain → plan → apply → acknowledge. Deciding is pure ([`chain`], [`pass`], [`net`],
//! [`plan`], [`literal`], [`route`], [`share`], [`rewind`], [`classify`], [`treatment`]); only loops
//! await ([`intake`], [`lane`], [`ownership`], [`heartbeat`]).
//!
//! **Rows and watermark commit in one transaction of the target; a message is acknowledged after that
//! and never before; a batch is applied only where it chains to the watermark.** Whatever is lost,
//! here or in NATS, is found by that rule and published again.

mod acting;
pub mod admission;
pub mod apply;
pub mod barrier;
pub mod cascades;
pub mod catalog;
pub mod catch_up;
pub mod chain;
pub mod classify;
pub mod config;
pub mod consumer;
pub mod copy;
pub mod ddl;
mod definition;
mod detour;
pub mod directory;
pub mod error;
mod executor;
mod failure;
mod fit;
mod hash;
pub mod heartbeat;
mod identity;
pub mod intake;
mod job;
mod json;
mod keyless;
pub mod lane;
mod lane_loop;
pub mod lease;
pub mod left;
mod likeness;
pub mod literal;
mod lookup;
pub mod mapping;
mod member;
mod membership;
pub mod merged;
pub mod metrics;
pub mod migrate;
pub mod nats;
pub mod net;
pub mod operate;
mod outage;
pub mod ownership;
mod partitions;
pub mod pass;
pub mod plan;
pub mod preflight;
mod presence;
pub mod provision;
mod render;
pub mod replay;
mod report;
mod retention;
pub mod rewind;
pub mod roster;
pub mod route;
pub mod scrape;
pub mod script;
pub mod session;
pub mod settings;
pub mod shard;
pub mod share;
pub mod slots;
pub mod sql_error;
mod staged;
pub mod target;
pub mod treatment;
mod turnstile;
pub mod watermark;
pub mod worker;
mod write;

pub use config::Config;
pub use error::WorkerError;
pub use membership::NameTaken;
pub use settings::Settings;
pub use worker::Worker;
