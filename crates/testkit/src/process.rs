//! Child processes that never outlive their owner, however the owner ends.
//!
//! Each child is started through `setpriv --pdeathsig KILL` (util-linux), so the kernel kills it when the
//! *thread* that started it ends. One thread per process, which never ends, therefore starts them all: it
//! dies with the process and not before, also when the process is killed with SIGKILL. Where setpriv is
//! missing, a child is killed when its handle is dropped, and that is said once.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::progress::say;

const POLL: Duration = Duration::from_millis(2);

/// A program to start, with its arguments; a [`Command`] of fewer words.
#[derive(Debug)]
pub struct GuardedCommand {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    input: Option<PathBuf>,
    log: Option<PathBuf>,
}

impl GuardedCommand {
    /// A command that runs `program`, which is looked up on PATH unless it contains a slash.
    pub fn new(program: impl Into<PathBuf>) -> GuardedCommand {
        GuardedCommand {
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            directory: None,
            input: None,
            log: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable; the others are inherited.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Reads standard input from a file. Without it there is none.
    #[must_use]
    pub fn read_from(mut self, path: impl Into<PathBuf>) -> Self {
        self.input = Some(path.into());
        self
    }

    /// Appends standard output and standard error to a file. Without it both are inherited.
    #[must_use]
    pub fn log_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    /// When the program does not exist, a file for its input or output cannot be opened, or the system cannot start it.
    pub fn spawn(self) -> io::Result<GuardedChild> {
        let program = find_program(&self.program).ok_or_else(|| {
            let text = format!("{} is not there or not on PATH", self.program.display());
            io::Error::new(io::ErrorKind::NotFound, text)
        })?;
        let mut command = guard(&program);
        command.args(&self.arguments).envs(self.variables);
        command.stdin(match &self.input {
            Some(path) => Stdio::from(File::open(path)?),
            None => Stdio::null(),
        });
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if let Some(log) = &self.log {
            let file = File::options().create(true).append(true).open(log)?;
            command.stdout(file.try_clone()?).stderr(file);
        }
        spawn_guarded(command).map(|child| GuardedChild { child, ended: None })
    }
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct GuardedChild {
    child: Child,
    ended: Option<ExitStatus>,
}

impl GuardedChild {
    /// The process id; it stays the same for the program as it was for its guard.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the child ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Sends SIGTERM and waits; after the deadline, SIGKILL. Returns how the child ended.
    ///
    /// # Errors
    /// When the system cannot wait for it.
    pub fn terminate(&mut self, deadline: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended() {
            return Ok(status);
        }
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        match self.wait(deadline) {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Errors
    /// When the system cannot wait for it.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended() {
            return Ok(status);
        }
        let _ = self.child.kill();
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Waits until the child ends, at most as long as `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + deadline;
        while self.ended().is_none() && Instant::now() < end {
            thread::park_timeout(POLL);
        }
        self.ended
    }
}

impl Drop for GuardedChild {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The absolute path of a program, looked up on PATH unless it contains a slash.
pub(crate) fn find_program(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// A command that runs `program` under the guard, to which arguments are added.
fn guard(program: &Path) -> Command {
    match setpriv() {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// The system's setpriv, if it knows `--pdeathsig`.
fn setpriv() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let found = find_program(Path::new("setpriv")).filter(|path| {
                let mut trial = Command::new(path);
                trial.args(["--pdeathsig", "KILL", "--", "true"]);
                trial.stdout(Stdio::null()).stderr(Stdio::null());
                trial.status().is_ok_and(|status| status.success())
            });
            if found.is_none() {
                say("no setpriv with --pdeathsig here: servers stay behind if this process is killed");
            }
            found
        })
        .as_deref()
}

type Request = (Command, Sender<io::Result<Child>>);

/// Has the one thread that never ends start the command.
fn spawn_guarded(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = channel::<Request>();
        // The sender lives in a static, so this loop ends only with the process.
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        requests
    });
    let (reply, answer) = channel();
    let gone = |_| io::Error::other("the thread that starts children is gone");
    spawner.send((command, reply)).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}
