//! What a shard's server needs beside its tables: time zones by name, and statements that may take their time.

use super::Verdict;
use crate::session::Session;

/// A zone that every system's tables have.
const ZONE: &str = "Europe/Berlin";

/// A device's statement that is run in a named zone needs the server's tables of zones.
pub(super) async fn zones(session: &mut Session) -> Verdict {
    let sql = format!("SELECT CONVERT_TZ('2020-01-01 00:00:00', '+00:00', '{ZONE}') IS NOT NULL");
    let rows: Result<Vec<u8>, _> = session.rows("look for time zones", &sql).await;
    match rows.map(|rows| rows.first().copied()) {
        Ok(Some(1)) => Verdict::Good("zones are known by name".to_owned()),
        Ok(_) => Verdict::Doubtful(format!(
            "the server does not know {ZONE}: a device whose sessions name such a zone would be parked at its first statement; run mysql_tzinfo_to_sql /usr/share/zoneinfo | {} -u root mysql on the server",
            if session.server().mariadb { "mariadb" } else { "mysql" }
        )),
        Err(error) => Verdict::Bad(error.to_string()),
    }
}

/// What ends statements after a while, for every account.
pub(super) async fn limits(session: &mut Session) -> Verdict {
    let mariadb = session.server().mariadb;
    // MySQL's is of SELECT alone, in milliseconds; MariaDB's of every statement, in seconds.
    let (name, unit) =
        if mariadb { ("max_statement_time", "s") } else { ("max_execution_time", "ms") };
    let sql = format!("SELECT CAST(@@global.{name} AS DOUBLE), @@global.{name} + 0 = 0");
    let rows: Result<Vec<(f64, u8)>, _> = session.rows("read a limit", &sql).await;
    match rows.map(|rows| rows.first().copied()) {
        Ok(Some((_, 1))) => Verdict::Good(format!("{name} is 0")),
        Ok(Some((limit, _))) => {
            let set = if mariadb { "SET GLOBAL" } else { "SET PERSIST" };
            let file = if mariadb { ", and in my.cnf" } else { "" };
            Verdict::Doubtful(format!(
                "{name} is {limit} {unit}: a statement of a device that takes longer is ended, again and again; {set} {name} = 0{file}"
            ))
        }
        Ok(None) => Verdict::Bad(format!("{name} has no value")),
        Err(error) => Verdict::Bad(error.to_string()),
    }
}
