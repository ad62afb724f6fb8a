//! Runs one private server until it is told to end: `private-server mysql|mariadb|nats`.
//!
//! Prints one line, `<pid> <url>`, when the server takes connections, and ends when its standard input
//! does (Ctrl-D). For trying things by hand, and for the test that kills it.

use std::io::Read;

use anyhow::{Result, bail};
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("mysql") => mysql(Flavour::MySql),
        Some("mariadb") => mysql(Flavour::MariaDb),
        Some("nats") => nats(),
        _ => bail!("usage: private-server mysql|mariadb|nats"),
    }
}

fn mysql(flavour: Flavour) -> Result<()> {
    let server = MySqlServer::start(flavour, &MySqlOptions::source())?;
    announce(server.pid(), &server.admin_url())
}

fn nats() -> Result<()> {
    let server = NatsServer::start(&NatsOptions::default())?;
    announce(server.pid(), &server.url())
}

fn announce(pid: Option<u32>, url: &str) -> Result<()> {
    println!("{} {url}", pid.unwrap_or_default());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
