//! Runs the cases of `crates/e2e/cases/`: SQL of applications, tools and bug reports, on every pairing of
//! servers and in every layout that a case names, with the services that are shipped.
//!
//! A case is a folder ([`Case`]): `before.sql` is there before the device's publisher first starts, and its
//! log is lost, so that a snapshot carries it; `live.sql` comes while everything runs; `expect.json`
//! ([`Expectation`]) says where it runs and what is right; `steps.toml` ([`steps`]) has what is more than
//! SQL; `WHY.md` says where it comes from. Each run has publisher, worker and NATS of its own on servers that are
//! used again ([`Servers`]), so that no case sees another. [`Known`] are those that are not right yet.

mod case;
mod expectation;
mod known;
mod run;
mod servers;
mod sql;
pub mod steps;
mod verdict;

pub use case::{Case, Run};
pub use expectation::{Expectation, Layout, Pair, Way};
pub use known::Known;
pub use run::{Outcome, run};
pub use servers::Servers;
pub use verdict::Verdict;
