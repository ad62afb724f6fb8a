//! A transaction is cut at the same places whoever reads it, and a reader goes on at any of them.

use super::model::{Changes, Model};
use super::sizes::{random, run, source};
use crate::harness::{DEVICE, Lab};
use std::io::{Cursor, Read};
use std::sync::Arc;
use tributary_binlog::Event;
use tributary_publisher::capture::{Capture, LogEvent, StoredBody};
use tributary_publisher::filter::{Filter, FilterConfig, MaskConfig, MaskWith, NamesConfig};
use tributary_publisher::source::Source;
use tributary_publisher::tail::Tail;
use tributary_runtime::Secret;
use tributary_testkit::Flavour;
use tributary_wire::{Batch, Header, Limits, Position, Resume, Seal};

/// An event as the server sent it.
struct Recorded {
    code: u8,
    flags: u16,
    data: Vec<u8>,
    spooled: bool,
    span: Option<(u64, u64)>,
    server_id: u32,
    seconds: u32,
}

/// How capture is run.
#[derive(Clone, Copy)]
struct Reading {
    message_bytes: usize,
    batch_bytes: usize,
    /// Events that were set aside are handed in as if they had been in memory.
    all_held: bool,
}

const USUAL: Reading = Reading { message_bytes: 1 << 20, batch_bytes: 768 << 10, all_held: false };

/// The server's first log file, up to where it ends now.
async fn record(lab: &Lab) -> Vec<Recorded> {
    let config = lab.config();
    let (mut source, facts) = Source::open(&config.source).await.expect("opens");
    let files = source.binlog_files().await.expect("lists");
    let last = files.last().expect("a file");
    let device = DEVICE.parse().expect("valid");
    let from = Position::boundary(1, last.number, 4);
    let dir = lab.state.path();
    let tail = Tail::open(&config.source, &device, &facts, &last.name, from, dir).await;
    let (mut tail, mut events) = (tail.expect("opens"), Vec::new());
    loop {
        let mut event = tail.next().await.expect("an event");
        let spooled = event.take_spooled();
        let log = event.log();
        let mut data = log.event.data.to_vec();
        let is_spooled = spooled.is_some();
        if let Some(spooled) = spooled {
            let mut body = spooled.into_body().expect("a file");
            body.reader.read_to_end(&mut data).expect("reads");
        }
        events.push(Recorded {
            code: log.event.code,
            flags: log.event.flags,
            data,
            spooled: is_spooled,
            span: log.span,
            server_id: log.server_id,
            seconds: log.seconds,
        });
        if log.span.is_some_and(|(_, end)| end >= last.bytes) {
            return events;
        }
    }
}

fn header(at: Position) -> Header {
    Header {
        device: DEVICE.parse().expect("valid"),
        run: 1,
        source: "s".into(),
        server: "9.7.0".into(),
        prev: at,
        end: at,
        resume: Resume { position: at.floor(), ..Resume::default() },
        commit_time_first_us: 0,
        commit_time_last_us: 0,
    }
}

/// Reads the events from `from` on.
fn read(events: &[Recorded], from: Position, how: Reading) -> Vec<Batch> {
    let filter = Filter::new(&FilterConfig::default()).expect("carries everything");
    read_with(&Arc::new(filter), events, from, how)
}

