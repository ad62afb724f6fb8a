//! How long the source still keeps what no target is known to hold. Pure: times are given.
//!
//! The binary log is the only buffer. While the cloud is away it fills, and the server throws its oldest
//! files away, by age or by size. What it knows to be lost soon is told long before: in the log, in
//! metrics, and in the heartbeat.
//!
//! **Purging is whole files**: by age when a file was last written to longer ago than the limit, and by size
//! when all files together pass it. An event is never purged before its own age passes the limit, so the
//! estimate by age errs on the early side.

mod alarm;
mod ledger;
pub mod watch;

pub use alarm::{Alarm, Level};
pub use ledger::Ledger;
pub use watch::Watch;

use crate::source::{BinlogFile, Facts, Flavour};
use std::time::Duration;
use tributary_wire::{Position, Retention};

/// How long, or how much, a server keeps of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// By age; `None`: for ever.
    pub age: Option<Duration>,
    /// By the size of all files in bytes; `None`: whatever the disk holds.
    pub bytes: Option<u64>,
}

/// Where publishing stands, as a session tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The target holds everything before, as it last said; before it said anything, where this process
    /// began.
    pub safe: Position,
    /// How far the log was read.
    pub read: Position,
    /// Something that was read is not known to be applied.
    pub pending: bool,
    /// When the oldest of that was committed, microseconds since the Unix epoch, where it is known.
    pub oldest_us: Option<i64>,
    /// When the last event that was read was written; 0 before the first.
    pub read_us: i64,
}

/// What a sample says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Seconds until the oldest event that is not known to be applied may be purged; `None` without a
    /// limit, or while it is not known.
    pub seconds_left: Option<f64>,
    /// How much of the limit is used: 0 when everything is applied, 1 when the server may purge it.
    pub used: f64,
    /// Size of all binlog files in bytes.
    pub log_bytes: u64,
    /// How fast the log grows; `None` before the second sample.
    pub bytes_per_second: Option<f64>,
}

/// Samples, and what they say together.
#[derive(Debug, Default)]
pub struct Guard {
    growth: Growth,
    /// Everything was applied when this sample was taken.
    caught_up_us: Option<i64>,
}

#[derive(Debug, Default)]
struct Growth {
    last: Option<(i64, u32, u64)>,
    known_s: f64,
    bytes_per_second: Option<f64>,
}

/// The rate is the mean of about the last hour.
const SMOOTHING_S: f64 = 3600.0;

// === impl Standing ===

impl Standing {
    /// Before the first session: something waits behind `safe` since now at the latest.
    pub fn unknown(safe: Position, now_us: i64) -> Self {
        Self { safe, read: safe, pending: true, oldest_us: Some(now_us), read_us: 0 }
    }
}

// === impl Limits ===

impl Limits {
    /// What a server's variables say. The disk's free space is not visible here.
    pub fn of(facts: &Facts) -> Self {
        let number = |name: &str| {
            let value = facts.variable(name).parse::<f64>().ok();
            value.filter(|value| value.is_finite() && *value > 0.0)
        };
        let seconds = number("binlog_expire_logs_seconds");
        let days = number("expire_logs_days").map(|days| days * 86_400.0);
        // MariaDB rounds the days to a millionth.
        let age = seconds.or(days);
        let purges = !matches!(facts.variable("binlog_expire_logs_auto_purge"), "OFF" | "0");
        // MariaDB 11.4; Percona Server.
        let bytes = ["max_binlog_total_size", "binlog_space_limit"];
        let bytes = bytes.iter().filter_map(|name| facts.variable(name).parse::<u64>().ok());
        Self {
            age: age
                .filter(|_| purges)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            bytes: bytes.filter(|bytes| *bytes > 0).min(),
        }
    }
}

/// The statement that makes a server keep its log for `seconds`.
pub fn lengthen(facts: &Facts, seconds: u64) -> String {
    let name = match facts.flavour {
        Flavour::MariaDb if facts.variable("binlog_expire_logs_seconds").is_empty() => {
            return format!(
                "SET GLOBAL expire_logs_days = {days}, and expire_logs_days={days} under [mariadb] in the server's configuration",
                days = seconds.div_ceil(86_400)
            );
        }
        _ => "binlog_expire_logs_seconds",
    };
    crate::check::set(facts, name, &seconds.to_string())
}

