//! The publisher against real servers. The test plays the cloud's part in the heartbeat, so that it
//! can say what no healthy worker would.

mod capture;
mod command;
mod examples;
mod filter;
mod harness;
mod recovery;
mod refusal;
