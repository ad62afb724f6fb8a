//! What the log takes back, or decides later: rollbacks, XA transactions, transactions that a crash cut off.

use crate::harness::{Lab, applied, changes, is_done};
use mysql_async::prelude::Queryable;
use std::fs::OpenOptions;
use tributary_publisher::config::WhenLost;
use tributary_testkit::{Flavour, MySqlOptions};

/// A statement over and over, as one transaction can hold.
const MANY: &str = "INSERT INTO app.t WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 900) SELECT 1000 + n, REPEAT('x', 100) FROM s";

/// More than is kept of a transaction until its end is known.
const LARGE: &str = "INSERT INTO app.t WITH RECURSIVE s (n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM s WHERE n < 60) SELECT n, REPEAT('x', 100000) FROM s";

async fn prepare(lab: &Lab) {
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY, v LONGTEXT) ENGINE=InnoDB",
        "CREATE TABLE app.m (id INT PRIMARY KEY, v TEXT) ENGINE=MyISAM",
    ])
    .await;
}

async fn finish(lab: &Lab) {
    lab.sql(&["USE app", "CREATE TABLE done (id INT)"]).await;
}

/// Inserted rows, in order: `t1` for a row of `t` whose key is 1.
fn rows(changes: &[String]) -> Vec<String> {
    let row = |change: &String| {
        let row = change.strip_prefix("app.")?.replace(" + ", "");
        Some(row.split(',').next()?.to_owned())
    };
    changes.iter().filter_map(row).collect()
}

