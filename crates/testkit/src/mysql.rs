//! A private MySQL or MariaDB server: own directory, own port on 127.0.0.1, own socket.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::arguments::{self, SOCKET};
use crate::cache::Cache;
use crate::installation::Installation;
use crate::log;
use crate::port::Port;
use crate::process::{GuardedChild, GuardedCommand};
use crate::product::{Product, Version};
use crate::ready;
use crate::scratch::Scratch;
use crate::{setup, template};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);
const PORT_ATTEMPTS: u32 = 5;
const LOG_LINES: usize = 25;

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Oracle's MySQL.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl Flavour {
    /// Both, for tests that run on each.
    pub const ALL: [Flavour; 2] = [Flavour::MySql, Flavour::MariaDb];

    fn product(self) -> Product {
        match self {
            Flavour::MySql => Product::MySql,
            Flavour::MariaDb => Product::MariaDb,
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.product().fmt(f)
    }
}

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A device's server: row-based binlog from the very beginning, with GTIDs.
    Source,
    /// A cloud server: no binlog, `LOAD DATA LOCAL` allowed.
    Target,
}

/// Runs a server that a file's limit (see [`MySqlServer::limit_files`]) does not kill: the signal that comes
/// with the error is ignored.
const UNLIMITED: &str = r#"trap '' XFSZ; exec "$@""#;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct MySqlOptions {
    /// What it is for.
    pub role: Role,
    /// `server_id`.
    pub server_id: u32,
    /// Whether a commit survives a power cut (`sync_binlog=1`, `innodb_flush_log_at_trx_commit=1`); a
    /// killed server loses nothing either way. Without it the server is several times faster.
    pub durable: bool,
    /// `innodb_buffer_pool_size`, in MiB.
    pub buffer_pool_mib: u32,
    /// More arguments, which win over those the kit gives.
    pub arguments: Vec<String>,
}

impl MySqlOptions {
    /// A durable source with server id 1 and a 64 MiB buffer pool.
    pub fn source() -> MySqlOptions {
        MySqlOptions {
            role: Role::Source,
            server_id: 1,
            durable: true,
            buffer_pool_mib: 64,
            arguments: Vec::new(),
        }
    }

    /// A durable target with server id 1000 and a 64 MiB buffer pool.
    pub fn target() -> MySqlOptions {
        MySqlOptions { role: Role::Target, server_id: 1000, ..MySqlOptions::source() }
    }

    /// Adds one argument, such as `--max-allowed-packet=1G`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> MySqlOptions {
        self.arguments.push(argument.to_owned());
        self
    }

    fn to_arguments(&self, flavour: Flavour) -> Vec<String> {
        let mut list = vec![
            "--bind-address=127.0.0.1".to_owned(),
            format!("--server-id={}", self.server_id),
            format!("--innodb-buffer-pool-size={}M", self.buffer_pool_mib),
            format!("--innodb-flush-log-at-trx-commit={}", if self.durable { 1 } else { 2 }),
            format!("--sync-binlog={}", u8::from(self.durable)),
        ];
        let role: &[&str] = match (self.role, flavour) {
            (Role::Target, _) => &["--skip-log-bin", "--local-infile=1"],
            (Role::Source, Flavour::MariaDb) => &[],
            (Role::Source, Flavour::MySql) => &["--gtid-mode=ON", "--enforce-gtid-consistency=ON"],
        };
        list.extend(role.iter().map(|argument| (*argument).to_owned()));
        if self.role == Role::Source {
            let binlog = ["--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=FULL"];
            list.extend(binlog.map(str::to_owned));
            list.push("--binlog-row-metadata=FULL".to_owned());
        }
        list.extend(self.arguments.iter().cloned());
        list
    }
}

/// A running (or stopped) server; dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct MySqlServer {
    // Dropped first: the process ends before its directory goes.
    child: Option<GuardedChild>,
    flavour: Flavour,
    installation: Installation,
    arguments: Vec<OsString>,
    port: Port,
    scratch: Scratch,
}

impl MySqlServer {
    /// Starts a fresh server and waits until it takes connections, at most 60 s.
    ///
    /// # Errors
    /// When the server cannot be provided (see [`setup::run`]) or does not start; the error holds the end
    /// of its log.
    pub fn start(flavour: Flavour, options: &MySqlOptions) -> Result<MySqlServer> {
        let installation = setup::installation(flavour.product())?.clone();
        let installation = installation.made_with(&options.arguments);
        let cache = Cache::open()?;
        setup::prepare(&cache, &installation)?;
        let scratch = Scratch::new()?;
        fs::create_dir(scratch.path().join("tmp")).context("cannot make the server's tmpdir")?;
        template::copy_to(&cache, &installation, &scratch.path().join("data"))?;
        let mut arguments = arguments::common(&installation, scratch.path());
        arguments.extend(options.to_arguments(flavour).into_iter().map(OsString::from));
        let port = Port::reserve()?;
        let mut server =
            MySqlServer { child: None, flavour, installation, arguments, port, scratch };
        for _ in 1..PORT_ATTEMPTS {
            match server.run() {
                Err(_) if server.port_is_taken() => server.port = Port::reserve()?,
                outcome => return outcome.map(|()| server),
            }
        }
        server.run().map(|()| server)
    }

