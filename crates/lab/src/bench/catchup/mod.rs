//! How fast a backlog is drained, beside MySQL's own replication.

mod backlog;
mod drain;
mod report;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::pair::{Follower, Pair};
use backlog::Backlog;
use drain::drain;
use report::Round;

/// A backlog is written while nobody follows; then a replica and Tributary drain it, one after the other,
/// first the one and in the next round the other. All servers are MySQL with the same settings:
/// `sync_binlog=1`, `innodb_flush_log_at_trx_commit=1`, GTIDs, and MySQL's defaults for the buffer pool, the
/// redo log and parallel appliers (4). After each drain, every row is compared.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only these backlogs.
    #[arg(long = "backlog", value_enum)]
    backlogs: Vec<Backlog>,
    /// How often each is drained by each; medians are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Shrinks the backlogs, for quick tries: 0.1 is a tenth of the transactions.
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Whether replica and shard write a binary log of their own, which is MySQL's default.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    target_binlog: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

const PATIENCE: Duration = Duration::from_secs(900);

fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.001..=100.0).contains(&scale) { Ok(scale) } else { Err("not in 0.001..=100".into()) }
}

/// Measures the backlogs, one after the other, each with fresh servers.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wanted =
        |backlog: &Backlog| arguments.backlogs.is_empty() || arguments.backlogs.contains(backlog);
    for backlog in Backlog::ALL.into_iter().filter(wanted) {
        let rounds = runtime.block_on(measure(backlog, arguments))?;
        let size = backlog.size(arguments.scale);
        if arguments.json {
            report::json(backlog, size, &rounds, arguments.target_binlog);
        } else {
            report::table(backlog, size, &rounds);
        }
    }
    Ok(())
}

async fn measure(backlog: Backlog, arguments: &Arguments) -> Result<Vec<Round>> {
    let mut pair = Pair::new(arguments.target_binlog).await?;
    backlog::prepare(pair.device()).await?;
    let mut rounds = Vec::new();
    for number in 0..arguments.rounds {
        rounds.push(Box::pin(round(&mut pair, backlog, arguments, number)).await?);
    }
    Ok(rounds)
}

async fn round(
    pair: &mut Pair,
    backlog: Backlog,
    arguments: &Arguments,
    number: u32,
) -> Result<Round> {
    let size = backlog.size(arguments.scale);
    let say = |what: &str| {
        let (name, all) = (backlog.name(), arguments.rounds);
        eprintln!("{name}, round {} of {all}: {what}", number + 1);
    };
    say("writing the backlog");
    begin(pair).await?;
    let before = pair.device().log_bytes().await?;
    backlog.write(pair.device(), size).await?;
    let mut round = Round::new(pair.device().log_bytes().await? - before);
    let mut order = Follower::ALL;
    order.rotate_left(number as usize % 2);
    for follower in order {
        say(&format!("{follower} drains it"));
        let drain = drain(pair, follower).await?;
        say(&format!("{follower} took {:.2} s; comparing", drain.seconds));
        compare(pair, follower, size.left).await?;
        pair.stop(follower).await?;
        round.add(follower, drain);
    }
    Ok(round)
}

/// Empties the tables everywhere; then nobody follows.
async fn begin(pair: &mut Pair) -> Result<()> {
    backlog::empty(pair.device()).await?;
    for follower in Follower::ALL {
        pair.start(follower).await?;
        pair.caught_up(follower, PATIENCE).await?;
        pair.stop(follower).await?;
    }
    Ok(())
}

/// Fails when the follower holds anything else than the source.
async fn compare(pair: &Pair, follower: Follower, rows: u32) -> Result<()> {
    let verdict = pair.verdict(follower).await?;
    ensure!(
        verdict.equal() && verdict.rows == u64::from(rows),
        "{follower}: {verdict}, {rows} rows expected\n{:#?}",
        verdict.differences
    );
    Ok(())
}