/// MySQL refuses statements that mix engines while it enforces GTIDs.
fn mixing(flavour: Flavour) -> MySqlOptions {
    match flavour {
        Flavour::MariaDb => MySqlOptions::source(),
        Flavour::MySql => MySqlOptions::source()
            .argument("--gtid-mode=OFF")
            .argument("--enforce-gtid-consistency=OFF"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_transaction_undoes_is_not_published_and_what_it_keeps_is() {
    for flavour in Flavour::ALL {
        let lab = Lab::start_with(flavour, &mixing(flavour)).await;
        prepare(&lab).await;
        lab.sql(&[
            "USE app",
            // A rollback keeps what tables without transactions took.
            "BEGIN",
            "INSERT INTO t VALUES (1, '')",
            "INSERT INTO m VALUES (1, '')",
            "INSERT INTO t VALUES (2, '')",
            "ROLLBACK",
            // So does one to a savepoint, which MariaDB logs with the rows that it undoes.
            "BEGIN",
            "INSERT INTO t VALUES (3, '')",
            "SAVEPOINT `a b`",
            "INSERT INTO m VALUES (3, '')",
            "INSERT INTO t VALUES (4, '')",
            "SAVEPOINT inner_one",
            "INSERT INTO t VALUES (5, '')",
            "INSERT INTO m VALUES (5, '')",
            "ROLLBACK TO SAVEPOINT inner_one",
            "INSERT INTO t VALUES (6, '')",
            "INSERT INTO m VALUES (6, '')",
            "ROLLBACK TO SAVEPOINT `a b`",
            "INSERT INTO t VALUES (7, '')",
            "COMMIT",
            // Nothing but a savepoint's end.
            "BEGIN",
            "INSERT INTO t VALUES (8, '')",
            "SAVEPOINT a",
            "INSERT INTO t VALUES (9, '')",
            "RELEASE SAVEPOINT a",
            "COMMIT",
            // MariaDB logs this one whole, rows and ROLLBACK.
            "BEGIN",
            "INSERT INTO t VALUES (10, '')",
            "CREATE TEMPORARY TABLE temporary_one (id INT)",
            "INSERT INTO temporary_one VALUES (1)",
            "ROLLBACK",
            "DROP TEMPORARY TABLE temporary_one",
        ])
        .await;
        finish(&lab).await;
        let publisher = lab.publish();
        let mut got = rows(&changes(&lab.read_until(is_done).await));
        publisher.stop().await;
        got.sort();
        assert_eq!(got, ["m1", "m3", "m5", "m6", "t3", "t7", "t8", "t9"], "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undoing_of_more_than_is_kept_stops_the_device() {
    let lab = Lab::start(Flavour::MariaDb).await;
    prepare(&lab).await;
    become_known(&lab).await;
    lab.sql(&[
        "USE app",
        "BEGIN",
        LARGE,
        "SAVEPOINT a",
        "INSERT INTO m VALUES (1, '')",
        "INSERT INTO t VALUES (2, '')",
        "ROLLBACK TO SAVEPOINT a",
        "COMMIT",
    ])
    .await;
    let error = halted(&lab).await;
    assert!(error.contains("undoes changes of its own") && error.contains("snapshot"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn xa_transactions_are_published_when_they_commit_and_in_that_order() {
    let packed = MySqlOptions::source().argument("--binlog-transaction-compression=ON");
    let source = MySqlOptions::source;
    for (flavour, options) in
        [(Flavour::MySql, source()), (Flavour::MySql, packed), (Flavour::MariaDb, source())]
    {
        let lab = Lab::start_with(flavour, &options).await;
        prepare(&lab).await;
        let publisher = lab.publish();
        let prepare = |name: &str, id: u32| {
            let (start, end) = (format!("XA START {name}"), format!("XA END {name}"));
            [start, format!("INSERT INTO app.t VALUES ({id}, '')"), end]
        };
        for (name, id) in [("'first'", 1), ("'second','branch',7", 2), ("X'00FF'", 3)] {
            let statements = prepare(name, id);
            let end = format!("XA PREPARE {name}");
            let mut statements: Vec<&str> = statements.iter().map(String::as_str).collect();
            statements.push(&end);
            lab.sql(&statements).await;
        }
        lab.sql(&["INSERT INTO app.t VALUES (4, '')", "FLUSH BINARY LOGS"]).await;
        lab.sql(&["XA COMMIT X'00FF'"]).await;
        lab.sql(&["XA ROLLBACK 'first'"]).await;
        let [start, insert, end] = prepare("'one'", 5);
        lab.sql(&[&start, &insert, &end, "XA COMMIT 'one' ONE PHASE"]).await;
        let [start, insert, end] = prepare("'never'", 6);
        lab.sql(&[&start, &insert, &end, "XA ROLLBACK 'never'"]).await;
        lab.sql(&["XA COMMIT 'second','branch',7"]).await;
        // One that is empty, and one that is used again.
        lab.sql(&[
            "XA START 'first'",
            "XA END 'first'",
            "XA PREPARE 'first'",
            "XA ROLLBACK 'first'",
        ])
        .await;
        let [start, insert, end] = prepare("'first'", 7);
        lab.sql(&[&start, &insert, &end, "XA PREPARE 'first'"]).await;
        lab.sql(&["XA COMMIT 'first'"]).await;
        finish(&lab).await;
        let got = rows(&changes(&lab.read_until(is_done).await));
        publisher.stop().await;
        assert_eq!(got, ["t4", "t3", "t5", "t2", "t7"], "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_outlives_a_publisher_and_its_server() {
    for flavour in Flavour::ALL {
        let mut lab = Lab::start(flavour).await;
        lab.batch_bytes = 16 << 10;
        prepare(&lab).await;
        lab.sql(&["XA START 'a'", MANY, "XA END 'a'", "XA PREPARE 'a'"]).await;
        let kept =
            ["XA START 'b'", "INSERT INTO app.t VALUES (2, '')", "XA END 'b'", "XA PREPARE 'b'"];
        lab.sql(&kept).await;
        lab.sql(&["FLUSH BINARY LOGS", "INSERT INTO app.t VALUES (1, '')"]).await;
        let first = lab.publish();
        let before =
            lab.read_until(|batch| batch.tables.iter().any(|table| table.shape.table == "t")).await;
        first.stop().await;
        let header = &before.last().expect("a batch").header;
        assert!(header.resume.position.file < header.end.file, "{header:?}");
        assert_eq!(rows(&changes(&before)), ["t1"], "{flavour}");

        // The next knows only what the target has, and the server has died between.
        lab.answer(before.last().map(applied));
        std::fs::remove_file(lab.state.path().join("DEVICE_001.checkpoint.json")).expect("there");
        lab.source.restart().expect("restarts");
        lab.sql(&["XA COMMIT 'a'"]).await;
        lab.sql(&["INSERT INTO app.t VALUES (3, '')"]).await;
        let second = lab.publish();
        let cut = lab.read_until(|batch| !batch.header.end.is_boundary()).await;
        second.abort().await;

        // And the third begins inside the transaction that commits it.
        let _ = std::fs::remove_file(lab.state.path().join("DEVICE_001.checkpoint.json"));
        lab.answer(cut.last().map(applied));
        lab.sql(&["XA COMMIT 'b'"]).await;
        finish(&lab).await;
        let third = lab.publish();
        let got = rows(&changes(&lab.read_until(is_done).await));
        third.stop().await;
        assert_eq!(got.len(), 903, "{flavour}");
        assert_eq!(
            (&got[0][..], &got[1][..], &got[900][..]),
            ("t1", "t1001", "t1900"),
            "{flavour}"
        );
        assert_eq!(&got[901..], ["t3", "t2"], "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_prepared_than_is_kept_stops_the_device() {
    let lab = Lab::start(Flavour::MySql).await;
    prepare(&lab).await;
    become_known(&lab).await;
    for n in 0..3 {
        let insert = format!("INSERT INTO app.t SELECT {n}, REPEAT('x', 12000000)");
        let [start, end] = [format!("XA START '{n}'"), format!("XA END '{n}'")];
        lab.sql(&[&start, &insert, &end, &format!("XA PREPARE '{n}'")]).await;
    }
    let error = halted(&lab).await;
    assert!(error.contains("hold more than 32 MiB"), "{error}");
}

/// Cuts a killed server's newest log so many bytes behind the beginning of its last event.
async fn cut_last_event(lab: &mut Lab, bytes: u64) {
    let opts = mysql_async::Opts::from_url(&lab.source.admin_url()).expect("a url");
    let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
    let files: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.expect("files");
    let name: String = files.last().and_then(|row| row.get(0)).expect("a file");
    let events: Vec<mysql_async::Row> =
        conn.query(format!("SHOW BINLOG EVENTS IN '{name}'")).await.expect("events");
    let begin: u64 = events.last().and_then(|row| row.get(1)).expect("an event");
    drop(conn);
    lab.source.kill();
    let file = OpenOptions::new().write(true).open(lab.source.data_dir().join(name));
    file.expect("opens").set_len(begin + bytes).expect("cut");
    lab.source.restart().expect("restarts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_a_crash_cut_off_is_not_published() {
    let mut lab = Lab::start(Flavour::MariaDb).await;
    prepare(&lab).await;
    lab.sql(&["INSERT INTO app.t VALUES (1, '')", "INSERT INTO app.t VALUES (2, '')"]).await;
    cut_last_event(&mut lab, 0).await;
    lab.sql(&["INSERT INTO app.t VALUES (3, '')"]).await;
    finish(&lab).await;
    let publisher = lab.publish();
    let got = rows(&changes(&lab.read_until(is_done).await));
    publisher.stop().await;
    assert_eq!(got, ["t1", "t3"]);
}

/// A device whose copy has begun.
async fn become_known(lab: &Lab) {
    let publisher = lab.publish();
    let batches = lab.read_until(|_| true).await;
    publisher.stop().await;
    lab.answer(batches.last().map(applied));
}

/// What a publisher says that must not copy the tables again.
async fn halted(lab: &Lab) -> String {
    let mut config = lab.config();
    config.snapshot.when_lost = WhenLost::Halt;
    let running = lab.publish_with(config);
    running.error().await.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_cut_off_where_it_cannot_be_left_out_stops_the_device() {
    // Within an event the server itself does not serve its log any further.
    let mut lab = Lab::start(Flavour::MariaDb).await;
    prepare(&lab).await;
    become_known(&lab).await;
    lab.sql(&["INSERT INTO app.t VALUES (1, '')"]).await;
    cut_last_event(&mut lab, 10).await;
    let error = halted(&lab).await;
    assert!(error.contains("truncated in the middle of event"), "{error}");

    // The beginning of a large transaction is published before its end is known.
    let mut lab = Lab::start(Flavour::MariaDb).await;
    prepare(&lab).await;
    become_known(&lab).await;
    lab.sql(&[LARGE]).await;
    cut_last_event(&mut lab, 0).await;
    lab.sql(&["INSERT INTO app.t VALUES (3, '')"]).await;
    let error = halted(&lab).await;
    assert!(error.contains("inside a transaction, of which a part is carried"), "{error}");

    // What a table without transactions took stayed there.
    let mut lab = Lab::start(Flavour::MariaDb).await;
    prepare(&lab).await;
    become_known(&lab).await;
    lab.sql(&["INSERT INTO app.m VALUES (1, '')"]).await;
    cut_last_event(&mut lab, 0).await;
    lab.sql(&["INSERT INTO app.t VALUES (3, '')"]).await;
    let error = halted(&lab).await;
    assert!(error.contains("stayed in a table without transactions"), "{error}");
}
