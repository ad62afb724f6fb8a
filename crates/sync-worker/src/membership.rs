//! A replica's sign of life.

use crate::lease::{self, LeaseError};
use crate::provision::Provisioned;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub(crate) struct Membership {
    worker: String,
    ttl: Duration,
    revision: Option<u64>,
    refreshed: Instant,
}

// === impl Membership ===

impl Membership {
    /// Of a replica that has not said anything yet.
    pub(crate) fn new(worker: String, ttl: Duration) -> Self {
        Self { worker, ttl, revision: None, refreshed: Instant::now() }
    }

    /// Says that the replica lives, and returns all that do.
    pub(crate) async fn refresh(&mut self, made: &Provisioned) -> Result<Vec<String>, LeaseError> {
        self.revision = Some(lease::refresh(&made.workers, &self.worker).await?);
        self.refreshed = Instant::now();
        let mut live = lease::live(&made.workers).await?;
        if !live.contains(&self.worker) {
            live.push(self.worker.clone());
        }
        Ok(live)
    }

    /// Says that the replica lives, again and again.
    pub(crate) async fn keep_up(&mut self, made: &Provisioned) -> Infallible {
        loop {
            tokio::time::sleep(self.ttl / 3).await;
            // One that fails is made up for by the next, or by the next turn.
            if let Ok(revision) = lease::refresh(&made.workers, &self.worker).await {
                self.revision = Some(revision);
                self.refreshed = Instant::now();
            }
        }
    }

    /// True when the others take this replica for dead.
    pub(crate) fn has_lapsed(&self) -> bool {
        self.refreshed.elapsed() >= self.ttl
    }

    /// Says that the replica has stopped.
    pub(crate) async fn end(&mut self, made: &Provisioned) {
        if let Some(revision) = self.revision.take() {
            // If it fails, the key ages.
            let _ = lease::resign(&made.workers, revision).await;
        }
    }
}
