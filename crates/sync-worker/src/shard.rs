//! A shard outside of its lanes: who it holds, and what an operator asks of it.

use crate::merged::remember::remember;
use crate::migrate::{self, MigrateError};
use crate::session::Session;
use crate::settings::ShardSettings;
use crate::sql_error::SqlError;
use crate::watermark::{self, Watermark};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
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

/// A shard, with one connection for questions.
#[derive(Debug)]
pub struct Shard {
    settings: ShardSettings,
    connection: Mutex<Connection>,
    migrated: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Connection {
    session: Option<Session>,
    resting_until: Option<Instant>,
}

// === impl Shard ===

impl Shard {
    /// Not connected yet.
    pub fn new(settings: ShardSettings) -> Self {
        Self { settings, connection: Mutex::default(), migrated: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
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
            done.map_err(|source| ShardError::Migrate { shard: shard(), source })?;
            *migrated = true;
        }
        Ok(session)
    }

    /// The bookkeeping was not as expected: the next connection looks at it again.
    pub async fn distrust(&self) {
        *self.migrated.lock().await = false;
    }

    /// The device's watermark; `None` when this shard does not hold the device.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn watermark(&self, device: &DeviceId) -> Result<Option<Watermark>, ShardError> {
        let sql = watermark::select(&self.settings.bookkeeping, &[device], false);
        Ok(self.ask(&sql).await?.into_iter().map(|(_, watermark)| watermark).next())
    }

    /// True when it answers.
    pub async fn is_reachable(&self) -> bool {
        let nobody = format!("{} LIMIT 0", watermark::select_parked(&self.settings.bookkeeping));
        self.ask(&nobody).await.is_ok()
    }

    /// Every device that is parked here.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn parked(&self) -> Result<Vec<(DeviceId, Watermark)>, ShardError> {
        self.ask(&watermark::select_parked(&self.settings.bookkeeping)).await
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

    async fn ask(&self, sql: &str) -> Result<Vec<(DeviceId, Watermark)>, ShardError> {
        let mut connection = self.connection.lock().await;
        if connection.resting_until.is_some_and(|until| Instant::now() < until) {
            return Err(ShardError::Resting { shard: self.settings.name.clone() });
        }
        let session = connection.session.take();
        // A connection that was idle may have been closed: one more attempt with a new one.
        let mut reused = session.is_some();
        let mut session = session;
        loop {
            let mut current = match session.take() {
                Some(session) => session,
                None => self.connect().await.inspect_err(|_| {
                    connection.resting_until = Some(Instant::now() + REST);
                })?,
            };
            let rows = current.rows_quickly("read the watermarks", sql).await;
            let rows = rows.and_then(watermark::parse);
            match rows {
                Ok(rows) => {
                    connection.session = Some(current);
                    connection.resting_until = None;
                    return Ok(rows);
                }
                Err(error) if reused && !error.keeps_connection() => reused = false,
                Err(error) => {
                    connection.resting_until = Some(Instant::now() + REST);
                    return Err(self.sql(error));
                }
            }
        }
    }

    fn sql(&self, source: SqlError) -> ShardError {
        ShardError::Sql { shard: self.settings.name.clone(), source }
    }
}
