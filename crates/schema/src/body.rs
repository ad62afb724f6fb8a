//! What stands behind the name of a table or view: definitions, changes, a SELECT. It is not parsed;
//! it is searched for the names of other tables and databases, and for a few words that matter.
//!
//! The one question that takes care is whether `a.b` is a table in a database or a column of a table.
//! It is a table after FROM, JOIN and a comma between them, but `FROM` also stands in
//! `EXTRACT(YEAR FROM a.b)`. So every pair of parentheses has a [`Scope`].

use crate::clause;
use crate::cursor::Cursor;
use crate::finding::{Finding, Name};
use crate::query::{at_definition, at_definition_of_name, at_query};
use crate::token::{Token, TokenKind};
use std::collections::HashSet;

/// Whose body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// CREATE TABLE.
    Table,
    /// ALTER TABLE.
    Alter,
    /// CREATE and ALTER VIEW.
    View,
    /// An index, a sequence, a database: nothing but expressions and options.
    Index,
}

/// What the text between two parentheses, or outside them all, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// A SELECT, or what may become one.
    Query {
        /// Between FROM and the clause that ends it.
        in_from: bool,
    },
    /// A part of a FROM clause.
    Tables,
    /// Anything else.
    Expression,
}

pub(crate) struct Search<'a> {
    pub(crate) cursor: Cursor<'a>,
    pub(crate) body: Body,
    pub(crate) finding: Finding,
    scopes: Vec<Scope>,
    /// The next thing is a table.
    table_next: bool,
    /// Names that WITH defines.
    with_names: HashSet<String>,
    /// Within an ADD of columns of ALTER TABLE: in how many parentheses their definitions stand.
    pub(crate) adding: Option<usize>,
    /// Behind the DEFAULT of such a column.
    pub(crate) in_default: bool,
}

/// Words that end a FROM clause.
const FROM_ENDS: [&str; 12] = [
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "INTO",
    "LOCK",
    "PROCEDURE",
    "WINDOW",
];

/// What may follow a table's name in a FROM clause and is no other name for it.
const BEHIND_TABLES: [&str; 31] = [
    "PARTITION",
    "FOR",
    "USE",
    "FORCE",
    "IGNORE",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "CROSS",
    "NATURAL",
    "STRAIGHT_JOIN",
    "ON",
    "USING",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "WINDOW",
    "LOCK",
    "INTO",
    "PROCEDURE",
    "FETCH",
    "OFFSET",
    "WITH",
    "TABLESAMPLE",
    "MINUS",
];

/// Searches the rest of a statement to its end; `None` when it is not understood.
pub(crate) fn read(cursor: Cursor<'_>, body: Body, finding: Finding) -> Option<Finding> {
    let mut search = Search {
        cursor,
        body,
        finding,
        scopes: vec![Scope::Query { in_from: false }],
        table_next: false,
        with_names: HashSet::new(),
        adding: None,
        in_default: false,
    };
    while let Some(token) = search.cursor.peek() {
        if token.kind == TokenKind::Symbol(b';') {
            break;
        }
        search.step(&token)?;
    }
    let is_whole = search.scopes.len() == 1 && !search.table_next && search.cursor.at_end();
    is_whole.then_some(search.finding)
}

// === impl Search ===

