//! Somebody who keeps what a publisher sends and answers its heartbeats, and applies nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use async_nats::jetstream::{self, stream};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tributary_testkit::NatsServer;
use tributary_testkit::stack::{WORKER_PASSWORD, WORKER_USER};
use tributary_wire::HeartbeatReply;

/// Answers until it is dropped.
pub(super) struct Cloud {
    task: JoinHandle<()>,
    answers: Arc<AtomicBool>,
}

/// As much as a worker gives the stream by default.
const STREAM_BYTES_MAX: i64 = 1 << 30;

impl Cloud {
    pub(super) async fn start(nats: &NatsServer) -> Result<Self> {
        let login = (WORKER_USER.to_owned(), WORKER_PASSWORD.to_owned());
        let options = async_nats::ConnectOptions::with_user_and_password(login.0, login.1);
        let client = options.connect(nats.url()).await?;
        let config = stream::Config {
            name: "CHANGES".into(),
            subjects: vec!["device.*.changes".into()],
            max_bytes: STREAM_BYTES_MAX,
            ..Default::default()
        };
        jetstream::new(client.clone()).get_or_create_stream(config).await?;
        let mut questions = client.subscribe("device.*.heartbeat").await?;
        let answers = Arc::new(AtomicBool::new(true));
        let is_there = Arc::clone(&answers);
        let task = tokio::spawn(async move {
            // A device that nobody knows.
            let answer = HeartbeatReply { applied: None, directive: None }.encode();
            while let Some(question) = questions.next().await {
                if let Some(subject) = question.reply.filter(|_| is_there.load(Ordering::Relaxed)) {
                    let _ = client.publish(subject, answer.clone().into()).await;
                }
            }
        });
        Ok(Self { task, answers })
    }

    /// Answers no more: a publisher then goes on from its checkpoint.
    pub(super) fn be_silent(&self) {
        self.answers.store(false, Ordering::Relaxed);
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.task.abort();
    }
}
