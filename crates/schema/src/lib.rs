//! What a statement in the binlog does to tables and databases, and the same statement with its
//! databases renamed.
//!
//! Pure: bytes in, values out. There is no SQL parser here that could fail on a statement which the
//! server has already run. A [`token`] reader, complete for MySQL and MariaDB, finds where one word
//! ends; [`classify`] reads a statement as far as it must to say what it touches; what it does not
//! know is [`Statement::Unknown`], which stops that one device and is never skipped. [`rewrite`]
//! changes names in place and leaves every other byte as the device wrote it.
//!
//! **This crate knows nothing of connections, columns or types**: those come from the server itself.

mod alter;
mod body;
mod classify;
mod clause;
mod create;
mod cursor;
mod drop;
mod finding;
mod identifier;
mod query;
mod rewrite;
mod sql_mode;
mod statement;
pub mod token;

pub use classify::classify;
pub use identifier::quote;
pub use rewrite::{RewriteError, rewrite};
pub use sql_mode::SqlMode;
pub use statement::{
    Ddl, DdlKind, RoutineKind, RoutineVerb, Statement, TableRef, TransactionKind, Xa,
};
