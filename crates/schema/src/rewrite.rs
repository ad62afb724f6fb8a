//! The same statement with other database names.

use crate::classify::{self, Reading};
use crate::cursor::Cursor;
use crate::finding::{Edit, EditKind};
use crate::token::{TokenKind, Tokenizer};
use crate::{SqlMode, Statement, quote};

/// A statement cannot be rewritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// It is not DDL, or not understood.
    #[error("only DDL has database names to replace, and this is none: {what}; classify it first")]
    NotDdl {
        /// What it was taken for, without its strings.
        what: String,
    },
}

/// The statement with every database name replaced by `map` of it: of qualified tables and views,
/// wherever they stand, of functions and columns qualified with a database, and of CREATE, ALTER and
/// DROP DATABASE. Every name that changes is written in backticks.
///
/// Names without a database stay as they are: the caller makes the mapped default database current.
///
/// Five things change besides, and every other byte is as it was:
/// - the marks of executable comments (`/*!50100 … */`) become blanks: what stood in them is executed;
/// - CREATE DATABASE gets `IF NOT EXISTS`, unless `OR REPLACE` is there;
/// - `START TRANSACTION` at the end of a CREATE TABLE is taken out, which only a server that applies
///   a binlog understands;
/// - MariaDB's `SET STATEMENT … FOR` in front is taken out;
/// - an unquoted name that begins with a digit is quoted when its database is.
///
/// # Errors
/// [`RewriteError::NotDdl`] unless [`crate::classify`] calls it [`Statement::Ddl`].
pub fn rewrite(
    sql: &[u8],
    mode: SqlMode,
    map: &dyn Fn(&str) -> String,
) -> Result<Vec<u8>, RewriteError> {
    let Some(Reading::Ddl(mut finding)) = classify::read(Cursor::new(sql, mode)) else {
        return Err(not_ddl(&classify::classify(sql, mode)));
    };
    // Servers differ in which of these comments they execute, and a name in one that is skipped here
    // and executed there would not be mapped: what was read as executed is executed everywhere.
    let markers = Tokenizer::new(sql, mode).filter(|token| {
        matches!(token.kind, TokenKind::ExecutableBegin | TokenKind::ExecutableEnd)
    });
    finding
        .edits
        .extend(markers.map(|token| Edit { span: token.span, what: EditKind::Insert(" ") }));
    finding.edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut out = Vec::with_capacity(sql.len() + finding.edits.len() * 16);
    let mut at = 0;
    let mut database_changed = false;
    for edit in &finding.edits {
        if edit.span.start < at {
            // It lies in what an earlier edit took out.
            continue;
        }
        let replacement = match &edit.what {
            EditKind::Database(name) => {
                let mapped = map(name);
                database_changed = mapped != *name;
                database_changed.then(|| quote(&mapped))
            }
            EditKind::QuoteAfterDatabase(name) => database_changed.then(|| quote(name)),
            EditKind::Remove => Some(String::new()),
            EditKind::Insert(text) => Some((*text).to_owned()),
        };
        if let Some(text) = replacement {
            out.extend_from_slice(sql.get(at..edit.span.start).unwrap_or_default());
            out.extend_from_slice(text.as_bytes());
            at = edit.span.end;
        }
    }
    out.extend_from_slice(sql.get(at..).unwrap_or_default());
    Ok(out)
}

fn not_ddl(statement: &Statement) -> RewriteError {
    let what = match statement {
        Statement::Ddl(ddl) => format!("{:?}", ddl.kind),
        Statement::Routine { kind, name, .. } => format!("{kind:?} {}", name.table),
        Statement::Ignored { why } => (*why).to_owned(),
        Statement::Transaction(kind) => format!("{kind:?}"),
        Statement::Dml { verb } => (*verb).to_owned(),
        Statement::Unknown { text } => text.clone(),
    };
    RewriteError::NotDdl { what }
}
