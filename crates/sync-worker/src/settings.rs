//! The configuration, checked once and then trusted.

use crate::config::{
    Config, LayoutName, MergedConfig, NatsConfig, RuleConfig, ShardConfig, StreamConfig,
};
use crate::merged::{Layout, Merged, PLACEHOLDER};
use crate::route::{Candidate, IdRange, Labels, Routing, Rule};
use async_nats::ServerAddr;
use mysql_async::{ClientIdentity, Opts, OptsBuilder, SslOpts};
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tributary_runtime::transport;

const IDENTITY: &str = "tls_cert_file and tls_key_file go together: set both or none";

/// The configuration, validated.
#[derive(Debug)]
pub struct Settings {
    /// The servers and how to log in.
    pub nats: NatsConfig,
    /// What the stream has to be like.
    pub stream: StreamConfig,
    /// The shards.
    pub shards: Vec<ShardSettings>,
    /// The rules.
    pub routing: Routing,
    /// This replica's name.
    pub worker_id: String,
    /// See [`crate::config::WorkerConfig::lease_ttl_s`].
    pub lease_ttl: Duration,
    /// See [`crate::config::WorkerConfig::grace_s`].
    pub grace: Duration,
    /// See [`crate::config::AdminConfig::listen`].
    pub listen: SocketAddr,
}

/// A shard, validated.
#[derive(Clone)]
pub struct ShardSettings {
    /// Its name.
    pub name: String,
    /// How to connect. Holds the password.
    pub opts: Opts,
    /// How many lanes.
    pub lanes: usize,
    /// See [`crate::config::ShardConfig::budget_ms`].
    pub budget: Duration,
    /// The database that holds the watermarks.
    pub bookkeeping: String,
    /// How devices lie side by side in it.
    pub layout: Layout,
}

/// The configuration contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct InvalidConfig {
    /// The key at fault.
    pub key: String,
    /// What is wrong with it, and what to write.
    pub fault: String,
}

fn invalid(key: impl Into<String>, fault: impl Into<String>) -> InvalidConfig {
    InvalidConfig { key: key.into(), fault: fault.into() }
}

// === impl ShardSettings ===

/// Without the options, which hold the password.
impl fmt::Debug for ShardSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardSettings").field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl Config ===

impl Config {
    /// Checks everything that can be checked without a server.
    ///
    /// # Errors
    /// [`InvalidConfig`], which names the key.
    pub fn validate(self) -> Result<Settings, InvalidConfig> {
        self.nats.validate()?;
        if !(1..=1024).contains(&self.stream.partitions) {
            return Err(invalid("stream.partitions", "must be 1 to 1024; 64 suits most fleets"));
        }
        if !(1..=5).contains(&self.stream.replicas) {
            return Err(invalid("stream.replicas", "must be 1 to 5; 3 in a cluster"));
        }
        if !(3..=300).contains(&self.worker.lease_ttl_s) {
            return Err(invalid("worker.lease_ttl_s", "must be 3 to 300"));
        }
        let routing = self.routing()?;
        let layout = self.layout()?;
        let shards = self
            .shards
            .iter()
            .map(|shard| shard.validate(layout.as_ref()))
            .collect::<Result<_, _>>()?;
        let worker_id = match self.worker.id {
            Some(id) if is_token(&id) => id,
            Some(_) => {
                return Err(invalid("worker.id", "must be 1 to 64 characters of A-Z a-z 0-9 _ -"));
            }
            None => worker_id(),
        };
        Ok(Settings {
            nats: self.nats,
            stream: self.stream,
            shards,
            routing,
            worker_id,
            lease_ttl: Duration::from_secs(self.worker.lease_ttl_s),
            grace: Duration::from_secs(self.worker.grace_s),
            listen: self.admin.listen,
        })
    }

