//! What a service says of itself: log lines and metrics.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The variable that sets the log level: `debug`, or `info,tributary_publisher=trace`.
pub const LOG_VARIABLE: &str = "TRIBUTARY_LOG";

/// The services say themselves what becomes of their NATS connection.
const LOG_DEFAULT: &str = "info,async_nats=off";

/// Bucket bounds of every histogram whose name ends in `_seconds`: from one write on a local disk to
/// a link that was down for a working day.
pub const SECONDS_BUCKETS: [f64; 18] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
    300.0, 3600.0, 28_800.0,
];

/// How often histograms are folded into their buckets. Without it they keep every sample.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A recorder is already installed in this process.
    #[error(
        "cannot install the metrics recorder: {0}; install it once, at the start of the process"
    )]
    Install(#[source] BuildError),
}

/// Sends log lines to stderr: JSON, or text, with colours only on a terminal. The level comes from
/// [`LOG_VARIABLE`], `info` by default. A second call changes nothing.
pub fn init_logging(json: bool) {
    let wanted = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let wanted = if wanted.is_empty() { LOG_DEFAULT } else { &wanted };
    let (filter, refused) = match EnvFilter::try_new(wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(LOG_DEFAULT), Some(error)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if json {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    if let (Ok(()), Some(error)) = (installed, refused) {
        tracing::warn!(
            %error,
            "{LOG_VARIABLE}={wanted:?} is no log filter, so the level is {LOG_DEFAULT}; write for example debug, or info,tributary_wire=trace"
        );
    }
}

/// Makes this process record metrics, and returns what renders them. [`metrics_upkeep`] has to run
/// for as long as they are recorded.
///
/// # Errors
/// [`TelemetryError`] when a recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, TelemetryError> {
    builder().and_then(PrometheusBuilder::install_recorder).map_err(TelemetryError::Install)
}

/// Folds histogram samples into their buckets until `shutdown`: without it they take more memory
/// with every sample.
pub async fn metrics_upkeep(handle: PrometheusHandle, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        handle.run_upkeep();
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_histograms_with_buckets() {
        let recorder = builder().expect("builds").build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("apply_seconds").record(0.003);
        });
        let text = recorder.handle().render();
        assert!(text.contains(r#"apply_seconds_bucket{le="0.005"} 1"#), "{text}");
        assert!(text.contains(r#"apply_seconds_bucket{le="0.0025"} 0"#), "{text}");
    }

    #[test]
    fn buckets_grow_from_each_to_the_next() {
        assert!(SECONDS_BUCKETS.is_sorted_by(|a, b| a < b));
    }

    #[tokio::test(start_paused = true)]
    async fn upkeep_ends_with_the_service() {
        let handle = builder().expect("builds").build_recorder().handle();
        let shutdown = CancellationToken::new();
        let upkeep = tokio::spawn(metrics_upkeep(handle, shutdown.clone()));
        shutdown.cancel();
        upkeep.await.expect("ends");
    }
}
