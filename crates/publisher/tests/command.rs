//! The program as an operator meets it: exit codes, what it prints, the preflight.

use crate::harness::Lab;
use std::net::TcpListener;
use std::process::{Command, Output};
use tributary_testkit::Flavour;

fn publisher(arguments: &[&str], config: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("publisher.toml");
    std::fs::write(&path, config).expect("written");
    Command::new(env!("CARGO_BIN_EXE_tributary-publisher"))
        .arg("--config")
        .arg(&path)
        .args(arguments)
        .output()
        .expect("runs")
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const SOURCE: &str =
    "[source]\nuser = \"u\"\npassword = \"p\"\n[nats]\nurls = [\"nats://127.0.0.1:1\"]\n";

#[test]
fn an_unknown_key_is_named_and_the_exit_code_says_usage() {
    let output =
        publisher(&["--check-config"], &format!("{SOURCE}[device]\nid = \"a\"\nnmae = \"b\"\n"));
    assert_eq!(output.status.code(), Some(64), "{}", text(&output));
    assert!(text(&output).contains("nmae"), "{}", text(&output));
}

#[test]
fn a_device_id_that_is_no_nats_token_is_refused_with_the_rule() {
    let output = publisher(&["--check-config"], &format!("{SOURCE}[device]\nid = \"a.b\"\n"));
    assert_eq!(output.status.code(), Some(64), "{}", text(&output));
    assert!(text(&output).contains("holds '.'"), "{}", text(&output));
}

#[test]
fn identity_comes_from_a_device_file_and_its_absence_is_explained() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("device.conf");
    let config = format!("{SOURCE}[device]\nfile = \"{}\"\n", file.display());
    let output = publisher(&["--check-config"], &config);
    assert_eq!(output.status.code(), Some(64), "{}", text(&output));
    assert!(text(&output).contains("set device.id, or DEVICE_ID in"), "{}", text(&output));
    std::fs::write(&file, "DEVICE_ID=\"DEVICE_007\"\nDEVICE_NAME=\"园区A-设备7\"\n")
        .expect("written");
    let output = publisher(&["--check-config"], &config);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("device DEVICE_007"), "{}", text(&output));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("an address");
    let state = tempfile::tempdir().expect("a directory");
    let config = format!(
        "{SOURCE}[device]\nid = \"a\"\n[state]\ndir = \"{}\"\n[admin]\nlisten = \"{address}\"\n",
        state.path().display()
    );
    let output = publisher(&[], &config);
    assert_eq!(output.status.code(), Some(71), "{}", text(&output));
    assert!(text(&output).contains(&format!("{address} is in use")), "{}", text(&output));
}

/// Blocking programs beside the harness's tasks.
pub(crate) async fn check(lab: &Lab, json: bool) -> Output {
    lab.config();
    let config = std::fs::read_to_string(lab.state.path().join("publisher.toml")).expect("there");
    let arguments: &'static [&'static str] = if json { &["check", "--json"] } else { &["check"] };
    tokio::task::spawn_blocking(move || publisher(arguments, &config)).await.expect("runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preflight_of_a_good_device_is_all_ok() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        let output = check(&lab, false).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let said = text(&output);
        for line in [
            "log_bin is ON",
            "the account has REPLICATION SLAVE",
            "this device is new",
            "MiB free, and an event can have",
        ] {
            assert!(said.contains(line), "{line} is missing in\n{said}");
        }
        assert!(!said.contains("FAIL"), "{said}");
    }
}

/// What the warnings say of tables and modes, done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preflight_names_tables_without_a_key_and_lenient_modes_until_that_is_mended() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        let said = text(&check(&lab, false).await);
        for good in
            ["every table has a primary key", "sql_mode is strict", "innodb_strict_mode is ON"]
        {
            assert!(said.contains(good), "{flavour}: {said}");
        }
        lab.sql(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.log (ts INT, msg VARCHAR(20))",
            "INSERT INTO app.log VALUES (1, 'a'), (2, 'b')",
            "SET GLOBAL sql_mode = 'NO_ZERO_DATE'",
            "SET GLOBAL innodb_strict_mode = OFF",
        ])
        .await;
        let output = check(&lab, false).await;
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "warnings fail nothing: {said}");
        let fix = |finding: &str| {
            let after = said.split(finding).nth(1).unwrap_or_else(|| panic!("{finding}: {said}"));
            let fix = after.split("fix: ").nth(1).expect("a fix").lines().next();
            fix.expect("a line").to_owned()
        };
        let key = fix("without a primary key: `app`.`log` (InnoDB").replace("those columns", "ts");
        let key = key.split(": ").nth(1).expect("a statement").to_owned();
        // The statement ends where its value does.
        let statement = |finding: &str| {
            let fix = fix(finding);
            let mut parts = fix.split('\'');
            format!("{}'{}'", parts.next().expect("one"), parts.next().expect("a value"))
        };
        let mode = statement("sql_mode is not strict");
        lab.sql(&[&key, &mode, &statement("innodb_strict_mode is OFF")]).await;
        let said = text(&check(&lab, false).await);
        for good in
            ["every table has a primary key", "sql_mode is strict", "innodb_strict_mode is ON"]
        {
            assert!(said.contains(good), "{flavour}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preflight_names_what_fails_with_the_statement_that_mends_it() {
    let mut lab = Lab::start(Flavour::MySql).await;
    lab.sql(&[
        "SET GLOBAL binlog_format='MIXED'",
        "SET GLOBAL binlog_row_value_options='PARTIAL_JSON'",
        "SET GLOBAL binlog_expire_logs_seconds=3600",
    ])
    .await;
    lab.nats.kill();
    let output = check(&lab, true).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let checks: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let outcome = |finding: &str| {
        let found =
            checks.iter().find(|c| c["finding"].as_str().is_some_and(|f| f.contains(finding)));
        found.unwrap_or_else(|| panic!("{finding} is missing in\n{lines}"))["outcome"].clone()
    };
    for failed in ["binlog_format is MIXED", "PARTIAL_JSON", "cannot be reached"] {
        assert_eq!(outcome(failed), "fail");
    }
    assert_eq!(outcome("kept for 1 hours"), "warn");
    let fixes = checks.iter().filter(|check| check["outcome"] != "ok");
    assert!(fixes.clone().all(|check| check["fix"].is_string()), "{lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preflight_lists_the_grants_that_are_missing() {
    let lab = Lab::start(Flavour::MariaDb).await;
    lab.sql(&["CREATE USER poor@'%' IDENTIFIED BY 'poor'", "GRANT SELECT ON *.* TO poor@'%'"])
        .await;
    lab.config();
    let path = lab.state.path().join("publisher.toml");
    let config = std::fs::read_to_string(&path).expect("there");
    let config = config.replace("\"tributary\"", "\"poor\"");
    let output =
        tokio::task::spawn_blocking(move || publisher(&["check"], &config)).await.expect("runs");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the account lacks REPLICATION SLAVE"), "{said}");
    assert!(
        said.contains("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO 'poor'@'%'"),
        "{said}"
    );
}
