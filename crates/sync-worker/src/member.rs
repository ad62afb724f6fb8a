//! Who lives, as it stands in the bucket `tributary_workers`: one entry for each worker, which ages.

use crate::lease::{LeaseError, failed};
use async_nats::jetstream::kv::{Entry, Operation, Store, UpdateErrorKind};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// One process. What is no valid entry was not written by this software, and counts for nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Always [`KIND`].
    pub(crate) kind: String,
    /// Of this format.
    pub(crate) version: u32,
    /// Drawn by each process.
    pub(crate) instance: u64,
    /// Where it runs.
    pub(crate) host: String,
    /// Its process id there.
    pub(crate) pid: u32,
    /// When it started, Unix milliseconds by its own clock.
    pub(crate) started_ms: u64,
    /// Another process of the same name that it has met: that one's host and process id.
    #[serde(default)]
    pub(crate) met: Option<String>,
}

/// What makes an entry ours.
pub(crate) const KIND: &str = "tributary-sync-worker";
const VERSION: u32 = 1;
/// Entries that are read at the same time.
const READS_MAX: usize = 16;
/// No fleet has more workers.
const MEMBERS_MAX: usize = 1024;

/// What stands under a worker's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The process, if it is a valid entry.
    pub(crate) member: Option<Member>,
    /// Its revision; 0 where there is none.
    pub(crate) revision: u64,
    /// Something stands there, valid or not.
    pub(crate) is_there: bool,
}

// === impl Member ===

impl Member {
    /// This process.
    pub(crate) fn this() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            kind: KIND.to_owned(),
            version: VERSION,
            instance: fastrand::u64(1..),
            host: host(),
            pid: std::process::id(),
            started_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            met: None,
        }
    }

    /// Reads an entry; `None` for what this software has not written.
    fn decode(value: &[u8]) -> Option<Self> {
        let member: Self = serde_json::from_slice(value).ok()?;
        (member.kind == KIND && member.version >= 1 && member.host.len() <= HOST_BYTES_MAX)
            .then_some(member)
    }

    /// `host h, process 7`, for people.
    pub(crate) fn place(&self) -> String {
        format!("host {}, process {}", self.host, self.pid)
    }

    /// Of two processes of one name the one that came later has to go.
    pub(crate) fn came_after(&self, other: &Self) -> bool {
        (self.started_ms, self.instance) > (other.started_ms, other.instance)
    }

    /// True when that process cannot be there any more: it ran where this one runs.
    pub(crate) fn is_gone(&self, this: &Self) -> bool {
        let is_listed = || std::path::Path::new(&format!("/proc/{}", self.pid)).exists();
        self.host == this.host && !self.host.is_empty() && (self.pid == this.pid || !is_listed())
    }
}

const HOST_BYTES_MAX: usize = 255;

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().take(64).collect()
}

// === impl Standing ===

impl Standing {
    fn of(entry: Option<Entry>) -> Self {
        let Some(entry) = entry else {
            return Self { member: None, revision: 0, is_there: false };
        };
        let is_there = entry.operation == Operation::Put;
        let member = is_there.then(|| Member::decode(&entry.value)).flatten();
        Self { member, revision: entry.revision, is_there }
    }
}

/// What stands under a worker's name.
///
/// # Errors
/// [`LeaseError`].
pub(crate) async fn read(workers: &Store, worker: &str) -> Result<Standing, LeaseError> {
    let entry = workers.entry(key(worker)).await;
    entry.map(Standing::of).map_err(failed("read a worker's sign of life"))
}

/// Says that the worker lives, if its entry still has that revision: returns the next one, or `None` when
/// someone else has written meanwhile.
///
/// # Errors
/// [`LeaseError`].
pub(crate) async fn refresh(
    workers: &Store,
    worker: &str,
    member: &Member,
    revision: u64,
) -> Result<Option<u64>, LeaseError> {
    // Strings and numbers: nothing that JSON cannot say.
    let value = serde_json::to_vec(member).unwrap_or_default();
    match workers.update(key(worker), value.into(), revision).await {
        Ok(revision) => Ok(Some(revision)),
        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
        Err(error) => Err(failed("refresh this worker's sign of life")(error)),
    }
}

/// Says that the worker has stopped, so that the others need not wait for its entry to age.
///
/// # Errors
/// [`LeaseError`].
pub(crate) async fn resign(workers: &Store, worker: &str, revision: u64) -> Result<(), LeaseError> {
    let deleted = workers.delete_expect_revision(key(worker), Some(revision)).await;
    deleted.map_err(failed("withdraw this worker's sign of life"))
}

/// Every name in the bucket, with what stands there, in no order.
///
/// # Errors
/// [`LeaseError`].
pub(crate) async fn all(workers: &Store) -> Result<Vec<(String, Option<Member>)>, LeaseError> {
    let error = failed::<async_nats::Error>("list the workers");
    let prefix = format!("{}worker.", workers.prefix);
    let subjects = workers.stream.info_with_subjects(format!("{prefix}*")).await;
    let subjects: Vec<(String, usize)> = subjects
        .map_err(failed("list the workers"))?
        .take(MEMBERS_MAX)
        .try_collect()
        .await
        .map_err(|source| error(source.into()))?;
    let names = subjects.iter().filter_map(|(subject, _)| subject.strip_prefix(&prefix));
    let read = |name: String| async move {
        let standing = read(workers, &name).await?;
        Ok((name, standing.member))
    };
    let names: Vec<String> = names.map(str::to_owned).collect();
    stream::iter(names.into_iter().map(read)).buffer_unordered(READS_MAX).try_collect().await
}

fn key(worker: &str) -> String {
    format!("worker.{worker}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_software_wrote_is_a_member() {
        let this = Member::this();
        let written = serde_json::to_vec(&this).expect("JSON");
        assert_eq!(Member::decode(&written), Some(this.clone()));
        for other in [&b""[..], b"{}", br#"{"stream":"CHANGES","seq":7}"#, b"null", b"\x82"] {
            assert_eq!(Member::decode(other), None);
        }
        let other_kind = Member { kind: "worker".into(), ..this };
        assert_eq!(Member::decode(&serde_json::to_vec(&other_kind).expect("JSON")), None);
    }

    #[test]
    fn of_two_processes_the_later_one_goes_and_both_agree_which_that_is() {
        let first = Member { started_ms: 5, instance: 9, ..Member::this() };
        let second = Member { started_ms: 6, instance: 1, ..Member::this() };
        assert!(second.came_after(&first) && !first.came_after(&second));
        let at_once = Member { instance: 10, ..first.clone() };
        assert!(at_once.came_after(&first) && !first.came_after(&at_once));
    }

    #[test]
    fn a_process_of_this_host_that_is_not_listed_is_gone() {
        let this = Member::this();
        assert!(Member { instance: 1, ..this.clone() }.is_gone(&this), "its number is ours now");
        let parent = Member { pid: 1, ..this.clone() };
        assert!(!parent.is_gone(&this), "process 1 is always there");
        assert!(Member { pid: u32::MAX, ..this.clone() }.is_gone(&this));
        assert!(!Member { host: "elsewhere".into(), pid: u32::MAX, ..this.clone() }.is_gone(&this));
    }
}
