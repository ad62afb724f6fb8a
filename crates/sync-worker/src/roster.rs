//! The shards that any worker was ever given. They stand in the bucket `tributary_leases` beside the leases,
//! one entry for each. A worker whose list lacks one of them does not know where its devices are, and gives no
//! device a new home: it might be the second.

use crate::lease::{LeaseError, failed};
use crate::shard::Shard;
use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One shard of the roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Always [`KIND`]: what is not ours counts for nothing.
    kind: String,
    version: u32,
    /// What a worker's list calls it.
    pub name: String,
    /// What its bookkeeping calls itself, once someone has read it.
    pub identity: Option<String>,
    /// Where its server is, for people.
    pub address: String,
}

const KIND: &str = "tributary-shard";
const VERSION: u32 = 1;
const PREFIX: &str = "shard.";
/// No fleet has more shards.
const ENTRIES_MAX: usize = 1024;
const TEXT_MAX: usize = 300;

// === impl Entry ===

impl Entry {
    fn of(shard: &Shard) -> Self {
        Self {
            kind: KIND.to_owned(),
            version: VERSION,
            name: shard.name().to_owned(),
            identity: shard.identity(),
            address: shard.address(),
        }
    }

    fn decode(name: &str, value: &[u8]) -> Option<Self> {
        let entry: Self = serde_json::from_slice(value).ok()?;
        let texts = [&entry.address, entry.identity.as_ref().unwrap_or(&entry.name)];
        let is_short = texts.iter().all(|text| text.len() <= TEXT_MAX);
        (entry.kind == KIND && entry.name == name && is_short).then_some(entry)
    }

    /// True when this is that shard, perhaps under another name.
    fn is(&self, other: &Self) -> bool {
        self.name == other.name || (self.identity.is_some() && self.identity == other.identity)
    }

    /// `shard-1 (10.0.0.7:3306)`
    pub fn shown(&self) -> String {
        format!("{} ({})", self.name, self.address)
    }
}

/// Those of the roster that are not in the list. Pure.
fn missing(roster: &[Entry], own: &[Entry]) -> Vec<Entry> {
    let is_known = |entry: &&Entry| own.iter().any(|mine| mine.is(entry));
    roster.iter().filter(|entry| !is_known(entry)).cloned().collect()
}

/// Those of the roster that a list of shards lacks.
pub(crate) fn lacking(roster: &[Entry], shards: &[Arc<Shard>]) -> Vec<Entry> {
    let own: Vec<Entry> = shards.iter().map(|shard| Entry::of(shard)).collect();
    missing(roster, &own)
}

/// Enters the worker's shards, and returns those that its list lacks.
///
/// # Errors
/// [`LeaseError`].
pub async fn merge(bucket: &Store, shards: &[Arc<Shard>]) -> Result<Vec<Entry>, LeaseError> {
    let own: Vec<Entry> = shards.iter().map(|shard| Entry::of(shard)).collect();
    let roster = read(bucket).await?;
    for mine in &own {
        let known = roster.iter().find(|entry| entry.name == mine.name);
        let is_newer = known.is_none_or(|known| {
            known.address != mine.address
                || (mine.identity.is_some() && known.identity != mine.identity)
        });
        if !is_newer {
            continue;
        }
        let replaced = known.and_then(|known| known.identity.as_ref());
        if replaced.is_some() && mine.identity.is_some() && replaced != mine.identity.as_ref() {
            tracing::warn!(
                shard = mine.name,
                "another server, or an empty one, stands in this shard's place; devices that it does not hold are copied to it anew"
            );
        }
        let identity = mine.identity.clone().or_else(|| known.and_then(|one| one.identity.clone()));
        write(bucket, &Entry { identity, ..mine.clone() }).await?;
    }
    Ok(missing(&roster, &own))
}

