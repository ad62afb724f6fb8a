//! The kit's own tests, on the real servers.

mod audit;
mod guard;
mod mysql;
mod nats;
mod proxy;
mod setup;
