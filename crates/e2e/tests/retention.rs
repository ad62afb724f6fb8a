//! A source that is about to purge what is not backed up is told of: on the device while NATS is away, and
//! in the cloud while the device is parked.

use crate::lab::{DEADLINE, options, start};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};
use tributary_testkit::Flavour;
use tributary_testkit::stack::{Service, Stack};

async fn one_device(flavour: Flavour) -> Result<Stack> {
    let mut options = options(&[flavour], &[flavour], 1)?;
    options.publisher_sections = "[retention]\ninterval_seconds = 0.2".to_owned();
    start(&options).await
}

/// Waits until the metric is as wanted.
async fn until(service: &Service, metric: &str, wanted: impl Fn(f64) -> bool) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let value = service.metrics().await?.get(metric, &[]);
        if value.is_some_and(&wanted) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{metric} stays at {value:?}\n{}", service.log_tail(15));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const USED: &str = "tributary_publisher_retention_used_ratio";

#[tokio::test]
async fn a_publisher_without_nats_warns_before_its_log_is_purged() -> Result<()> {
    for flavour in Flavour::ALL {
        let mut stack = one_device(flavour).await?;
        let publisher = |stack: &Stack| stack.devices[0].publisher.log_tail(1000);
        stack.devices[0].sql(&["CREATE DATABASE app"]).await?;
        stack.caught_up(DEADLINE).await?;
        until(&stack.devices[0].publisher, USED, |used| used == 0.0).await?;
        stack.devices[0].sql(&["SET GLOBAL binlog_expire_logs_seconds=4"]).await?;
        until(&stack.devices[0].publisher, "tributary_publisher_retention_seconds", |s| s == 4.0)
            .await?;
        until(&stack.devices[0].publisher, USED, |used| used == 0.0).await?;
        assert!(!publisher(&stack).contains("retention"), "{}", publisher(&stack));
        stack.nats.kill();
        stack.devices[0].sql(&["CREATE TABLE app.t (id INT PRIMARY KEY)"]).await?;
        until(&stack.devices[0].publisher, USED, |used| used > 1.0).await?;
        let log = publisher(&stack);
        for said in [
            "uses up the binary log's retention",
            "about to purge",
            "binlog_expire_logs_seconds = 8",
        ] {
            assert!(log.contains(said), "{said} is missing in\n{log}");
        }
        stack.nats.restart()?;
        until(&stack.devices[0].publisher, USED, |used| used == 0.0).await?;
        assert!(publisher(&stack).contains("less than half"), "{}", publisher(&stack));
    }
    Ok(())
}

#[tokio::test]
async fn the_cloud_is_told_of_a_parked_device_whose_log_runs_out() -> Result<()> {
    const AT_RISK: &str = "tributary_devices_at_risk";
    let stack = one_device(Flavour::MariaDb).await?;
    stack.devices[0].sql(&["CREATE DATABASE app"]).await?;
    stack.caught_up(DEADLINE).await?;
    until(&stack.workers[0], AT_RISK, |devices| devices == 0.0).await?;
    stack.devices[0]
        .sql(&[
            "CREATE SEQUENCE app.s",
            "SET GLOBAL binlog_expire_logs_seconds=4",
            "CREATE TABLE app.t (id INT PRIMARY KEY)",
        ])
        .await?;
    let parked = "tributary_parked_devices";
    until(&stack.workers[0], parked, |devices| devices == 1.0).await?;
    stack.devices[0].sql(&["INSERT INTO app.t VALUES (1)"]).await?;
    until(&stack.workers[0], AT_RISK, |devices| devices == 1.0).await?;
    let log = stack.workers[0].log_tail(1000);
    assert!(log.contains("will soon purge") && log.contains("DEVICE_001"), "{log}");
    Ok(())
}
