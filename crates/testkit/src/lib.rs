//! Private real servers for tests, the demo and the benches: no root, no Docker.
//!
//! ```no_run
//! use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer};
//!
//! # fn main() -> anyhow::Result<()> {
//! let device = MySqlServer::start(Flavour::MariaDb, &MySqlOptions::source())?;
//! let nats = NatsServer::start(&NatsOptions::default())?;
//! println!("{} {}", device.admin_url(), nats.url());
//! # Ok(())
//! # }
//! ```
//!
//! - [`setup`] finds the servers on this system or fetches them into a cache outside the checkout;
//! - [`MySqlServer`] and [`NatsServer`] run in temporary directories, on ports of 127.0.0.1 that stay
//!   reserved while a server is down, and can be killed and restarted on the same data;
//! - [`Proxy`] stands between a client and a server and cuts, stalls or delays the link;
//! - `audit::compare` (feature `audit`) says whether a target holds exactly what a source holds;
//! - `stack` (feature `stack`) starts a whole system of our own binaries, which can be killed;
//! - [`process`] sees to it that nothing is left running, also when the owner is killed.

mod apt;
mod arguments;
#[cfg(feature = "audit")]
pub mod audit;
mod cache;
#[cfg(feature = "certificates")]
pub mod certificates;
mod installation;
mod log;
mod mirror;
mod mysql;
mod nats;
mod port;
pub mod process;
mod product;
mod progress;
mod proxy;
mod ready;
mod scratch;
pub mod setup;
#[cfg(feature = "stack")]
pub mod stack;
mod template;

pub use cache::Cache;
pub use installation::Installation;
pub use mysql::{Flavour, MySqlOptions, MySqlServer, Role};
pub use nats::{NatsOptions, NatsServer};
pub use port::Port;
pub use process::{GuardedChild, GuardedCommand};
pub use product::{Product, Version};
pub use proxy::{Direction, Proxy};
pub use scratch::Scratch;
