//! A device that exists only as the batches it publishes.

use std::sync::Arc;
use tributary_wire::{
    Anchor, Batch, BatchBuilder, Chunk, ColumnBuffer, ColumnKind, ColumnShape, DeviceId, Header,
    Item, Limits, Op, Position, Pushed, Resume, SnapshotCursor, Statement, TableColumns,
    TableShape,
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
    /// In so many pieces, of which the first ends at this part.
    Staged(u64, u32),
}

/// A change of a row.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Insert(Vec<Value>),
    /// The row before, in all its columns, and after.
    Update(Vec<Value>, Vec<Value>),
    Delete(Vec<Value>),
}

/// The rows of a table with `lower < key <= upper`, but for the `kept` keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Range<'a> {
    pub(crate) lower: Option<Vec<Value>>,
    pub(crate) upper: Option<Vec<Value>>,
    pub(crate) kept: &'a [Vec<Value>],
    pub(crate) append: bool,
}

/// Publishes what it is told to have done.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    builder: BatchBuilder,
    epoch: u32,
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
    ColumnShape {
        name: name.into(),
        kind,
        unsigned: false,
        nullable: true,
        collation,
        scale: 0,
        size: 0,
    }
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

/// What every batch says that stands before its resume point.
pub(crate) const ANCHOR: Anchor = Anchor { file: 1, begin: 4, end: 5 << 32, crc32: u32::MAX };

pub(crate) fn decode(message: &[u8]) -> Batch {
    Batch::decode(message, &Limits::default()).expect("decodes")
}

impl Device {
    pub(crate) fn new(id: &str) -> Self {
        Self::with_source(id, "source-a", 1)
    }

    pub(crate) fn with_source(id: &str, source: &str, run: u64) -> Self {
        let prev = Position::beginning(1);
        let resume = Resume { position: prev, anchor: Some(ANCHOR), ..Resume::default() };
        Self::on_server(id, source, "9.7.0", run, resume, prev)
    }

    /// A device of a server of this version, that goes on from a place.
    pub(crate) fn on_server(
        id: &str,
        source: &str,
        server: &str,
        run: u64,
        resume: Resume,
        prev: Position,
    ) -> Self {
        let id: DeviceId = id.parse().expect("valid");
        let header = Header {
            device: id.clone(),
            run,
            source: source.into(),
            server: server.into(),
            prev,
            end: prev,
            resume,
            commit_time_first_us: 0,
            commit_time_last_us: 0,
        };
        let builder = BatchBuilder::new(header, prev, 1 << 20);
        let (epoch, offset) = (prev.epoch, prev.offset.max(4));
        Self { id, builder, epoch, offset, now_us: 1_700_000_000_000_000 }
    }

    /// Begins another epoch: the log's coordinates start over.
    pub(crate) fn new_epoch(&mut self) {
        self.epoch += 1;
        self.offset = 4;
    }

    /// One step of a snapshot, at the end of the log.
    pub(crate) fn item(&mut self, item: Item, sql: Option<&str>) {
        let statement = sql.map(statement);
        assert_eq!(self.builder.item(item, statement.as_ref()), Pushed::Taken);
    }

    /// `app.<table>` is as this CREATE TABLE makes it.
    pub(crate) fn define(&mut self, table: &str, sql: &str) {
        let (database, table) = ("app".to_owned(), table.to_owned());
        self.item(Item::Define { statement: 0, database, table }, Some(sql));
    }

    /// A chunk.
    pub(crate) fn chunk(
        &mut self,
        shape: &Arc<TableShape>,
        range: &Range<'_>,
        rows: &[Vec<Value>],
    ) {
        let mut columns = TableColumns::of(shape);
        for key in range.lower.iter().chain(&range.upper).chain(range.kept) {
            fill(&mut columns.identities, key);
        }
        rows.iter().for_each(|row| fill(&mut columns.images, row));
        let count = |n: usize| u32::try_from(n).expect("few");
        let chunk = Chunk {
            rows: count(rows.len()),
            lower: range.lower.is_some(),
            upper: range.upper.is_some(),
            kept: count(range.kept.len()),
            append: range.append,
            ..Chunk::default()
        };
        assert_eq!(self.builder.chunk(shape, columns, chunk), Pushed::Taken);
    }

    /// A piece of a value as a step of a snapshot; returns the part behind it.
    pub(crate) fn item_piece(&mut self, bytes: &[u8]) -> u64 {
        assert_eq!(self.builder.item_piece(bytes), Pushed::Taken);
        self.builder.end().part
    }

    /// A piece of a value as a change of the open transaction; returns the part behind it.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> u64 {
        assert_eq!(self.builder.piece(bytes), Pushed::Taken);
        self.builder.end().part
    }

    /// How far the snapshot has come; `None` when it is over.
    pub(crate) fn cursor(&mut self, cursor: Option<(&str, bool)>) {
        self.builder.set_snapshot(cursor.map(|(table, complete)| SnapshotCursor {
            database: "app".into(),
            table: table.into(),
            key: Vec::new(),
            complete,
        }));
    }

    /// Where the log stands.
    pub(crate) fn end(&self) -> Position {
        self.builder.end()
    }

    /// Begins a transaction that is not committed yet.
    pub(crate) fn begin(&mut self) {
        self.now_us += 1000;
        self.builder.begin(Position::boundary(self.epoch, 1, self.offset), self.now_us);
    }

    pub(crate) fn commit(&mut self) {
        self.offset += 1000;
        let end = Position::boundary(self.epoch, 1, self.offset);
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
        let statement = statement(sql);
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

    /// Whether foreign keys act, below the log, on what follows.
    pub(crate) fn acts(&mut self, acts: bool) {
        self.builder.set_acting(acts);
    }

    /// One DDL statement, as its own transaction.
    pub(crate) fn ddl(&mut self, sql: &str) {
        self.begin();
        self.statement(sql);
        self.commit();
    }

    /// One statement with a session of its own, as its own transaction.
    pub(crate) fn run(&mut self, statement: &Statement) {
        self.begin();
        assert_eq!(self.builder.statement(statement), Pushed::Taken);
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

/// A statement that `app` was the default database of.
pub(crate) fn statement(sql: &str) -> Statement {
    Statement {
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
        ..Statement::default()
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
            Value::Staged(part, count) => column.push_staged(*part, *count),
        }
    }
}