/// Every shard of the roster, by name.
///
/// # Errors
/// [`LeaseError`].
pub async fn read(bucket: &Store) -> Result<Vec<Entry>, LeaseError> {
    let error = failed::<async_nats::Error>("list the shards");
    let prefix = format!("{}{PREFIX}", bucket.prefix);
    let subjects = bucket.stream.info_with_subjects(format!("{prefix}*")).await;
    let subjects: Vec<(String, usize)> = subjects
        .map_err(failed("list the shards"))?
        .try_collect()
        .await
        .map_err(|source| error(source.into()))?;
    let mut roster = Vec::new();
    for (subject, _) in subjects.into_iter().take(ENTRIES_MAX) {
        let Some(name) = subject.strip_prefix(&prefix) else { continue };
        let entry = bucket.entry(format!("{PREFIX}{name}")).await;
        let entry = entry.map_err(failed("read the roster of shards"))?;
        let put = entry.filter(|entry| entry.operation == Operation::Put);
        roster.extend(put.and_then(|entry| Entry::decode(name, &entry.value)));
    }
    roster.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(roster)
}

async fn write(bucket: &Store, entry: &Entry) -> Result<(), LeaseError> {
    // Strings and a number: nothing that JSON cannot say.
    let value = serde_json::to_vec(entry).unwrap_or_default();
    let put = bucket.put(format!("{PREFIX}{}", entry.name), value.into()).await;
    put.map(|_| ()).map_err(failed("enter a shard in the roster"))
}

/// Takes a shard off the roster. False when it is not on it.
///
/// # Errors
/// [`LeaseError`].
pub async fn retire(bucket: &Store, name: &str) -> Result<bool, LeaseError> {
    if !read(bucket).await?.iter().any(|entry| entry.name == name) {
        return Ok(false);
    }
    let deleted = bucket.delete_expect_revision(format!("{PREFIX}{name}"), None).await;
    match deleted {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
        Err(error) => Err(failed("take a shard off the roster")(error)),
    }
}

/// What an operator reads when a list lacks shards.
pub(crate) fn complaint(missing: &[Entry]) -> Option<String> {
    if missing.is_empty() {
        return None;
    }
    let names: Vec<String> = missing.iter().map(Entry::shown).collect();
    Some(format!(
        "this worker's list lacks {}, which other workers were given: no device that it does not find gets a home here, as it may be there. Add it to [[shards]]; or, if it is gone for good and its devices are to be copied anew, run `tributary-sync-worker retire {}`",
        names.join(", "),
        missing.first().map_or("", |entry| entry.name.as_str())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, identity: Option<&str>) -> Entry {
        Entry {
            kind: KIND.into(),
            version: VERSION,
            name: name.into(),
            identity: identity.map(str::to_owned),
            address: "10.0.0.1:3306".into(),
        }
    }

    #[test]
    fn a_shard_under_another_name_is_not_missing_and_one_that_nobody_lists_is() {
        let roster = [entry("a", Some("1")), entry("b", Some("2")), entry("c", None)];
        let own = [entry("a", None), entry("renamed", Some("2"))];
        assert_eq!(missing(&roster, &own), [entry("c", None)]);
        assert_eq!(missing(&roster, &[]).len(), 3);
        let told = complaint(&missing(&roster, &own)).expect("told");
        assert!(told.contains("c (10.0.0.1:3306)") && told.contains("retire c"), "{told}");
        assert_eq!(complaint(&[]), None);
    }

    #[test]
    fn what_this_software_did_not_write_is_no_shard() {
        let written = serde_json::to_vec(&entry("a", Some("1"))).expect("JSON");
        assert_eq!(Entry::decode("a", &written), Some(entry("a", Some("1"))));
        assert_eq!(Entry::decode("b", &written), None, "under another name");
        assert_eq!(Entry::decode("a", br#"{"stream":"CHANGES","seq":1}"#), None);
        let long = Entry { address: "x".repeat(1000), ..entry("a", None) };
        assert_eq!(Entry::decode("a", &serde_json::to_vec(&long).expect("JSON")), None);
    }
}
