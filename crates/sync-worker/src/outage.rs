//! What an executor does while its shard fails: tries again for a while, then gives it up until it is
//! back.

use crate::apply::Target;
use crate::catalog::Catalog;
use crate::executor::{BACKOFF_MAX, BACKOFF_MIN, Executor};
use crate::failure::Failure;
use crate::lane::Health;
use crate::shard::Shard;
use std::time::{Duration, Instant};
use tributary_runtime::Backoff;
use tributary_schema::quote;

/// A shard that has failed for so long counts as down, and its lanes hold nobody up any more.
const DOWN_AFTER: Duration = Duration::from_secs(5);
/// How long a shard is left alone whose bookkeeping is not as expected.
const HALTED: Duration = Duration::from_secs(30);

/// Gives an exchange with a shard up when the shard answers nobody else either: it hangs. Without this
/// a lane would learn of it from the deadline of its statement, which has to allow for slow ones.
pub(crate) async fn unless_silent<T>(
    shard: &Shard,
    exchange: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        outcome = exchange => outcome,
        error = shard.silence() => Err(Failure::silent(&error)),
    }
}

// === impl Executor ===

impl Executor {
    /// Looks whether a shard that was down takes changes again. The outcome shows in its health.
    pub(crate) async fn look(&mut self) {
        if self.connected().await.is_ok() && self.takes_changes().await {
            self.recovered();
        }
    }

    /// False when the shard takes changes from nobody: it is read-only, locked as a whole, or gone.
    pub(crate) async fn takes_changes(&mut self) -> bool {
        let Some(target) = &mut self.target else { return false };
        // Changes nothing, and is refused all the same.
        let sql =
            format!("UPDATE {}.watermark SET run=run WHERE device_id=''", quote(&target.database));
        match target.session.run_quickly("look whether it takes changes", sql.as_bytes()).await {
            Ok(()) => true,
            Err(error) => {
                if !error.keeps_connection() {
                    self.target = None;
                }
                false
            }
        }
    }

    /// True when a new connection can be made, and takes changes that are of no device.
    pub(crate) async fn serves_others(&mut self) -> bool {
        self.target = None;
        self.connected().await.is_ok() && self.takes_changes().await
    }

    pub(crate) async fn failing(&mut self, failure: &Failure) {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if failure.is_silence || since.elapsed() >= DOWN_AFTER {
            self.go_down(&failure.error);
            return;
        }
        tracing::warn!(
            shard = self.place.shard.name(),
            lane = self.place.number,
            error = failure.error,
            "the shard fails; the group is tried again"
        );
        tokio::time::sleep(self.backoff.next()).await;
    }

    pub(crate) async fn halt(&mut self, failure: &Failure) {
        tracing::error!(
            shard = self.place.shard.name(),
            error = failure.error,
            "the shard's bookkeeping database is not what this build expects; nothing is written there before it is: compare its tables with schemas/shard/"
        );
        self.place.shard.distrust().await;
        self.go_down(&failure.error);
        self.backoff = Backoff::new(HALTED, HALTED);
    }

    pub(crate) fn go_down(&mut self, error: &str) {
        if !self.is_down() {
            tracing::error!(
                shard = self.place.shard.name(),
                lane = self.place.number,
                error,
                "the shard is down: its devices' batches stay in the stream, and are read again when it is back; bring the shard back, or correct its credentials"
            );
        }
        self.target = None;
        self.place.health.send_replace(Health::Down);
    }

    pub(crate) fn recovered(&mut self) {
        let was_failing = self.failing_since.take().is_some();
        if was_failing || self.is_down() {
            let (shard, lane) = (self.place.shard.name(), self.place.number);
            tracing::info!(shard, lane, "the shard is back");
            self.backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
            self.place.health.send_replace(Health::Up);
            self.place.shard.answers();
        }
        self.backoff.reset();
    }

    /// Connects where there is no connection.
    pub(crate) async fn connected(&mut self) -> Result<(), Failure> {
        if self.target.is_none() {
            let session = self.place.shard.connect().await;
            let session = session.map_err(|error| Failure::unreachable(&error))?;
            let settings = self.place.shard.settings();
            let (database, layout) = (settings.bookkeeping.clone(), settings.layout.clone());
            self.target = Some(Target { session, catalog: Catalog::default(), database, layout });
        }
        Ok(())
    }
}
