//! ALTER …

use crate::body::{self, Body};
use crate::classify::{self, ACCOUNT, Reading, SERVER_OBJECT, ignored};
use crate::condition;
use crate::create;
use crate::cursor::Cursor;
use crate::finding::Finding;
use crate::statement::{DdlKind, RoutineVerb};

/// Words with which the options of ALTER DATABASE begin.
const DATABASE_OPTIONS: [&str; 7] =
    ["DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "ENCRYPTION", "READ", "COMMENT"];
/// Those of them that no database without quotes can be named.
const DATABASE_OPTIONS_RESERVED: [&str; 4] = ["DEFAULT", "CHARACTER", "COLLATE", "READ"];

/// Reads what follows ALTER; `None` when it is not understood.
pub(crate) fn read(mut cursor: Cursor<'_>) -> Option<Reading> {
    let attributes = create::attributes(&mut cursor)?;
    if let Some(kind) = classify::routine_kind(&mut cursor) {
        cursor.eat_all(&["IF", "EXISTS"]);
        return classify::routine(kind, RoutineVerb::Alter, cursor);
    }
    let object = cursor.eat_any(&[
        "TABLE",
        "VIEW",
        "DATABASE",
        "SCHEMA",
        "SEQUENCE",
        "USER",
        "ROLE",
        "SERVER",
        "TABLESPACE",
        "LOGFILE",
        "RESOURCE",
        "INSTANCE",
    ])?;
    let finding = match object {
        "TABLE" => {
            let mut finding = named(DdlKind::AlterTable, Body::Alter, cursor);
            if let Some(finding) = &mut finding {
                finding.ddl.drops_duplicates = attributes.ignore;
            }
            finding
        }
        "VIEW" => {
            let mut finding = named(DdlKind::AlterView, Body::View, cursor);
            if let Some(finding) = &mut finding {
                attributes.secure(finding);
            }
            finding
        }
        "SEQUENCE" => named(DdlKind::Sequence, Body::Index, cursor),
        "DATABASE" | "SCHEMA" => database(cursor),
        "USER" | "ROLE" => return Some(ignored(ACCOUNT)),
        _ => return Some(ignored(SERVER_OBJECT)),
    };
    finding.map(Reading::Ddl)
}

fn named(kind: DdlKind, body: Body, mut cursor: Cursor<'_>) -> Option<Finding> {
    let mut finding = Finding::new(kind);
    let start = cursor.peek()?.span.start;
    finding.ddl.if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    finding.of_mariadb(start, &cursor);
    finding.table(&mut cursor)?;
    classify::trailer(&mut cursor, &[], &mut finding);
    if body == Body::Alter {
        condition::clauses(cursor, &mut finding);
    }
    body::read(cursor, body, finding)
}

fn database(mut cursor: Cursor<'_>) -> Option<Finding> {
    let mut finding = Finding::new(DdlKind::AlterDatabase);
    if !at_option(cursor) {
        finding.database(&mut cursor)?;
    }
    body::read(cursor, Body::Index, finding)
}

/// True when the name is left out and an option follows: then the default database is meant.
fn at_option(mut cursor: Cursor<'_>) -> bool {
    if cursor.eat_any(&DATABASE_OPTIONS_RESERVED).is_some() {
        return true;
    }
    // `ALTER DATABASE charset CHARSET utf8mb4` has a name, `ALTER DATABASE CHARSET utf8mb4` has none.
    cursor.eat_any(&DATABASE_OPTIONS).is_some() && cursor.eat_any(&DATABASE_OPTIONS).is_none()
}
