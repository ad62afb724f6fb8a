//! What `check` says of how long the log is kept, and how fast it grows.

use super::Check;
use crate::retention::{Guard, Limits, lengthen};
use crate::source::{BinlogFile, Facts, Source};
use crate::tail;
use std::time::Duration;

/// Shorter than this, a long weekend without a link costs a new snapshot.
const RETENTION_MIN: Duration = Duration::from_secs(7 * 86_400);
/// What is advised instead: two weeks.
const RETENTION_ADVISED_S: u64 = 14 * 86_400;
/// For so long the log's growth is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What the server's settings say.
pub(super) fn settings(facts: &Facts) -> Vec<Check> {
    let limits = Limits::of(facts);
    let mut checks = vec![by_age(facts, limits)];
    if let Some(bytes) = limits.bytes {
        checks.push(Check::warn(
            format!(
                "the binary log is kept up to {} MiB, however young it is: how long that is depends on what is written",
                bytes >> 20
            ),
            "set max_binlog_total_size (MariaDB) or binlog_space_limit (Percona Server) so that a week fits in, or to 0",
        ));
    }
    checks
}

fn by_age(facts: &Facts, limits: Limits) -> Check {
    let Some(age) = limits.age else {
        return Check::ok("the binary log is kept until it is purged by hand");
    };
    let hours = age.as_secs() / 3600;
    if age < RETENTION_MIN {
        return Check::warn(
            format!(
                "the binary log is kept for {hours} hours: a device that is offline for longer needs a new snapshot"
            ),
            lengthen(facts, RETENTION_ADVISED_S),
        );
    }
    let longer = lengthen(facts, age.as_secs().saturating_mul(2));
    Check::ok(format!(
        "the binary log is kept for {hours} hours ({} days); for longer: {longer}",
        hours / 24
    ))
}

/// What the files say, looked at twice.
pub(super) async fn files(source: &mut Source, files: &[BinlogFile]) -> Check {
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let first = files.first().map_or("none", |file| file.name.as_str());
    let mut guard = Guard::default();
    guard.sample(tail::now_us(), files, Limits::default(), None);
    tokio::time::sleep(LOOK).await;
    let growth = source.binlog_files().await.ok().and_then(|files| {
        guard.sample(tail::now_us(), &files, Limits::default(), None).bytes_per_second
    });
    let growth = growth.map_or_else(
        || "growth unknown".to_owned(),
        |rate| format!("just now {:.1} KiB more each second", rate / 1024.0),
    );
    Check::ok(format!("{} binlog files from {first}, {} MiB, {growth}", files.len(), bytes >> 20))
}
