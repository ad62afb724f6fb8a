//! A binlog file, walked event by event; and its rows as the other decoder reads them.

use anyhow::{Context, Result, ensure};
use mysql_binlog_connector_rust::binlog_parser::BinlogParser;
use mysql_binlog_connector_rust::column::column_value::ColumnValue;
use mysql_binlog_connector_rust::event::event_data::EventData;
use std::collections::HashMap;
use std::io::Cursor;

const MAGIC_BYTES: usize = 4;
const HEADER_BYTES: usize = 19;
const CHECKSUM_BYTES: usize = 4;

/// `(type, flags, body)` of every event.
pub(crate) fn bodies(log: &[u8]) -> Result<Vec<(u8, u16, &[u8])>> {
    let mut events = Vec::new();
    let mut rest = log.get(MAGIC_BYTES..).context("no binlog")?;
    while !rest.is_empty() {
        let header = rest.get(..HEADER_BYTES).context("a header is cut off")?;
        let length = u32::from_le_bytes(header[9..13].try_into()?) as usize;
        ensure!(length >= HEADER_BYTES + CHECKSUM_BYTES, "an event of {length} bytes");
        let event = rest.get(..length).context("an event is cut off")?;
        let flags = u16::from_le_bytes(header[17..19].try_into()?);
        events.push((header[4], flags, &event[HEADER_BYTES..length - CHECKSUM_BYTES]));
        rest = &rest[length..];
    }
    Ok(events)
}

/// The images of every row: of an update the one before, then the one after.
pub(crate) fn read(log: &[u8]) -> Result<Vec<Vec<ColumnValue>>> {
    let mut parser =
        BinlogParser { checksum_length: 0, table_map_event_by_table_id: HashMap::new() };
    let mut log = Cursor::new(log);
    let other = |error| anyhow::anyhow!("the other decoder: {error:?}");
    parser.check_magic(&mut log).map_err(other)?;
    let mut rows = Vec::new();
    while (log.position() as usize) < log.get_ref().len() {
        let (_, event) = parser.next(&mut log).map_err(other)?;
        match event {
            EventData::WriteRows(event) => rows.extend(event.rows),
            EventData::DeleteRows(event) => rows.extend(event.rows),
            EventData::UpdateRows(event) => {
                rows.extend(event.rows.into_iter().flat_map(|(before, after)| [before, after]));
            }
            _ => {}
        }
    }
    Ok(rows.into_iter().map(|row| row.column_values).collect())
}
