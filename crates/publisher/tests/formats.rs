//! The forms in which a server may write its log: compressed, split, with every type of column.

use crate::harness::{Lab, applied, changes, is_done};
use tributary_testkit::{Flavour, MySqlOptions};

const DONE: [&str; 2] = ["USE app", "CREATE TABLE done (id INT)"];

/// What is published of `statements`, run in a database `app`.
async fn published(flavour: Flavour, arguments: &[&str], statements: &[&str]) -> Vec<String> {
    let options = arguments.iter().fold(MySqlOptions::source(), |o, argument| o.argument(argument));
    let lab = Lab::start_with(flavour, &options).await;
    lab.sql(&["CREATE DATABASE app", "USE app"]).await;
    let statements: Vec<&str> = [&["USE app"], statements, &DONE].concat();
    lab.sql(&statements).await;
    let publisher = lab.publish();
    let got = changes(&lab.read_until(is_done).await);
    publisher.stop().await;
    got
}

/// Large and small transactions, of every kind of change.
const WORK: [&str; 9] = [
    "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(40), b LONGBLOB)",
    "INSERT INTO t (v) WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 900) SELECT CONCAT('row ', n) FROM s",
    "INSERT INTO t (v, b) VALUES ('large', REPEAT('x', 200000))",
    "BEGIN",
    "UPDATE t SET v = 'even' WHERE id % 2 = 0",
    "DELETE FROM t WHERE id % 3 = 0",
    "UPDATE t SET id = id + 10000 WHERE id < 10",
    "COMMIT",
    "CREATE TABLE u AS SELECT * FROM t WHERE id < 20",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_logs_are_read_like_plain_ones() {
    for (flavour, argument) in [
        (Flavour::MySql, "--binlog-transaction-compression=ON"),
        (Flavour::MariaDb, "--log-bin-compress=ON"),
    ] {
        let packed = published(flavour, &[argument, "--binlog-row-event-max-size=1024"], &WORK).await;
        let plain = published(flavour, &[], &WORK).await;
        assert!(plain.len() > 500, "{}", plain.len());
        assert_eq!(packed, plain, "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_goes_on_inside_a_compressed_transaction() {
    for (flavour, argument) in [
        (Flavour::MySql, "--binlog-transaction-compression=ON"),
        (Flavour::MariaDb, "--log-bin-compress=ON"),
    ] {
        let options = MySqlOptions::source().argument(argument);
        let mut lab = Lab::start_with(flavour, &options).await;
        lab.batch_bytes = 16 << 10;
        lab.sql(&["CREATE DATABASE app", "USE app"]).await;
        lab.sql(&[&["USE app"], &WORK[..], &DONE].concat()).await;
        let first = lab.publish();
        let whole = lab.read_until(is_done).await;
        first.stop().await;
        let cut = whole.iter().find(|batch| !batch.header.end.is_boundary()).expect("a cut batch");
        // The target knows no more than the cut batch, and the stream is gone.
        lab.answer(Some(applied(cut)));
        std::fs::remove_file(lab.state.path().join("DEVICE_001.checkpoint.json")).expect("there");
        lab.nats.kill();
        lab.nats.wipe().expect("wiped");
        lab.nats.restart().expect("restarts");
        lab.open_cloud().await;
        let second = lab.publish();
        let rest = changes(&lab.read_from(cut.header.end, is_done).await);
        second.stop().await;
        let all = changes(&whole);
        assert!(rest.len() < all.len() && all.ends_with(&rest), "{flavour}");
    }
}
