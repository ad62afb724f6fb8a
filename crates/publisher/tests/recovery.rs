//! Whatever is lost on the way, the chain goes on without a gap.

use crate::harness::{Lab, applied, changes, is_done, tally};
use tributary_runtime::Secret;
use tributary_testkit::Flavour;
use tributary_wire::{Directive, HeartbeatReply};

const ROWS: &str =
    "INSERT INTO app.t (v) SELECT LEFT(UUID(), 20) FROM information_schema.columns LIMIT 500";

async fn prepare(lab: &Lab) {
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20))",
        ROWS,
    ])
    .await;
}

async fn finish(lab: &Lab) {
    lab.sql(&[ROWS, "USE app", "CREATE TABLE done (id INT)"]).await;
}

fn assert_each_row_once(got: &[String], rows: usize) {
    let inserted = got.iter().filter(|change| change.starts_with("app.t + ")).count();
    assert_eq!(inserted, rows);
    assert!(tally(got).values().all(|count| *count == 1), "a change came twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_publisher_goes_on_at_its_checkpoint_while_the_cloud_is_silent() {
    let lab = Lab::start(Flavour::MySql).await;
    prepare(&lab).await;
    let first = lab.publish();
    lab.asked(|question| question.published.is_some_and(|p| p.offset > 1000)).await;
    first.stop().await;
    lab.answer(None);
    finish(&lab).await;
    let second = lab.publish();
    assert_each_row_once(&changes(&lab.read_until(is_done).await), 1000);
    second.stop().await;
}

async fn a_publisher_without_its_checkpoint_goes_on_inside_a_transaction(flavour: Flavour) {
    let mut lab = Lab::start(flavour).await;
    lab.batch_bytes = 16 << 10;
    prepare(&lab).await;
    lab.sql(&[
        "INSERT INTO app.t (v) SELECT LEFT(UUID(), 20) FROM information_schema.columns LIMIT 2000",
    ])
    .await;
    let first = lab.publish();
    let batches = lab.read_until(|batch| !batch.header.end.is_boundary()).await;
    first.abort().await;
    std::fs::remove_file(lab.state.path().join("DEVICE_001.checkpoint.json")).unwrap_or_default();
    // The target has committed a batch that ends inside the large transaction.
    lab.answer(batches.last().map(applied));
    finish(&lab).await;
    let second = lab.publish();
    assert_each_row_once(&changes(&lab.read_until(is_done).await), 3000);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mysql_a_publisher_without_its_checkpoint_goes_on_inside_a_transaction() {
    a_publisher_without_its_checkpoint_goes_on_inside_a_transaction(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_a_publisher_without_its_checkpoint_goes_on_inside_a_transaction() {
    a_publisher_without_its_checkpoint_goes_on_inside_a_transaction(Flavour::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_that_lost_everything_is_filled_again_from_the_watermark() {
    let mut lab = Lab::start(Flavour::MySql).await;
    prepare(&lab).await;
    let publisher = lab.publish();
    let batches = lab.read_until(|batch| batch.header.end.offset > 1000).await;
    // The target applied the first batch; then the stream loses all.
    let watermark = applied(&batches[0]);
    lab.answer(Some(watermark.clone()));
    lab.nats.kill();
    lab.nats.wipe().expect("wiped");
    lab.nats.restart().expect("restarts");
    lab.open_cloud().await;
    let question = lab.asked(|question| question.published.is_some()).await;
    let rewind = Directive::Rewind { run: question.run };
    lab.answer(Some(HeartbeatReply { directive: Some(rewind), ..watermark.clone() }));
    lab.asked(|next| next.run != question.run).await;
    lab.answer(Some(watermark));
    finish(&lab).await;
    let again = lab.read_from(batches[0].header.end, is_done).await;
    assert_eq!(again[0].header.prev, batches[0].header.end);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewind_meant_for_an_earlier_run_is_ignored() {
    let lab = Lab::start(Flavour::MySql).await;
    prepare(&lab).await;
    let publisher = lab.publish();
    let question = lab.asked(|question| question.published.is_some_and(|p| p.offset > 1000)).await;
    let stale = Directive::Rewind { run: question.run.wrapping_add(1) };
    lab.answer(Some(HeartbeatReply { applied: None, directive: Some(stale) }));
    finish(&lab).await;
    lab.read_until(is_done).await;
    let later = lab.asked(|next| next.published > question.published).await;
    assert_eq!(later.run, question.run);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_servers_on_either_side_leave_no_gap() {
    let mut lab = Lab::start(Flavour::MySql).await;
    prepare(&lab).await;
    let publisher = lab.publish();
    lab.asked(|question| question.published.is_some_and(|p| p.offset > 1000)).await;
    lab.nats.kill();
    lab.sql(&[ROWS]).await;
    lab.nats.restart().expect("restarts");
    lab.open_cloud().await;
    lab.sql(&[ROWS]).await;
    lab.source.kill();
    lab.source.restart().expect("restarts");
    finish(&lab).await;
    assert_each_row_once(&changes(&lab.read_until(is_done).await), 2000);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_cannot_be_written_stops_nothing() {
    let lab = Lab::start(Flavour::MySql).await;
    // A directory in the place of the file is to every write what a full disk is.
    std::fs::create_dir(lab.state.path().join("DEVICE_001.checkpoint.json.next")).expect("made");
    prepare(&lab).await;
    let publisher = lab.publish();
    finish(&lab).await;
    assert_each_row_once(&changes(&lab.read_until(is_done).await), 1000);
    publisher.stop().await;
    assert!(!lab.state.path().join("DEVICE_001.checkpoint.json").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_device_moves_its_watermark_over_a_rotated_log() {
    let lab = Lab::start(Flavour::MySql).await;
    prepare(&lab).await;
    let publisher = lab.publish();
    lab.asked(|question| question.published.is_some_and(|p| p.offset > 1000)).await;
    lab.sql(&["FLUSH BINARY LOGS", "FLUSH BINARY LOGS"]).await;
    lab.asked(|question| question.published.is_some_and(|p| p.file == 3)).await;
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grants_that_the_preflight_asks_for_are_enough() {
    for (flavour, monitor) in
        [(Flavour::MySql, "REPLICATION CLIENT"), (Flavour::MariaDb, "BINLOG MONITOR")]
    {
        let lab = Lab::start(flavour).await;
        lab.sql(&[
            "CREATE USER least@'%' IDENTIFIED BY 'least'",
            &format!("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, REPLICATION SLAVE, {monitor} ON *.* TO least@'%'"),
        ])
        .await;
        prepare(&lab).await;
        let mut config = lab.config();
        config.source.user = "least".to_owned();
        config.source.password = Secret::new("least");
        let publisher = lab.publish_with(config);
        finish(&lab).await;
        assert_each_row_once(&changes(&lab.read_until(is_done).await), 1000);
        publisher.stop().await;
    }
}
