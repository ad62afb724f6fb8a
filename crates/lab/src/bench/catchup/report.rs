//! Medians, as a table or as JSON.

use super::super::json::Line;
use super::super::median;
use super::super::pair::Follower;
use super::backlog::{Backlog, Size};
use super::drain::Drain;

/// One backlog, drained by both.
#[derive(Debug)]
pub(super) struct Round {
    binlog_bytes: u64,
    drains: Vec<(Follower, Drain)>,
}

impl Round {
    pub(super) fn new(binlog_bytes: u64) -> Self {
        Self { binlog_bytes, drains: Vec::new() }
    }

    pub(super) fn add(&mut self, follower: Follower, drain: Drain) {
        self.drains.push((follower, drain));
    }
}

/// The medians of one follower.
struct Summary {
    seconds: f64,
    rows_per_second: f64,
    transactions_per_second: f64,
    wire_bytes: f64,
    /// Process, CPU seconds per million rows, peak MB. A replica's CPU is for the most part its
    /// coordinator's: it yields in a loop while all appliers are busy (`Log_event::get_slave_worker`, seen with
    /// perf on MySQL 9.7).
    processes: Vec<(&'static str, f64, f64)>,
}

impl Summary {
    fn new(follower: Follower, size: Size, rounds: &[Round]) -> Self {
        let drains: Vec<&Drain> = rounds
            .iter()
            .flat_map(|round| &round.drains)
            .filter_map(|(who, drain)| (*who == follower).then_some(drain))
            .collect();
        let of = |figure: &dyn Fn(&Drain) -> f64| median(drains.iter().map(|drain| figure(drain)));
        let names = drains.first().into_iter().flat_map(|drain| drain.costs.iter().enumerate());
        let million_rows = f64::from(size.rows) * 1e-6;
        let processes = names.map(|(nth, (name, _))| {
            let cpu = of(&|drain| drain.costs[nth].1.cpu_seconds);
            (*name, cpu / million_rows, of(&|drain| drain.costs[nth].1.peak_mb))
        });
        let seconds = of(&|drain| drain.seconds);
        Self {
            seconds,
            rows_per_second: f64::from(size.rows) / seconds,
            transactions_per_second: f64::from(size.transactions) / seconds,
            wire_bytes: of(&|drain| drain.wire_bytes),
            processes: processes.collect(),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a size for people")]
fn binlog_bytes(rounds: &[Round]) -> f64 {
    median(rounds.iter().map(|round| round.binlog_bytes as f64))
}

/// One object on one line.
pub(super) fn json(backlog: Backlog, size: Size, rounds: &[Round], target_binlog: bool) {
    let ours = Summary::new(Follower::Tributary, size, rounds);
    let native = Summary::new(Follower::Native, size, rounds);
    let log = binlog_bytes(rounds);
    let mut line = Line::new("catchup")
        .text("backlog", backlog.name())
        .plain("rounds", rounds.len())
        .plain("target_binlog", target_binlog)
        .plain("rows", size.rows)
        .plain("transactions", size.transactions)
        .number("ratio_to_native", ours.rows_per_second / native.rows_per_second, 3)
        .number("wire_to_binlog_bytes", ours.wire_bytes / log, 4)
        .number("binlog_mb", log * 1e-6, 2)
        .number("wire_mb", ours.wire_bytes * 1e-6, 2);
    for (prefix, summary) in [("", ours), ("native_", native)] {
        line = line
            .number(&format!("{prefix}seconds"), summary.seconds, 3)
            .number(&format!("{prefix}rows_per_second"), summary.rows_per_second, 0)
            .number(
                &format!("{prefix}transactions_per_second"),
                summary.transactions_per_second,
                0,
            );
        for (process, cpu, peak) in summary.processes {
            line = line
                .number(&format!("{prefix}{process}_cpu_s_per_million_rows"), cpu, 2)
                .number(&format!("{prefix}{process}_rss_mb"), peak, 1);
        }
    }
    line.print();
}

/// For people.
pub(super) fn table(backlog: Backlog, size: Size, rounds: &[Round]) {
    let log = binlog_bytes(rounds);
    println!(
        "\n{}: {} rows in {} transactions, {:.1} MB of binlog; medians of {} rounds, equal after each",
        backlog.name(),
        size.rows,
        size.transactions,
        log * 1e-6,
        rounds.len()
    );
    println!(
        "{:<10}{:>9}{:>11}{:>16}   CPU s per million rows, peak MB",
        "", "seconds", "rows/s", "transactions/s"
    );
    let ours = Summary::new(Follower::Tributary, size, rounds);
    let native = Summary::new(Follower::Native, size, rounds);
    for (follower, summary) in [(Follower::Native, &native), (Follower::Tributary, &ours)] {
        let processes = summary.processes.iter();
        let processes: Vec<String> =
            processes.map(|(name, cpu, peak)| format!("{name} {cpu:.1}, {peak:.0}")).collect();
        println!(
            "{:<10}{:>9.2}{:>11.0}{:>16.0}   {}",
            follower.to_string(),
            summary.seconds,
            summary.rows_per_second,
            summary.transactions_per_second,
            processes.join("; ")
        );
    }
    println!(
        "{:.2} times native; wire_to_binlog_ratio {:.3} ({:.1} MB on the wire)",
        ours.rows_per_second / native.rows_per_second,
        ours.wire_bytes / log,
        ours.wire_bytes * 1e-6
    );
}
