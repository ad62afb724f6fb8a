//! What was found in a DDL statement: what it touches, and where its text has to change for other
//! database names.

use crate::condition::Clause;
use crate::cursor::{Cursor, Identifier};
use crate::statement::{Ddl, DdlKind, TableRef};
use std::ops::Range;

/// A DDL statement that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) ddl: Ddl,
    pub(crate) edits: Vec<Edit>,
    /// The changes of an ALTER TABLE.
    pub(crate) clauses: Vec<Clause>,
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
    /// The name of a table or a view stands here.
    Table(String),
    /// Another name for a table stands here, or one of the two ahead of a column's.
    Alias(String),
    /// Another name stands here.
    Name(String),
    /// To be taken out.
    Remove,
    /// To be taken out for MySQL.
    OfMariaDb,
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
        Self { ddl: Ddl::new(kind), edits: Vec::new(), clauses: Vec::new() }
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
        self.in_database(&name);
        self.ddl.databases.push(name.text.clone());
        Some(name)
    }

    fn table_ref(&mut self, cursor: &mut Cursor<'_>) -> Option<TableRef> {
        let name = Name::read(cursor)?;
        let (database, table) = match name.parts.as_slice() {
            [table] => (None, table),
            [database, table] => (Some(database), table),
            _ => return None,
        };
        if let Some(database) = database {
            self.in_database(database);
        }
        self.edit(table, EditKind::Table(table.text.clone()));
        let database = database.map(|database| database.text.clone());
        Some(TableRef { database, table: table.text.clone() })
    }

    /// Notes that `name` is a database.
    pub(crate) fn in_database(&mut self, name: &Identifier) {
        self.edit(name, EditKind::Database(name.text.clone()));
        // A name may come again: looking for it among all would take the square of their number.
        if self.ddl.mentions.last() != Some(&name.text) {
            self.ddl.mentions.push(name.text.clone());
        }
    }

    /// Notes words between two places that MySQL does not know.
    pub(crate) fn of_mariadb(&mut self, start: usize, cursor: &Cursor<'_>) {
        let end = cursor.peek().map_or(usize::MAX, |token| token.span.start);
        if end > start {
            self.edits.push(Edit { span: start..end, what: EditKind::OfMariaDb });
        }
    }

    /// Notes that `name` is a name, of whatever it is.
    pub(crate) fn named(&mut self, name: &Identifier) {
        self.edit(name, EditKind::Name(name.text.clone()));
    }

    /// Notes that `name` is another name for a table.
    pub(crate) fn alias(&mut self, name: &Identifier) {
        self.edit(name, EditKind::Alias(name.text.clone()));
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
