//! SIGKILL for everything, one after another and under load.

use crate::lab::{DEADLINE, all_equal, options, progress, start, workloads};
use anyhow::Result;
use tributary_testkit::Flavour::{MariaDb, MySql};

#[tokio::test]
async fn a_killed_worker_loses_nothing_and_the_other_takes_over() -> Result<()> {
    let mut stack = start(&options(&[MySql, MariaDb], &[MySql, MariaDb], 2)?).await?;
    let running = workloads(&stack, 100);
    progress(&running, 500).await?;
    stack.workers[0].kill();
    progress(&running, 500).await?;
    // The survivor alone brings everything home.
    all_equal(&stack, running).await?;
    stack.workers[0].start()?;
    stack.workers[1].kill();
    let running = vec![];
    stack.devices[0]
        .sql(&["CREATE TABLE app.after (id INT PRIMARY KEY)", "INSERT INTO app.after VALUES (1)"])
        .await?;
    all_equal(&stack, running).await
}

#[tokio::test]
async fn a_killed_publisher_goes_on_where_it_was() -> Result<()> {
    let mut stack = start(&options(&[MySql, MariaDb], &[MySql], 1)?).await?;
    let running = workloads(&stack, 100);
    for _ in 0..3 {
        progress(&running, 300).await?;
        for device in &mut stack.devices {
            device.publisher.kill();
            device.publisher.start()?;
        }
    }
    all_equal(&stack, running).await
}

#[tokio::test]
async fn a_killed_nats_server_heals() -> Result<()> {
    let mut stack = start(&options(&[MySql], &[MariaDb], 2)?).await?;
    let running = workloads(&stack, 100);
    for _ in 0..2 {
        progress(&running, 500).await?;
        stack.nats.kill();
        progress(&running, 200).await?;
        stack.nats.restart()?;
    }
    progress(&running, 500).await?;
    all_equal(&stack, running).await
}

#[tokio::test]
async fn a_nats_server_that_loses_everything_it_stored_heals() -> Result<()> {
    let mut stack = start(&options(&[MySql], &[MySql], 1)?).await?;
    let running = workloads(&stack, 100);
    progress(&running, 500).await?;
    // The worker is away, so that the stream holds what no target has.
    stack.workers[0].kill();
    progress(&running, 500).await?;
    stack.nats.kill();
    stack.nats.wipe()?;
    stack.nats.restart()?;
    stack.workers[0].start()?;
    progress(&running, 500).await?;
    all_equal(&stack, running).await
}

#[tokio::test]
async fn what_an_idle_device_had_published_before_the_loss_is_published_again() -> Result<()> {
    let mut stack = start(&options(&[MySql], &[MySql], 1)?).await?;
    stack.devices[0]
        .sql(&["CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY)"])
        .await?;
    stack.caught_up(DEADLINE).await?;
    stack.workers[0].kill();
    stack.devices[0].sql(&["INSERT INTO app.t VALUES (1),(2),(3)"]).await?;
    let head = stack.devices[0].head().await?;
    published(&stack, head.1).await?;
    stack.nats.kill();
    stack.nats.wipe()?;
    stack.nats.restart()?;
    stack.workers[0].start()?;
    // Nothing more is written: only the heartbeat can tell.
    all_equal(&stack, vec![]).await
}

#[tokio::test]
async fn a_killed_device_server_and_a_killed_shard_come_back_equal() -> Result<()> {
    let mut stack = start(&options(&[MySql], &[MySql], 1)?).await?;
    let running = workloads(&stack, 100);
    progress(&running, 1000).await?;
    stack.shards[0].server.kill();
    progress(&running, 300).await?;
    stack.shards[0].server.restart()?;
    for workload in running {
        workload.finish().await?;
    }
    stack.devices[0].server.kill();
    stack.devices[0].server.restart()?;
    stack.devices[0].sql(&["INSERT INTO app.journal VALUES (NOW(6), 'after the crash')"]).await?;
    all_equal(&stack, vec![]).await
}

/// Waits until the publisher says that the stream holds everything up to `offset`.
async fn published(stack: &tributary_testkit::stack::Stack, offset: u64) -> Result<()> {
    let until = std::time::Instant::now() + DEADLINE;
    loop {
        let metrics = stack.devices[0].publisher.metrics().await?;
        let stage = [("stage", "published")];
        let at = metrics.get("tributary_publisher_position_offset_bytes", &stage);
        #[allow(clippy::cast_precision_loss, reason = "small offsets")]
        if at.is_some_and(|at| at >= offset as f64) {
            return Ok(());
        }
        anyhow::ensure!(std::time::Instant::now() < until, "published only up to {at:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
