//! The same statement written anew from what was understood of it, with other database names.

use crate::classify::{self, Reading};
use crate::finding::{Edit, EditKind, Finding};
use crate::text::{self, hexadecimal, is_introducer, quoted};
use crate::token::{Token, TokenKind, Tokenizer};
use crate::{Condition, DdlKind, SqlMode, Statement, fold_name, reserved};
use std::iter::Peekable;
use std::slice::Iter;

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

/// The statement, which is UTF-8, with every database name replaced by `map` of it: of qualified tables and views,
/// wherever they stand, of functions and columns qualified with a database, and of CREATE, ALTER and DROP
/// DATABASE.
///
/// Not a byte of the device's is passed on. There are no comments and no semicolons in what is written, names that
/// are known to be names or that need it are in backticks, strings in single quotes, numbers of a form that was
/// checked, and blanks are blanks. It is for a session in UTF-8 (utf8mb4) whose `sql_mode` has the same
/// NO_BACKSLASH_ESCAPES; ANSI_QUOTES is no matter.
///
/// Names without a database stay without one: the caller makes the mapped default database current. Besides:
/// - what stood in executable comments (`/*!50100 … */`) stands without them;
/// - CREATE DATABASE gets `IF NOT EXISTS`, unless `OR REPLACE` is there;
/// - `START TRANSACTION` at the end of a CREATE TABLE is taken out, which only a server that applies
///   a binlog understands;
/// - MariaDB's `SET STATEMENT … FOR` in front is taken out;
/// - a view loses its definer, and is `SQL SECURITY INVOKER`; DROP VIEW gets `IF EXISTS`, since a target need not
///   have been able to make every view.
///
/// # Errors
/// [`RewriteError::NotDdl`] unless [`crate::classify`] calls it [`Statement::Ddl`].
pub fn rewrite(
    sql: &[u8],
    mode: SqlMode,
    map: &dyn Fn(&str) -> String,
) -> Result<Vec<u8>, RewriteError> {
    let is_made = |_: &Condition| true;
    rewrite_for(sql, mode, &Target { map, other: None, is_made: &is_made })
}

/// Where a statement is to run.
pub struct Target<'a> {
    /// What a database is called there.
    pub map: &'a dyn Fn(&str) -> String,
    /// Of the other product than the device: whether that is MariaDB.
    pub other: Option<bool>,
    /// Whether a change under a condition is made, where the target knows no conditions.
    pub is_made: &'a dyn Fn(&Condition) -> bool,
}

/// [`rewrite`], for a target that may be of the other product: names that are reserved there are quoted, and what
/// only MariaDB understands and says nothing of the data is left out for MySQL.
///
/// # Errors
/// As of [`rewrite`].
pub fn rewrite_for(
    sql: &[u8],
    mode: SqlMode,
    target: &Target<'_>,
) -> Result<Vec<u8>, RewriteError> {
    let written = match classify::understood(sql, mode) {
        Some(Reading::Ddl(finding)) => for_target(sql, mode, &finding, target),
        _ => None,
    };
    written.ok_or_else(|| not_ddl(&classify::classify(sql, mode)))
}

fn for_target(
    sql: &[u8],
    mode: SqlMode,
    finding: &Finding,
    target: &Target<'_>,
) -> Option<Vec<u8>> {
    let names = Names { map: target.map, fold: None, other: target.other };
    let is_index = matches!(finding.ddl.kind, DdlKind::CreateIndex | DdlKind::DropIndex);
    let conditions = (target.other == Some(false)).then_some(target.is_made);
    let left_out = is_index
        && !finding.ddl.conditions.iter().all(|c| conditions.is_none_or(|is_made| is_made(c)));
    if left_out {
        // A statement that changes nothing, and fails where the table is not there.
        let table = finding.ddl.tables.first()?;
        let database =
            table.database.as_deref().map(|name| crate::quote(&(target.map)(name)) + ".");
        let name = database.unwrap_or_default() + &crate::quote(&table.table);
        return Some(format!("ALTER TABLE {name}").into_bytes());
    }
    let mut finding = finding.clone();
    finding.edits.extend(finding.left_out(conditions));
    write(sql, mode, &finding, &names)
}

/// The statement, which is UTF-8, as a server means it whose names of databases and tables have no case
/// (`lower_case_table_names` is not 0): written anew as by [`rewrite`], with these names, and other names for
/// tables, folded. `None` unless it is DDL.
pub fn fold(sql: &[u8], mode: SqlMode) -> Option<Vec<u8>> {
    let Some(Reading::Ddl(finding)) = classify::understood(sql, mode) else { return None };
    write(sql, mode, &finding, &Names { fold: Some(&fold_name), ..Names::kept() })
}

