//! The few clauses of CREATE TABLE and ALTER TABLE that matter to a copy.

use crate::body::{Body, Search};
use crate::condition;
use crate::cursor::Cursor;
use crate::finding::{Edit, EditKind};
use crate::statement::DdlKind;
use crate::token::{Token, TokenKind};

/// Functions whose value another server, or another session, would not find. MySQL takes hardly any of them as the
/// default of a column that is added; MariaDB does, and evaluates it for each row that is there. WEEK goes by
/// default_week_format, which the log does not say.
const VARYING: [&[u8]; 17] = [
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
    b"WEEK",
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
    let in_index = search.body == Body::Index && search.at_root();
    let in_added = search.adding == Some(search.depth());
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
        b"ADD" if in_alter => add(after, search),
        // The name of the column before, which may be called like anything.
        b"AFTER" if in_added => drop(after.identifier()),
        b"DEFAULT" if search.adding.is_some() => search.in_default = true,
        _ if search.in_default && VARYING.contains(&word) && after.at_symbol(b'(') => {
            ddl.varies = true;
        }
        b"AUTO_INCREMENT" if in_added && !at_value(*after) => {
            ddl.numbers_rows = true;
        }
        // `BIGINT SERIAL DEFAULT VALUE`.
        b"SERIAL" if in_added && after.at("DEFAULT") => {
            ddl.numbers_rows = true;
        }
        b"INDEX" | b"KEY" | b"UNIQUE" | b"FULLTEXT" | b"SPATIAL" | b"VECTOR"
            if search.body != Body::View =>
        {
            name_of_index(after, search);
        }
        b"ALGORITHM" | b"LOCK" if in_index => {
            let Some(end) = condition::manner(search.cursor) else { return Some(false) };
            let span = token.span.start..end;
            search.finding.edits.push(Edit { span, what: EditKind::Remove });
        }
        b"CONSTRAINT" if search.body != Body::View => name_of_constraint(after, search),
        b"DISCARD" | b"IMPORT" if in_alter && (after.at("TABLESPACE") || after.at("PARTITION")) => {
            ddl.contents_from_file = true;
        }
        _ => return Some(false),
    }
    Some(true)
}

/// `ADD [COLUMN] [IF NOT EXISTS] c …`, or a list of such in parentheses, or something that is no column.
fn add(after: &mut Cursor<'_>, search: &mut Search<'_>) {
    let mut at = *after;
    let says_column = at.eat("COLUMN").is_some();
    at.eat_all(&["IF", "NOT", "EXISTS"]);
    if at.at_symbol(b'(') {
        // The parenthesis is for the search to open; the first definition follows it.
        search.adding = Some(search.depth() + 1);
        *after = at;
    } else if says_column || is_column(at) {
        search.adding = Some(search.depth());
        column(&mut at, search);
        *after = at;
    }
}

/// Takes the name at the beginning of a definition that is added, where it is a column's.
pub(crate) fn definition(search: &mut Search<'_>) {
    search.in_default = false;
    let mut at = search.cursor;
    if is_column(at) {
        column(&mut at, search);
        search.cursor = at;
    }
}

fn column(at: &mut Cursor<'_>, search: &mut Search<'_>) {
    if let Some(name) = at.identifier() {
        search.finding.named(&name);
        // Another word for BIGINT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE.
        search.finding.ddl.numbers_rows |= at.at("SERIAL");
    }
}

/// True where a column's name stands, and no index, constraint, partition or period.
fn is_column(mut cursor: Cursor<'_>) -> bool {
    const OTHERS: [&str; 10] = [
        "INDEX",
        "KEY",
        "UNIQUE",
        "FULLTEXT",
        "SPATIAL",
        "PRIMARY",
        "CONSTRAINT",
        "FOREIGN",
        "CHECK",
        "PARTITION",
    ];
    if cursor.eat_any(&OTHERS).is_some() {
        return false;
    }
    // Columns may be called so; what follows tells.
    let is_other = match cursor.eat_any(&["PERIOD", "SYSTEM", "VECTOR"]) {
        Some("PERIOD") => cursor.at("FOR"),
        Some("SYSTEM") => cursor.at("VERSIONING"),
        Some(_) => cursor.at("INDEX") || cursor.at("KEY"),
        None => false,
    };
    !is_other
}

/// Takes the name of an index, which may be one that means something elsewhere: `KEY nextval (a)`.
fn name_of_index(after: &mut Cursor<'_>, search: &mut Search<'_>) {
    /// What may follow the KEY of a column, and is no name.
    const ATTRIBUTES: [&str; 8] =
        ["DEFAULT", "CHECK", "AS", "GENERATED", "REFERENCES", "CONSTRAINT", "KEY", "INDEX"];
    let mut at = *after;
    at.eat_all(&["IF", "NOT", "EXISTS"]);
    let named = at.eat_any(&ATTRIBUTES).map_or_else(|| at.identifier(), |_| None);
    if let Some(name) = named.filter(|_| at.at_symbol(b'(')) {
        search.finding.named(&name);
        *after = at;
    }
}

fn name_of_constraint(after: &mut Cursor<'_>, search: &mut Search<'_>) {
    let mut at = *after;
    at.eat_all(&["IF", "NOT", "EXISTS"]);
    if at.eat_any(&["CHECK", "FOREIGN", "UNIQUE", "PRIMARY"]).is_none()
        && let Some(name) = at.identifier()
    {
        search.finding.named(&name);
        *after = at;
    }
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
