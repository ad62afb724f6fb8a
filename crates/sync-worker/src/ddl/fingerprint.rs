//! What the objects of a DDL statement look like, so that a worker can tell afterwards whether the
//! statement took effect.

use crate::catalog::place;
use crate::ddl::{Begun, mapped};
use crate::session::Session;
use crate::sql_error::SqlError;
use mysql_async::Row;
use std::collections::BTreeMap;
use tributary_schema::{Ddl, DdlKind, quote};
use tributary_wire::DeviceId;

/// Something that a statement changes, by its name at the target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A table or view: database and name.
    Table(String, String),
    /// A database.
    Database(String),
}

/// The looks of a statement's objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint {
    looks: BTreeMap<String, String>,
}

const ABSENT: &str = "absent";

/// The look of an object that cannot be seen: it may be there.
const ERROR: &str = "error ";
/// Before InnoDB's own number of a table.
const ID: &str = "\nid ";

/// The objects that a statement changes.
pub fn objects(ddl: &Ddl, default: &str, device: &DeviceId) -> Vec<Object> {
    let tables = ddl.tables.iter().map(|table| {
        let database = table.database.as_deref().unwrap_or(default);
        Object::Table(mapped(device, database), table.table.clone())
    });
    let databases = ddl.databases.iter().map(|name| Object::Database(mapped(device, name)));
    let mut objects: Vec<Object> = tables.chain(databases).collect();
    if objects.is_empty() && !default.is_empty() {
        objects.push(Object::Database(mapped(device, default)));
    }
    objects
}

/// What is left to be done, from the looks that were noted and the looks now.
///
/// A DROP of several tables is not atomic in MariaDB: each of them may be gone or not.
pub(crate) fn compare(ddl: &Ddl, noted: &Fingerprint, now: &Fingerprint) -> Begun {
    let keys = noted.looks.keys().chain(now.looks.keys());
    if keys.into_iter().all(|key| is_like(noted.looks.get(key), now.looks.get(key))) {
        return Begun::Run;
    }
    if !matches!(ddl.kind, DdlKind::DropTable | DdlKind::DropView) {
        return Begun::TookEffect;
    }
    let stands = |name: &&String| {
        now.looks.get(*name).is_some_and(|look| look != ABSENT)
            && now.looks.get(*name) == noted.looks.get(*name)
    };
    let rest: Vec<(String, String)> = noted
        .looks
        .keys()
        .filter(stands)
        .filter_map(|name| name.split_once('\0'))
        .map(|(database, table)| (database.to_owned(), table.to_owned()))
        .collect();
    if rest.is_empty() { Begun::TookEffect } else { Begun::Drop(ddl.kind, rest) }
}

/// True when nothing shows that an object has changed: what could not be seen then or cannot be now says
/// nothing. A statement that is run once too often is refused; one that is passed over is lost.
fn is_like(noted: Option<&String>, now: Option<&String>) -> bool {
    let (Some(noted), Some(now)) = (noted, now) else { return noted == now };
    let is_error = |look: &str| look.starts_with(ERROR);
    if noted == now || is_error(noted) || is_error(now) {
        return true;
    }
    let (Some((before, id_before)), Some((after, id_after))) =
        (noted.rsplit_once(ID), now.rsplit_once(ID))
    else {
        return false;
    };
    (id_before.is_empty() || id_after.is_empty()) && before == after
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Looks at the objects.
    ///
    /// # Errors
    /// [`SqlError`] when the connection fails; an object that cannot be looked at looks like its
    /// error.
    pub async fn take(session: &mut Session, objects: &[Object]) -> Result<Self, SqlError> {
        let mut looks = BTreeMap::new();
        for object in objects {
            match object {
                Object::Table(database, table) => {
                    let look = table_look(session, database, table).await?;
                    looks.insert(format!("{database}\0{table}"), look);
                }
                Object::Database(database) => {
                    looks.insert(database.clone(), database_look(session, database).await?);
                }
            }
        }
        Ok(Self { looks })
    }

    /// True when both are of the same objects, whatever those look like.
    pub(crate) fn is_of_the_same(&self, other: &Self) -> bool {
        self.looks.keys().eq(other.looks.keys())
    }

    /// As it is stored in the watermark's row.
    pub fn to_text(&self) -> String {
        // A map of strings: nothing that JSON cannot say.
        serde_json::to_string(&self.looks).unwrap_or_default()
    }

    /// Reads what [`Fingerprint::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(|looks| Self { looks })
    }
}

/// What makes a table, without the counter of its AUTO_INCREMENT.
pub(crate) async fn definition(
    session: &mut Session,
    database: &str,
    table: &str,
) -> Result<String, SqlError> {
    let sql = format!("SHOW CREATE TABLE {}.{}", quote(database), quote(table));
    let definition = first(session, &sql, 1).await?;
    Ok(without_counter(&definition.unwrap_or_default()))
}

async fn table_look(
    session: &mut Session,
    database: &str,
    table: &str,
) -> Result<String, SqlError> {
    let definition = match definition(session, database, table).await {
        Ok(definition) => definition,
        Err(error) => match error.lasting_code() {
            Some(1146 | 1049) => return Ok(ABSENT.to_owned()),
            Some(code) => return Ok(format!("{ERROR}{code}")),
            None => return Err(error),
        },
    };
    let sql = format!(
        "SELECT CAST(create_time AS CHAR) FROM information_schema.tables WHERE {}",
        place(database, table)
    );
    let created = first(session, &sql, 0).await?.unwrap_or_default();
    let id = innodb_id(session, database, table).await?.unwrap_or_default();
    Ok(format!("{definition}\ncreated {created}{ID}{id}"))
}

