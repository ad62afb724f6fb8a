//! Thin links: slow, far away, and broken now and then.

use crate::lab::{DEADLINE, equal, options, seed, start};
use anyhow::Result;
use std::time::{Duration, Instant};
use tributary_testkit::Flavour::{MariaDb, MySql};
use tributary_testkit::stack::{Device, Stack, StackOptions};
use tributary_testkit::{Direction, Proxy};

const HALF_A_ROUND_TRIP: Duration = Duration::from_millis(300);

fn uplink(device: &Device) -> Result<&Proxy> {
    device.uplink.as_ref().ok_or_else(|| anyhow::anyhow!("no proxy"))
}

/// What a metric of a device's publisher says.
async fn metric(device: &Device, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let metrics = device.publisher.metrics().await?;
    let value = metrics.get(&format!("tributary_publisher_{name}"), labels);
    value.ok_or_else(|| anyhow::anyhow!("no metric {name}"))
}

/// The publisher knows that the stream holds everything.
async fn all_stored(device: &Device) -> Result<()> {
    let until = Instant::now() + DEADLINE;
    while metric(device, "batches_in_flight", &[]).await? > 0.0 {
        anyhow::ensure!(Instant::now() < until, "not acknowledged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn write(stack: &Stack) -> Result<()> {
    let mut blobs = vec![
        "CREATE DATABASE app".to_owned(),
        "CREATE TABLE app.blobs (id INT PRIMARY KEY AUTO_INCREMENT, v MEDIUMBLOB)".to_owned(),
    ];
    let mut random = fastrand::Rng::with_seed(seed());
    for _ in 0..25 {
        // What does not compress.
        let hex: String = (0..100_000).map(|_| format!("{:02x}", random.u8(..))).collect();
        blobs.push(format!("INSERT INTO app.blobs (v) VALUES (x'{hex}')"));
    }
    let blobs: Vec<&str> = blobs.iter().map(String::as_str).collect();
    stack.devices[0].sql(&blobs).await?;
    stack.devices[1]
        .sql(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.readings (id INT PRIMARY KEY AUTO_INCREMENT, v JSON)",
            "INSERT INTO app.readings (v) SELECT JSON_OBJECT('sensor', seq % 50, 'value', RAND(seq), 'unit', 'celsius') \
             FROM app.seq_1_to_6000",
        ])
        .await
}

/// A device without a database yet has lost nothing, and is not told that it has.
async fn nothing_is_missing_of_an_empty_log(stack: &Stack) -> Result<()> {
    let until = Instant::now() + DEADLINE;
    loop {
        let answered = stack.workers[0].metrics().await?;
        let answered = answered.get("tributary_heartbeats_answered_total", &[]).unwrap_or_default();
        if answered >= 16.0 {
            break;
        }
        anyhow::ensure!(Instant::now() < until, "heartbeats are not answered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for device in &stack.devices {
        assert!(metric(device, "rewinds_total", &[]).await? < 0.5, "{}", device.id);
        let log = device.publisher.log_tail(1000);
        assert!(!log.contains("WARN"), "{log}");
    }
    Ok(())
}

/// A batch takes either link longer than the configured time-out of two seconds.
#[tokio::test]
async fn what_a_thin_link_carries_slowly_is_sent_once_and_arrives() -> Result<()> {
    let settings =
        StackOptions { uplinks: true, ..options(&[MySql, MariaDb], &[MySql, MariaDb], 1)? };
    let stack = start(&settings).await?;
    nothing_is_missing_of_an_empty_log(&stack).await?;
    let (blobs, readings) = (uplink(&stack.devices[0])?, uplink(&stack.devices[1])?);
    blobs.limit(Direction::ToServer, 100_000);
    readings.limit(Direction::ToServer, 8_000);
    for direction in [Direction::ToServer, Direction::ToClient] {
        readings.delay(direction, HALF_A_ROUND_TRIP);
    }
    write(&stack).await?;
    stack.caught_up(DEADLINE).await?;
    for device in &stack.devices {
        let verdict = equal(&stack, device).await?;
        assert!(verdict.rows > 0);
        all_stored(device).await?;
        for why in ["connection", "refusal", "timeout"] {
            let times = metric(device, "resends_total", &[("why", why)]).await?;
            assert!(times < 0.5, "{}: sent again after a {why}", device.id);
        }
        let sent = metric(device, "bytes_sent_total", &[]).await?;
        let stored = metric(device, "bytes_published_total", &[]).await?;
        assert!((sent - stored).abs() < 0.5, "{}: {sent} bytes sent for {stored}", device.id);
        assert!(metric(device, "rewinds_total", &[]).await? < 0.5, "{}", device.id);
    }
    Ok(())
}
