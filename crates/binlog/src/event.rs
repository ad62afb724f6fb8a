//! Which event is which, and what the small ones say.

use crate::reader::Reader;
use crate::{BinlogError, QueryEvent, gtid, inflate, query};

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
        /// MariaDB: it changes only tables that can undo it. MySQL does not say; then true.
        transactional: bool,
    },
    /// A statement.
    Query(QueryEvent<'a>),
    /// What the statement behind it computes with, in words: a value of its session that no statement says.
    Variable(String),
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

/// The type code of a QUERY event.
pub const QUERY: u8 = 2;
const LOG_EVENT_IGNORABLE_F: u16 = 0x80;
// === impl Event ===

impl<'a> Event<'a> {
    /// Tells what the event is.
    ///
    /// # Errors
    /// [`BinlogError::Unsupported`] for an event that is neither known nor marked as ignorable by the
    /// server, and for the kinds that are known to lose data when they are passed over.
    pub fn parse(&self) -> Result<Body<'a>, BinlogError> {
        match self.code {
            QUERY => query::read(self.data).map(Body::Query),
            3 => Ok(Body::Ignored), // STOP: the server shut down
            4 => parse_rotate(self.data),
            5 | 13 | 14 => variable(self.code, self.data).map(Body::Variable),
            15 => Ok(Body::Ignored), // FORMAT_DESCRIPTION
            16 => Ok(Body::Xid),
            19 => Ok(Body::TableMap),
            23..=25 | 30..=32 => Ok(Body::Rows),
            26 => Err(BinlogError::Lost(
                "the server wrote an INCIDENT event: it lost events of its own log".into(),
            )),
            27 | 41 => Ok(Body::Heartbeat),
            28 | 29 | 160 => Ok(Body::Ignored), // IGNORABLE, ROWS_QUERY, MariaDB ANNOTATE_ROWS
            33 => gtid::mysql(self.data, true),
            34 => gtid::mysql(self.data, false),
            35 => Ok(Body::Ignored),      // PREVIOUS_GTIDS
            36 | 37 => Ok(Body::Ignored), // group replication's own
            38 => gtid::xa_prepare(self.data),
            39 => Err(BinlogError::Setting(
                "a partial JSON update: run SET GLOBAL binlog_row_value_options='' on the device"
                    .into(),
            )),
            40 => Ok(Body::Payload),
            42 => gtid::tagged(self.data),
            161 | 163 | 164 => Ok(Body::Ignored), // MariaDB BINLOG_CHECKPOINT, GTID_LIST, START_ENCRYPTION
            162 => gtid::mariadb(self.data),
            165..=171 => Ok(Body::Compressed),
            _ if self.flags & LOG_EVENT_IGNORABLE_F != 0 => Ok(Body::Ignored),
            code => Err(BinlogError::Unsupported(format!(
                "event type {code} is unknown to this build: upgrade the publisher"
            ))),
        }
    }
}

impl Event<'_> {
    /// What a [`Body::Compressed`] event would be without compression: type and body. `None` for every
    /// other event.
    ///
    /// # Errors
    /// When it does not unpack to exactly what it announces.
    pub fn inflate(&self) -> Result<Option<(u8, Vec<u8>)>, BinlogError> {
        inflate::event(self.code, self.data)
    }
}

/// INTVAR, RAND and USER_VAR.
fn variable(code: u8, data: &[u8]) -> Result<String, BinlogError> {
    const LAST_INSERT_ID: u8 = 1;
    match code {
        5 => {
            let mut reader = Reader::new("INTVAR", data);
            let kind = reader.u8()?;
            Ok(if kind == LAST_INSERT_ID { "LAST_INSERT_ID()" } else { "INSERT_ID" }.to_owned())
        }
        13 => Ok("RAND()".to_owned()),
        _ => {
            let mut reader = Reader::new("USER_VAR", data);
            let length = reader.u32()? as usize;
            let name = reader.take(length)?;
            Ok(format!("@{}", String::from_utf8_lossy(&name[..name.len().min(USER_VAR_MAX)])))
        }
    }
}

/// Bytes of a user variable's name, which may be 64 characters long.
const USER_VAR_MAX: usize = 256;

fn parse_rotate(data: &[u8]) -> Result<Body<'_>, BinlogError> {
    let mut reader = Reader::new("ROTATE", data);
    let offset = reader.u64()?;
    let file = String::from_utf8_lossy(reader.rest()).into_owned();
    Ok(Body::Rotate { file, offset })
}
