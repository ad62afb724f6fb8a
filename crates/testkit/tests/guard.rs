//! Nothing is left running, however the owner ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tributary_testkit::{Flavour, GuardedCommand, MySqlOptions, MySqlServer};

/// Starts the helper program and returns it with the id of its server's process.
fn start_owner(kind: &str) -> Result<(Child, u32)> {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_private-server"))
        .arg(kind)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(owner.stdout.take().context("no stdout")?).read_line(&mut line)?;
    let pid = line.split(' ').next().context("no pid")?.parse()?;
    Ok((owner, pid))
}

/// A process that has ended but was not yet reaped counts as gone.
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}

fn wait_until_gone(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_running(pid) && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    !is_running(pid)
}

#[test]
fn a_server_dies_with_an_owner_that_is_killed() -> Result<()> {
    for kind in ["mysql", "mariadb", "nats"] {
        let (mut owner, pid) = start_owner(kind)?;
        assert!(is_running(pid), "{kind} runs before its owner is killed");
        owner.kill()?;
        owner.wait()?;
        assert!(wait_until_gone(pid), "{kind} (process {pid}) outlived its owner");
    }
    Ok(())
}

#[test]
fn the_directory_of_a_killed_owner_is_swept_by_the_next_one() -> Result<()> {
    let (mut owner, pid) = start_owner("nats")?;
    let command_line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    let config = command_line.split('\0').find(|word| word.ends_with("nats.conf"));
    let dir =
        Path::new(config.context("no configuration")?).parent().context("no directory")?.to_owned();
    owner.kill()?;
    owner.wait()?;
    assert!(wait_until_gone(pid));
    assert!(dir.exists());

    let (mut next, _) = start_owner("nats")?;
    assert!(!dir.exists(), "{} was not swept", dir.display());
    drop(next.stdin.take());
    assert!(next.wait()?.success());
    Ok(())
}

#[test]
fn dropping_a_server_ends_it_and_removes_its_directory() -> Result<()> {
    let server = MySqlServer::start(Flavour::MariaDb, &MySqlOptions::target())?;
    let (pid, data) = (server.pid().context("it runs")?, server.data_dir());
    assert!(is_running(pid) && data.exists());
    drop(server);
    assert!(!is_running(pid) && !data.exists());
    Ok(())
}

#[test]
fn a_child_outlives_the_thread_that_asked_for_it() -> Result<()> {
    let start = || GuardedCommand::new("tail").args(["-f", "/dev/null"]).spawn();
    let mut child = std::thread::spawn(start).join().expect("the thread ends well")?;
    // The kernel would have delivered the signal before the thread could be joined.
    assert!(child.wait(Duration::from_millis(200)).is_none());
    child.terminate(Duration::from_secs(5))?;
    assert!(!is_running(child.pid()));
    Ok(())
}