/// What the names of a statement become.
pub(crate) struct Names<'a> {
    /// Of a database.
    pub(crate) map: &'a dyn Fn(&str) -> String,
    /// Of a database, before that; of a table, and of an alias of one.
    pub(crate) fold: Option<&'a dyn Fn(&str) -> String>,
    /// As of [`Target`].
    other: Option<bool>,
}

// === impl Names ===

impl Names<'_> {
    /// They stay.
    pub(crate) fn kept() -> Self {
        Self { map: &str::to_owned, fold: None, other: None }
    }
}

/// `None` for a statement that holds something that cannot be written so that every server reads it alike.
pub(crate) fn write(
    sql: &[u8],
    mode: SqlMode,
    finding: &Finding,
    names: &Names<'_>,
) -> Option<Vec<u8>> {
    let mut edits: Vec<&Edit> = finding.edits.iter().collect();
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut writer = Writer {
        sql,
        mode,
        names,
        edits: edits.iter().peekable(),
        out: Vec::with_capacity(sql.len() + finding.edits.len() * 16),
        last: Last::Start,
        apart: false,
        removed: 0,
    };
    for token in Tokenizer::new(sql, mode) {
        if token.kind == TokenKind::Symbol(b';') {
            break;
        }
        writer.token(&token)?;
    }
    Some(writer.out)
}

/// What was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Start,
    /// A word or a name.
    Word,
    /// The name of a character set ahead of a string; and whether that has to be UTF-8.
    Introducer(bool),
    /// A string with an introducer, as hexadecimal.
    Hexadecimal,
    Symbol(u8),
    Other,
}

struct Writer<'a> {
    sql: &'a [u8],
    mode: SqlMode,
    names: &'a Names<'a>,
    edits: Peekable<Iter<'a, &'a Edit>>,
    out: Vec<u8>,
    last: Last,
    /// Something stood between the last token and this one.
    apart: bool,
    /// Where what is to be taken out ends.
    removed: usize,
}

