//! A cloud that applies nothing does not get all of the log.

use crate::harness::{DEADLINE, Lab, applied, changes, is_done};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tributary_testkit::Flavour;

/// A megabyte and a half that does not compress.
const ROWS: &str =
    "INSERT INTO app.t (v) SELECT RANDOM_BYTES(1000) FROM information_schema.columns LIMIT 1500";
const CREDIT: u64 = 1 << 20;
const BATCH: usize = 64 << 10;

async fn stored(lab: &Lab) -> u64 {
    let client = async_nats::connect(lab.nats.url()).await.expect("connects");
    let context = async_nats::jetstream::new(client);
    let mut stream = context.get_stream("CHANGES").await.expect("stream");
    stream.info().await.expect("info").state.bytes
}

async fn stored_at_least(lab: &Lab, bytes: u64) {
    let until = Instant::now() + DEADLINE;
    while stored(lab).await < bytes {
        assert!(Instant::now() < until, "{} of {bytes} bytes are stored", stored(lab).await);
        sleep(Duration::from_millis(50)).await;
    }
}

/// As many heartbeats as a publisher that did not wait would need for the rest many times over.
async fn ten_heartbeats(lab: &Lab) {
    let goal = lab.questions.load(Ordering::Relaxed) + 10;
    let until = Instant::now() + DEADLINE;
    while lab.questions.load(Ordering::Relaxed) < goal {
        assert!(Instant::now() < until, "no heartbeats");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn publishing_waits_for_the_cloud_to_apply(flavour: Flavour) {
    let mut lab = Lab::start(flavour).await;
    lab.batch_bytes = BATCH;
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARBINARY(1000))",
        ROWS,
        ROWS,
        ROWS,
    ])
    .await;
    let mut config = lab.config();
    config.publish.credit_mib = 1;
    let publisher = lab.publish_with(config);
    stored_at_least(&lab, CREDIT).await;
    // What passes the limit is one batch, and what JetStream needs beside the messages.
    let most = CREDIT + 3 * BATCH as u64;
    ten_heartbeats(&lab).await;
    assert!(stored(&lab).await < most, "{flavour}: {}", stored(&lab).await);
    // A cloud that does not answer does not get more either.
    lab.answer(None);
    ten_heartbeats(&lab).await;
    assert!(stored(&lab).await < most, "{flavour}: {}", stored(&lab).await);
    lab.sql(&["USE app", "CREATE TABLE done (id INT)"]).await;
    let all = loop {
        let bytes = stored(&lab).await;
        let published = lab.asked(|question| question.published.is_some()).await.published;
        let batches = lab.read_until(|batch| Some(batch.header.end) >= published).await;
        lab.answer(batches.last().map(applied));
        if batches.last().is_some_and(is_done) {
            break batches;
        }
        assert!(bytes <= 10 * CREDIT, "it ends");
        sleep(Duration::from_millis(50)).await;
    };
    let rows = changes(&all).iter().filter(|change| change.starts_with("app.t + ")).count();
    assert_eq!(rows, 4500, "{flavour}");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mysql_publishing_waits_for_the_cloud_to_apply() {
    publishing_waits_for_the_cloud_to_apply(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_publishing_waits_for_the_cloud_to_apply() {
    publishing_waits_for_the_cloud_to_apply(Flavour::MariaDb).await;
}
