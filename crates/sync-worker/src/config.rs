//! The configuration file, as it is written. [`Config::validate`] makes [`crate::Settings`] of it.

use crate::merged::PLACEHOLDER;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use tributary_runtime::Secret;
use tributary_wire::DeviceId;

/// The whole file. `docs/configuration.md` and `--help` show an example.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the changes come from.
    pub nats: NatsConfig,
    /// What the stream has to be like.
    #[serde(default)]
    pub stream: StreamConfig,
    /// Where the changes go to.
    pub shards: Vec<ShardConfig>,
    /// Which device goes to which shard.
    #[serde(default)]
    pub routing: RoutingConfig,
    /// Labels of devices, for rules of the kind `label`.
    #[serde(default)]
    pub devices: Vec<DeviceConfig>,
    /// This replica.
    #[serde(default)]
    pub worker: WorkerConfig,
    /// The admin port.
    #[serde(default)]
    pub admin: AdminConfig,
    /// How devices lie side by side in a shard.
    #[serde(default)]
    pub layout: LayoutName,
    /// The names of the layout `merged`.
    pub merged: Option<MergedConfig>,
}

/// `[nats]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// One server: `nats://host:4222`, or `tls://host:4222`.
    pub url: Option<String>,
    /// The servers of a cluster.
    #[serde(default)]
    pub urls: Vec<String>,
    /// The account's user, with `password`.
    pub user: Option<String>,
    /// Its password; `file:<path>` reads it from a file.
    pub password: Option<Secret>,
    /// A credentials file (JWT and seed) instead of user and password.
    pub credentials_file: Option<PathBuf>,
    /// The authorities that may have signed the servers' certificates, in PEM, and no others; implies TLS.
    pub tls_ca_file: Option<PathBuf>,
    /// This worker's certificate, in PEM, with `tls_key_file`; implies TLS.
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key_file: Option<PathBuf>,
    /// Servers on other machines may be spoken to in plain text.
    #[serde(default)]
    pub allow_plaintext: bool,
}

/// `[stream]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// Into how many partitions the devices are spread. Fixed once the stream exists.
    pub partitions: u32,
    /// On how many servers of the cluster each message is stored.
    pub replicas: usize,
    /// How long a message is kept, in hours; `jetstream/stream.json` by default.
    pub max_age_hours: Option<u64>,
    /// How much is kept, in GiB; `jetstream/stream.json` by default.
    pub max_gib: Option<u64>,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { partitions: 64, replicas: 1, max_age_hours: None, max_gib: None }
    }
}

/// `[[shards]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardConfig {
    /// Its name, by which rules, logs and metrics call it.
    pub name: String,
    /// `mysql://user:password@host:3306`, instead of the four that follow.
    pub url: Option<Secret>,
    /// Its host.
    pub host: Option<String>,
    /// Its port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The account, which needs what `tributary-sync-worker check` lists.
    pub user: Option<String>,
    /// Its password; `file:<path>` reads it from a file.
    pub password: Option<Secret>,
    /// Encrypt the connection.
    #[serde(default)]
    pub tls: bool,
    /// The authorities that may have signed the server's certificate, in PEM, and no others; implies `tls`.
    pub tls_ca_file: Option<PathBuf>,
    /// This worker's certificate, in PEM, with `tls_key_file`; implies `tls`.
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key_file: Option<PathBuf>,
    /// A server on another machine may be spoken to in plain text.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Connections that apply changes; a device always uses the same one.
    #[serde(default = "default_lanes")]
    pub lanes: usize,
    /// How long a lane's transaction may take, in milliseconds, and as much again for each two MiB of batches in
    /// it. Then it is ended, and the device that it was at goes aside.
    #[serde(default = "default_budget_ms")]
    pub budget_ms: u64,
    /// Its share of the devices that no rule places, relative to the other shards'.
    #[serde(default = "default_weight")]
    pub weight: f64,
    /// The database that holds the watermarks.
    #[serde(default = "default_bookkeeping")]
    pub bookkeeping: String,
}

fn default_port() -> u16 {
    3306
}

fn default_lanes() -> usize {
    4
}

fn default_budget_ms() -> u64 {
    2000
}

fn default_weight() -> f64 {
    1.0
}

fn default_bookkeeping() -> String {
    "tributary".to_owned()
}

/// `[routing]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingConfig {
    /// Pins go before ranges, and ranges before labels; within a kind, the first that fits.
    pub rules: Vec<RuleConfig>,
}

/// `[[routing.rules]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
pub enum RuleConfig {
    /// `kind = "pin"`
    Pin {
        /// The device's id.
        device: DeviceId,
        /// The shard's name.
        shard: String,
    },
    /// `kind = "range"`
    Range {
        /// The first id, or the first number at the end of an id.
        from: String,
        /// The last one.
        to: String,
        /// The shard's name.
        shard: String,
    },
    /// `kind = "label"`
    Label {
        /// The label.
        label: String,
        /// Its value.
        value: String,
        /// The shard's name.
        shard: String,
    },
}

/// `[[devices]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// The device's id.
    pub id: DeviceId,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// `[worker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// Its name among the replicas, different for each start; host, process and chance by default.
    pub id: Option<String>,
    /// After so many seconds without a sign of life, the others take its partitions over.
    pub lease_ttl_s: u64,
    /// How long a stop may take, in seconds.
    pub grace_s: u64,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { id: None, lease_ttl_s: 15, grace_s: 25 }
    }
}

/// `[admin]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9602)) }
    }
}

/// How devices lie side by side in a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayoutName {
    /// A database `<device>__<database>` for each database of each device.
    #[default]
    SchemaPerDevice,
    /// One set of tables for all devices.
    Merged,
}

/// `[merged]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MergedConfig {
    /// The database that devices share for their databases of one name; holds `{database}` once.
    pub database: String,
    /// The column that says whose a row is.
    pub device_column: String,
}

impl Default for MergedConfig {
    fn default() -> Self {
        Self { database: PLACEHOLDER.to_owned(), device_column: "device_id".to_owned() }
    }
}
