//! The publisher's metrics. Names and their meaning stand here and nowhere else.

use crate::retention::{Estimate, Limits};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use tributary_wire::{DeviceId, Position, SnapshotProgress};

const ROWS: &str = "tributary_publisher_rows_published_total";
const BATCHES: &str = "tributary_publisher_batches_published_total";
const BYTES: &str = "tributary_publisher_bytes_published_total";
const BINLOG_BYTES: &str = "tributary_publisher_binlog_bytes_read_total";
const SPOOLED: &str = "tributary_publisher_events_spooled_total";
const BYTES_SENT: &str = "tributary_publisher_bytes_sent_total";
const RESENDS: &str = "tributary_publisher_resends_total";
const REWINDS: &str = "tributary_publisher_rewinds_total";
const SESSIONS: &str = "tributary_publisher_sessions_total";
const NATS_CONNECTED: &str = "tributary_publisher_nats_connected";
const SOURCE_CONNECTED: &str = "tributary_publisher_source_connected";
const IN_FLIGHT: &str = "tributary_publisher_batches_in_flight";
const UNAPPLIED: &str = "tributary_publisher_unapplied_bytes";
const WAITS_FOR_CREDIT: &str = "tributary_publisher_waits_for_credit";
const POSITION_FILE: &str = "tributary_publisher_position_file";
const POSITION_OFFSET: &str = "tributary_publisher_position_offset_bytes";
const BACKLOG: &str = "tributary_publisher_backlog_bytes";
const LOG_BYTES: &str = "tributary_publisher_binlog_bytes";
const LOG_GROWTH: &str = "tributary_publisher_binlog_growth_bytes_per_second";
const RETENTION: &str = "tributary_publisher_retention_seconds";
const RETENTION_LEFT: &str = "tributary_publisher_retention_left_seconds";
const RETENTION_USED: &str = "tributary_publisher_retention_used_ratio";
const CHECKPOINT_FAILURES: &str = "tributary_publisher_checkpoint_failures_total";
const LAG: &str = "tributary_device_lag_seconds";
const SNAPSHOT_ACTIVE: &str = "tributary_publisher_snapshot_active";
const SNAPSHOT_TABLES: &str = "tributary_publisher_snapshot_tables";
const SNAPSHOT_TABLES_DONE: &str = "tributary_publisher_snapshot_tables_done";
const SNAPSHOT_ROWS: &str = "tributary_publisher_snapshot_rows_total";
const SNAPSHOT_ROWS_LEFT: &str = "tributary_publisher_snapshot_rows_left";
const SNAPSHOT_REPEATS: &str = "tributary_publisher_snapshot_repeats_total";
const INFO: &str = "tributary_publisher_info";

/// A stage that a position belongs to: the label `stage` of the position gauges.
#[derive(Debug, Clone, Copy)]
pub enum Stage {
    /// Read from the binlog.
    Read,
    /// Acknowledged by JetStream.
    Published,
    /// Committed at the target, as the last heartbeat's answer said.
    Applied,
}

/// Describes every metric, once, at start.
pub fn describe(device: &DeviceId) {
    describe_counter!(ROWS, "Row changes in batches that JetStream has acknowledged");
    describe_counter!(BATCHES, "Batches sealed");
    describe_counter!(BYTES, "Bytes of messages that JetStream has acknowledged");
    describe_counter!(BINLOG_BYTES, "Bytes of binlog events read");
    describe_counter!(SPOOLED, "Events over 1 MiB, set aside in state.dir while they are read");
    describe_counter!(BYTES_SENT, "Bytes of messages sent, those that were sent again included");
    describe_counter!(
        RESENDS,
        "Times that what is in flight was sent again: after a new connection, a refusal, or a time-out"
    );
    describe_counter!(REWINDS, "Times that publishing went back to the target's watermark");
    describe_counter!(SESSIONS, "Connections made to the source's binlog");
    describe_gauge!(NATS_CONNECTED, "1 while connected to NATS");
    describe_gauge!(SOURCE_CONNECTED, "1 while the source's binlog is being read");
    describe_gauge!(IN_FLIGHT, "Batches sent and not yet acknowledged");
    describe_gauge!(UNAPPLIED, "Message bytes published and not known to be applied");
    describe_gauge!(WAITS_FOR_CREDIT, "1 while publishing waits for the cloud to apply");
    describe_gauge!(POSITION_FILE, "Binlog file number of each stage");
    describe_gauge!(POSITION_OFFSET, "Offset in that file of each stage");
    describe_gauge!(BACKLOG, "Binlog bytes between what is read and the end of the source's log");
    describe_gauge!(LOG_BYTES, "Size of all binlog files of the source");
    describe_gauge!(LOG_GROWTH, "How fast the source's binlog grows, mean of about an hour");
    describe_gauge!(RETENTION, "How long the source keeps its binlog; infinite without a limit");
    describe_gauge!(
        RETENTION_LEFT,
        "Seconds until the source may purge the oldest event that is not known to be applied"
    );
    describe_gauge!(
        RETENTION_USED,
        "Share of the binlog's retention that is used, 0 to 1 and above"
    );
    describe_counter!(CHECKPOINT_FAILURES, "Checkpoints that could not be written");
    describe_gauge!(
        LAG,
        "Seconds from commit at the source to commit at the target, newest batch applied"
    );
    describe_gauge!(SNAPSHOT_ACTIVE, "1 while a snapshot is under way");
    describe_gauge!(SNAPSHOT_TABLES, "Tables of the snapshot that is under way");
    describe_gauge!(SNAPSHOT_TABLES_DONE, "Tables of it that are copied");
    describe_counter!(SNAPSHOT_ROWS, "Rows that snapshots have read");
    describe_gauge!(SNAPSHOT_ROWS_LEFT, "Rows that are left of it, as the server estimates them");
    describe_counter!(
        SNAPSHOT_REPEATS,
        "Parts that were read again because the log was in the way"
    );
    describe_gauge!(INFO, "Always 1; labels say which device and version");
    gauge!(INFO, "device" => device.to_string(), "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for counter in [
        ROWS,
        BATCHES,
        BYTES,
        BINLOG_BYTES,
        SPOOLED,
        BYTES_SENT,
        REWINDS,
        SESSIONS,
        CHECKPOINT_FAILURES,
    ] {
        counter!(counter).absolute(0);
    }
    for why in ["connection", "refusal", "timeout"] {
        counter!(RESENDS, "why" => why).absolute(0);
    }
    for counter in [SNAPSHOT_ROWS, SNAPSHOT_REPEATS] {
        counter!(counter).absolute(0);
    }
    unapplied(0);
    waits_for_credit(false);
    nats_connected(false);
    source_connected(false);
    snapshot_active(false);
}

