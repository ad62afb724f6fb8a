//! Setup: once is enough, and what it finds is explained.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use tributary_testkit::{Product, Scratch, Version, setup};

#[test]
fn setup_is_idempotent_and_finds_servers_that_are_new_enough() -> Result<()> {
    let first = setup::run()?;
    let start = Instant::now();
    let second = setup::run()?;
    assert!(start.elapsed() < Duration::from_secs(5), "nothing is fetched twice");
    for ((product, first), second) in Product::ALL.into_iter().zip(&first).zip(&second) {
        assert_eq!(first.product, product);
        assert_eq!(first.program, second.program);
        assert!(first.version >= product.oldest(), "{product} {}", first.version);
        assert_ne!(first.version, Version(0, 0, 0));
    }
    Ok(())
}

#[test]
fn programs_of_an_installation_can_be_run() -> Result<()> {
    let scratch = Scratch::new()?;
    let log = scratch.path().join("out");
    for (product, client) in [(Product::MySql, "mysqldump"), (Product::MariaDb, "mariadb-binlog")] {
        let found = setup::installation(product)?;
        let path = found.client(client).expect("the client is there");
        let mut child = found.tool(&path).args(["--version"]).log_to(&log).spawn()?;
        let status = child.wait(Duration::from_secs(30)).expect("it ends");
        assert!(status.success(), "{}", fs::read_to_string(&log)?);
    }
    assert!(fs::read_to_string(&log)?.contains("mysqldump"));
    Ok(())
}

/// Starts the helper program with a nats-server, ends it, and returns what it printed on standard error.
fn helper_stderr(variables: &[(&str, &Path)]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_private-server"));
    command
        .arg("nats")
        .stdin(Stdio::null())
        .env_remove(Product::Nats.variable())
        .envs(variables.iter().copied());
    Ok(String::from_utf8_lossy(&command.output()?.stderr).into_owned())
}

/// A program that prints one line.
fn fake_program(dir: &Path, name: &str, line: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\necho '{line}'\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[test]
fn a_server_on_path_that_is_too_old_is_ignored_and_the_reason_is_said() -> Result<()> {
    let scratch = Scratch::new()?;
    let program = fake_program(scratch.path(), "nats-server", "nats-server: v2.9.10")?;
    let path = std::env::join_paths(
        std::iter::once(scratch.path().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    let said = helper_stderr(&[("PATH", Path::new(&path))])?;
    let expected = format!(
        "nats-server: not using {}: version 2.9.10 is older than 2.11.0\n",
        program.display()
    );
    assert!(said.starts_with(&expected), "{said}");
    Ok(())
}

#[test]
fn a_server_that_is_named_must_do() -> Result<()> {
    let scratch = Scratch::new()?;
    let program = fake_program(scratch.path(), "server", "something else")?;
    let said = helper_stderr(&[(Product::Nats.variable(), &program)])?;
    assert!(said.contains("TRIBUTARY_NATS_SERVER="), "{said}");
    assert!(said.contains("its version cannot be read from \"something else\""), "{said}");
    Ok(())
}

#[test]
fn a_named_server_is_used() -> Result<()> {
    let scratch = Scratch::new()?;
    let (log, found) = (scratch.path().join("log"), setup::installation(Product::Nats)?);
    // Starts the fetched program and notes that it was called.
    let wrapper = fake_program(scratch.path(), "server", "")?;
    let script = format!(
        "#!/bin/sh\necho called >> {}\nexec {} \"$@\"\n",
        log.display(),
        found.command_line().join(" ")
    );
    fs::write(&wrapper, script)?;
    assert_eq!(helper_stderr(&[(Product::Nats.variable(), &wrapper)])?, "");
    assert_eq!(fs::read_to_string(&log)?, "called\ncalled\n", "for its version, and to serve");
    Ok(())
}

#[test]
fn where_nothing_can_be_fetched_the_error_names_the_alternatives() -> Result<()> {
    let scratch = Scratch::new()?;
    let variables = [("PATH", scratch.path()), ("TRIBUTARY_CACHE", scratch.path())];
    let said = helper_stderr(&variables)?;
    for part in ["no apt-get", "TRIBUTARY_NATS_SERVER", "docker compose up", "2.11.0 or later"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    Ok(())
}
