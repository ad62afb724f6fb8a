//! What would lose data is refused, with the remedy.

use crate::harness::{Lab, applied, is_done};
use tributary_runtime::Secret;
use tributary_testkit::{Flavour, MySqlOptions};

async fn refused(lab: &Lab) -> String {
    lab.publish().error().await.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_logs_statements_is_refused_with_the_statement_that_mends_it() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        lab.sql(&["SET GLOBAL binlog_format='STATEMENT'"]).await;
        let error = refused(&lab).await;
        assert!(
            error.contains("binlog_format is STATEMENT") && error.contains("fix: SET"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_full_metadata_is_refused() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        lab.sql(&[
            "SET GLOBAL binlog_row_metadata='MINIMAL'",
            "SET GLOBAL binlog_row_image='MINIMAL'",
        ])
        .await;
        let error = refused(&lab).await;
        assert!(error.contains("binlog_row_metadata is MINIMAL"), "{error}");
        assert!(error.contains("binlog_row_image is MINIMAL"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_logged_before_metadata_was_full_stop_the_device() {
    let lab = Lab::start(Flavour::MySql).await;
    lab.sql(&[
        "SET GLOBAL binlog_row_metadata='MINIMAL'",
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY)",
        "INSERT INTO app.t VALUES (1)",
        "SET GLOBAL binlog_row_metadata='FULL'",
    ])
    .await;
    let error = refused(&lab).await;
    assert!(error.contains("app.t come without column names"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_in_the_log_stops_the_device() {
    let lab = Lab::start(Flavour::MariaDb).await;
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY)",
        "SET SESSION binlog_format='STATEMENT'",
        "INSERT INTO app.t VALUES (1)",
    ])
    .await;
    let error = refused(&lab).await;
    assert!(error.contains("INSERT was logged as a statement"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alter_in_two_phases_stops_the_device() {
    let lab = Lab::start(Flavour::MariaDb).await;
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY)",
        "SET SESSION binlog_alter_two_phase=1",
        "ALTER TABLE app.t ADD COLUMN v INT",
    ])
    .await;
    let error = refused(&lab).await;
    assert!(error.contains("an ALTER in two phases"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_leaves_databases_out_is_refused() {
    for flavour in Flavour::ALL {
        let options = MySqlOptions::source().argument("--binlog-ignore-db=logs");
        let lab = Lab::start_with(flavour, &options).await;
        let error = refused(&lab).await;
        assert!(error.contains("does not log the databases logs"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decimal_in_json_that_would_lose_digits_stops_the_device() {
    let lab = Lab::start(Flavour::MySql).await;
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY, j JSON)",
        "INSERT INTO app.t VALUES (1, JSON_OBJECT('p', CAST('12345678901234567890.123456789' AS DECIMAL(40,9))))",
    ])
    .await;
    let error = refused(&lab).await;
    assert!(error.contains("would lose digits"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_device_whose_log_was_purged_is_refused() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        lab.sql(&[
            "CREATE DATABASE app",
            "FLUSH BINARY LOGS",
            "PURGE BINARY LOGS TO 'binlog.000002'",
        ])
        .await;
        let error = refused(&lab).await;
        assert!(
            error.contains("begins with binlog.000002") && error.contains("snapshot"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_device_whose_log_was_purged_past_the_watermark_is_refused() {
    let lab = Lab::start(Flavour::MySql).await;
    lab.sql(&[
        "CREATE DATABASE app",
        "USE app",
        "CREATE TABLE app.t (id INT)",
        "CREATE TABLE app.u (id INT)",
    ])
    .await;
    let publisher = lab.publish();
    lab.sql(&["USE app", "CREATE TABLE done (id INT)"]).await;
    let batches = lab.read_until(is_done).await;
    publisher.stop().await;
    lab.answer(Some(applied(&batches[0])));
    std::fs::remove_file(lab.state.path().join("DEVICE_001.checkpoint.json")).expect("there");
    lab.sql(&["FLUSH BINARY LOGS", "PURGE BINARY LOGS TO 'binlog.000002'"]).await;
    let error = refused(&lab).await;
    assert!(error.contains("purged or reset"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_reset_is_noticed_by_its_gtid() {
    for (flavour, reset) in
        [(Flavour::MySql, "RESET BINARY LOGS AND GTIDS"), (Flavour::MariaDb, "RESET MASTER")]
    {
        let lab = Lab::start(flavour).await;
        lab.sql(&["CREATE DATABASE app", "USE app", "CREATE TABLE app.t (id INT)"]).await;
        let publisher = lab.publish();
        lab.sql(&["USE app", "CREATE TABLE done (id INT)"]).await;
        let batches = lab.read_until(is_done).await;
        let end = batches.last().expect("a batch").header.end;
        lab.asked(|question| question.published.is_some_and(|at| at >= end)).await;
        publisher.stop().await;
        // The same file name, long enough to hold the old position.
        let filler = "CREATE TABLE app.f (id INT, v LONGTEXT)";
        let row = "INSERT INTO app.f VALUES (1, REPEAT('x', 100000))";
        lab.sql(&[reset, filler, row]).await;
        lab.answer(None);
        let error = refused(&lab).await;
        assert!(error.contains("reset") && error.contains("snapshot"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_tables_are_older_than_its_log_is_refused() {
    let lab = Lab::start(Flavour::MySql).await;
    lab.sql(&["CREATE DATABASE app", "CREATE TABLE app.old (id INT PRIMARY KEY)"]).await;
    // The log begins in a later second than the table's.
    lab.sql_until("SELECT UNIX_TIMESTAMP() > UNIX_TIMESTAMP(create_time) FROM information_schema.tables WHERE table_name = 'old'").await;
    lab.sql(&["RESET BINARY LOGS AND GTIDS"]).await;
    let error = refused(&lab).await;
    assert!(error.contains("older than its binary log (app.old)"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_named_and_never_printed() {
    let lab = Lab::start(Flavour::MySql).await;
    let mut config = lab.config();
    config.source.password = Secret::new("sekret-77");
    let error = lab.publish_with(config).error().await;
    let text = format!("{error} {error:?}");
    assert!(text.contains("Access denied") && text.contains("source.password"), "{text}");
    assert!(!text.contains("sekret-77"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_binary_log_is_refused() {
    let options = MySqlOptions::target();
    let lab = Lab::start_with(Flavour::MySql, &options).await;
    let error = refused(&lab).await;
    assert!(error.contains("log_bin is OFF"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_publisher_on_the_same_state_is_refused() {
    let lab = Lab::start(Flavour::MySql).await;
    let first = lab.publish();
    lab.asked(|_| true).await;
    let error = refused(&lab).await;
    assert!(error.contains("held by another publisher"), "{error}");
    first.stop().await;
}
