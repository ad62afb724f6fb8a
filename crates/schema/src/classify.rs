//! What sort of statement it is, by its first words.

use crate::cursor::Cursor;
use crate::finding::{Edit, EditKind, Finding};
use crate::statement::{DdlKind, RoutineKind, RoutineVerb, Statement, TransactionKind, Xa};
use crate::token::{TokenKind, Tokenizer};
use crate::{SqlMode, alter, create, drop, write};

/// A statement that was understood.
pub(crate) enum Reading {
    Ddl(Finding),
    Other(Statement),
}

const UNKNOWN_CHARS: usize = 120;

pub(crate) const ACCOUNT: &str = "an account, a role or a grant";
pub(crate) const SERVER_OBJECT: &str = "an object of the server, not of a database";
pub(crate) const TEMPORARY: &str = "a temporary table";
const MAINTENANCE: &str = "maintenance";
const SESSION: &str = "state of the session";
const QUESTION: &str = "a question";
const REPLICATION: &str = "replication or the server's own operation";
const EMPTY: &str = "nothing but a comment";

/// Says what the statement does. It never fails and never panics, whatever the bytes; what it does
/// not understand is [`Statement::Unknown`]. Only the first words of a statement that is not DDL are
/// read, however long it is.
///
/// `sql` is UTF-8: see [`crate::utf8`]. DDL that is not, but for its comments, is unknown.
pub fn classify(sql: &[u8], mode: SqlMode) -> Statement {
    match understood(sql, mode) {
        Some(Reading::Ddl(finding)) => Statement::Ddl(finding.ddl),
        Some(Reading::Other(statement)) => statement,
        None => Statement::Unknown { text: excerpt(sql, mode) },
    }
}

/// Reads a statement; `None` when it is not understood, or holds what cannot be written anew.
pub(crate) fn understood(sql: &[u8], mode: SqlMode) -> Option<Reading> {
    let reading = read(Cursor::new(sql, mode))?;
    if let Reading::Ddl(finding) = &reading {
        write::write(sql, mode, finding, &write::Names::kept())?;
    }
    Some(reading)
}

/// Reads a statement; `None` when it is not understood.
fn read(mut cursor: Cursor<'_>) -> Option<Reading> {
    if cursor.at_end() {
        return Some(ignored(EMPTY));
    }
    let first = cursor.next()?;
    if first.kind != TokenKind::Word {
        return None;
    }
    let word = cursor.bytes(&first).to_ascii_uppercase();
    match word.as_slice() {
        b"CREATE" => create::read(cursor),
        b"ALTER" => alter::read(cursor),
        b"DROP" => drop::read(cursor),
        b"RENAME" => rename(cursor),
        b"TRUNCATE" => truncate(cursor).map(Reading::Ddl),
        b"SET" if cursor.eat("STATEMENT").is_some() => for_one_statement(cursor),
        word => {
            let statement = transaction(word, cursor)
                .map(Statement::Transaction)
                .or_else(|| dml(word, cursor).map(|verb| Statement::Dml { verb }))
                .or_else(|| no_change(word, cursor).map(|why| Statement::Ignored { why }))?;
            Some(Reading::Other(statement))
        }
    }
}

pub(crate) fn ignored(why: &'static str) -> Reading {
    Reading::Other(Statement::Ignored { why })
}

/// What stands where the kind of a routine does, or `None` for another sort of object.
pub(crate) fn routine_kind(cursor: &mut Cursor<'_>) -> Option<RoutineKind> {
    const KINDS: [(&str, RoutineKind); 6] = [
        ("TRIGGER", RoutineKind::Trigger),
        ("PROCEDURE", RoutineKind::Procedure),
        ("FUNCTION", RoutineKind::Function),
        ("EVENT", RoutineKind::Event),
        ("PACKAGE", RoutineKind::Package),
        ("LIBRARY", RoutineKind::Library),
    ];
    let (_, kind) = KINDS.into_iter().find(|(word, _)| cursor.eat(word).is_some())?;
    let is_body = kind == RoutineKind::Package && cursor.eat("BODY").is_some();
    Some(if is_body { RoutineKind::PackageBody } else { kind })
}

