//! What a process costs, as Linux counts it: CPU time and memory.

use anyhow::{Context, Result};

/// What a process used while it was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// In user and system mode, of all threads.
    pub(super) cpu_seconds: f64,
    /// The largest resident set, in MB (10^6 bytes).
    pub(super) peak_mb: f64,
}

/// Measures a process from now on.
#[derive(Debug)]
pub(super) struct Meter {
    pid: u32,
    cpu_seconds_before: f64,
}

/// `USER_HZ`, the unit of times in `/proc/<pid>/stat`: 100 on x86-64 and arm64.
const TICKS_PER_SECOND: f64 = 100.0;

impl Meter {
    /// Begins; the peak of the memory is forgotten.
    pub(super) fn start(pid: Option<u32>) -> Result<Self> {
        let pid = pid.context("it does not run")?;
        // proc_pid_clear_refs(5): 5 resets VmHWM. Where the kernel lacks it, the peak is the one since the start.
        let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
        Ok(Self { pid, cpu_seconds_before: cpu_seconds(pid)? })
    }

    /// What was used since the beginning.
    pub(super) fn read(&self) -> Result<Cost> {
        Ok(Cost {
            cpu_seconds: cpu_seconds(self.pid)? - self.cpu_seconds_before,
            peak_mb: peak_kib(self.pid)? * 1.024e-3,
        })
    }
}

/// `VmHWM`, in KiB.
pub(super) fn peak_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    Ok(kib.context("the kernel does not say VmHWM")?.trim().parse()?)
}

/// Fields 14 and 15 of proc_pid_stat(5): utime and stime.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in field 2 may hold anything, its closing parenthesis is the last.
    let (_, fields) = stat.rsplit_once(')').context("the kernel's stat line has no name")?;
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = times.map(|ticks| ticks.parse::<f64>().unwrap_or_default()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}
