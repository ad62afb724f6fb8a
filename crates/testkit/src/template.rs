//! Initialised data directories, made once, so that starting a server is a copy and a start.
//!
//! A template is initialised without a binlog, started once to create the accounts and the server's keys,
//! and stopped cleanly. A server started from it therefore begins with binlog file 000001, an empty
//! `gtid_purged`, and accounts that are in no binlog:
//!
//! - `root` without a password, from `localhost` and `127.0.0.1`;
//! - `tributary` with the password `tributary`, from anywhere, with all privileges.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::arguments::{self, SOCKET};
use crate::cache::{Cache, copy_dir, replace_dir};
use crate::installation::Installation;
use crate::process::GuardedChild;
use crate::product::Product;
use crate::progress::say;
use crate::ready;
use crate::scratch::Scratch;

const DEADLINE: Duration = Duration::from_secs(120);

const ACCOUNTS: &str = "\
CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS 'tributary'@'%' IDENTIFIED BY 'tributary';
GRANT ALL PRIVILEGES ON *.* TO 'tributary'@'%' WITH GRANT OPTION;
";

/// What must not be shared: the server's identity, and traces of the run that made the template.
const NOT_COPIED: [&str; 5] =
    ["auto.cnf", "mysqld.pid", "mysql.sock", "mysql.sock.lock", "ib_buffer_pool"];

/// Whether nothing is left to do for this server.
pub(crate) fn exists(cache: &Cache, found: &Installation) -> bool {
    found.product == Product::Nats || cache.template(&found.template_name()).is_dir()
}

/// Makes the template if it is not there. The caller holds the cache's lock.
pub(crate) fn ensure(cache: &Cache, found: &Installation) -> Result<()> {
    if exists(cache, found) {
        return Ok(());
    }
    let place = cache.template(&found.template_name());
    say(&format!("{} {}: initialising a data directory", found.product, found.version));
    // Made on the temporary file system, where socket paths are short, then copied beside its place.
    let scratch = Scratch::new()?;
    make(found, scratch.path())
        .with_context(|| format!("cannot initialise a data directory for {}", found.product))?;
    let draft = place.with_extension("draft");
    let _ = fs::remove_dir_all(&draft);
    copy_dir(&scratch.path().join("data"), &draft)?;
    replace_dir(&draft, &place)
}

/// Copies the template of the server into `data`.
pub(crate) fn copy_to(cache: &Cache, found: &Installation, data: &Path) -> Result<()> {
    copy_dir(&cache.template(&found.template_name()), data)
}

fn make(found: &Installation, dir: &Path) -> Result<()> {
    let data = dir.join("data");
    let log = dir.join("server.log");
    fs::create_dir_all(&data).and_then(|()| fs::create_dir_all(dir.join("tmp")))?;
    let result = match found.product {
        Product::MariaDb => bootstrap_mariadb(found, dir, &log),
        Product::MySql | Product::Nats => initialise_mysql(found, dir, &log),
    };
    result.and_then(|()| create_accounts(found, dir, &log)).with_context(|| log_end(&log))?;
    for name in NOT_COPIED {
        let _ = fs::remove_file(data.join(name));
    }
    Ok(())
}

fn initialise_mysql(found: &Installation, dir: &Path, log: &Path) -> Result<()> {
    let arguments = arguments::common(found, dir);
    let command = found.command().args(arguments).args(&found.initial);
    let command = command.args(["--initialize-insecure", "--skip-log-bin"]);
    finish(command.log_to(log).spawn().context("cannot start mysqld")?, "--initialize-insecure")
}

/// What `mariadb-install-db` does, without the shell script and without the help tables.
fn bootstrap_mariadb(found: &Installation, dir: &Path, log: &Path) -> Result<()> {
    let share = arguments::mariadb_share(found)?;
    let mut sql = "create database if not exists mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n\
                   SET @skip_auth_anonymous=1;\n"
        .to_owned();
    for part in ["system_tables.sql", "performance_tables.sql", "system_tables_data.sql"] {
        let found = ["mariadb_", "mysql_"].map(|name| share.join(format!("{name}{part}")));
        let Some(path) = found.iter().find(|path| path.is_file()) else {
            bail!("{part} is missing in {}: install all of MariaDB's server", share.display());
        };
        sql.push_str(
            &fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        );
    }
    let script = dir.join("bootstrap.sql");
    fs::write(&script, sql)?;
    let arguments = arguments::common(found, dir);
    let command = found.command().args(arguments).args(["--bootstrap", "--skip-log-bin"]);
    let command = command.args(["--log-warnings=0", "--enforce-storage-engine="]);
    let child = command.read_from(&script).log_to(log).spawn().context("cannot start mariadbd")?;
    finish(child, "--bootstrap")
}

fn create_accounts(found: &Installation, dir: &Path, log: &Path) -> Result<()> {
    let script = dir.join("accounts.sql");
    fs::write(&script, ACCOUNTS)?;
    let command = found.command().args(arguments::common(found, dir)).args(&found.initial);
    let command = command.args(["--skip-log-bin", "--skip-networking"]);
    let command = command.args([format!("--init-file={}", script.display())]);
    let mut child = command.log_to(log).spawn().context("cannot start the server")?;
    ready::on_socket(&dir.join("data").join(SOCKET), &mut child, DEADLINE)?;
    let status = child.terminate(DEADLINE)?;
    if !status.success() {
        bail!("the server did not stop cleanly: {status}");
    }
    Ok(())
}

fn finish(mut child: GuardedChild, step: &str) -> Result<()> {
    match child.wait(DEADLINE) {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{step} ended with {status}"),
        None => bail!("{step} took longer than {} s", DEADLINE.as_secs()),
    }
}

fn log_end(log: &Path) -> String {
    format!("the end of its log:\n{}", crate::log::tail(log, 20))
}
