//! One attempt: from "where does the copy end?" to the first thing that goes wrong.

use crate::capture::{Capture, CaptureError, Log};
use crate::checkpoint::{Checkpoint, CheckpointFile};
use crate::config::WhenLost;
use crate::credit::Credit;
use crate::filter::{Filter, Remembered, agree::agree};
use crate::link::{Answer, Link};
use crate::metrics::{self, Stage};
use crate::pace::Pace;
use crate::retention::{Ledger, Standing, Watch};
use crate::silence::Silence;
use crate::snapshot::{self, Ask, Coordinator};
use crate::source::{Facts, Source};
use crate::start::Cloud;
use crate::tail::{FORMAT_DESCRIPTION, Tail, TailEvent};
use crate::window::{Progress, Window};
use crate::{Config, Error, check, origin};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tributary_runtime::Readiness;
use tributary_wire::{
    DeviceId, Directive, Header, HeartbeatReply, HeartbeatRequest, Position, Seal, SnapshotCursor,
};

/// What outlives an attempt.
pub struct Agent {
    /// The configuration.
    pub config: Config,
    /// Who this is.
    pub device: DeviceId,
    /// The NATS connection.
    pub link: Link,
    /// The state directory.
    pub checkpoints: CheckpointFile,
    /// What is, or will be, in the checkpoint file.
    pub checkpoint: Option<Checkpoint>,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// The run that batches are published under; see [`Header::run`].
    pub run: u64,
    /// How long the source still keeps what is not known to be applied.
    pub retention: Watch,
    /// What was sealed and is not known to be applied.
    pub ledger: Ledger,
    /// How much more may be published before some of it is applied.
    pub credit: Credit,
    /// What the link carries, as the last attempt learnt it.
    pub pace: Option<Pace>,
    /// The filter as the checkpoint remembers it.
    pub filter: Remembered,
    /// The last attempt ended because the cloud asked for what the stream has lost.
    pub after_rewind: bool,
    /// No target knows the device.
    pub is_new: bool,
    /// The last attempt found that the log has lost what is to follow.
    pub take_snapshot: bool,
}

/// How an attempt ends when nothing went wrong.
#[derive(Debug)]
pub enum End {
    /// The cloud asks for everything from its watermark on.
    Rewind,
    /// The server that NATS reconnected to takes only smaller messages than the batches at hand.
    SmallerPayload,
}

/// Reading, packing and sending, once the place to begin is known.
struct Flow<'a> {
    agent: &'a mut Agent,
    source: Source,
    facts: Facts,
    tail: Tail,
    capture: Capture,
    window: Window,
    message_bytes_max: usize,
    ready: VecDeque<Seal>,
    /// The snapshot that is under way.
    snapshot: Option<Coordinator>,
    /// Every table must be younger than the log: this device's history begins here.
    at_origin: bool,
    published: Position,
    parked: Option<String>,
    heartbeat_at: Instant,
    mark_at: Instant,
    resend_at: Option<Instant>,
    /// A batch was refused: what is stored behind it is in the wrong place.
    refused: bool,
    silence: Silence,
    checkpoint_at: Option<Instant>,
    answered: bool,
    /// So much is published and not applied that nothing more is.
    waits_for_credit: bool,
    /// When the last event that was read was written.
    read_us: i64,
}

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);
/// An idle or fully filtered device moves its watermark so often.
const MARK_INTERVAL: Duration = Duration::from_secs(5);
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);
/// A refusal (no stream yet, storage full) is worth another try after so long.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Until the first answer, questions are repeated so often.
const FIRST_QUESTION: Duration = Duration::from_secs(1);

