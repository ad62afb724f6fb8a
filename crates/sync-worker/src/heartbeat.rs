//! Answers publishers: what is applied, and what they should do.

use crate::catch_up::CatchUp;
use crate::config::StreamConfig;
use crate::consumer;
use crate::directory::{Directory, Placement};
use crate::metrics;
use crate::ownership::Owned;
use crate::provision;
use crate::retention;
use crate::rewind::{Progress, Suspicion, gap_is_open};
use crate::turnstile::Turnstile;
use crate::watermark::Watermark;
use async_nats::jetstream::Context;
use async_nats::{Client, Message};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tributary_runtime::CancellationToken;
use tributary_wire::{
    DeviceId, Directive, HeartbeatReply, HeartbeatRequest, Position, partition, subject,
};

/// What nats-server puts in front of the reply of a service that is imported from another account.
const SERVICE_REPLY: &str = "_R_.";
/// What is wrong with heartbeats is told so often, and no more.
const COMPLAINT: Duration = Duration::from_secs(60);
/// A partition's consumer is not asked more often than this.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// A quiet device's row is read from its shard this often: one SELECT by primary key a minute.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Answers heartbeats of the partitions that this replica owns.
#[derive(Debug)]
pub struct Heartbeats {
    /// The connection.
    pub client: Client,
    /// JetStream.
    pub context: Context,
    /// How many partitions there are.
    pub stream: StreamConfig,
    /// Where devices belong.
    pub directory: Arc<Directory>,
    /// Which partitions are ours.
    pub owned: Arc<Owned>,
    /// Reads again what released devices have missed.
    pub catch_up: CatchUp,
    /// Ends the answers.
    pub stop: CancellationToken,
    asked: Mutex<HashMap<u32, Progress>>,
    sequence: Mutex<Option<(Instant, u64)>>,
}

/// What is wrong with heartbeats, told once a minute: a device may send millions.
#[derive(Debug, Default)]
struct Complaints {
    told_at: Option<Instant>,
    untold: u64,
}

/// True for an inbox of the device. Where devices have an account of their own, the server puts a subject of its
/// own in that place, and takes the answer no further than into that account.
fn is_own_inbox(device: &DeviceId, inbox: &str) -> bool {
    let own = inbox.strip_prefix(&device.inbox_prefix()).is_some_and(|rest| rest.starts_with('.'));
    own || inbox.starts_with(SERVICE_REPLY)
}

// === impl Complaints ===

impl Complaints {
    fn note(&mut self, device: &DeviceId, complaint: &str) {
        self.untold += 1;
        if self.told_at.is_none_or(|at| at.elapsed() >= COMPLAINT) {
            let heartbeats = std::mem::take(&mut self.untold);
            tracing::warn!(%device, complaint, heartbeats, "heartbeats are not answered; told at most once a minute, of the device that sent the last one");
            self.told_at = Some(Instant::now());
        }
    }
}

// === impl Heartbeats ===

impl Heartbeats {
    /// Answers nothing yet.
    pub fn new(
        client: Client,
        context: Context,
        stream: StreamConfig,
        directory: Arc<Directory>,
        owned: Arc<Owned>,
        catch_up: CatchUp,
        stop: CancellationToken,
    ) -> Self {
        let (asked, sequence) = (Mutex::default(), Mutex::default());
        Self { client, context, stream, directory, owned, catch_up, stop, asked, sequence }
    }

    /// Answers until it is told to stop.
    ///
    /// # Errors
    /// When the subjects cannot be subscribed.
    pub async fn run(self) -> Result<(), async_nats::SubscribeError> {
        let mut requests = self.client.subscribe(subject::HEARTBEATS).await?;
        let (mut turnstile, mut answers) =
            (Turnstile::new(Instant::now()), FuturesUnordered::new());
        let mut complaints = Complaints::default();
        loop {
            while let Some((device, message)) = turnstile.next() {
                answers.push(self.handle(device, message));
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                Some((device, complaint)) = answers.next() => {
                    if let Some(complaint) = complaint {
                        complaints.note(&device, complaint);
                    }
                    turnstile.done(device);
                }
                message = requests.next() => {
                    let Some(message) = message else { return Ok(()) };
                    self.let_in(message, &mut turnstile, &mut complaints);
                }
            }
        }
    }

