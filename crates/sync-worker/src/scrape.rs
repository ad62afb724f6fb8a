//! Gauges that are worked out when someone asks for them.

use crate::directory::{Directory, Knowledge};
use crate::intake::Lanes;
use crate::lane::Health;
use crate::metrics;
use crate::report::now_us;
use crate::retention;
use ::metrics::gauge;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tributary_runtime::{CancellationToken, Readiness};
use tributary_wire::{DeviceId, Position};

const READINESS_INTERVAL: Duration = Duration::from_secs(2);
/// A shard that nobody complains of is asked this often whether it is there.
const QUESTION_INTERVAL: Duration = Duration::from_secs(10);

/// Sets every gauge of devices, lanes and shards.
#[derive(Debug, Clone)]
pub struct Scrape {
    directory: Arc<Directory>,
    lanes: Lanes,
    readiness: Readiness,
    /// The devices that the last scrape saw.
    seen: Arc<Mutex<BTreeSet<DeviceId>>>,
}

// === impl Scrape ===

impl Scrape {
    /// Looks at these.
    pub(crate) fn new(directory: Arc<Directory>, lanes: Lanes, readiness: Readiness) -> Self {
        Self { directory, lanes, readiness, seen: Arc::default() }
    }

    /// Sets the gauges.
    pub fn set(&self) {
        self.shards();
        let (mut parked, mut at_risk) = (0u32, 0u32);
        let (now, mut seen) = (now_us(), BTreeSet::new());
        self.directory.for_each(|device, known| {
            parked += u32::from(is_parked(known));
            at_risk += u32::from(retention::is_at_risk(known));
            self.device(device, known, now);
            seen.insert(device.clone());
        });
        gauge!(metrics::PARKED_DEVICES).set(parked);
        gauge!(metrics::DEVICES_AT_RISK).set(at_risk);
        let mut last = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        last.difference(&seen).for_each(|device| self.gone(device));
        *last = seen;
    }

    /// Says again and again which shards take changes, until `stop`.
    pub async fn keep_ready(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(READINESS_INTERVAL);
        let mut asked_at = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            self.shards();
            // A shard whose devices are quiet is asked all the same: nobody else would notice that it is gone.
            let is_due = asked_at.is_none_or(|at: Instant| at.elapsed() >= QUESTION_INTERVAL);
            if is_due {
                asked_at = Some(Instant::now());
            }
            let shards = &self.directory.shards;
            let asked = shards.iter().filter(|shard| is_due || shard.trouble().is_some());
            let answers = join_all(asked.map(|shard| shard.is_reachable()));
            let _ = tokio::time::timeout(READINESS_INTERVAL, answers).await;
        }
    }

    /// The device's partition is another replica's now, which says more of it.
    fn gone(&self, device: &DeviceId) {
        for shard in &self.directory.shards {
            let shard = shard.name().to_owned();
            gauge!(metrics::DEVICE_INFO, "device" => device.to_string(), "shard" => shard).set(0);
        }
        gauge!(metrics::DEVICE_LAG_SECONDS, "device" => device.to_string()).set(0);
        gauge!(metrics::DEVICE_PARKED, "device" => device.to_string()).set(0);
    }

    fn shards(&self) {
        let roster = self.directory.roster_complaint().map_or(Ok(()), Err);
        gauge!(metrics::ROSTER_COMPLETE).set(u8::from(roster.is_ok()));
        self.readiness.set_ready("list of shards", roster);
        for (shard, lanes) in self.directory.shards.iter().zip(self.lanes.iter()) {
            let is_up = lanes.iter().all(|lane| lane.health() == Health::Up);
            let trouble = shard.trouble().or((!is_up).then_some("its lanes cannot write to it"));
            let name = shard.name().to_owned();
            gauge!(metrics::SHARD_UP, "shard" => name.clone()).set(u8::from(trouble.is_none()));
            let state = trouble.map_or(Ok(()), |trouble| Err(trouble.to_owned()));
            self.readiness.set_ready(format!("shard {name}"), state);
            for (number, lane) in lanes.iter().enumerate() {
                let labels = [("shard", name.clone()), ("lane", number.to_string())];
                #[expect(clippy::cast_precision_loss, reason = "a queue has hundreds at most")]
                gauge!(metrics::LANE_QUEUE, &labels).set(lane.waiting() as f64);
            }
        }
    }

    fn device(&self, device: &DeviceId, known: &Knowledge, now_us: u64) {
        let id = || device.to_string();
        gauge!(metrics::DEVICE_PARKED, "device" => id()).set(u8::from(is_parked(known)));
        if let Some((shard, _)) = known.shard {
            let shard = self.directory.shards[shard].name().to_owned();
            gauge!(metrics::DEVICE_INFO, "device" => id(), "shard" => shard).set(1);
        }
        if let Some(row) = &known.watermark {
            position(
                metrics::DEVICE_APPLIED_FILE,
                metrics::DEVICE_APPLIED_OFFSET,
                device,
                row.position,
            );
            gauge!(metrics::DEVICE_LAG_SECONDS, "device" => id()).set(lag_seconds(known, now_us));
        }
        if let Some(published) = known.published {
            let (file, offset) = (metrics::DEVICE_PUBLISHED_FILE, metrics::DEVICE_PUBLISHED_OFFSET);
            position(file, offset, device, published);
        }
    }
}

fn is_parked(known: &Knowledge) -> bool {
    known.watermark.as_ref().is_some_and(|row| row.parked.is_some())
}

/// The lag that was last measured; and while more is published than applied, at least the age of what
/// was applied last.
fn lag_seconds(known: &Knowledge, now_us: u64) -> f64 {
    let row = known.watermark.as_ref();
    let behind = row.is_some_and(|row| known.published.is_some_and(|p| p > row.position));
    let age_us = match row {
        Some(row) if behind && row.commit_time_us > 0 => {
            now_us.saturating_sub(row.commit_time_us.unsigned_abs())
        }
        _ => 0,
    };
    std::time::Duration::from_micros(known.lag_us.max(age_us)).as_secs_f64()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a double; binlog files are far shorter than 2^53 bytes"
)]
fn position(file: &'static str, offset: &'static str, device: &DeviceId, at: Position) {
    gauge!(file, "device" => device.to_string()).set(at.file);
    gauge!(offset, "device" => device.to_string()).set(at.offset as f64);
}
