//! A place in a statement: the tokens that take part in it, one at a time.

use crate::SqlMode;
use crate::token::{Token, TokenKind, Tokenizer};
use std::ops::Range;

/// Walks over the tokens that are not trivia. A copy is a bookmark, so looking ahead needs no memory:
/// a statement of a gigabyte costs no more than its first words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    sql: &'a [u8],
    tokens: Tokenizer<'a>,
}

/// An identifier, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identifier {
    pub(crate) text: String,
    pub(crate) span: Range<usize>,
    pub(crate) quoted: bool,
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    pub(crate) fn new(sql: &'a [u8], mode: SqlMode) -> Self {
        Self { sql, tokens: Tokenizer::new(sql, mode) }
    }

    /// Takes the next token.
    pub(crate) fn next(&mut self) -> Option<Token> {
        self.tokens.find(|token| !token.kind.is_trivia())
    }

    /// The next token, which stays where it is.
    pub(crate) fn peek(&self) -> Option<Token> {
        let mut ahead = *self;
        ahead.next()
    }

    pub(crate) fn bytes(&self, token: &Token) -> &'a [u8] {
        self.sql.get(token.span.clone()).unwrap_or_default()
    }

    /// True when the next token is this keyword, given in capitals.
    pub(crate) fn at(&self, keyword: &str) -> bool {
        self.peek().is_some_and(|token| self.is(&token, keyword))
    }

    pub(crate) fn at_symbol(&self, symbol: u8) -> bool {
        self.peek().is_some_and(|token| token.kind == TokenKind::Symbol(symbol))
    }

    /// True when `token` is this keyword, given in capitals.
    pub(crate) fn is(&self, token: &Token, keyword: &str) -> bool {
        token.kind == TokenKind::Word && self.bytes(token).eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// Takes the keyword, if it is next.
    pub(crate) fn eat(&mut self, keyword: &str) -> Option<Token> {
        let mut ahead = *self;
        let token = ahead.next().filter(|token| self.is(token, keyword))?;
        *self = ahead;
        Some(token)
    }

    /// Takes these keywords, if they are next, all of them.
    pub(crate) fn eat_all(&mut self, keywords: &[&str]) -> bool {
        let mut ahead = *self;
        let found = keywords.iter().all(|keyword| ahead.eat(keyword).is_some());
        if found {
            *self = ahead;
        }
        found
    }

    /// Takes whichever of the keywords is next.
    pub(crate) fn eat_any(&mut self, keywords: &[&'static str]) -> Option<&'static str> {
        keywords.iter().find(|keyword| self.eat(keyword).is_some()).copied()
    }

    pub(crate) fn eat_symbol(&mut self, symbol: u8) -> bool {
        let found = self.at_symbol(symbol);
        if found {
            self.next();
        }
        found
    }

    pub(crate) fn eat_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == kind);
        if found {
            self.next();
        }
        found
    }

    /// Takes an identifier. An unquoted one may be any word: whether a keyword can stand here is for
    /// the caller to say. `None`, too, for a name that is not UTF-8.
    pub(crate) fn identifier(&mut self) -> Option<Identifier> {
        let mut ahead = *self;
        let token = ahead.next()?;
        let text = std::str::from_utf8(self.bytes(&token)).ok()?;
        let (text, quoted) = match token.kind {
            TokenKind::Word => (text.to_owned(), false),
            TokenKind::Quoted => (unquote(text), true),
            _ => return None,
        };
        *self = ahead;
        Some(Identifier { text, span: token.span, quoted })
    }

    /// True when nothing follows but semicolons, and every comment has ended.
    pub(crate) fn at_end(mut self) -> bool {
        while self.eat_symbol(b';') {}
        self.next().is_none() && !self.tokens.in_executable()
    }
}

/// The name inside its quotes, with doubled ones as one.
fn unquote(text: &str) -> String {
    let quote = text.get(..1).unwrap_or_default();
    let inside = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    inside.replace(&quote.repeat(2), quote)
}
