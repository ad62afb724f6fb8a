//! A device's server, a nats-server with the stream, a publisher in this process, and a cloud whose
//! answers the test sets.

use async_nats::jetstream::{self, consumer, stream};
use futures_util::{Stream, StreamExt, TryFutureExt};
use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tributary_publisher::{Config, Error};
use tributary_runtime::CancellationToken;
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer};
use tributary_wire::{
    Applied, Batch, Cell, HeartbeatReply, HeartbeatRequest, Limits, Op, Position, Run, TableBlock,
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const DEVICE: &str = "DEVICE_001";

pub(crate) struct Lab {
    pub(crate) source: MySqlServer,
    pub(crate) nats: NatsServer,
    pub(crate) state: tempfile::TempDir,
    /// What the cloud answers; `None` keeps silent.
    pub(crate) answer: Arc<Mutex<Option<HeartbeatReply>>>,
    /// The last question.
    pub(crate) question: Arc<Mutex<Option<HeartbeatRequest>>>,
    /// How many there were.
    pub(crate) questions: Arc<AtomicU64>,
    pub(crate) batch_bytes: usize,
    /// More sections of the configuration.
    pub(crate) sections: String,
    cloud: Option<JoinHandle<()>>,
}

pub(crate) struct Running {
    task: JoinHandle<Result<(), Error>>,
    stop: CancellationToken,
}

impl Lab {
    pub(crate) async fn start(flavour: Flavour) -> Self {
        Self::start_with(flavour, &MySqlOptions::source()).await
    }

    pub(crate) async fn start_with(flavour: Flavour, options: &MySqlOptions) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        tributary_runtime::telemetry::init_logging(false);
        let source = MySqlServer::start(flavour, options).expect("source starts");
        let nats = NatsServer::start(&NatsOptions::default()).expect("nats-server starts");
        let state = tempfile::tempdir().expect("a directory");
        let mut lab = Self {
            source,
            nats,
            state,
            answer: Arc::new(Mutex::new(Some(HeartbeatReply { applied: None, directive: None }))),
            question: Arc::default(),
            questions: Arc::default(),
            batch_bytes: 768 << 10,
            sections: String::new(),
            cloud: None,
        };
        lab.open_cloud().await;
        lab
    }

    /// The stream and somebody who answers heartbeats, on the server as it is now.
    pub(crate) async fn open_cloud(&mut self) {
        let client = async_nats::connect(self.nats.url()).await.expect("connects");
        let config = stream::Config {
            name: "CHANGES".into(),
            subjects: vec!["device.*.changes".into()],
            ..Default::default()
        };
        let context = jetstream::new(client.clone());
        context.get_or_create_stream(config).await.expect("stream");
        let mut questions = client.subscribe("device.*.heartbeat").await.expect("subscribes");
        let (answer, question) = (Arc::clone(&self.answer), Arc::clone(&self.question));
        let count = Arc::clone(&self.questions);
        self.cloud = Some(tokio::spawn(async move {
            while let Some(message) = questions.next().await {
                count.fetch_add(1, Ordering::Relaxed);
                *question.lock().expect("lock") = HeartbeatRequest::decode(&message.payload).ok();
                let reply = answer.lock().expect("lock").clone();
                if let Some((subject, reply)) = message.reply.zip(reply) {
                    let _ = client.publish(subject, reply.encode().into()).await;
                }
            }
        }));
    }

    pub(crate) fn answer(&self, reply: Option<HeartbeatReply>) {
        *self.answer.lock().expect("lock") = reply;
    }

    pub(crate) fn config(&self) -> Config {
        let text = format!(
            r#"
            [device]
            id = "{DEVICE}"
            [source]
            host = "127.0.0.1"
            port = {}
            user = "tributary"
            password = "tributary"
            heartbeat_seconds = 1
            [nats]
            urls = ["{}"]
            [state]
            dir = "{}"
            [publish]
            batch_bytes = {}
            ack_timeout_seconds = 1
            [heartbeat]
            interval_seconds = 0.2
            [admin]
            listen = "127.0.0.1:0"
            {}
            "#,
            self.source.port(),
            self.nats.url(),
            self.state.path().display(),
            self.batch_bytes,
            self.sections,
        );
        let path = self.state.path().join("publisher.toml");
        std::fs::write(&path, text).expect("written");
        Config::load(Some(&path)).expect("loads").0
    }

    pub(crate) fn publish(&self) -> Running {
        self.publish_with(self.config())
    }

    pub(crate) fn publish_with(&self, config: Config) -> Running {
        let stop = CancellationToken::new();
        let handle =
            metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let device = DEVICE.parse().expect("valid");
        let run = tributary_publisher::run(config, device, handle, stop.clone());
        let task = tokio::spawn(run.inspect_err(|error| eprintln!("publisher ended: {error}")));
        Running { task, stop }
    }

    pub(crate) async fn sql(&self, statements: &[&str]) {
        let opts = mysql_async::Opts::from_url(&self.source.admin_url()).expect("a url");
        let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
        for statement in statements {
            conn.query_drop(*statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
        }
    }

    /// Runs every statement that a question answers with. One whose object is gone by then fails alone.
    pub(crate) async fn sql_each(&self, question: &str) {
        let opts = mysql_async::Opts::from_url(&self.source.admin_url()).expect("a url");
        let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
        for statement in conn.query::<String, _>(question).await.expect(question) {
            conn.query_drop(statement).await.unwrap_or_default();
        }
    }

    /// Asks until the answer is true.
    pub(crate) async fn sql_until(&self, question: &str) {
        let opts = mysql_async::Opts::from_url(&self.source.admin_url()).expect("a url");
        let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
        let until = Instant::now() + DEADLINE;
        while conn.query_first::<u8, _>(question).await.expect(question) != Some(1) {
            assert!(Instant::now() < until, "not in time: {question}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads the stream from its beginning until a batch satisfies `last`, as a worker would: what
    /// is behind is dropped, and what does not chain ends the test.
    pub(crate) async fn read_until(&self, last: impl Fn(&Batch) -> bool) -> Vec<Batch> {
        self.read_from(Position::beginning(1), last).await
    }

    /// The same, for a target that has applied everything up to `end`.
    pub(crate) async fn read_from(
        &self,
        mut end: Position,
        last: impl Fn(&Batch) -> bool,
    ) -> Vec<Batch> {
        let mut stored = pin!(self.stored().await);
        let mut batches: Vec<Batch> = Vec::new();
        loop {
            let batch = timeout(DEADLINE, stored.next()).await.expect("a batch in time");
            let batch = batch.expect("goes on");
            if batch.header.end <= end {
                continue;
            }
            assert!(batch.header.prev <= end, "a gap: {} after {end}", batch.header.prev);
            end = batch.header.end;
            let done = last(&batch);
            batches.push(batch);
            if done {
                return batches;
            }
        }
    }

    /// Everything that is in the stream, and everything that follows, repetitions included.
    pub(crate) async fn stored(&self) -> impl Stream<Item = Batch> {
        let client = async_nats::connect(self.nats.url()).await.expect("connects");
        let stream = jetstream::new(client).get_stream("CHANGES").await.expect("stream");
        let config = consumer::pull::OrderedConfig::default();
        let consumer = stream.create_consumer(config).await.expect("consumer");
        consumer.messages().await.expect("messages").map(|message| {
            let payload = message.expect("a message").payload.clone();
            Batch::decode(&payload, &Limits::default()).expect("decodes")
        })
    }

    /// Waits for a question that satisfies `wanted`.
    pub(crate) async fn asked(
        &self,
        wanted: impl Fn(&HeartbeatRequest) -> bool,
    ) -> HeartbeatRequest {
        let until = Instant::now() + DEADLINE;
        loop {
            let question = self.question.lock().expect("lock").clone();
            if let Some(question) = question.filter(|question| wanted(question)) {
                return question;
            }
            assert!(Instant::now() < until, "no such question in time");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task)
            .await
            .expect("stops in time")
            .expect("no panic")
            .expect("clean");
    }

    /// Drops it where it stands, as a power cut would.
    pub(crate) async fn abort(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn error(self) -> Error {
        let ended = timeout(DEADLINE, self.task).await.expect("ends in time").expect("no panic");
        ended.expect_err("it must refuse")
    }
}

/// The watermark that a batch's commit would leave.
pub(crate) fn applied(batch: &Batch) -> HeartbeatReply {
    let header = &batch.header;
    HeartbeatReply {
        applied: Some(Applied {
            position: header.end,
            resume: header.resume.clone(),
            source: header.source.clone(),
            lag_us: 0,
        }),
        directive: None,
    }
}

/// True for a batch that creates a table named `done`: the end of a test's input.
pub(crate) fn is_done(batch: &Batch) -> bool {
    batch.statements.iter().any(|s| String::from_utf8_lossy(&s.sql).contains("TABLE done"))
}

/// Every change after `from`, in order, as text.
pub(crate) fn changes(batches: &[Batch]) -> Vec<String> {
    let mut out = Vec::new();
    let mut end = Position::beginning(1);
    for batch in batches {
        for transaction in batch.transactions.iter().filter(|t| t.end > end) {
            let skip = end.changes().saturating_sub(transaction.start.changes());
            let skip = if transaction.start >= end { 0 } else { skip };
            let mut at = transaction.start.changes();
            for run in &transaction.runs {
                let left = (transaction.start.changes() + skip).saturating_sub(at);
                at += run.changes();
                if let Some(run) = run.skip(left) {
                    describe(batch, run, &mut out);
                }
            }
        }
        end = end.max(batch.header.end);
    }
    out
}

fn describe(batch: &Batch, run: Run, out: &mut Vec<String>) {
    match run {
        Run::Statement(index) => {
            let statement = &batch.statements[index as usize];
            out.push(format!(
                "{}: {}",
                statement.database,
                String::from_utf8_lossy(&statement.sql)
            ));
        }
        Run::Skipped(_) => {}
        Run::Piece(index) => {
            let piece = batch.bytes(batch.pieces[index as usize]);
            out.push(format!("piece of {} bytes", piece.len()));
        }
        Run::Rows { table, op, image, identity, count, .. } => {
            let block = &batch.tables[table as usize];
            for nth in 0..count {
                let new = || row(batch, &block.images, image + nth);
                let old = || row(batch, &block.identities, identity + nth);
                let name = name(block);
                out.push(match op {
                    Op::Insert => format!("{name} + {}", new()),
                    Op::Update => format!("{name} = {}", new()),
                    Op::Rekey => format!("{name} {} > {}", old(), new()),
                    Op::Delete => format!("{name} - {}", old()),
                });
            }
        }
    }
}

fn name(block: &TableBlock) -> String {
    format!("{}.{}", block.shape.database, block.shape.table)
}

fn row(batch: &Batch, columns: &[Vec<Cell>], index: u32) -> String {
    let cells = columns.iter().map(|column| match column[index as usize] {
        Cell::Null => "NULL".to_owned(),
        Cell::Int(value) => value.to_string(),
        Cell::UInt(value) => value.to_string(),
        Cell::F32(value) => value.to_string(),
        Cell::F64(value) => value.to_string(),
        Cell::Staged { count, .. } => format!("{count} pieces"),
        cell @ Cell::Bytes { .. } => format!("'{}'", batch.bytes(cell).escape_ascii()),
    });
    cells.collect::<Vec<_>>().join(",")
}

/// How often each change is there: for comparing what came with what was written.
pub(crate) fn tally(changes: &[String]) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    for change in changes {
        *tally.entry(change.as_str()).or_default() += 1;
    }
    tally
}
