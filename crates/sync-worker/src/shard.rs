//! A shard outside of its lanes: who it holds, and what an operator asks of it.

use crate::identity::{self, identify};
use crate::merged::remember::remember;
use crate::migrate::{self, MigrateError};
use crate::presence;
use crate::session::Session;
use crate::settings::ShardSettings;
use crate::sql_error::SqlError;
use crate::watermark::{self, Watermark};
use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};
use tributary_wire::DeviceId;

/// A shard could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// It cannot be reached, or refuses.
    #[error("shard {shard}: {source}")]
    Sql {
        /// Which shard.
        shard: String,
        /// Why.
        source: SqlError,
    },
    /// Its bookkeeping cannot be used.
    #[error("shard {shard}: {source}")]
    Migrate {
        /// Which shard.
        shard: String,
        /// Why.
        source: MigrateError,
    },
    /// It could not be reached a moment ago.
    #[error("shard {shard} could not be reached a moment ago")]
    Resting {
        /// Which shard.
        shard: String,
    },
}

/// A shard that did not answer is left alone for so long.
const REST: Duration = Duration::from_secs(5);
/// Who waits so long for an answer asks whether the shard answers at all.
const DOUBT: Duration = Duration::from_secs(1);

/// A shard, with one connection for questions.
#[derive(Debug)]
pub struct Shard {
    settings: ShardSettings,
    connection: Mutex<Option<Session>>,
    rest: std::sync::Mutex<Option<Rest>>,
    migrated: Mutex<bool>,
    identity: std::sync::Mutex<Option<String>>,
    /// Its bookkeeping was not there when it was asked.
    is_empty: AtomicBool,
}

/// A shard that could not be asked, and has not been asked since.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    /// It did not refuse: it said nothing.
    silent: bool,
}

// === impl Shard ===

impl Shard {
    /// Not connected yet.
    pub fn new(settings: ShardSettings) -> Self {
        let (connection, rest, migrated, identity, is_empty) = Default::default();
        Self { settings, connection, rest, migrated, identity, is_empty }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Where its server is, for people.
    pub fn address(&self) -> String {
        let opts = &self.settings.opts;
        format!("{}:{}", opts.ip_or_hostname(), opts.tcp_port())
    }

    /// What its bookkeeping calls itself; `None` before anyone has connected.
    pub fn identity(&self) -> Option<String> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads what its bookkeeping calls itself, if it can be asked, and changes nothing there.
    pub(crate) async fn learn_identity(&self) {
        let Ok(mut session) = Session::connect(&self.settings.opts).await else { return };
        let known = identity::known(&mut session, &self.settings.bookkeeping).await;
        session.close().await;
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = known.ok().flatten();
    }

    /// What keeps it from being asked who it holds, if anything does.
    pub fn trouble(&self) -> Option<&'static str> {
        if self.is_empty.load(Ordering::Relaxed) {
            return Some(
                "its bookkeeping is gone: it was emptied, or another server stands in its place",
            );
        }
        self.rest().map(|_| "it does not answer")
    }

    /// Its settings.
    pub fn settings(&self) -> &ShardSettings {
        &self.settings
    }

