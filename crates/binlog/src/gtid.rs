//! The events that name transactions: GTIDs, and the identifiers of XA.

use crate::reader::Reader;
use crate::{BinlogError, Body};

/// flags (1), server uuid (16), number (8), then from MySQL 5.7 a logical clock: type (1), two
/// counters (8 each), and from 8.0 the commit time in microseconds (7).
pub(crate) fn mysql(data: &[u8], named: bool) -> Result<Body<'_>, BinlogError> {
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
    Ok(Body::Gtid {
        gtid,
        commit_time_us,
        standalone: false,
        begins: false,
        prepares: false,
        transactional: true,
    })
}

/// A message of MySQL's serialization library (`libs/mysql/serialization/readme.md`; the fields stand in
/// `Gtid_event::define_fields`): version, size, last field that must be understood; then fields in the order
/// of their ids, an id in front of each. Every number is of variable length, the UUID's bytes too.
pub(crate) fn tagged(data: &[u8]) -> Result<Body<'_>, BinlogError> {
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
    Ok(Body::Gtid {
        gtid,
        commit_time_us,
        standalone: false,
        begins: false,
        prepares: false,
        transactional: true,
    })
}

fn format_uuid(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// sequence (8), domain (4), flags (1), a group commit's id (8) and an XA identifier where the flags say
/// so, further flags (1; `Gtid_log_event::write` in `sql/log_event_server.cc`). The server id stands in
/// the common header, so the caller completes the GTID.
pub(crate) fn mariadb(data: &[u8]) -> Result<Body<'_>, BinlogError> {
    const FL_STANDALONE: u8 = 1;
    const FL_GROUP_COMMIT_ID: u8 = 2;
    const FL_TRANSACTIONAL: u8 = 4;
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
        transactional: flags & FL_TRANSACTIONAL != 0,
    })
}

/// one phase (1), format id (4), lengths (4 each) of the global and the branch identifier, both
/// (`XA_prepare_event` in `libs/mysql/binlog/event/control_events.h`; the same in MariaDB).
pub(crate) fn xa_prepare(data: &[u8]) -> Result<Body<'_>, BinlogError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;

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
            transactional: true,
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