async fn database_look(session: &mut Session, database: &str) -> Result<String, SqlError> {
    let sql = format!("SHOW CREATE DATABASE {}", quote(database));
    match first(session, &sql, 1).await {
        Ok(definition) => Ok(definition.unwrap_or_default()),
        Err(error) if error.code() == Some(1049) => Ok(ABSENT.to_owned()),
        Err(error) => Err(error),
    }
}

/// InnoDB's own number of the table: tells two tables of one shape apart when they swap names. Only an
/// account with the PROCESS privilege sees it.
async fn innodb_id(
    session: &mut Session,
    database: &str,
    table: &str,
) -> Result<Option<String>, SqlError> {
    let tables = if session.server().mariadb { "INNODB_SYS_TABLES" } else { "INNODB_TABLES" };
    let (Some(database), Some(table)) = (file_name(database), file_name(table)) else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT CAST(table_id AS CHAR) FROM information_schema.{tables} WHERE name='{database}/{table}'"
    );
    match first(session, &sql, 0).await {
        Err(error) if error.lasting_code().is_some() => Ok(None),
        outcome => outcome,
    }
}

/// A name as InnoDB has it: what is no letter, digit or underscore is `@` and four hexadecimal
/// digits. Beyond ASCII the servers use tables of their own, so there is none.
fn file_name(name: &str) -> Option<String> {
    let encode = |c: char| match c {
        _ if !c.is_ascii() => None,
        'A'..='Z' | 'a'..='z' | '0'..='9' | '_' => Some(c.to_string()),
        _ => Some(format!("@{:04x}", u32::from(c))),
    };
    name.chars().map(encode).collect()
}

async fn first(
    session: &mut Session,
    sql: &str,
    column: usize,
) -> Result<Option<String>, SqlError> {
    let rows: Vec<Row> = session.rows("look at an object", sql).await?;
    let text =
        rows.into_iter().next().and_then(|mut row| row.take_opt::<Option<Vec<u8>>, _>(column));
    let bytes = text.and_then(Result::ok).flatten();
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Without ` AUTO_INCREMENT=n`, which moves with every row.
fn without_counter(definition: &str) -> String {
    const COUNTER: &str = " AUTO_INCREMENT=";
    match definition.rsplit_once(COUNTER) {
        Some((before, after)) => {
            format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => definition.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schema::{SqlMode, Statement, classify};

    fn ddl(sql: &str) -> Ddl {
        match classify(sql.as_bytes(), SqlMode(0)) {
            Statement::Ddl(ddl) => ddl,
            other => panic!("{other:?} is no DDL"),
        }
    }

    fn looks(pairs: &[(&str, &str)]) -> Fingerprint {
        let looks = pairs.iter().map(|(name, look)| (format!("d\0{name}"), (*look).to_owned()));
        Fingerprint { looks: looks.collect() }
    }

    #[test]
    fn a_statement_is_run_again_only_when_nothing_changed() {
        let alter = ddl("ALTER TABLE t ADD c INT");
        let before = looks(&[("t", "a")]);
        assert_eq!(compare(&alter, &before, &before.clone()), Begun::Run);
        assert_eq!(compare(&alter, &before, &looks(&[("t", "b")])), Begun::TookEffect);
    }

    #[test]
    fn what_could_not_be_seen_shows_no_effect() {
        let alter = ddl("ALTER TABLE t ADD c INT");
        let unseen = looks(&[("t", "CREATE\nid ")]);
        let seen = looks(&[("t", "CREATE\nid 7")]);
        assert_eq!(compare(&alter, &unseen, &seen), Begun::Run, "a privilege was granted since");
        assert_eq!(compare(&alter, &unseen, &looks(&[("t", "OTHER\nid 7")])), Begun::TookEffect);
        assert_eq!(compare(&alter, &looks(&[("t", "CREATE\nid 6")]), &seen), Begun::TookEffect);
        assert_eq!(compare(&alter, &looks(&[("t", "error 1142")]), &seen), Begun::Run);
    }

    #[test]
    fn a_drop_that_was_cut_off_is_finished() {
        let drop = ddl("DROP TABLE a, b");
        let before = looks(&[("a", "1"), ("b", "2")]);
        let half = looks(&[("a", ABSENT), ("b", "2")]);
        assert_eq!(
            compare(&drop, &before, &half),
            Begun::Drop(DdlKind::DropTable, vec![("d".into(), "b".into())])
        );
        let done = looks(&[("a", ABSENT), ("b", ABSENT)]);
        assert_eq!(compare(&drop, &before, &done), Begun::TookEffect);
    }

    #[test]
    fn the_counter_of_a_table_is_no_part_of_its_look() {
        let with = "CREATE TABLE `t` (\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4";
        assert_eq!(
            without_counter(with),
            "CREATE TABLE `t` (\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
        );
    }

    #[test]
    fn a_fingerprint_reads_back_as_it_was_stored() {
        let look = looks(&[("t", "a\n\"b\" ü")]);
        assert_eq!(Fingerprint::parse(&look.to_text()), Some(look));
        assert_eq!(Fingerprint::parse("skip"), None);
    }

    #[test]
    fn names_are_written_as_innodb_has_them() {
        assert_eq!(file_name("DEVICE-1__app").as_deref(), Some("DEVICE@002d1__app"));
        assert_eq!(file_name("bücher"), None);
    }
}
