use super::*;
use std::sync::Arc;
use tributary_wire::{BatchBuilder, Limits, Op, Pushed, Resume};
use tributary_wire::{ColumnKind, ColumnShape, TableShape};

fn shape(database: &str, table: &str, columns: &[&str]) -> Arc<TableShape> {
    let column = |name: &&str| ColumnShape {
        name: (*name).into(),
        kind: ColumnKind::Integer,
        unsigned: false,
        nullable: true,
        collation: 0,
        scale: 0,
        size: 0,
    };
    let (database, table) = (database.to_owned(), table.to_owned());
    let columns = columns.iter().map(column).collect();
    Arc::new(TableShape { database, table, columns, primary_key: vec![0] })
}

struct Log {
    builder: BatchBuilder,
    offset: u64,
}

impl Log {
    fn new(source: &str) -> Self {
        let prev = Position::beginning(1);
        let header = Header {
            device: "d1".parse().expect("valid"),
            run: 7,
            source: source.into(),
            server: "9.7.0".into(),
            prev,
            end: prev,
            resume: Resume { position: prev, gtid: None, ..Resume::default() },
            commit_time_first_us: 0,
            commit_time_last_us: 0,
        };
        Self { builder: BatchBuilder::new(header, prev, 1 << 20), offset: 4 }
    }

    fn at(&self) -> Position {
        Position::boundary(1, 1, self.offset)
    }

    fn begin(&mut self) {
        self.builder.begin(self.at(), 1_000_000);
    }

    fn insert(&mut self, shape: &Arc<TableShape>) {
        let index = self.builder.table(shape);
        let pushed = self.builder.row(index, Op::Insert, |columns| -> Result<(), ()> {
            columns.images.iter_mut().for_each(|column| column.push_int(1));
            Ok(())
        });
        assert_eq!(pushed, Ok(Pushed::Taken));
    }

    fn statement(&mut self, sql: &str) {
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
            ..Statement::default()
        };
        assert_eq!(self.builder.statement(&statement), Pushed::Taken);
    }

    fn commit(&mut self) {
        self.offset += 100;
        self.builder.commit(self.at(), Some("g:1".into()));
    }

    fn batch(&mut self) -> Batch {
        let seal = self.builder.seal().expect("seals");
        Batch::decode(&seal.message, &Limits::default()).expect("decodes")
    }
}

#[test]
fn a_new_device_gets_a_watermark_at_the_end_of_its_batch() {
    let mut log = Log::new("s");
    log.begin();
    log.insert(&shape("app", "t", &["id"]));
    log.commit();
    let batch = log.batch();
    let pass = pass(None, &[&batch]);
    let row = pass.watermark.expect("moves");
    assert!(pass.is_new);
    assert_eq!((row.position, row.resume.position), (log.at(), log.at()));
    assert_eq!((row.resume.gtid.as_deref(), row.commit_time_us), (Some("g:1"), 1_000_000));
    assert_eq!(pass.tally, Tally { applied: 1, rows: 1, ..Tally::default() });
}

#[test]
fn a_pass_ends_before_the_first_ddl_statement_which_is_where_to_restart_from() {
    let mut log = Log::new("s");
    let t = shape("app", "t", &["id"]);
    log.begin();
    log.insert(&t);
    log.commit();
    let before = log.at();
    log.begin();
    log.statement("ALTER TABLE t ADD c INT");
    log.commit();
    let after = log.at();
    log.begin();
    log.insert(&t);
    log.commit();
    let batch = log.batch();
    let first = pass(None, &[&batch]);
    let barrier = first.barrier.expect("there is a statement");
    assert_eq!((barrier.before, barrier.after), (before, after));
    let mut row = first.watermark.expect("moves");
    assert_eq!((row.position, row.resume.position), (before, before));
    assert_eq!(first.tally.rows, 1);

    row.advance(after, barrier.header);
    let second = pass(Some(&row), &[&batch]);
    assert!(second.barrier.is_none());
    assert_eq!((second.tally.rows, second.watermark.expect("moves").position), (1, log.at()));
}

