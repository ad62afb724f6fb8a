//! Power cuts: a device's server dies while it is written to, and the end of its log is gone.

use super::kinds::Kinds;
use super::writer;
use crate::lab::{DEADLINE, arrived};
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tributary_testkit::audit;
use tributary_testkit::stack::Stack;

const TRANSACTIONS: u64 = 60;
/// Transactions after the power is back.
const TRANSACTIONS_AFTER: u64 = 10;
/// So much of the log is lost at most; of a file that is that small, half.
const LOST_BYTES_MAX: u64 = 8 << 10;

/// One power cut on one device. Half of the time its publisher is away meanwhile, so that the log loses what
/// was never published.
pub(super) async fn cut(stack: &mut Stack, seed: u64) -> Result<String> {
    let mut random = Rng::with_seed(seed ^ 0x706f_7765_7200);
    let nth = usize::from(seed % 2 == 1);
    let database = format!("power_{seed}");
    let url = stack.devices[nth].server.admin_url();
    let flavour = stack.devices[nth].server.flavour();
    // No other kinds: tables without transactions do not live through it either.
    let kinds = Arc::new(Kinds::new(&[], flavour, &mut random));
    writer::create(&url, &database, &mut random, &kinds).await?;
    let offline = random.bool();
    if offline {
        arrived(stack).await?;
        stack.devices[nth].publisher.kill();
    }
    let progress: Arc<super::Progress> = Arc::default();
    let write = |random, transactions, progress| {
        let (url, database, kinds) = (url.clone(), database.clone(), Arc::clone(&kinds));
        writer::write(url, database, random, transactions, progress, kinds)
    };
    let writing = write(random.fork(), TRANSACTIONS, Arc::clone(&progress));
    let writing = tokio::spawn(writing);
    let moment = random.u64(1..TRANSACTIONS);
    while progress.done.load(Ordering::Relaxed) < moment && !writing.is_finished() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let server = &mut stack.devices[nth].server;
    let bytes = server.log_bytes()?;
    let lost = random.u64(..=LOST_BYTES_MAX.min(bytes / 2));
    server.cut_power(bytes - lost)?;
    // It ends with its connection, if it had not ended.
    let _ = writing.await;
    server.restart()?;
    if offline {
        stack.devices[nth].publisher.start()?;
    }
    stack.ready(DEADLINE).await?;
    write(random, TRANSACTIONS_AFTER, progress).await?;
    arrived(stack).await?;
    let device = &stack.devices[nth];
    let (shard, _) = stack.watermark(&device.id).await?.context("the device is on no shard")?;
    let target = stack.shards[shard].server.admin_url();
    let map = |database: &str| format!("{}__{database}", device.id);
    let verdict = audit::compare(&url, &target, Some(&[&database]), map).await?;
    ensure!(verdict.equal(), "{verdict}\n{:#?}", verdict.differences);
    device.sql(&[&format!("DROP DATABASE {database}")]).await?;
    Ok(format!("power cut after {moment} transactions, {lost} bytes lost, offline: {offline}"))
}
