//! What a statement in the binlog does to tables and databases, and the same statement with its
//! databases renamed.
//!
//! Pure: bytes in, values out. There is no SQL parser here that could fail on a statement which the
//! server has already run. A [`token`] reader, complete for MySQL and MariaDB, finds where one word
//! ends; [`classify`] reads a statement as far as it must to say what it touches; what it does not
//! know is [`Statement::Unknown`], which stops that one device and is never skipped. [`rewrite`]
//! writes it anew from its tokens: what a server is given to run are our bytes, not the device's.
//!
//! **This crate knows nothing of connections, columns or types**: those come from the server itself.

mod alter;
mod body;
mod charset;
mod classify;
mod clause;
mod condition;
mod create;
mod cursor;
mod drop;
mod finding;
mod fold;
mod identifier;
mod query;
mod reserved;
mod sql_mode;
mod statement;
mod text;
pub mod token;
mod upper_half;
mod write;

pub use classify::classify;
pub use fold::fold_name;
pub use identifier::quote;
pub use sql_mode::SqlMode;
pub use statement::{
    Condition, Ddl, DdlKind, Part, RoutineKind, RoutineVerb, Statement, TableRef, TransactionKind,
    Xa,
};
pub use text::{of_mysql, utf8};
pub use write::{RewriteError, Target, fold, rewrite, rewrite_for};
