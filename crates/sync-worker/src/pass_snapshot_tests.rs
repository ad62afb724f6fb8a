//! Snapshots in a pass: items are walked like changes, and runs whose snapshots differ never mix.

use super::*;
use crate::pass::pass;
use crate::watermark::Watermark;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use tributary_wire::{
    BatchBuilder, Chunk, ColumnKind, ColumnShape, Limits, Pushed, TableColumns, TableShape,
};

fn shape(table: &str) -> Arc<TableShape> {
    let column = ColumnShape {
        name: "id".into(),
        kind: ColumnKind::Integer,
        unsigned: false,
        nullable: false,
        collation: 0,
        scale: 0,
        size: 0,
    };
    let (database, table) = ("app".to_owned(), table.to_owned());
    Arc::new(TableShape { database, table, columns: vec![column], primary_key: vec![0] })
}

/// Keys of the one table: 1 to this.
const KEYS: i64 = 40;

fn cursor(key: i64) -> SnapshotCursor {
    let mut buffer = tributary_wire::ColumnBuffer::default();
    if key > 0 {
        buffer.push_int(key);
    }
    SnapshotCursor {
        database: "app".into(),
        table: "t".into(),
        key: buffer.encoded().to_vec(),
        complete: key >= KEYS,
    }
}

fn key_of(cursor: &SnapshotCursor) -> i64 {
    match tributary_wire::cells(&cursor.key).expect("a key").first() {
        Some(Cell::Int(key)) => *key,
        _ => 0,
    }
}

/// A publisher that copies one table, beginning at a watermark.
struct Run {
    builder: BatchBuilder,
    offset: u64,
    key: i64,
}

impl Run {
    fn new(run: u64, row: Option<&Watermark>) -> Self {
        let unseen = Watermark::unseen();
        let row = row.unwrap_or(&unseen);
        let prev = row.position;
        let header = Header {
            device: "d1".parse().expect("valid"),
            run,
            source: "s".into(),
            server: "9.7.0".into(),
            prev,
            end: prev,
            resume: row.resume.clone(),
            commit_time_first_us: 0,
            commit_time_last_us: 0,
        };
        let mut builder = BatchBuilder::new(header, prev, 1 << 20);
        let key = row.resume.snapshot.as_ref().map_or(0, key_of);
        if row.resume.snapshot.is_none() {
            builder.set_snapshot(Some(cursor(0)));
        }
        Self { builder, offset: prev.offset.max(4), key }
    }

    /// Copies `count` keys further, one item each `step` of them.
    fn copies(&mut self, count: i64, step: i64) {
        let mut left = count.min(KEYS - self.key);
        while left > 0 {
            let (from, to) = (self.key, self.key + step.min(left));
            let shape = shape("t");
            let mut columns = TableColumns::of(&shape);
            let (lower, upper) = (from > 0, to < KEYS);
            for bound in [(lower, from), (upper, to)] {
                if bound.0 {
                    columns.identities[0].push_int(bound.1);
                }
            }
            (from + 1..=to).for_each(|key| columns.images[0].push_int(key));
            let rows = u32::try_from(to - from).expect("small");
            let chunk = Chunk { rows, lower, upper, ..Chunk::default() };
            assert_eq!(self.builder.chunk(&shape, columns, chunk), Pushed::Taken);
            self.key = to;
            left -= to - from;
        }
        self.builder.set_snapshot(Some(cursor(self.key)));
    }

    /// A transaction of the device's log: every run has the same ones.
    fn logs(&mut self) {
        self.builder.begin(Position::boundary(1, 1, self.offset), 1);
        self.builder.skip(1);
        self.offset += 100;
        self.builder.commit(Position::boundary(1, 1, self.offset), None);
    }

    fn batch(&mut self) -> Batch {
        let seal = self.builder.seal().expect("seals");
        Batch::decode(&seal.message, &Limits::default()).expect("decodes")
    }
}

/// Applies a batch to a target, which is the keys that were copied.
fn apply(copied: &mut BTreeSet<i64>, row: &mut Option<Watermark>, batch: &Batch) {
    let done = pass(row.as_ref(), &[batch]);
    for work in &done.tables {
        let crate::net::Changes::Chunk(chunk) = &work.changes else { continue };
        for image in chunk.images() {
            let Some(Cell::Int(key)) = image.image(0) else { panic!("a key") };
            copied.insert(key);
        }
    }
    *row = done.watermark.or_else(|| row.take());
}

#[test]
fn items_behind_the_watermark_are_skipped_and_a_whole_batch_of_them_is_a_duplicate() {
    let mut run = Run::new(1, None);
    run.logs();
    let log = run.batch();
    run.copies(6, 2);
    let items = run.batch();
    assert_eq!((items.items.len(), items.header.end.items()), (3, 3));
    let row = pass(None, &[&log]).watermark.expect("moves");
    let inside = Watermark { position: row.position.after_items(2), ..row.clone() };
    let left = pass(Some(&inside), &[&items]);
    assert_eq!((left.tally.snapshot_chunks, left.tally.snapshot_rows), (1, 2));
    let row = left.watermark.expect("moves");
    assert_eq!(row.resume.snapshot.as_ref().map(key_of), Some(6));
    assert_eq!(pass(Some(&row), &[&items]).tally.duplicates, 1);
}

