//! One device's trouble is its own.

use crate::lab::{DEADLINE, all_equal, options, progress, start, workloads};
use anyhow::Result;
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use std::time::{Duration, Instant};
use tributary_testkit::Flavour::{MariaDb, MySql};
use tributary_testkit::stack::{Stack, WORKER_PASSWORD, WORKER_USER, connect};
use tributary_wire::HeartbeatRequest;

/// What befalls a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Killed,
    ReadOnly,
}

async fn set_read_only(stack: &Stack, to: &str) -> Result<()> {
    let mut shard = connect(&stack.shards[0].server).await?;
    // Plain `read_only` does not stop an account with every privilege.
    Ok(shard.query_drop(format!("SET GLOBAL super_read_only={to}")).await?)
}

#[tokio::test]
async fn a_shard_that_is_down_does_not_hold_up_the_devices_of_another() -> Result<()> {
    a_shard_does_not_hold_up_the_devices_of_another(Outage::Killed).await
}

#[tokio::test]
async fn a_shard_that_is_read_only_does_not_hold_up_the_devices_of_another() -> Result<()> {
    a_shard_does_not_hold_up_the_devices_of_another(Outage::ReadOnly).await
}

async fn a_shard_does_not_hold_up_the_devices_of_another(outage: Outage) -> Result<()> {
    let mut stack = start(&options(&[MySql, MySql], &[MySql, MySql], 1)?).await?;
    let mut running = workloads(&stack, 100);
    progress(&running, 500).await?;
    match outage {
        Outage::Killed => stack.shards[0].server.kill(),
        Outage::ReadOnly => set_read_only(&stack, "ON").await?,
    }
    progress(&running, 500).await?;
    // DEVICE_002 lives on the shard that is up: it is caught up while the other shard is down.
    running.pop().expect("two").finish().await?;
    let head = stack.devices[1].head().await?;
    let mut on_shard = connect(&stack.shards[1].server).await?;
    let until = Instant::now() + DEADLINE;
    loop {
        let sql = "SELECT file, `offset` FROM tributary.watermark WHERE device_id = 'DEVICE_002'";
        let applied: Option<(u32, u64)> = on_shard.query_first(sql).await?;
        if applied.is_some_and(|applied| applied >= head) {
            break;
        }
        anyhow::ensure!(
            Instant::now() < until,
            "DEVICE_002 waits for a shard that is not its own: {applied:?} of {head:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    match outage {
        Outage::Killed => stack.shards[0].server.restart()?,
        Outage::ReadOnly => set_read_only(&stack, "OFF").await?,
    }
    all_equal(&stack, running).await
}

#[tokio::test]
async fn a_devices_credentials_can_do_nothing_to_another_device() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stack = start(&options(&[MySql, MySql], &[MySql], 1)?).await?;
    let (refusals, mut refused) = tokio::sync::mpsc::unbounded_channel();
    let client = async_nats::ConnectOptions::new()
        .user_and_password("DEVICE_001".into(), "DEVICE_001-password".into())
        .custom_inbox_prefix("_INBOX_DEVICE_001")
        .event_callback(move |event| {
            let _ = refusals.send(event.to_string());
            std::future::ready(())
        })
        .connect(stack.nats.url())
        .await?;
    for subject in [
        "device.DEVICE_002.changes",
        "device.DEVICE_002.heartbeat",
        "$JS.API.STREAM.DELETE.CHANGES",
    ] {
        client.publish(subject, "x".into()).await?;
        client.flush().await?;
        refusal(&mut refused, subject).await?;
    }
    for subject in ["_INBOX_DEVICE_002.>", "device.*.changes", "changes.>", ">"] {
        let mut stolen = client.subscribe(subject).await?;
        client.flush().await?;
        refusal(&mut refused, subject).await?;
        assert!(tokio::time::timeout(Duration::from_millis(100), stolen.next()).await.is_err());
    }
    let running = workloads(&stack, 100);
    progress(&running, 200).await?;
    forge(&stack, &client).await?;
    flood(&stack, &client).await?;
    progress(&running, 200).await?;
    all_equal(&stack, running).await?;
    let worker = stack.workers[0].metrics().await?;
    assert_eq!(worker.get("tributary_partitions_owned", &[]), Some(64.0));
    assert_eq!(worker.get("tributary_parked_devices", &[]), Some(0.0));
    let log = stack.workers[0].log_tail(100_000);
    let complaints =
        log.lines().filter(|line| line.contains("heartbeats are not answered")).count();
    assert!((1..4).contains(&complaints), "{complaints} complaints");
    Ok(())
}

