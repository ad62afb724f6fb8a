//! `tributary-sync-worker`: applies the changes of a fleet of devices to shards.

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tributary_runtime::{
    Admin, CancellationToken, ConfigError, Readiness, config, exit, memory, shutdown, telemetry,
};
use tributary_sync_worker::preflight::{self, Verdict};
use tributary_sync_worker::{Config, Settings, Worker, WorkerError, metrics, operate};
use tributary_wire::DeviceId;

/// Applies the changes of a fleet of devices, as JetStream holds them, to sharded MySQL.
#[derive(Debug, Parser)]
#[command(name = "tributary-sync-worker", version, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration file, in TOML.
    #[arg(long, env = "TRIBUTARY_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Only read the configuration and say whether it is valid.
    #[arg(long)]
    check_config: bool,
    /// Write log lines as JSON.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at NATS and at every shard, and say what is wrong and how to mend it.
    Check,
    /// List the devices that are parked, with reason and remedy.
    Parked {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the shards that any worker was ever given, and which of them this configuration lacks.
    Shards,
    /// Take a shard off that list that is gone for good. Its devices are copied to other shards, anew.
    Retire {
        /// The shard's name.
        shard: String,
    },
    /// Let a parked device go on.
    Release {
        /// The device's id.
        device: DeviceId,
        /// Go past the statement that it is parked at: it was made by hand.
        #[arg(long)]
        skip_statement: bool,
    },
}

const EXAMPLES: &str = "\
Examples:
  tributary-sync-worker --config worker.toml --check-config
  tributary-sync-worker --config worker.toml check
  tributary-sync-worker --config worker.toml
  tributary-sync-worker --config worker.toml parked --json
  tributary-sync-worker --config worker.toml release DEVICE_001

A small configuration:
  [nats]
  url = \"nats://127.0.0.1:4222\"

  [[shards]]
  name = \"shard-0\"
  host = \"127.0.0.1\"
  user = \"tributary\"
  password = \"file:/etc/tributary/shard-0.password\"

TRIBUTARY_<SECTION>__<KEY> goes before the file: TRIBUTARY_NATS__URL, TRIBUTARY_ADMIN__LISTEN.
TRIBUTARY_LOG sets the log level.

Exit codes: 0 stopped or good, 1 failed, 64 wrong configuration, 69 a server cannot be reached,
71 a port is taken, 75 did not stop within its grace period.";

/// mysql_async keeps buffers for later. By default each may be of 4 MiB, which soon all of them are.
const BUFFERS: &[(&str, &str)] = &[("MYSQL_ASYNC_BUFFER_SIZE_CAP", "65536")];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    memory::keep_little(BUFFERS);
    telemetry::init_logging(arguments.log_json);
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("tributary-sync-worker: {error:#}");
            let code =
                error.downcast_ref::<WorkerError>().map_or(exit::FAILURE, WorkerError::exit_code);
            ExitCode::from(code)
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = load(arguments.config.as_deref())?;
    if arguments.check_config {
        println!("the configuration is valid: {} shards", settings.shards.len());
        return Ok(exit::OK);
    }
    match &arguments.command {
        None => serve(settings).await.map(|()| exit::OK),
        Some(Command::Check) => Ok(check(&settings).await),
        Some(Command::Parked { json }) => parked(&settings, *json).await,
        Some(Command::Shards) => {
            for (entry, is_listed) in operate::shards(&settings).await? {
                let note = if is_listed { "" } else { "  NOT in this configuration" };
                println!("{}{note}", entry.shown());
            }
            Ok(exit::OK)
        }
        Some(Command::Retire { shard }) => {
            operate::retire(&settings, shard).await?;
            println!("{shard} is off the list of shards");
            Ok(exit::OK)
        }
        Some(Command::Release { device, skip_statement }) => {
            let shards = operate::release(&settings, device, *skip_statement).await?;
            println!("{device} goes on at {}", shards.join(", "));
            Ok(exit::OK)
        }
    }
}

fn load(path: Option<&Path>) -> Result<Settings, WorkerError> {
    let config: Config =
        config::load(path).map_err(|error: ConfigError| WorkerError::from(error))?;
    Ok(config.validate()?)
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let stop = shutdown::on_signal();
    let handle = telemetry::install_metrics().map_err(WorkerError::from)?;
    metrics::describe();
    let admin = Admin::bind(settings.listen).await.map_err(WorkerError::from)?;
    tracing::info!(address = %admin.local_addr(), "admin port");
    let readiness = Readiness::expecting(["nats"]);
    let worker = Worker::start(settings, readiness.clone()).await?;
    let scrape = worker.scrape();
    let served = CancellationToken::new();
    let upkeep = tokio::spawn(telemetry::metrics_upkeep(handle.clone(), served.clone()));
    // Without a scrape, /readyz must be true as well.
    let readiness_kept = tokio::spawn(scrape.clone().keep_ready(served.clone()));
    let pages = tokio::spawn(admin.serve(handle, readiness, move || scrape.set(), served.clone()));
    let outcome = worker.run(stop).await;
    served.cancel();
    let _ = tokio::join!(upkeep, readiness_kept, pages);
    Ok(outcome?)
}

async fn check(settings: &Settings) -> u8 {
    let findings = preflight::check(settings).await;
    for finding in &findings {
        let (mark, text) = match &finding.verdict {
            Verdict::Good(text) => ("good", text),
            Verdict::Doubtful(text) => ("note", text),
            Verdict::Bad(text) => ("BAD ", text),
        };
        println!("{mark}  {}: {text}", finding.subject);
    }
    if preflight::is_good(&findings) { exit::OK } else { exit::FAILURE }
}

/// Those of the shards that can be asked, whatever the others do.
async fn parked(settings: &Settings, json: bool) -> anyhow::Result<u8> {
    let (mut list, mut code) = (Vec::new(), exit::OK);
    for shard in &settings.shards {
        match operate::parked_at(shard).await {
            Ok(parked) => list.extend(parked),
            Err(error) => {
                eprintln!("{error}");
                code = exit::FAILURE;
            }
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&list)?);
        return Ok(code);
    }
    for device in &list {
        let since = &device.since;
        println!("{} at {} ({}) since {since}", device.device, device.shard, device.position);
        println!("  reason: {}\n  remedy: {}", device.reason, device.remedy);
    }
    if list.is_empty() && code == exit::OK {
        println!("no device is parked");
    }
    Ok(code)
}
