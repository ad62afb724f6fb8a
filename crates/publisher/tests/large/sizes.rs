//! What is written is what arrives, whatever its size.

use super::model::Model;
use crate::harness::{Lab, is_done};
use tributary_testkit::{Flavour, MySqlOptions};

/// Statements that pass every threshold: 64 KiB for a value, 256 KiB for a change, 1 MiB for an event.
pub(super) fn statements() -> Vec<String> {
    let mut sql = vec![
        "CREATE DATABASE app".to_owned(),
        "CREATE TABLE app.t (id INT PRIMARY KEY, t LONGTEXT, b LONGBLOB, j JSON, c VARCHAR(50))"
            .to_owned(),
        "CREATE TABLE app.keyless (id INT, t LONGTEXT, b LONGBLOB)".to_owned(),
        "CREATE TABLE app.prefixed (t LONGTEXT, n INT, PRIMARY KEY (t(20)))".to_owned(),
    ];
    let (kib64, kib256, mib) = (64 << 10, 256 << 10, 1 << 20);
    let mut lengths = vec![0, 1];
    for at in [kib64, kib256, mib] {
        lengths.extend([at - 200, at - 1, at, at + 1, at + 200]);
    }
    for (id, length) in lengths.into_iter().enumerate() {
        sql.push(format!(
            "INSERT INTO app.t VALUES ({id}, REPEAT('ab', {length} / 2), NULL, NULL, 'end')"
        ));
        sql.push(format!(
            "INSERT INTO app.keyless VALUES ({id}, NULL, REPEAT(x'00ff01', {length}))"
        ));
    }
    // Five values of 60 KiB: only the last of them makes the change too large.
    let value = "REPEAT('v', 61440)";
    sql.push("CREATE TABLE app.wide (a TEXT, b TEXT, c TEXT, d TEXT, e TEXT, f TEXT, id VARCHAR(30), PRIMARY KEY (id))".to_owned());
    for last in ["'s'", "'longer than what stands for it'", value] {
        sql.push(format!(
            "INSERT INTO app.wide VALUES ({value}, {value}, {value}, {value}, {value}, {last}, CONCAT('key ', LENGTH({last})))"
        ));
    }
    sql.extend(
        [
            "INSERT INTO app.t VALUES (100, 't', REPEAT('b', 3000000), JSON_ARRAY(REPEAT('j', 100000), 1, REPEAT('k', 1500000)), 'c')",
            "INSERT INTO app.t VALUES (101, REPEAT('t', 70000), NULL, '{\"a\": [1, 2]}', 'c'), (102, 'small', 'row', NULL, 'x'), (103, REPEAT('u', 2000000), REPEAT('w', 70000), NULL, 'x')",
            "UPDATE app.t SET c = 'changed' WHERE id IN (3, 14, 100, 103)",
            "UPDATE app.t SET b = REPEAT('n', 1100000), t = NULL WHERE id IN (4, 103)",
            "UPDATE app.t SET id = id + 1000 WHERE id IN (5, 15)",
            "DELETE FROM app.t WHERE id IN (6, 101, 1015)",
            "UPDATE app.keyless SET id = id + 100 WHERE id IN (3, 16)",
            "DELETE FROM app.keyless WHERE id IN (4, 116, 14)",
            "UPDATE app.wide SET e = 'short', f = NULL WHERE id = 'key 61440'",
            "INSERT INTO app.prefixed VALUES (REPEAT('p', 100000), 1), (REPEAT('q', 50), 2)",
            "UPDATE app.prefixed SET n = 3",
            "DELETE FROM app.prefixed WHERE t LIKE 'p%'",
            "INSERT INTO app.prefixed VALUES (REPEAT('r', 100000), 1)",
            "START TRANSACTION",
            "INSERT INTO app.t SELECT id + 5000, t, b, NULL, c FROM app.t WHERE id < 20",
            "UPDATE app.t SET c = 'twice' WHERE id > 5000",
            "COMMIT",
        ]
        .map(str::to_owned),
    );
    sql.extend(random("app.t"));
    sql
}

/// A row of more than 1 MiB that does not compress.
pub(super) fn random(table: &str) -> [String; 2] {
    let many =
        "(SELECT 1 FROM information_schema.columns a, information_schema.columns b LIMIT 18000)";
    [
        "SET group_concat_max_len = 10000000".to_owned(),
        format!(
            "INSERT INTO {table} (id, b) SELECT 900, UNHEX(GROUP_CONCAT(SHA2(UUID(), 512) SEPARATOR '')) FROM {many} x"
        ),
    ]
}

pub(super) const TABLES: [&str; 4] = ["app.t", "app.keyless", "app.wide", "app.prefixed"];

pub(super) async fn run(lab: &Lab, statements: &[String]) {
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    lab.sql(&statements).await;
}

pub(super) fn source() -> MySqlOptions {
    MySqlOptions::source().argument("--max-allowed-packet=256M")
}

async fn values_around_every_threshold_arrive(flavour: Flavour, options: &MySqlOptions) {
    let lab = Lab::start_with(flavour, options).await;
    // A device that is known already: its log is read, and no snapshot taken.
    let publisher = lab.publish();
    lab.asked(|question| question.published.is_some()).await;
    run(&lab, &statements()).await;
    lab.sql(&["USE app", "CREATE TABLE done (id INT)"]).await;
    let model = Model::of(&lab.read_until(is_done).await);
    model.assert_is(&lab.source, &TABLES).await;
    assert!(model.largest > 3 << 20 && model.pieces_max == 64 << 10);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_around_every_threshold_arrive_from_mysql() {
    values_around_every_threshold_arrive(Flavour::MySql, &source()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_around_every_threshold_arrive_from_mariadb() {
    values_around_every_threshold_arrive(Flavour::MariaDb, &source()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_around_every_threshold_arrive_from_a_compressed_mysql() {
    let options = source().argument("--binlog-transaction-compression=ON");
    values_around_every_threshold_arrive(Flavour::MySql, &options).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_around_every_threshold_arrive_from_a_compressed_mariadb() {
    let options = source().argument("--log-bin-compress=ON");
    values_around_every_threshold_arrive(Flavour::MariaDb, &options).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_64_mib_arrives_from_either_server() {
    for flavour in Flavour::ALL {
        let lab = Lab::start_with(flavour, &source()).await;
        let publisher = lab.publish();
        lab.asked(|question| question.published.is_some()).await;
        lab.sql(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT PRIMARY KEY, b LONGBLOB, c INT)",
            "INSERT INTO app.t VALUES (1, CONCAT(REPEAT(x'000102', 22369621), 'z'), 7)",
            "UPDATE app.t SET c = 8",
            "USE app",
            "CREATE TABLE done (id INT)",
        ])
        .await;
        let model = Model::of(&lab.read_until(is_done).await);
        assert_eq!(model.largest, 64 << 20);
        model.assert_is(&lab.source, &["app.t"]).await;
        publisher.stop().await;
    }
}
