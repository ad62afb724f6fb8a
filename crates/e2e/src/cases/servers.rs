//! Servers that are used again: starting one takes seconds, emptying one takes none.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use mysql_async::prelude::Queryable;
use tributary_testkit::stack::connect;
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, Role};

/// So many wait to be used again, at the most.
const IDLE: usize = 8;

/// Servers that nobody uses just now.
#[derive(Debug, Default)]
pub struct Servers {
    idle: Mutex<Vec<Rented>>,
}

/// A server for one run, with no database of an application and an empty log.
#[derive(Debug)]
pub(super) struct Rented {
    server: MySqlServer,
    slip: Slip,
}

/// What is known of a server that is in use.
#[derive(Debug)]
pub(super) struct Slip {
    role: Role,
    /// Started with arguments of its own, which the next run does not want.
    special: bool,
    fresh: State,
}

/// What a run may leave behind beside databases.
#[derive(Debug, PartialEq)]
struct State {
    globals: BTreeMap<String, String>,
    accounts: u64,
}

impl Rented {
    /// The server, and what is to be given back with it.
    pub(super) fn split(self) -> (MySqlServer, Slip) {
        (self.server, self.slip)
    }
}

impl Slip {
    /// Both together again.
    pub(super) fn with(self, server: MySqlServer) -> Rented {
        Rented { server, slip: self }
    }
}

impl Servers {
    /// One that is there, or a new one.
    pub(super) async fn rent(&self, flavour: Flavour, options: &MySqlOptions) -> Result<Rented> {
        let special = !options.arguments.is_empty();
        if !special {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |rented: &Rented| {
                rented.server.flavour() == flavour && rented.slip.role == options.role
            };
            if let Some(place) = idle.iter().position(fits) {
                return Ok(idle.swap_remove(place));
            }
        }
        let server = MySqlServer::start(flavour, options)?;
        let fresh = state(&server).await?;
        Ok(Rented { server, slip: Slip { role: options.role, special, fresh } })
    }

    /// Takes one back. It is ended when it could not be made as it was.
    pub(super) async fn take_back(&self, rented: Rented) {
        if rented.slip.special {
            return;
        }
        let is_fresh = match empty(&rented).await {
            Ok(()) => state(&rented.server).await.is_ok_and(|state| state == rented.slip.fresh),
            Err(_) => false,
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if is_fresh && idle.len() < IDLE {
            idle.push(rented);
        }
    }
}

/// Drops every database, and begins the log anew.
async fn empty(rented: &Rented) -> Result<()> {
    let mut conn = connect(&rented.server).await?;
    conn.query_drop("SET SESSION lock_wait_timeout = 5, foreign_key_checks = 0").await?;
    let databases = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN \
                     ('information_schema', 'mysql', 'performance_schema', 'sys')";
    for database in conn.query::<String, _>(databases).await? {
        conn.query_drop(format!("DROP DATABASE `{}`", database.replace('`', "``"))).await?;
    }
    if rented.slip.role == Role::Source {
        conn.query_drop(match rented.server.flavour() {
            Flavour::MySql => "RESET BINARY LOGS AND GTIDS",
            Flavour::MariaDb => "RESET MASTER",
        })
        .await?;
    }
    Ok(conn.disconnect().await?)
}

async fn state(server: &MySqlServer) -> Result<State> {
    let mut conn = connect(server).await?;
    let globals: Vec<(String, String)> = conn.query("SHOW GLOBAL VARIABLES").await?;
    let moves = |name: &str| name.contains("gtid") || name.contains("timestamp");
    let globals = globals.into_iter().filter(|(name, _)| !moves(name)).collect();
    let accounts = conn.query_first("SELECT COUNT(*) FROM mysql.user").await?.unwrap_or_default();
    conn.disconnect().await?;
    Ok(State { globals, accounts })
}