/// A snapshot begins, goes on or ends.
pub fn snapshot_active(active: bool) {
    gauge!(SNAPSHOT_ACTIVE).set(f64::from(u8::from(active)));
}

/// Rows of a snapshot were placed.
pub fn snapshot_rows(rows: u64) {
    counter!(SNAPSHOT_ROWS).increment(rows);
}

/// A part of a snapshot has to be read again.
pub fn snapshot_repeated() {
    counter!(SNAPSHOT_REPEATS).increment(1);
}

/// How far the snapshot has come.
pub fn snapshot_progress(progress: &SnapshotProgress) {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    let set = |name: &'static str, value: u64| gauge!(name).set(value as f64);
    set(SNAPSHOT_TABLES, progress.tables);
    set(SNAPSHOT_TABLES_DONE, progress.tables_done);
    set(SNAPSHOT_ROWS_LEFT, progress.rows_left);
}

/// JetStream has acknowledged batches.
pub fn published(rows: u64, bytes: u64) {
    counter!(ROWS).increment(rows);
    counter!(BYTES).increment(bytes);
}

/// A batch was sealed; so many are in flight.
pub fn sealed() {
    counter!(BATCHES).increment(1);
}

/// How many batches are in flight.
pub fn in_flight(batches: usize) {
    gauge!(IN_FLIGHT).set(u32::try_from(batches).unwrap_or(u32::MAX));
}

/// So many bytes are published and not known to be applied.
pub fn unapplied(bytes: u64) {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    gauge!(UNAPPLIED).set(bytes as f64);
}

/// Publishing waits for the cloud to apply what it has, or goes on.
pub fn waits_for_credit(waits: bool) {
    gauge!(WAITS_FOR_CREDIT).set(f64::from(u8::from(waits)));
}

/// An event was read.
pub fn read(bytes: u64) {
    counter!(BINLOG_BYTES).increment(bytes);
}

/// An event was set aside on disk.
pub fn spooled() {
    counter!(SPOOLED).increment(1);
}

/// Everything in flight is sent again.
pub fn resent(why: &'static str) {
    counter!(RESENDS, "why" => why).increment(1);
}

/// A message leaves.
pub fn sent(bytes: usize) {
    counter!(BYTES_SENT).increment(bytes as u64);
}

/// Publishing goes back to the watermark.
pub fn rewound() {
    counter!(REWINDS).increment(1);
}

/// A connection to the binlog was made.
pub fn session() {
    counter!(SESSIONS).increment(1);
}

/// The NATS connection came or went.
pub fn nats_connected(connected: bool) {
    gauge!(NATS_CONNECTED).set(f64::from(u8::from(connected)));
}

/// The binlog stream came or went.
pub fn source_connected(connected: bool) {
    gauge!(SOURCE_CONNECTED).set(f64::from(u8::from(connected)));
}

/// A stage has reached a position.
pub fn position(stage: Stage, position: Position) {
    let stage = match stage {
        Stage::Read => "read",
        Stage::Published => "published",
        Stage::Applied => "applied",
    };
    gauge!(POSITION_FILE, "stage" => stage).set(f64::from(position.file));
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
    gauge!(POSITION_OFFSET, "stage" => stage).set(position.offset as f64);
}

/// What is still to be read.
pub fn backlog(bytes: u64) {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
    gauge!(BACKLOG).set(bytes as f64);
}

/// The source's log was looked at.
pub fn retention(estimate: &Estimate, limits: Limits) {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
    gauge!(LOG_BYTES).set(estimate.log_bytes as f64);
    if let Some(rate) = estimate.bytes_per_second {
        gauge!(LOG_GROWTH).set(rate);
    }
    gauge!(RETENTION).set(limits.age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
    gauge!(RETENTION_LEFT).set(estimate.seconds_left.unwrap_or(f64::INFINITY));
    gauge!(RETENTION_USED).set(estimate.used);
}

/// A checkpoint could not be written.
pub fn checkpoint_failed() {
    counter!(CHECKPOINT_FAILURES).increment(1);
}

/// The lag that the target measured.
pub fn lag(device: &DeviceId, lag_us: u64) {
    #[allow(clippy::cast_precision_loss, reason = "a lag of 2^53 microseconds is 285 years")]
    gauge!(LAG, "device" => device.to_string()).set(lag_us as f64 / 1e6);
}
