//! Progress of a long step: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const LINE_INTERVAL: Duration = Duration::from_secs(3);

/// Prints a line that stays.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// One step with a known amount of work.
pub(crate) struct Progress {
    what: String,
    unit: Unit,
    total: u64,
    bar: Option<ProgressBar>,
    printed: Instant,
}

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Bytes, shown in MB.
    Bytes,
    /// Packages.
    Packages,
}

impl Progress {
    pub(crate) fn start(what: &str, unit: Unit, done: u64, total: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let amount = match unit {
                Unit::Bytes => "{bytes} / {total_bytes}",
                Unit::Packages => "{pos} / {len} packages",
            };
            let style = ProgressStyle::with_template(&format!("{{msg:36}} [{{bar:30}}] {amount}"))
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.with_style(style).with_message(what.to_owned())
        });
        let progress =
            Progress { what: what.to_owned(), unit, total, bar, printed: Instant::now() };
        if progress.bar.is_none() {
            progress.print(done);
        }
        progress
    }

    pub(crate) fn at(&mut self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done.min(self.total)),
            None if self.printed.elapsed() >= LINE_INTERVAL => {
                self.print(done);
                self.printed = Instant::now();
            }
            None => {}
        }
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.print(self.total);
    }

    fn print(&self, done: u64) {
        let done = done.min(self.total);
        match self.unit {
            Unit::Bytes => say(&format!("{}: {} / {} MB", self.what, mb(done), mb(self.total))),
            Unit::Packages => say(&format!("{}: {done} / {} packages", self.what, self.total)),
        }
    }
}

fn mb(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
