//! Logs that look like the one that the copy was taken of, and are not: images that were put back, tails that
//! a power cut took, replicas that lacked something, several writers.

use crate::harness::{DEADLINE, Lab, applied};
use crate::snapshot::{SERIES, assert_equal, copied, is_last, model, prepare, purge, replicate};
use mysql_async::prelude::Queryable;
use std::path::Path;
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer};
use tributary_wire::{Batch, Position};

/// A row of always the same size in the log.
const ROW: &str = "INSERT INTO app.t (v) VALUES (LEFT(UUID(), 8))";

/// A device of which everything is copied and whose publisher has stopped.
async fn carried(flavour: Flavour, options: &MySqlOptions) -> (Lab, Vec<Batch>) {
    let lab = Lab::start_with(flavour, options).await;
    prepare(&lab, 50).await;
    let publisher = lab.publish();
    lab.sql(&["USE app", "CREATE TABLE last_one (id INT PRIMARY KEY)"]).await;
    let batches = lab.read_until(is_last).await;
    publisher.stop().await;
    lab.answer(batches.last().map(applied));
    (lab, batches)
}

/// Publishes again, and reads until another table is made, or everything is copied anew.
async fn go_on(lab: &Lab) -> Vec<Batch> {
    go_on_from(lab, Position::beginning(1)).await
}

/// The same, for a target that has applied everything up to `end`.
async fn go_on_from(lab: &Lab, end: Position) -> Vec<Batch> {
    let publisher = lab.publish();
    let anew =
        |batch: &Batch| batch.header.end.epoch == 2 && batch.header.resume.snapshot.is_none();
    let end_of = format!("CREATE TABLE app.end_{} (id INT PRIMARY KEY)", fastrand::u64(..));
    lab.sql(&[&end_of]).await;
    let is_end = |batch: &Batch| {
        anew(batch) || batch.statements.iter().any(|statement| statement.sql == end_of.as_bytes())
    };
    let batches = lab.read_from(end, is_end).await;
    publisher.stop().await;
    batches
}

fn is_copied_again(batches: &[Batch]) -> bool {
    batches.iter().any(|batch| !batch.items.is_empty())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("reads") {
        let entry = entry.expect("reads");
        let to = to.join(entry.file_name());
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to).expect("copied");
        }
    }
}

async fn rows(lab: &Lab, count: usize) {
    lab.sql(&vec![ROW; count]).await;
}

/// File numbers, sizes and GTIDs of the two lives agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_was_put_back_and_written_to_before_it_came_online_is_copied_again() {
    for flavour in Flavour::ALL {
        let (mut lab, _) = carried(flavour, &MySqlOptions::source()).await;
        lab.source.stop().expect("stops");
        let image = tempfile::tempdir().expect("a directory");
        copy(&lab.source.data_dir(), image.path());
        lab.source.restart().expect("starts");
        let publisher = lab.publish();
        rows(&lab, 20).await;
        lab.sql(&["USE app", "DROP TABLE last_one", "CREATE TABLE last_one (id INT PRIMARY KEY)"])
            .await;
        let first = lab.read_until(|batch| is_last(batch) && batch.header.end.file > 1).await;
        publisher.stop().await;
        lab.answer(first.last().map(applied));
        lab.source.stop().expect("stops");
        std::fs::remove_dir_all(lab.source.data_dir()).expect("removed");
        copy(image.path(), &lab.source.data_dir());
        lab.source.restart().expect("starts");
        rows(&lab, 20).await;
        lab.sql(&["USE app", "DROP TABLE last_one", "CREATE TABLE last_one (id INT PRIMARY KEY)"])
            .await;
        rows(&lab, 5).await;
        let batches = go_on(&lab).await;
        assert!(is_copied_again(&batches), "{flavour}");
        assert_equal(&lab, &model(&batches)).await;
    }
}

