//! What a shard's server needs beside its tables: time zones by name.

use super::Verdict;
use crate::session::Session;

/// A zone that every system's tables have.
const ZONE: &str = "Europe/Berlin";

/// A device's statement that is run in a named zone needs the server's tables of zones.
pub(super) async fn look(session: &mut Session) -> Verdict {
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
