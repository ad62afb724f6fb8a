//! How much is written meanwhile.

use std::fmt;
use std::str::FromStr;

/// What the device writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// One row, then nothing until it has arrived.
    Idle,
    /// So many, evenly.
    RowsPerSecond(u32),
}

const MOST: u32 = 1_000_000;

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Load::Idle => f.write_str("idle"),
            Load::RowsPerSecond(rate) => rate.fmt(f),
        }
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "idle" => Ok(Load::Idle),
            Ok(rate) if (1..=MOST).contains(&rate) => Ok(Load::RowsPerSecond(rate)),
            _ => Err(format!("neither `idle` nor a number of rows a second up to {MOST}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_idle_or_a_rate() {
        assert_eq!("idle".parse(), Ok(Load::Idle));
        assert_eq!("5000".parse(), Ok(Load::RowsPerSecond(5000)));
        assert!("0".parse::<Load>().is_err());
        assert!("much".parse::<Load>().is_err());
    }
}
