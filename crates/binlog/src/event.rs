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
        /// `uuid:number` or `domain-server-sequence`; `None` for an anonymous one.
        gtid: Option<String>,
        /// Commit time in microseconds since the Unix epoch, where the server says it (MySQL 8).
        commit_time_us: Option<i64>,
        /// MariaDB: the one statement that follows is the whole transaction.
        standalone: bool,
        /// MariaDB: begins a transaction by itself; MySQL writes a BEGIN after it.
        begins: bool,
    },
    /// A statement.
    Query(QueryEvent<'a>),
    /// The transaction has committed.
    Xid,
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
}

const LOG_EVENT_IGNORABLE_F: u16 = 0x80;
const OPTION_NO_FOREIGN_KEY_CHECKS: u32 = 1 << 26;

// === impl Event ===

impl<'a> Event<'a> {
    /// Tells what the event is.
    ///
    /// # Errors
    /// [`BinlogError::Unsupported`] for an event that is neither known nor marked as ignorable by the
    /// server, and for the kinds that are known to lose data when they are passed over.
    pub fn parse(&self) -> Result<Body<'a>, BinlogError> {
        match self.code {
            2 => parse_query(self.data).map(Body::Query),
            3 => Ok(Body::Ignored), // STOP: the server shut down
            4 => parse_rotate(self.data),
            15 => Ok(Body::Ignored), // FORMAT_DESCRIPTION
            16 => Ok(Body::Xid),
            19 => Ok(Body::TableMap),
            23..=25 | 30..=32 => Ok(Body::Rows),
            26 => Err(BinlogError::Unsupported(
                "the server wrote an INCIDENT event: it lost events of its own log; the device needs a new snapshot".into(),
            )),
            27 | 41 => Ok(Body::Heartbeat),
            28 | 29 | 160 => Ok(Body::Ignored), // IGNORABLE, ROWS_QUERY, MariaDB ANNOTATE_ROWS
            33 => parse_gtid(self.data, true),
            34 => parse_gtid(self.data, false),
            35 => Ok(Body::Ignored), // PREVIOUS_GTIDS
            36 | 37 => Ok(Body::Ignored), // group replication's own
            38 => Err(BinlogError::Unsupported(
                "an XA transaction was prepared, whose outcome the log does not yet tell; this build does not carry XA".into(),
            )),
            39 => Err(BinlogError::Setting(
                "a partial JSON update: run SET GLOBAL binlog_row_value_options='' on the device".into(),
            )),
            40 => Ok(Body::Payload),
            // GTID_TAGGED: begins a transaction like 33; its tag is not needed to find the place again.
            42 => Ok(Body::Gtid { gtid: None, commit_time_us: None, standalone: false, begins: false }),
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
    Ok(Body::Gtid { gtid, commit_time_us, standalone: false, begins: false })
}

fn format_uuid(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// sequence (8), domain (4), flags (1), a group commit's id (8) where the flags say so, further flags
/// (1; `Gtid_log_event::write` in `sql/log_event_server.cc`). The server id stands in the common header, so the caller
/// completes the GTID.
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
    if flags & (FL_PREPARED_XA | FL_COMPLETED_XA) != 0 {
        return Err(BinlogError::Unsupported(
            "an XA transaction was prepared, whose outcome the log does not yet tell; this build does not carry XA".into(),
        ));
    }
    if flags & FL_GROUP_COMMIT_ID != 0 {
        reader.take(8)?;
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
    })
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
    while !reader.is_empty() {
        match reader.u8()? {
            0 => query.no_foreign_key_checks = reader.u32()? & OPTION_NO_FOREIGN_KEY_CHECKS != 0,
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
            16 => drop(reader.take(1)?), // explicit_defaults_for_timestamp
            17 => drop(reader.take(8)?), // xid of a DDL
            18 => drop(reader.take(2)?), // default collation for utf8mb4
            19 | 20 => drop(reader.take(1)?), // require primary key, default encryption
            13 | 128 => query.microseconds = u32::try_from(reader.uint(3)?).unwrap_or(0), // MariaDB: 128
            129 => drop(reader.take(8)?),        // MariaDB: xid
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
