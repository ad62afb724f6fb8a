//! QUERY: a statement with what its session says of it.

use crate::BinlogError;
use crate::reader::Reader;

/// A QUERY event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryEvent<'a> {
    /// The default database.
    pub database: String,
    /// The statement.
    pub sql: &'a [u8],
    /// `sql_mode` as a bit mask.
    pub sql_mode: u64,
    /// Collation ids of `character_set_client`, `collation_connection`, `collation_server`.
    pub charsets: [u16; 3],
    /// Collation id of the default database where it is not the server's.
    pub collation_database: u16,
    /// `foreign_key_checks=0` was set.
    pub no_foreign_key_checks: bool,
    /// The fraction of the second in which the statement began, in microseconds.
    pub microseconds: u32,
    /// The session's `time_zone`; empty where the statement did not use it.
    pub time_zone: String,
    /// The session's `explicit_defaults_for_timestamp`, on which depends what `TIMESTAMP` without NULL or
    /// DEFAULT means; `None` where the log does not say. MySQL says it of statements that define such a
    /// column (status variable 16). MariaDB has a bit in its flags, which is told here of DDL; before
    /// 10.10 the server leaves it clear.
    pub explicit_defaults_for_timestamp: Option<bool>,
    /// The session's `lc_time_names` by its number; 0 is `en_US`.
    pub locale: u16,
    /// Collation id of what `utf8mb4` alone means; 0 where the log does not say. MySQL says it always,
    /// MariaDB from 11.2 on.
    pub collation_utf8mb4: u16,
    /// `auto_increment_increment` and `auto_increment_offset`; zeros where the log does not say, because
    /// both are 1.
    pub auto_increment: [u16; 2],
    /// MariaDB's `sql_if_exists=1` was set.
    pub if_exists: bool,
}

const OPTION_NO_FOREIGN_KEY_CHECKS: u32 = 1 << 26;
const OPTION_EXPLICIT_DEF_TIMESTAMP: u32 = 1 << 24;
/// MariaDB alone; MySQL never writes this bit.
const OPTION_IF_EXISTS: u32 = 1 << 28;

/// thread (4), seconds (4), length of the database's name (1), error (2), length of the status
/// variables (2), status variables, name, NUL, statement.
pub(crate) fn read(data: &[u8]) -> Result<QueryEvent<'_>, BinlogError> {
    let mut reader = Reader::new("QUERY", data);
    reader.take(8)?;
    let database_len = usize::from(reader.u8()?);
    reader.take(2)?;
    let status_len = usize::from(reader.u16()?);
    let mut query = QueryEvent::default();
    parse_status(reader.take(status_len)?, &mut query)?;
    query.database = String::from_utf8_lossy(reader.take(database_len)?).into_owned();
    reader.take(1)?;
    query.sql = reader.rest();
    Ok(query)
}

/// Status variables: a code and a value whose length the code implies
/// (`libs/mysql/binlog/event/statement_events.h`, `Query_event_post_header`). A code that is not known
/// here ends the walk: what follows cannot be found, and what is needed stands in front.
fn parse_status(status: &[u8], query: &mut QueryEvent<'_>) -> Result<(), BinlogError> {
    let mut reader = Reader::new("QUERY", status);
    let mut flags = 0;
    while !reader.is_empty() {
        match reader.u8()? {
            0 => {
                flags = reader.u32()?;
                query.no_foreign_key_checks = flags & OPTION_NO_FOREIGN_KEY_CHECKS != 0;
                query.if_exists = flags & OPTION_IF_EXISTS != 0;
            }
            1 => query.sql_mode = reader.u64()?,
            2 => skip_string(&mut reader, 1)?, // catalog, with NUL
            3 => query.auto_increment = [reader.u16()?, reader.u16()?],
            4 => query.charsets = [reader.u16()?, reader.u16()?, reader.u16()?],
            5 => {
                let len = usize::from(reader.u8()?);
                query.time_zone = String::from_utf8_lossy(reader.take(len)?).into_owned();
            }
            6 => skip_string(&mut reader, 0)?, // catalog, without NUL
            7 => query.locale = reader.u16()?,
            8 => query.collation_database = reader.u16()?,
            9 => drop(reader.take(8)?),  // table map for update
            10 => drop(reader.take(4)?), // master data written
            11 => {
                skip_string(&mut reader, 0)?; // invoker: user, host
                skip_string(&mut reader, 0)?;
            }
            12 => skip_updated_databases(&mut reader)?,
            16 => query.explicit_defaults_for_timestamp = Some(reader.u8()? != 0),
            17 => drop(reader.take(8)?), // xid of a DDL
            18 => query.collation_utf8mb4 = reader.u16()?,
            19 | 20 => drop(reader.take(1)?), // require primary key, default encryption
            13 | 128 => query.microseconds = u32::try_from(reader.uint(3)?).unwrap_or(0), // MariaDB: 128
            129 => {
                reader.take(8)?; // MariaDB: xid of a DDL
                query.explicit_defaults_for_timestamp =
                    Some(flags & OPTION_EXPLICIT_DEF_TIMESTAMP != 0);
            }
            131 => default_collations(&mut reader, query)?,
            130 => skip_string(&mut reader, 0)?, // MariaDB: GTID flags 3
            _ => return Ok(()),
        }
    }
    Ok(())
}