    /// A new connection to a shard whose bookkeeping is up to date.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn connect(&self) -> Result<Session, ShardError> {
        let mut session = Session::connect(&self.settings.opts).await.map_err(|e| self.sql(e))?;
        let mut migrated = self.migrated.lock().await;
        if !*migrated {
            let shard = || self.settings.name.clone();
            let ShardSettings { bookkeeping, layout, .. } = &self.settings;
            let mut done = migrate::migrate(&mut session, bookkeeping).await;
            if done.is_ok() {
                done = remember(&mut session, bookkeeping, layout).await;
            }
            let identity = match done {
                Ok(()) => identify(&mut session, bookkeeping).await,
                Err(error) => Err(error),
            };
            let identity =
                identity.map_err(|source| ShardError::Migrate { shard: shard(), source })?;
            *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
            *migrated = true;
        }
        Ok(session)
    }

    /// The bookkeeping was not as expected: the next connection looks at it again.
    pub async fn distrust(&self) {
        *self.migrated.lock().await = false;
    }

    /// The bookkeeping is gone, and nobody has written since, who would have noticed.
    async fn is_emptied(&self) {
        self.distrust().await;
        if !self.is_empty.swap(true, Ordering::Relaxed) {
            tracing::error!(
                shard = self.settings.name,
                "the shard's bookkeeping is gone: it was emptied, or an empty server stands in its place; it is made anew, and the devices copy their data again"
            );
        }
    }

    /// The device's watermark; `None` when this shard does not hold the device.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn watermark(&self, device: &DeviceId) -> Result<Option<Watermark>, ShardError> {
        let sql = watermark::select(&self.settings.bookkeeping, &[device], false);
        Ok(self.ask(&sql).await?.into_iter().map(|(_, watermark)| watermark).next())
    }

    /// Ends a session of ours, whatever it is doing: what it has not committed is rolled back, and its locks are
    /// free.
    pub async fn end(&self, session: u32) {
        let Ok(mut connection) = self.turn().await else { return };
        let killer = match connection.take() {
            Some(session) => Ok(session),
            None => Session::connect(&self.settings.opts).await,
        };
        let Ok(mut killer) = killer else { return };
        // It may have ended by itself.
        let outcome =
            killer.run_quickly("end a session", format!("KILL {session}").as_bytes()).await;
        if outcome.is_ok() || outcome.is_err_and(|error| error.keeps_connection()) {
            *connection = Some(killer);
        }
    }

    /// True when it answers.
    pub async fn is_reachable(&self) -> bool {
        let nobody = format!("{} LIMIT 0", watermark::select_parked(&self.settings.bookkeeping));
        self.ask(&nobody).await.is_ok()
    }

    /// Every device that is parked here, and since when: RFC 3339, in UTC, by the shard's clock.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn parked(&self) -> Result<Vec<(DeviceId, Watermark, String)>, ShardError> {
        let rows = self.ask(&watermark::select_parked(&self.settings.bookkeeping)).await?;
        let mut session = self.connect().await?;
        let sql = watermark::select_parked_since(&self.settings.bookkeeping);
        let since = session.rows_quickly("read since when devices are parked", &sql).await;
        session.close().await;
        let since: HashMap<Vec<u8>, Vec<u8>> =
            since.map_err(|error| self.sql(error))?.into_iter().collect();
        let text = |device: &DeviceId| {
            let bytes = since.get(device.as_str().as_bytes());
            bytes.map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        Ok(rows.into_iter().map(|(device, row)| (device.clone(), row, text(&device))).collect())
    }

    /// Lets a parked device go on.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn release(&self, device: &DeviceId, skip_statement: bool) -> Result<(), ShardError> {
        let sql = watermark::release(&self.settings.bookkeeping, device, skip_statement);
        let mut session = self.connect().await?;
        let outcome = session.run("release the device", sql.as_bytes()).await;
        session.close().await;
        outcome.map_err(|error| self.sql(error))
    }

    /// Waits until the shard says nothing to anyone. For who waits for an answer of it that may take
    /// long: a statement may, a ping may not.
    pub async fn silence(&self) -> ShardError {
        loop {
            tokio::time::sleep(DOUBT).await;
            let Err(error) = self.ask("SELECT 1 LIMIT 0").await else { continue };
            if self.rest().is_some_and(|rest| rest.silent) {
                return error;
            }
        }
    }

    /// The shard has answered someone: it may be asked again.
    pub fn answers(&self) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn rest(&self) -> Option<Rest> {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave_alone(&self, error: ShardError) -> ShardError {
        let silent = match &error {
            ShardError::Sql { source, .. } => source.code().is_none(),
            ShardError::Migrate { .. } | ShardError::Resting { .. } => false,
        };
        let rest = Rest { until: Instant::now() + REST, silent };
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        error
    }

    async fn ask(&self, sql: &str) -> Result<Vec<(DeviceId, Watermark)>, ShardError> {
        let mut connection = self.turn().await?;
        let mut session = connection.take();
        // A connection that was idle may have been closed: one more attempt with a new one.
        let mut reused = session.is_some();
        loop {
            let mut current = match session.take() {
                Some(session) => session,
                None => self.connect().await.map_err(|error| self.leave_alone(error))?,
            };
            let rows = current.rows_quickly("read the watermarks", sql).await;
            match rows.and_then(watermark::parse) {
                Ok(rows) => {
                    *connection = Some(current);
                    self.is_empty.store(false, Ordering::Relaxed);
                    self.answers();
                    return Ok(rows);
                }
                Err(error) if reused && !error.keeps_connection() && !error.is_timeout() => {
                    reused = false;
                }
                Err(error) => {
                    if presence::is_missing(&error) {
                        self.is_emptied().await;
                    }
                    return Err(self.leave_alone(self.sql(error)));
                }
            }
        }
    }

    /// The connection, when it is the caller's turn. After a failure one caller finds out whether the
    /// shard is back, and the others do not wait for that.
    async fn turn(&self) -> Result<MutexGuard<'_, Option<Session>>, ShardError> {
        let resting = || ShardError::Resting { shard: self.settings.name.clone() };
        let is_resting = || self.rest().is_some_and(|rest| Instant::now() < rest.until);
        let connection = match self.rest() {
            Some(_) => self.connection.try_lock().map_err(|_| resting())?,
            None => self.connection.lock().await,
        };
        if is_resting() { Err(resting()) } else { Ok(connection) }
    }

    fn sql(&self, source: SqlError) -> ShardError {
        ShardError::Sql { shard: self.settings.name.clone(), source }
    }
}
