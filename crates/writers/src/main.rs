//! The bake-off of ADR 9: the same rows, in the same transactions, by every way of writing that the clients
//! have, at several round trips. `cargo run --release` here; each line is a median of the rounds, which
//! take turns.

mod load;
mod prepared;
mod sqlx_writer;
mod telemetry;
mod text;

use anyhow::{Result, ensure};
use clap::Parser;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::time::{Duration, Instant};
use telemetry::{ROWS_PER_TRANSACTION, TABLE, Telemetry};
use tributary_testkit::{Direction, Flavour, MySqlOptions, MySqlServer, Proxy};

/// Rows per second of every way of writing.
#[derive(Parser)]
struct Arguments {
    /// Rows of one measurement, in transactions of a thousand.
    #[arg(long, default_value_t = 60_000)]
    rows: u32,
    /// Measurements of each; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Round trips to measure at, in milliseconds.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 20])]
    round_trips: Vec<u64>,
}

/// A way of writing.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Multi-row text, the whole transaction in one message: as the worker writes.
    Text,
    /// The same text through sqlx's `raw_sql`.
    RawSql,
    /// sqlx, prepared once per number of rows (256, 16 and 1).
    Bucketed,
    /// mysql_async's `exec_batch`: MariaDB's bulk execute, and row by row on MySQL.
    Bulk,
    /// LOAD DATA LOCAL … REPLACE.
    Load,
}

const WAYS: [Way; 5] = [Way::Text, Way::RawSql, Way::Bucketed, Way::Bulk, Way::Load];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tributary_testkit::setup::run()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for flavour in Flavour::ALL {
            let options = MySqlOptions { buffer_pool_mib: 512, ..MySqlOptions::target() };
            let options =
                options.argument("--local-infile=ON").argument("--max-allowed-packet=64M");
            let server = MySqlServer::start(flavour, &options)?;
            for &milliseconds in &arguments.round_trips {
                compare(&server, flavour, milliseconds, &arguments).await?;
            }
        }
        Ok(())
    })
}

async fn compare(
    server: &MySqlServer,
    flavour: Flavour,
    round_trip_ms: u64,
    arguments: &Arguments,
) -> Result<()> {
    let proxy = Proxy::start(([127, 0, 0, 1], server.port()).into())?;
    let half = Duration::from_micros(round_trip_ms * 500);
    proxy.delay(Direction::ToServer, half);
    proxy.delay(Direction::ToClient, half);
    // With no delay asked for, the proxy would be all that is measured.
    let port = if round_trip_ms == 0 { server.port() } else { proxy.addr().port() };
    let url = format!("mysql://tributary:tributary@127.0.0.1:{port}");
    // Row by row, which is what `exec_batch` does on MySQL, costs a round trip each.
    let is_hopeless = |way: &Way| {
        matches!(way, Way::Bulk) && flavour == Flavour::MySql && round_trip_ms > 0
    };
    let ways: Vec<Way> = WAYS.into_iter().filter(|way| !is_hopeless(way)).collect();
    let mut measured = vec![(Vec::new(), Vec::new()); ways.len()];
    for _ in 0..arguments.rounds {
        for (way, (inserts, upserts)) in ways.iter().zip(&mut measured) {
            let mut admin = Conn::new(Opts::from_url(&server.admin_url())?).await?;
            for statement in telemetry::TABLES {
                admin.query_drop(*statement).await?;
            }
            for (generation, seconds) in [(1, inserts), (2, upserts)] {
                seconds.push(way.run(&url, arguments.rows, generation).await?);
                let check = format!("SELECT COUNT(*), SUM(id * value) FROM {TABLE}");
                let found: Option<(u32, f64)> = admin.query_first(check).await?;
                let wanted = Telemetry::account(arguments.rows, generation);
                ensure!(found == Some(wanted), "{way:?} wrote {found:?}, not {wanted:?}");
            }
        }
    }
    for (way, (inserts, upserts)) in ways.iter().zip(measured) {
        let rate = |seconds| f64::from(arguments.rows) / median(seconds);
        println!(
            "{{\"bench\":\"writers\",\"server\":\"{flavour}\",\"round_trip_ms\":{round_trip_ms},\"way\":\"{way:?}\",\"inserted_rows_per_second\":{:.0},\"updated_rows_per_second\":{:.0}}}",
            rate(inserts),
            rate(upserts)
        );
    }
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

impl Way {
    /// Writes rows of a generation, and says how many seconds that took.
    async fn run(self, url: &str, rows: u32, generation: u32) -> Result<f64> {
        let transactions: Vec<Vec<Telemetry>> = (0..rows / ROWS_PER_TRANSACTION)
            .map(|n| Telemetry::transaction(n * ROWS_PER_TRANSACTION, generation))
            .collect();
        let began = Instant::now();
        match self {
            Way::Text => text::write(url, &transactions).await?,
            Way::RawSql => sqlx_writer::raw(url, &transactions).await?,
            Way::Bucketed => sqlx_writer::bucketed(url, &transactions).await?,
            Way::Bulk => prepared::write(url, &transactions).await?,
            Way::Load => load::write(url, &transactions).await?,
        }
        Ok(began.elapsed().as_secs_f64())
    }
}
