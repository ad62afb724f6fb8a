//! Random life on devices, with random deaths: whatever happened, the copies end equal.
//!
//! Each seed has a database of its own on one of two devices (MySQL and MariaDB by turns), which are
//! shared by all seeds, as are NATS, two workers and two shards: starting them is what takes long. Three
//! writers and one who alters the tables run at once while processes get SIGKILL; beside them the
//! workload of the demo runs on each device. A seed gives the same statements and the same deaths again;
//! how they interleave is up to the servers.
//!
//! The devices hold data, and no log of it, when they first connect. A part of the seeds ([`Start`])
//! begins like that again, and a part of the deaths takes the log away: then everything is copied anew
//! while it is written to, altered and killed.
//!
//! At the end each seed cuts a device's power, and its log ([`power`]).
//!
//! `TRIBUTARY_SEED` is the first seed, `TRIBUTARY_SEEDS` how many; `TRIBUTARY_KINDS` which kinds of tables and
//! statements they have beside the usual ones ([`kinds`]).

mod alter;
mod kinds;
mod power;
mod writer;

use crate::lab::{DEADLINE, all_equal, arrived, options, progress, seed, workloads};
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use kinds::{Kind, Kinds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tributary_testkit::Flavour::{MariaDb, MySql};
use tributary_testkit::audit;
use tributary_testkit::stack::Stack;

/// How the rows of a seed reach the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Through the binlog, from the first statement on.
    Log,
    /// The first of them by a snapshot: their log is lost while the publisher is down.
    Snapshot,
}

const SEEDS: u64 = 4;
const WRITERS: u64 = 3;
const TRANSACTIONS: u64 = 60;
const ALTERATIONS: u64 = 16;
/// Transactions of a seed that a snapshot brings.
const TRANSACTIONS_BEFORE: u64 = 30;

/// What a seed's writers have done.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Transactions committed and alterations made.
    done: AtomicU64,
    /// Statements that a server refused: the table was just altered, or another writer was first.
    refused: AtomicU64,
}

fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("TRIBUTARY_SEEDS").ok();
    let count = given.map_or(SEEDS, |text| text.parse().expect("TRIBUTARY_SEEDS is a number"));
    let first = seed();
    first..first + count
}

async fn copies_end_equal() -> Result<()> {
    let mut options = options(&[MySql, MariaDb], &[MySql, MariaDb], 2)?;
    let kinds = kinds::wanted()?;
    options.durable = false;
    options.lease_ttl_seconds = 3;
    if kinds.contains(&Kind::Folded) {
        options.device_arguments.push("--lower-case-table-names=1".to_owned());
    }
    // Slow enough that tables are altered while a part of them is copied.
    options.publisher_sections = "[snapshot]\nrows_per_second = 8000\n".to_owned();
    let mut stack = Stack::servers(&options)?;
    let background = workloads(&stack, 20);
    progress(&background, 200).await?;
    for device in &stack.devices {
        device.forget_log(DEADLINE).await?;
    }
    stack.launch()?;
    stack.ready(DEADLINE).await?;
    for seed in seeds() {
        let began = std::time::Instant::now();
        let said = one_seed(&mut stack, seed, &kinds)
            .await
            .with_context(|| format!("TRIBUTARY_SEED={seed} TRIBUTARY_SEEDS=1"))?;
        println!("seed {seed}: {said}, {:.1} s", began.elapsed().as_secs_f32());
    }
    all_equal(&stack, background).await?;
    // Alone: the applications beside do not live through it.
    for seed in seeds() {
        let said = power::cut(&mut stack, seed)
            .await
            .with_context(|| format!("TRIBUTARY_SEED={seed} TRIBUTARY_SEEDS=1, power"))?;
        println!("seed {seed}: {said}");
    }
    Ok(())
}