/// A routine's name, which follows its kind.
pub(crate) fn routine(
    kind: RoutineKind,
    verb: RoutineVerb,
    mut cursor: Cursor<'_>,
) -> Option<Reading> {
    let mut finding = Finding::new(DdlKind::AlterTable);
    let name = finding.table(&mut cursor)?;
    let is_loadable = cursor.at("RETURNS") && kind == RoutineKind::Function;
    Some(if is_loadable {
        ignored(SERVER_OBJECT)
    } else {
        Reading::Other(Statement::Routine { kind, verb, name })
    })
}

/// Takes `WAIT n`, `NOWAIT`, and whatever of `words` stands there.
pub(crate) fn trailer(cursor: &mut Cursor<'_>, words: &[&'static str], finding: &mut Finding) {
    loop {
        let start = cursor.peek().map_or(usize::MAX, |token| token.span.start);
        if cursor.eat("WAIT").is_some() {
            cursor.eat_kind(TokenKind::Number);
            finding.of_mariadb(start, cursor);
        } else if cursor.eat("NOWAIT").is_some() {
            finding.of_mariadb(start, cursor);
        } else if cursor.eat_any(words).is_none() {
            return;
        }
    }
}

fn rename(mut cursor: Cursor<'_>) -> Option<Reading> {
    if cursor.eat("USER").is_some() {
        return Some(ignored(ACCOUNT));
    }
    cursor.eat_any(&["TABLE", "TABLES"])?;
    let mut finding = Finding::new(DdlKind::RenameTable);
    let start = cursor.peek()?.span.start;
    finding.ddl.if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    finding.of_mariadb(start, &cursor);
    loop {
        let from = finding.table(&mut cursor)?;
        trailer(&mut cursor, &[], &mut finding);
        cursor.eat("TO")?;
        let to = finding.table(&mut cursor)?;
        finding.ddl.renames.push((from, to));
        if !cursor.eat_symbol(b',') {
            break;
        }
    }
    cursor.at_end().then_some(Reading::Ddl(finding))
}

fn truncate(mut cursor: Cursor<'_>) -> Option<Finding> {
    let mut finding = Finding::new(DdlKind::TruncateTable);
    cursor.eat("TABLE");
    finding.table(&mut cursor)?;
    trailer(&mut cursor, &["DROP", "REUSE", "STORAGE"], &mut finding);
    cursor.at_end().then_some(finding)
}

/// `SET STATEMENT variable = value, … FOR …` (MariaDB). The settings are the session's; the rest is
/// what changes something.
fn for_one_statement(mut cursor: Cursor<'_>) -> Option<Reading> {
    let mut depth = 0_usize;
    loop {
        let token = cursor.next()?;
        match token.kind {
            TokenKind::Symbol(b'(') => depth += 1,
            TokenKind::Symbol(b')') => depth = depth.checked_sub(1)?,
            TokenKind::Word if depth == 0 && cursor.is(&token, "FOR") => break,
            _ => {}
        }
    }
    let rest = cursor.peek()?.span.start;
    if cursor.at("SET") {
        // No server takes one within another; reading them would take a frame of the stack each.
        return None;
    }
    let mut reading = read(cursor)?;
    if let Reading::Ddl(finding) = &mut reading {
        finding.edits.push(Edit { span: 0..rest, what: EditKind::Remove });
    }
    Some(reading)
}

fn transaction(word: &[u8], mut cursor: Cursor<'_>) -> Option<TransactionKind> {
    let name = |mut cursor: Cursor<'_>| {
        let name = cursor.identifier()?.text;
        cursor.at_end().then_some(name)
    };
    match word {
        b"BEGIN" => {
            cursor.eat("WORK");
            cursor.at_end().then_some(TransactionKind::Begin)
        }
        b"START" => cursor.eat("TRANSACTION").map(|_| TransactionKind::Begin),
        b"COMMIT" => Some(TransactionKind::Commit),
        b"ROLLBACK" => {
            cursor.eat("WORK");
            if cursor.eat("TO").is_none() {
                return Some(TransactionKind::Rollback);
            }
            cursor.eat("SAVEPOINT");
            name(cursor).map(|name| TransactionKind::RollbackTo { name })
        }
        b"SAVEPOINT" => name(cursor).map(|name| TransactionKind::Savepoint { name }),
        b"RELEASE" => {
            cursor.eat("SAVEPOINT")?;
            name(cursor).map(|name| TransactionKind::Release { name })
        }
        b"XA" => xa(cursor),
        _ => None,
    }
}

