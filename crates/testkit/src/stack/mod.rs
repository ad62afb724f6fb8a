//! A whole Tributary on this machine: devices with their publishers, nats-server, workers, shards.
//!
//! The services are the real binaries, as processes of their own, so that they can be killed. Used by the
//! end-to-end tests, the demo and the benches.

mod metrics;
mod service;
mod workload;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;

use crate::audit::{self, Verdict};
use crate::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer, Port, Proxy, Scratch};

pub use metrics::Metrics;
pub use service::Service;
pub use workload::{Workload, WorkloadReport};

/// What to start.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// One device for each: what server it has.
    pub devices: Vec<Flavour>,
    /// One shard for each: what server it is.
    pub shards: Vec<Flavour>,
    /// How many sync-workers.
    pub workers: usize,
    /// The directory of the binaries.
    pub binaries: PathBuf,
    /// Seconds between a publisher's heartbeats.
    pub heartbeat_seconds: f64,
    /// Seconds after which a dead worker's partitions are taken over.
    pub lease_ttl_seconds: u64,
    /// Lanes of each shard.
    pub lanes: usize,
    /// Uncompressed bytes in a batch, at the most.
    pub batch_bytes: usize,
    /// `publish.credit_mib`; 0 for a cloud that never says what is applied.
    pub credit_mib: u32,
    /// More sections of the publishers' configuration.
    pub publisher_sections: String,
    /// More of the workers' configuration, before all sections.
    pub worker_settings: String,
    /// More arguments of the devices' servers, which win over those the kit gives.
    pub device_arguments: Vec<String>,
    /// More arguments of the shards' servers, which win over those the kit gives.
    pub shard_arguments: Vec<String>,
    /// Every publisher reaches nats-server through a proxy of its own; see [`Device::uplink`].
    pub uplinks: bool,
    /// `innodb_flush_log_at_trx_commit=1` and `sync_binlog=1` on devices and shards.
    pub durable: bool,
}

/// A device: its server and its publisher.
#[derive(Debug)]
pub struct Device {
    /// `DEVICE_001` and so on.
    pub id: String,
    /// Its server.
    pub server: MySqlServer,
    /// Its publisher.
    pub publisher: Service,
    /// What its publisher reaches nats-server through, if that was asked for.
    pub uplink: Option<Proxy>,
}

/// A shard.
#[derive(Debug)]
pub struct Shard {
    /// `shard-0` and so on.
    pub name: String,
    /// Its server.
    pub server: MySqlServer,
}

/// Everything, running. Dropping it stops all.
#[derive(Debug)]
pub struct Stack {
    /// The devices.
    pub devices: Vec<Device>,
    /// The sync-workers.
    pub workers: Vec<Service>,
    /// The shards.
    pub shards: Vec<Shard>,
    /// The broker.
    pub nats: NatsServer,
    scratch: Scratch,
}

/// The account of nats-server that may do what a sync-worker does.
pub const WORKER_USER: &str = "worker";
/// Its password.
pub const WORKER_PASSWORD: &str = "worker-password";

impl StackOptions {
    /// Two shards, two workers, and a device for each of `devices`.
    pub fn new(devices: &[Flavour], binaries: PathBuf) -> Self {
        Self {
            devices: devices.to_vec(),
            shards: vec![Flavour::MySql, Flavour::MariaDb],
            workers: 2,
            binaries,
            heartbeat_seconds: 1.0,
            lease_ttl_seconds: 4,
            lanes: 4,
            batch_bytes: 768 << 10,
            credit_mib: 256,
            publisher_sections: String::new(),
            worker_settings: String::new(),
            device_arguments: Vec::new(),
            shard_arguments: Vec::new(),
            uplinks: false,
            durable: true,
        }
    }

    /// How a device's server is started.
    pub fn device_settings(&self) -> MySqlOptions {
        MySqlOptions {
            durable: self.durable,
            arguments: self.device_arguments.clone(),
            ..MySqlOptions::source()
        }
    }

    /// How a shard's server is started.
    pub fn shard_settings(&self) -> MySqlOptions {
        MySqlOptions {
            durable: self.durable,
            arguments: self.shard_arguments.clone(),
            ..MySqlOptions::target()
        }
    }
}

