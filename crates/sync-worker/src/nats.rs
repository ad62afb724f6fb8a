//! The connection to NATS.

use crate::config::NatsConfig;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The oldest server that has what we use (`2.11`: partitions in a stream's subject transform with
/// consumers that are made anew at a sequence, and pull heartbeats that can be relied on).
pub const VERSION_MIN: (i64, i64, i64) = (2, 11, 0);

const CONNECT: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(10);
const REQUEST: Duration = Duration::from_secs(5);
/// How often it is said that messages come too fast.
const SLOW_CONSUMER: Duration = Duration::from_secs(60);
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// NATS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The credentials file cannot be read.
    #[error(
        "cannot read the NATS credentials file {path}: {source}; write it, or correct nats.credentials_file"
    )]
    Credentials {
        /// Which file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// No server can be reached, or all refuse.
    #[error(
        "cannot connect to NATS at {servers}: {source}; start it, or correct [nats] in the configuration"
    )]
    Connect {
        /// Which servers.
        servers: String,
        /// Why not.
        source: async_nats::ConnectError,
    },
    /// The server is too old.
    #[error(
        "nats-server {found} is older than 2.11, which is the oldest that has what is needed: upgrade it"
    )]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The server has no JetStream.
    #[error(
        "nats-server {name} has no JetStream: add `jetstream {{ store_dir: … }}` to its configuration (see jetstream/nats-single.conf)"
    )]
    NoJetStream {
        /// Its name.
        name: String,
    },
}

/// Connects, and checks that the server is one that can be used.
///
/// # Errors
/// [`NatsError`].
pub async fn connect(config: &NatsConfig, worker_id: &str) -> Result<Client, NatsError> {
    // Without what stands before an `@`: async-nats would write it to the log at the level `debug`.
    let servers: Vec<String> =
        config.servers().iter().map(|url| without_credentials(url)).collect();
    let options = options(config, worker_id).await?;
    let shown = servers.join(", ");
    let client = options
        .connect(servers)
        .await
        .map_err(|source| NatsError::Connect { servers: shown, source })?;
    let info = client.server_info();
    let (major, minor, patch) = VERSION_MIN;
    if !client.is_server_compatible(major, minor, patch) {
        return Err(NatsError::TooOld { found: info.version });
    }
    // A leaf node says no here although the cloud behind it has JetStream: asking decides.
    let context = async_nats::jetstream::new(client.clone());
    if !info.jetstream && context.query_account().await.is_err() {
        return Err(NatsError::NoJetStream { name: info.server_name });
    }
    Ok(client)
}

async fn options(config: &NatsConfig, worker_id: &str) -> Result<ConnectOptions, NatsError> {
    let mut options = ConnectOptions::new();
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        options = options.user_and_password(user.clone(), password.expose().to_owned());
    } else if let Some((user, password)) = config.servers().iter().find_map(|url| credentials(url))
    {
        options = options.user_and_password(user, password);
    }
    if let Some(path) = &config.credentials_file {
        options = options.credentials_file(path).await.map_err(|source| {
            NatsError::Credentials { path: path.display().to_string(), source }
        })?;
    }
    // Every server, also one that the cluster names later: nobody in between can talk TLS away.
    options = options.require_tls(config.is_encrypted());
    if let Some(path) = &config.tls_ca_file {
        // In place of the system's authorities.
        options = options.add_root_certificates(path.clone());
    }
    if let (Some(certificate), Some(key)) = (&config.tls_cert_file, &config.tls_key_file) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options
        .name(format!("tributary-sync-worker {worker_id}"))
        .connection_timeout(CONNECT)
        .request_timeout(Some(REQUEST))
        .ping_interval(PING)
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(report()))
}

/// Grows to five seconds, with jitter, so that replicas do not come back in step.
fn reconnect_delay(attempts: usize) -> Duration {
    let exponent = u32::try_from(attempts.min(10)).unwrap_or(10);
    let ceiling = Duration::from_millis(50).saturating_mul(1 << exponent).min(RECONNECT_MAX);
    ceiling.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Logs what becomes of the connection. What a flood makes the client say again and again is told once a
/// minute.
fn report() -> impl Fn(Event) -> std::future::Ready<()> {
    let told_at: Mutex<Option<Instant>> = Mutex::default();
    move |event| {
        match event {
            Event::Connected => tracing::info!("connected to NATS"),
            Event::Disconnected => tracing::warn!("the connection to NATS is lost; trying again"),
            Event::SlowConsumer(_) => {
                let mut told_at = told_at.lock().unwrap_or_else(PoisonError::into_inner);
                if told_at.is_none_or(|at| at.elapsed() >= SLOW_CONSUMER) {
                    tracing::warn!("NATS messages came faster than they were read");
                    *told_at = Some(Instant::now());
                }
            }
            other => tracing::info!(event = %other, "NATS"),
        }
        std::future::ready(())
    }
}

/// User and password of a URL, which the client does not take from there by itself.
fn credentials(url: &str) -> Option<(String, String)> {
    let address: ServerAddr = url.parse().ok()?;
    Some((address.username()?.to_owned(), address.password()?.to_owned()))
}

/// The URL without what stands before an `@`.
fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        assert_eq!(without_credentials("nats://u:secret@host:4222"), "nats://host:4222");
        assert_eq!(without_credentials("nats://host:4222"), "nats://host:4222");
    }

    #[test]
    fn reconnects_wait_longer_and_never_longer_than_five_seconds() {
        assert!(reconnect_delay(1) <= Duration::from_millis(100));
        assert!((1..200).map(reconnect_delay).all(|delay| delay <= RECONNECT_MAX));
        assert!(reconnect_delay(100) >= RECONNECT_MAX / 2);
    }
}
