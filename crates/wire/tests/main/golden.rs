//! The vectors in `schemas/wire/golden/`: messages that every reader has to read, for ever.

use crate::support::{body, builder, header, message, shape, statement};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tributary_wire::*;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/wire/golden")
}

fn read(name: &str) -> String {
    let path = directory().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.chunks(32).fold(String::new(), |mut text, line| {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").expect("writes"));
        text.push('\n');
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).expect("hex")).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

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
        ..statement(b"DROP TABLE `app`.`caf\xe9`")
    };
    assert_eq!(b.statement(&latin1), Pushed::Taken);
    b.commit(at(4600), None);
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

fn batches() -> Vec<(&'static str, Seal)> {
    let [first, second] = cut();
    vec![
        ("rows", rows()),
        ("kinds", kinds()),
        ("ddl", ddl()),
        ("mark", mark()),
        ("cut-1", first),
        ("cut-2", second),
    ]
}

fn request() -> HeartbeatRequest {
    let Header { device, run, source, .. } = header(START);
    HeartbeatRequest {
        device,
        run,
        source,
        published: Some(at(4700)),
        head: Some(at(5400)),
        version: "0.1.0".into(),
    }
}

fn reply() -> HeartbeatReply {
    let resume = Resume { position: START, gtid: Some("0-1-76".into()) };
    let applied = Applied {
        position: START.with_part(2),
        resume,
        source: header(START).source,
        lag_us: 55_000,
    };
    HeartbeatReply { applied: Some(applied), directive: Some(Directive::Rewind { run: 7 }) }
}

fn show_run(run: &Run) -> Value {
    match *run {
        Run::Rows { table, op, image, identity, count } => json!({
            "rows": format!("{op:?}").to_lowercase(),
            "table": table, "image": image, "identity": identity, "count": count,
        }),
        Run::Statement(index) => json!({ "statement": index }),
        Run::Skipped(count) => json!({ "skipped": count }),
    }
}

fn show_cells(batch: &Batch, columns: &[Vec<Cell>]) -> Value {
    let show = |cell: &Cell| match *cell {
        Cell::Null => Value::Null,
        Cell::Int(v) => json!(v),
        Cell::UInt(v) => json!(v),
        Cell::F32(v) => json!({ "f32": v }),
        Cell::F64(v) => json!({ "f64": v }),
        Cell::Bytes { .. } => json!(to_hex(batch.bytes(*cell)).replace('\n', "")),
    };
    columns.iter().map(|column| column.iter().map(show).collect::<Value>()).collect()
}

fn show(batch: &Batch) -> Value {
    let transactions = batch.transactions.iter().map(|transaction| {
        json!({
            "start": transaction.start,
            "end": transaction.end,
            "commit_time_us": transaction.commit_time_us,
            "runs": transaction.runs.iter().map(show_run).collect::<Value>(),
        })
    });
    let statements = batch.statements.iter().map(|statement| {
        let mut value = serde_json::to_value(statement).expect("is JSON");
        value["sql"] = json!(to_hex(&statement.sql).replace('\n', ""));
        value
    });
    let tables = batch.tables.iter().map(|block| {
        json!({
            "shape": block.shape,
            "identity": block.identity,
            "images": show_cells(batch, &block.images),
            "identities": show_cells(batch, &block.identities),
        })
    });
    json!({
        "header": batch.header,
        "transactions": transactions.collect::<Value>(),
        "statements": statements.collect::<Value>(),
        "tables": tables.collect::<Value>(),
    })
}

fn agrees(name: &str, found: &Value) {
    let wanted: Value = serde_json::from_str(&read(&format!("{name}.json"))).expect("is JSON");
    let text = serde_json::to_string_pretty(found).expect("is JSON");
    assert_eq!(&wanted, found, "{name}.json, which now reads:\n{text}\n");
}

#[test]
fn every_batch_reads_as_its_json_says() {
    for (name, _) in batches() {
        let message = from_hex(&read(&format!("{name}.hex")));
        let batch = Batch::decode(&message, &Limits::default())
            .unwrap_or_else(|error| panic!("{name}.hex: {error}"));
        agrees(name, &show(&batch));
    }
}

/// Of the bodies and not of the messages: zstd may come to compress the same body to other bytes.
#[test]
fn the_builder_still_writes_the_bodies_of_the_vectors() {
    for (name, seal) in batches() {
        let wanted = from_hex(&read(&format!("{name}.hex")));
        let found = to_hex(&seal.message);
        assert!(body(&wanted) == body(&seal.message), "{name}.hex, which now reads:\n{found}\n");
        assert_eq!(wanted[..8], seal.message[..8], "{name}.hex: the frame's header");
        assert_eq!(body(&message(&body(&wanted))), body(&wanted));
    }
}

#[test]
fn heartbeats_are_written_and_read_as_the_vectors_say() {
    let (request, reply) = (request(), reply());
    for (name, bytes, value) in [
        ("heartbeat-request", request.encode(), serde_json::to_value(&request)),
        ("heartbeat-reply", reply.encode(), serde_json::to_value(&reply)),
    ] {
        let found = to_hex(&bytes);
        assert!(read(&format!("{name}.hex")) == found, "{name}.hex, which now reads:\n{found}\n");
        agrees(name, &value.expect("is JSON"));
    }
    let decoded = |name: &str| from_hex(&read(&format!("{name}.hex")));
    assert_eq!(HeartbeatRequest::decode(&decoded("heartbeat-request")), Ok(request));
    assert_eq!(HeartbeatReply::decode(&decoded("heartbeat-reply")), Ok(reply));
}

#[test]
fn a_heartbeat_with_fields_of_a_later_version_is_read() {
    let mut value = serde_json::to_value(request()).expect("is JSON");
    value["backlog_bytes"] = json!(5);
    let later = rmp_serde::to_vec_named(&value).expect("encodes");
    assert_eq!(HeartbeatRequest::decode(&later), Ok(request()));
}

#[test]
fn no_vector_is_left_out() {
    let mut wanted: Vec<String> = batches().into_iter().map(|(name, _)| name.to_owned()).collect();
    wanted.extend(["heartbeat-request".to_owned(), "heartbeat-reply".to_owned()]);
    wanted.sort();
    for extension in ["hex", "json"] {
        let mut found: Vec<String> = std::fs::read_dir(directory())
            .expect("reads")
            .map(|entry| entry.expect("reads").path())
            .filter(|path| path.extension().is_some_and(|e| e == extension))
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        found.sort();
        assert_eq!(found, wanted, "*.{extension}");
    }
}
