//! The few clauses of CREATE TABLE and ALTER TABLE that matter to a copy.

use crate::body::{Body, Search};
use crate::cursor::Cursor;
use crate::finding::{Edit, EditKind};
use crate::statement::DdlKind;
use crate::token::{Token, TokenKind};

/// Functions whose value another server, or another session, would not find. MySQL takes none of them as the
/// default of a column that is added; MariaDB does, and evaluates it for each row that is there.
const VARYING: [&[u8]; 16] = [
    b"UUID",
    b"UUID_V4",
    b"UUID_V7",
    b"UUID_SHORT",
    b"SYS_GUID",
    b"RAND",
    b"RANDOM_BYTES",
    b"SYSDATE",
    b"USER",
    b"CURRENT_USER",
    b"SESSION_USER",
    b"SYSTEM_USER",
    b"CONNECTION_ID",
    b"DATABASE",
    b"SCHEMA",
    b"NEXTVAL",
];

/// Takes the clause that begins with `token`, the keyword `word`; `after` stands behind it. `Some(false)`
/// when there is none; nothing was taken then. `None` when it is not understood.
pub(crate) fn read(
    word: &[u8],
    after: &mut Cursor<'_>,
    token: &Token,
    search: &mut Search<'_>,
) -> Option<bool> {
    let in_table = search.body == Body::Table && search.at_root();
    let in_alter = search.body == Body::Alter && search.at_root();
    let ddl = &mut search.finding.ddl;
    match word {
        b"SYSTEM" if search.body != Body::View && after.at("VERSIONING") => {
            ddl.system_versioning = true;
        }
        b"PARTITION" if (in_table || in_alter) && after.eat_all(&["BY", "SYSTEM_TIME"]) => {
            ddl.system_versioning = true;
        }
        b"SEQUENCE" if in_table && at_value(*after) => ddl.kind = DdlKind::Sequence,
        b"START" if in_table => {
            let Some(transaction) = after.eat("TRANSACTION") else { return Some(false) };
            ddl.starts_transaction = true;
            let span = token.span.start..transaction.span.end;
            search.finding.edits.push(Edit { span, what: EditKind::Remove });
        }
        b"RENAME" if in_alter => rename(after, search)?,
        b"ADD" if in_alter => {
            search.adding = true;
            ddl.numbers_rows |= adds_serial(*after);
        }
        _ if search.adding && VARYING.contains(&word) && after.at_symbol(b'(') => {
            ddl.varies = true;
        }
        b"AUTO_INCREMENT" if search.adding && !at_value(*after) => ddl.numbers_rows = true,
        b"DISCARD" | b"IMPORT" if in_alter && (after.at("TABLESPACE") || after.at("PARTITION")) => {
            ddl.contents_from_file = true;
        }
        _ => return Some(false),
    }
    Some(true)
}

/// At `[COLUMN] [IF NOT EXISTS] c SERIAL`, in parentheses or not: another word for AUTO_INCREMENT.
fn adds_serial(mut cursor: Cursor<'_>) -> bool {
    cursor.eat("COLUMN");
    cursor.eat_all(&["IF", "NOT", "EXISTS"]);
    cursor.eat_symbol(b'(');
    cursor.identifier().is_some() && cursor.at("SERIAL")
}

/// `RENAME TO t`, `RENAME AS t`, `RENAME = t`, `RENAME t`; not `RENAME COLUMN`, `INDEX` or `KEY`.
fn rename(after: &mut Cursor<'_>, search: &mut Search<'_>) -> Option<()> {
    if after.eat_any(&["COLUMN", "INDEX", "KEY"]).is_some() {
        return Some(());
    }
    if after.eat_any(&["TO", "AS"]).is_none() {
        after.eat_symbol(b'=');
    }
    let from = search.finding.ddl.tables.first()?.clone();
    let to = search.finding.table(after)?;
    search.finding.ddl.renames.push((from, to));
    Some(())
}

/// At `= 5` or `5`: the word before is a table option.
fn at_value(cursor: Cursor<'_>) -> bool {
    cursor.at_symbol(b'=') || cursor.peek().is_some_and(|token| token.kind == TokenKind::Number)
}
