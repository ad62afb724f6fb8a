//! Device identity, and the NATS subjects that follow from it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A device's name: one NATS subject token, and the prefix of its database names at the target.
///
/// 1 to 40 characters of `A-Z a-z 0-9 _ -`. No `__` inside and no `_` at the end, because the
/// target's database is `<device>__<database>` and two devices must never meet in one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DeviceId(String);

/// Why a string is not a [`DeviceId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "device id {given:?} {fault}; use 1 to {max} characters of A-Z a-z 0-9 _ -, without '__' and not ending in '_'",
    max = DeviceId::LEN_MAX
)]
pub struct InvalidDeviceId {
    /// What was given, cut to a printable length.
    pub given: String,
    /// The first thing that is wrong with it.
    pub fault: String,
}

// === impl DeviceId ===

impl DeviceId {
    /// Longest id. MySQL's database names hold 64 characters; this leaves 22 for the device's own.
    pub const LEN_MAX: usize = 40;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The subject this device publishes its changes on: `device.<id>.changes`.
    pub fn changes_subject(&self) -> String {
        format!("device.{}.changes", self.0)
    }

    /// The subject this device sends its heartbeats to: `device.<id>.heartbeat`.
    pub fn heartbeat_subject(&self) -> String {
        format!("device.{}.heartbeat", self.0)
    }

    /// The only inbox prefix this device may subscribe under: `_INBOX_<id>`.
    pub fn inbox_prefix(&self) -> String {
        format!("_INBOX_{}", self.0)
    }

    /// Reads the id out of `device.<id>.<anything>` or of a partitioned `changes.<p>.<id>`.
    pub fn from_subject(subject: &str) -> Option<Self> {
        let mut tokens = subject.split('.');
        let id = match (tokens.next()?, tokens.next()?, tokens.next()?) {
            ("device", id, _) => id,
            ("changes", _, id) => id,
            _ => return None,
        };
        if tokens.next().is_some() { None } else { id.parse().ok() }
    }
}

impl FromStr for DeviceId {
    type Err = InvalidDeviceId;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let fault = if given.is_empty() {
            "is empty".to_owned()
        } else if given.chars().count() > Self::LEN_MAX {
            format!("has {} characters", given.chars().count())
        } else if let Some(bad) =
            given.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-'))
        {
            format!(
                "holds {bad:?}, which NATS does not allow in a subject token or MySQL would have to quote"
            )
        } else if given.contains("__") {
            "holds '__', which separates device from database at the target".to_owned()
        } else if given.ends_with('_') {
            "ends in '_'".to_owned()
        } else {
            return Ok(Self(given.to_owned()));
        };
        Err(InvalidDeviceId { given: given.chars().take(80).collect(), fault })
    }
}

impl TryFrom<String> for DeviceId {
    type Error = InvalidDeviceId;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Subjects that are not one device's.
pub mod subject {
    /// Every device's heartbeats.
    pub const HEARTBEATS: &str = "device.*.heartbeat";

    /// What one device's messages are stored as: `changes.<partition>.<device>`.
    pub fn device_filter(partition: u32, device: &super::DeviceId) -> String {
        format!("changes.{partition}.{device}")
    }

    /// What one partition stores: `changes.<partition>.*`.
    pub fn partition_filter(partition: u32) -> String {
        format!("changes.{partition}.*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_not_a_nats_token_are_refused_with_the_reason() {
        for (bad, why) in [
            ("", "is empty"),
            ("a.b", "'.'"),
            ("a b", "' '"),
            ("a*", "'*'"),
            (">", "'>'"),
            ("设备", "'设'"),
            ("a__b", "'__'"),
            ("a_", "ends in '_'"),
            (&"x".repeat(41), "41 characters"),
        ] {
            let error = bad.parse::<DeviceId>().expect_err(bad).to_string();
            assert!(error.contains(why), "{error}");
        }
        for good in ["DEVICE_001", "a", "0-9", &"x".repeat(40)] {
            assert_eq!(good.parse::<DeviceId>().expect(good).as_str(), good);
        }
    }

    #[test]
    fn a_device_is_read_from_both_forms_of_its_subject() {
        let id: DeviceId = "DEVICE_001".parse().expect("valid");
        assert_eq!(DeviceId::from_subject(&id.changes_subject()), Some(id.clone()));
        assert_eq!(DeviceId::from_subject(&id.heartbeat_subject()), Some(id.clone()));
        assert_eq!(DeviceId::from_subject("changes.17.DEVICE_001"), Some(id));
        assert_eq!(DeviceId::from_subject("changes.17.a.b"), None);
        assert_eq!(DeviceId::from_subject("other.17.a"), None);
    }
}