/// The same through a filter.
fn read_with(
    filter: &Arc<Filter>,
    events: &[Recorded],
    from: Position,
    how: Reading,
) -> Vec<Batch> {
    let resume = if from.file == 0 { Position::boundary(1, 1, 4) } else { from.floor() };
    let Reading { message_bytes, batch_bytes, all_held } = how;
    let zone = "+00:00".to_owned();
    let (header, filter) = (header(from), Arc::clone(filter));
    let mut capture = Capture::new(header, from, resume, message_bytes, batch_bytes, zone, filter);
    let mut sealed: Vec<Seal> = Vec::new();
    let after = |event: &&Recorded| event.span.is_none_or(|(start, _)| start >= resume.offset);
    for event in events.iter().filter(after) {
        let is_stored = event.spooled && !all_held;
        let data: &[u8] = if is_stored { &[] } else { &event.data };
        let log = LogEvent {
            event: Event { code: event.code, flags: event.flags, data },
            span: event.span,
            server_id: event.server_id,
            seconds: event.seconds,
            time_us: 0,
        };
        if is_stored {
            let reader = Box::new(Cursor::new(event.data.clone()));
            let body = StoredBody { reader, bytes: event.data.len() as u64 };
            capture.take_stored(&log, body, &mut sealed).expect("is taken");
        } else {
            capture.take(&log, &mut sealed).expect("is taken");
        }
        while capture.is_unpacking() {
            let before = sealed.len();
            capture.unpack(&mut sealed).expect("goes on");
            // An event in memory is taken at once, and is no larger than a batch or two.
            assert!(sealed.len() <= before + 2 || batch_bytes < 1 << 16, "a step fills many");
        }
    }
    sealed.push(capture.seal().expect("seals"));
    assert!(sealed.iter().all(|seal| seal.message.len() <= message_bytes));
    let decode = |seal: &Seal| Batch::decode(&seal.message, &Limits::default()).expect("decodes");
    sealed.iter().map(decode).collect()
}

fn behind(changes: &Changes, at: Position) -> Changes {
    changes.clone().split_off(&(at.file, at.offset, at.part + 1))
}

/// Two tables, and one transaction with every sort of change.
fn statements() -> Vec<String> {
    let before = [
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY, t LONGTEXT, b LONGBLOB, j JSON, c VARCHAR(50))",
        "CREATE TABLE app.keyless (id INT, b LONGBLOB)",
        "INSERT INTO app.t VALUES (1, REPEAT('t', 70000), REPEAT('b', 3000), NULL, 'c'), (2, NULL, 'x', NULL, 'y')",
        "START TRANSACTION",
    ];
    let inside = [
        "INSERT INTO app.t VALUES (3, REPEAT('t', 300000), REPEAT('b', 65536), JSON_ARRAY(REPEAT('j', 200000)), 'c'), (4, 'a', 'b', NULL, 'c')",
        "INSERT INTO app.keyless VALUES (1, REPEAT('k', 150000)), (2, 'small')",
        "UPDATE app.t SET c = 'changed'",
        "UPDATE app.t SET id = id + 10 WHERE id = 3",
        "UPDATE app.keyless SET id = 5",
        "DELETE FROM app.keyless WHERE id = 5",
        "DELETE FROM app.t WHERE id = 13",
    ];
    let owned = |sql: &str| sql.to_owned();
    let random = random("app.t");
    before
        .map(owned)
        .into_iter()
        .chain(random)
        .chain(inside.map(owned))
        .chain(["COMMIT".to_owned()])
        .collect()
}

const TABLES: [&str; 2] = ["app.t", "app.keyless"];