impl Writer<'_> {
    fn token(&mut self, token: &Token) -> Option<()> {
        if token.kind.is_trivia() {
            self.apart = true;
            return Some(());
        }
        let mut name = None;
        while let Some(edit) = self.edits.next_if(|edit| edit.span.start <= token.span.start) {
            match &edit.what {
                EditKind::OfMariaDb if self.names.other != Some(false) => {}
                EditKind::Remove | EditKind::OfMariaDb => {
                    self.removed = self.removed.max(edit.span.end);
                }
                EditKind::Name(of) => name = Some(of.clone()),
                EditKind::Insert(text) => self.insert(text),
                EditKind::Database(of) => name = Some((self.names.map)(&self.fold(of))),
                EditKind::Table(of) => name = Some(self.fold(of).into_owned()),
                EditKind::Alias(of) => name = self.names.fold.map(|fold| fold(of)),
            }
        }
        if token.span.start < self.removed {
            self.apart = true;
            return Some(());
        }
        match name {
            Some(name) => self.name(&name)?,
            None => self.other(token)?,
        }
        self.apart = false;
        Some(())
    }

    fn fold<'n>(&self, name: &'n str) -> std::borrow::Cow<'n, str> {
        match self.names.fold {
            Some(fold) => fold(name).into(),
            None => name.into(),
        }
    }

    fn insert(&mut self, text: &str) {
        self.space(Last::Other);
        self.out.extend_from_slice(text.as_bytes());
        self.last = Last::Other;
    }

    fn other(&mut self, token: &Token) -> Option<()> {
        let bytes = self.sql.get(token.span.clone())?;
        match token.kind {
            TokenKind::Word if self.is_reserved(token, bytes) => {
                self.name(std::str::from_utf8(bytes).ok()?)?;
            }
            TokenKind::Word => {
                if bytes.is_ascii() && !bytes.first()?.is_ascii_digit() {
                    let last = match is_introducer(bytes) {
                        true => Last::Introducer(is_utf8(bytes)),
                        false => Last::Word,
                    };
                    self.plain(bytes, last);
                } else {
                    self.name(std::str::from_utf8(bytes).ok()?)?;
                }
            }
            TokenKind::Quoted => {
                let text = text::value(bytes, SqlMode::NO_BACKSLASH_ESCAPES, |_| 1);
                self.name(std::str::from_utf8(&text).ok()?)?;
            }
            TokenKind::Text => self.text(bytes)?,
            TokenKind::Number => {
                is_number(bytes).then(|| self.plain(bytes, Last::Other))?;
            }
            TokenKind::Symbol(symbol) if SYMBOLS.contains(&symbol) => {
                self.plain(bytes, Last::Symbol(symbol));
            }
            _ => return None,
        }
        Some(())
    }

    /// A name that the target reserves. A word that a parenthesis follows is a function's, and OFFSET behind a number
    /// belongs to LIMIT.
    fn is_reserved(&self, token: &Token, word: &[u8]) -> bool {
        let Some(to_mariadb) = self.names.other else { return false };
        if !reserved::is_reserved(word, to_mariadb) {
            return false;
        }
        let behind = self.sql.get(token.span.end..).unwrap_or_default();
        let mut behind = Tokenizer::new(behind, self.mode).filter(|token| !token.kind.is_trivia());
        let is_function = behind.next().is_some_and(|next| next.kind == TokenKind::Symbol(b'('));
        !(is_function || self.last == Last::Other && word.eq_ignore_ascii_case(b"OFFSET"))
    }

    fn plain(&mut self, bytes: &[u8], what: Last) {
        self.space(what);
        self.out.extend_from_slice(bytes);
        self.last = what;
    }

    fn name(&mut self, name: &str) -> Option<()> {
        // No server takes these; a name that holds one was read wrongly.
        (!name.contains('\0')).then_some(())?;
        self.space(Last::Word);
        self.out.extend_from_slice(crate::quote(name).as_bytes());
        self.last = Last::Word;
        Some(())
    }

    fn text(&mut self, literal: &[u8]) -> Option<()> {
        let (national, literal) = match literal {
            [b'n' | b'N', rest @ ..] => (true, rest),
            literal => (false, literal),
        };
        let value = text::value(literal, self.mode, |_| 1);
        let before = self.last;
        let is_text = std::str::from_utf8(&value).is_ok();
        match before {
            // What it would go on with is no string.
            Last::Hexadecimal => return None,
            Last::Introducer(is_utf8) if !(value.is_ascii() || is_utf8 && is_text) => {
                hexadecimal(&mut self.out, &value);
                self.last = Last::Hexadecimal;
                return Some(());
            }
            _ => {}
        }
        is_text.then_some(())?;
        self.space(Last::Other);
        if national {
            self.out.push(b'N');
        }
        quoted(&mut self.out, &value, self.mode);
        self.last = Last::Other;
        Some(())
    }

    /// A blank, where one stood or the two would be read as one.
    fn space(&mut self, next: Last) {
        let joined = match (self.last, next) {
            (Last::Start, _) | (_, Last::Symbol(b',')) => true,
            _ if self.apart => false,
            // A function's name and its parenthesis.
            (Last::Word | Last::Introducer(_) | Last::Symbol(_), Last::Symbol(b'('))
            | (Last::Symbol(b'.' | b'('), _)
            | (_, Last::Symbol(b'.' | b')'))
            | (Last::Symbol(b'-' | b'+' | b'='), Last::Other)
            | (Last::Symbol(b'='), Last::Word)
            | (Last::Word | Last::Other, Last::Symbol(b'=')) => true,
            (Last::Symbol(a), Last::Symbol(b)) => OPERATORS.contains(&&[a, b]),
            _ => false,
        };
        if !joined {
            self.out.push(b' ');
        }
    }
}

/// All that a statement which defines something may hold.
const SYMBOLS: &[u8] = b"(),.=<>!+-*/%&|^~:{}";
/// Symbols that are one where they stand side by side.
const OPERATORS: [&[u8; 2]; 11] =
    [b"<=", b">=", b"=>", b"<>", b"!=", b":=", b"||", b"&&", b"->", b">>", b"<<"];

fn is_utf8(introducer: &[u8]) -> bool {
    introducer.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"_utf8"))
}

/// `1`, `1.`, `1.5`, `.5`, `1.5e-5`, `0x1F`, `0b01`, `x'1F'`, `b'01'`.
fn is_number(bytes: &[u8]) -> bool {
    let all = |digits: &[u8], is: fn(&u8) -> bool| digits.iter().all(is);
    match bytes {
        [b'x' | b'X', b'\'', digits @ .., b'\''] => all(digits, u8::is_ascii_hexdigit),
        [b'b' | b'B', b'\'', digits @ .., b'\''] => all(digits, |b| matches!(b, b'0' | b'1')),
        [b'0', b'x', digits @ ..] => all(digits, u8::is_ascii_hexdigit),
        [b'0', b'b', digits @ ..] => all(digits, |b| matches!(b, b'0' | b'1')),
        _ => {
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            let (number, exponent) = match text.split_once(['e', 'E']) {
                Some((number, exponent)) => (number, Some(exponent)),
                None => (text, None),
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
            is_digits(whole)
                && is_digits(fraction)
                && whole.len() + fraction.len() > 0
                && exponent.is_none_or(|text| !text.is_empty() && is_digits(text))
        }
    }
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