/// What the tables kept of the end of the log, the log does not tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_a_power_cut_took_the_end_of_is_noticed() {
    let without_gtids =
        ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"].map(str::to_owned).to_vec();
    for (flavour, arguments) in [
        (Flavour::MySql, Vec::new()),
        (Flavour::MySql, without_gtids),
        (Flavour::MariaDb, Vec::new()),
    ] {
        let has_gtids = arguments.is_empty();
        let mut options = MySqlOptions { arguments, ..MySqlOptions::source() };
        options.arguments.push("--sync-binlog=0".to_owned());
        let (mut lab, _) = carried(flavour, &options).await;
        rows(&lab, 10).await;
        let written = lab.source.log_bytes().expect("a log");
        rows(&lab, 10).await;
        lab.source.cut_power(written).expect("is cut");
        lab.source.restart().expect("starts");
        if has_gtids {
            let batches = go_on(&lab).await;
            assert!(is_copied_again(&batches), "{flavour}");
            assert_equal(&lab, &model(&batches)).await;
            // Once.
            let last = batches.last().expect("one");
            lab.answer(Some(applied(last)));
            let after = go_on_from(&lab, last.header.end).await;
            assert!(!is_copied_again(&after), "{flavour}");
        } else {
            // Only with GTIDs is a snapshot possible.
            let error = lab.publish().error().await.to_string();
            assert!(error.contains("GTID"), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_nothing_goes_on_without_a_snapshot() {
    for (flavour, sync, dies) in [
        (Flavour::MySql, "--sync-binlog=0", true),
        (Flavour::MariaDb, "--sync-binlog=1", true),
        (Flavour::MariaDb, "--sync-binlog=0", false),
    ] {
        let options = MySqlOptions::source().argument(sync);
        let (mut lab, _) = carried(flavour, &options).await;
        rows(&lab, 10).await;
        if dies {
            lab.source.kill();
        }
        lab.source.restart().expect("starts");
        rows(&lab, 10).await;
        // Rotated, without checksums, and with all files purged but the one that is read.
        lab.sql(&["SET GLOBAL binlog_checksum = 'NONE'"]).await;
        rows(&lab, 10).await;
        let batches = go_on(&lab).await;
        assert!(!is_copied_again(&batches), "{flavour} {sync}");
        assert_equal(&lab, &model(&batches)).await;
        lab.answer(batches.last().map(applied));
        lab.source.restart().expect("starts");
        lab.sql(&["SET GLOBAL binlog_checksum = 'CRC32'"]).await;
        let batches = go_on(&lab).await;
        assert!(!is_copied_again(&batches), "{flavour} {sync}");
        assert_equal(&lab, &model(&batches)).await;
    }
}

/// The copy goes on from a boundary between two files, of which the first is purged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_purged_up_to_the_end_of_the_copy_goes_on() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        prepare(&lab, 50).await;
        let publisher = lab.publish();
        lab.sql(&["FLUSH BINARY LOGS"]).await;
        let batches = lab.read_until(|batch| batch.header.end.file == 2).await;
        publisher.stop().await;
        let last = batches.last().expect("one");
        assert!(last.header.resume.anchor.is_some_and(|anchor| anchor.file == 1));
        lab.answer(Some(applied(last)));
        purge(&lab).await;
        rows(&lab, 3).await;
        let batches = go_on(&lab).await;
        assert!(!is_copied_again(&batches), "{flavour}");
        assert_equal(&lab, &model(&batches)).await;
    }
}

/// Compressed transactions are anchored by what stands in the file, encrypted ones by what the server sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_and_encrypted_logs_go_on_without_a_snapshot() {
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), format!("1;{}\n", "5b".repeat(16))).expect("written");
    let encrypted = [
        "--plugin-load-add=file_key_management".to_owned(),
        format!("--loose-file-key-management-filename={}", keys.path().display()),
        "--encrypt-binlog=ON".to_owned(),
    ];
    for (flavour, arguments) in [
        (Flavour::MySql, vec!["--binlog-transaction-compression=ON".to_owned()]),
        (Flavour::MariaDb, vec!["--log-bin-compress=1".to_owned()]),
        (Flavour::MariaDb, encrypted.to_vec()),
    ] {
        let options = MySqlOptions { arguments, ..MySqlOptions::source() };
        let (lab, _) = carried(flavour, &options).await;
        lab.sql(&[&format!("{SERIES} 400")]).await;
        let batches = go_on(&lab).await;
        lab.answer(batches.last().map(applied));
        lab.sql(&[&format!("{SERIES} 400")]).await;
        let batches = go_on(&lab).await;
        assert!(!is_copied_again(&batches), "{flavour}");
        assert_equal(&lab, &model(&batches)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lacks_the_end_of_the_copy_does_not_continue_it() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        prepare(&lab, 50).await;
        lab.sql(&["CREATE TABLE app.everything (id INT)"]).await;
        let options = MySqlOptions { server_id: 2, ..MySqlOptions::source() };
        let replica = MySqlServer::start(flavour, &options.argument("--log-slave-updates"));
        let replica = replica.expect("starts");
        replicate(&lab, &replica, flavour).await;
        let publisher = lab.publish();
        rows(&lab, 20).await;
        lab.sql(&["USE app", "CREATE TABLE last_one (id INT PRIMARY KEY)"]).await;
        let before = lab.read_until(is_last).await;
        publisher.stop().await;
        lab.answer(before.last().map(applied));
        let url = mysql_async::Opts::from_url(&replica.admin_url()).expect("a url");
        let mut conn = mysql_async::Conn::new(url).await.expect("connects");
        for _ in 0..60 {
            conn.query_drop(ROW).await.expect("writes");
        }
        let mut config = lab.config();
        config.source.port = replica.port();
        let publisher = lab.publish_with(config);
        let anew =
            |batch: &Batch| batch.header.end.epoch == 2 && batch.header.resume.snapshot.is_none();
        let batches = lab.read_until(anew).await;
        publisher.stop().await;
        let rows = "SELECT CONCAT(id, ',', v) FROM app.t ORDER BY 1";
        let held: Vec<String> = conn.query(rows).await.expect("selects");
        assert!(held == copied(&model(&batches), "app.t"), "{flavour}");
    }
}

