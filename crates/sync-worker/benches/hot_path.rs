//! What every row goes through on its way, step by step: time, rows per second, and allocations.
//! `cargo bench -p tributary-sync-worker`. Allocations are printed for an iteration, which is [`ROWS`] rows
//! (the rows of one event for `decode`): divided by them, they are those of a row.
//!
//! `readings.binlog` is a log of MySQL 9.7: 200 rows that were inserted by one statement.

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use std::sync::Arc;
use tributary_binlog::{Body, Event, Rows, Server, TablePlan};
use tributary_sync_worker::net::TableWork;
use tributary_sync_worker::plan::{Context, plan};
use tributary_sync_worker::script::Script;
use tributary_sync_worker::target::{Charsets, TargetColumn, TargetTable};
use tributary_wire::{
    Batch, BatchBuilder, Header, Limits, Op, Position, Pushed, Resume, Seal, TableShape,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const LOG: &[u8] = include_bytes!("readings.binlog");
/// Rows of a batch.
const ROWS: u32 = 2000;
const BATCH_BYTES: usize = 4 << 20;

fn main() {
    divan::main();
}

/// The table map and the first rows event of the log.
fn table_and_rows() -> (TablePlan, u8, &'static [u8]) {
    let (mut plan, mut at) = (None, 4);
    while let Some(header) = LOG.get(at..at + 19) {
        let bytes = header[9..13].try_into().map(u32::from_le_bytes).expect("four bytes");
        // Four bytes of checksum stand at the end.
        let end = at + bytes as usize;
        let (code, data) = (header[4], &LOG[at + 19..end - 4]);
        match (Event { code, flags: 0, data }).parse().expect("is read") {
            Body::TableMap => {
                let compiled = TablePlan::compile(data, Server::MySql).expect("compiles");
                plan = Some(compiled.with_names().expect("names its columns"));
            }
            Body::Rows => return (plan.expect("comes first"), code, data),
            _ => {}
        }
        at = end;
    }
    unreachable!("the log holds rows")
}

fn builder() -> BatchBuilder {
    let header = Header {
        device: "DEVICE_001".parse().expect("valid"),
        run: 1,
        source: "server".into(),
        server: "9.7.0".into(),
        prev: Position::beginning(1),
        end: Position::beginning(1),
        resume: Resume::default(),
        commit_time_first_us: 0,
        commit_time_last_us: 0,
    };
    let mut builder = BatchBuilder::new(header, Position::beginning(1), BATCH_BYTES);
    builder.begin(Position::boundary(1, 1, 4), 0);
    builder
}

/// Every row of an event. Returns how many there are.
fn take(plan: &TablePlan, code: u8, data: &[u8], builder: &mut BatchBuilder) -> usize {
    let table = builder.table(&plan.shape);
    let mut rows = Rows::parse(code, data).expect("rows");
    let (op, mut count) = (rows.op, 0);
    while !rows.is_done() {
        let pushed = builder.row(table, op, |columns| rows.write_next(plan, columns).map(drop));
        assert_eq!(pushed.expect("is read"), Pushed::Taken);
        count += 1;
    }
    count
}

/// Readings as the log has them, each with a key of its own.
fn readings(shape: &Arc<TableShape>) -> BatchBuilder {
    let mut builder = builder();
    let table = builder.table(shape);
    for id in 0..i64::from(ROWS) {
        let pushed = builder.row(table, Op::Insert, |columns| -> Result<(), ()> {
            let [key, sensor, at, value, unit] = &mut columns.images[..] else { return Err(()) };
            key.push_int(id);
            sensor.push_int(id % 97);
            // MySQL's packing of 2026-01-01 and some minutes: see `ColumnKind::DateTime`.
            at.push_int(((((2026 * 13 + 1) << 5 | 1) << 17) | (id % 60) << 6) << 24);
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            value.push_f64(id as f64 / 7.0);
            unit.push_bytes(b"celsius");
            Ok(())
        });
        assert_eq!(pushed, Ok(Pushed::Taken));
    }
    builder.commit(Position::boundary(1, 1, 900_000), None);
    builder
}

fn sealed() -> Seal {
    readings(&table_and_rows().0.shape).seal().expect("seals")
}

fn unpacked(seal: &Seal) -> Batch {
    Batch::decode(&seal.message, &Limits::default()).expect("decodes")
}

fn folded(batch: &Batch) -> TableWork<'_> {
    let mut work = TableWork::new(&batch.tables[0]);
    for run in batch.transactions.iter().flat_map(|transaction| &transaction.runs) {
        work.add(batch, &batch.tables[0], *run);
    }
    work
}

/// From the bytes of a rows event to a batch's columns.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let (plan, code, data) = table_and_rows();
    let rows = take(&plan, code, data, &mut builder());
    bencher
        .counter(ItemsCount::new(rows))
        .with_inputs(builder)
        .bench_local_refs(|builder| take(&plan, code, data, builder));
}

/// From a batch's columns to a compressed message.
#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let shape = table_and_rows().0.shape;
    bencher
        .counter(ItemsCount::new(ROWS))
        .with_inputs(|| readings(&shape))
        .bench_local_refs(|builder| builder.seal());
}

/// From a message to a batch.
#[divan::bench]
fn unpack(bencher: Bencher<'_, '_>) {
    let seal = sealed();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| unpacked(black_box(&seal)));
}

/// The net effect of a batch's changes on each key.
#[divan::bench]
fn fold(bencher: Bencher<'_, '_>) {
    let batch = unpacked(&sealed());
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| folded(black_box(&batch)));
}

/// From net effects to statements, as text.
#[divan::bench]
fn render(bencher: Bencher<'_, '_>) {
    let (batch, charsets) = (unpacked(&sealed()), Charsets::default());
    let work = folded(&batch);
    let columns = &work.shape.columns;
    let columns = columns.iter().map(|column| (column.name.clone(), TargetColumn::default()));
    let target = TargetTable {
        columns: columns.collect(),
        primary_key: vec!["id".to_owned()],
        ..TargetTable::default()
    };
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let context = Context {
            owner: 0,
            database: "DEVICE_001__bench",
            target: &target,
            charsets: &charsets,
            pieces: "piece",
            device_column: None,
            mariadb: false,
            statement_bytes: 1 << 20,
            statement_bytes_max: 64 << 20,
        };
        let mut script = Script::default();
        plan(&[black_box(&work)], context, &mut script).expect("plans");
        script
    });
}