    /// Takes in a heartbeat of a device whose partition is ours, if it is its turn. Nothing is looked up yet.
    fn let_in(
        &self,
        message: Message,
        turnstile: &mut Turnstile<Message>,
        complaints: &mut Complaints,
    ) {
        let Some(device) = DeviceId::from_subject(&message.subject) else { return };
        if !self.owned.owns(partition(&device, self.stream.partitions)) {
            return;
        }
        let bytes = message.payload.len();
        if !turnstile.offer(&device, message, bytes, Instant::now()) {
            ::metrics::counter!(metrics::HEARTBEATS_REFUSED).increment(1);
            complaints.note(&device, "it sends too many");
        }
    }

    /// Answers one, or says why it does not deserve an answer.
    async fn handle(&self, device: DeviceId, message: Message) -> (DeviceId, Option<&'static str>) {
        let complaint = self.reply(&device, &message).await.err();
        if complaint.is_some() {
            ::metrics::counter!(metrics::HEARTBEATS_REFUSED).increment(1);
        }
        (device, complaint)
    }

    async fn reply(&self, device: &DeviceId, message: &Message) -> Result<(), &'static str> {
        let Some(inbox) = message.reply.clone() else { return Ok(()) };
        // The answer goes out with this worker's rights: to the device's own inbox and nowhere else.
        if !is_own_inbox(device, &inbox) {
            return Err("its answer is wanted outside of the device's own inbox");
        }
        let request =
            HeartbeatRequest::decode(&message.payload).map_err(|_| "it cannot be read")?;
        if request.device != *device {
            return Err("it says that it is another device's");
        }
        let partition = partition(device, self.stream.partitions);
        let Some(reply) = self.answer(device, partition, &request).await else { return Ok(()) };
        ::metrics::counter!(metrics::HEARTBEATS).increment(1);
        if let Err(error) = self.client.publish(inbox, reply.encode().into()).await {
            tracing::debug!(%device, %error, "a heartbeat's answer was not sent");
        }
        Ok(())
    }

    /// The answer; `None` when it is not known what is applied.
    async fn answer(
        &self,
        device: &DeviceId,
        partition: u32,
        request: &HeartbeatRequest,
    ) -> Option<HeartbeatReply> {
        self.directory.update(device, |known| {
            known.published = request.published;
            retention::told(device, known, request.retention);
        });
        let shard = match self.directory.locate(device).await {
            Placement::At { shard, .. } => shard,
            Placement::Undecided { .. } => return None,
            Placement::Conflict { parked } => {
                let directive = Some(Directive::Parked { reason: parked.reason });
                return Some(HeartbeatReply { applied: None, directive });
            }
        };
        let watermark = match self.remembered(device, request) {
            Some(watermark) => Some(watermark),
            None => self.read(device, shard).await?,
        };
        let directive = self.directive(device, partition, shard, request, watermark.as_ref()).await;
        // Still ours? Otherwise another replica may have said more already.
        self.owned.consumer(partition)?;
        let lag_us = self.directory.knowledge(device).map_or(0, |known| known.lag_us);
        let applied = watermark.map(|watermark| watermark.applied(lag_us));
        Some(HeartbeatReply { applied, directive })
    }

    /// The device's row as its lane last wrote it, where that says all there is to say: everything that
    /// was published is applied. Now and then it is read all the same: a shard that was restored from a
    /// backup says nothing of it, and a quiet device would never notice.
    fn remembered(&self, device: &DeviceId, request: &HeartbeatRequest) -> Option<Watermark> {
        let known = self.directory.knowledge(device)?;
        let quiet = known.gap.is_none() && known.suspicion.is_none();
        let fresh = known.read_at.is_some_and(|at| at.elapsed() < REMEMBERED_FOR);
        known.watermark.filter(|row| {
            quiet
                && fresh
                && row.parked.is_none()
                && request.published.is_some_and(|p| p <= row.position)
        })
    }

    /// The device's row, from its shard; `None` when the shard does not answer.
    async fn read(&self, device: &DeviceId, shard: usize) -> Option<Option<Watermark>> {
        match self.directory.shards[shard].watermark(device).await {
            Ok(watermark) => {
                self.directory.update(device, |known| {
                    known.watermark.clone_from(&watermark);
                    if watermark.is_none() && known.shard.is_some_and(|(_, held)| held) {
                        // It was emptied: the device is looked for again.
                        known.shard = None;
                    }
                    known.read_at = Some(Instant::now());
                });
                Some(watermark)
            }
            Err(error) => {
                tracing::debug!(%device, %error, "a heartbeat is not answered");
                None
            }
        }
    }

    async fn directive(
        &self,
        device: &DeviceId,
        partition: u32,
        shard: usize,
        request: &HeartbeatRequest,
        watermark: Option<&Watermark>,
    ) -> Option<Directive> {
        if let Some(parked) = watermark.and_then(|row| row.parked.as_ref()) {
            return Some(Directive::Parked { reason: parked.reason.clone() });
        }
        if watermark.is_some() {
            self.catch_up.begin(device, partition);
        }
        let known = self.directory.knowledge(device).unwrap_or_default();
        if known.left.is_awaited() || self.directory.replays.is_waiting_for(device, shard) {
            // What is missing may still be in the stream.
            return None;
        }
        let (at, gap) = (watermark.map(|row| row.position), known.gap);
        let open = gap.is_some_and(|gap| gap_is_open(gap, request.run, at));
        if open || self.is_lost_at_the_end(device, partition, shard, request, at).await {
            tracing::info!(%device, run = request.run, watermark = ?at, "the publisher is asked to publish again from the watermark");
            ::metrics::counter!(metrics::REWINDS).increment(1);
            return Some(Directive::Rewind { run: request.run });
        }
        None
    }

    /// True when what the device has published is no longer on its way, and yet not applied.
    async fn is_lost_at_the_end(
        &self,
        device: &DeviceId,
        partition: u32,
        shard: usize,
        request: &HeartbeatRequest,
        applied: Option<Position>,
    ) -> bool {
        // At the beginning of its log a device has published nothing that could be lost.
        let published = request.published.filter(|p| *p > Position::beginning(p.epoch));
        let Some(published) = published.filter(|p| applied.is_none_or(|at| at < *p)) else {
            self.directory.update(device, |known| known.suspicion = None);
            return false;
        };
        let known = self.directory.knowledge(device).and_then(|known| known.suspicion);
        let Some(suspicion) = known.filter(|suspicion| suspicion.run == request.run) else {
            let Some(stream_sequence) = self.last_sequence().await else { return false };
            let (run, raised_at) = (request.run, Instant::now());
            let suspicion = Suspicion { run, published, stream_sequence, raised_at };
            self.directory.update(device, |known| known.suspicion = Some(suspicion));
            return false;
        };
        let Some(progress) = self.progress(partition).await else { return false };
        if !suspicion.is_ripe(progress) {
            return false;
        }
        // Read only now: what was in the stream is either committed or gone.
        let Some(row) = self.read(device, shard).await else { return false };
        self.directory.update(device, |known| known.suspicion = None);
        suspicion.is_lost(row.map(|row| row.position))
    }

    /// The stream's last sequence, asked for after the call. Callers that wait share an answer.
    async fn last_sequence(&self) -> Option<u64> {
        let called = Instant::now();
        let mut cached = self.sequence.lock().await;
        if let Some((_, sequence)) = cached.filter(|(asked, _)| *asked > called) {
            return Some(sequence);
        }
        let asked = Instant::now();
        let stream = self.context.get_stream(provision::STREAM).await.ok()?;
        let sequence = stream.cached_info().state.last_sequence;
        *cached = Some((asked, sequence));
        Some(sequence)
    }

    async fn progress(&self, partition: u32) -> Option<Progress> {
        let consumer = self.owned.consumer(partition)?;
        let mut asked = self.asked.lock().await;
        if let Some(progress) =
            asked.get(&partition).filter(|p| p.asked_at.elapsed() < ASK_INTERVAL)
        {
            return Some(*progress);
        }
        let asked_at = Instant::now();
        let progress = consumer::progress(&consumer.get_info().await.ok()?, asked_at);
        asked.insert(partition, progress);
        Some(progress)
    }
}