async fn one_seed(stack: &mut Stack, seed: u64, kinds: &[Kind]) -> Result<String> {
    let mut random = Rng::with_seed(seed);
    let nth = usize::from(seed % 2 == 1);
    let database = format!("seed_{seed}");
    let url = stack.devices[nth].server.admin_url();
    let progress = Arc::new(Progress::default());
    let way = if random.u32(..3) == 0 { Start::Snapshot } else { Start::Log };
    if way == Start::Snapshot {
        stack.devices[nth].publisher.kill();
    }
    // Drawn apart, so that a seed means the same with other kinds.
    let mut drawn = Rng::with_seed(!seed);
    let flavour = stack.devices[nth].server.flavour();
    let kinds = Arc::new(Kinds::new(kinds, flavour, &mut drawn));
    writer::create(&url, &database, &mut random, &kinds).await?;
    if way == Start::Snapshot {
        let (url, database, random) = (url.clone(), database.clone(), random.fork());
        let before = Arc::new(Progress::default());
        let kinds = Arc::clone(&kinds);
        writer::write(url, database, random, TRANSACTIONS_BEFORE, before, kinds).await?;
        stack.devices[nth].forget_log(DEADLINE).await?;
        stack.devices[nth].publisher.start()?;
    }

    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (url, database, random) = (url.clone(), database.clone(), random.fork());
        let (progress, kinds) = (Arc::clone(&progress), Arc::clone(&kinds));
        tasks.spawn(writer::write(url, database, random, TRANSACTIONS, progress, kinds));
    }
    let altering = random.fork();
    tasks.spawn(alter::alter(
        url.clone(),
        database.clone(),
        altering,
        ALTERATIONS,
        Arc::clone(&progress),
        Arc::clone(&kinds),
    ));
    let deaths = kill(stack, nth, &mut random, &progress, &mut tasks).await?;
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }

    arrived(stack).await?;
    let device = &stack.devices[nth];
    let (shard, _) = stack.watermark(&device.id).await?.context("the device is on no shard")?;
    let target = stack.shards[shard].server.admin_url();
    let map = |database: &str| format!("{}__{database}", device.id);
    let verdict = audit::compare(&url, &target, Some(&[&database]), map).await?;
    ensure!(verdict.equal(), "{verdict}\n{:#?}", verdict.differences);
    ensure!(verdict.rows > 0, "nothing was compared");
    let verdict_of_definitions =
        audit::compare_definitions(&url, &target, Some(&[&database]), map).await?;
    let told = verdict_of_definitions.differences.iter();
    // The next AUTO_INCREMENT value may be lower: docs/fidelity.md.
    let told: Vec<_> = told.filter(|told| !told.detail.contains(" AUTO_INCREMENT=")).collect();
    ensure!(told.is_empty(), "{told:#?}");
    device.sql(&[&format!("DROP DATABASE {database}")]).await?;
    let (done, refused) = (&progress.done, &progress.refused);
    Ok(format!(
        "{way:?}, {verdict}, {} transactions, {} refused, killed {deaths:?}",
        done.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed)
    ))
}

/// Kills something whenever the writers have come as far as the seed says, until they are done.
async fn kill(
    stack: &mut Stack,
    nth: usize,
    random: &mut Rng,
    progress: &Progress,
    tasks: &mut tokio::task::JoinSet<Result<()>>,
) -> Result<Vec<&'static str>> {
    let all = WRITERS * TRANSACTIONS + ALTERATIONS;
    let mut moments: Vec<u64> = (0..random.usize(1..=3)).map(|_| random.u64(1..all)).collect();
    moments.sort_unstable();
    let mut deaths = Vec::new();
    for moment in moments {
        while progress.done.load(Ordering::Relaxed) < moment {
            match tasks.try_join_next() {
                Some(ended) => ended??,
                // The writers are done before they came there: much was refused.
                None if tasks.is_empty() => return Ok(deaths),
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        deaths.push(match random.u32(..6) {
            0 => {
                stack.devices[nth].publisher.kill();
                stack.devices[nth].forget_log(DEADLINE).await?;
                stack.devices[nth].publisher.start()?;
                "publisher and log"
            }
            1 => {
                let publisher = &mut stack.devices[nth].publisher;
                publisher.kill();
                publisher.start()?;
                "publisher"
            }
            2 | 3 => {
                let worker = random.usize(..stack.workers.len());
                stack.workers[worker].kill();
                stack.workers[worker].start()?;
                "worker"
            }
            _ => {
                // A worker that just starts ends without NATS: its supervisor would start it again.
                stack.ready(DEADLINE).await?;
                stack.nats.kill();
                stack.nats.restart()?;
                "nats"
            }
        });
    }
    Ok(deaths)
}

#[tokio::test]
async fn randomized_writes_alterations_and_deaths_end_in_equal_copies() -> Result<()> {
    copies_end_equal().await
}