#[test]
fn the_watermark_does_not_go_back_to_where_a_transaction_behind_items_begins() {
    let mut run = Run::new(1, None);
    run.logs();
    run.builder.seal().expect("seals");
    let mut run = Run::new(1, None);
    run.logs();
    let log = run.batch();
    run.copies(4, 2);
    let items = run.batch();
    let row = pass(None, &[&log, &items]).watermark.expect("moves");
    assert_eq!(row.position.items(), 2);
    run.builder.begin(Position::boundary(1, 1, run.offset), 1);
    assert_eq!(run.builder.statement(&statement("ALTER TABLE t ADD c INT")), Pushed::Taken);
    run.builder.commit(Position::boundary(1, 1, run.offset + 100), None);
    let batch = run.batch();
    let stopped = pass(Some(&row), &[&batch]);
    let barrier = stopped.barrier.expect("a statement");
    assert_eq!(barrier.before, row.position);
    assert_eq!(stopped.watermark.expect("moves").position, row.position);
}

fn statement(sql: &str) -> Statement {
    Statement {
        database: "app".into(),
        sql: sql.as_bytes().to_vec(),
        sql_mode: 0,
        charset_client: 45,
        collation_connection: 45,
        collation_server: 45,
        collation_database: 45,
        no_foreign_key_checks: false,
        timestamp_us: 0,
        time_zone: String::new(),
        ..Statement::default()
    }
}

#[test]
fn a_stop_between_two_items_keeps_the_cursor_of_before() {
    let mut run = Run::new(1, None);
    run.logs();
    run.copies(0, 1);
    let log = run.batch();
    let row = pass(None, &[&log]).watermark.expect("moves");
    let names = ["app"].into_iter().collect();
    assert_eq!(run.builder.item(Item::Databases(names), None), Pushed::Taken);
    run.copies(4, 4);
    let items = run.batch();
    let stopped = pass(Some(&row), &[&items]);
    assert!(matches!(stopped.barrier.expect("stops").task, Task::Databases(_)));
    let row = stopped.watermark.expect("moves");
    assert_eq!(row.resume.snapshot.as_ref().map(key_of), Some(0));
}

#[test]
fn a_run_takes_over_a_snapshot_only_where_it_stands() {
    let mut first = Run::new(1, None);
    first.logs();
    let log = first.batch();
    let start = pass(None, &[&log]).watermark.expect("moves");
    let mut second = Run::new(2, Some(&start));
    first.copies(4, 2);
    let row = pass(Some(&start), &[&first.batch()]).watermark.expect("moves");
    // Its chunks stand at the same boundary and end elsewhere: 1 to 3, 4 to 6, 7 to 9.
    second.copies(6, 3);
    let late = second.batch();
    let overtaken = pass(Some(&row), &[&late]);
    let row = overtaken.watermark.expect("the run is refused");
    assert_eq!(row.refused_runs, [2]);
    second.copies(3, 3);
    let next = second.batch();
    // By chance it begins where the watermark stands, and it would leave out the keys 5 and 6.
    assert_eq!(next.header.prev, row.position);
    let refused = pass(Some(&row), &[&next]);
    assert_eq!((refused.tally.snapshot_chunks, refused.tally.dropped), (0, 1));
    let mut third = Run::new(3, Some(&row));
    third.copies(2, 2);
    let batch = third.batch();
    assert_eq!(pass(Some(&row), &[&batch]).tally.snapshot_chunks, 1);
}

proptest! {
    /// Runs that begin at whatever the row said at some time, and whose batches arrive in any order and
    /// more than once: the row never says that a key is copied which is not.
    #[test]
    fn snapshots_of_many_runs_in_any_order_leave_nothing_out(
        acts in prop::collection::vec((0u8..10, any::<prop::sample::Index>(), 1i64..6, 1i64..4), 1..120),
    ) {
        let (mut copied, mut row) = (BTreeSet::new(), None::<Watermark>);
        let mut rows = vec![None::<Watermark>];
        let mut runs = vec![Run::new(1, None)];
        let mut batches: Vec<Batch> = Vec::new();
        for (act, pick, count, step) in acts {
            let last = runs.len() - 1;
            match act {
                0 => {
                    let from = rows[rows.len() - 1 - pick.index(rows.len().min(4))].clone();
                    let run = runs.len() as u64 + 1;
                    runs.push(Run::new(run, from.as_ref()));
                }
                1 | 2 => {
                    let choice = last - pick.index(runs.len().min(3));
                    let run = &mut runs[choice];
                    run.logs();
                    batches.push(run.batch());
                }
                3..=5 => {
                    let choice = last - pick.index(runs.len().min(3));
                    let run = &mut runs[choice];
                    if run.offset > 4 && run.key < KEYS {
                        run.copies(count, step);
                        batches.push(run.batch());
                    }
                }
                _ if batches.is_empty() => {}
                _ => {
                    let batch = &batches[batches.len() - 1 - pick.index(batches.len().min(5))];
                    let before = row.as_ref().map(|row| row.position);
                    apply(&mut copied, &mut row, batch);
                    prop_assert!(before <= row.as_ref().map(|row| row.position));
                    rows.push(row.clone());
                }
            }
            let cursor = row.as_ref().and_then(|row| row.resume.snapshot.as_ref());
            let claimed = cursor.map_or(0, |at| if at.complete { KEYS } else { key_of(at) });
            prop_assert!((1..=claimed).all(|key| copied.contains(&key)), "{claimed} {copied:?}");
        }
        // Whatever happened: a run from the row as it is completes the copy.
        let mut run = Run::new(1000, row.as_ref());
        run.logs();
        apply(&mut copied, &mut row, &run.batch());
        run.copies(KEYS, 3);
        if !run.builder.is_empty() {
            apply(&mut copied, &mut row, &run.batch());
        }
        prop_assert_eq!(copied.len() as i64, KEYS);
        prop_assert!(row.and_then(|row| row.resume.snapshot).is_some_and(|at| at.complete));
    }
}
