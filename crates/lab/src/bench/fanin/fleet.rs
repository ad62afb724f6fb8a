//! Thousands of devices that share one connection to NATS, and what the shard holds of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream;
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tributary_testkit::stack::{self, Stack, WORKER_PASSWORD, WORKER_USER};
use tributary_wire::TableShape;

use super::Layout;
use super::device::{self, Device, Message};

/// The devices and their way to the shard.
pub(super) struct Fleet {
    devices: Vec<Device>,
    shape: Arc<TableShape>,
    nats: jetstream::Context,
    shard: Conn,
}

/// Messages in flight.
const WINDOW: usize = 256;
/// ER_BAD_DB_ERROR and ER_NO_SUCH_TABLE: the worker's bookkeeping is made at its first look at the shard.
const NOT_MIGRATED: [u16; 2] = [1049, 1146];
const POLL: Duration = Duration::from_millis(20);

impl Fleet {
    pub(super) async fn new(stack: &Stack, devices: u32) -> Result<Self> {
        let login = (WORKER_USER.to_owned(), WORKER_PASSWORD.to_owned());
        let options = async_nats::ConnectOptions::with_user_and_password(login.0, login.1);
        Ok(Self {
            devices: (0..devices).map(Device::new).collect::<Result<_>>()?,
            shape: device::shape(),
            nats: jetstream::new(options.connect(stack.nats.url()).await?),
            shard: stack::connect(&stack.shards[0].server).await?,
        })
    }

    /// Says what the shard made of its table caches: it lowers them to the files that it may open.
    pub(super) async fn say_caches(&mut self) -> Result<()> {
        let sql = "SELECT @@table_open_cache, @@table_definition_cache, @@open_files_limit";
        let caches: Option<(u64, u64, u64)> = self.shard.query_first(sql).await?;
        let (open, definitions, files) = caches.context("no caches")?;
        eprintln!(
            "table_open_cache {open}, table_definition_cache {definitions}, open_files_limit {files}"
        );
        Ok(())
    }

    /// Each device's database and table.
    pub(super) fn create(&mut self) -> Result<Vec<Message>> {
        self.devices.iter_mut().map(Device::create).collect()
    }

    /// One batch of each device, then the next of each.
    pub(super) fn rounds(&mut self, rounds: u32, rows: u32) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        for _ in 0..rounds {
            for device in &mut self.devices {
                messages.push(device.insert(&self.shape, rows)?);
            }
        }
        Ok(messages)
    }

    /// Publishes all in their order, since nobody is there to send a device's batch again; each is
    /// acknowledged by JetStream.
    pub(super) async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        let mut in_flight = FuturesUnordered::new();
        for Message { subject, payload } in messages {
            let stored = self.nats.publish(subject, payload.into()).await?;
            in_flight.push(stored.into_future());
            if in_flight.len() >= WINDOW {
                in_flight.try_next().await?;
            }
        }
        while in_flight.try_next().await?.is_some() {}
        Ok(())
    }

    /// Waits until the shard holds everything that was published of every device.
    pub(super) async fn applied(&mut self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        let head = self.devices.first().context("no device")?.offset();
        let sql = "SELECT COUNT(*), MAX(CONCAT(device_id, ': ', parked_reason)) FROM tributary.watermark \
                   WHERE `offset` >= ? OR parked_reason IS NOT NULL";
        loop {
            let found = self.shard.exec_first(sql, (head,)).await;
            let (there, parked): (usize, Option<String>) = match found {
                Err(mysql_async::Error::Server(error)) if NOT_MIGRATED.contains(&error.code) => {
                    (0, None)
                }
                found => found?.context("a count")?,
            };
            if let Some(parked) = parked {
                bail!("parked: {parked}");
            }
            if there == self.devices.len() {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{there} of {} devices are applied", self.devices.len());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Fails unless every device's rows are there, `rows` of each.
    pub(super) async fn verify(&mut self, layout: Layout, rows: u64) -> Result<()> {
        let sum = (0..rows).sum::<u64>();
        for device in &self.devices {
            let id = &device.id;
            let from = match layout {
                Layout::SchemaPerDevice => format!("{id}__app.reading"),
                Layout::Merged => format!("app.reading WHERE device_id = '{id}'"),
            };
            let sql = format!("SELECT COUNT(*), CAST(IFNULL(SUM(id), 0) AS UNSIGNED) FROM {from}");
            let found: Option<(u64, u64)> = self.shard.query_first(sql).await?;
            ensure!(found == Some((rows, sum)), "{id}: {found:?} instead of {rows} rows");
        }
        Ok(())
    }
}
