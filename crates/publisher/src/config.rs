//! The publisher's configuration: what stands in the file, and what it becomes.

use crate::filter::{Filter, FilterConfig, InvalidFilter};
use crate::identity::DeviceFile;
use async_nats::ServerAddr;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tributary_runtime::{ConfigError, Secret, transport};
use tributary_wire::{DeviceId, InvalidDeviceId};

/// The configuration file. Every key can be overridden by an environment variable: `source.host` by
/// `TRIBUTARY_SOURCE__HOST`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this device is.
    #[serde(default)]
    pub device: DeviceConfig,
    /// The MySQL or MariaDB server whose changes are published.
    pub source: SourceConfig,
    /// Where they are published.
    pub nats: NatsConfig,
    /// What is kept on disk.
    #[serde(default)]
    pub state: StateConfig,
    /// What must not leave the device.
    #[serde(default)]
    pub filter: FilterConfig,
    /// How changes are packed.
    #[serde(default)]
    pub publish: PublishConfig,
    /// The first copy of the tables, and the next when the log is lost.
    #[serde(default)]
    pub snapshot: SnapshotConfig,
    /// The conversation with the cloud about progress.
    #[serde(default)]
    pub heartbeat: HeartbeatConfig,
    /// Looking after how long the source keeps its log.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// Metrics and health.
    #[serde(default)]
    pub admin: AdminConfig,
    /// Log lines.
    #[serde(default)]
    pub log: LogConfig,
}

/// Identity: given here, or read from a device file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceConfig {
    /// The device's id: 1 to 40 of `A-Z a-z 0-9 _ -`. Overrides the file's.
    pub id: Option<String>,
    /// A name for people. Overrides the file's.
    pub name: Option<String>,
    /// A file of `DEVICE_ID="…"` and `DEVICE_NAME="…"` lines.
    pub file: PathBuf,
}

/// The source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Host name or address.
    #[serde(default = "default_source_host")]
    pub host: String,
    /// TCP port.
    #[serde(default = "default_source_port")]
    pub port: u16,
    /// The account: SELECT, SHOW VIEW, TRIGGER, EVENT, REPLICATION SLAVE, REPLICATION CLIENT (MariaDB:
    /// BINLOG MONITOR).
    pub user: String,
    /// Its password, or `file:/path`.
    pub password: Secret,
    /// The id under which the publisher registers as a replica; made from the device's id when it is
    /// left out. No two replicas of one server may share it.
    pub server_id: Option<u32>,
    /// TLS to the source; off by default, because it usually runs on the same device.
    #[serde(default)]
    pub tls: bool,
    /// A PEM file of the certificate authorities to trust, and no others; implies `tls`.
    pub tls_ca_file: Option<PathBuf>,
    /// A PEM file of this client's certificate, with `tls_key_file`; implies `tls`.
    pub tls_cert_file: Option<PathBuf>,
    /// A PEM file of the certificate's private key.
    pub tls_key_file: Option<PathBuf>,
    /// A source on another machine may be spoken to in plain text.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Seconds between heartbeats asked of the source; three missed ones mean a dead connection.
    #[serde(default = "default_source_heartbeat")]
    pub heartbeat_seconds: u32,
}

/// NATS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// Servers, such as `nats://nats.example.com:4222` or `tls://…`.
    pub urls: Vec<String>,
    /// User, for password authentication.
    pub user: Option<String>,
    /// Its password, or `file:/path`.
    pub password: Option<Secret>,
    /// A credentials file (JWT and seed).
    pub credentials_file: Option<PathBuf>,
    /// A PEM file of the certificate authorities to trust, and no others; implies TLS.
    pub tls_ca_file: Option<PathBuf>,
    /// A PEM file of this client's certificate, with `tls_key_file`; implies TLS.
    pub tls_cert_file: Option<PathBuf>,
    /// A PEM file of the certificate's private key.
    pub tls_key_file: Option<PathBuf>,
    /// Servers on other machines may be spoken to in plain text.
    #[serde(default)]
    pub allow_plaintext: bool,
}

/// Local state.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// Directory of the checkpoint, a cache of a few hundred bytes.
    pub dir: PathBuf,
}