/// What was prepared before the batch, and is decided in it, lies behind that place.
#[test]
fn inside_a_batch_the_place_to_restart_from_is_the_one_of_the_batch_before() {
    let mut log = Log::new("s");
    let t = shape("app", "t", &["id"]);
    log.begin();
    log.insert(&t);
    log.commit();
    let before = pass(None, &[&log.batch()]).watermark.expect("moves");
    log.begin();
    log.insert(&t);
    log.commit();
    let at = log.at();
    log.begin();
    log.statement("ALTER TABLE t ADD c INT");
    log.commit();
    let row = pass(Some(&before), &[&log.batch()]).watermark.expect("moves");
    assert_eq!((row.position, row.resume), (at, before.resume));
}

#[test]
fn a_statement_inside_a_transaction_stops_between_its_changes() {
    let mut log = Log::new("s");
    let t = shape("app", "t", &["id"]);
    log.begin();
    log.statement("CREATE TABLE t (id INT PRIMARY KEY) START TRANSACTION");
    log.insert(&t);
    log.commit();
    let batch = log.batch();
    let first = pass(None, &[&batch]);
    let barrier = first.barrier.expect("there is a statement");
    assert_eq!((barrier.before.changes(), barrier.after.changes()), (0, 1));
    let mut row = first.watermark.expect("moves");
    row.advance(barrier.after, barrier.header);
    assert_eq!(pass(Some(&row), &[&batch]).tally.rows, 1);
}

#[test]
fn a_statement_that_an_operator_made_by_hand_is_passed() {
    let mut log = Log::new("s");
    log.begin();
    log.statement("FROBNICATE");
    log.commit();
    let batch = log.batch();
    let stopped = pass(None, &[&batch]);
    let mut row = stopped.watermark.expect("parks");
    assert!(row.parked.take().expect("parked").reason.contains("not understood"));
    let fingerprint = crate::watermark::SKIP.to_owned();
    row.intent = Some(crate::watermark::Intent { position: row.position, fingerprint });
    let passed = pass(Some(&row), &[&batch]).watermark.expect("moves");
    assert_eq!((passed.position, passed.parked, passed.intent), (log.at(), None, None));
}

#[test]
fn a_parked_device_applies_nothing_and_remembers_the_gap() {
    let mut log = Log::new("s");
    log.begin();
    log.insert(&shape("app", "t", &["id"]));
    log.commit();
    let batch = log.batch();
    let parked = Some(Parked { reason: "r".into(), remedy: "m".into() });
    let row = Watermark { parked, source: "s".into(), ..Watermark::unseen() };
    let pass = pass(Some(&row), &[&batch, &batch]);
    assert_eq!((pass.watermark, pass.tally.dropped, pass.tally.rows), (None, 2, 0));
    assert_eq!(pass.gap, Some(Gap { run: 7, watermark: Some(Position::beginning(1)) }));
}

#[test]
fn another_server_in_the_same_epoch_parks_and_its_duplicates_are_dropped() {
    let mut log = Log::new("other");
    log.begin();
    log.insert(&shape("app", "t", &["id"]));
    log.commit();
    let batch = log.batch();
    let row = |position| Watermark { position, source: "s".into(), ..Watermark::unseen() };
    let behind = pass(Some(&row(Position::boundary(1, 9, 9))), &[&batch]);
    assert_eq!((behind.watermark, behind.tally.duplicates), (None, 1));
    let parked = pass(Some(&row(Position::beginning(1))), &[&batch]).watermark.expect("parks");
    assert_eq!(parked.position, Position::beginning(1));
    assert!(parked.parked.expect("parked").reason.contains("another server"));
}

#[test]
fn rows_of_one_table_meet_over_batches_and_part_when_its_shape_changes() {
    let mut log = Log::new("s");
    for columns in [&["id"][..], &["id"], &["id", "c"]] {
        log.begin();
        log.insert(&shape("app", "t", columns));
        log.insert(&shape("mysql", "user", &["id"]));
        log.commit();
    }
    let first = log.batch();
    log.begin();
    log.insert(&shape("app", "t", &["id", "c"]));
    log.commit();
    let second = log.batch();
    let pass = pass(None, &[&first, &second]);
    let rows: Vec<(usize, u64)> =
        pass.tables.iter().map(|work| (work.shape.columns.len(), work.rows)).collect();
    // The server's own tables are not touched.
    assert_eq!(rows, [(1, 2), (2, 2)]);
}
