//! DROP …

use crate::classify::{self, ACCOUNT, Reading, SERVER_OBJECT, TEMPORARY, ignored};
use crate::cursor::Cursor;
use crate::finding::{Edit, EditKind, Finding};
use crate::statement::{Condition, DdlKind, Part, RoutineVerb};

const PREPARED: &str = "a prepared statement";

/// Reads what follows DROP; `None` when it is not understood.
pub(crate) fn read(mut cursor: Cursor<'_>) -> Option<Reading> {
    if cursor.eat("TEMPORARY").is_some() {
        return cursor.eat_any(&["TABLE", "TABLES", "SEQUENCE"]).map(|_| ignored(TEMPORARY));
    }
    if let Some(kind) = classify::routine_kind(&mut cursor) {
        cursor.eat_all(&["IF", "EXISTS"]);
        return classify::routine(kind, RoutineVerb::Drop, cursor);
    }
    cursor.eat_any(&["ONLINE", "OFFLINE"]);
    let object = cursor.eat_any(&[
        "TABLE",
        "TABLES",
        "VIEW",
        "VIEWS",
        "INDEX",
        "DATABASE",
        "SCHEMA",
        "SEQUENCE",
        "USER",
        "ROLE",
        "SERVER",
        "TABLESPACE",
        "UNDO",
        "LOGFILE",
        "RESOURCE",
        "SPATIAL",
        "PREPARE",
    ])?;
    let finding = match object {
        "TABLE" | "TABLES" => list(DdlKind::DropTable, cursor),
        "VIEW" | "VIEWS" => list(DdlKind::DropView, cursor),
        "SEQUENCE" => list(DdlKind::Sequence, cursor),
        "INDEX" => index(cursor),
        "DATABASE" | "SCHEMA" => database(cursor),
        "USER" | "ROLE" => return Some(ignored(ACCOUNT)),
        "PREPARE" => return Some(ignored(PREPARED)),
        _ => return Some(ignored(SERVER_OBJECT)),
    };
    finding.map(Reading::Ddl)
}

fn list(kind: DdlKind, mut cursor: Cursor<'_>) -> Option<Finding> {
    let mut finding = Finding::new(kind);
    finding.ddl.if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    if kind == DdlKind::DropView && !finding.ddl.if_exists {
        let at = cursor.peek()?.span.start;
        finding.edits.push(Edit { span: at..at, what: EditKind::Insert("IF EXISTS") });
    }
    finding.tables(&mut cursor)?;
    classify::trailer(&mut cursor, &["RESTRICT", "CASCADE"], &mut finding);
    cursor.at_end().then_some(finding)
}

fn index(mut cursor: Cursor<'_>) -> Option<Finding> {
    let mut finding = Finding::new(DdlKind::DropIndex);
    let start = cursor.peek()?.span.start;
    finding.ddl.if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    finding.of_mariadb(start, &cursor);
    let name = cursor.identifier()?;
    finding.named(&name);
    if finding.ddl.if_exists {
        let condition = Condition { what: Part::Index, name: name.text, if_exists: true };
        finding.ddl.conditions.push(condition);
    }
    cursor.eat("ON")?;
    finding.table(&mut cursor)?;
    classify::trailer(&mut cursor, &[], &mut finding);
    // ALGORITHM = … and LOCK = …, in any order.
    while let Some(first) = cursor.peek().filter(|_| cursor.at("ALGORITHM") || cursor.at("LOCK")) {
        cursor.next();
        cursor.eat_symbol(b'=');
        let span = first.span.start..cursor.next()?.span.end;
        finding.edits.push(Edit { span, what: EditKind::Remove });
    }
    cursor.at_end().then_some(finding)
}

fn database(mut cursor: Cursor<'_>) -> Option<Finding> {
    let mut finding = Finding::new(DdlKind::DropDatabase);
    finding.ddl.if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    finding.database(&mut cursor)?;
    cursor.at_end().then_some(finding)
}
