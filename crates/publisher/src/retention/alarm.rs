//! When to say again that the log's retention is being used up.

use std::time::Duration;

/// How much of the retention is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Less than half.
    Fine,
    /// 50 %.
    Half,
    /// 80 %.
    Most,
    /// 95 %.
    All,
}

/// Remembers what was said.
#[derive(Debug)]
pub struct Alarm {
    level: Level,
    said_us: i64,
}

/// The same is said again after so long; what is nearly lost, more often.
const AGAIN: Duration = Duration::from_secs(6 * 3600);
const AGAIN_AT_THE_END: Duration = Duration::from_secs(1800);
/// A level is left only when it is missed by so much, so that it is not said again and again at its edge.
const MARGIN: f64 = 0.02;

// === impl Level ===

impl Level {
    /// The level of a share, where 1 is all.
    pub fn of(used: f64) -> Self {
        match used {
            used if used >= 0.95 => Self::All,
            used if used >= 0.8 => Self::Most,
            used if used >= 0.5 => Self::Half,
            _ => Self::Fine,
        }
    }
}

// === impl Alarm ===

impl Default for Alarm {
    fn default() -> Self {
        Self { level: Level::Fine, said_us: 0 }
    }
}

impl Alarm {
    /// Whether to say something now, and of which level: [`Level::Fine`] when all is well again.
    pub fn sound(&mut self, used: f64, now_us: i64) -> Option<Level> {
        let level = Level::of(used);
        let falls = level < self.level && Level::of(used + MARGIN) < self.level;
        let again = if level == Level::All { AGAIN_AT_THE_END } else { AGAIN };
        let again_us = i64::try_from(again.as_micros()).unwrap_or(i64::MAX);
        let due = self.level != Level::Fine && now_us.saturating_sub(self.said_us) >= again_us;
        if level <= self.level && !falls && !due {
            return None;
        }
        // From one level to a lower one is no news, but the end of it is.
        let is_news = level > self.level || level == Level::Fine || due;
        self.level = level;
        if is_news {
            self.said_us = now_us;
        }
        is_news.then_some(level)
    }
}