/// Batches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublishConfig {
    /// A batch is sent at the latest when it holds so many bytes before compression. The server's
    /// `max_payload` bounds it as well.
    pub batch_bytes: usize,
    /// Batches that may be on their way at once.
    pub window_batches: usize,
    /// Seconds to wait for an acknowledgement before everything in flight is sent again.
    pub ack_timeout_seconds: u32,
    /// Publishing waits while so many MiB are published and not known to be applied; 0 for no limit.
    pub credit_mib: u32,
}

/// Snapshots.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotConfig {
    /// What to do when the binlog no longer reaches back to where the copy ends, or another server is
    /// behind this device.
    pub when_lost: WhenLost,
    /// No more rows a second than this; as many as the source gives when it is left out.
    pub rows_per_second: Option<u64>,
    /// No more bytes of rows a second than this, before compression.
    pub bytes_per_second: Option<u64>,
}

/// See [`SnapshotConfig::when_lost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenLost {
    /// Copy every table again; the old copy stays until it is replaced.
    #[default]
    Resnapshot,
    /// Stop, and let a person decide.
    Halt,
}

/// Heartbeats.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatConfig {
    /// Seconds between heartbeats, give or take a fifth.
    pub interval_seconds: f64,
}

/// The retention guard.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Seconds between looks at the source's binlog files.
    pub interval_seconds: f64,
}

/// The admin port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Address of `/metrics`, `/healthz` and `/readyz`.
    pub listen: SocketAddr,
}

/// Logging.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// The file or an environment variable.
    #[error(transparent)]
    Load(#[from] ConfigError),
    /// No identity anywhere.
    #[error("no device id: set device.id, or DEVICE_ID in {file} ({problem})")]
    NoDevice {
        /// The device file.
        file: PathBuf,
        /// Why it gave none.
        problem: String,
    },
    /// An identity that cannot be used.
    #[error(transparent)]
    Device(#[from] InvalidDeviceId),
    /// The filter.
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    /// A connection that is not encrypted as it has to be.
    #[error("{key}: {fault}")]
    Transport {
        /// The key.
        key: String,
        /// What is wrong, and what to do.
        fault: String,
    },
    /// A value out of its range.
    #[error("{key} is {value}: {rule}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
}

fn default_source_host() -> String {
    "127.0.0.1".to_owned()
}

fn default_source_port() -> u16 {
    3306
}

fn default_source_heartbeat() -> u32 {
    5
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { id: None, name: None, file: PathBuf::from("/etc/device.conf") }
    }
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { dir: PathBuf::from("/var/lib/tributary") }
    }
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self { batch_bytes: 768 << 10, window_batches: 8, ack_timeout_seconds: 5, credit_mib: 256 }
    }
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self { interval_seconds: 10.0 }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { interval_seconds: 60.0 }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

// === impl Config ===

impl Config {
    /// Reads file and environment, finds the identity, and checks what a type cannot.
    ///
    /// # Errors
    /// [`InvalidConfig`], which names the key and what to do.
    pub fn load(path: Option<&Path>) -> Result<(Self, DeviceId), InvalidConfig> {
        let config: Self = tributary_runtime::config::load(path)?;
        config.check()?;
        Filter::new(&config.filter)?;
        let device = config.device_id()?;
        Ok((config, device))
    }

