//! Whether a service can do its work now, condition by condition.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Conditions = BTreeMap<Cow<'static, str>, Result<(), String>>;

/// Named conditions that must all hold for a service to be ready. Clones share them.
///
/// With no condition at all it is not ready: a service that has not said anything yet has not
/// started.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Conditions>>,
}

// === impl Readiness ===

impl Readiness {
    /// With these conditions, none of which holds before [`Readiness::set_ready`] says so.
    pub fn expecting(names: impl IntoIterator<Item = &'static str>) -> Self {
        let readiness = Self::default();
        for name in names {
            readiness.set_ready(name, Err("not reported yet".to_owned()));
        }
        readiness
    }

    /// Says that the condition `name` holds, or why it does not.
    pub fn set_ready(&self, name: impl Into<Cow<'static, str>>, state: Result<(), String>) {
        self.lock().insert(name.into(), state);
    }

    /// Drops a condition that no longer has a meaning: a shard that was removed.
    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// True when there are conditions and all hold.
    pub fn is_ready(&self) -> bool {
        let conditions = self.lock();
        !conditions.is_empty() && conditions.values().all(Result::is_ok)
    }

    fn lock(&self) -> MutexGuard<'_, Conditions> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line per condition, by name: `nats: ready`, `shard-0: not ready: connection refused`.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = self.lock();
        if conditions.is_empty() {
            return f.write_str("starting: not ready: nothing has reported yet\n");
        }
        for (name, state) in conditions.iter() {
            match state {
                Ok(()) => writeln!(f, "{name}: ready")?,
                Err(reason) => {
                    write!(f, "{name}: not ready: ")?;
                    f.write_str(&reason.lines().collect::<Vec<_>>().join(" "))?;
                    f.write_char('\n')?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_has_reported_nothing_is_not_ready() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.to_string(), "starting: not ready: nothing has reported yet\n");
    }

    #[test]
    fn it_is_ready_only_when_every_condition_holds() {
        let readiness = Readiness::expecting(["nats", "source"]);
        readiness.clone().set_ready("nats", Ok(()));
        assert!(!readiness.is_ready());
        readiness.set_ready("source", Ok(()));
        assert!(readiness.is_ready());
        readiness.set_ready("source", Err("binlog_format is STATEMENT".into()));
        assert!(!readiness.is_ready());
    }

    #[test]
    fn every_condition_has_one_line_however_long_its_reason_is() {
        let readiness = Readiness::expecting(["nats"]);
        readiness.set_ready(format!("shard-{}", 0), Err("refused\nby the server".into()));
        readiness.set_ready("source", Ok(()));
        assert_eq!(
            readiness.to_string(),
            "nats: not ready: not reported yet\nshard-0: not ready: refused by the server\nsource: ready\n"
        );
        readiness.forget("nats");
        assert_eq!(readiness.to_string().lines().count(), 2);
    }
}
