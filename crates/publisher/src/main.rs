//! `tributary-publisher`: see `--help`.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tributary_publisher::check::{self, Outcome};
use tributary_publisher::{Config, Fate};
use tributary_runtime::{exit, memory, shutdown, telemetry};

/// Publishes the changes of one MySQL or MariaDB server to NATS JetStream, for ever.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration file (TOML). Without one, everything comes from TRIBUTARY_… variables.
    #[arg(long, env = "TRIBUTARY_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Read the configuration, say whether it is good, and end.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Look at the source, the link and the cloud, and say what has to be mended first.
    Check {
        /// One JSON object a line: outcome, finding, fix.
        #[arg(long)]
        json: bool,
    },
}

const EXAMPLES: &str = "\
Examples:
  tributary-publisher --config /etc/tributary/publisher.toml check
  tributary-publisher --config /etc/tributary/publisher.toml
  TRIBUTARY_SOURCE__PASSWORD=file:/run/secrets/mysql tributary-publisher --config publisher.toml

Exit codes: 0 stopped by a signal; 1 a check failed; 64 configuration or server settings; 65 the log
cannot be carried on from; 71 the system refused a port or a directory; 77 access denied.
Log level: TRIBUTARY_LOG=debug.";

/// mysql_async keeps buffers for later. By default each may be of 4 MiB, which soon all of them are.
const BUFFERS: &[(&str, &str)] = &[("MYSQL_ASYNC_BUFFER_SIZE_CAP", "65536")];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    memory::keep_little(BUFFERS);
    let (config, device) = match Config::load(arguments.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("configuration: {error}");
            return ExitCode::from(exit::USAGE);
        }
    };
    if arguments.check_config {
        println!("configuration is good: device {device}, source {}", config.source.address());
        return ExitCode::from(exit::OK);
    }
    telemetry::init_logging(config.log.json);
    // One TLS stack for MySQL and NATS; a second installation would mean that it is already there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One thread: the work waits for a disk, a server and a link, and a device has other things to do.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the system refused what a runtime needs");
            return ExitCode::from(exit::SYSTEM);
        }
    };
    match arguments.command {
        Some(Command::Check { json }) => {
            let checks = runtime.block_on(check::run(&config, &device));
            print(&checks, json)
        }
        None => runtime.block_on(serve(config, device)),
    }
}

fn print(checks: &[check::Check], json: bool) -> ExitCode {
    for check in checks {
        match serde_json::to_string(check) {
            Ok(line) if json => println!("{line}"),
            _ => println!("{check}"),
        }
    }
    let failed = checks.iter().any(|check| check.outcome == Outcome::Fail);
    ExitCode::from(if failed { exit::FAILURE } else { exit::OK })
}

async fn serve(config: Config, device: tributary_wire::DeviceId) -> ExitCode {
    let handle = match telemetry::install_metrics() {
        Ok(handle) => handle,
        Err(error) => {
            tracing::error!(%error, "metrics");
            return ExitCode::from(exit::FAILURE);
        }
    };
    match tributary_publisher::run(config, device, handle, shutdown::on_signal()).await {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            tracing::error!(%error, "publisher stops");
            match error.fate() {
                Fate::Stop(code) => ExitCode::from(code),
                Fate::Retry => ExitCode::from(exit::UNAVAILABLE),
            }
        }
    }
}