    fn device_id(&self) -> Result<DeviceId, InvalidConfig> {
        let file = &self.device.file;
        let from_file = || match DeviceFile::read(file) {
            Ok(found) => found.id.ok_or_else(|| "it has no DEVICE_ID line".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let id = self.device.id.clone().map_or_else(from_file, Ok);
        let id = id.map_err(|problem| InvalidConfig::NoDevice { file: file.clone(), problem })?;
        Ok(id.parse()?)
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        let value = |key, value: &dyn ToString, rule| {
            Err(InvalidConfig::Value { key, value: value.to_string(), rule })
        };
        if self.nats.urls.is_empty() {
            return value(
                "nats.urls",
                &"empty",
                "name one server at least, such as nats://host:4222",
            );
        }
        if self.nats.user.is_some() != self.nats.password.is_some() {
            return value("nats.user", &"incomplete", "user and password come together");
        }
        self.nats.check_transport()?;
        self.source.check_transport()?;
        let publish = &self.publish;
        if !(16 << 10..=64 << 20).contains(&publish.batch_bytes) {
            return value("publish.batch_bytes", &publish.batch_bytes, "16384 to 67108864");
        }
        if !(1..=64).contains(&publish.window_batches) {
            return value("publish.window_batches", &publish.window_batches, "1 to 64");
        }
        if !(1..=600).contains(&publish.ack_timeout_seconds) {
            return value("publish.ack_timeout_seconds", &publish.ack_timeout_seconds, "1 to 600");
        }
        for (key, rate) in [
            ("snapshot.rows_per_second", self.snapshot.rows_per_second),
            ("snapshot.bytes_per_second", self.snapshot.bytes_per_second),
        ] {
            if rate == Some(0) {
                return value(key, &0, "1 or more; leave it out for no limit");
            }
        }
        let heartbeat = self.heartbeat.interval_seconds;
        if !(0.1..=3600.0).contains(&heartbeat) {
            return value("heartbeat.interval_seconds", &heartbeat, "0.1 to 3600");
        }
        let retention = self.retention.interval_seconds;
        if !(0.1..=3600.0).contains(&retention) {
            return value("retention.interval_seconds", &retention, "0.1 to 3600");
        }
        if !(1..=3600).contains(&self.source.heartbeat_seconds) {
            return value("source.heartbeat_seconds", &self.source.heartbeat_seconds, "1 to 3600");
        }
        Ok(())
    }
}

impl SourceConfig {
    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls || self.tls_ca_file.is_some() || self.tls_cert_file.is_some()
    }

    fn check_transport(&self) -> Result<(), InvalidConfig> {
        check_identity("source", self.tls_cert_file.is_some(), self.tls_key_file.is_some())?;
        match transport::refusal(&self.host, self.is_encrypted(), self.allow_plaintext) {
            Some(fault) => Err(InvalidConfig::Transport { key: "source.tls".to_owned(), fault }),
            None => Ok(()),
        }
    }

    /// `host:port`, as messages name it.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The replica id: as configured, or from the device's id, in the upper half where people do not
    /// number their servers.
    pub fn replica_id(&self, device: &DeviceId) -> u32 {
        self.server_id.unwrap_or_else(|| crc32fast::hash(device.as_str().as_bytes()) | 1 << 31)
    }
}

impl NatsConfig {
    /// The servers' addresses without a login: async-nats writes them to the log at the level `debug`.
    pub fn servers(&self) -> Vec<String> {
        let without_login = |url: &String| match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            _ => url.clone(),
        };
        self.urls.iter().map(without_login).collect()
    }

    /// User and password, from their own keys or else from an address.
    pub fn login(&self) -> Option<(String, String)> {
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            return Some((user.clone(), password.expose().to_owned()));
        }
        let of_url = |url: &String| {
            let address: ServerAddr = url.parse().ok()?;
            Some((address.username()?.to_owned(), address.password()?.to_owned()))
        };
        self.urls.iter().find_map(of_url)
    }

    /// Whether every connection has to be encrypted, whatever its server offers: one `tls://` among the
    /// addresses says so for all, those included that a server names later.
    pub fn is_encrypted(&self) -> bool {
        let is_tls = |url: &String| url.starts_with("tls://") || url.starts_with("wss://");
        self.tls_ca_file.is_some() || self.tls_cert_file.is_some() || self.urls.iter().any(is_tls)
    }

    fn check_transport(&self) -> Result<(), InvalidConfig> {
        check_identity("nats", self.tls_cert_file.is_some(), self.tls_key_file.is_some())?;
        for url in &self.urls {
            let transport =
                |fault: String| InvalidConfig::Transport { key: "nats.urls".to_owned(), fault };
            let address: ServerAddr =
                url.parse().map_err(|error: std::io::Error| transport(error.to_string()))?;
            let refusal =
                transport::refusal(address.host(), self.is_encrypted(), self.allow_plaintext);
            if let Some(fault) = refusal {
                return Err(transport(format!("{fault} (tls:// in place of nats://)")));
            }
        }
        Ok(())
    }
}

fn check_identity(section: &str, certificate: bool, key: bool) -> Result<(), InvalidConfig> {
    if certificate == key {
        return Ok(());
    }
    Err(InvalidConfig::Transport {
        key: format!("{section}.tls_cert_file"),
        fault: "tls_cert_file and tls_key_file go together: set both or none".to_owned(),
    })
}

impl PublishConfig {
    /// The acknowledgement's deadline.
    pub fn ack_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.ack_timeout_seconds))
    }
}
