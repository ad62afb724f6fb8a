//! What the tests share.

use anyhow::{Result, bail};
use mysql_async::prelude::Queryable;
use std::time::{Duration, Instant};
use tributary_testkit::Flavour;
use tributary_testkit::audit::Verdict;
use tributary_testkit::stack::{Device, Stack, StackOptions, Workload, built_binaries, connect};

pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// One device for each of `devices`, one shard for each of `shards`, fast heartbeats.
pub(crate) fn options(
    devices: &[Flavour],
    shards: &[Flavour],
    workers: usize,
) -> Result<StackOptions> {
    Ok(StackOptions {
        shards: shards.to_vec(),
        workers,
        heartbeat_seconds: 0.5,
        ..StackOptions::new(devices, built_binaries()?)
    })
}

/// A stack whose services are ready.
pub(crate) async fn start(options: &StackOptions) -> Result<Stack> {
    let mut stack = Stack::start(options)?;
    stack.ready(DEADLINE).await?;
    Ok(stack)
}

/// A workload on every device.
pub(crate) fn workloads(stack: &Stack, transactions_per_second: u32) -> Vec<Workload> {
    let devices = stack.devices.iter().zip(1..);
    devices
        .map(|(device, seed)| {
            Workload::start(&device.server.admin_url(), seed, transactions_per_second)
        })
        .collect()
}

/// Waits until every workload has committed so many rows more than when it was asked.
pub(crate) async fn progress(workloads: &[Workload], rows: u64) -> Result<()> {
    let goals: Vec<u64> = workloads.iter().map(|workload| workload.rows() + rows).collect();
    let until = Instant::now() + DEADLINE;
    while workloads.iter().zip(&goals).any(|(workload, goal)| workload.rows() < *goal) {
        if Instant::now() > until {
            bail!("a workload does not come to {rows} rows");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Ends the workloads, waits for the copies, compares them.
pub(crate) async fn all_equal(stack: &Stack, workloads: Vec<Workload>) -> Result<()> {
    for workload in workloads {
        workload.finish().await?;
    }
    stack.caught_up(DEADLINE).await?;
    for device in &stack.devices {
        let verdict = stack.verdict(device).await?;
        if !verdict.equal() {
            bail!("{}: {verdict}\n{:#?}", device.id, verdict.differences);
        }
        assert!(verdict.rows > 0, "nothing was compared");
    }
    Ok(())
}

/// Where random values come from: `TRIBUTARY_SEED`, or 1. It is printed, to be given again.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("TRIBUTARY_SEED").ok();
    let seed = given.map_or(1, |text| text.parse().expect("TRIBUTARY_SEED is a number"));
    println!("TRIBUTARY_SEED={seed}");
    seed
}

/// Waits until every copy is complete; ends early when a device is parked or a service has ended.
pub(crate) async fn arrived(stack: &mut Stack) -> Result<()> {
    let until = Instant::now() + DEADLINE;
    loop {
        for shard in &stack.shards {
            let mut conn = connect(&shard.server).await?;
            let sql = "SELECT CONCAT(device_id, ': ', parked_reason) FROM tributary.watermark \
                       WHERE parked_reason IS NOT NULL";
            // Not migrated yet is not parked.
            if let Some(parked) = conn.query_first::<String, _>(sql).await.unwrap_or_default() {
                bail!("parked: {parked}");
            }
        }
        for service in stack.services() {
            if !service.is_running() {
                bail!("{} has ended\n{}", service.name, service.log_tail(15));
            }
        }
        match stack.caught_up(Duration::from_millis(500)).await {
            Err(error) if Instant::now() > until => {
                let logs = stack.workers.iter().map(|worker| worker.log_tail(15));
                bail!("{error}\n{}", logs.collect::<String>());
            }
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
    }
}

/// Compares a device with its copy.
pub(crate) async fn equal(stack: &Stack, device: &Device) -> Result<Verdict> {
    let verdict = stack.verdict(device).await?;
    if !verdict.equal() {
        bail!("{}: {verdict}\n{:#?}", device.id, verdict.differences);
    }
    Ok(verdict)
}
