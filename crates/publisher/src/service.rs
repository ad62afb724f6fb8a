//! The service: attempts, one after another, until a signal or an error that only a person can mend.

use crate::checkpoint::CheckpointFile;
use crate::credit::Credit;
use crate::filter::Remembered;
use crate::link::Link;
use crate::retention::{Ledger, Standing, Watch};
use crate::session::{self, Agent, End};
use crate::{Config, Error, Fate, metrics, tail};
use std::time::Duration;
use tributary_runtime::{Admin, Backoff, CancellationToken, PrometheusHandle, Readiness};
use tributary_wire::{DeviceId, Position};

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Runs the publisher until `shutdown`.
///
/// # Errors
/// The first error whose fate is [`Fate::Stop`].
pub async fn run(
    config: Config,
    device: DeviceId,
    handle: PrometheusHandle,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let admin = Admin::bind(config.admin.listen).await?;
    let checkpoints = CheckpointFile::open(&config.state.dir, &device)?;
    metrics::describe(&device);
    let readiness = Readiness::expecting(["source", "nats", "cloud"]);
    tracing::info!(
        %device,
        name = config.device.name.as_deref().unwrap_or_default(),
        source = config.source.address(),
        admin = %admin.local_addr(),
        "publisher starts"
    );
    let upkeep = tributary_runtime::telemetry::metrics_upkeep(handle.clone(), shutdown.clone());
    let upkeep = tokio::spawn(upkeep);
    let serving = tokio::spawn(admin.serve(handle, readiness.clone(), || {}, shutdown.clone()));

    let link = Link::open(&config.nats, &device).await?;
    let checkpoint = checkpoints.load().filter(|checkpoint| checkpoint.device == device);
    let run = fastrand::u64(1..);
    let mut agent = Agent {
        filter: Remembered::of(&config.filter),
        retention: Watch::default(),
        ledger: Ledger::default(),
        credit: Credit::new(u64::from(config.publish.credit_mib) << 20),
        pace: None,
        config,
        device,
        link,
        checkpoints,
        checkpoint,
        readiness,
        run,
        after_rewind: false,
        is_new: false,
        take_snapshot: false,
    };
    let safe = agent.checkpoint.as_ref().map_or(Position::beginning(0), |known| known.position);
    agent.retention.tell(Standing::unknown(safe, tail::now_us()));
    let watch = agent.retention.clone().run(agent.config.clone(), agent.device.clone());
    let outcome = tokio::select! {
        outcome = attempts(&mut agent) => outcome,
        () = watch => Ok(()),
        () = shutdown.cancelled() => Ok(()),
    };
    agent.store_checkpoint();
    agent.link.close().await;
    shutdown.cancel();
    let _ = upkeep.await;
    if let Ok(served) = serving.await {
        served?;
    }
    outcome
}

async fn attempts(agent: &mut Agent) -> Result<(), Error> {
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    loop {
        let began = tokio::time::Instant::now();
        let outcome = session::run(agent).await;
        metrics::source_connected(false);
        if began.elapsed() > PAUSE_MAX {
            backoff.reset();
        }
        match outcome {
            Ok(End::Rewind) => {
                metrics::rewound();
                agent.after_rewind = true;
                agent.store_checkpoint();
            }
            Ok(End::SmallerPayload) => {
                tracing::warn!(device = %agent.device, max_payload = agent.link.max_payload(), "nats-server takes smaller messages than before; packing again");
            }
            Err(error) if error.needs_snapshot() && agent.may_take_snapshot() => {
                tracing::warn!(device = %agent.device, %error, "the log has lost what follows on the copy; every table is copied again");
                agent.take_snapshot = true;
                tokio::time::sleep(backoff.next()).await;
            }
            Err(error) if error.fate() == Fate::Retry => {
                let pause = backoff.next();
                tracing::warn!(device = %agent.device, %error, pause_ms = pause.as_millis(), "publishing was interrupted");
                agent.readiness.set_ready("source", Err(error.to_string()));
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(error),
        }
        // What was under way may still arrive. Another attempt reads the same log, but it cuts it, and
        // places a snapshot in it, in its own way: only another run's number tells the two apart.
        agent.run = fastrand::u64(1..);
    }
}
