//! `CHARACTER SET utf8mb4` without a collation means another one on every server. Pure.

use tributary_schema::token::{TokenKind, Tokenizer};
use tributary_schema::{DdlKind, SqlMode};

/// The collation of utf8mb4 where none is named, by the server's version as it says it: MySQL from 8.0
/// on, MariaDB before and from 11.6 on (its `character_set_collations`).
pub(super) fn default_collation(server: &str) -> &'static str {
    let mut numbers = server.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match server.to_ascii_lowercase().contains("mariadb") {
        false => "utf8mb4_0900_ai_ci",
        true if version < (11, 6) => "utf8mb4_general_ci",
        true => "utf8mb4_uca1400_ai_ci",
    }
}

#[derive(Clone, Copy)]
struct Word<'a> {
    kind: TokenKind,
    text: &'a [u8],
    end: usize,
    depth: usize,
}

/// The statement with the collation named wherever utf8mb4 stands without one: of a column, of a table,
/// of a database.
pub(super) fn with_collation(sql: &[u8], mode: SqlMode, kind: DdlKind, collation: &str) -> Vec<u8> {
    use DdlKind::{AlterDatabase, AlterTable, CreateDatabase, CreateTable};
    if !matches!(kind, CreateTable | AlterTable | CreateDatabase | AlterDatabase) {
        return sql.to_vec();
    }
    let words = words(sql, mode);
    let (mut out, mut copied) = (Vec::with_capacity(sql.len()), 0);
    for at in 0..words.len() {
        if names_utf8mb4(&words, at) && !has_collation(&words, at, kind) {
            out.extend_from_slice(&sql[copied..words[at].end]);
            out.extend_from_slice(format!(" COLLATE {collation}").as_bytes());
            copied = words[at].end;
        }
    }
    out.extend_from_slice(&sql[copied..]);
    out
}

fn words(sql: &[u8], mode: SqlMode) -> Vec<Word<'_>> {
    let mut depth = 0usize;
    let tokens = Tokenizer::new(sql, mode).filter(|token| !token.kind.is_trivia());
    let word = |token: tributary_schema::token::Token| {
        let closes = token.kind == TokenKind::Symbol(b')');
        depth = depth.saturating_sub(usize::from(closes));
        let word =
            Word { kind: token.kind, text: &sql[token.span.clone()], end: token.span.end, depth };
        depth += usize::from(token.kind == TokenKind::Symbol(b'('));
        word
    };
    tokens.map(word).collect()
}