fn xa(mut cursor: Cursor<'_>) -> Option<TransactionKind> {
    let verb = cursor.eat_any(&["START", "BEGIN", "END", "PREPARE", "COMMIT", "ROLLBACK"])?;
    let mut xid = String::new();
    while let Some(token) = cursor.peek() {
        let is_part = matches!(token.kind, TokenKind::Text | TokenKind::Number);
        if !is_part && token.kind != TokenKind::Symbol(b',') {
            break;
        }
        xid.push_str(std::str::from_utf8(cursor.bytes(&token)).ok()?);
        cursor.next();
    }
    let one_phase = cursor.eat_all(&["ONE", "PHASE"]);
    let verb = match verb {
        "START" | "BEGIN" => Xa::Start,
        "END" => Xa::End,
        "PREPARE" => Xa::Prepare,
        "COMMIT" if one_phase => Xa::CommitOnePhase,
        "COMMIT" => Xa::Commit,
        _ => Xa::Rollback,
    };
    (!xid.is_empty()).then_some(TransactionKind::Xa { verb, xid })
}

fn dml(word: &[u8], mut cursor: Cursor<'_>) -> Option<&'static str> {
    const VERBS: [&str; 12] = [
        "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "DO", "WITH", "SELECT", "VALUES",
        "TABLE", "HANDLER",
    ];
    if word == b"ANALYZE" {
        // MariaDB's ANALYZE UPDATE does what it analyses.
        cursor.eat_any(&["LOCAL", "NO_WRITE_TO_BINLOG"]);
        return (!cursor.at("TABLE") && !cursor.at("TABLES")).then_some("ANALYZE");
    }
    if word == b"LOAD" && cursor.at("INDEX") {
        return None;
    }
    VERBS.into_iter().find(|verb| verb.as_bytes() == word)
}

/// Why a statement means nothing to a copy of the tables.
fn no_change(word: &[u8], cursor: Cursor<'_>) -> Option<&'static str> {
    Some(match word {
        b"GRANT" | b"REVOKE" => ACCOUNT,
        b"SET" if cursor.at("PASSWORD") => ACCOUNT,
        b"SET" | b"USE" | b"LOCK" | b"UNLOCK" => SESSION,
        b"ANALYZE" | b"OPTIMIZE" | b"CHECK" | b"REPAIR" | b"CHECKSUM" | b"FLUSH" | b"CACHE"
        | b"LOAD" | b"BACKUP" => MAINTENANCE,
        b"INSTALL" | b"UNINSTALL" => SERVER_OBJECT,
        b"SHOW" | b"EXPLAIN" | b"DESC" | b"DESCRIBE" | b"HELP" => QUESTION,
        b"KILL" | b"RESET" | b"PURGE" | b"CHANGE" | b"START" | b"STOP" | b"CLONE" | b"SHUTDOWN"
        | b"RESTART" => REPLICATION,
        _ => return None,
    })
}

/// The beginning of a statement for a message, on one line and without what its strings hold.
fn excerpt(sql: &[u8], mode: SqlMode) -> String {
    let mut text = String::new();
    for token in Tokenizer::new(sql, mode) {
        match token.kind {
            TokenKind::Text => text.push_str("'…'"),
            // It began with a quote or a comment; what it would have held is not for a message.
            TokenKind::Unterminated => text.push('…'),
            TokenKind::Space if text.is_empty() => {}
            TokenKind::Space => text.push(' '),
            _ => {
                let bytes = sql.get(token.span).unwrap_or_default();
                let shown = bytes.get(..UNKNOWN_CHARS * 4).unwrap_or(bytes);
                let lossy = String::from_utf8_lossy(shown);
                text.extend(lossy.chars().map(|c| if c.is_control() { ' ' } else { c }));
            }
        }
        if text.chars().count() >= UNKNOWN_CHARS {
            break;
        }
    }
    text.chars().take(UNKNOWN_CHARS).collect()
}