    /// The names of the layout `merged`, where that is configured.
    fn layout(&self) -> Result<Option<MergedConfig>, InvalidConfig> {
        if self.layout == LayoutName::SchemaPerDevice {
            return match self.merged {
                Some(_) => {
                    Err(invalid("merged", "belongs to layout = \"merged\": set both or none"))
                }
                None => Ok(None),
            };
        }
        let merged = self.merged.clone().unwrap_or_default();
        let rest = merged.database.replacen(PLACEHOLDER, "", 1);
        if rest.len() == merged.database.len()
            || rest.contains(['{', '}', '`'])
            || rest.contains("__")
        {
            let fault = "must hold {database} once, and no '__', which marks a device's databases";
            return Err(invalid("merged.database", fault));
        }
        let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        if !(1..=64).contains(&merged.device_column.len())
            || !merged.device_column.bytes().all(is_name)
        {
            return Err(invalid(
                "merged.device_column",
                "must be 1 to 64 characters of A-Z a-z 0-9 _",
            ));
        }
        Ok(Some(merged))
    }

    fn routing(&self) -> Result<Routing, InvalidConfig> {
        let names: BTreeSet<&str> = self.shards.iter().map(|shard| shard.name.as_str()).collect();
        if names.is_empty() || names.len() < self.shards.len() {
            return Err(invalid(
                "shards",
                "at least one is needed, and each needs a name of its own",
            ));
        }
        let mut rules = Vec::with_capacity(self.routing.rules.len());
        for (index, rule) in self.routing.rules.iter().enumerate() {
            let rule = rule
                .validate()
                .map_err(|fault| invalid(format!("routing.rules[{index}]"), fault))?;
            if !names.contains(rule.shard()) {
                let fault = format!("there is no shard {:?}", rule.shard());
                return Err(invalid(format!("routing.rules[{index}].shard"), fault));
            }
            rules.push(rule);
        }
        let candidate =
            |shard: &ShardConfig| Candidate { name: shard.name.clone(), weight: shard.weight };
        let mut labels = Labels::new();
        for device in &self.devices {
            labels.entry(device.id.as_str().to_owned()).or_default().extend(device.labels.clone());
        }
        Ok(Routing { rules, shards: self.shards.iter().map(candidate).collect(), labels })
    }
}

impl NatsConfig {
    /// Every server that is named.
    pub fn servers(&self) -> Vec<String> {
        self.url.iter().chain(&self.urls).cloned().collect()
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        if self.servers().is_empty() {
            return Err(invalid("nats.url", "is missing: write nats://host:4222"));
        }
        if self.user.is_some() != self.password.is_some() {
            return Err(invalid("nats.user", "user and password go together: set both or none"));
        }
        if self.user.is_some() && self.credentials_file.is_some() {
            return Err(invalid("nats.credentials_file", "set either it or user and password"));
        }
        if self.tls_cert_file.is_some() != self.tls_key_file.is_some() {
            return Err(invalid("nats.tls_cert_file", IDENTITY));
        }
        for url in self.servers() {
            let address: ServerAddr = url
                .parse()
                .map_err(|error: std::io::Error| invalid("nats.urls", error.to_string()))?;
            let refusal =
                transport::refusal(address.host(), self.is_encrypted(), self.allow_plaintext);
            if let Some(fault) = refusal {
                return Err(invalid("nats.urls", format!("{fault} (tls:// in place of nats://)")));
            }
        }
        Ok(())
    }

    /// Whether every connection has to be encrypted, whatever its server offers: one `tls://` among the
    /// addresses says so for all, those included that a server names later.
    pub fn is_encrypted(&self) -> bool {
        let is_tls = |url: &String| url.starts_with("tls://") || url.starts_with("wss://");
        self.tls_ca_file.is_some()
            || self.tls_cert_file.is_some()
            || self.servers().iter().any(is_tls)
    }
}

impl RuleConfig {
    fn validate(&self) -> Result<Rule, String> {
        Ok(match self {
            RuleConfig::Pin { device, shard } => {
                Rule::Pin { device: device.as_str().to_owned(), shard: shard.clone() }
            }
            RuleConfig::Range { from, to, shard } => {
                let range = IdRange::parse(from, to)
                    .ok_or_else(|| format!("{from:?} comes after {to:?}: exchange them"))?;
                Rule::Range { range, shard: shard.clone() }
            }
            RuleConfig::Label { label, value, shard } => {
                Rule::Label { label: label.clone(), value: value.clone(), shard: shard.clone() }
            }
        })
    }
}