impl Search<'_> {
    fn step(&mut self, token: &Token) -> Option<()> {
        let is_table = std::mem::take(&mut self.table_next);
        match token.kind {
            TokenKind::Unterminated => return None,
            TokenKind::Symbol(b'(') => self.open(is_table),
            TokenKind::Symbol(b')') => {
                self.cursor.next();
                let closed = self.scopes.pop();
                (!is_table && !self.scopes.is_empty()).then_some(())?;
                if matches!(closed, Some(Scope::Query { .. })) && self.in_from() {
                    self.alias();
                }
            }
            TokenKind::Symbol(b',') => self.comma(),
            TokenKind::Symbol(b'/') if self.in_default => {
                // To how many digits is decided by div_precision_increment, which the log does not say.
                self.cursor.next();
                self.finding.ddl.varies = true;
            }
            TokenKind::Symbol(b'{') if is_table => {
                // `{ OJ a LEFT OUTER JOIN b ON … }`, from ODBC.
                self.cursor.next();
                self.cursor.identifier()?;
                self.table_next = true;
            }
            TokenKind::Word | TokenKind::Quoted | TokenKind::Symbol(b'.') if is_table => {
                self.source()?;
            }
            TokenKind::Word if self.keyword(token)? => {}
            TokenKind::Word | TokenKind::Quoted | TokenKind::Symbol(b'.') => self.name()?,
            _ if is_table => return None,
            _ => {
                self.cursor.next();
            }
        }
        Some(())
    }

    /// Outside all parentheses.
    pub(crate) fn at_root(&self) -> bool {
        self.depth() == 0
    }

    /// In how many parentheses.
    pub(crate) fn depth(&self) -> usize {
        self.scopes.len() - 1
    }

    fn set_in_from(&mut self, now: bool) {
        if let Some(Scope::Query { in_from }) = self.scopes.last_mut() {
            *in_from = now;
        }
    }

    fn in_from(&self) -> bool {
        matches!(self.scopes.last(), Some(Scope::Tables | Scope::Query { in_from: true }))
    }

    fn open(&mut self, is_table: bool) {
        self.cursor.next();
        let mut inside = self.cursor;
        let scope = if at_query(inside) {
            Scope::Query { in_from: false }
        } else if is_table {
            self.table_next = true;
            Scope::Tables
        } else {
            Scope::Expression
        };
        if self.body == Body::Table && self.at_root() {
            // Here alone: looking through all parentheses at each of them would take the square of their number.
            while inside.eat_symbol(b'(') {}
            self.finding.ddl.filled_by_select |= at_query(inside);
        }
        self.scopes.push(scope);
        if self.adding == Some(self.depth()) && self.depth() == 1 {
            clause::definition(self);
        }
    }

    fn comma(&mut self) {
        self.cursor.next();
        self.table_next = self.in_from();
        if self.at_root() {
            self.adding = None;
            self.in_default = false;
        } else if self.adding == Some(self.depth()) {
            clause::definition(self);
        }
    }

    /// A table in a FROM clause.
    fn source(&mut self) -> Option<()> {
        let mut ahead = self.cursor;
        if ahead.eat("LATERAL").is_some() && ahead.at_symbol(b'(') {
            self.cursor = ahead;
            self.table_next = true;
            return Some(());
        }
        if self.cursor.eat("DUAL").is_some() {
            return Some(());
        }
        let mut name = self.cursor;
        let first = Name::read(&mut name)?;
        let is_function = name.at_symbol(b'(') && first.parts.len() == 1;
        let is_with_name =
            matches!(first.parts.as_slice(), [only] if self.with_names.contains(&only.text));
        if is_function || (is_with_name && !first.leading_point) {
            if is_with_name && let [only] = first.parts.as_slice() {
                self.finding.alias(only);
            }
            self.cursor = name;
        } else {
            self.finding.read(&mut self.cursor)?;
        }
        self.alias();
        Some(())
    }

    /// Notes the other name that a table may have. It stays where it is.
    fn alias(&mut self) {
        let mut ahead = self.cursor;
        let named = ahead.eat("AS").is_some();
        if !named && ahead.eat_any(&BEHIND_TABLES).is_some() {
            return;
        }
        if let Some(name) = ahead.identifier() {
            self.finding.alias(&name);
        }
    }

    /// Takes a keyword that matters, with what belongs to it. `Some(false)` when the word is none;
    /// nothing was taken then.
    fn keyword(&mut self, token: &Token) -> Option<bool> {
        let word = self.cursor.bytes(token).to_ascii_uppercase();
        let mut after = self.cursor;
        after.next();
        match word.as_slice() {
            b"FROM" => {
                self.table_next = matches!(self.scopes.last(), Some(Scope::Query { .. }));
                self.set_in_from(true);
            }
            b"JOIN" | b"STRAIGHT_JOIN" => self.table_next = self.in_from(),
            b"SELECT" | b"VALUES" => self.query_begins(),
            // `WITH SYSTEM VERSIONING` and `WITH CHECK OPTION` begin no query.
            b"WITH" if after.at("RECURSIVE") || at_definition_of_name(after) => self.query_begins(),
            b"TABLE" if self.body == Body::Alter && self.at_root() => {
                // EXCHANGE PARTITION … WITH TABLE, CONVERT TABLE, CONVERT PARTITION … TO TABLE.
                self.finding.table(&mut after)?;
            }
            b"TABLE" if matches!(self.scopes.last(), Some(Scope::Query { .. })) => {
                self.query_begins();
                self.table_next = true;
            }
            b"REFERENCES" => self.finding.read(&mut after)?,
            b"NEXT" | b"PREVIOUS" if after.eat_all(&["VALUE", "FOR"]) => {
                self.finding.read(&mut after)?;
            }
            b"NEXTVAL" | b"LASTVAL" | b"SETVAL" if after.eat_symbol(b'(') => {
                self.finding.read(&mut after)?;
                self.scopes.push(Scope::Expression);
            }
            b"FOR" => {
                // `USE INDEX FOR JOIN (…)` is a hint; `FOR SYSTEM_TIME` belongs to a table.
                let is_hint = after.eat_any(&["JOIN", "ORDER", "GROUP"]).is_some();
                if !is_hint && !after.at("SYSTEM_TIME") {
                    self.set_in_from(false);
                }
            }
            b"UNION" if self.body != Body::View && self.at_root() && at_merge_tables(after) => {
                after.eat_symbol(b'=');
                self.table_next = true;
            }
            b"UNION" | b"EXCEPT" | b"INTERSECT"
                if self.body == Body::View && self.ends_from(token, after) =>
            {
                self.query_begins();
            }
            _ if self.ends_from(token, after) => self.set_in_from(false),
            word => {
                if !clause::read(word, &mut after, token, self)? {
                    return Some(false);
                }
            }
        }
        self.cursor = after;
        Some(true)
    }

    fn query_begins(&mut self) {
        self.set_in_from(false);
        if self.body == Body::View
            && let Some(scope) = self.scopes.last_mut()
        {
            // Behind `((SELECT 1) UNION` the parentheses that looked like an expression's are a query's.
            *scope = Scope::Query { in_from: false };
        }
        if self.body == Body::Table && self.at_root() {
            self.finding.ddl.filled_by_select = true;
        }
    }

    fn ends_from(&self, token: &Token, mut after: Cursor<'_>) -> bool {
        let is_index = self.body == Body::Index;
        if is_index
            || after.at_symbol(b'.')
            || !FROM_ENDS.iter().any(|word| self.cursor.is(token, word))
        {
            return false;
        }
        // WINDOW may be a name in MariaDB.
        !self.cursor.is(token, "WINDOW") || (after.identifier().is_some() && after.at("AS"))
    }

    /// Any other name. It begins with a database when it has three parts, or two and is a function.
    fn name(&mut self) -> Option<()> {
        let Some(name) = Name::read(&mut self.cursor) else {
            let token = self.cursor.next()?;
            return match token.kind {
                TokenKind::Symbol(_) => self.cursor.at_symbol(b'*').then_some(()),
                // A column whose name is not UTF-8 does no harm, a table or a database might.
                _ => (!self.cursor.at_symbol(b'.')).then_some(()),
            };
        };
        let continues = self.cursor.at_symbol(b'.') || self.cursor.at_symbol(b'(');
        match name.parts.as_slice() {
            [only] if at_definition(self.cursor) => {
                self.with_names.insert(only.text.clone());
                self.finding.alias(only);
            }
            [_] => {}
            [database, table] if continues && !name.leading_point => {
                self.finding.in_database(database);
                // Not of a function.
                if self.cursor.at_symbol(b'.') {
                    self.finding.alias(table);
                }
            }
            [table, _] => self.finding.alias(table),
            [database, table, _] if !name.leading_point => {
                self.finding.in_database(database);
                self.finding.alias(table);
            }
            _ => return None,
        }
        Some(())
    }
}

/// At the list of `UNION = (a, b)`, an option of MERGE tables.
fn at_merge_tables(mut cursor: Cursor<'_>) -> bool {
    let has_sign = cursor.eat_symbol(b'=');
    cursor.eat_symbol(b'(') && (has_sign || (!at_query(cursor) && !cursor.at_symbol(b'(')))
}
