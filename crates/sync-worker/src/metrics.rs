//! Every metric of the sync-worker, by name.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Seconds by which a device's target is behind its source.
pub const DEVICE_LAG_SECONDS: &str = "tributary_device_lag_seconds";
/// Row changes applied, by device.
pub const DEVICE_ROWS_APPLIED: &str = "tributary_device_rows_applied_total";
/// 1 while this replica looks after the device; the labels say which shard holds it.
pub const DEVICE_INFO: &str = "tributary_device_info";
/// 1 while a device is parked.
pub const DEVICE_PARKED: &str = "tributary_device_parked";
/// Binlog file of the applied position.
pub const DEVICE_APPLIED_FILE: &str = "tributary_device_applied_file";
/// Offset in that file.
pub const DEVICE_APPLIED_OFFSET: &str = "tributary_device_applied_offset_bytes";
/// Binlog file of the published position, from the newest heartbeat.
pub const DEVICE_PUBLISHED_FILE: &str = "tributary_device_published_file";
/// Offset in that file.
pub const DEVICE_PUBLISHED_OFFSET: &str = "tributary_device_published_offset_bytes";
/// Row changes applied.
pub const ROWS_APPLIED: &str = "tributary_rows_applied_total";
/// Rows of snapshots written.
pub const SNAPSHOT_ROWS: &str = "tributary_snapshot_rows_total";
/// Chunks of snapshots written.
pub const SNAPSHOT_CHUNKS: &str = "tributary_snapshot_chunks_total";
/// Batches applied.
pub const BATCHES_APPLIED: &str = "tributary_batches_applied_total";
/// Bytes of messages taken from the stream.
pub const BYTES_RECEIVED: &str = "tributary_bytes_received_total";
/// Batches that were applied already.
pub const DUPLICATES: &str = "tributary_duplicate_batches_total";
/// Batches dropped: beyond the watermark, of a parked device, or of a shard that was down.
pub const DROPPED: &str = "tributary_dropped_batches_total";
/// Gaps found between a watermark and a batch.
pub const GAPS: &str = "tributary_gaps_total";
/// Rewinds asked of publishers.
pub const REWINDS: &str = "tributary_rewinds_total";
/// Batches of a run that came back after another run of the same device.
pub const CLONES: &str = "tributary_cloned_publisher_batches_total";
/// Messages that could not be read.
pub const UNREADABLE: &str = "tributary_unreadable_messages_total";
/// 1 while a shard takes changes.
pub const SHARD_UP: &str = "tributary_shard_up";
/// Batches that wait for a lane.
pub const LANE_QUEUE: &str = "tributary_lane_queue_batches";
/// Seconds from the lock on the watermarks to the end of the commit.
pub const COMMIT_SECONDS: &str = "tributary_commit_seconds";
/// Batches in one transaction of a lane.
pub const GROUP_BATCHES: &str = "tributary_group_batches";
/// Transactions tried again, by class of the error.
pub const RETRIES: &str = "tributary_retries_total";
/// Partitions whose lease this replica holds.
pub const PARTITIONS_OWNED: &str = "tributary_partitions_owned";
/// Devices parked, of those this replica has seen.
pub const PARKED_DEVICES: &str = "tributary_parked_devices";
/// Devices whose servers will soon purge what is not backed up.
pub const DEVICES_AT_RISK: &str = "tributary_devices_at_risk";
/// Times that another process was met that has this worker's id.
pub const NAMESAKES: &str = "tributary_worker_namesakes_total";
/// 1 while this replica's list holds every shard that any worker was given.
pub const ROSTER_COMPLETE: &str = "tributary_shard_list_complete";
/// Heartbeats that were left unanswered, because a device sent too many, or wanted the answer elsewhere.
pub const HEARTBEATS_REFUSED: &str = "tributary_heartbeats_refused_total";
/// Heartbeats answered.
pub const HEARTBEATS: &str = "tributary_heartbeats_answered_total";

/// Says what each metric is and what it counts. Once, at the start.
pub fn describe() {
    describe_gauge!(
        DEVICE_LAG_SECONDS,
        Unit::Seconds,
        "How far a device's target is behind its source"
    );
    describe_counter!(DEVICE_ROWS_APPLIED, Unit::Count, "Row changes applied, by device");
    describe_gauge!(
        DEVICE_INFO,
        Unit::Count,
        "1 while this replica looks after the device; the labels say which shard holds it"
    );
    describe_gauge!(DEVICE_PARKED, Unit::Count, "1 while the device is parked");
    describe_gauge!(DEVICE_APPLIED_FILE, Unit::Count, "Number of the binlog file applied up to");
    describe_gauge!(DEVICE_APPLIED_OFFSET, Unit::Bytes, "Offset in that binlog file");
    describe_gauge!(
        DEVICE_PUBLISHED_FILE,
        Unit::Count,
        "Number of the binlog file published up to"
    );
    describe_gauge!(DEVICE_PUBLISHED_OFFSET, Unit::Bytes, "Offset in that binlog file");
    describe_counter!(ROWS_APPLIED, Unit::Count, "Row changes applied");
    describe_counter!(SNAPSHOT_ROWS, Unit::Count, "Rows of snapshots written");
    describe_counter!(SNAPSHOT_CHUNKS, Unit::Count, "Chunks of snapshots written");
    describe_counter!(BATCHES_APPLIED, Unit::Count, "Batches applied");
    describe_counter!(BYTES_RECEIVED, Unit::Bytes, "Message bytes taken from the stream");
    describe_counter!(DUPLICATES, Unit::Count, "Batches that were applied already");
    describe_counter!(DROPPED, Unit::Count, "Batches dropped, to be replayed");
    describe_counter!(GAPS, Unit::Count, "Gaps between a watermark and a batch");
    describe_counter!(REWINDS, Unit::Count, "Rewinds asked of publishers");
    describe_counter!(CLONES, Unit::Count, "Batches of a second live publisher of a device id");
    describe_counter!(UNREADABLE, Unit::Count, "Messages that could not be read");
    describe_gauge!(SHARD_UP, Unit::Count, "1 while the shard takes changes");
    describe_gauge!(LANE_QUEUE, Unit::Count, "Batches that wait for a lane");
    describe_histogram!(
        COMMIT_SECONDS,
        Unit::Seconds,
        "From the watermarks' lock to the end of the commit"
    );
    describe_histogram!(GROUP_BATCHES, Unit::Count, "Batches in one transaction");
    describe_counter!(RETRIES, Unit::Count, "Transactions tried again, by class of the error");
    describe_gauge!(PARTITIONS_OWNED, Unit::Count, "Partitions whose lease this replica holds");
    describe_gauge!(PARKED_DEVICES, Unit::Count, "Devices that are parked");
    describe_gauge!(
        DEVICES_AT_RISK,
        Unit::Count,
        "Devices whose servers will soon purge what is not backed up"
    );
    describe_counter!(
        NAMESAKES,
        Unit::Count,
        "Times that another process was met that has this worker's id"
    );
    describe_gauge!(
        ROSTER_COMPLETE,
        Unit::Count,
        "1 while this replica's list holds every shard that any worker was given"
    );
    describe_counter!(
        HEARTBEATS_REFUSED,
        Unit::Count,
        "Heartbeats left unanswered: too many of a device, or their answer was wanted elsewhere"
    );
    describe_counter!(HEARTBEATS, Unit::Count, "Heartbeats answered");
}
