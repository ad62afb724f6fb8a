//! Which event is which, and what the small ones say.

use crate::reader::Reader;
use crate::{BinlogError, inflate};

/// One event: type, flags and body, without the common header and the checksum.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The type code in the common header.
    pub code: u8,
    /// The flags in the common header.
    pub flags: u16,
    /// What follows the common header.
    pub data: &'a [u8],
}

/// What an event means to a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// The log goes on in another file.
    Rotate {
        /// Its name.
        file: String,
        /// Where in it.
        offset: u64,
    },
    /// A transaction begins (GTID and anonymous GTID events; also MariaDB's).
    Gtid {
        /// `uuid:number`, `uuid:tag:number` or `domain-sequence`, which the server id in the common header
        /// completes; `None` for an anonymous one.
        gtid: Option<String>,
        /// Commit time in microseconds since the Unix epoch, where the server says it (MySQL 8).
        commit_time_us: Option<i64>,
        /// MariaDB: the one statement that follows is the whole transaction.
        standalone: bool,
        /// MariaDB: begins a transaction by itself; MySQL writes a BEGIN after it.
        begins: bool,
        /// MariaDB: the transaction ends in XA PREPARE.
        prepares: bool,
    },
    /// A statement.
    Query(QueryEvent<'a>),
    /// The transaction has committed.
    Xid,
    /// The XA transaction is prepared; or it has committed, in one phase.
    XaPrepare {
        /// Its identifier as the server writes it in statements: `X'7465',X'',1`.
        xid: String,
        /// It has committed.
        one_phase: bool,
    },
    /// Defines the table that rows events after it refer to.
    TableMap,
    /// Row changes.
    Rows,
    /// MySQL: a transaction whose events were compressed together; [`crate::Payload`] unpacks them.
    Payload,
    /// MariaDB: a statement or rows, compressed; see [`Event::inflate`].
    Compressed,
    /// Nothing that concerns a copy.
    Ignored,
    /// The server lives; nothing new.
    Heartbeat,
}

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
}

/// The type code of a QUERY event.
pub const QUERY: u8 = 2;
const LOG_EVENT_IGNORABLE_F: u16 = 0x80;
const OPTION_NO_FOREIGN_KEY_CHECKS: u32 = 1 << 26;
const OPTION_EXPLICIT_DEF_TIMESTAMP: u32 = 1 << 24;

// === impl Event ===

impl<'a> Event<'a> {
    /// Tells what the event is.
    ///
    /// # Errors
    /// [`BinlogError::Unsupported`] for an event that is neither known nor marked as ignorable by the
    /// server, and for the kinds that are known to lose data when they are passed over.
    pub fn parse(&self) -> Result<Body<'a>, BinlogError> {
        match self.code {
            QUERY => parse_query(self.data).map(Body::Query),
            3 => Ok(Body::Ignored), // STOP: the server shut down
            4 => parse_rotate(self.data),
            15 => Ok(Body::Ignored), // FORMAT_DESCRIPTION
            16 => Ok(Body::Xid),
            19 => Ok(Body::TableMap),
            23..=25 | 30..=32 => Ok(Body::Rows),
            26 => Err(BinlogError::Lost(
                "the server wrote an INCIDENT event: it lost events of its own log".into(),
            )),
            27 | 41 => Ok(Body::Heartbeat),
            28 | 29 | 160 => Ok(Body::Ignored), // IGNORABLE, ROWS_QUERY, MariaDB ANNOTATE_ROWS
            33 => parse_gtid(self.data, true),
            34 => parse_gtid(self.data, false),
            35 => Ok(Body::Ignored),      // PREVIOUS_GTIDS
            36 | 37 => Ok(Body::Ignored), // group replication's own
            38 => parse_xa_prepare(self.data),
            39 => Err(BinlogError::Setting(
                "a partial JSON update: run SET GLOBAL binlog_row_value_options='' on the device"
                    .into(),
            )),
            40 => Ok(Body::Payload),
            42 => parse_tagged_gtid(self.data),
            161 | 163 | 164 => Ok(Body::Ignored), // MariaDB BINLOG_CHECKPOINT, GTID_LIST, START_ENCRYPTION
            162 => parse_mariadb_gtid(self.data),
            165..=171 => Ok(Body::Compressed),
            _ if self.flags & LOG_EVENT_IGNORABLE_F != 0 => Ok(Body::Ignored),
            code => Err(BinlogError::Unsupported(format!(
                "event type {code} is unknown to this build: upgrade the publisher"
            ))),
        }
    }
}

