//! How much memory the services need for changes of any size.

mod cases;
mod cloud;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use tributary_testkit::Flavour;
use tributary_testkit::stack::{self, Service, Stack, StackOptions};

use super::{peak_mib, published};
use cases::Case;
use cloud::Cloud;

/// Peak resident memory, each case with fresh servers and processes: what is in the log when the publisher
/// starts is read at full speed.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only these cases.
    #[arg(long = "case", value_enum)]
    cases: Vec<Case>,
    /// Apply at a shard as well, and measure the sync-worker.
    #[arg(long)]
    worker: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// What was measured.
struct Measured {
    log_mib: f64,
    seconds: f64,
    publisher_mib: f64,
    worker_mib: Option<f64>,
}

const READY: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(1200);

/// Measures the cases, one after the other.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let binaries = stack::built_binaries()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let all = Case::ALL
        .iter()
        .filter(|case| arguments.cases.is_empty() || arguments.cases.contains(case));
    for &case in all {
        let shards = if arguments.worker { vec![Flavour::MySql] } else { Vec::new() };
        let options = StackOptions {
            shards,
            workers: usize::from(arguments.worker),
            durable: false,
            // Without a worker nothing is ever said to be applied.
            credit_mib: 0,
            ..StackOptions::new(&[Flavour::MySql], binaries.clone())
        };
        let measured = runtime.block_on(measure(&options, case))?;
        report(case, &measured, arguments.json);
    }
    Ok(())
}

fn report(case: Case, measured: &Measured, json: bool) {
    let Measured { log_mib, seconds, publisher_mib, worker_mib } = measured;
    let name = case.name();
    if json {
        let worker = worker_mib.map_or("null".to_owned(), |mib| format!("{:.1}", mib * 1.048_576));
        println!(
            "{{\"bench\":\"sizes\",\"case\":\"{name}\",\"log_mb\":{:.1},\"seconds\":{seconds:.2},\"publisher_rss_mb\":{:.1},\"worker_rss_mb\":{worker}}}",
            log_mib * 1.048_576,
            publisher_mib * 1.048_576
        );
        return;
    }
    let worker = worker_mib.map_or(String::new(), |mib| format!(", worker {mib:.1} MiB"));
    println!(
        "{name}: {log_mib:.0} MiB of log in {seconds:.1} s; at its peak: publisher {publisher_mib:.1} MiB{worker}"
    );
}

async fn measure(options: &StackOptions, case: Case) -> Result<Measured> {
    let mut stack = Stack::start(options)?;
    let cloud = match options.workers {
        0 => Some(Cloud::start(&stack.nats).await?),
        _ => None,
    };
    stack.ready(READY).await?;
    cases::prepare(&stack.devices[0]).await?;
    published(&mut stack.devices[0], READY).await?;
    // A device that is known: what follows is read from its log.
    stack.devices[0].publisher.stop()?;
    if let Some(cloud) = &cloud {
        cloud.be_silent();
    }
    case.write(&stack.devices[0]).await?;
    stack.devices[0].publisher.start()?;
    connected(&stack.devices[0].publisher).await?;
    let began = Instant::now();
    published(&mut stack.devices[0], DEADLINE).await?;
    if cloud.is_none() {
        stack.caught_up(DEADLINE).await?;
    }
    let bytes = stack.devices[0].log_bytes().await?;
    #[allow(clippy::cast_precision_loss, reason = "a size for people")]
    let log_mib = bytes as f64 / f64::from(1 << 20);
    Ok(Measured {
        log_mib,
        seconds: began.elapsed().as_secs_f64(),
        publisher_mib: peak_mib(&stack.devices[0].publisher)?,
        worker_mib: stack.workers.first().map(peak_mib).transpose()?,
    })
}

/// Waits until the source's log is being read.
async fn connected(publisher: &Service) -> Result<()> {
    let until = Instant::now() + READY;
    loop {
        if let Ok(metrics) = publisher.metrics().await
            && metrics.get("tributary_publisher_source_connected", &[]) == Some(1.0)
        {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("the publisher does not read the log\n{}", publisher.log_tail(15));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
