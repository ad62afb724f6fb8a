//! Where one token of MySQL's or MariaDB's SQL ends and the next begins.
//!
//! After the servers' own lexer (`sql/sql_lex.cc`, `lex_one_token`). It works on bytes and takes them for
//! UTF-8: text in another character set has to be converted before ([`crate::utf8`]).

use crate::SqlMode;
use std::ops::Range;

/// A piece of a statement. The spans of all tokens, one after another, are the whole statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it stands, in bytes.
    pub span: Range<usize>,
}

/// What a [`Token`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Blanks and line ends.
    Space,
    /// `-- …`, `# …`, `/* … */`, optimizer hints included.
    Comment,
    /// `/*!`, `/*!50100` or `/*M!100100`: what follows, up to [`TokenKind::ExecutableEnd`], is part of
    /// the statement. Both servers blank the `!` of those they did not run before they write the
    /// statement to the binlog, so one that is there was run.
    ExecutableBegin,
    /// The `*/` of an executable comment.
    ExecutableEnd,
    /// A keyword or an unquoted identifier.
    Word,
    /// An identifier in backticks, or in double quotes under `ANSI_QUOTES`.
    Quoted,
    /// `'…'`, `N'…'`, and `"…"` without `ANSI_QUOTES`.
    Text,
    /// `1`, `1.5`, `.5`, `1e-5`, `0x1F`, `0b01`, `x'1F'`, `b'01'`.
    Number,
    /// `@name`, `` @`name` ``, `@@global.name`, and the host in `user@host`.
    Variable,
    /// Any other byte.
    Symbol(u8),
    /// A string, a quoted identifier or a comment that does not end; or a place where servers, versions or
    /// character sets differ in what follows, such as an executable comment within another.
    Unterminated,
}

/// Reads the tokens of one statement. A copy is a bookmark.
#[derive(Debug, Clone, Copy)]
pub struct Tokenizer<'a> {
    sql: &'a [u8],
    mode: SqlMode,
    at: usize,
    executable: bool,
    after_point: bool,
    /// `/*M!` begins a comment that MariaDB executes.
    knows_mariadb: bool,
}

// === impl TokenKind ===

impl TokenKind {
    /// Takes no part in the statement.
    pub fn is_trivia(self) -> bool {
        matches!(self, Self::Space | Self::Comment | Self::ExecutableBegin | Self::ExecutableEnd)
    }
}

// === impl Tokenizer ===

impl<'a> Tokenizer<'a> {
    /// The tokens of `sql` under `mode`.
    pub fn new(sql: &'a [u8], mode: SqlMode) -> Self {
        Self { sql, mode, at: 0, executable: false, after_point: false, knows_mariadb: true }
    }

    /// The same tokens as MySQL has them, to which `/*M!` begins a comment like any other.
    pub(crate) fn of_mysql(self) -> Self {
        Self { knows_mariadb: false, ..self }
    }

    /// True inside an executable comment.
    pub fn in_executable(&self) -> bool {
        self.executable
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn token(&mut self, first: u8) -> TokenKind {
        match first {
            b if is_space(b) => {
                self.skip_while(is_space);
                TokenKind::Space
            }
            b'#' => self.line_comment(),
            b'-' if self.dashes_begin_a_comment() => self.line_comment(),
            // A blank or a control character to some character sets, and so a comment.
            b'-' if self.peek(1) == Some(b'-') && self.peek(2).is_some_and(|b| !b.is_ascii()) => {
                self.unterminated()
            }
            b'/' if self.peek(1) == Some(b'*') => self.block_comment(),
            b'*' if self.executable && self.peek(1) == Some(b'/') => {
                self.at += 2;
                self.executable = false;
                TokenKind::ExecutableEnd
            }
            b'`' => self.delimited(first, false, TokenKind::Quoted),
            b'"' if self.mode.ansi_quotes() => self.delimited(first, false, TokenKind::Quoted),
            b'\'' | b'"' => self.text(first),
            b'n' | b'N' if self.peek(1) == Some(b'\'') => {
                self.at += 1;
                self.text(b'\'')
            }
            b'x' | b'X' if self.peek(1) == Some(b'\'') => self.digits(|b| b.is_ascii_hexdigit(), 2),
            b'b' | b'B' if self.peek(1) == Some(b'\'') => {
                self.digits(|b| matches!(b, b'0' | b'1'), 1)
            }
            b'@' => self.variable(),
            // After a point even `1e5` is a name.
            b'0'..=b'9' if !self.after_point => self.number_or_word(),
            b'.' if !self.after_point && self.peek(1).is_some_and(|b| b.is_ascii_digit()) => {
                self.fraction()
            }
            b if is_word(b) => self.word(),
            b => {
                self.at += 1;
                TokenKind::Symbol(b)
            }
        }
    }

    /// `--` needs a blank, a control character or the end after it: `5--3` is a difference.
    fn dashes_begin_a_comment(&self) -> bool {
        self.peek(1) == Some(b'-')
            && self.peek(2).is_none_or(|b| is_space(b) || b.is_ascii_control())
    }

    fn line_comment(&mut self) -> TokenKind {
        self.skip_while(|b| b != b'\n');
        TokenKind::Comment
    }

    fn block_comment(&mut self) -> TokenKind {
        let mark = match (self.peek(2), self.peek(3)) {
            (Some(b'!'), _) => 3,
            (Some(b'M'), Some(b'!')) if self.knows_mariadb => 4,
            _ => 0,
        };
        if mark == 0 {
            return self.until_comment_end();
        }
        if self.executable {
            return self.unterminated();
        }
        self.at += mark;
        self.executable = true;
        let digits =
            (0..6).take_while(|&n| self.peek(n).is_some_and(|b| b.is_ascii_digit())).count();
        self.at += if digits >= 5 { digits } else { 0 };
        TokenKind::ExecutableBegin
    }

    fn until_comment_end(&mut self) -> TokenKind {
        let inside = self.sql.get(self.at + 2..).unwrap_or_default();
        match inside.windows(2).position(|pair| pair == b"*/") {
            Some(length) => {
                self.at += 2 + length + 2;
                TokenKind::Comment
            }
            None => self.unterminated(),
        }
    }

    fn text(&mut self, quote: u8) -> TokenKind {
        self.delimited(quote, !self.mode.no_backslash_escapes(), TokenKind::Text)
    }

    /// The digits of `x'…'` and `b'…'`, in groups of so many. The literal ends at the first quote, doubled or not.
    fn digits(&mut self, is_digit: impl Fn(u8) -> bool, group: usize) -> TokenKind {
        self.at += 2;
        let start = self.at;
        self.skip_while(is_digit);
        if self.peek(0) != Some(b'\'') || !(self.at - start).is_multiple_of(group) {
            return self.unterminated();
        }
        self.at += 1;
        TokenKind::Number
    }

    /// Up to the closing quote; a doubled one stands for itself.
    fn delimited(&mut self, quote: u8, escapes: bool, kind: TokenKind) -> TokenKind {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            if byte == b'\\' && escapes {
                self.at += 1;
            } else if byte == quote {
                if self.peek(0) != Some(quote) {
                    return kind;
                }
                self.at += 1;
            }
        }
        self.unterminated()
    }

