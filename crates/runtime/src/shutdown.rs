//! How a service stops: a token that a signal cancels, and a grace period for what is in hand.

use crate::exit;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Work did not end within its grace period, and was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("did not stop within its grace period of {} s; the rest was abandoned", grace.as_secs_f64())]
pub struct GraceExpired {
    /// How long it was given.
    pub grace: Duration,
}

/// A token that the first SIGTERM or SIGINT cancels. The second ends the process at once, with
/// [`exit::GRACE_EXPIRED`]: whoever sends two does not want to wait.
///
/// Must be called within a Tokio runtime that drives IO.
pub fn on_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let streams = signal(SignalKind::terminate()).and_then(|terminate| {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok((terminate, interrupt))
    });
    match streams {
        Ok((terminate, interrupt)) => {
            tokio::spawn(listen(terminate, interrupt, token.clone()));
        }
        Err(error) => tracing::error!(
            %error,
            "cannot listen for SIGTERM and SIGINT: a signal will end the process without a clean stop"
        ),
    }
    token
}

/// Waits for `future` for as long as `grace`, then drops it.
///
/// # Errors
/// [`GraceExpired`] when it was not done by then.
pub async fn within<F: Future>(grace: Duration, future: F) -> Result<F::Output, GraceExpired> {
    tokio::time::timeout(grace, future).await.map_err(|_| GraceExpired { grace })
}

async fn listen(mut terminate: Signal, mut interrupt: Signal, token: CancellationToken) {
    let name = next(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = name, "stopping; a second signal stops at once");
    token.cancel();
    let name = next(&mut terminate, &mut interrupt).await;
    tracing::warn!(signal = name, "stopped at once; work in hand was abandoned");
    std::process::exit(i32::from(exit::GRACE_EXPIRED));
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_in_time_returns_its_value() {
        assert_eq!(within(Duration::from_secs(1), async { 7 }).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_dropped_and_says_how_long_it_was_given() {
        let error = within(Duration::from_millis(1500), std::future::pending::<()>())
            .await
            .expect_err("expires");
        assert_eq!(
            error.to_string(),
            "did not stop within its grace period of 1.5 s; the rest was abandoned"
        );
    }

    #[tokio::test]
    async fn the_first_signal_cancels_the_token() {
        let token = on_signal();
        assert!(!token.is_cancelled());
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &std::process::id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        within(Duration::from_secs(10), token.cancelled()).await.expect("the signal arrives");
    }
}
