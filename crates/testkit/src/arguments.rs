//! Command lines of MySQL and MariaDB servers: what every run shares.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::installation::Installation;
use crate::product::Product;

/// The Unix socket's name, relative to the data directory, so that long paths do no harm.
pub(crate) const SOCKET: &str = "mysql.sock";

/// Arguments for any run of the server in `dir`, which holds `data/` and `tmp/`.
pub(crate) fn common(found: &Installation, dir: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--no-defaults".into()];
    if let Some(base) = &found.base {
        let share = base.join("share/mysql");
        arguments.push(pair("--basedir=", base));
        arguments.push(pair("--lc-messages-dir=", &share));
        arguments.push(pair("--character-sets-dir=", &share.join("charsets")));
        arguments.push(pair("--plugin-dir=", &base.join("lib/mysql/plugin")));
    }
    arguments.push(pair("--datadir=", &dir.join("data")));
    arguments.push(pair("--tmpdir=", &dir.join("tmp")));
    arguments.extend(SHARED.map(OsString::from));
    arguments.push(format!("--socket={SOCKET}").into());
    let own: &[&str] = match found.product {
        Product::MariaDb => &MARIADB,
        Product::MySql | Product::Nats => &MYSQL,
    };
    arguments.extend(own.iter().map(OsString::from));
    if rustix::process::getuid().is_root() {
        arguments.push("--user=root".into());
    }
    arguments
}

const SHARED: [&str; 7] = [
    "--pid-file=mysqld.pid",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--character-set-server=utf8mb4",
    "--secure-file-priv=",
    "--innodb-buffer-pool-dump-at-shutdown=OFF",
    "--innodb-buffer-pool-load-at-startup=OFF",
];
const MYSQL: [&str; 3] = [
    "--mysqlx=OFF",
    "--loose-innodb-redo-log-capacity=33554432",
    "--innodb-log-buffer-size=16777216", // a quarter of its default, which is resident at once
];
const MARIADB: [&str; 2] = ["--innodb-log-file-size=33554432", "--skip-ssl"];

/// The directory that holds MariaDB's SQL files.
pub(crate) fn mariadb_share(found: &Installation) -> Result<PathBuf> {
    let base = match &found.base {
        Some(base) => base.clone(),
        // The system's own: <base>/sbin/mariadbd.
        None => std::fs::canonicalize(&found.program)?
            .ancestors()
            .nth(2)
            .context("the server is in no sbin directory")?
            .to_owned(),
    };
    let dirs = ["share/mysql", "share/mariadb"].map(|dir| base.join(dir));
    let found = dirs
        .into_iter()
        .find(|dir| dir.join("errmsg-utf8.txt").exists() || dir.join("charsets").exists());
    found.with_context(|| format!("no share/mysql or share/mariadb under {}", base.display()))
}

fn pair(option: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(option);
    argument.push(path);
    argument
}
