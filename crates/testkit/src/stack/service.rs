//! One of our services as a process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Metrics;
use crate::log;
use crate::{GuardedChild, GuardedCommand, Port};

/// A service that can be started, killed and started again; its log goes on in one file.
#[derive(Debug)]
pub struct Service {
    /// Its name in messages.
    pub name: String,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    admin: Port,
    child: Option<GuardedChild>,
}

const STOP: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(2);

impl Service {
    pub(super) fn new(name: String, program: PathBuf, config: PathBuf, admin: Port) -> Service {
        let log = config.with_extension("log");
        Service { name, program, config, log, admin, child: None }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn start(&mut self) -> Result<()> {
        let command =
            GuardedCommand::new(&self.program).args(["--config".as_ref(), self.config.as_os_str()]);
        let child = command.log_to(&self.log).spawn();
        self.child = Some(child.with_context(|| format!("cannot start {}", self.name))?);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A process that is gone already is as dead as one can be.
            let _ = child.kill();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time, or with another exit code than 0; with the end of its log.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let status = child.terminate(STOP)?;
        if !status.success() {
            bail!("{} ended with {status}\n{}", self.name, self.log_tail(15));
        }
        Ok(())
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.ended().is_none())
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(GuardedChild::pid)
    }

    /// The file of its configuration.
    pub fn config(&self) -> &std::path::Path {
        &self.config
    }

    /// The program.
    pub fn program(&self) -> &std::path::Path {
        &self.program
    }

    /// All of its log, from its first start on; empty when it has none.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        format!("--- end of the log of {} ---\n{}", self.name, log::tail(&self.log, lines))
    }

    /// What `/metrics` says.
    ///
    /// # Errors
    /// When the admin port does not answer.
    pub async fn metrics(&self) -> Result<Metrics> {
        let (_, body) = self.get("/metrics").await?;
        Ok(Metrics::parse(&body))
    }

    /// Waits until `/readyz` says 200.
    ///
    /// # Errors
    /// When it ends or is not ready by `until`; with what it says.
    pub async fn ready(&mut self, until: Instant) -> Result<()> {
        loop {
            let said = match self.get("/readyz").await {
                Ok((200, _)) => return Ok(()),
                Ok((_, body)) => body,
                Err(error) => error.to_string(),
            };
            if !self.is_running() || Instant::now() > until {
                bail!("{} is not ready: {said}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn get(&self, path: &str) -> Result<(u16, String)> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.admin.address()).await?;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        let answer = tokio::time::timeout(ANSWER, exchange).await??;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.context("no HTTP status")?, body.to_owned()))
    }
}