/// A server that replicates and is written to has sequence numbers that go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_in_one_domain_are_carried_and_not_copied_again() {
    let (lab, _) = carried(Flavour::MariaDb, &MySqlOptions::source()).await;
    let opts = mysql_async::Opts::from_url(&lab.source.admin_url()).expect("a url");
    let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
    let mut both = async |from: u64| {
        for sequence in from..from + 10 {
            conn.query_drop(format!("SET server_id = 7, gtid_seq_no = {sequence}"))
                .await
                .expect("is set");
            conn.query_drop(ROW).await.expect("writes");
            conn.query_drop("SET server_id = 1").await.expect("is set");
            conn.query_drop(ROW).await.expect("writes");
        }
    };
    both(3).await;
    let batches = go_on(&lab).await;
    assert!(!is_copied_again(&batches));
    lab.answer(batches.last().map(applied));
    both(20).await;
    lab.sql(&["FLUSH BINARY LOGS"]).await;
    both(40).await;
    let batches = go_on(&lab).await;
    assert!(!is_copied_again(&batches));
    assert_equal(&lab, &model(&batches)).await;
}

/// Reading begins ahead of the copy's end there, at a place that the log still has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_cut_behind_a_prepared_transaction_is_noticed() {
    let mut lab = Lab::start(Flavour::MySql).await;
    prepare(&lab, 50).await;
    let publisher = lab.publish();
    let prepare = [
        "XA START 'x'",
        "INSERT INTO app.t (v) VALUES ('undecided')",
        "XA END 'x'",
        "XA PREPARE 'x'",
    ];
    lab.sql(&prepare).await;
    let written = lab.source.log_bytes().expect("a log");
    rows(&lab, 20).await;
    lab.sql(&["USE app", "CREATE TABLE last_one (id INT PRIMARY KEY)"]).await;
    let batches = lab.read_until(is_last).await;
    publisher.stop().await;
    let last = batches.last().expect("one");
    assert!(last.header.resume.position < last.header.end);
    lab.answer(Some(applied(last)));
    lab.source.cut_power(written).expect("is cut");
    lab.source.restart().expect("starts");
    let mut config = lab.config();
    config.snapshot.when_lost = tributary_publisher::config::WhenLost::Halt;
    let error = tokio::time::timeout(DEADLINE, lab.publish_with(config).error()).await;
    let error = error.expect("in time").to_string();
    assert!(error.contains("has only"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_in_no_log_is_copied_with_all_others() {
    for flavour in Flavour::ALL {
        let mut lab = Lab::start(flavour).await;
        prepare(&lab, 20).await;
        lab.sql(&[
            "RENAME TABLE app.t TO app.before",
            "SET sql_log_bin = 0",
            "CREATE TABLE app.t LIKE app.before",
            "INSERT INTO app.t SELECT * FROM app.before",
            "SET sql_log_bin = 1",
        ])
        .await;
        rows(&lab, 3).await;
        let publisher = lab.publish();
        let copied =
            |batch: &Batch| batch.header.resume.snapshot.is_none() && !batch.items.is_empty();
        let batches = lab.read_until(copied).await;
        publisher.stop().await;
        assert_equal(&lab, &model(&batches)).await;
        // No transaction was carried yet: one that was passed over, or the file's first event, stands for it.
        let last = batches.last().expect("one");
        assert!(last.header.resume.anchor.is_some(), "{flavour}");
        lab.answer(Some(applied(last)));
        lab.source.restart().expect("starts");
        let after = go_on_from(&lab, last.header.end).await;
        assert!(!is_copied_again(&after), "{flavour}");
    }
}
