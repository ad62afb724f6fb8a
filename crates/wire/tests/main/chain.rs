//! How one batch follows another.

use crate::support::{builder, header, shape};
use std::sync::Arc;
use tributary_wire::*;

#[test]
fn a_batch_reads_back_as_it_was_built() {
    let prev = Position::boundary(1, 3, 400);
    let mut b = builder(prev, 1 << 20);
    let t = b.table(&shape("t"));
    b.begin(Position::boundary(1, 3, 420), 1_000_000);
    for id in 0..3 {
        let pushed = b.row(t, Op::Insert, |c| -> Result<(), ()> {
            c.images[0].push_int(id);
            c.images[1].push_bytes(b"hello");
            Ok(())
        });
        assert_eq!(pushed, Ok(Pushed::Taken));
    }
    // An update that keeps its key, and one that moves it.
    for (from, to) in [(1, 1), (1, 9)] {
        let pushed = b.row(t, Op::Update, |c| -> Result<(), ()> {
            c.before[0].push_int(from);
            c.images[0].push_int(to);
            c.images[1].push_null();
            Ok(())
        });
        assert_eq!(pushed, Ok(Pushed::Taken));
    }
    b.commit(Position::boundary(1, 3, 900), Some("u:1".into()));
    b.begin(Position::boundary(1, 4, 126), 2_000_000);
    let _ = b.row(t, Op::Delete, |c| -> Result<(), ()> {
        c.identities[0].push_int(9);
        Ok(())
    });
    let seal = b.seal().expect("seals");
    let batch = Batch::decode(&seal.message, &Limits::default()).expect("decodes");
    assert_eq!(batch.header, seal.header);
    assert_eq!(batch.header.end, Position::boundary(1, 4, 126).inside(1));
    assert_eq!(batch.header.resume.position, Position::boundary(1, 3, 900));
    assert_eq!(batch.transactions.len(), 2);
    let ops: Vec<Op> = batch.transactions[0]
        .runs
        .iter()
        .map(|r| match r {
            Run::Rows { op, .. } => *op,
            _ => panic!("rows"),
        })
        .collect();
    assert_eq!(ops, [Op::Insert, Op::Update, Op::Rekey]);
    assert_eq!(batch.bytes(batch.tables[0].images[1][0]), b"hello");
    assert_eq!(batch.tables[0].identities[0], [Cell::Int(1), Cell::Int(9)]);

    // The next batch goes on inside the open transaction.
    let t = b.table(&shape("t"));
    let _ = b.row(t, Op::Delete, |c| -> Result<(), ()> {
        c.identities[0].push_int(10);
        Ok(())
    });
    b.commit(Position::boundary(1, 4, 300), Some("u:2".into()));
    let next =
        Batch::decode(&b.seal().expect("seals").message, &Limits::default()).expect("decodes");
    assert_eq!(next.header.prev, batch.header.end);
    assert_eq!(next.transactions[0].start.changes(), 1);
    assert_eq!(next.header.end, Position::boundary(1, 4, 300));
}

fn insert(b: &mut BatchBuilder, table: &Arc<TableShape>, id: i64, bytes: &[u8]) -> Pushed {
    let table = b.table(table);
    let pushed = b.row(table, Op::Insert, |columns| -> Result<(), ()> {
        columns.images[0].push_int(id);
        columns.images[1].push_bytes(bytes);
        Ok(())
    });
    pushed.expect("is written")
}

fn seal(b: &mut BatchBuilder) -> Batch {
    Batch::decode(&b.seal().expect("seals").message, &Limits::default()).expect("decodes")
}

/// Bytes that zstd cannot make smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn a_batch_sealed_between_a_begin_and_its_first_row_loses_neither() {
    let prev = Position::boundary(1, 3, 400);
    let mut b = builder(prev, 1 << 20);
    b.begin(Position::boundary(1, 3, 420), 1_000);
    assert_eq!(insert(&mut b, &shape("t"), 1, b"x"), Pushed::Taken);
    b.commit(Position::boundary(1, 3, 500), None);
    b.begin(Position::boundary(1, 3, 570), 2_000);
    let first = seal(&mut b);
    assert_eq!(first.header.end, Position::boundary(1, 3, 500));
    assert_eq!(first.transactions.len(), 1);

    assert!(!b.has_changes(), "a transaction without a change is no change");
    assert_eq!(insert(&mut b, &shape("t"), 2, b"y"), Pushed::Taken);
    let second = seal(&mut b);
    assert_eq!(second.header.prev, first.header.end);
    assert_eq!(second.transactions[0].start, Position::boundary(1, 3, 570));
    assert_eq!(second.transactions[0].commit_time_us, 2_000);
    assert_eq!(second.header.end, Position::boundary(1, 3, 570).inside(1));
}

#[test]
fn a_transaction_that_begins_an_empty_batch_keeps_its_rows_through_a_seal() {
    let prev = Position::boundary(1, 3, 400);
    let mut b = builder(prev, 1 << 20);
    b.begin(prev, 1_000);
    b.seal().expect("seals");
    assert_eq!(insert(&mut b, &shape("t"), 1, b"x"), Pushed::Taken);
    b.commit(Position::boundary(1, 3, 500), None);
    let batch = seal(&mut b);
    assert_eq!((batch.rows(), batch.transactions.len()), (1, 1));
}

