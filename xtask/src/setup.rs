//! `cargo xtask setup`: fetches the servers.

use anyhow::Result;
use clap::Args;

/// Fetch MySQL, MariaDB and nats-server into a cache, once, without root and without Docker.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask setup
  TRIBUTARY_CACHE=/var/tmp/servers cargo xtask setup   another place than ~/.cache/tributary
  TRIBUTARY_MYSQLD=/opt/mysql/bin/mysqld cargo xtask setup   a server of your own
                                     (also TRIBUTARY_MARIADBD, TRIBUTARY_NATS_SERVER)")]
pub(crate) struct Arguments {}

/// Makes every server available and says where it is.
pub(crate) fn run(_arguments: &Arguments) -> Result<()> {
    for found in tributary_testkit::setup::run()? {
        println!("{} {}  {}", found.product, found.version, found.program.display());
    }
    Ok(())
}