/// The answers to what a device publishes as itself are wanted where it may not publish.
async fn forge(stack: &Stack, client: &async_nats::Client) -> Result<()> {
    let worker = async_nats::ConnectOptions::new()
        .user_and_password(WORKER_USER.into(), WORKER_PASSWORD.into())
        .connect(stack.nats.url())
        .await?;
    let mut stream = async_nats::jetstream::new(worker).get_stream("CHANGES").await?;
    let before = stream.info().await?.state.messages;
    for nth in 0..50 {
        for reply in [
            "device.DEVICE_002.changes".to_owned(),
            format!("$KV.tributary_workers.worker.ghost{nth}"),
            format!("$KV.tributary_leases.partition.{nth}"),
            "$KV.tributary_leases.shard.ghost".to_owned(),
        ] {
            client
                .publish_with_reply("device.DEVICE_001.changes", reply, "no batch".into())
                .await?;
        }
        for reply in [
            "$JS.API.STREAM.PURGE.CHANGES",
            "$JS.API.STREAM.PURGE.KV_tributary_leases",
            "device.DEVICE_002.changes",
        ] {
            let subject = "device.DEVICE_001.heartbeat";
            client.publish_with_reply(subject, reply, request().into()).await?;
        }
    }
    client.flush().await?;
    let until = Instant::now() + DEADLINE;
    while stream.info().await?.state.messages < before + 200 {
        anyhow::ensure!(Instant::now() < until, "what the device published is not stored");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// More heartbeats of the first device than anybody could answer.
async fn flood(stack: &Stack, client: &async_nats::Client) -> Result<()> {
    for nth in 0..30_000 {
        let (subject, inbox) = ("device.DEVICE_001.heartbeat", "_INBOX_DEVICE_001.flood");
        client.publish_with_reply(subject, inbox, request().into()).await?;
        if nth % 1000 == 0 {
            client.flush().await?;
        }
    }
    client.flush().await?;
    let until = Instant::now() + DEADLINE;
    loop {
        let metrics = stack.workers[0].metrics().await?;
        let refused = metrics.get("tributary_heartbeats_refused_total", &[]);
        if refused.is_some_and(|refused| refused > 20_000.0) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until, "{refused:?} were refused");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A heartbeat of the first device.
fn request() -> Vec<u8> {
    let device = "DEVICE_001".parse().expect("valid");
    let request = HeartbeatRequest {
        device,
        run: 1,
        source: "another server".into(),
        published: None,
        head: None,
        version: "hostile".into(),
        retention: None,
        snapshot: None,
    };
    request.encode()
}

async fn refusal(
    events: &mut tokio::sync::mpsc::UnboundedReceiver<String>,
    subject: &str,
) -> Result<()> {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv()).await?;
        let event = event.unwrap_or_default();
        if event.to_lowercase().contains("permissions violation") && event.contains(subject) {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn two_publishers_of_one_device_do_not_corrupt_its_copy() -> Result<()> {
    let stack = start(&options(&[MySql], &[MySql], 1)?).await?;
    let original = &stack.devices[0].publisher;
    // The same identity on the same log, with a state directory and a port of its own.
    let text = std::fs::read_to_string(original.config())?;
    let clone_directory = stack.directory().join("clone");
    std::fs::create_dir(&clone_directory)?;
    let text = text.replace(
        &format!("dir = \"{}\"", stack.directory().display()),
        &format!("dir = \"{}\"", clone_directory.display()),
    );
    let (before, _) = text.split_once("[admin]").expect("an admin section");
    let config = clone_directory.join("clone.toml");
    std::fs::write(
        &config,
        format!("{before}[admin]\nlisten = \"127.0.0.1:0\"\n")
            .replace("[source]", "[source]\nserver_id = 4242"),
    )?;
    let mut clone = tributary_testkit::GuardedCommand::new(original.program())
        .args(["--config".as_ref(), config.as_os_str()])
        .log_to(clone_directory.join("clone.log"))
        .spawn()?;
    let running = workloads(&stack, 100);
    progress(&running, 1500).await?;
    assert!(
        clone.ended().is_none(),
        "the clone ended: {}",
        std::fs::read_to_string(clone_directory.join("clone.log"))?
    );
    all_equal(&stack, running).await
}

/// Released as it is: the table keeps its engine.
#[tokio::test]
async fn a_device_parked_inside_a_batch_goes_on_when_its_remedy_is_followed() -> Result<()> {
    let mut stack = start(&options(&[MariaDb], &[MariaDb], 1)?).await?;
    // Everything is in the log before it is read, so that it comes in few batches.
    stack.devices[0].publisher.kill();
    stack.devices[0]
        .sql(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.k (id INT PRIMARY KEY)",
            "INSERT INTO app.k VALUES (1), (2)",
            // Without a key it would have to be InnoDB, which does not count within another column.
            "CREATE TABLE app.of_k (k INT, id INT NOT NULL AUTO_INCREMENT, KEY (k, id)) ENGINE=MyISAM",
            "INSERT INTO app.of_k VALUES (1, 1), (2, 2)",
            "CREATE TABLE app.later (id INT PRIMARY KEY)",
            "INSERT INTO app.later VALUES (1)",
        ])
        .await?;
    stack.devices[0].publisher.start()?;
    let mut shard = connect(&stack.shards[0].server).await?;
    let until = Instant::now() + DEADLINE;
    let reason = loop {
        let sql = "SELECT parked_reason FROM tributary.watermark WHERE parked_reason IS NOT NULL";
        let reason: Option<String> = shard.query_first(sql).await?;
        if let Some(reason) = reason {
            break reason;
        }
        anyhow::ensure!(Instant::now() < until, "the device is not parked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(reason.contains("of_k") && reason.contains("InnoDB"), "{reason}");
    let worker = &stack.workers[0];
    let mut release = tributary_testkit::GuardedCommand::new(worker.program())
        .args([
            "release".as_ref(),
            "DEVICE_001".as_ref(),
            "--config".as_ref(),
            worker.config().as_os_str(),
        ])
        .log_to(stack.directory().join("release.log"))
        .spawn()?;
    assert!(release.wait(DEADLINE).is_some_and(|status| status.success()));
    all_equal(&stack, vec![]).await
}
