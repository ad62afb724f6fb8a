//! A device that exists only as the batches it publishes.

use std::sync::Arc;
use tributary_wire::{
    Batch, BatchBuilder, ColumnBuffer, ColumnKind, ColumnShape, DeviceId, Header, Limits, Op,
    Position, Pushed, Resume, Statement, TableShape,
};

/// A value of a row, as the wire has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    UInt(u64),
    F32(f32),
    F64(f64),
    Bytes(Vec<u8>),
}

/// A change of a row.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Insert(Vec<Value>),
    /// The row before, in all its columns, and after.
    Update(Vec<Value>, Vec<Value>),
    Delete(Vec<Value>),
}

/// Publishes what it is told to have done.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    builder: BatchBuilder,
    offset: u64,
    now_us: i64,
}

pub(crate) fn int(value: i64) -> Value {
    Value::Int(value)
}

pub(crate) fn text(value: &str) -> Value {
    Value::Bytes(value.as_bytes().to_vec())
}

pub(crate) fn bytes(value: &[u8]) -> Value {
    Value::Bytes(value.to_vec())
}

pub(crate) fn column(name: &str, kind: ColumnKind) -> ColumnShape {
    let collation = if kind == ColumnKind::Text { 45 } else { 0 };
    ColumnShape { name: name.into(), kind, unsigned: false, nullable: true, collation, scale: 0 }
}

/// `app.<table>`; the first `key` columns are the primary key.
pub(crate) fn table(table: &str, columns: Vec<ColumnShape>, key: u16) -> Arc<TableShape> {
    let primary_key = (0..key).collect();
    Arc::new(TableShape { database: "app".into(), table: table.into(), columns, primary_key })
}

/// `app.<name>` with an integer key `id` and a text `v`.
pub(crate) fn simple(name: &str) -> Arc<TableShape> {
    table(name, vec![column("id", ColumnKind::Integer), column("v", ColumnKind::Text)], 1)
}

/// The row of a [`simple`] table.
pub(crate) fn row(id: i64, v: &str) -> Vec<Value> {
    vec![int(id), text(v)]
}

pub(crate) fn decode(message: &[u8]) -> Batch {
    Batch::decode(message, &Limits::default()).expect("decodes")
}

impl Device {
    pub(crate) fn new(id: &str) -> Self {
        Self::with_source(id, "source-a", 1)
    }

    pub(crate) fn with_source(id: &str, source: &str, run: u64) -> Self {
        let id: DeviceId = id.parse().expect("valid");
        let prev = Position::beginning(1);
        let header = Header {
            device: id.clone(),
            run,
            source: source.into(),
            server: "9.7.0".into(),
            prev,
            end: prev,
            resume: Resume { position: prev, gtid: None, ..Resume::default() },
            commit_time_first_us: 0,
            commit_time_last_us: 0,
        };
        let builder = BatchBuilder::new(header, prev, 1 << 20);
        Self { id, builder, offset: 4, now_us: 1_700_000_000_000_000 }
    }

    /// Where the log stands.
    pub(crate) fn end(&self) -> Position {
        self.builder.end()
    }

    /// Begins a transaction that is not committed yet.
    pub(crate) fn begin(&mut self) {
        self.now_us += 1000;
        self.builder.begin(Position::boundary(1, 1, self.offset), self.now_us);
    }

    pub(crate) fn commit(&mut self) {
        self.offset += 1000;
        let end = Position::boundary(1, 1, self.offset);
        self.builder.commit(end, Some(format!("source:{}", self.offset)));
    }

    pub(crate) fn change(&mut self, shape: &Arc<TableShape>, change: &Change) {
        let index = self.builder.table(shape);
        let identity = shape.identity();
        let of_key = |row: &[Value]| -> Vec<Value> {
            identity.iter().map(|&i| row[usize::from(i)].clone()).collect()
        };
        let (op, image, before, gone) = match change {
            Change::Insert(row) => (Op::Insert, row.clone(), vec![], vec![]),
            Change::Update(old, new) => (Op::Update, new.clone(), of_key(old), vec![]),
            Change::Delete(old) => (Op::Delete, vec![], vec![], of_key(old)),
        };
        let pushed = self.builder.row(index, op, |columns| -> Result<(), ()> {
            fill(&mut columns.images, &image);
            fill(&mut columns.before, &before);
            fill(&mut columns.identities, &gone);
            Ok(())
        });
        assert_eq!(pushed, Ok(Pushed::Taken));
    }

    pub(crate) fn statement(&mut self, sql: &str) {
        let statement = Statement {
            database: "app".into(),
            sql: sql.as_bytes().to_vec(),
            sql_mode: 0,
            charset_client: 45,
            collation_connection: 45,
            collation_server: 45,
            collation_database: 45,
            no_foreign_key_checks: false,
            timestamp_us: 1_764_000_000_000_000,
            time_zone: String::new(),
            explicit_defaults_for_timestamp: None,
        };
        assert_eq!(self.builder.statement(&statement), Pushed::Taken);
    }

    /// One transaction with these changes of one table.
    pub(crate) fn transaction(&mut self, shape: &Arc<TableShape>, changes: &[Change]) {
        self.begin();
        for change in changes {
            self.change(shape, change);
        }
        self.commit();
    }

    /// One transaction with an insert.
    pub(crate) fn insert(&mut self, shape: &Arc<TableShape>, row: Vec<Value>) {
        self.transaction(shape, &[Change::Insert(row)]);
    }

    /// One DDL statement, as its own transaction.
    pub(crate) fn ddl(&mut self, sql: &str) {
        self.begin();
        self.statement(sql);
        self.commit();
    }

    /// The message that holds everything since the last one.
    pub(crate) fn seal(&mut self) -> Vec<u8> {
        self.builder.seal().expect("seals").message
    }

    /// The same, decoded.
    pub(crate) fn batch(&mut self) -> Batch {
        decode(&self.seal())
    }
}

fn fill(columns: &mut [ColumnBuffer], row: &[Value]) {
    for (column, value) in columns.iter_mut().zip(row) {
        match value {
            Value::Null => column.push_null(),
            Value::Int(value) => column.push_int(*value),
            Value::UInt(value) => column.push_uint(*value),
            Value::F32(value) => column.push_f32(*value),
            Value::F64(value) => column.push_f64(*value),
            Value::Bytes(value) => column.push_bytes(value),
        }
    }
}
