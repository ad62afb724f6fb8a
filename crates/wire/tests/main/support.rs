//! Tables, headers and bodies for the tests.

use std::sync::Arc;
use tributary_wire::*;

/// A table of a number and a text.
pub(crate) fn shape(table: &str) -> Arc<TableShape> {
    let column = |name: &str, kind| ColumnShape {
        name: name.into(),
        kind,
        unsigned: false,
        nullable: true,
        collation: 0,
        scale: 0,
        size: 0,
    };
    Arc::new(TableShape {
        database: "app".into(),
        table: table.into(),
        columns: vec![column("id", ColumnKind::Integer), column("v", ColumnKind::Text)],
        primary_key: vec![0],
    })
}

pub(crate) fn header(prev: Position) -> Header {
    Header {
        device: "DEVICE_001".parse().expect("valid"),
        run: 7,
        source: "6d1b6a4e-0000-11f0-8000-0242ac110002".into(),
        server: "9.7.0".into(),
        prev,
        end: prev,
        resume: Resume { position: prev.floor(), gtid: None, ..Resume::default() },
        commit_time_first_us: 0,
        commit_time_last_us: 0,
    }
}

pub(crate) fn builder(prev: Position, message_bytes_max: usize) -> BatchBuilder {
    BatchBuilder::new(header(prev), prev, message_bytes_max)
}

pub(crate) fn statement(sql: &[u8]) -> Statement {
    Statement {
        database: "app".into(),
        sql: sql.to_vec(),
        sql_mode: 1_168_113_696,
        charset_client: 255,
        collation_connection: 255,
        collation_server: 255,
        collation_database: 0,
        no_foreign_key_checks: false,
        timestamp_us: 1_764_000_000_000_000,
        time_zone: String::new(),
        ..Statement::default()
    }
}

/// The body of a message.
pub(crate) fn body(message: &[u8]) -> Vec<u8> {
    let length = u32::from_le_bytes(message[4..8].try_into().expect("four bytes"));
    zstd::bulk::decompress(&message[8..], length as usize).expect("decompresses")
}

/// A message that declares and holds `body`.
pub(crate) fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("fits");
    let mut message = MAGIC.to_vec();
    message.push(VERSION);
    message.extend_from_slice(&length.to_le_bytes());
    message.extend(zstd::bulk::compress(body, 3).expect("compresses"));
    message
}