/// Runs one attempt. Does not end by itself while all goes well.
///
/// # Errors
/// [`Error`]; its fate says whether another attempt makes sense.
pub async fn run(agent: &mut Agent) -> Result<End, Error> {
    let (mut source, facts) = Source::open(&agent.config.source).await?;
    let omissions = source.omissions(&facts).await?;
    check::refuse_unfit(&facts, &omissions, &agent.config.source.address())?;
    let origin = origin::find(agent, &mut source, &facts).await?;
    let filter = agree(agent, &mut source, &facts, &origin).await?;
    snapshot::refuse_left_out(&agent.config.source, &facts, &filter).await?;
    let (from, resume) = (origin.position, origin.resume.position);
    tracing::info!(device = %agent.device, %from, read_from = %resume, server = %facts.version, "publishing begins");
    let read_from = Position { offset: origin.read_from, ..resume };
    let (config, spool_dir) = (&agent.config.source, &agent.config.state.dir);
    let tail =
        Tail::open(config, &agent.device, &facts, &origin.file, read_from, spool_dir).await?;
    let header = Header {
        device: agent.device.clone(),
        run: agent.run,
        source: facts.identity.clone(),
        server: facts.version.clone(),
        prev: from,
        end: from,
        resume: origin.resume.clone(),
        commit_time_first_us: 0,
        commit_time_last_us: 0,
    };
    let publish = &agent.config.publish;
    let message_bytes_max = agent.link.max_payload();
    let zone = facts.system_time_zone.clone();
    let log = Log {
        folds_names: facts.folds_names(),
        elsewhere: origin.elsewhere,
        may_lose_tail: facts.may_lose_tail(),
        anchor: origin.resume.anchor,
        lacks_cascades: !facts.logs_cascades(),
    };
    let pass_until = (read_from < resume).then_some(resume);
    let snapshot = origin.resume.snapshot;
    let (soft, narrowed) = (publish.batch_bytes, Arc::clone(&filter));
    let capture = Capture::new(header, from, resume, message_bytes_max, soft, zone, narrowed)
        .with_account(origin.gtids, pass_until, snapshot.clone(), log);
    let snapshot = snapshot.map(|cursor| start_snapshot(agent, &facts, filter, cursor));
    let fresh = || Pace::new(publish.batch_bytes, publish.ack_timeout());
    let pace = agent.pace.take().unwrap_or_else(fresh);
    let window = Window::new(publish.window_batches, pace).of_run(agent.run);
    agent.credit.restart(from);
    metrics::unapplied(agent.credit.bytes());
    metrics::session();
    metrics::waits_for_credit(false);
    metrics::source_connected(true);
    agent.readiness.set_ready("source", Ok(()));
    (agent.after_rewind, agent.take_snapshot) = (false, false);
    let now = Instant::now();
    let flow = Flow {
        agent,
        source,
        facts,
        tail,
        capture,
        window,
        message_bytes_max,
        ready: VecDeque::new(),
        at_origin: origin.beginning,
        snapshot,
        published: from,
        parked: None,
        heartbeat_at: now,
        mark_at: now + MARK_INTERVAL,
        resend_at: None,
        refused: false,
        silence: Silence::new(now.into_std()),
        checkpoint_at: None,
        answered: false,
        waits_for_credit: false,
        read_us: 0,
    };
    flow.run().await
}

/// Starts the reader of a snapshot.
fn start_snapshot(
    agent: &Agent,
    facts: &Facts,
    filter: Arc<Filter>,
    cursor: SnapshotCursor,
) -> Coordinator {
    let (asks, receiver) = mpsc::channel::<Ask>(1);
    let (config, facts) = (agent.config.clone(), facts.clone());
    let context = snapshot::Context { config, facts, filter, asks };
    metrics::snapshot_active(true);
    Coordinator::new(receiver, tokio::spawn(snapshot::run(context, cursor)))
}

/// The snapshot's reader has asked something, or come to its end; never without a snapshot.
async fn listen(snapshot: &mut Option<Coordinator>) -> Result<bool, Error> {
    match snapshot {
        Some(snapshot) => snapshot.listen().await,
        None => std::future::pending().await,
    }
}

