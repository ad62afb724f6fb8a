//! What is written is what is published.

use crate::harness::{Lab, changes, is_done};
use tributary_testkit::Flavour;

async fn every_change_arrives_once_and_in_order(flavour: Flavour) {
    let lab = Lab::start(flavour).await;
    let publisher = lab.publish();
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(20), n BIGINT UNSIGNED)",
        "INSERT INTO app.t VALUES (1,'a',18446744073709551615),(2,'b',NULL)",
        "UPDATE app.t SET v='c' WHERE id=1",
        "UPDATE app.t SET id=9 WHERE id=2",
        "DELETE FROM app.t WHERE id=1",
        "CREATE TABLE app.keyless (v INT)",
        "INSERT INTO app.keyless VALUES (1),(1)",
        "UPDATE app.keyless SET v=2 LIMIT 1",
        "DELETE FROM app.keyless WHERE v=1",
        "ALTER TABLE app.t ADD COLUMN x INT NOT NULL DEFAULT 7",
        "INSERT INTO app.t (id) VALUES (10)",
        "CREATE TABLE app.done (id INT)",
    ])
    .await;
    let batches = lab.read_until(|batch| {
        batch.statements.iter().any(|s| String::from_utf8_lossy(&s.sql).contains("app.done"))
    });
    let got = changes(&batches.await);
    let rows: Vec<&str> = got.iter().map(String::as_str).filter(|c| !c.contains(": ")).collect();
    assert_eq!(
        rows,
        [
            "app.t + 1,'a',18446744073709551615",
            "app.t + 2,'b',NULL",
            "app.t = 1,'c',18446744073709551615",
            "app.t 2 > 9,'b',NULL",
            "app.t - 1",
            "app.keyless + 1",
            "app.keyless + 1",
            "app.keyless 1 > 2",
            "app.keyless - 1",
            "app.t + 10,NULL,NULL,7",
        ]
    );
    let statements = got.iter().filter(|change| change.contains(": ")).count();
    assert_eq!(statements, 5, "{got:?}");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_on_mysql_arrives_once_and_in_order() {
    every_change_arrives_once_and_in_order(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_on_mariadb_arrives_once_and_in_order() {
    every_change_arrives_once_and_in_order(Flavour::MariaDb).await;
}

/// Values whose binlog form is a trap: see the list in `docs/adr/0001-binlog-library.md`.
async fn awkward_values_are_read_exactly(flavour: Flavour) {
    let lab = Lab::start(flavour).await;
    let publisher = lab.publish();
    lab.sql(&[
        "CREATE DATABASE app CHARACTER SET latin1",
        "CREATE TABLE app.t (id INT PRIMARY KEY, y YEAR, u TINYINT UNSIGNED, s SET('a','b','c','d','e','f','g','h'), \
         b BINARY(4), t TIME(2), d DECIMAL(20,6), w VARCHAR(300) CHARACTER SET utf8mb4, bits BIT(12))",
        "INSERT INTO app.t VALUES (1, 2026, 255, 'h', x'01000000', '-01:00:00.50', -12345678901234.000100, '中文', b'100000000001')",
        "CREATE TABLE app.done (id INT)",
    ])
    .await;
    let batches = lab.read_until(|batch| {
        batch.statements.iter().any(|s| String::from_utf8_lossy(&s.sql).contains("app.done"))
    });
    let got = changes(&batches.await);
    let chinese: String = "中文".as_bytes().escape_ascii().to_string();
    let expected = format!(
        r"app.t + 1,2026,255,128,'\x01\x00\x00\x00',-3600500000,'-12345678901234.000100','{chinese}',2049"
    );
    assert!(got.contains(&expected), "{got:#?}\nwanted {expected}");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn awkward_values_on_mysql_are_read_exactly() {
    awkward_values_are_read_exactly(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn awkward_values_on_mariadb_are_read_exactly() {
    awkward_values_are_read_exactly(Flavour::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_larger_than_a_batch_is_cut_and_nothing_is_missing() {
    let mut lab = Lab::start(Flavour::MySql).await;
    lab.batch_bytes = 16 << 10;
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200))",
        "INSERT INTO app.t (v) VALUES (REPEAT('x', 100))",
        "INSERT INTO app.t (v) SELECT UUID() FROM information_schema.columns a LIMIT 3000",
        "USE app",
        "CREATE TABLE done (id INT)",
    ])
    .await;
    let publisher = lab.publish();
    let batches = lab.read_until(is_done).await;
    assert!(batches.iter().any(|batch| !batch.header.end.is_boundary()), "no batch was cut");
    let got = changes(&batches);
    let ids: Vec<&str> = got
        .iter()
        .filter_map(|change| change.strip_prefix("app.t + "))
        .filter_map(|row| row.split(',').next())
        .collect();
    assert_eq!(ids.len(), 3001);
    let distinct: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), 3001, "a row came twice");
    publisher.stop().await;
}
