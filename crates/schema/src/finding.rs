//! What was found in a DDL statement: what it touches, and where its text has to change for other
//! database names.

use crate::cursor::{Cursor, Identifier};
use crate::statement::{Ddl, DdlKind, TableRef};
use std::ops::Range;

/// A DDL statement that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) ddl: Ddl,
    pub(crate) edits: Vec<Edit>,
}

/// A change of the text, at bytes of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) span: Range<usize>,
    pub(crate) what: EditKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EditKind {
    /// The name of a database stands here.
    Database(String),
    /// An unquoted name stands here that needs quotes once the database before its point has them:
    /// after a quoted name, MySQL reads `.1st` as a number.
    QuoteAfterDatabase(String),
    /// To be taken out.
    Remove,
    /// To be put in; the span is empty.
    Insert(&'static str),
}

/// A name of one to three parts: `table`, `database.table`, `database.table.column`.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) parts: Vec<Identifier>,
    /// It began with a point: `.table`.
    pub(crate) leading_point: bool,
}

// === impl Finding ===

impl Finding {
    pub(crate) fn new(kind: DdlKind) -> Self {
        Self { ddl: Ddl::new(kind), edits: Vec::new() }
    }

    /// Takes a table's name and notes that the statement changes it.
    pub(crate) fn table(&mut self, cursor: &mut Cursor<'_>) -> Option<TableRef> {
        let table = self.table_ref(cursor)?;
        self.ddl.tables.push(table.clone());
        Some(table)
    }

    /// Takes a table's name and notes that the statement refers to it.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let table = self.table_ref(cursor)?;
        self.ddl.reads.push(table);
        Some(())
    }

    /// Takes one table's name after another, with commas between, and notes that they change.
    pub(crate) fn tables(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        loop {
            self.table(cursor)?;
            if !cursor.eat_symbol(b',') {
                return Some(());
            }
        }
    }

    /// Takes a database's name and notes that the statement changes it.
    pub(crate) fn database(&mut self, cursor: &mut Cursor<'_>) -> Option<Identifier> {
        let name = cursor.identifier()?;
        self.edit(&name, EditKind::Database(name.text.clone()));
        self.ddl.databases.push(name.text.clone());
        Some(name)
    }

    fn table_ref(&mut self, cursor: &mut Cursor<'_>) -> Option<TableRef> {
        let name = Name::read(cursor)?;
        let [.., table] = name.parts.as_slice() else { return None };
        let table = table.text.clone();
        let database = match name.parts.as_slice() {
            [_] => None,
            [database, _] => Some(database.text.clone()),
            _ => return None,
        };
        self.qualified(&name);
        Some(TableRef { database, table })
    }

    /// Notes that the first part of `name` is a database.
    pub(crate) fn qualified(&mut self, name: &Name) {
        let [database, next, ..] = name.parts.as_slice() else { return };
        self.edit(database, EditKind::Database(database.text.clone()));
        if !next.quoted && next.text.starts_with(|c: char| c.is_ascii_digit()) {
            self.edit(next, EditKind::QuoteAfterDatabase(next.text.clone()));
        }
    }

    fn edit(&mut self, name: &Identifier, what: EditKind) {
        self.edits.push(Edit { span: name.span.clone(), what });
    }
}

// === impl Name ===

impl Name {
    /// Takes a name, blanks and comments around its points included. A `*` may be its last part, and
    /// is left.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut ahead = *cursor;
        let leading_point = ahead.eat_symbol(b'.');
        let mut parts = vec![ahead.identifier()?];
        loop {
            let mut point = ahead;
            if !point.eat_symbol(b'.') {
                break;
            }
            let Some(part) = point.identifier() else { break };
            parts.push(part);
            ahead = point;
        }
        *cursor = ahead;
        Some(Self { parts, leading_point })
    }
}
