//! What a thin, far and unreliable link costs: how long a backlog takes on it, beside what its bytes need, and
//! what is sent twice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tributary_testkit::stack::{self, Device, Stack, StackOptions};
use tributary_testkit::{Direction, Flavour, Proxy};

use super::json::Line;

/// A backlog of sensor readings over a link of so many kbit/s, 600 ms there and back, whose connections are
/// reset in one of fifty seconds.
#[derive(Args)]
pub(crate) struct Arguments {
    /// kbit/s; several may be given. 16, 64 and 128 otherwise.
    #[arg(long = "rate", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rates: Vec<u64>,
    /// How large the backlog is: so many seconds of the link, roughly.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Milliseconds there and back.
    #[arg(long, default_value_t = 600)]
    round_trip: u64,
    /// Of a hundred seconds in so many all connections are reset.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=100))]
    resets: u64,
    /// Seed of the resets.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

const READY: Duration = Duration::from_secs(60);
/// A row takes about so many bytes of a message.
const ROW_BYTES: u64 = 8;
const LOOK: Duration = Duration::from_millis(100);

/// Measures each rate with services of its own.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let usual = [16, 64, 128];
    let rates = if arguments.rates.is_empty() { &usual[..] } else { &arguments.rates };
    for &rate in rates {
        runtime.block_on(Box::pin(measure(rate, arguments)))?;
    }
    Ok(())
}

async fn measure(kbit: u64, arguments: &Arguments) -> Result<()> {
    let bytes_per_second = kbit * 1000 / 8;
    let options = StackOptions {
        shards: vec![Flavour::MySql],
        workers: 1,
        heartbeat_seconds: 10.0,
        uplinks: true,
        ..StackOptions::new(&[Flavour::MySql], stack::built_binaries()?)
    };
    let mut stack = Stack::start(&options)?;
    stack.ready(READY).await?;
    let device = &stack.devices[0];
    let proxy = device.uplink.as_ref().context("no proxy")?;
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.limit(direction, bytes_per_second);
        proxy.delay(direction, Duration::from_millis(arguments.round_trip / 2));
    }
    let before = proxy.forwarded_bytes(Direction::ToServer);
    let rows = bytes_per_second * arguments.seconds / ROW_BYTES;
    fill(device, rows).await?;
    let began = Instant::now();
    let patience = Duration::from_secs(arguments.seconds * 10 + 120);
    let passed = pass(&stack, proxy, arguments, patience).await?;
    let took = began.elapsed().as_secs_f64();
    let verdict = stack.verdict(device).await?;
    ensure!(verdict.equal(), "{verdict}\n{:#?}", verdict.differences);
    report(&Figures::of(device, proxy, before, kbit, rows, took, passed).await?, arguments.json);
    Ok(())
}

/// How the backlog passed.
struct Passed {
    resets: u64,
    /// The longest time in which the shard's watermark did not move.
    longest: Duration,
}

