//! How far a snapshot is, for whoever watches it on a terminal. Elsewhere the log says it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use tributary_wire::{SnapshotCursor, SnapshotProgress};

const TEMPLATE: &str = "{prefix} [{bar:30}] {pos} of about {len} rows, {msg}";

/// See the module. It goes when it is dropped.
#[derive(Debug)]
pub(super) struct Bar(Option<ProgressBar>);

// === impl Bar ===

impl Bar {
    /// A bar where standard error is a terminal.
    pub(super) fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(TEMPLATE);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            bar.with_style(style)
        }))
    }

    /// True when someone can see it.
    pub(super) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// So far, in this table.
    pub(super) fn at(&self, cursor: &SnapshotCursor, progress: &SnapshotProgress) {
        let Some(bar) = &self.0 else { return };
        let SnapshotProgress { tables_done, tables, rows_done, rows_left } = progress;
        bar.set_prefix(format!("table {} of {tables}", (tables_done + 1).min(*tables)));
        bar.set_message(format!("{}.{}", cursor.database, cursor.table));
        bar.set_length(rows_done + rows_left);
        bar.set_position(*rows_done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
