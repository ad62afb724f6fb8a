//! What the tests share.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};
use tributary_testkit::Flavour;
use tributary_testkit::stack::{Stack, StackOptions, Workload, built_binaries};

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
