//! What a CREATE or ALTER TABLE says of its columns, as far as a filter has to know: which are
//! generated from which others, and which get another name.

use tributary_schema::SqlMode;
use tributary_schema::token::{TokenKind, Tokenizer};

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Definitions {
    /// Columns that are defined.
    pub(crate) names: Vec<String>,
    /// Each generated column, with the words of its expression that may be columns.
    pub(crate) generated: Vec<(String, Vec<String>)>,
    /// Old and new name of each column that is renamed.
    pub(crate) renamed: Vec<(String, String)>,
}

/// A token that takes part in the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Word(String),
    Quoted(String),
    Symbol(u8),
    Other,
}

/// Words of expressions that are no columns; a column that has one for its name is written in backticks.
const EXPRESSION_WORDS: [&str; 42] = [
    "AND",
    "AS",
    "ASCII",
    "BETWEEN",
    "BINARY",
    "CASE",
    "CHAR",
    "CHARACTER",
    "CHARSET",
    "COLLATE",
    "DATE",
    "DATETIME",
    "DAY",
    "DECIMAL",
    "DIV",
    "ELSE",
    "END",
    "FALSE",
    "FROM",
    "HOUR",
    "IN",
    "INTERVAL",
    "IS",
    "JSON",
    "LIKE",
    "MINUTE",
    "MOD",
    "MONTH",
    "NOT",
    "NULL",
    "OR",
    "REGEXP",
    "SECOND",
    "SET",
    "SIGNED",
    "THEN",
    "TRUE",
    "UNSIGNED",
    "USING",
    "WHEN",
    "XOR",
    "YEAR",
];

struct Scan {
    pieces: Vec<Piece>,
    at: usize,
    found: Definitions,
}

/// Reads a statement that is known to be a CREATE or ALTER TABLE.
pub(crate) fn read(sql: &[u8], mode: SqlMode) -> Definitions {
    let pieces = Tokenizer::new(sql, mode).filter(|token| !token.kind.is_trivia());
    let pieces = pieces.map(|token| {
        let text = String::from_utf8_lossy(sql.get(token.span).unwrap_or_default()).into_owned();
        match token.kind {
            TokenKind::Word => Piece::Word(text),
            TokenKind::Quoted => Piece::Quoted(unquote(&text)),
            TokenKind::Symbol(symbol) => Piece::Symbol(symbol),
            _ => Piece::Other,
        }
    });
    let mut scan = Scan { pieces: pieces.collect(), at: 0, found: Definitions::default() };
    let is_create = scan.is_word(0, "CREATE");
    scan.run();
    if is_create {
        // Every column is defined here: a word that is none of them is none.
        let Definitions { names, generated, .. } = &mut scan.found;
        for (_, words) in generated {
            words.retain(|word| names.iter().any(|name| same(name, word)));
        }
    }
    scan.found
}

/// The identifiers of an expression.
pub(crate) fn identifiers(expression: &str) -> Vec<String> {
    let tokens = Tokenizer::new(expression.as_bytes(), SqlMode(0));
    let text = |token: tributary_schema::token::Token| {
        let text = expression.get(token.span)?;
        match token.kind {
            TokenKind::Word => Some(text.to_owned()),
            TokenKind::Quoted => Some(unquote(text)),
            _ => None,
        }
    };
    tokens.filter_map(text).collect()
}

/// Names of columns have no case.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

fn unquote(text: &str) -> String {
    let quote = text.get(..1).unwrap_or_default();
    let inside = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    inside.replace(&quote.repeat(2), quote)
}

// === impl Scan ===

impl Scan {
    fn run(&mut self) {
        let mut depth = 0_usize;
        // The column whose definition is being read, and whether the parentheses list definitions.
        let (mut column, mut in_list) = (None, false);
        let is_create = self.is_word(0, "CREATE");
        while self.at < self.pieces.len() {
            let at = self.at;
            self.at += 1;
            match &self.pieces[at] {
                Piece::Symbol(b'(') => {
                    depth += 1;
                    if depth == 1 && (is_create && !in_list || self.follows_add(at)) {
                        in_list = true;
                        column = self.define();
                    }
                }
                Piece::Symbol(b')') => depth = depth.saturating_sub(1),
                Piece::Symbol(b',') if depth == 1 && in_list => column = self.define(),
                Piece::Symbol(b',') if depth == 0 => in_list = false,
                Piece::Word(word) if depth == 0 && !is_create => {
                    match word.to_ascii_uppercase().as_str() {
                        "ADD" | "MODIFY" => {
                            self.skip(&["COLUMN", "IF", "NOT", "EXISTS"]);
                            column = self.define();
                        }
                        "CHANGE" => {
                            self.skip(&["COLUMN", "IF", "EXISTS"]);
                            column = self.renamed();
                        }
                        "RENAME" if self.is_word(self.at, "COLUMN") => {
                            self.skip(&["COLUMN", "IF", "EXISTS"]);
                            self.renamed();
                        }
                        "AS" => self.generated(column.as_ref()),
                        _ => {}
                    }
                }
                Piece::Word(word) if depth == 1 && word.eq_ignore_ascii_case("AS") => {
                    self.generated(column.as_ref());
                }
                _ => {}
            }
        }
    }

