//! A report as one JSON object on a line.

use std::fmt::{Display, Write as _};

/// The object, as far as it is written. Keys and texts are our own and need no escapes.
pub(super) struct Line(String);

impl Line {
    pub(super) fn new(bench: &str) -> Self {
        Self(format!("{{\"bench\":\"{bench}\""))
    }

    pub(super) fn text(mut self, key: &str, value: impl Display) -> Self {
        let _ = write!(self.0, ",\"{key}\":\"{value}\"");
        self
    }

    /// A whole number, or `true`.
    pub(super) fn plain(mut self, key: &str, value: impl Display) -> Self {
        let _ = write!(self.0, ",\"{key}\":{value}");
        self
    }

    /// A number with so many digits behind the point.
    pub(super) fn number(mut self, key: &str, value: f64, digits: usize) -> Self {
        let _ = write!(self.0, ",\"{key}\":{value:.digits$}");
        self
    }

    pub(super) fn print(self) {
        println!("{}}}", self.0);
    }
}