impl ShardConfig {
    fn validate(&self, merged: Option<&MergedConfig>) -> Result<ShardSettings, InvalidConfig> {
        let key = |field: &str| format!("shards[{}].{field}", self.name);
        if !is_token(&self.name) {
            return Err(invalid(key("name"), "must be 1 to 64 characters of A-Z a-z 0-9 _ -"));
        }
        if !(1..=64).contains(&self.lanes) {
            return Err(invalid(key("lanes"), "must be 1 to 64"));
        }
        if !(100..=3_600_000).contains(&self.budget_ms) {
            return Err(invalid(key("budget_ms"), "must be 100 to 3600000"));
        }
        if !(self.weight.is_finite() && self.weight > 0.0) {
            return Err(invalid(key("weight"), "must be a number greater than 0"));
        }
        if self.bookkeeping.is_empty() || self.bookkeeping.contains("__") {
            let fault = "must be a name without '__', which marks a device's databases";
            return Err(invalid(key("bookkeeping"), fault));
        }
        Ok(ShardSettings {
            name: self.name.clone(),
            opts: self.opts()?,
            lanes: self.lanes,
            budget: Duration::from_millis(self.budget_ms),
            bookkeeping: self.bookkeeping.clone(),
            layout: merged.map_or(Layout::SchemaPerDevice, |merged| {
                Layout::Merged(Arc::new(Merged {
                    template: merged.database.clone(),
                    device_column: merged.device_column.clone(),
                    bookkeeping: self.bookkeeping.clone(),
                }))
            }),
        })
    }

    fn opts(&self) -> Result<Opts, InvalidConfig> {
        let mut builder = match (&self.url, &self.host) {
            (Some(url), None) => {
                let opts = Opts::from_url(url.expose()).map_err(|_| {
                    invalid(
                        format!("shards[{}].url", self.name),
                        "is no URL like mysql://user:password@host:3306; a '%', '@', ':' or '/' in the password is written as %25, %40, %3A or %2F",
                    )
                })?;
                OptsBuilder::from_opts(opts)
            }
            (None, Some(host)) => OptsBuilder::default()
                .ip_or_hostname(host.clone())
                .tcp_port(self.port)
                .user(self.user.clone())
                .pass(self.password.as_ref().map(|password| password.expose().to_owned())),
            _ => {
                let fault = "set either it, or host, port, user and password";
                return Err(invalid(format!("shards[{}].url", self.name), fault));
            }
        };
        if self.tls_cert_file.is_some() != self.tls_key_file.is_some() {
            return Err(invalid(format!("shards[{}].tls_cert_file", self.name), IDENTITY));
        }
        if self.tls || self.tls_ca_file.is_some() || self.tls_cert_file.is_some() {
            let roots = self.tls_ca_file.iter().map(|path| path.clone().into()).collect();
            let identity = self.tls_cert_file.clone().zip(self.tls_key_file.clone());
            let ssl = SslOpts::default()
                .with_root_certs(roots)
                .with_disable_built_in_roots(self.tls_ca_file.is_some())
                .with_client_identity(
                    identity.map(|(chain, key)| ClientIdentity::new(chain.into(), key.into())),
                );
            builder = builder.ssl_opts(ssl);
        }
        let opts: Opts = builder
            .prefer_socket(false)
            .client_found_rows(true)
            .stmt_cache_size(0)
            .tcp_keepalive(Some(Duration::from_secs(30)))
            .into();
        self.check_transport(&opts)?;
        Ok(opts)
    }

    fn check_transport(&self, opts: &Opts) -> Result<(), InvalidConfig> {
        let key = || format!("shards[{}].tls", self.name);
        let ssl = opts.ssl_opts();
        if ssl.is_some_and(|ssl| ssl.accept_invalid_certs() || ssl.skip_domain_validation()) {
            let fault = "a certificate that is not verified protects from nobody: take verify_ca=false and verify_identity=false out of the URL, and name the authority in tls_ca_file";
            return Err(invalid(key(), fault));
        }
        let refusal =
            transport::refusal(opts.ip_or_hostname(), ssl.is_some(), self.allow_plaintext);
        refusal.map_or(Ok(()), |fault| Err(invalid(key(), fault)))
    }
}

/// A name that can be a NATS token, a key and a label.
fn is_token(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn worker_id() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(32).collect();
    let host = if host.is_empty() { "worker".to_owned() } else { host };
    format!("{host}-{}-{:08x}", std::process::id(), fastrand::u32(..))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
