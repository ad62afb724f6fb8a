//! The NATS connection: batches and heartbeats out, acknowledgements and answers in.
//!
//! Acknowledgements come to an inbox of our own, told apart by their last token. async-nats's own
//! `publish` keeps an entry for every acknowledgement that is lost in a disconnect, for the life of
//! the client (nats.rs#1617); on a thin link that adds up.

use crate::config::NatsConfig;
use crate::window::Ticket;
use crate::{Error, metrics};
use async_nats::{Client, ConnectOptions, Event, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tributary_wire::{DeviceId, HeartbeatReply, HeartbeatRequest};

/// One device's connection. It reconnects for ever, by itself.
pub struct Link {
    client: Client,
    inbox: String,
    answers: Subscriber,
    connects: watch::Receiver<u64>,
    /// The connection that [`Answer::Connected`] last told of, by its number.
    connection: u64,
    last_error: Arc<Mutex<Option<String>>>,
    changes: String,
    heartbeats: String,
}

/// What came in.
#[derive(Debug)]
pub enum Answer {
    /// The stream has stored a batch.
    Stored(Ticket),
    /// The stream, or the server in its place, refused a batch.
    Refused {
        /// Which sending.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// A worker answered a heartbeat.
    Heartbeat(HeartbeatReply),
    /// Nobody listens for heartbeats.
    NobodyHome,
    /// A connection has been made anew.
    Connected,
}

/// Not every server's limit is known before the first connection; this is nats-server's default.
const MAX_PAYLOAD_DEFAULT: usize = 1 << 20;
/// Between two looks at why no connection comes about.
const INQUIRY_INTERVAL: Duration = Duration::from_secs(60);
/// After so long without a word the client asks whether the server is there, and gives up the third time. A
/// large message may keep a thin link for minutes, and a ping stands behind it; a link that is silent sooner
/// than it should be is found by the session.
const PING: Duration = Duration::from_secs(240);
const HEARTBEAT_TOKEN: &str = "heartbeat";

#[derive(Deserialize)]
struct PubAck {
    error: Option<PubAckError>,
}

#[derive(Deserialize)]
struct PubAckError {
    code: u16,
    #[serde(default)]
    description: String,
}

// === impl Link ===

impl Link {
    /// Sets the connection up; it need not be there yet.
    ///
    /// # Errors
    /// [`Error::Nats`] for addresses, files and credentials that cannot be used.
    pub async fn open(config: &NatsConfig, device: &DeviceId) -> Result<Self, Error> {
        let (connected, connects) = watch::channel(0);
        let last_error = Arc::new(Mutex::new(None));
        let errors = Arc::clone(&last_error);
        let inquiry = Arc::new(Inquiry::new(config, device));
        let options = options(config, device).await?.retry_on_initial_connect().event_callback(
            move |event| {
                if matches!(event, Event::Connected) {
                    connected.send_modify(|count| *count += 1);
                }
                if let Some(complaint) = complaint(&event) {
                    *lock(&errors) = Some(complaint);
                }
                if matches!(event, Event::ClientError(_)) {
                    Inquiry::ask(&inquiry, &errors);
                }
                metrics::nats_connected(matches!(event, Event::Connected));
                std::future::ready(())
            },
        );
        let failed = |error: &dyn std::fmt::Display| {
            Error::Nats(format!("{error}; check nats.urls and the credentials"))
        };
        let client = options.connect(config.servers()).await.map_err(|error| failed(&error))?;
        let inbox = client.new_inbox();
        let answers =
            client.subscribe(format!("{inbox}.*")).await.map_err(|error| failed(&error))?;
        let (changes, heartbeats) = (device.changes_subject(), device.heartbeat_subject());
        let connection = 0;
        Ok(Self { client, inbox, answers, connects, connection, last_error, changes, heartbeats })
    }

    /// The number of the connection that stands, or stood last.
    fn number(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Breaks a connection that has long been silent, and makes another.
    pub async fn reconnect(&self, why: &'static str) {
        tracing::info!(why, "the link is silent; making the connection to NATS anew");
        if let Err(error) = self.client.force_reconnect().await {
            tracing::debug!(%error, "no new connection");
        }
    }

    /// True while the connection stands.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// What the server last complained of: a refused login, a subject that is not allowed.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }

    /// The largest message the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        match self.client.server_info().max_payload {
            0 => MAX_PAYLOAD_DEFAULT,
            bytes => bytes,
        }
    }

    /// Sends a batch; its acknowledgement comes as an [`Answer`].
    pub async fn publish(&self, ticket: Ticket, message: Bytes) {
        let reply = format!("{}.{}", self.inbox, ticket.to_token());
        self.send(&self.changes, reply, message).await;
    }

    /// Sends a heartbeat; its reply comes as an [`Answer`], or not at all.
    pub async fn heartbeat(&self, request: &HeartbeatRequest) {
        let reply = format!("{}.{HEARTBEAT_TOKEN}", self.inbox);
        self.send(&self.heartbeats, reply, Bytes::from(request.encode())).await;
    }

    /// What is not sent is not acknowledged, so an error here needs no handling of its own: the window's
    /// deadline or the next heartbeat follows. While disconnected nothing is queued, and on a connection that
    /// nobody was told of nothing is sent: what was on its way before goes first.
    async fn send(&self, subject: &str, reply: String, payload: Bytes) {
        if !self.is_connected() || self.number() != self.connection {
            return;
        }
        if let Err(error) = self.client.publish_with_reply(subject.to_owned(), reply, payload).await
        {
            tracing::debug!(%error, subject, "not sent");
        }
    }

    /// The next answer. May be dropped while it waits; nothing is lost.
    pub async fn answer(&mut self) -> Answer {
        loop {
            tokio::select! {
                // What the old connection has not carried goes before anything that is new.
                biased;
                Ok(()) = self.connects.changed() => {
                    self.connection = self.number();
                    return Answer::Connected;
                }
                message = self.answers.next() => {
                    let Some(message) = message else {
                        // Only a closed client ends a subscription, and nobody closes this one.
                        return std::future::pending().await;
                    };
                    if let Some(answer) = read(&message) {
                        return answer;
                    }
                }
            }
        }
    }

    /// Sends what is buffered, and closes.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.client.flush()).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), self.client.drain()).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs what became of the connection; returns what the server complains of, if it does.
fn complaint(event: &Event) -> Option<String> {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("NATS connection lost; trying again for ever"),
        Event::Draining | Event::Closed => tracing::debug!(%event, "NATS"),
        other => {
            let complaint = other.to_string();
            if complaint.contains("authorization violation") {
                tracing::error!(
                    "NATS refuses the login: check nats.user and nats.password, or nats.credentials_file; trying again"
                );
            } else {
                tracing::warn!(complaint, "NATS");
            }
            return Some(complaint);
        }
    }
    None
}

/// Finds out why no connection comes about: the client says "IO error" of everything that lies below NATS, an
/// unknown certificate among it.
struct Inquiry {
    config: NatsConfig,
    device: DeviceId,
    /// When it was last asked; never while a question is under way.
    last: Mutex<Option<Instant>>,
}

// === impl Inquiry ===

impl Inquiry {
    fn new(config: &NatsConfig, device: &DeviceId) -> Self {
        Self { config: config.clone(), device: device.clone(), last: Mutex::new(None) }
    }

    /// Tries once, apart from the client, at most once a minute; the reason goes to the log and to `errors`.
    fn ask(inquiry: &Arc<Self>, errors: &Arc<Mutex<Option<String>>>) {
        let mut last = lock(&inquiry.last);
        if last.is_some_and(|last| last.elapsed() < INQUIRY_INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
        let (inquiry, errors) = (Arc::clone(inquiry), Arc::clone(errors));
        tokio::spawn(async move {
            if let Some(reason) = inquiry.reason().await {
                tracing::warn!(reason, "NATS cannot be reached; trying again for ever");
                *lock(&errors) = Some(reason);
            }
        });
    }

    /// `None` when the connection comes about.
    async fn reason(&self) -> Option<String> {
        let options = options(&self.config, &self.device).await.ok()?;
        // The first attempt is to fail, and to say why.
        let attempt = options.connect(self.config.servers()).await;
        attempt.err().map(|error| error.to_string())
    }
}

fn read(message: &async_nats::Message) -> Option<Answer> {
    let token = message.subject.rsplit('.').next()?;
    let no_responders = message.status == Some(StatusCode::NO_RESPONDERS);
    if token == HEARTBEAT_TOKEN {
        if no_responders {
            return Some(Answer::NobodyHome);
        }
        let reply = HeartbeatReply::decode(&message.payload);
        return reply
            .inspect_err(|error| tracing::warn!(%error, "heartbeat answer cannot be read"))
            .ok()
            .map(Answer::Heartbeat);
    }
    let ticket = Ticket::from_token(token)?;
    if no_responders {
        let reason = "no stream takes this subject: JetStream is off, or no sync-worker has provisioned it yet";
        return Some(Answer::Refused { ticket, reason: reason.to_owned() });
    }
    match serde_json::from_slice::<PubAck>(&message.payload) {
        Ok(PubAck { error: None }) => Some(Answer::Stored(ticket)),
        Ok(PubAck { error: Some(error) }) => Some(Answer::Refused {
            ticket,
            reason: format!("{} (code {})", error.description, error.code),
        }),
        Err(error) => Some(Answer::Refused { ticket, reason: format!("not a PubAck: {error}") }),
    }
}

async fn options(config: &NatsConfig, device: &DeviceId) -> Result<ConnectOptions, Error> {
    let mut options = ConnectOptions::new()
        .name(format!("tributary-publisher {device}"))
        .custom_inbox_prefix(device.inbox_prefix())
        .ping_interval(PING)
        .reconnect_delay_callback(delays());
    if let Some((user, password)) = config.login() {
        options = options.user_and_password(user, password);
    }
    if let Some(path) = &config.credentials_file {
        options = options.credentials_file(path).await.map_err(|error| {
            Error::Nats(format!("nats.credentials_file {}: {error}", path.display()))
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
    Ok(options)
}

/// No delay for a process that starts, which connects alone.
fn delays() -> impl Fn(usize) -> Duration {
    let has_started = AtomicBool::new(false);
    move |attempt| match has_started.swap(true, Ordering::Relaxed) {
        false => Duration::ZERO,
        true => reconnect_delay(attempt),
    }
}

/// Full jitter up to 30 s: ten thousand devices that lost the same server must not return as one.
fn reconnect_delay(attempt: usize) -> Duration {
    const CAP_MS: u64 = 30_000;
    let ceiling = CAP_MS.min(100 << attempt.min(16));
    Duration::from_millis(fastrand::u64(20..=ceiling.max(20)))
}
