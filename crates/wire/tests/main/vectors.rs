//! What the vectors in `schemas/wire/golden/` were made of.

use crate::support::{builder, header, shape, statement};
use std::sync::Arc;
use tributary_wire::*;

const START: Position = Position { epoch: 1, file: 12, offset: 4096, part: 0 };
const TIME_US: i64 = 1_767_225_600_000_000;

fn at(offset: u64) -> Position {
    Position { offset, ..START }
}

fn push(
    b: &mut BatchBuilder,
    shape: &Arc<TableShape>,
    op: Op,
    write: impl FnOnce(&mut TableColumns),
) {
    let table = b.table(shape);
    let pushed = b.row(table, op, |columns| -> Result<(), ()> {
        write(columns);
        Ok(())
    });
    assert_eq!(pushed, Ok(Pushed::Taken));
}

fn image(columns: &mut TableColumns, id: i64, text: Option<&str>) {
    columns.images[0].push_int(id);
    match text {
        Some(text) => columns.images[1].push_bytes(text.as_bytes()),
        None => columns.images[1].push_null(),
    }
}

/// Every operation, in two transactions, to two tables.
fn rows() -> Seal {
    let mut b = builder(START, 1 << 20);
    let (sensor, log) =
        (shape("sensor"), TableShape { primary_key: vec![], ..(*shape("log")).clone() });
    let log = Arc::new(log);
    b.begin(START, TIME_US);
    push(&mut b, &sensor, Op::Insert, |c| image(c, 1, Some("boiler")));
    push(&mut b, &sensor, Op::Insert, |c| image(c, 2, None));
    push(&mut b, &log, Op::Insert, |c| image(c, -1, Some("")));
    push(&mut b, &sensor, Op::Update, |c| {
        c.before[0].push_int(2);
        image(c, 2, Some("pump"));
    });
    b.commit(at(4700), Some("6d1b6a4e-0000-11f0-8000-0242ac110002:41".into()));
    b.begin(at(4779), TIME_US + 1_500_000);
    push(&mut b, &sensor, Op::Update, |c| {
        c.before[0].push_int(2);
        image(c, 300, Some("pump"));
    });
    b.skip(2);
    push(&mut b, &sensor, Op::Delete, |c| c.identities[0].push_int(1));
    push(&mut b, &log, Op::Delete, |c| {
        c.identities[0].push_int(-1);
        c.identities[1].push_bytes(b"");
    });
    b.commit(at(5400), Some("6d1b6a4e-0000-11f0-8000-0242ac110002:42".into()));
    b.seal().expect("seals")
}