fn skip_string(reader: &mut Reader<'_>, extra: usize) -> Result<(), BinlogError> {
    let len = usize::from(reader.u8()?);
    reader.take(len + extra).map(drop)
}

/// MariaDB's `character_set_collations`: pairs of a character set, by the id of its own default, and the
/// collation that its name alone means.
fn default_collations(
    reader: &mut Reader<'_>,
    query: &mut QueryEvent<'_>,
) -> Result<(), BinlogError> {
    const UTF8MB4_GENERAL_CI: u16 = 45;
    for _ in 0..reader.u8()? {
        let (charset, collation) = (reader.u16()?, reader.u16()?);
        if charset == UTF8MB4_GENERAL_CI {
            query.collation_utf8mb4 = collation;
        }
    }
    Ok(())
}

fn skip_updated_databases(reader: &mut Reader<'_>) -> Result<(), BinlogError> {
    const OVER_MAX: u8 = 254;
    let count = reader.u8()?;
    if count >= OVER_MAX {
        return Ok(());
    }
    for _ in 0..count {
        while reader.u8()? != 0 {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement with these status variables.
    fn query(status: &[u8]) -> Vec<u8> {
        let mut data = vec![0; 8];
        data.extend([1, 0, 0, u8::try_from(status.len()).expect("short"), 0]);
        data.extend(status);
        data.extend(b"d\0CREATE TABLE t (a TIMESTAMP)");
        data
    }

    #[test]
    fn what_the_session_was_set_to_is_read() {
        // lc_time_names, auto_increment, default_collation_for_utf8mb4.
        let mysql = [0, 0, 0, 0, 0, 3, 10, 0, 3, 0, 7, 4, 0, 18, 45, 0];
        let data = query(&mysql);
        let found = read(&data).expect("a statement");
        let told = (found.locale, found.auto_increment, found.collation_utf8mb4, found.if_exists);
        assert_eq!(told, (4, [10, 3], 45, false));
        // MariaDB 11.5: sql_if_exists, character_set_collations (utf8mb3, then utf8mb4), ahead of the charsets.
        let pairs = [131, 2, 33, 0, 0x00, 0x08, 45, 0, 0x00, 0x09, 4, 45, 0, 8, 0, 8, 0];
        let data = query(&[&[0, 0, 0, 0, 0x10], &pairs[..]].concat());
        let found = read(&data).expect("a statement");
        assert_eq!((found.collation_utf8mb4, found.if_exists), (0x900, true));
        assert_eq!(found.charsets, [45, 8, 8]);
    }

    #[test]
    fn what_timestamp_means_is_read_where_the_log_tells() {
        // Each from a server: MySQL 9.7 with OFF and ON, MariaDB 10.11 with ON and OFF.
        let mysql = |on: u8| [0, 0, 0, 0, 0, 12, 1, b'x', 0, 16, on, 17, 0x51, 1, 0, 0, 0, 0, 0, 0];
        let mariadb = |flags: u8| [0, 0, 0, 0, flags, 129, 0xc7, 0, 0, 0, 0, 0, 0, 0];
        for (status, told) in [
            (&mysql(0)[..], Some(false)),
            (&mysql(1), Some(true)),
            (&mariadb(1), Some(true)),
            (&mariadb(4), Some(false)),
            (&[0, 0, 0, 0, 1][..], None),
        ] {
            let data = query(status);
            let query = read(&data).expect("a statement");
            assert_eq!(query.explicit_defaults_for_timestamp, told, "{status:?}");
            assert_eq!(
                (&query.database[..], query.no_foreign_key_checks),
                ("d", status[4] & 4 != 0)
            );
        }
    }
}
