//! A whole worker between a real nats-server and real shards, and someone who publishes.

use crate::device::Device;
use crate::shard;
use async_nats::Client;
use futures_util::StreamExt;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tributary_runtime::{CancellationToken, Readiness, config};
use tributary_sync_worker::{Config, Settings, Worker, WorkerError};
use tributary_testkit::{GuardedChild, GuardedCommand, MySqlServer, NatsServer, Scratch};
use tributary_wire::{DeviceId, Directive, HeartbeatReply, HeartbeatRequest, Position};

/// What a test's condition may take: two cores may be busy with other tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

const CONFIG: &str = "worker.toml";

/// A worker that runs in this process.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

/// How a worker is to be configured.
pub(crate) struct Setup<'a> {
    pub(crate) id: &'a str,
    pub(crate) nats: String,
    pub(crate) shards: Vec<(&'a str, u16)>,
    pub(crate) bookkeeping: &'a str,
    pub(crate) more: &'a str,
}

fn write(setup: &Setup<'_>) -> Scratch {
    let mut text = format!(
        "{}\n[nats]\nurl = \"{}\"\n[stream]\npartitions = 8\nmax_gib = 1\n\
         [worker]\nid = \"{}\"\nlease_ttl_s = 3\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        setup.more, setup.nats, setup.id
    );
    for (name, port) in &setup.shards {
        let _ = writeln!(
            text,
            "[[shards]]\nname = \"{name}\"\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"tributary\"\n\
             password = \"tributary\"\nlanes = 2\nbookkeeping = \"{}\"",
            setup.bookkeeping
        );
    }
    let scratch = Scratch::new().expect("a directory");
    fs::write(scratch.path().join(CONFIG), text).expect("writes");
    scratch
}

pub(crate) fn settings(setup: &Setup<'_>) -> Settings {
    let scratch = write(setup);
    let path = scratch.path().join(CONFIG);
    let config: Config = config::load_with(Some(&path), []).expect("the configuration is read");
    config.validate().expect("the configuration is valid")
}

/// A worker in a process of its own, which can be killed.
pub(crate) struct Process {
    pub(crate) child: GuardedChild,
    scratch: Scratch,
}

pub(crate) fn spawn(setup: &Setup<'_>) -> Process {
    let scratch = write(setup);
    let child = GuardedCommand::new(env!("CARGO_BIN_EXE_tributary-sync-worker"))
        .args(["--config".into(), scratch.path().join(CONFIG).into_os_string()])
        .log_to(scratch.path().join("worker.log"))
        .spawn()
        .expect("the worker starts");
    Process { child, scratch }
}

impl Process {
    /// Waits until a line of its log holds all of these.
    pub(crate) async fn says(&self, wanted: &[&str]) {
        let deadline = Instant::now() + DEADLINE;
        let is_wanted = |line: &str| wanted.iter().all(|part| line.contains(part));
        while !self.log().lines().any(is_wanted) {
            assert!(Instant::now() < deadline, "the log lacks {wanted:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills it: while it starts, at its work, or after it.
    pub(crate) async fn kill_at_some_time(mut self) {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..800))).await;
        self.child.kill().expect("killed");
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("worker.log")).unwrap_or_default()
    }
}

/// A test that fails shows what its worker said.
impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the worker:\n{}", self.log());
        }
    }
}

pub(crate) async fn start(setup: &Setup<'_>) -> Running {
    start_with(settings(setup)).await
}

pub(crate) async fn start_with(settings: Settings) -> Running {
    let worker = Worker::start(settings, Readiness::default()).await.expect("the worker starts");
    let stop = CancellationToken::new();
    Running { task: tokio::spawn(worker.run(stop.clone())), stop }
}

impl Running {
    /// As SIGTERM does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it does not panic").expect("it stops cleanly");
    }
}

pub(crate) async fn connect(nats: &NatsServer) -> Client {
    async_nats::connect(nats.url()).await.expect("connects to NATS")
}

/// Publishes as a device does, and waits until the stream has it.
pub(crate) async fn publish(client: &Client, device: &DeviceId, message: Vec<u8>) {
    let context = async_nats::jetstream::new(client.clone());
    let deadline = Instant::now() + DEADLINE;
    loop {
        let ack = context.publish(device.changes_subject(), message.clone().into()).await;
        match ack.expect("published").await {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < deadline, "not stored: {error}"),
        }
    }
}

/// A heartbeat, and its answer if one comes within two seconds.
pub(crate) async fn heartbeat(
    client: &Client,
    device: &DeviceId,
    run: u64,
    published: Option<Position>,
) -> Option<HeartbeatReply> {
    let request = HeartbeatRequest {
        device: device.clone(),
        run,
        source: "source-a".into(),
        published,
        head: published,
        version: "test".into(),
        retention: None,
        snapshot: None,
    };
    // Only the device's own inbox is answered on.
    let inbox = format!("{}.{}", device.inbox_prefix(), fastrand::u64(..));
    let mut answers = client.subscribe(inbox.clone()).await.expect("subscribes");
    let (subject, payload) = (device.heartbeat_subject(), request.encode().into());
    client.publish_with_reply(subject, inbox, payload).await.expect("published");
    let answer = tokio::time::timeout(Duration::from_secs(2), answers.next()).await.ok()??;
    if answer.status.is_some() {
        return None;
    }
    Some(HeartbeatReply::decode(&answer.payload).expect("an answer"))
}

/// Asks until the answer is as wanted.
pub(crate) async fn heartbeat_until(
    client: &Client,
    device: &DeviceId,
    run: u64,
    published: Option<Position>,
    wanted: impl Fn(&HeartbeatReply) -> bool,
) -> HeartbeatReply {
    let deadline = Instant::now() + DEADLINE;
    let mut last = None;
    while Instant::now() < deadline {
        if let Some(reply) = heartbeat(client, device, run, published).await {
            if wanted(&reply) {
                return reply;
            }
            last = Some(reply);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no heartbeat was answered as wanted; the last answer: {last:?}");
}

/// Sends heartbeats until everything of a device is applied, without a publisher that publishes anything
/// again: it is in the stream.
pub(crate) async fn caught_up(client: &Client, device: &Device) {
    let end = device.end();
    let applied = |reply: &HeartbeatReply| {
        assert!(!matches!(reply.directive, Some(Directive::Rewind { .. })), "{reply:?}");
        reply.applied.as_ref().is_some_and(|applied| applied.position == end)
    };
    heartbeat_until(client, &device.id, 1, Some(end), applied).await;
}

/// Publishes everything of a device again when its publisher would be asked to, until it is applied.
pub(crate) async fn caught_up_or_rewound(client: &Client, device: &Device, log: &[Vec<u8>]) {
    let end = device.end();
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        let reply = heartbeat(client, &device.id, 1, Some(end)).await;
        let applied = reply.as_ref().and_then(|reply| reply.applied.as_ref());
        if applied.is_some_and(|applied| applied.position == end) {
            return;
        }
        if reply.is_some_and(|reply| matches!(reply.directive, Some(Directive::Rewind { .. }))) {
            for message in log {
                publish(client, &device.id, message.clone()).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not applied");
}

/// Waits until the query's rows are as wanted; it may fail until then, for lack of the table.
pub(crate) async fn eventually(server: &MySqlServer, sql: &str, wanted: &[&str]) {
    let deadline = Instant::now() + DEADLINE;
    let mut last = None;
    while Instant::now() < deadline {
        last = shard::try_query(server, sql).await;
        if last.as_ref().is_some_and(|rows| rows == wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{sql}: {last:?} instead of {wanted:?}");
}