async fn every_reader_cuts_at_the_same_places(flavour: Flavour, compression: &str) {
    let lab = Lab::start_with(flavour, &source().argument(compression)).await;
    run(&lab, &statements()).await;
    let events = record(&lab).await;
    assert!(events.iter().any(|event| event.spooled), "no event was large");
    let beginning = Position::beginning(1);
    let whole = Model::of(&read(&events, beginning, USUAL));
    whole.assert_is(&lab.source, &TABLES).await;
    let piecewise = Reading { batch_bytes: 1, ..USUAL };
    for how in [
        Reading { message_bytes: 600 << 10, ..USUAL },
        Reading { message_bytes: 8 << 20, batch_bytes: 6 << 20, ..USUAL },
        Reading { all_held: true, ..USUAL },
    ] {
        let model = Model::of(&read(&events, beginning, how));
        assert!(model.changes == whole.changes, "{} {}", how.message_bytes, how.batch_bytes);
    }
    // Every place where a batch can end is one where the next run can begin.
    let (mut so_far, mut inside) = (Model::default(), 0);
    for batch in read(&events, beginning, piecewise) {
        let end = batch.header.end;
        so_far.take(std::slice::from_ref(&batch));
        if end.is_boundary() {
            continue;
        }
        inside += 1;
        let mut model = so_far.clone();
        model.take(&read(&events, end, USUAL));
        assert!(behind(&model.changes, end) == behind(&whole.changes, end), "from {end}");
        assert!(model.tables == whole.tables, "from {end}");
    }
    assert!(so_far.changes == whole.changes);
    assert!(inside > 50, "only {inside} cuts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_cuts_a_log_of_mysql_at_the_same_places() {
    every_reader_cuts_at_the_same_places(Flavour::MySql, "--binlog-transaction-compression=OFF")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_cuts_a_compressed_log_of_mysql_at_the_same_places() {
    every_reader_cuts_at_the_same_places(Flavour::MySql, "--binlog-transaction-compression=ON")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_cuts_a_compressed_log_of_mariadb_at_the_same_places() {
    every_reader_cuts_at_the_same_places(Flavour::MariaDb, "--log-bin-compress=ON").await;
}

/// Drops the large texts of `app.t`, hashes its large blobs, and keeps its large documents.
fn narrow() -> Arc<Filter> {
    let names = |names: &[&str]| NamesConfig {
        exclude: names.iter().map(|&name| name.to_owned()).collect(),
        ..NamesConfig::default()
    };
    let config = FilterConfig {
        columns: names(&["app.t.t"]),
        mask: vec![MaskConfig { column: "app.t.b".into(), with: MaskWith::Hash }],
        salt: Some(Secret::new("sixteen bytes and more")),
        ..FilterConfig::default()
    };
    Arc::new(Filter::new(&config).expect("compiles"))
}

async fn a_filter_moves_no_cut(flavour: Flavour, compression: &str) {
    let lab = Lab::start_with(flavour, &source().argument(compression)).await;
    run(&lab, &statements()).await;
    let events = record(&lab).await;
    let (beginning, filter) = (Position::beginning(1), narrow());
    let whole = Model::of(&read(&events, beginning, USUAL));
    let batches = read_with(&filter, &events, beginning, USUAL);
    let narrowed = Model::of(&batches);
    assert!(narrowed.changes.keys().all(|at| whole.changes.contains_key(at)));
    let is_piece = |change: &&String| change.starts_with("piece");
    let pieces = |model: &Model| model.changes.values().filter(is_piece).count();
    assert!(pieces(&narrowed) > 0 && pieces(&narrowed) < pieces(&whole), "{}", pieces(&narrowed));
    // The rows are those of the whole copy, without `t` and with the hash of `b`.
    let hash = |bytes: &Vec<u8>| {
        let hash = filter.digest().digest(bytes);
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()
    };
    let mut wanted = whole.tables["app.t"].clone();
    for row in &mut wanted {
        row[2] = row[2].as_ref().map(hash);
        row.remove(1);
    }
    let mut got = narrowed.tables["app.t"].clone();
    wanted.sort();
    got.sort();
    assert!(got == wanted && got.iter().any(|row| row[1].is_some()), "app.t differs");
    assert!(narrowed.tables["app.keyless"] == whole.tables["app.keyless"]);
    // Every place where a batch can end is one where the next run can begin, under the filter too.
    let mut so_far = Model::default();
    for batch in read_with(&filter, &events, beginning, Reading { batch_bytes: 1, ..USUAL }) {
        let end = batch.header.end;
        so_far.take(std::slice::from_ref(&batch));
        if !end.is_boundary() {
            let mut model = so_far.clone();
            model.take(&read_with(&filter, &events, end, USUAL));
            assert!(model.tables == narrowed.tables, "from {end}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_moves_no_cut_in_a_log_of_mysql() {
    a_filter_moves_no_cut(Flavour::MySql, "--binlog-transaction-compression=OFF").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_moves_no_cut_in_a_log_of_mariadb() {
    a_filter_moves_no_cut(Flavour::MariaDb, "--log-bin-compress=OFF").await;
}
