//! A private nats-server with JetStream: own directory, own ports on 127.0.0.1.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::installation::Installation;
use crate::log;
use crate::port::Port;
use crate::process::GuardedChild;
use crate::product::{Product, Version};
use crate::ready::wait;
use crate::scratch::Scratch;
use crate::setup;

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);
const GREETING: Duration = Duration::from_secs(2);
const PORT_ATTEMPTS: u32 = 5;
const LOG_LINES: usize = 25;

/// How to start a nats-server.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// `server_name`.
    pub name: String,
    /// Whether JetStream is on, with its store in the server's directory.
    pub jetstream: bool,
    /// More configuration, in nats-server's own syntax, such as `max_payload: 8MB` or accounts.
    pub config: Option<String>,
}

impl Default for NatsOptions {
    fn default() -> NatsOptions {
        NatsOptions { name: "tributary-test".to_owned(), jetstream: true, config: None }
    }
}

impl NatsOptions {
    /// JetStream and the given further configuration.
    pub fn with_config(config: &str) -> NatsOptions {
        NatsOptions { config: Some(config.to_owned()), ..NatsOptions::default() }
    }
}

/// A running (or stopped) nats-server; dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct NatsServer {
    // Dropped first: the process ends before its directory goes.
    child: Option<GuardedChild>,
    installation: Installation,
    options: NatsOptions,
    client: Port,
    monitor: Port,
    scratch: Scratch,
}

impl NatsServer {
    /// Starts a fresh server and waits until it takes connections, at most 60 s.
    ///
    /// # Errors
    /// When the server cannot be provided (see [`setup::run`]) or does not start; the error holds the end
    /// of its log.
    pub fn start(options: &NatsOptions) -> Result<NatsServer> {
        let mut server = NatsServer {
            child: None,
            installation: setup::installation(Product::Nats)?.clone(),
            options: options.clone(),
            client: Port::reserve()?,
            monitor: Port::reserve()?,
            scratch: Scratch::new()?,
        };
        for _ in 1..PORT_ATTEMPTS {
            match server.run() {
                Err(_) if server.port_is_taken() => {
                    server.client = Port::reserve()?;
                    server.monitor = Port::reserve()?;
                }
                outcome => return outcome.map(|()| server),
            }
        }
        server.run().map(|()| server)
    }

    /// Starts a stopped or killed server again: same store, same ports. Restarts a running one.
    ///
    /// # Errors
    /// When it does not stop or does not start; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    /// Stops the server with SIGTERM; after 30 s with SIGKILL.
    ///
    /// # Errors
    /// When it had to be killed. It is stopped in any case.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let status = child.terminate(STOP)?;
        // nats-server ends itself by SIGTERM's default once it has shut down: exit code 1 is normal.
        if status.code().is_none() {
            bail!("nats-server did not stop cleanly: {status}\n{}", self.log_tail(LOG_LINES));
        }
        Ok(())
    }

    /// Kills the server at once, as a crash would end it.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Deletes everything the stopped server has stored.
    ///
    /// # Errors
    /// When it still runs or the store cannot be removed.
    pub fn wipe(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("nats-server still runs: stop or kill it before wiping its store");
        }
        match fs::remove_dir_all(self.store_dir()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.store_dir().display()))
            }
            _ => Ok(()),
        }
    }

    /// Replaces the further configuration; the next restart uses it.
    pub fn set_config(&mut self, config: &str) {
        self.options.config = Some(config.to_owned());
    }

    /// `nats://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.client.address())
    }

    /// The clients' address.
    pub fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// The clients' port; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.client.number()
    }

    /// The port of the HTTP monitor (`/varz`, `/jsz`, `/healthz`).
    pub fn monitor_port(&self) -> u16 {
        self.monitor.number()
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(GuardedChild::pid)
    }

    /// Where JetStream keeps its files.
    pub fn store_dir(&self) -> PathBuf {
        self.scratch.path().join("store")
    }

    /// The server's version.
    pub fn version(&self) -> Version {
        self.installation.version
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        log::tail(&self.log_path(), lines)
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path().join("server.log")
    }

    fn port_is_taken(&self) -> bool {
        self.log_tail(LOG_LINES).contains("address already in use")
    }

    fn config_text(&self) -> String {
        let mut text = format!(
            "server_name: \"{}\"\nlisten: \"{}\"\nhttp: \"{}\"\n",
            self.options.name,
            self.client.address(),
            self.monitor.address()
        );
        if self.options.jetstream {
            let store = self.store_dir();
            text.push_str(&format!("jetstream {{ store_dir: \"{}\" }}\n", store.display()));
        }
        text.push_str(self.options.config.as_deref().unwrap_or_default());
        text.push('\n');
        text
    }

    fn run(&mut self) -> Result<()> {
        let config = self.scratch.path().join("nats.conf");
        fs::write(&config, self.config_text()).context("cannot write nats.conf")?;
        let command = self.installation.command().args(["-c".as_ref(), config.as_os_str()]);
        let mut child =
            command.log_to(self.log_path()).spawn().context("cannot start nats-server")?;
        self.scratch.note_server(child.pid());
        let address = self.client.address();
        wait(&mut child, START, || greets(address)).with_context(|| {
            let tail = self.log_tail(LOG_LINES);
            format!("nats-server {} does not start; the end of its log:\n{tail}", self.version())
        })?;
        self.child = Some(child);
        Ok(())
    }
}

/// A server that is ready sends `INFO {…}` first; it listens only once JetStream has recovered.
fn greets(address: SocketAddr) -> Option<()> {
    let stream = TcpStream::connect_timeout(&address, GREETING).ok()?;
    stream.set_read_timeout(Some(GREETING)).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    line.starts_with("INFO ").then_some(())
}
