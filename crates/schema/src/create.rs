//! CREATE …

use crate::body::{self, Body};
use crate::classify::{self, ACCOUNT, Reading, SERVER_OBJECT, TEMPORARY, ignored};
use crate::cursor::Cursor;
use crate::finding::{Edit, EditKind, Finding};
use crate::statement::{Condition, DdlKind, Part, RoutineVerb};
use crate::token::TokenKind;
use std::ops::Range;

/// What stands between CREATE or ALTER and the sort of object.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) or_replace: bool,
    pub(crate) temporary: bool,
    /// ALTER IGNORE (MariaDB).
    pub(crate) ignore: bool,
    /// DEFINER and SQL SECURITY.
    security: Vec<Range<usize>>,
    /// Where SQL SECURITY may stand.
    end: usize,
}

/// Reads what follows CREATE; `None` when it is not understood.
pub(crate) fn read(mut cursor: Cursor<'_>) -> Option<Reading> {
    let attributes = attributes(&mut cursor)?;
    if let Some(kind) = classify::routine_kind(&mut cursor) {
        cursor.eat_all(&["IF", "NOT", "EXISTS"]);
        return classify::routine(kind, RoutineVerb::Create, cursor);
    }
    let object = cursor.eat_any(&[
        "TABLE",
        "VIEW",
        "INDEX",
        "DATABASE",
        "SCHEMA",
        "SEQUENCE",
        "USER",
        "ROLE",
        "SERVER",
        "TABLESPACE",
        "LOGFILE",
        "RESOURCE",
        "REFERENCE",
    ])?;
    let finding = match object {
        "TABLE" | "SEQUENCE" if attributes.temporary => return Some(ignored(TEMPORARY)),
        "TABLE" => table(cursor, &attributes),
        "VIEW" => view(cursor, &attributes),
        "INDEX" => index(cursor, &attributes),
        "DATABASE" | "SCHEMA" => database(cursor, &attributes),
        "SEQUENCE" => sequence(cursor, &attributes),
        "USER" | "ROLE" => return Some(ignored(ACCOUNT)),
        _ => return Some(ignored(SERVER_OBJECT)),
    };
    finding.map(Reading::Ddl)
}

// === impl Attributes ===

impl Attributes {
    /// Gives a view no other rights than its reader has: a definer of the device's is someone else at the target.
    pub(crate) fn secure(&self, finding: &mut Finding) {
        let removed = self.security.iter();
        finding
            .edits
            .extend(removed.map(|span| Edit { span: span.clone(), what: EditKind::Remove }));
        let span = self.end..self.end;
        finding.edits.push(Edit { span, what: EditKind::Insert("SQL SECURITY INVOKER") });
    }
}

/// Takes everything that may stand ahead of the sort of object, in CREATE and in ALTER.
pub(crate) fn attributes(cursor: &mut Cursor<'_>) -> Option<Attributes> {
    let mut found = Attributes::default();
    let mut has_modifier = false;
    loop {
        let start = cursor.peek()?.span.start;
        if !has_modifier {
            found.end = start;
        }
        if cursor.eat_all(&["OR", "REPLACE"]) {
            found.or_replace = true;
        } else if cursor.eat("TEMPORARY").is_some() {
            found.temporary = true;
        } else if cursor.eat("IGNORE").is_some() {
            (found.ignore, has_modifier) = (true, true);
        } else if cursor.eat("ALGORITHM").is_some() {
            cursor.eat_symbol(b'=');
            cursor.next()?;
        } else if cursor.eat("DEFINER").is_some() {
            definer(cursor)?;
            found.security.push(start..cursor.peek()?.span.start);
        } else if cursor.eat_all(&["SQL", "SECURITY"]) {
            cursor.next()?;
            found.security.push(start..cursor.peek()?.span.start);
        } else if cursor.eat_any(&MODIFIERS).is_some() {
            has_modifier = true;
        } else {
            return Some(found);
        }
    }
}

/// Words that change nothing about which object is meant. UNDO belongs to TABLESPACE; JSON,
/// RELATIONAL and DUALITY to MySQL's views over documents.
const MODIFIERS: [&str; 11] = [
    "ONLINE",
    "OFFLINE",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "VECTOR",
    "AGGREGATE",
    "UNDO",
    "JSON",
    "RELATIONAL",
    "DUALITY",
];

/// `= user@host`, `= CURRENT_USER()`, `= role`.
fn definer(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.eat_symbol(b'=');
    cursor.next()?;
    cursor.eat_kind(TokenKind::Variable);
    if cursor.eat_symbol(b'(') {
        cursor.eat_symbol(b')').then_some(())?;
    }
    Some(())
}

fn begin(kind: DdlKind, cursor: &mut Cursor<'_>, attributes: &Attributes) -> Finding {
    let mut finding = Finding::new(kind);
    finding.ddl.or_replace = attributes.or_replace;
    finding.ddl.if_not_exists = cursor.eat_all(&["IF", "NOT", "EXISTS"]);
    finding
}

fn table(mut cursor: Cursor<'_>, attributes: &Attributes) -> Option<Finding> {
    let mut finding = begin(DdlKind::CreateTable, &mut cursor, attributes);
    finding.table(&mut cursor)?;
    let mut like = cursor;
    let in_parentheses = like.eat_symbol(b'(');
    if like.eat("LIKE").is_some() {
        finding.read(&mut like)?;
        finding.ddl.like = true;
        if in_parentheses {
            like.eat_symbol(b')').then_some(())?;
        }
        return like.at_end().then_some(finding);
    }
    body::read(cursor, Body::Table, finding)
}

fn view(mut cursor: Cursor<'_>, attributes: &Attributes) -> Option<Finding> {
    let mut finding = begin(DdlKind::CreateView, &mut cursor, attributes);
    attributes.secure(&mut finding);
    finding.table(&mut cursor)?;
    body::read(cursor, Body::View, finding)
}

fn index(mut cursor: Cursor<'_>, attributes: &Attributes) -> Option<Finding> {
    let start = cursor.peek()?.span.start;
    let mut finding = begin(DdlKind::CreateIndex, &mut cursor, attributes);
    finding.of_mariadb(start, &cursor);
    let name = cursor.identifier()?;
    finding.named(&name);
    if finding.ddl.if_not_exists {
        let condition = Condition { what: Part::Index, name: name.text, if_exists: false };
        finding.ddl.conditions.push(condition);
    }
    if cursor.eat_any(&["USING", "TYPE"]).is_some() {
        cursor.next()?;
    }
    cursor.eat("ON")?;
    finding.table(&mut cursor)?;
    body::read(cursor, Body::Index, finding)
}

fn sequence(mut cursor: Cursor<'_>, attributes: &Attributes) -> Option<Finding> {
    let mut finding = begin(DdlKind::Sequence, &mut cursor, attributes);
    finding.table(&mut cursor)?;
    body::read(cursor, Body::Index, finding)
}

fn database(mut cursor: Cursor<'_>, attributes: &Attributes) -> Option<Finding> {
    let mut finding = begin(DdlKind::CreateDatabase, &mut cursor, attributes);
    let name = finding.database(&mut cursor)?;
    // MariaDB refuses both at once.
    if !finding.ddl.if_not_exists && !finding.ddl.or_replace {
        let span = name.span.start..name.span.start;
        finding.edits.push(Edit { span, what: EditKind::Insert("IF NOT EXISTS") });
    }
    body::read(cursor, Body::Index, finding)
}