#[test]
fn a_table_whose_first_row_did_not_fit_is_not_in_the_message() {
    let prev = Position::boundary(1, 3, 400);
    let mut b = builder(prev, 4096);
    b.begin(prev, 1_000);
    assert_eq!(insert(&mut b, &shape("first"), 1, &noise(2500)), Pushed::Taken);
    let wide =
        Arc::new(TableShape { database: "d".repeat(1200), ..shape("wide").as_ref().clone() });
    assert_eq!(insert(&mut b, &wide, 1, b"x"), Pushed::Full);
    assert_eq!(insert(&mut b, &shape("last"), 2, b"x"), Pushed::Taken);
    let sealed = b.seal().expect("seals");
    assert!(sealed.message.len() <= 4096, "{}", sealed.message.len());
    let batch = Batch::decode(&sealed.message, &Limits::default()).expect("decodes");
    let names: Vec<&str> = batch.tables.iter().map(|block| block.shape.table.as_str()).collect();
    assert_eq!(names, ["first", "last"]);
    let Run::Rows { table, .. } = batch.transactions[0].runs[1] else { panic!("rows") };
    assert_eq!(table, 1);
}

#[test]
fn a_row_is_too_large_only_when_no_message_could_hold_it() {
    let prev = Position::boundary(1, 3, 400);
    let mut b = builder(prev, 4096);
    b.begin(prev, 1_000);
    assert!(matches!(insert(&mut b, &shape("t"), 1, &noise(4000)), Pushed::TooLarge(_)));
    // Full, though the batch has no row yet: what is in it are other things.
    for _ in 0..40 {
        b.skip(1);
        let _ = b.statement(&crate::support::statement(&noise(20)));
    }
    assert_eq!(insert(&mut b, &shape("t"), 1, &noise(2000)), Pushed::Full);
    b.seal().expect("seals");
    assert_eq!(insert(&mut b, &shape("t"), 1, &noise(2000)), Pushed::Taken);
}

#[test]
fn transactions_that_a_filter_kept_back_take_no_room_however_many_they_are() {
    let prev = Position::boundary(1, 3, 400);
    let mut b = builder(prev, 4096);
    let empty = b.body_bytes();
    for n in 0..10_000 {
        b.begin(Position::boundary(1, 3, 400 + n * 10), 1_000);
        b.skip(3);
        b.commit(Position::boundary(1, 3, 410 + n * 10), None);
    }
    assert_eq!(b.body_bytes(), empty);
    assert!(!b.has_changes() && !b.is_empty());
    let batch = seal(&mut b);
    assert!(batch.transactions.is_empty());
    assert_eq!(batch.header.end, Position::boundary(1, 3, 100_400));
}

#[test]
fn no_batch_holds_more_than_a_reader_takes() {
    let prev = Position::boundary(1, 3, 400);
    let mut b = builder(prev, 64 << 20);
    let columns = vec![shape("wide").columns[0].clone(); 4096];
    let wide = Arc::new(TableShape { columns, ..shape("wide").as_ref().clone() });
    b.begin(prev, 1_000);
    let mut rows = 0;
    while rows < 2_000 {
        let table = b.table(&wide);
        let pushed = b.row(table, Op::Insert, |columns| -> Result<(), ()> {
            columns.images.iter_mut().for_each(ColumnBuffer::push_null);
            Ok(())
        });
        if pushed == Ok(Pushed::Full) {
            break;
        }
        rows += 1;
    }
    assert!((900..1100).contains(&rows), "{rows} rows of 4096 cells");
    assert_eq!(seal(&mut b).rows(), rows);
}

#[test]
fn a_batch_may_lead_into_a_new_epoch_and_its_changes_lie_there() {
    let prev = Position::boundary(1, 90, 4000);
    let mut b = builder(prev, 1 << 20);
    b.begin(Position::boundary(2, 1, 4), 1_000);
    assert_eq!(insert(&mut b, &shape("t"), 1, b"x"), Pushed::Taken);
    b.commit(Position::boundary(2, 1, 300), None);
    let batch = seal(&mut b);
    assert_eq!(batch.header.prev, prev);
    assert_eq!(batch.transactions[0].start, Position::boundary(2, 1, 4));
    assert_eq!(batch.transactions[0].end, Position::boundary(2, 1, 300));
}

#[test]
fn a_failed_row_leaves_the_batch_as_it_was() {
    let prev = Position::boundary(1, 3, 400);
    let mut b = builder(prev, 1 << 20);
    b.begin(prev, 1_000);
    let table = b.table(&shape("t"));
    let failed = b.row(table, Op::Insert, |columns| {
        columns.images[0].push_int(1);
        Err("the row is cut off")
    });
    assert_eq!(failed, Err("the row is cut off"));
    assert_eq!(insert(&mut b, &shape("t"), 2, b"x"), Pushed::Taken);
    assert_eq!(seal(&mut b).tables[0].images[0], [Cell::Int(2)]);
}

#[test]
fn a_message_for_any_limit_fits_it() {
    let prev = Position::boundary(1, 3, 400);
    for message_bytes_max in (2000..9000).step_by(7) {
        let mut b = BatchBuilder::new(header(prev), prev, message_bytes_max);
        b.begin(prev, 1_000);
        let mut bytes = 1;
        while insert(&mut b, &shape("t"), 1, &noise(bytes)) == Pushed::Taken {
            bytes += 100;
        }
        let sealed = b.seal().expect("seals");
        assert!(sealed.message.len() <= message_bytes_max, "{} bytes", sealed.message.len());
        assert!(sealed.body_bytes <= message_bytes_max, "{} bytes", sealed.body_bytes);
    }
}
