//! MySQL's own replication of a device, to be measured beside.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tributary_testkit::stack::{self, Device};
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, audit};

/// A replica by GTID auto-position, with as many appliers as MySQL starts by default (4).
pub(super) struct Replica {
    pub(super) server: MySqlServer,
}

/// How often an applier that stopped on an error is noticed, in seconds.
const LOOK_SECONDS: u32 = 5;

impl Replica {
    /// Starts the server. It does not replicate yet.
    pub(super) async fn new(device: &Device, arguments: &[String]) -> Result<Self> {
        let options =
            MySqlOptions { server_id: 2, arguments: arguments.to_vec(), ..MySqlOptions::target() };
        let replica = Self { server: MySqlServer::start(Flavour::MySql, &options)? };
        let source = format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, \
             SOURCE_USER = 'tributary', SOURCE_PASSWORD = 'tributary', \
             SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
            device.server.port()
        );
        replica.run(&source).await?;
        Ok(replica)
    }

    /// Receives and applies from now on.
    pub(super) async fn start(&self) -> Result<()> {
        self.run("START REPLICA").await
    }

    /// Neither receives nor applies.
    pub(super) async fn stop(&self) -> Result<()> {
        self.run("STOP REPLICA").await
    }

    /// Waits until everything is applied that the device has committed. The server itself waits: nothing
    /// polls.
    pub(super) async fn caught_up(&self, device: &Device, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        let mut source = stack::connect(&device.server).await?;
        let head: Option<String> = source.query_first("SELECT @@GLOBAL.gtid_executed").await?;
        let mut conn = stack::connect(&self.server).await?;
        let wait = "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)";
        while conn.exec_first(wait, (&head, LOOK_SECONDS)).await? != Some(0) {
            let status: Option<Row> = conn.query_first("SHOW REPLICA STATUS").await?;
            let said = |name: &str| -> Option<String> { status.as_ref()?.get(name) };
            let (receiver, applier) = (said("Last_IO_Error"), said("Last_SQL_Error"));
            let errors = [receiver.unwrap_or_default(), applier.unwrap_or_default()].concat();
            ensure!(errors.is_empty(), "the replica stopped: {errors}");
            if Instant::now() > until {
                bail!("the replica has not caught up after {} s", patience.as_secs());
            }
        }
        Ok(())
    }

    /// Compares all of the device's tables.
    pub(super) async fn verdict(&self, device: &Device) -> Result<audit::Verdict> {
        let (source, target) = (device.server.admin_url(), self.server.admin_url());
        audit::compare(&source, &target, None, str::to_owned).await
    }

    async fn run(&self, statement: &str) -> Result<()> {
        let mut conn = stack::connect(&self.server).await?;
        Ok(conn.query_drop(statement).await?)
    }
}