/// A heartbeat that only asks.
pub(crate) fn question(device: &DeviceId, run: u64, source: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        device: device.clone(),
        run,
        source: source.to_owned(),
        published: None,
        head: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        retention: None,
        snapshot: None,
    }
}

/// What an answer says of the watermark.
pub(crate) fn cloud(reply: HeartbeatReply) -> Cloud {
    match (reply.applied, reply.directive) {
        (Some(applied), _) => Cloud::Applied(applied),
        // Parked without a watermark: two shards hold the device. That is not a new device.
        (None, Some(Directive::Parked { reason })) => {
            tracing::error!(
                reason,
                "the target has parked this device; nothing is published until it is released"
            );
            Cloud::Silent
        }
        (None, _) => Cloud::Unknown,
    }
}

// === impl Flow ===

impl Flow<'_> {
    async fn run(mut self) -> Result<End, Error> {
        let end = self.go().await;
        self.agent.pace = Some(self.window.into_pace());
        end
    }

    async fn go(&mut self) -> Result<End, Error> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.send_what_may_go().await?;
            self.advance_snapshot()?;
            let held = self.snapshot.as_ref().is_some_and(|s| s.holds_log(&self.capture));
            let may_read = self.ready.is_empty() && self.parked.is_none() && !held;
            if !may_read {
                self.tail.pause();
            }
            tokio::select! {
                answer = self.agent.link.answer() => {
                    // A connection that was made anew says nothing of whether anybody answers.
                    match answer {
                        Answer::Connected => self.silence.renewed(),
                        _ => self.silence.broken(Instant::now().into_std()),
                    }
                    if let Some(end) = self.on_answer(answer)? {
                        return Ok(end);
                    }
                }
                asked = listen(&mut self.snapshot) => {
                    if !asked? {
                        self.snapshot = None;
                        metrics::snapshot_active(false);
                    }
                }
                () = std::future::ready(()), if may_read && self.capture.is_unpacking() => self.unpack()?,
                event = self.tail.next(), if may_read && !self.capture.is_unpacking() => self.on_event(event?).await?,
                _ = tick.tick() => self.on_tick().await?,
            }
        }
    }

    /// Flush by pressure: at once when nothing is in flight, else when a batch is full or the one in
    /// flight returns. An idle device waits for nobody; a loaded one sends few, full batches.
    async fn send_what_may_go(&mut self) -> Result<(), Error> {
        self.send_window().await;
        while self.window.has_room() && self.has_credit() {
            let seal = match self.ready.pop_front() {
                Some(seal) => seal,
                None if self.window.is_empty() && self.capture.is_ready() => self.capture.seal()?,
                None => break,
            };
            self.agent.ledger.sealed(seal.header.end, seal.header.commit_time_first_us);
            self.agent.credit.published(seal.header.end, seal.message.len());
            metrics::unapplied(self.agent.credit.bytes());
            metrics::sealed();
            self.window.push(seal);
            metrics::in_flight(self.window.len());
            self.send_window().await;
            self.capture.set_batch_bytes(self.window.pace().body_bytes());
            self.mark_at = Instant::now() + MARK_INTERVAL;
        }
        Ok(())
    }

    /// Sends what the window holds and the link has room for.
    async fn send_window(&mut self) {
        let mut sent = false;
        while let Some((ticket, message)) = self.window.next(Instant::now().into_std()) {
            metrics::sent(message.len());
            self.agent.link.publish(ticket, message).await;
            sent = true;
        }
        if sent {
            self.await_acknowledgement();
        }
    }

    /// False while too much of what was published is not applied. Then the cloud is asked more often, so
    /// that publishing goes on as soon as it may.
    fn has_credit(&mut self) -> bool {
        let has_room = self.agent.credit.has_room();
        if has_room == self.waits_for_credit {
            self.waits_for_credit = !has_room;
            metrics::waits_for_credit(!has_room);
            let bytes = self.agent.credit.bytes();
            if has_room {
                tracing::info!(device = %self.agent.device, bytes, "what was published is being applied; publishing goes on");
            } else {
                tracing::warn!(device = %self.agent.device, bytes, "so much is published and not applied (publish.credit_mib); publishing waits for the cloud, and the binary log is the buffer");
                self.heartbeat_at = self.heartbeat_at.min(Instant::now() + FIRST_QUESTION);
            }
        }
        has_room
    }

    /// Answers the snapshot's reader where the log has come to the place for it.
    fn advance_snapshot(&mut self) -> Result<(), Error> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        if !self.ready.is_empty() || self.parked.is_some() {
            return Ok(());
        }
        let mut sealed = Vec::new();
        let bytes_soft = self.window.pace().body_bytes();
        snapshot.answer(&mut self.capture, bytes_soft, &mut sealed)?;
        self.ready.extend(sealed);
        Ok(())
    }

    fn await_acknowledgement(&mut self) {
        let now = Instant::now();
        self.silence.awaited(now.into_std());
        self.resend_at = (!self.window.is_empty()).then(|| now + self.window.timeout());
    }

    async fn on_event(&mut self, mut event: TailEvent) -> Result<(), Error> {
        metrics::read(event.bytes());
        let spooled = event.take_spooled();
        let log = event.log();
        if self.at_origin && log.event.code == FORMAT_DESCRIPTION {
            origin::refuse_older_tables(&mut self.source, event.seconds()).await?;
            self.at_origin = false;
        }
        if log.span.is_some() {
            self.read_us = log.time_us;
        }
        self.capture.witness(log.event.code, log.span, event.crc32());
        let mut sealed = Vec::new();
        match spooled {
            Some(spooled) => {
                metrics::spooled();
                let body = spooled.into_body().map_err(CaptureError::Stored)?;
                self.capture.take_stored(&log, body, &mut sealed)?;
            }
            None => self.capture.take(&log, &mut sealed)?,
        }
        self.tail.recycle(event);
        self.ready.extend(sealed);
        Ok(())
    }

    /// Goes on with an event that is not taken at once, as slowly as batches leave.
    fn unpack(&mut self) -> Result<(), Error> {
        self.tail.pause();
        let mut sealed = Vec::new();
        self.capture.unpack(&mut sealed)?;
        self.ready.extend(sealed);
        Ok(())
    }

    fn on_answer(&mut self, answer: Answer) -> Result<Option<End>, Error> {
        Ok(match answer {
            Answer::Stored(ticket) => {
                let now = Instant::now().into_std();
                if let Some(progress) = self.window.acknowledge(ticket, now) {
                    self.on_progress(progress);
                }
                self.capture.set_batch_bytes(self.window.pace().body_bytes());
                None
            }
            Answer::Refused { ticket, reason } => {
                if self.window.is_current(ticket) {
                    tracing::warn!(device = %self.agent.device, reason, "a batch was not stored; sending again");
                    self.resend_at = Some(Instant::now() + REFUSED_PAUSE);
                    self.refused = true;
                }
                None
            }
            Answer::NobodyHome => None,
            Answer::Connected if self.agent.link.max_payload() < self.message_bytes_max => {
                Some(End::SmallerPayload)
            }
            Answer::Connected => {
                // What was on its way when the line broke may be lost.
                if !self.window.is_empty() {
                    tracing::debug!(batches = self.window.len(), "sending again");
                    metrics::resent("connection");
                }
                self.window.reconnected();
                self.refused = false;
                self.await_acknowledgement();
                self.heartbeat_at = Instant::now();
                None
            }
            Answer::Heartbeat(reply) => return self.on_heartbeat(reply),
        })
    }

    fn on_progress(&mut self, progress: Progress) {
        self.published = progress.position;
        metrics::published(progress.rows, progress.bytes);
        metrics::in_flight(self.window.len());
        metrics::position(Stage::Published, progress.position);
        self.agent.checkpoint = Some(Checkpoint {
            device: self.agent.device.clone(),
            source: self.facts.identity.clone(),
            position: progress.position,
            resume: progress.resume,
            filter: self.agent.filter.clone(),
        });
        self.checkpoint_at.get_or_insert_with(|| Instant::now() + CHECKPOINT_INTERVAL);
        self.await_acknowledgement();
    }

    fn on_heartbeat(&mut self, reply: HeartbeatReply) -> Result<Option<End>, Error> {
        self.answered = true;
        self.agent.readiness.set_ready("cloud", Ok(()));
        if let Some(applied) = &reply.applied {
            metrics::position(Stage::Applied, applied.position);
            self.agent.ledger.applied(applied.position);
            self.agent.credit.applied(applied.position);
            metrics::unapplied(self.agent.credit.bytes());
            metrics::lag(&self.agent.device, applied.lag_us);
            let is_ours = applied.source == self.facts.identity;
            let now = Instant::now().into_std();
            if let Some(progress) =
                is_ours.then(|| self.window.applied(applied.position, now)).flatten()
            {
                self.on_progress(progress);
            }
        }
        if let Some(applied) = &reply.applied
            && applied.source != self.facts.identity
            && applied.position.epoch > self.published.epoch
        {
            return Err(Error::Displaced { other: applied.source.clone() });
        }
        let mut parked = None;
        let mut end = None;
        match reply.directive {
            None | Some(Directive::Other) => {}
            Some(Directive::Rewind { run }) if run == self.agent.run => {
                let to = reply.applied.as_ref().map(|applied| applied.position.to_string());
                let to = to.unwrap_or_else(|| "the beginning".to_owned());
                tracing::warn!(device = %self.agent.device, published = %self.published, to, "the stream has lost batches; publishing again from the watermark");
                // What a snapshot was to bring is lost with it: the log does not tell it.
                let epoch = reply.applied.as_ref().map(|applied| applied.position.epoch);
                self.agent.take_snapshot = epoch.is_some_and(|epoch| epoch < self.published.epoch);
                let known = self.agent.checkpoint.as_ref().map(|known| known.filter.clone());
                let filter = known.unwrap_or_else(|| self.agent.filter.clone());
                self.agent.checkpoint = reply.applied.map(|applied| Checkpoint {
                    device: self.agent.device.clone(),
                    source: applied.source,
                    position: applied.position,
                    resume: applied.resume,
                    filter,
                });
                end = Some(End::Rewind);
            }
            // Of a run that is over: this one began at a later word.
            Some(Directive::Rewind { .. }) => {}
            Some(Directive::Parked { reason }) => parked = Some(reason),
        }
        if parked != self.parked {
            match &parked {
                Some(reason) => {
                    tracing::error!(device = %self.agent.device, reason, "the target has parked this device; reading stops until it is released (tributary-sync-worker release)");
                }
                None => {
                    tracing::info!(device = %self.agent.device, "released by the target; reading goes on");
                }
            }
        }
        self.parked = parked;
        Ok(end)
    }

    async fn on_tick(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        metrics::position(Stage::Read, self.capture.read());
        self.agent.retention.tell(self.standing());
        self.look_after_the_link(now).await;
        let may_mark = self.window.is_empty() && self.ready.is_empty();
        if self.mark_at <= now && may_mark && self.capture.has_mark() {
            self.ready.push_back(self.capture.seal()?);
        }
        if self.checkpoint_at.is_some_and(|at| at <= now) {
            self.agent.store_checkpoint();
            self.checkpoint_at = None;
        }
        if self.heartbeat_at <= now {
            self.send_heartbeat().await;
        }
        Ok(())
    }

    /// Sends again what was refused, and what is not acknowledged although the server says other things. A
    /// connection on which nothing is heard is broken, and another is made.
    async fn look_after_the_link(&mut self, now: Instant) {
        if !self.agent.link.is_connected() {
            return;
        }
        if self.resend_at.is_some_and(|at| at <= now) {
            if std::mem::take(&mut self.refused) {
                metrics::resent("refusal");
                self.window.resend_refused();
            } else {
                self.window.timed_out();
                if self.silence.is_unbroken() {
                    self.agent.link.reconnect("no acknowledgement in time").await;
                } else {
                    tracing::debug!(batches = self.window.len(), "sending again");
                    metrics::resent("timeout");
                    self.window.resend();
                }
            }
            self.await_acknowledgement();
        }
        if self.silence.is_too_long(now.into_std(), self.window.timeout()) {
            self.agent.link.reconnect("no answer to heartbeats").await;
        }
    }

    fn standing(&self) -> Standing {
        let ready = self.ready.iter().map(|seal| seal.header.commit_time_first_us);
        let sent = self.agent.ledger.oldest_us();
        let oldest_us = sent.into_iter().chain(ready.filter(|us| *us > 0)).min();
        Standing {
            safe: self.agent.ledger.safe().unwrap_or(self.published),
            read: self.capture.read(),
            pending: oldest_us.is_some() || self.capture.is_ready(),
            oldest_us,
            read_us: self.read_us,
        }
    }

    async fn send_heartbeat(&mut self) {
        let every = Duration::from_secs_f64(self.agent.config.heartbeat.interval_seconds);
        let is_content = self.answered && !self.waits_for_credit;
        let every = if is_content { every } else { every.min(FIRST_QUESTION) };
        // Ten thousand devices that started together must not speak together.
        self.heartbeat_at = Instant::now() + every.mul_f64(0.8 + 0.4 * fastrand::f64());
        let head = self.head().await;
        let question = question(&self.agent.device, self.agent.run, &self.facts.identity);
        let snapshot = self.snapshot.as_ref().map(|snapshot| snapshot.progress);
        let (published, retention) = (Some(self.published), self.agent.retention.retention());
        let request = HeartbeatRequest { published, head, retention, snapshot, ..question };
        self.agent.link.heartbeat(&request).await;
        self.silence.asked(Instant::now().into_std());
        let link = self.agent.link.is_connected();
        let state = if link { Ok(()) } else { Err("not connected; trying again".to_owned()) };
        self.agent.readiness.set_ready("nats", state);
    }

    /// Where the source's log ends. It is told for information, so a slow server must not hold up
    /// publishing for it.
    async fn head(&mut self) -> Option<Position> {
        let files = tokio::time::timeout(Duration::from_millis(500), self.source.binlog_files());
        let files = files.await.ok()?.ok()?;
        let last = files.last()?;
        let read = self.capture.read();
        let left = files.iter().filter(|file| file.number >= read.file).map(|file| file.bytes);
        metrics::backlog(left.sum::<u64>().saturating_sub(read.offset));
        Some(Position::boundary(read.epoch, last.number, last.bytes))
    }
}

// === impl Agent ===

impl Agent {
    /// The device begins: a checkpoint of an earlier life says nothing of this one.
    pub(crate) fn forget_checkpoint(&mut self) {
        self.checkpoint = None;
        if let Err(error) = self.checkpoints.remove() {
            tracing::warn!(path = %self.checkpoints.path().display(), %error, "an outdated checkpoint cannot be removed");
        }
    }

    /// What the log has lost may be brought back by a snapshot, of which one is not just being taken.
    pub(crate) fn may_take_snapshot(&self) -> bool {
        !self.take_snapshot
            && (self.is_new || self.config.snapshot.when_lost == WhenLost::Resnapshot)
    }

    /// Writes the checkpoint. It is only a cache: a disk that is full costs a question to the cloud at
    /// the next start.
    pub fn store_checkpoint(&self) {
        let Some(checkpoint) = &self.checkpoint else { return };
        if let Err(error) = self.checkpoints.store(checkpoint) {
            metrics::checkpoint_failed();
            tracing::error!(
                path = %self.checkpoints.path().display(), %error,
                "checkpoint cannot be written; nothing is lost, but free the disk: the next start has to ask the cloud"
            );
        }
    }
}