impl Event<'_> {
    /// What a compressed statement would be without compression: type and body. `None` for every other
    /// event; compressed rows are read by [`crate::rows_stream`].
    ///
    /// # Errors
    /// When it does not unpack to exactly what it announces.
    pub fn inflate(&self) -> Result<Option<(u8, Vec<u8>)>, BinlogError> {
        inflate::event(self.code, self.data)
    }
}

fn parse_rotate(data: &[u8]) -> Result<Body<'_>, BinlogError> {
    let mut reader = Reader::new("ROTATE", data);
    let offset = reader.u64()?;
    let file = String::from_utf8_lossy(reader.rest()).into_owned();
    Ok(Body::Rotate { file, offset })
}

/// flags (1), server uuid (16), number (8), then from MySQL 5.7 a logical clock: type (1), two
/// counters (8 each), and from 8.0 the commit time in microseconds (7).
fn parse_gtid(data: &[u8], named: bool) -> Result<Body<'_>, BinlogError> {
    let mut reader = Reader::new("GTID", data);
    let _flags = reader.u8()?;
    let uuid: [u8; 16] = reader.array()?;
    let number = reader.u64()?;
    let mut commit_time_us = None;
    if reader.rest().len() >= 1 + 16 + 7 && reader.u8()? == 2 {
        reader.take(16)?;
        // The top bit says that the original commit time follows.
        let immediate = reader.uint(7)? & !(1 << 55);
        commit_time_us = i64::try_from(immediate).ok();
    }
    let gtid = named.then(|| format!("{}:{number}", format_uuid(uuid)));
    Ok(Body::Gtid { gtid, commit_time_us, standalone: false, begins: false, prepares: false })
}

/// A message of MySQL's serialization library (`libs/mysql/serialization/readme.md`; the fields stand in
/// `Gtid_event::define_fields`): version, size, last field that must be understood; then fields in the order
/// of their ids, an id in front of each. Every number is of variable length, the UUID's bytes too.
fn parse_tagged_gtid(data: &[u8]) -> Result<Body<'_>, BinlogError> {
    const TAG_BYTES_MAX: u64 = 32;
    let mut reader = Reader::new("GTID_TAGGED", data);
    if reader.varlen()? > 1 {
        return Err(BinlogError::Unsupported(
            "a tagged GTID in a format that is unknown to this build: upgrade the publisher".into(),
        ));
    }
    let (_size, _last) = (reader.varlen()?, reader.varlen()?);
    let (mut uuid, mut number, mut tag, mut commit_time_us) = (None, None, None, None);
    while !reader.is_empty() && commit_time_us.is_none() {
        match reader.varlen()? {
            1 => {
                let mut bytes = [0; 16];
                for byte in &mut bytes {
                    *byte = u8::try_from(reader.varlen()?)
                        .map_err(|_| reader.error("a UUID's byte is larger than one"))?;
                }
                uuid = Some(bytes);
            }
            2 => number = Some(reader.varlen_signed()?),
            3 => {
                let len = reader.varlen()?.min(TAG_BYTES_MAX + 1);
                let bytes = reader.take(usize::try_from(len).unwrap_or(usize::MAX))?;
                let is_tag = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                if len > TAG_BYTES_MAX || !bytes.iter().all(is_tag) {
                    return Err(reader.error("a tag that is none"));
                }
                tag = Some(String::from_utf8_lossy(bytes).into_owned());
            }
            // Flags, and the logical clock's two counters.
            0 | 4 | 5 => drop(reader.varlen()?),
            6 => commit_time_us = Some(reader.varlen()?),
            _ => break,
        }
    }
    let (Some(uuid), Some(number), Some(tag)) = (uuid, number, tag) else {
        return Err(reader.error("its UUID, tag or number is missing"));
    };
    let commit_time_us = commit_time_us.and_then(|us| i64::try_from(us).ok());
    let separator = if tag.is_empty() { "" } else { ":" };
    let gtid = Some(format!("{}:{tag}{separator}{number}", format_uuid(uuid)));
    Ok(Body::Gtid { gtid, commit_time_us, standalone: false, begins: false, prepares: false })
}