// === impl Guard ===

impl Guard {
    /// Takes a sample of the files at `now_us`, oldest first.
    pub fn sample(
        &mut self,
        now_us: i64,
        files: &[BinlogFile],
        limits: Limits,
        standing: Option<&Standing>,
    ) -> Estimate {
        self.growth.sample(now_us, files);
        let log_bytes = files.iter().map(|file| file.bytes).sum();
        let bytes_per_second = self.growth.bytes_per_second;
        let mut estimate = Estimate { seconds_left: None, used: 0.0, log_bytes, bytes_per_second };
        let Some((standing, last)) = standing.zip(files.last()) else { return estimate };
        let end = (last.number, last.bytes);
        let behind = standing.pending || (standing.read.file, standing.read.offset) < end;
        if !behind {
            self.caught_up_us = Some(now_us);
        }
        let age_s = if behind { self.age_s(now_us, standing) } else { Some(0.0) };
        let by_age = limits.age.zip(age_s).map(|(limit, age_s)| {
            let limit_s = limit.as_secs_f64();
            (limit_s - age_s, age_s / limit_s)
        });
        let by_size = limits.bytes.map(|limit| {
            let kept = files.iter().filter(|file| file.number >= standing.safe.file);
            let kept = if behind { kept.map(|file| file.bytes).sum::<u64>() } else { 0 };
            (seconds_to_grow(limit, kept, bytes_per_second), as_f64(kept) / as_f64(limit))
        });
        let left = [by_age.map(|(left, _)| left), by_size.and_then(|(left, _)| left)];
        estimate.seconds_left =
            left.into_iter().flatten().reduce(f64::min).map(|left| left.max(0.0));
        let used = [by_age.map(|(_, used)| used), by_size.map(|(_, used)| used)];
        estimate.used = used.into_iter().flatten().fold(0.0, f64::max);
        estimate
    }

    /// How old the oldest event is that is not known to be applied; at most, where only its neighbours are known.
    fn age_s(&self, now_us: i64, standing: &Standing) -> Option<f64> {
        let read_us = Some(standing.read_us).filter(|read_us| *read_us > 0);
        // Nothing on its way: what is left comes after the last event that was read, and after the
        // last time that nothing was left to read.
        let unread_us = read_us.max(self.caught_up_us);
        let oldest_us = standing.oldest_us.filter(|_| standing.pending).or(unread_us)?;
        Some(seconds(now_us.saturating_sub(oldest_us).max(0)))
    }
}

fn seconds_to_grow(limit: u64, kept: u64, rate: Option<f64>) -> Option<f64> {
    let rate = rate.filter(|rate| *rate > 0.0)?;
    Some(as_f64(limit.saturating_sub(kept)) / rate)
}

// === impl Growth ===

impl Growth {
    fn sample(&mut self, now_us: i64, files: &[BinlogFile]) {
        let Some(last) = files.last() else { return };
        let former = self.last.replace((now_us, last.number, last.bytes));
        let Some((then_us, number, bytes)) = former.filter(|(_, number, _)| *number <= last.number)
        else {
            // The first sample, or a log that was begun anew.
            self.known_s = 0.0;
            self.bytes_per_second = None;
            return;
        };
        let passed_s = seconds(now_us.saturating_sub(then_us));
        if passed_s <= 0.0 {
            return;
        }
        let new = files.iter().filter(|file| file.number >= number);
        let new: u64 =
            new.map(|file| {
                if file.number == number { file.bytes.saturating_sub(bytes) } else { file.bytes }
            })
            .sum();
        self.known_s += passed_s;
        let weight = (passed_s / self.known_s.min(SMOOTHING_S)).min(1.0);
        let rate = self.bytes_per_second.unwrap_or_default();
        self.bytes_per_second = Some(rate + (as_f64(new) / passed_s - rate) * weight);
    }
}

// === impl Estimate ===

impl Estimate {
    /// As a heartbeat says it.
    pub fn to_wire(&self) -> Retention {
        Retention {
            seconds_left: self.seconds_left.map(whole),
            used_percent: u32::try_from(whole(self.used * 100.0)).unwrap_or(u32::MAX),
            log_bytes: self.log_bytes,
            bytes_per_second: self.bytes_per_second.map(whole),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 microseconds, 285 years")]
fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; nothing here is negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
