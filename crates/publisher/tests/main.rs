//! The publisher against real servers. The test plays the cloud's part in the heartbeat, so that it
//! can say what no healthy worker would.

mod capture;
mod command;
mod credit;
mod examples;
mod filter;
mod filter_snapshot;
mod formats;
mod harness;
mod large;
mod log;
mod login;
mod model;
mod recovery;
mod refusal;
mod snapshot;
mod tls;
mod undone;
