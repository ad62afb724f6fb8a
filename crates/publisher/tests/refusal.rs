//! What would lose data is refused, with the remedy.

use crate::harness::Lab;
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
async fn a_definition_that_computes_with_a_variable_of_its_session_stops_the_device() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        lab.sql(&[
            "CREATE DATABASE app",
            "SET @start = 5",
            // A view and an event say what they compute with: they are passed.
            "CREATE EVENT app.e ON SCHEDULE EVERY @start HOUR DO SELECT 1",
            "SET SESSION binlog_format='STATEMENT'",
            "CREATE TABLE app.t (id INT PRIMARY KEY) SELECT @start AS id",
            // A table that is there, and that the log cannot bring, would be copied instead.
            "DROP TABLE app.t",
        ])
        .await;
        let error = refused(&lab).await;
        assert!(error.contains("computes with @start of its session"), "{flavour}: {error}");
    }
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
async fn times_in_the_format_of_mariadb_5_3_stop_the_device() {
    let lab = Lab::start(Flavour::MariaDb).await;
    lab.sql(&[
        "CREATE DATABASE app",
        "SET GLOBAL mysql56_temporal_format=OFF",
        "CREATE TABLE app.t (id INT PRIMARY KEY, d DATETIME(3))",
        "INSERT INTO app.t VALUES (1, '2024-02-29 10:11:12.125')",
    ])
    .await;
    let error = refused(&lab).await;
    assert!(error.contains("mysql56_temporal_format=ON"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_without_all_of_their_columns_stop_the_device() {
    for flavour in Flavour::ALL {
        for image in ["MINIMAL", "NOBLOB"] {
            let lab = Lab::start(flavour).await;
            lab.sql(&[
                "CREATE DATABASE app",
                "CREATE TABLE app.t (id INT PRIMARY KEY, v INT, b BLOB)",
                "INSERT INTO app.t VALUES (1, 1, 'x')",
                &format!("SET SESSION binlog_row_image='{image}'"),
                "UPDATE app.t SET v=2",
            ])
            .await;
            let error = refused(&lab).await;
            assert!(error.contains("SET GLOBAL binlog_row_image='FULL'"), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_updates_in_part_are_refused_in_the_log_and_in_the_settings() {
    let lab = Lab::start(Flavour::MySql).await;
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY, j JSON)",
        "INSERT INTO app.t VALUES (1, JSON_OBJECT('a', REPEAT('x', 100), 'b', 2))",
        "SET SESSION binlog_row_value_options='PARTIAL_JSON'",
        "UPDATE app.t SET j = JSON_SET(j, '$.b', 3)",
    ])
    .await;
    let error = refused(&lab).await;
    assert!(error.contains("a partial JSON update"), "{error}");
    lab.sql(&["SET GLOBAL binlog_row_value_options='PARTIAL_JSON'"]).await;
    let error = refused(&lab).await;
    assert!(error.contains("binlog_row_value_options is PARTIAL_JSON"), "{error}");
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
