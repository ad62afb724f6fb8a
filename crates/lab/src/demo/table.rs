//! The live table: redrawn in place on a terminal, printed now and then elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use tributary_testkit::stack::{Device, Metrics, Stack, Workload};

pub(super) struct Table {
    began: Instant,
    in_place: bool,
    lines_drawn: usize,
    printed_at: Option<Instant>,
    /// Rows applied at the last look, by device.
    applied: BTreeMap<String, (Instant, f64)>,
}

/// Elsewhere than on a terminal a table every second would be noise.
const PRINT_EVERY: Duration = Duration::from_secs(10);
const HEAD: &str = "device      source   link  shard    written  published           applied             lag      rows/s";

impl Table {
    pub(super) fn new() -> Table {
        Table {
            began: Instant::now(),
            in_place: std::io::stderr().is_terminal(),
            lines_drawn: 0,
            printed_at: None,
            applied: BTreeMap::new(),
        }
    }

    /// A line that stays, above the table.
    pub(super) fn note(&mut self, text: &str) {
        self.erase();
        eprintln!("[{:>5.1} s] {text}", self.began.elapsed().as_secs_f64());
    }

    /// Draws what is true now.
    pub(super) async fn show(&mut self, stack: &Stack, workloads: &[Workload]) {
        let mut workers = Vec::new();
        for worker in &stack.workers {
            // A worker that was killed says nothing.
            workers.extend(worker.metrics().await.ok());
        }
        let mut lines = vec![HEAD.to_owned()];
        for (device, workload) in stack.devices.iter().zip(workloads) {
            let publisher = device.publisher.metrics().await.ok();
            lines.push(self.line(device, workload, publisher.as_ref(), &workers));
        }
        self.draw(&lines);
    }

    fn line(
        &mut self,
        device: &Device,
        workload: &Workload,
        publisher: Option<&Metrics>,
        workers: &[Metrics],
    ) -> String {
        let id = device.id.as_str();
        let labels = [("device", id)];
        let position = |metrics: &Metrics, what: &str, labels: &[(&str, &str)]| {
            let file = metrics.get(&format!("{what}_file"), labels)?;
            let offset = metrics.get(&format!("{what}_offset_bytes"), labels)?;
            Some((file, offset))
        };
        let text = |position: Option<(f64, f64)>| {
            position.map_or("-".to_owned(), |(file, offset)| format!("{file:06}:{offset}"))
        };
        let published = publisher
            .and_then(|m| position(m, "tributary_publisher_position", &[("stage", "published")]));
        // The worker that owns the device's partition knows most.
        let owner = workers.iter().max_by(|a, b| {
            let applied = |m: &Metrics| position(m, "tributary_device_applied", &labels);
            applied(a).partial_cmp(&applied(b)).unwrap_or(std::cmp::Ordering::Equal)
        });
        let applied = owner.and_then(|m| position(m, "tributary_device_applied", &labels));
        let lag = owner.and_then(|m| m.get("tributary_device_lag_seconds", &labels));
        let shard = owner.and_then(|m| m.label("tributary_device_info", &labels, "shard"));
        let connected = publisher.and_then(|m| m.get("tributary_publisher_nats_connected", &[]));
        let link = match connected {
            Some(1.0) => "up",
            Some(_) => "down",
            None => "dead",
        };
        let total: f64 = workers
            .iter()
            .filter_map(|m| m.get("tributary_device_rows_applied_total", &labels))
            .sum();
        format!(
            "{id:<11} {:<8} {link:<5} {:<8} {:<8} {:<19} {:<19} {:<8} {:.0}",
            device.server.flavour().to_string(),
            shard.unwrap_or_else(|| "-".to_owned()),
            workload.rows(),
            text(published),
            text(applied),
            lag.map_or("-".to_owned(), |lag| format!("{lag:.3} s")),
            self.rate(id, total),
        )
    }

    fn rate(&mut self, device: &str, total: f64) -> f64 {
        let now = Instant::now();
        let before = self.applied.insert(device.to_owned(), (now, total));
        before.map_or(0.0, |(at, count)| {
            (total - count).max(0.0) / now.duration_since(at).as_secs_f64().max(0.001)
        })
    }

    fn draw(&mut self, lines: &[String]) {
        if !self.in_place {
            if self.printed_at.is_some_and(|at| at.elapsed() < PRINT_EVERY) {
                return;
            }
            self.printed_at = Some(Instant::now());
            eprintln!("[{:>5.1} s]", self.began.elapsed().as_secs_f64());
        }
        self.erase();
        for line in lines {
            eprintln!("{line}");
        }
        self.lines_drawn = if self.in_place { lines.len() } else { 0 };
    }

    fn erase(&mut self) {
        if self.lines_drawn > 0 {
            eprint!("\x1b[{}F\x1b[J", self.lines_drawn);
            let _ = std::io::stderr().flush();
            self.lines_drawn = 0;
        }
    }
}