    /// Starts a stopped or killed server again: same data, same port. Restarts a running one.
    ///
    /// # Errors
    /// When it does not stop or does not start; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    /// Restarts with one more argument, which stays for later restarts.
    ///
    /// # Errors
    /// See [`MySqlServer::restart`].
    pub fn restart_with(&mut self, argument: &str) -> Result<()> {
        self.arguments.push(argument.into());
        self.restart()
    }

    /// Stops the server cleanly with SIGTERM; after 30 s with SIGKILL, which is an error.
    ///
    /// # Errors
    /// When it had to be killed. It is stopped in any case.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let status = child.terminate(STOP)?;
        if !status.success() {
            bail!("{} did not stop cleanly: {status}\n{}", self.flavour, self.log_tail(LOG_LINES));
        }
        Ok(())
    }

    /// Kills the server at once, as a crash would end it.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// The size of the newest file of its binary log, in bytes.
    ///
    /// # Errors
    /// When there is none.
    pub fn log_bytes(&self) -> Result<u64> {
        Ok(fs::metadata(self.newest_log_file()?)?.len())
    }

    /// Kills the server as a power cut does that takes the end of its log along: so many bytes of the newest
    /// file stay, and every other file is as it was. That is what `sync_binlog` other than 1 risks.
    ///
    /// # Errors
    /// When there is no log, or it cannot be cut.
    pub fn cut_power(&mut self, log_bytes: u64) -> Result<()> {
        self.kill();
        let path = self.newest_log_file()?;
        let file = fs::OpenOptions::new().write(true).open(&path)?;
        file.set_len(log_bytes.min(file.metadata()?.len()))?;
        Ok(())
    }

    fn newest_log_file(&self) -> Result<PathBuf> {
        let is_file = |path: &PathBuf| {
            let number = path.extension().and_then(|number| number.to_str());
            path.file_stem().is_some_and(|stem| stem == "binlog")
                && number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let files = fs::read_dir(self.data_dir())?.filter_map(|entry| Some(entry.ok()?.path()));
        files.filter(is_file).max().context("the server has no binary log")
    }

    /// Makes the server hang: it keeps its connections, takes new ones, and answers nothing.
    ///
    /// # Errors
    /// When it does not run, or the signal cannot be sent.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a server go on that was paused.
    ///
    /// # Errors
    /// See [`MySqlServer::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Lets no file of the server be written beyond so many bytes: the server sees the error that a full disk
    /// gives, in that file alone. `None` takes the limit away. Linux only.
    ///
    /// # Errors
    /// When the server does not run, or the system refuses.
    #[cfg(target_os = "linux")]
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        use rustix::process::{Resource, Rlimit, prlimit};
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(self.process()?), Resource::Fsize, limit)?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.process()?, signal)?;
        Ok(())
    }

    fn process(&self) -> Result<Pid> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        pid.context("the server does not run")
    }

    /// `mysql://user:password@127.0.0.1:port/database`. An empty database names none.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/{database}", self.port())
    }

    /// The URL of the account `tributary`, which may do everything, without a database.
    pub fn admin_url(&self) -> String {
        self.url("tributary", "tributary", "")
    }

    /// Always 127.0.0.1.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The TCP port; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.data_dir().join(SOCKET)
    }

    /// Which of the two servers it is.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The server's version.
    pub fn version(&self) -> Version {
        self.installation.version
    }

    /// What it runs from, for its client programs.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(GuardedChild::pid)
    }

    /// The data directory, with the binlog files in it.
    pub fn data_dir(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        log::tail(&self.log_path(), lines)
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path().join("server.log")
    }

    fn port_is_taken(&self) -> bool {
        self.log_tail(LOG_LINES).to_lowercase().contains("address already in use")
    }

    fn run(&mut self) -> Result<()> {
        remove_stale_sockets(&self.data_dir());
        let command = GuardedCommand::new("sh").args(["-c", UNLIMITED, "sh"]);
        let command = command.args(self.installation.command_line()).args(&self.arguments);
        let command = command.args([format!("--port={}", self.port())]).log_to(self.log_path());
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", self.flavour))?;
        self.scratch.note_server(child.pid());
        ready::on_tcp(self.port.address(), &mut child, START).with_context(|| {
            let tail = self.log_tail(LOG_LINES);
            format!(
                "{} {} does not start; the end of its log:\n{tail}",
                self.flavour,
                self.version()
            )
        })?;
        self.child = Some(child);
        Ok(())
    }
}

/// A killed server leaves its socket and lock behind; the lock's process id may be someone else's by now.
fn remove_stale_sockets(data: &Path) {
    for name in [SOCKET, "mysql.sock.lock", "mysqld.pid"] {
        let _ = fs::remove_file(data.join(name));
    }
}
