//! DROP …

use crate::classify::{self, ACCOUNT, Reading, SERVER_OBJECT, TEMPORARY, ignored};
use crate::cursor::Cursor;
use crate::finding::{Edit, EditKind, Finding};
use crate::statement::{DdlKind, RoutineVerb};

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
    classify::trailer(&mut cursor, &["RESTRICT", "CASCADE"]);
    cursor.at_end().then_some(finding)
}

fn index(mut cursor: Cursor<'_>) -> Option<Finding> {
    let mut finding = Finding::new(DdlKind::DropIndex);
    finding.ddl.if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    cursor.identifier()?;
    cursor.eat("ON")?;
    finding.table(&mut cursor)?;
    classify::trailer(&mut cursor, &[]);
    // ALGORITHM = … and LOCK = …, in any order.
    while cursor.eat_any(&["ALGORITHM", "LOCK"]).is_some() {
        cursor.eat_symbol(b'=');
        cursor.next()?;
    }
    cursor.at_end().then_some(finding)
}

fn database(mut cursor: Cursor<'_>) -> Option<Finding> {
    let mut finding = Finding::new(DdlKind::DropDatabase);
    finding.ddl.if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    finding.database(&mut cursor)?;
    cursor.at_end().then_some(finding)
}