/// The directory of the binaries that were built with the running test or tool.
///
/// # Errors
/// When the running program's own place is unknown.
pub fn built_binaries() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let directory = program.parent().context("this program lies nowhere")?;
    // Test binaries lie one deeper.
    let directory = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    Ok(directory.context("no build directory")?.to_owned())
}

impl Stack {
    /// Starts the servers, then the services. They need not be ready yet: see [`Stack::ready`].
    ///
    /// # Errors
    /// When a server or a service does not start.
    pub fn start(options: &StackOptions) -> Result<Stack> {
        let mut stack = Self::servers(options)?;
        stack.launch()?;
        Ok(stack)
    }

    /// Starts the servers alone.
    ///
    /// # Errors
    /// When one does not start.
    pub fn servers(options: &StackOptions) -> Result<Stack> {
        let start = |flavours: &[Flavour], settings: &MySqlOptions| {
            let started = flavours.iter().map(|&flavour| MySqlServer::start(flavour, settings));
            started.collect::<Result<Vec<_>>>()
        };
        let shards = start(&options.shards, &options.shard_settings())?;
        let devices = start(&options.devices, &options.device_settings())?;
        Self::around(options, devices, shards)
    }

    /// Puts everything else around servers that run already, one for each that the options name.
    ///
    /// # Errors
    /// When nats-server does not start, or a service cannot be configured.
    pub fn around(
        options: &StackOptions,
        devices: Vec<MySqlServer>,
        shards: Vec<MySqlServer>,
    ) -> Result<Stack> {
        let scratch = Scratch::new()?;
        let ids: Vec<String> = (1..=devices.len()).map(|n| format!("DEVICE_{n:03}")).collect();
        let nats = NatsServer::start(&NatsOptions::with_config(&authorization(&ids)))?;
        let named = shards.into_iter().enumerate();
        let shards: Vec<Shard> =
            named.map(|(n, server)| Shard { name: format!("shard-{n}"), server }).collect();
        let workers = (0..options.workers)
            .map(|n| worker(options, n, &nats, &shards, scratch.path()))
            .collect::<Result<Vec<_>>>()?;
        let devices = ids
            .into_iter()
            .zip(devices)
            .map(|(id, server)| device(options, id, server, &nats, scratch.path()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Stack { devices, workers, shards, nats, scratch })
    }

    /// Starts the services.
    ///
    /// # Errors
    /// When one does not start.
    pub fn launch(&mut self) -> Result<()> {
        self.services().try_for_each(Service::start)
    }

    /// Every service of ours.
    pub fn services(&mut self) -> impl Iterator<Item = &mut Service> {
        self.workers.iter_mut().chain(self.devices.iter_mut().map(|device| &mut device.publisher))
    }

    /// Where configurations, logs and checkpoints lie.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Waits until every service says that it is ready.
    ///
    /// # Errors
    /// When one ends, or is not ready in time; with the end of every log: what a publisher waits for may
    /// be a worker.
    pub async fn ready(&mut self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        let mut outcome = Ok(());
        for service in self.services() {
            outcome = service.ready(until).await;
            if outcome.is_err() {
                break;
            }
        }
        outcome.with_context(|| {
            let logs: Vec<String> = self.services().map(|service| service.log_tail(15)).collect();
            logs.join("\n")
        })
    }

    /// The shard that holds a device's watermark, and the watermark as `(file, offset, part)`.
    ///
    /// # Errors
    /// When a shard that is asked cannot be read.
    pub async fn watermark(&self, device: &str) -> Result<Option<(usize, (u32, u64, u64))>> {
        for (n, shard) in self.shards.iter().enumerate() {
            let mut conn = connect(&shard.server).await?;
            let found: Option<(u32, u64, u64)> = conn
                .exec_first(
                    "SELECT file, `offset`, part FROM tributary.watermark WHERE device_id = ?",
                    (device,),
                )
                .await
                // Not migrated yet: no worker has been here.
                .unwrap_or_default();
            if let Some(watermark) = found {
                return Ok(Some((n, watermark)));
            }
        }
        Ok(None)
    }

    /// True once every table of a device is copied.
    async fn is_live(&self, device: &str, shard: usize) -> Result<bool> {
        let mut conn = connect(&self.shards[shard].server).await?;
        // MessagePack: an array of two, of which the first is the cursor or nil.
        let sql = "SELECT snapshot IS NULL OR HEX(SUBSTRING(snapshot, 2, 1)) = 'C0' \
                   FROM tributary.watermark WHERE device_id = ?";
        Ok(conn.exec_first(sql, (device,)).await? == Some(1))
    }

    /// Waits until every device's watermark has come to the end of its log as it is now, and no table
    /// is left to be copied.
    ///
    /// # Errors
    /// When that takes longer than `patience`; names the devices and where they are.
    pub async fn caught_up(&self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        for device in &self.devices {
            let head = device.head().await?;
            loop {
                let found = self.watermark(&device.id).await?;
                let watermark = found.map(|(_, (file, offset, _))| (file, offset));
                if let Some((shard, _)) = found
                    && watermark.is_some_and(|watermark| watermark >= head)
                    && self.is_live(&device.id, shard).await?
                {
                    break;
                }
                if Instant::now() > until {
                    bail!(
                        "{} is applied up to {watermark:?} of {head:?} after {} s\n{}",
                        device.id,
                        patience.as_secs(),
                        device.publisher.log_tail(15)
                    );
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Compares every table of a device with its copy.
    ///
    /// # Errors
    /// When a server cannot be read, or the device is on no shard.
    pub async fn verdict(&self, device: &Device) -> Result<Verdict> {
        let place = self.watermark(&device.id).await?;
        let (shard, _) = place.with_context(|| format!("{} is on no shard", device.id))?;
        let target = self.shards[shard].server.admin_url();
        let id = &device.id;
        audit::compare(&device.server.admin_url(), &target, None, |db| format!("{id}__{db}")).await
    }
}

impl Device {
    /// Where its log ends: file number and offset.
    ///
    /// # Errors
    /// When its server cannot be asked.
    pub async fn head(&self) -> Result<(u32, u64)> {
        let files = self.log_files().await?;
        let (name, bytes) = files.last().context("the device writes no binary log")?;
        let number = name.rsplit('.').next().and_then(|n| n.parse().ok()).context("no number")?;
        Ok((number, *bytes))
    }

    /// The size of its log: of all files that it keeps.
    ///
    /// # Errors
    /// When its server cannot be asked.
    pub async fn log_bytes(&self) -> Result<u64> {
        Ok(self.log_files().await?.iter().map(|(_, bytes)| bytes).sum())
    }

    /// The files of its log, the oldest first: their names and sizes in bytes.
    async fn log_files(&self) -> Result<Vec<(String, u64)>> {
        let mut conn = connect(&self.server).await?;
        let rows: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await?;
        let file = |row: &mysql_async::Row| row.get(0).zip(row.get(1));
        rows.iter().map(file).collect::<Option<_>>().context("SHOW BINARY LOGS is not understood")
    }

    /// Drops all of its log but the newest file. MariaDB keeps a file until its engines let go of it.
    ///
    /// # Errors
    /// When it cannot be asked, or keeps them for longer than `patience`.
    pub async fn forget_log(&self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        let mut conn = connect(&self.server).await?;
        conn.query_drop("FLUSH BINARY LOGS").await?;
        loop {
            let files = self.log_files().await?;
            let (last, _) = files.last().context("the device writes no binary log")?;
            if files.len() == 1 {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{} keeps {} binlog files", self.id, files.len());
            }
            conn.query_drop(format!("PURGE BINARY LOGS TO '{last}'")).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs statements on its server, on one connection.
    ///
    /// # Errors
    /// The first statement's that fails, with its text.
    pub async fn sql(&self, statements: &[&str]) -> Result<()> {
        let mut conn = connect(&self.server).await?;
        for statement in statements {
            conn.query_drop(*statement).await.with_context(|| (*statement).to_owned())?;
        }
        Ok(())
    }
}

/// A connection with every privilege.
///
/// # Errors
/// When the server does not answer.
pub async fn connect(server: &MySqlServer) -> Result<mysql_async::Conn> {
    let options = mysql_async::Opts::from_url(&server.admin_url())?;
    Ok(mysql_async::Conn::new(options).await?)
}

/// Each device may do only what `jetstream/README.md` says it needs.
fn authorization(ids: &[String]) -> String {
    let mut users = String::new();
    for id in ids {
        let _ = writeln!(
            users,
            "    {{ user: {id}, password: \"{id}-password\", permissions: {{ \
             publish: [\"device.{id}.changes\", \"device.{id}.heartbeat\"], subscribe: [\"_INBOX_{id}.>\"] }} }}"
        );
    }
    let services = ["device.*.changes", "device.*.heartbeat"];
    let exports = services.map(|subject| format!("{{ service: \"{subject}\" }}")).join(", ");
    let import = |subject| format!("{{ service: {{ account: CLOUD, subject: \"{subject}\" }} }}");
    let imports = services.map(import).join(", ");
    format!(
        "accounts {{\n  CLOUD {{\n    jetstream: enabled\n    exports: [{exports}]\n    \
         users: [{{ user: {WORKER_USER}, password: {WORKER_PASSWORD} }}]\n  }}\n  \
         DEVICES {{\n    imports: [{imports}]\n    users: [\n{users}    ]\n  }}\n}}\n"
    )
}

fn worker(
    options: &StackOptions,
    n: usize,
    nats: &NatsServer,
    shards: &[Shard],
    directory: &Path,
) -> Result<Service> {
    let admin = Port::reserve()?;
    let mut text = format!(
        "{}\n[nats]\nurls = [\"{}\"]\nuser = \"{WORKER_USER}\"\npassword = \"{WORKER_PASSWORD}\"\n\
         [stream]\nmax_gib = 1\n[worker]\nid = \"worker-{n}\"\nlease_ttl_s = {}\n[admin]\nlisten = \"{}\"\n",
        options.worker_settings,
        nats.url(),
        options.lease_ttl_seconds,
        admin.address()
    );
    // Device n goes to shard n modulo their number, so that every shard has work.
    for (nth, _) in options.devices.iter().enumerate() {
        let shard = &shards[nth % shards.len()].name;
        let _ = writeln!(
            text,
            "[[routing.rules]]\nkind = \"pin\"\ndevice = \"DEVICE_{:03}\"\nshard = \"{shard}\"",
            nth + 1
        );
    }
    for shard in shards {
        let _ = writeln!(
            text,
            "[[shards]]\nname = \"{}\"\nhost = \"127.0.0.1\"\nport = {}\nuser = \"tributary\"\npassword = \"tributary\"\nlanes = {}",
            shard.name,
            shard.server.port(),
            options.lanes
        );
    }
    let name = format!("worker-{n}");
    configure(options, "tributary-sync-worker", name, &text, admin, directory)
}

fn device(
    options: &StackOptions,
    id: String,
    server: MySqlServer,
    nats: &NatsServer,
    directory: &Path,
) -> Result<Device> {
    let admin = Port::reserve()?;
    let uplink = options.uplinks.then(|| Proxy::start(nats.address())).transpose()?;
    let url =
        uplink.as_ref().map_or_else(|| nats.url(), |proxy| format!("nats://{}", proxy.addr()));
    let text = format!(
        "[device]\nid = \"{id}\"\n\
         [source]\nport = {}\nuser = \"tributary\"\npassword = \"tributary\"\nheartbeat_seconds = 2\n\
         [nats]\nurls = [\"{}\"]\nuser = \"{id}\"\npassword = \"{id}-password\"\n\
         [state]\ndir = \"{}\"\n[publish]\nbatch_bytes = {}\ncredit_mib = {}\nack_timeout_seconds = 2\n\
         [heartbeat]\ninterval_seconds = {:?}\n[admin]\nlisten = \"{}\"\n{}\n",
        server.port(),
        url,
        directory.display(),
        options.batch_bytes,
        options.credit_mib,
        options.heartbeat_seconds,
        admin.address(),
        options.publisher_sections
    );
    let name = format!("publisher-{id}");
    let publisher = configure(options, "tributary-publisher", name, &text, admin, directory)?;
    Ok(Device { id, server, publisher, uplink })
}

fn configure(
    options: &StackOptions,
    binary: &str,
    name: String,
    text: &str,
    admin: Port,
    directory: &Path,
) -> Result<Service> {
    let config = directory.join(format!("{name}.toml"));
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let program = options.binaries.join(binary);
    if !program.exists() {
        bail!("{} is not built: run `cargo build --workspace`", program.display());
    }
    Ok(Service::new(name, program, config, admin))
}