fn format_uuid(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// sequence (8), domain (4), flags (1), a group commit's id (8) and an XA identifier where the flags say
/// so, further flags (1; `Gtid_log_event::write` in `sql/log_event_server.cc`). The server id stands in
/// the common header, so the caller completes the GTID.
fn parse_mariadb_gtid(data: &[u8]) -> Result<Body<'_>, BinlogError> {
    const FL_STANDALONE: u8 = 1;
    const FL_GROUP_COMMIT_ID: u8 = 2;
    const FL_START_ALTER: u8 = 2;
    const FL_COMMIT_ALTER: u8 = 4;
    const FL_ROLLBACK_ALTER: u8 = 8;
    const FL_PREPARED_XA: u8 = 64;
    const FL_COMPLETED_XA: u8 = 128;
    let mut reader = Reader::new("MARIADB_GTID", data);
    let sequence = reader.u64()?;
    let domain = reader.u32()?;
    let flags = reader.u8()?;
    if flags & FL_GROUP_COMMIT_ID != 0 {
        reader.take(8)?;
    }
    if flags & (FL_PREPARED_XA | FL_COMPLETED_XA) != 0 {
        reader.take(4)?; // format id
        let len = usize::from(reader.u8()?) + usize::from(reader.u8()?);
        reader.take(len)?;
    }
    // Zero where the event ends in padding, absent before 10.8.
    let extra = reader.rest().first().copied().unwrap_or(0);
    if extra & (FL_START_ALTER | FL_COMMIT_ALTER | FL_ROLLBACK_ALTER) != 0 {
        return Err(BinlogError::Setting(
            "an ALTER in two phases: run SET GLOBAL binlog_alter_two_phase=OFF on the device"
                .into(),
        ));
    }
    let standalone = flags & FL_STANDALONE != 0;
    Ok(Body::Gtid {
        gtid: Some(format!("{domain}-{sequence}")),
        commit_time_us: None,
        standalone,
        begins: !standalone,
        prepares: flags & FL_PREPARED_XA != 0,
    })
}

/// one phase (1), format id (4), lengths (4 each) of the global and the branch identifier, both
/// (`XA_prepare_event` in `libs/mysql/binlog/event/control_events.h`; the same in MariaDB).
fn parse_xa_prepare(data: &[u8]) -> Result<Body<'_>, BinlogError> {
    const PART_BYTES_MAX: u32 = 64;
    let mut reader = Reader::new("XA_PREPARE", data);
    let one_phase = reader.u8()? != 0;
    let format = reader.u32()?.cast_signed();
    let (global, branch) = (reader.u32()?, reader.u32()?);
    if global > PART_BYTES_MAX || branch > PART_BYTES_MAX {
        return Err(reader.error(format!("an identifier of {global} and {branch} bytes")));
    }
    let mut hex = |len: u32| -> Result<String, BinlogError> {
        Ok(reader.take(len as usize)?.iter().map(|byte| format!("{byte:02x}")).collect())
    };
    let (global, branch) = (hex(global)?, hex(branch)?);
    Ok(Body::XaPrepare { xid: format!("X'{global}',X'{branch}',{format}"), one_phase })
}