    fn is_word(&self, at: usize, wanted: &str) -> bool {
        matches!(self.pieces.get(at), Some(Piece::Word(word)) if word.eq_ignore_ascii_case(wanted))
    }

    /// `ADD (`, `ADD COLUMN (`, `ADD COLUMN IF NOT EXISTS (`.
    fn follows_add(&self, at: usize) -> bool {
        let words = ["ADD", "COLUMN", "EXISTS"];
        at.checked_sub(1).is_some_and(|before| words.iter().any(|w| self.is_word(before, w)))
    }

    fn skip(&mut self, words: &[&str]) {
        while words.iter().any(|word| self.is_word(self.at, word)) {
            self.at += 1;
        }
    }

    fn identifier(&mut self) -> Option<String> {
        let name = match self.pieces.get(self.at)? {
            Piece::Word(name) | Piece::Quoted(name) => name.clone(),
            Piece::Symbol(_) | Piece::Other => return None,
        };
        self.at += 1;
        Some(name)
    }

    fn define(&mut self) -> Option<String> {
        let name = self.identifier()?;
        self.found.names.push(name.clone());
        Some(name)
    }

    /// `old new` or `old TO new`.
    fn renamed(&mut self) -> Option<String> {
        let old = self.identifier()?;
        self.skip(&["TO"]);
        let new = self.define()?;
        if !same(&old, &new) {
            self.found.renamed.push((old, new.clone()));
        }
        Some(new)
    }

    /// At the parenthesis of `AS (expression)`, unless it is another AS.
    fn generated(&mut self, column: Option<&String>) {
        let Some(column) = column else { return };
        if self.pieces.get(self.at) != Some(&Piece::Symbol(b'(')) {
            return;
        }
        let (mut depth, mut words) = (0_usize, Vec::new());
        while let Some(piece) = self.pieces.get(self.at) {
            self.at += 1;
            match piece {
                Piece::Symbol(b'(') => depth += 1,
                Piece::Symbol(b')') => depth -= 1,
                Piece::Quoted(word) => words.push(word.clone()),
                Piece::Word(word)
                    if self.pieces.get(self.at) != Some(&Piece::Symbol(b'('))
                        && !EXPRESSION_WORDS.iter().any(|w| w.eq_ignore_ascii_case(word)) =>
                {
                    words.push(word.clone());
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        self.found.generated.push((column.clone(), words));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Definitions {
        read(sql.as_bytes(), SqlMode(0))
    }

    fn generated(sql: &str) -> Vec<String> {
        let found = of(sql).generated.into_iter();
        found.map(|(name, words)| format!("{name}<{}", words.join("+"))).collect()
    }

    #[test]
    fn generated_columns_are_found_with_what_they_are_made_of() {
        assert_eq!(
            generated(
                "CREATE TABLE t (id INT PRIMARY KEY, phone VARCHAR(20) DEFAULT ('x'), \
                 `last four` CHAR(4) GENERATED ALWAYS AS (RIGHT(`phone`, 4)) STORED, \
                 n INT AS (CAST(id AS SIGNED) + 1), KEY k ((CAST(id AS CHAR(3)))), CHECK (id > 0)) \
                 PARTITION BY HASH (id)"
            ),
            ["last four<phone", "n<id"]
        );
        assert_eq!(
            generated(
                "ALTER TABLE t ADD COLUMN a INT AS (b + CASE WHEN c IS NULL THEN 1 ELSE d END), \
                 ADD (e INT, f INT GENERATED ALWAYS AS (`and`) VIRTUAL), MODIFY g INT AS (h), ADD INDEX i (a)"
            ),
            ["a<b+c+d", "f<and", "g<h"]
        );
        assert!(generated("CREATE TABLE t (a INT) AS (SELECT phone FROM u)").is_empty());
    }

    #[test]
    fn columns_that_get_another_name_are_found() {
        let sql = "ALTER TABLE t CHANGE COLUMN `a` b INT, RENAME COLUMN c TO `d`, CHANGE e E INT, \
                   RENAME INDEX x TO y, RENAME TO z";
        let pairs: Vec<_> = of(sql).renamed;
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(pairs, [pair("a", "b"), pair("c", "d")]);
    }

    #[test]
    fn damaged_statements_end_without_a_panic() {
        let sql = "ALTER TABLE t ADD a INT AS ((b + 1, CHANGE c, RENAME COLUMN d TO `e`, ADD (f INT))) AS (";
        for end in 0..=sql.len() {
            let _ = of(&sql[..end]);
        }
    }
}
