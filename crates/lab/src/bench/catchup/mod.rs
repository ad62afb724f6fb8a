//! How fast a backlog is drained, beside MySQL's own replication.

mod backlog;
mod contest;
mod report;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use backlog::Backlog;
use contest::{Contest, Follower};
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
    /// Replica and shard write no binary log of their own; MySQL's default is that they do.
    #[arg(long)]
    no_target_binlog: bool,
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
            report::json(backlog, size, &rounds, !arguments.no_target_binlog);
        } else {
            report::table(backlog, size, &rounds);
        }
    }
    Ok(())
}

async fn measure(backlog: Backlog, arguments: &Arguments) -> Result<Vec<Round>> {
    let mut contest = Contest::start(!arguments.no_target_binlog).await?;
    let mut rounds = Vec::new();
    for number in 0..arguments.rounds {
        let round = Box::pin(round(&mut contest, backlog, arguments, number)).await?;
        rounds.push(round);
    }
    Ok(rounds)
}

async fn round(
    contest: &mut Contest,
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
    contest.begin().await?;
    let before = contest.log_bytes().await?;
    backlog.write(contest.device(), size).await?;
    let binlog_bytes = contest.log_bytes().await? - before;

    let mut order = [Follower::Native, Follower::Tributary];
    order.rotate_left(number as usize % 2);
    let mut round = Round::new(binlog_bytes);
    for follower in order {
        say(&format!("{follower} drains it"));
        let drain = contest.drain(follower).await?;
        say(&format!("{follower} took {:.2} s; comparing", drain.seconds));
        let verdict = contest.verdict(follower).await?;
        let complete = verdict.rows == u64::from(size.left);
        ensure!(
            verdict.equal() && complete,
            "{follower}: {verdict}, {} rows expected\n{:#?}",
            size.left,
            verdict.differences
        );
        contest.stop(follower).await?;
        round.add(follower, drain);
    }
    Ok(round)
}
