//! The kit's own tests, on the real servers.

mod mysql;