/// One column of every kind, and one row.
fn kinds() -> Seal {
    let column = |code: u8| ColumnShape {
        name: format!("k{code}"),
        kind: code.try_into().expect("a kind"),
        unsigned: code == 1,
        nullable: code != 1,
        collation: if code == 11 { 255 } else { 0 },
        scale: if code == 4 { 2 } else { 0 },
        size: 0,
    };
    let columns: Vec<ColumnShape> = (1..=17).map(column).collect();
    let table = Arc::new(TableShape { columns, ..(*shape("kinds")).clone() });
    let mut b = builder(START, 1 << 20);
    b.begin(START, TIME_US);
    push(&mut b, &table, Op::Insert, |c| {
        let c = &mut c.images;
        c[0].push_uint(u64::MAX);
        c[1].push_f32(1.5);
        c[2].push_f64(-0.1);
        c[3].push_bytes(b"-12.50");
        c[4].push_uint(0b1010);
        c[5].push_int(2026);
        c[6].push_int(2026 << 9 | 2 << 5 | 28);
        c[7].push_int(-3_020_399_000_000);
        c[8].push_int(
            (((2026 * 13 + 2) << 5 | 28) << 17 | 23 << 12 | 59 << 6 | 58) << 24 | 999_999,
        );
        c[9].push_int(TIME_US);
        c[10].push_bytes("设备".as_bytes());
        c[11].push_bytes(&[0, 255]);
        c[12].push_int(3);
        c[13].push_uint(0b101);
        c[14].push_bytes(br#"{"a": 1}"#);
        c[15].push_bytes(&[0, 0, 0, 0, 1, 1, 0, 0, 0]);
        c[16].push_bytes(&1.0_f32.to_le_bytes());
    });
    b.commit(at(4700), None);
    b.seal().expect("seals")
}

fn ddl() -> Seal {
    let mut b = builder(START, 1 << 20);
    b.begin(START, TIME_US);
    let added = statement("ALTER TABLE `sensor` ADD `单位` VARCHAR(8)".as_bytes());
    assert_eq!(b.statement(&added), Pushed::Taken);
    b.commit(at(4400), None);
    b.begin(at(4477), TIME_US);
    let latin1 = Statement {
        database: String::new(),
        charset_client: 8,
        collation_database: 8,
        no_foreign_key_checks: true,
        time_zone: "+08:00".into(),
        explicit_defaults_for_timestamp: Some(true),
        ..statement(b"DROP TABLE `app`.`caf\xe9`")
    };
    assert_eq!(b.statement(&latin1), Pushed::Taken);
    b.commit(at(4600), None);
    b.seal().expect("seals")
}

/// What is told of a session and of columns since the vectors before it.
fn facts() -> Seal {
    let mut b = builder(START, 1 << 20);
    b.begin(START, TIME_US);
    let german = Statement {
        locale: 4,
        collation_utf8mb4: 45,
        auto_increment: [10, 3],
        if_exists: true,
        ..statement(b"ALTER TABLE `sensor` ADD `m` VARCHAR(30) DEFAULT (MONTHNAME('2024-03-01'))")
    };
    assert_eq!(b.statement(&german), Pushed::Taken);
    b.commit(at(4400), None);
    let (mut table, sizes) = ((*shape("sensor")).clone(), [8, 120]);
    for (column, size) in table.columns.iter_mut().zip(sizes) {
        column.size = size;
    }
    b.begin(at(4477), TIME_US);
    push(&mut b, &Arc::new(table), Op::Insert, |c| image(c, 1, Some("boiler")));
    b.commit(at(4700), None);
    b.seal().expect("seals")
}

/// Nothing but a step of the position, into the next file.
fn mark() -> Seal {
    let mut b = builder(START, 1 << 20);
    b.mark(Position::boundary(1, 13, 4), Some("0-1-77".into()));
    b.seal().expect("seals")
}

/// One transaction in two batches.
fn cut() -> [Seal; 2] {
    let mut b = builder(START, 1 << 20);
    b.begin(at(4100), TIME_US);
    push(&mut b, &shape("sensor"), Op::Insert, |c| image(c, 1, Some("boiler")));
    push(&mut b, &shape("sensor"), Op::Insert, |c| image(c, 2, Some("pump")));
    let first = b.seal().expect("seals");
    push(&mut b, &shape("sensor"), Op::Insert, |c| image(c, 3, Some("valve")));
    b.commit(at(4700), None);
    [first, b.seal().expect("seals")]
}

/// A row whose value went ahead in two pieces.
fn pieces() -> Seal {
    let mut b = builder(START, 1 << 20);
    b.begin(START, TIME_US);
    assert_eq!(b.piece(b"first half, "), Pushed::Taken);
    assert_eq!(b.piece(b"second half"), Pushed::Taken);
    push(&mut b, &shape("sensor"), Op::Insert, |c| {
        c.images[0].push_int(1);
        c.images[1].push_staged(START.inside(1).part, 2);
    });
    b.commit(at(9000), None);
    b.seal().expect("seals")
}

/// Changes on which foreign keys act below the log, and one on which they do not.
fn acting() -> Seal {
    let mut b = builder(START, 1 << 20);
    let sensor = shape("sensor");
    b.begin(START, TIME_US);
    b.set_acting(true);
    push(&mut b, &sensor, Op::Insert, |c| image(c, 1, Some("boiler")));
    push(&mut b, &sensor, Op::Update, |c| {
        c.before[0].push_int(1);
        image(c, 1, Some("pump"));
    });
    push(&mut b, &sensor, Op::Update, |c| {
        c.before[0].push_int(1);
        image(c, 300, Some("pump"));
    });
    push(&mut b, &sensor, Op::Delete, |c| c.identities[0].push_int(300));
    b.set_acting(false);
    push(&mut b, &sensor, Op::Delete, |c| c.identities[0].push_int(2));
    b.commit(at(5400), None);
    b.seal().expect("seals")
}

/// Every step of a snapshot.
fn snapshot() -> Seal {
    let mut b = builder(START, 1 << 20);
    let cursor = SnapshotCursor {
        database: "app".into(),
        table: "sensor".into(),
        key: vec![2],
        complete: false,
    };
    b.resume_at(Resume { position: START, snapshot: Some(cursor), ..Resume::default() });
    let names = |names: &[&str]| names.iter().collect::<Names>();
    let create = statement(b"CREATE TABLE `sensor` (`id` BIGINT PRIMARY KEY, `v` TEXT)");
    let database = statement(b"CREATE DATABASE IF NOT EXISTS `app`");
    for (item, text) in [
        (Item::Databases(names(&["app", "crm"])), None),
        (Item::Tables { database: "app".into(), names: names(&["log", "sensor"]) }, None),
        (Item::Statement(0), Some(&database)),
        (
            Item::Define { statement: 0, database: "app".into(), table: "sensor".into() },
            Some(&create),
        ),
    ] {
        assert_eq!(b.item(item, text), Pushed::Taken);
    }
    assert_eq!(b.item_piece(b"a long value"), Pushed::Taken);
    let mut columns = TableColumns::of(&shape("sensor"));
    image(&mut columns, 1, Some("boiler"));
    columns.images[0].push_int(2);
    columns.images[1].push_staged(START.after_items(5).part, 1);
    for key in [-5, 2, 0, 1] {
        columns.identities[0].push_int(key);
    }
    let chunk = Chunk { rows: 2, lower: true, upper: true, kept: 2, ..Chunk::default() };
    assert_eq!(b.chunk(&shape("sensor"), columns, chunk), Pushed::Taken);
    b.seal().expect("seals")
}

/// A mark whose resume point says what stands before it.
fn anchor() -> Seal {
    let mut b = builder(START, 1 << 20);
    b.mark(at(5000), None);
    b.resume_at(Resume {
        position: at(5000),
        gtid: Some("0-1-77".into()),
        anchor: Some(Anchor { file: 12, begin: 4700, end: 5000, crc32: 0x89ab_cdef }),
        ..Resume::default()
    });
    b.seal().expect("seals")
}

pub(crate) fn batches() -> Vec<(&'static str, Seal)> {
    let [first, second] = cut();
    vec![
        ("rows", rows()),
        ("kinds", kinds()),
        ("ddl", ddl()),
        ("facts", facts()),
        ("mark", mark()),
        ("cut-1", first),
        ("cut-2", second),
        ("pieces", pieces()),
        ("snapshot", snapshot()),
        ("anchor", anchor()),
        ("acting", acting()),
    ]
}

pub(crate) fn request() -> HeartbeatRequest {
    let Header { device, run, source, .. } = header(START);
    HeartbeatRequest {
        device,
        run,
        source,
        published: Some(at(4700)),
        head: Some(at(5400)),
        version: "0.1.0".into(),
        retention: Some(Retention {
            seconds_left: Some(1_200_000),
            used_percent: 7,
            log_bytes: 5400,
            bytes_per_second: None,
        }),
        snapshot: Some(SnapshotProgress {
            tables_done: 3,
            tables: 40,
            rows_done: 120_000,
            rows_left: 2_000_000,
        }),
    }
}

pub(crate) fn reply() -> HeartbeatReply {
    let resume = Resume { position: START, gtid: Some("0-1-76".into()), ..Resume::default() };
    let applied =
        Applied { position: START.inside(2), resume, source: header(START).source, lag_us: 55_000 };
    HeartbeatReply { applied: Some(applied), directive: Some(Directive::Rewind { run: 7 }) }
}