/// Waits until everything is applied, and resets connections meanwhile.
async fn pass(
    stack: &Stack,
    proxy: &Proxy,
    arguments: &Arguments,
    patience: Duration,
) -> Result<Passed> {
    let device = &stack.devices[0];
    let head = device.head().await?;
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let (began, mut moved, mut second) = (Instant::now(), Instant::now(), 0);
    let (mut last, mut passed) = (None, Passed { resets: 0, longest: Duration::ZERO });
    loop {
        let now = stack.watermark(&device.id).await?.map(|(_, watermark)| watermark);
        if now != last {
            passed.longest = passed.longest.max(moved.elapsed());
            (last, moved) = (now, Instant::now());
        }
        if now.is_some_and(|(file, offset, _)| (file, offset) >= head) {
            return Ok(passed);
        }
        if began.elapsed() > patience {
            bail!("applied up to {now:?} of {head:?}\n{}", device.publisher.log_tail(15));
        }
        if began.elapsed().as_secs() > second {
            second += 1;
            if random.u64(0..100) < arguments.resets {
                proxy.reset()?;
                passed.resets += 1;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Figures {
    kbit: u64,
    rows: u64,
    took: f64,
    passed: Passed,
    /// What passed through the link to the server, NATS's own words included.
    on_the_wire: f64,
    /// Messages sent, and those that the stream has acknowledged.
    sent: f64,
    needed: f64,
    by_connection: f64,
    by_timeout: f64,
    by_refusal: f64,
    rewinds: f64,
}

impl Figures {
    async fn of(
        device: &Device,
        proxy: &Proxy,
        before: u64,
        kbit: u64,
        rows: u64,
        took: f64,
        passed: Passed,
    ) -> Result<Self> {
        let metrics = device.publisher.metrics().await?;
        let get = |name: &str, labels: &[(&str, &str)]| {
            metrics.get(&format!("tributary_publisher_{name}"), labels).unwrap_or_default()
        };
        let why = |why| get("resends_total", &[("why", why)]);
        #[allow(clippy::cast_precision_loss, reason = "bytes for people")]
        let on_the_wire = (proxy.forwarded_bytes(Direction::ToServer) - before) as f64;
        Ok(Self {
            kbit,
            rows,
            took,
            passed,
            on_the_wire,
            sent: get("bytes_sent_total", &[]),
            needed: get("bytes_published_total", &[]),
            by_connection: why("connection"),
            by_timeout: why("timeout"),
            by_refusal: why("refusal"),
            rewinds: get("rewinds_total", &[]),
        })
    }
}

fn report(figures: &Figures, json: bool) {
    let Figures { kbit, rows, took, passed, on_the_wire, sent, needed, .. } = figures;
    let Figures { by_connection, by_timeout, by_refusal, rewinds, .. } = figures;
    #[allow(clippy::cast_precision_loss, reason = "a share for people")]
    let used = needed * 8.0 / 1000.0 / took / *kbit as f64 * 100.0;
    let longest = passed.longest.as_secs_f64();
    if json {
        Line::new("link")
            .plain("kbit_per_second", kbit)
            .plain("rows", rows)
            .number("seconds", *took, 1)
            .number("link_used_percent", used, 1)
            .number("longest_pause_s", longest, 1)
            .plain("resets", passed.resets)
            .number("bytes_needed", *needed, 0)
            .number("bytes_sent", *sent, 0)
            .number("bytes_on_the_wire", *on_the_wire, 0)
            .number("resends_by_connection", *by_connection, 0)
            .number("resends_by_timeout", *by_timeout, 0)
            .number("resends_by_refusal", *by_refusal, 0)
            .number("rewinds", *rewinds, 0)
            .print();
        return;
    }
    println!(
        "{kbit} kbit/s: {rows} rows in {took:.0} s, {used:.0} % of the link; longest pause {longest:.1} s; {} resets; messages of {:.0} KB needed, {:.0} KB sent ({:.2} times), {:.0} KB on the wire; sent again {by_connection:.0} times after a new connection, {by_timeout:.0} after a time-out, {by_refusal:.0} after a refusal; {rewinds:.0} rewinds; equal",
        passed.resets,
        needed / 1e3,
        sent / 1e3,
        sent / needed,
        on_the_wire / 1e3,
    );
}

/// In transactions of a hundred rows, as a gateway would write them.
async fn fill(device: &Device, rows: u64) -> Result<()> {
    device
        .sql(&[
            "CREATE DATABASE bench",
            "CREATE TABLE bench.readings (id BIGINT PRIMARY KEY AUTO_INCREMENT, sensor INT NOT NULL, \
             at DATETIME(3) NOT NULL, value DOUBLE NOT NULL, unit VARCHAR(16) NOT NULL)",
        ])
        .await?;
    let insert = |n: u64| {
        format!(
            "INSERT INTO bench.readings (sensor, at, value, unit) WITH RECURSIVE s (n) AS \
             (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100) \
             SELECT n % 40, '2026-01-01' + INTERVAL {n} SECOND, ROUND(RAND() * 100, 4), 'celsius' FROM s"
        )
    };
    let inserts: Vec<String> = (0..rows.div_ceil(100)).map(insert).collect();
    let inserts: Vec<&str> = inserts.iter().map(String::as_str).collect();
    device.sql(&inserts).await
}
