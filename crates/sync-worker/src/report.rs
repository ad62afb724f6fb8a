//! What a lane tells of its work: to the directory, to the metrics, to the log.

use crate::apply::Outcome;
use crate::classify::Class;
use crate::directory::{Directory, Knowledge};
use crate::job::Job;
use crate::metrics;
use ::metrics::{counter, histogram};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tributary_wire::DeviceId;

/// A transaction of a lane was committed.
pub(crate) fn group(shard: &str, lane: usize, jobs: &[Job], took: Duration) {
    let batches: usize = jobs.iter().map(|job| job.deliveries.len()).sum();
    histogram!(metrics::COMMIT_SECONDS, "shard" => shard.to_owned()).record(took.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "a group has hundreds of batches at most")]
    histogram!(metrics::GROUP_BATCHES, "shard" => shard.to_owned()).record(batches as f64);
    tracing::debug!(
        shard,
        lane,
        devices = jobs.len(),
        batches,
        took_us = took.as_micros(),
        "committed"
    );
}

/// What it did for one device.
pub(crate) fn outcome(directory: &Directory, shard: usize, job: &Job, outcome: &Outcome<'_>) {
    let device = &job.device;
    if outcome.lost {
        tracing::warn!(%device, "the device's watermark is no longer at its shard; it is looked for again");
        directory.forget(device);
        return;
    }
    let tally = outcome.pass.tally;
    counter!(metrics::ROWS_APPLIED).increment(tally.rows);
    counter!(metrics::SNAPSHOT_ROWS).increment(tally.snapshot_rows);
    counter!(metrics::SNAPSHOT_CHUNKS).increment(tally.snapshot_chunks);
    counter!(metrics::BATCHES_APPLIED).increment(tally.applied);
    counter!(metrics::DUPLICATES).increment(tally.duplicates);
    counter!(metrics::DROPPED).increment(tally.dropped);
    if tally.rows > 0 {
        counter!(metrics::DEVICE_ROWS_APPLIED, "device" => device.to_string())
            .increment(tally.rows);
    }
    let newly_parked = outcome.pass.watermark.as_ref().and_then(|row| row.parked.as_ref());
    if let Some(parked) = newly_parked {
        tracing::error!(%device, reason = parked.reason, remedy = parked.remedy, "the device is parked");
    }
    // Behind a statement nothing has been looked at yet.
    let is_through = outcome.pass.barrier.is_none();
    let now_us = now_us();
    directory.update(device, |known| {
        if known.gap.is_none() && outcome.pass.gap.is_some() {
            counter!(metrics::GAPS).increment(1);
            let at = outcome.watermark.as_ref().map(|row| row.position);
            tracing::info!(%device, watermark = ?at, "a batch does not chain to the watermark; a replay is asked for with the next heartbeat");
        }
        if tally.applied > 0 {
            known.gap = None;
        }
        known.gap = outcome.pass.gap.or(known.gap);
        if let Some(row) = &outcome.watermark {
            if tally.applied > 0 {
                runs(device, known, row.run);
            }
            known.shard = Some((shard, true));
            if tally.applied > 0 && row.commit_time_us > 0 {
                known.lag_us = now_us.saturating_sub(row.commit_time_us.unsigned_abs());
            }
            known.watermark = Some(row.clone());
            if row.parked.is_some() {
                job.span().into_iter().flatten().for_each(|sequence| known.left.note(sequence));
            } else if tally.applied > 0 && outcome.pass.gap.is_none() && is_through {
                job.newest().into_iter().for_each(|sequence| known.left.applied(sequence));
            }
        }
    });
}

/// A run that comes back after another one was applied: two publishers are alive under one id.
fn runs(device: &DeviceId, known: &mut Knowledge, run: u64) {
    let last =
        known.watermark.as_ref().map(|row| row.run).filter(|last| *last != run && *last != 0);
    let Some(last) = last else { return };
    if known.former_run == Some(run) {
        counter!(metrics::CLONES).increment(1);
        tracing::error!(
            %device,
            runs = ?(last, run),
            "two publishers are alive under this device's id: a copied disk, or a second service; stop one of them, or give it an id of its own"
        );
    }
    known.former_run = Some(last);
}

/// The name of a class, for a label.
pub(crate) fn class(class: Class) -> &'static str {
    match class {
        Class::Conflict => "conflict",
        Class::Reconnect => "reconnect",
        Class::Unavailable => "unavailable",
        Class::Full => "full",
        Class::Data => "data",
        Class::Halt => "halt",
    }
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