/// thread (4), seconds (4), length of the database's name (1), error (2), length of the status
/// variables (2), status variables, name, NUL, statement.
fn parse_query(data: &[u8]) -> Result<QueryEvent<'_>, BinlogError> {
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
            }
            1 => query.sql_mode = reader.u64()?,
            2 => skip_string(&mut reader, 1)?, // catalog, with NUL
            3 => drop(reader.take(4)?),        // auto_increment
            4 => query.charsets = [reader.u16()?, reader.u16()?, reader.u16()?],
            5 => {
                let len = usize::from(reader.u8()?);
                query.time_zone = String::from_utf8_lossy(reader.take(len)?).into_owned();
            }
            6 => skip_string(&mut reader, 0)?, // catalog, without NUL
            7 => drop(reader.take(2)?),        // lc_time_names
            8 => query.collation_database = reader.u16()?,
            9 => drop(reader.take(8)?),  // table map for update
            10 => drop(reader.take(4)?), // master data written
            11 => {
                skip_string(&mut reader, 0)?; // invoker: user, host
                skip_string(&mut reader, 0)?;
            }
            12 => skip_updated_databases(&mut reader)?,
            16 => query.explicit_defaults_for_timestamp = Some(reader.u8()? != 0),
            17 => drop(reader.take(8)?),      // xid of a DDL
            18 => drop(reader.take(2)?),      // default collation for utf8mb4
            19 | 20 => drop(reader.take(1)?), // require primary key, default encryption
            13 | 128 => query.microseconds = u32::try_from(reader.uint(3)?).unwrap_or(0), // MariaDB: 128
            129 => {
                reader.take(8)?; // MariaDB: xid of a DDL
                query.explicit_defaults_for_timestamp =
                    Some(flags & OPTION_EXPLICIT_DEF_TIMESTAMP != 0);
            }
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

    /// From MySQL 9.7, after `SET gtid_next='AUTOMATIC:mytag_1'`.
    const TAGGED: [u8; 58] = [
        0x02, 0x74, 0x00, 0x00, 0x00, 0x02, 0x4d, 0x03, 0x98, 0x74, 0x0e, 0x99, 0x03, 0xb2, 0x22,
        0xc5, 0x03, 0x19, 0x02, 0x6e, 0x04, 0xf1, 0x03, 0x00, 0x00, 0x00, 0x02, 0x04, 0x0c, 0x06,
        0x0e, b'm', b'y', b't', b'a', b'g', b'_', b'1', 0x08, 0x00, 0x0a, 0x04, 0x0c, 0x7f, 0xdb,
        0x07, 0x70, 0xc1, 0xda, 0x60, 0x06, 0x10, 0x55, 0x04, 0x12, 0x83, 0x12, 0x0b,
    ];

    #[test]
    fn a_tagged_gtid_reads_as_text() {
        let event = Event { code: 42, flags: 0, data: &TAGGED };
        let gtid = "d34c3a07-e659-11f1-8637-02fc00000001:mytag_1:3".to_owned();
        let body = Body::Gtid {
            gtid: Some(gtid),
            commit_time_us: Some(1_795_342_524_745_691),
            standalone: false,
            begins: false,
            prepares: false,
        };
        assert_eq!(event.parse(), Ok(body));
        for len in 0..38 {
            let cut = Event { data: &TAGGED[..len], ..event };
            assert!(cut.parse().is_err(), "cut after {len} bytes");
        }
        let mut long = TAGGED;
        long[30] = 0xfe;
        assert!(Event { data: &long, ..event }.parse().is_err(), "a tag of 127 bytes");
    }

    /// A statement with these status variables.
    fn query(status: &[u8]) -> Vec<u8> {
        let mut data = vec![0; 8];
        data.extend([1, 0, 0, u8::try_from(status.len()).expect("short"), 0]);
        data.extend(status);
        data.extend(b"d\0CREATE TABLE t (a TIMESTAMP)");
        data
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
            let Ok(Body::Query(query)) = (Event { code: 2, flags: 0, data: &data }).parse() else {
                panic!("a statement");
            };
            assert_eq!(query.explicit_defaults_for_timestamp, told, "{status:?}");
            assert_eq!(
                (&query.database[..], query.no_foreign_key_checks),
                ("d", status[4] & 4 != 0)
            );
        }
    }

    #[test]
    fn an_xa_identifier_reads_as_the_server_writes_it_in_statements() {
        let data = [0, 7, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0x00, 0xff, b'b'];
        let event = Event { code: 38, flags: 0, data: &data };
        let body = Body::XaPrepare { xid: "X'00ff',X'62',7".into(), one_phase: false };
        assert_eq!(event.parse(), Ok(body));
        assert!(Event { data: &data[..15], ..event }.parse().is_err());
        let mut long = data;
        long[5] = 65;
        assert!(Event { data: &long, ..event }.parse().is_err());
    }
}
