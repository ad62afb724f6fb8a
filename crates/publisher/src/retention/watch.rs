//! Samples the source's log on a schedule and a connection of its own: that NATS or the cloud is away
//! is when it matters.

use super::{Alarm, Estimate, Guard, Level, Limits, Standing, lengthen};
use crate::config::Config;
use crate::source::{Facts, Source};
use crate::{Error, metrics, tail};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tributary_wire::{DeviceId, Retention};

/// Shared by the sampling task and the sessions.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    standing: Option<Standing>,
    estimate: Option<Estimate>,
}

/// A server that takes longer has other troubles.
const PATIENCE: Duration = Duration::from_secs(60);

// === impl Watch ===

impl Watch {
    /// Notes where publishing stands.
    pub fn tell(&self, standing: Standing) {
        self.lock().standing = Some(standing);
    }

    /// The last estimate, for a heartbeat.
    pub fn retention(&self) -> Option<Retention> {
        self.lock().estimate.as_ref().map(Estimate::to_wire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples for ever.
    pub async fn run(self, config: Config, device: DeviceId) {
        let mut tick = interval(Duration::from_secs_f64(config.retention.interval_seconds));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = None;
        let (mut guard, mut alarm) = (Guard::default(), Alarm::default());
        loop {
            tick.tick().await;
            let sampled = sample(&config, &mut connection, &mut guard, &self);
            let outcome = timeout(PATIENCE, sampled).await;
            match outcome {
                Ok(Ok((estimate, limits, facts))) => {
                    self.lock().estimate = Some(estimate);
                    metrics::retention(&estimate, limits);
                    if let Some(level) = alarm.sound(estimate.used, tail::now_us()) {
                        say(&device, level, &estimate, limits, &facts);
                    }
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the source's log cannot be looked at");
                    connection = None;
                }
                Err(_) => connection = None,
            }
        }
    }
}

/// One sample. Settings are read anew with each, so that a longer retention counts at once.
async fn sample(
    config: &Config,
    connection: &mut Option<Source>,
    guard: &mut Guard,
    watch: &Watch,
) -> Result<(Estimate, Limits, Facts), Error> {
    let (mut source, facts) = match connection.take() {
        Some(mut source) => {
            let facts = source.facts().await?;
            (source, facts)
        }
        None => Source::open(&config.source).await?,
    };
    // Before the files are listed: what is read meanwhile is not behind.
    let files = source.binlog_files().await?;
    *connection = Some(source);
    let limits = Limits::of(&facts);
    let standing = watch.lock().standing;
    let estimate = guard.sample(tail::now_us(), &files, limits, standing.as_ref());
    Ok((estimate, limits, facts))
}

fn say(device: &DeviceId, level: Level, estimate: &Estimate, limits: Limits, facts: &Facts) {
    let percent = (estimate.used * 100.0).round();
    let hours_left = estimate.seconds_left.map(|seconds| (seconds / 360.0).round() / 10.0);
    let remedy = remedy(limits, facts);
    match level {
        Level::Fine => {
            tracing::info!(%device, percent, "less than half of the binary log's retention is used by what is not backed up");
        }
        Level::Half | Level::Most => {
            tracing::warn!(%device, percent, hours_left, remedy, "what is not backed up uses up the binary log's retention: bring the link or the cloud back, or keep the log longer");
        }
        Level::All => {
            tracing::error!(%device, percent, hours_left, remedy, "the server is about to purge what is not backed up, and this device would need a new copy: keep the log longer, now");
        }
    }
}

/// What keeps the log for twice as long, or twice as large.
fn remedy(limits: Limits, facts: &Facts) -> String {
    let by_age = limits.age.map(|age| lengthen(facts, age.as_secs().saturating_mul(2)));
    let by_size = limits.bytes.map(|bytes| {
        let names = ["max_binlog_total_size", "binlog_space_limit"];
        let name = names.into_iter().find(|name| !facts.variable(name).is_empty());
        crate::check::set(facts, name.unwrap_or(names[0]), &bytes.saturating_mul(2).to_string())
    });
    by_age.into_iter().chain(by_size).collect::<Vec<_>>().join("; ")
}
