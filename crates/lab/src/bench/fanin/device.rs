//! A device that exists only as the batches it publishes.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Result, ensure};
use tributary_wire::{
    BatchBuilder, ColumnKind, ColumnShape, DeviceId, Header, Op, Position, Pushed, Resume,
    Statement, TableShape,
};

/// What it has published so far: positions, as if it had a log.
pub(super) struct Device {
    pub(super) id: DeviceId,
    builder: BatchBuilder,
    offset: u64,
    next_id: i64,
}

/// A message, ready to be published.
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) payload: Vec<u8>,
}

const DATABASE: &str = "CREATE DATABASE app";
const TABLE: &str = "CREATE TABLE app.reading (id BIGINT PRIMARY KEY, sensor INT NOT NULL, at DATETIME(3) NOT NULL, \
     value DOUBLE NOT NULL, unit VARCHAR(16) NOT NULL)";
/// utf8mb4_general_ci.
const COLLATION: u16 = 45;
/// Larger than any of these messages.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// 2026-01-01, the time of every reading, in microseconds.
const NOW_US: i64 = 1_767_225_600_000_000;
/// The same as MySQL packs a DATETIME; see [`ColumnKind::DateTime`].
const NOW_PACKED: u64 = (((2026 * 13 + 1) << 5 | 1) << 17) << 24;
/// Bytes of log that a transaction is said to take.
const TRANSACTION: u64 = 1000;

/// The shape of its table, which all devices have in common.
pub(super) fn shape() -> Arc<TableShape> {
    let column = |name: &str, kind: ColumnKind, scale: u16| ColumnShape {
        name: name.to_owned(),
        kind,
        unsigned: false,
        nullable: false,
        collation: if kind == ColumnKind::Text { COLLATION } else { 0 },
        scale,
        size: 0,
    };
    Arc::new(TableShape {
        database: "app".to_owned(),
        table: "reading".to_owned(),
        columns: vec![
            column("id", ColumnKind::Integer, 0),
            column("sensor", ColumnKind::Integer, 0),
            column("at", ColumnKind::DateTime, 3),
            column("value", ColumnKind::Double, 0),
            column("unit", ColumnKind::Text, 0),
        ],
        primary_key: vec![0],
    })
}

impl Device {
    /// The device of that number, which has written nothing.
    pub(super) fn new(number: u32) -> Result<Self> {
        let id: DeviceId = format!("DEVICE_{number:05}").parse()?;
        let prev = Position::beginning(1);
        let header = Header {
            device: id.clone(),
            run: u64::from(number) + 1,
            source: format!("source-{number}"),
            server: "9.7.0".to_owned(),
            prev,
            end: prev,
            resume: Resume { position: prev, ..Resume::default() },
            commit_time_first_us: 0,
            commit_time_last_us: 0,
        };
        let builder = BatchBuilder::new(header, prev, MESSAGE_BYTES_MAX);
        Ok(Self { id, builder, offset: 4, next_id: 0 })
    }

    /// Where its log ends.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Makes its database and its table.
    pub(super) fn create(&mut self) -> Result<Message> {
        for sql in [DATABASE, TABLE] {
            self.begin();
            ensure!(self.builder.statement(&statement(sql)) == Pushed::Taken, "a full batch");
            self.commit();
        }
        self.seal()
    }

    /// One transaction of so many new rows.
    pub(super) fn insert(&mut self, shape: &Arc<TableShape>, rows: u32) -> Result<Message> {
        self.begin();
        let table = self.builder.table(shape);
        for _ in 0..rows {
            let id = self.next_id;
            self.next_id += 1;
            let Ok(pushed) = self.builder.row(table, Op::Insert, |columns| {
                let [key, sensor, at, value, unit] = columns.images.as_mut_slice() else {
                    return Ok(());
                };
                key.push_int(id);
                sensor.push_int(id % 20);
                at.push_uint(NOW_PACKED);
                // Two digits behind the point, in no order; exact below 2^53.
                #[allow(clippy::cast_precision_loss, reason = "below 10,000")]
                value.push_f64((id * 7919 % 10_000) as f64 / 100.0);
                unit.push_bytes(b"celsius");
                Ok::<(), Infallible>(())
            });
            ensure!(pushed == Pushed::Taken, "a full batch");
        }
        self.commit();
        self.seal()
    }

    fn begin(&mut self) {
        self.builder.begin(Position::boundary(1, 1, self.offset), NOW_US);
    }

    fn commit(&mut self) {
        self.offset += TRANSACTION;
        self.builder.commit(Position::boundary(1, 1, self.offset), None);
    }

    fn seal(&mut self) -> Result<Message> {
        let payload = self.builder.seal()?.message;
        Ok(Message { subject: self.id.changes_subject(), payload })
    }
}

fn statement(sql: &str) -> Statement {
    Statement {
        database: String::new(),
        sql: sql.as_bytes().to_vec(),
        sql_mode: 0,
        charset_client: COLLATION,
        collation_connection: COLLATION,
        collation_server: COLLATION,
        collation_database: COLLATION,
        no_foreign_key_checks: false,
        timestamp_us: NOW_US,
        time_zone: String::new(),
        ..Statement::default()
    }
}
