//! Writes rows at the device, and looks for them at the target.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tributary_testkit::MySqlServer;
use tributary_testkit::stack::{self, Device};

use super::DEADLINE;

/// A connection to either end. Ids are written in ascending order, and a follower commits in the source's
/// order, so the highest id at the target tells of all below.
pub(super) struct Probe {
    source: Conn,
    target: Conn,
    highest: String,
    next_id: u64,
}

/// How long the rows took.
pub(super) struct Samples {
    /// One for each transaction.
    pub(super) took: Vec<Duration>,
    /// As it was written, which may be less than was asked for.
    pub(super) rows_per_second: f64,
}

/// Long enough that the row before has left no work behind.
const IDLE: Duration = Duration::from_millis(50);
/// Between two looks under load: looking without a pause would take a core from what is measured. A figure
/// is too high by up to this and the timer's own millisecond, for either follower alike.
const LOOK: Duration = Duration::from_millis(1);
/// Larger rates are written as larger transactions.
const TRANSACTIONS_PER_SECOND: u32 = 100;
/// Not measured: caches fill, tables are opened.
const WARM_UP_SECONDS: u32 = 1;

/// Makes the table.
pub(super) async fn prepare(device: &Device) -> Result<()> {
    device
        .sql(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.reading (id BIGINT PRIMARY KEY, sensor INT NOT NULL, at DATETIME(3) NOT NULL, \
             value DOUBLE NOT NULL, unit VARCHAR(16) NOT NULL)",
        ])
        .await
}

impl Probe {
    /// Ids begin at `next_id`; the target's table is in `database`.
    pub(super) async fn new(
        device: &Device,
        target: &MySqlServer,
        database: &str,
        next_id: u64,
    ) -> Result<Self> {
        Ok(Self {
            source: stack::connect(&device.server).await?,
            target: stack::connect(target).await?,
            highest: format!("SELECT MAX(id) FROM {database}.reading"),
            next_id,
        })
    }

    /// The first id that is not written yet.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// One row at a time, when the one before has long arrived. The target is asked without a pause, so that
    /// the answer is as fine as one question takes, well under a millisecond.
    pub(super) async fn idle(&mut self, samples: u32) -> Result<Samples> {
        let began = Instant::now();
        let mut took = Vec::new();
        for _ in 0..samples {
            tokio::time::sleep(IDLE).await;
            let id = self.next_id;
            self.source.query_drop(insert(id, 1)).await?;
            self.next_id += 1;
            let committed = Instant::now();
            let (_, seen) = arrival(&mut self.target, &self.highest, id, None).await?;
            took.push(seen.duration_since(committed));
        }
        Ok(Samples { took, rows_per_second: f64::from(samples) / began.elapsed().as_secs_f64() })
    }

    /// Transactions at an even pace for so long; the last row of each is looked for.
    pub(super) async fn loaded(&mut self, rate: u32, seconds: u32) -> Result<Samples> {
        let pace = rate.min(TRANSACTIONS_PER_SECOND);
        let plan = Plan {
            first_id: self.next_id,
            rows: u64::from(rate.div_ceil(pace)),
            transactions: u64::from(pace * (seconds + WARM_UP_SECONDS)),
            period: Duration::from_secs(1) / pace,
        };
        self.next_id += plan.rows * plan.transactions;
        let (committed, commits) = mpsc::unbounded_channel();
        let began = Instant::now();
        let (written, arrivals) = tokio::join!(
            write(&mut self.source, &plan, committed),
            follow(&mut self.target, &self.highest, commits)
        );
        let written_seconds = (written? - began).as_secs_f64();
        let warm = (pace * WARM_UP_SECONDS) as usize;
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rows = (plan.rows * plan.transactions) as f64;
        let took = arrivals?.into_iter().skip(warm).collect();
        Ok(Samples { took, rows_per_second: rows / written_seconds })
    }
}

/// What is written under load.
struct Plan {
    first_id: u64,
    /// In a transaction.
    rows: u64,
    transactions: u64,
    /// From one transaction to the next.
    period: Duration,
}

/// The last id of a transaction, and when the device said that it is committed.
type Commit = (u64, Instant);

/// Returns when the last was committed. A transaction that is late delays those after it.
async fn write(
    source: &mut Conn,
    plan: &Plan,
    committed: mpsc::UnboundedSender<Commit>,
) -> Result<Instant> {
    let mut pace = tokio::time::interval(plan.period);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for transaction in 0..plan.transactions {
        let id = plan.first_id + transaction * plan.rows;
        let statement = insert(id, plan.rows);
        pace.tick().await;
        source.query_drop(statement).await?;
        // Nobody listens when the other side has failed; it says so itself.
        let _ = committed.send((id + plan.rows - 1, Instant::now()));
    }
    Ok(Instant::now())
}

async fn follow(
    target: &mut Conn,
    highest: &str,
    mut commits: mpsc::UnboundedReceiver<Commit>,
) -> Result<Vec<Duration>> {
    let (mut highest_seen, mut seen) = (None, Instant::now());
    let mut took = Vec::new();
    while let Some((id, committed)) = commits.recv().await {
        if highest_seen < Some(id) {
            (highest_seen, seen) = arrival(target, highest, id, Some(LOOK)).await?;
        }
        took.push(seen.saturating_duration_since(committed));
    }
    Ok(took)
}

/// Asks until the id is there; returns the highest one, and when it was seen.
async fn arrival(
    target: &mut Conn,
    highest: &str,
    id: u64,
    pause: Option<Duration>,
) -> Result<(Option<u64>, Instant)> {
    let until = Instant::now() + DEADLINE;
    loop {
        let highest: Option<u64> = target.query_first(highest).await?.flatten();
        if highest >= Some(id) {
            return Ok((highest, Instant::now()));
        }
        if Instant::now() > until {
            bail!("row {id} did not arrive within {} s", DEADLINE.as_secs());
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
}

/// One transaction of `rows` rows from `id` on.
fn insert(id: u64, rows: u64) -> String {
    let mut sql = "INSERT INTO app.reading VALUES ".to_owned();
    for row in 0..rows {
        let comma = if row > 0 { "," } else { "" };
        let (id, value) = (id + row, (id + row) * 7919 % 10_000);
        let _ = write!(sql, "{comma}({id},{},NOW(3),{value} / 100,'celsius')", id % 1000);
    }
    sql
}