/// True for the `utf8mb4` of `CHARACTER SET [=] utf8mb4` or `CHARSET [=] utf8mb4`. Deeper in parentheses than
/// a column stands only an expression, which takes no collation there.
fn names_utf8mb4(words: &[Word<'_>], at: usize) -> bool {
    let is =
        |back: usize, wanted: &str| at.checked_sub(back).is_some_and(|at| words[at].is(wanted));
    let name = words[at].text;
    let name = name.strip_prefix(b"'").and_then(|name| name.strip_suffix(b"'")).unwrap_or(name);
    let equals = at > 0 && words[at - 1].kind == TokenKind::Symbol(b'=');
    let back = if equals { 2 } else { 1 };
    let follows = is(back, "charset")
        || is(back, "set") && (is(back + 1, "character") || is(back + 1, "char"));
    words[at].depth <= 1
        && matches!(words[at].kind, TokenKind::Word | TokenKind::Text)
        && name.eq_ignore_ascii_case(b"utf8mb4")
        && follows
}

/// True when the column's, the table's or the database's clause names a collation, or BINARY, which stands
/// for one.
fn has_collation(words: &[Word<'_>], at: usize, kind: DdlKind) -> bool {
    let depth = words[at].depth;
    // The options of a table may stand between commas.
    let is_option = depth == 0 && kind != DdlKind::AlterTable;
    let ends = |word: &&Word<'_>| {
        word.depth < depth
            || word.depth == depth && word.kind == TokenKind::Symbol(b',') && !is_option
    };
    let names = |word: &Word<'_>| word.depth == depth && (word.is("collate") || word.is("binary"));
    let before = words[..at].iter().rev().take_while(|word| !ends(word)).any(names);
    let behind = words[at..].iter().take_while(|word| !ends(word)).any(names);
    before || behind || kind == DdlKind::AlterTable && depth == 0 && has_option(words)
}

/// True when an ALTER TABLE has an action `[DEFAULT] COLLATE …`.
fn has_option(words: &[Word<'_>]) -> bool {
    let begins = |pair: &[Word<'_>]| {
        pair[0].depth == 0 && pair[0].kind == TokenKind::Symbol(b',') && pair[1].is("collate")
    };
    words.windows(2).any(begins)
        || words.windows(3).any(|three| begins(&[three[0], three[2]]) && three[1].is("default"))
}

impl Word<'_> {
    fn is(&self, wanted: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(wanted.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(sql: &str, kind: DdlKind) -> String {
        let made = with_collation(sql.as_bytes(), SqlMode(0), kind, "c");
        String::from_utf8(made).expect("UTF-8")
    }

    #[test]
    fn a_collation_is_named_where_none_is() {
        for (kind, sql, wanted) in [
            (
                DdlKind::CreateTable,
                "CREATE TABLE t (a CHAR(1) CHARACTER SET utf8mb4 NOT NULL, b INT) DEFAULT CHARSET=UTF8MB4 COMMENT='charset utf8mb4'",
                "CREATE TABLE t (a CHAR(1) CHARACTER SET utf8mb4 COLLATE c NOT NULL, b INT) DEFAULT CHARSET=UTF8MB4 COLLATE c COMMENT='charset utf8mb4'",
            ),
            (
                DdlKind::AlterTable,
                "ALTER TABLE t CONVERT TO CHARACTER SET 'utf8mb4', ADD x TEXT COLLATE k",
                "ALTER TABLE t CONVERT TO CHARACTER SET 'utf8mb4' COLLATE c, ADD x TEXT COLLATE k",
            ),
            (
                DdlKind::CreateDatabase,
                "CREATE DATABASE d CHARSET utf8mb4",
                "CREATE DATABASE d CHARSET utf8mb4 COLLATE c",
            ),
        ] {
            assert_eq!(made(sql, kind), wanted);
        }
    }

    #[test]
    fn what_names_one_or_takes_none_stays_as_it_is() {
        for (kind, sql) in [
            (
                DdlKind::CreateTable,
                "CREATE TABLE t (a CHAR(1) CHARACTER SET utf8mb4 NOT NULL COLLATE k)",
            ),
            (DdlKind::CreateTable, "CREATE TABLE t (a CHAR(1) CHARACTER SET utf8mb4 BINARY)"),
            (
                DdlKind::CreateTable,
                "CREATE TABLE t (a INT) COLLATE=k, ENGINE=InnoDB, CHARSET=utf8mb4",
            ),
            (DdlKind::CreateTable, "CREATE TABLE t (a INT) CHARSET latin1 COMMENT 'utf8mb4'"),
            (
                DdlKind::CreateTable,
                "CREATE TABLE t (a CHAR(9) AS (CAST(b AS CHAR CHARACTER SET utf8mb4)))",
            ),
            (DdlKind::AlterTable, "ALTER TABLE t CHARSET=utf8mb4, DEFAULT COLLATE=k"),
            (DdlKind::CreateView, "CREATE VIEW v AS SELECT CAST(1 AS CHAR CHARACTER SET utf8mb4)"),
        ] {
            assert_eq!(made(sql, kind), sql);
        }
    }

    #[test]
    fn servers_differ_in_what_utf8mb4_means() {
        for (server, wanted) in [
            ("9.7.0", "utf8mb4_0900_ai_ci"),
            ("10.11.6-MariaDB-log", "utf8mb4_general_ci"),
            ("11.8.2-MariaDB", "utf8mb4_uca1400_ai_ci"),
        ] {
            assert_eq!(default_collation(server), wanted);
        }
    }
}