    fn unterminated(&mut self) -> TokenKind {
        self.at = self.sql.len();
        TokenKind::Unterminated
    }

    fn variable(&mut self) -> TokenKind {
        self.at += 1;
        if self.peek(0) == Some(b'@') {
            self.at += 1;
        }
        match self.peek(0) {
            Some(b'`') => self.delimited(b'`', false, TokenKind::Variable),
            Some(quote @ (b'\'' | b'"')) => {
                let is_name = quote == b'"' && self.mode.ansi_quotes();
                let escapes = !is_name && !self.mode.no_backslash_escapes();
                self.delimited(quote, escapes, TokenKind::Variable)
            }
            _ => {
                self.skip_while(|b| is_word(b) || b == b'.');
                TokenKind::Variable
            }
        }
    }

    fn number_or_word(&mut self) -> TokenKind {
        if let Some(length) = self.radix_length() {
            self.at += length;
            return TokenKind::Number;
        }
        let start = self.at;
        self.skip_while(|b| b.is_ascii_digit());
        match self.peek(0) {
            Some(b'.') => self.fraction(),
            Some(b'e' | b'E') if self.exponent() => TokenKind::Number,
            Some(b) if is_word(b) => {
                self.at = start;
                self.word()
            }
            _ => TokenKind::Number,
        }
    }

    /// The length of `0x…` or `0b…`, unless it goes on as a name.
    fn radix_length(&self) -> Option<usize> {
        let is_digit: fn(&u8) -> bool = match (self.peek(0)?, self.peek(1)?) {
            (b'0', b'x') => u8::is_ascii_hexdigit,
            (b'0', b'b') => |b| matches!(b, b'0' | b'1'),
            _ => return None,
        };
        let digits = self.sql.get(self.at + 2..)?;
        let length = digits.iter().take_while(|b| is_digit(b)).count();
        let ends = digits.get(length).is_none_or(|b| !is_word(*b));
        (length > 0 && ends).then_some(2 + length)
    }

    fn fraction(&mut self) -> TokenKind {
        self.at += 1;
        self.skip_while(|b| b.is_ascii_digit());
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            self.exponent();
        }
        TokenKind::Number
    }

    /// Takes `e5`, `e+5` or `e-5`; leaves anything else.
    fn exponent(&mut self) -> bool {
        let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
        if !self.peek(1 + sign).is_some_and(|b| b.is_ascii_digit()) {
            return false;
        }
        self.at += 1 + sign;
        self.skip_while(|b| b.is_ascii_digit());
        true
    }

    fn word(&mut self) -> TokenKind {
        self.skip_while(is_word);
        TokenKind::Word
    }
}

impl Iterator for Tokenizer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let first = self.peek(0)?;
        let start = self.at;
        let kind = self.token(first);
        // An escape may be the last byte.
        self.at = self.at.min(self.sql.len());
        self.after_point = match kind {
            // `a.5b` is a name in a schema; `(.5` is a number.
            TokenKind::Word => self.peek(0) == Some(b'.'),
            TokenKind::Symbol(b'.') => true,
            _ => false,
        };
        Some(Token { kind, span: start..self.at })
    }
}

/// As `my_isspace` has it for every ASCII-based character set.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

/// May stand in an unquoted identifier. Every byte of a multi-byte character may.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}
