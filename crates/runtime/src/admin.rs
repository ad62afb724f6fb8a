//! The admin port: what a monitoring system and an orchestrator ask a service.

use crate::Readiness;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The text format of Prometheus (`exposition_formats`, version 0.0.4).
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The admin port does not work.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another process has the port.
    #[error(
        "admin address {address} is in use: stop the process that has it, or set another address (port 0 takes any free one)"
    )]
    InUse {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error(
        "cannot listen on admin address {address}: {source}; set an address of this machine and a port that this user may bind"
    )]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The listener failed while it served.
    #[error("admin port {address} failed: {source}; restart the service")]
    Serve {
        /// Where it listened.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The admin port, bound and not yet served.
///
/// `GET /metrics` renders every metric, `/healthz` says that the process runs, `/readyz` prints one
/// line per condition of a [`Readiness`] with status 200, or 503 while one does not hold.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

#[derive(Clone)]
struct Pages<F> {
    handle: PrometheusHandle,
    readiness: Readiness,
    before_scrape: F,
}

// === impl Admin ===

impl Admin {
    /// Takes the port, so that a port in use is found before anything has started.
    ///
    /// # Errors
    /// [`AdminError::InUse`] or [`AdminError::Bind`].
    pub async fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse { address },
            _ => AdminError::Bind { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens: with the port that the system chose, where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then until the requests in hand are answered. `before_scrape` runs
    /// ahead of every rendering of `/metrics`: it is the place to set gauges that are costly to keep.
    ///
    /// # Errors
    /// [`AdminError::Serve`] when the listener fails.
    pub async fn serve(
        self,
        handle: PrometheusHandle,
        readiness: Readiness,
        before_scrape: impl Fn() + Send + Sync + Clone + 'static,
        shutdown: CancellationToken,
    ) -> Result<(), AdminError> {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(Pages { handle, readiness, before_scrape });
        axum::serve(self.listener, router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
            .map_err(|source| AdminError::Serve { address: self.address, source })
    }
}

async fn metrics<F: Fn()>(State(pages): State<Pages<F>>) -> impl IntoResponse {
    (pages.before_scrape)();
    ([(header::CONTENT_TYPE, METRICS_TYPE)], pages.handle.render())
}

async fn ready<F>(State(pages): State<Pages<F>>) -> impl IntoResponse {
    let status =
        if pages.readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, pages.readiness.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    const LOCAL: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answers");
        answer
    }

    #[tokio::test]
    async fn it_serves_metrics_health_and_readiness_until_shutdown() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let counter = metrics::with_local_recorder(&recorder, || metrics::counter!("rows_total"));
        let scrapes = Arc::new(AtomicU32::new(0));
        let before_scrape = {
            let scrapes = Arc::clone(&scrapes);
            move || {
                scrapes.fetch_add(1, Ordering::Relaxed);
                counter.increment(5);
            }
        };
        let (readiness, shutdown) = (Readiness::expecting(["nats"]), CancellationToken::new());
        let admin = Admin::bind(LOCAL).await.expect("binds");
        let address = admin.local_addr();
        let served = tokio::spawn(admin.serve(
            recorder.handle(),
            readiness.clone(),
            before_scrape,
            shutdown.clone(),
        ));

        let metrics = get(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK"), "{metrics}");
        assert!(metrics.contains("rows_total 5"), "{metrics}");
        assert_eq!(scrapes.load(Ordering::Relaxed), 1);
        assert!(get(address, "/healthz").await.ends_with("ok\n"));
        let waiting = get(address, "/readyz").await;
        assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
        assert!(waiting.ends_with("nats: not ready: not reported yet\n"), "{waiting}");
        readiness.set_ready("nats", Ok(()));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 OK"));
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));

        shutdown.cancel();
        served.await.expect("ends").expect("without an error");
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_what_to_do() {
        let first = Admin::bind(LOCAL).await.expect("binds");
        let error = Admin::bind(first.local_addr()).await.expect_err("in use").to_string();
        assert!(error.contains(&first.local_addr().to_string()), "{error}");
        assert!(error.contains("stop the process that has it, or set another address"), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_named_with_what_to_do() {
        let elsewhere: SocketAddr = "192.0.2.1:9000".parse().expect("an address");
        let error = Admin::bind(elsewhere).await.expect_err("refused").to_string();
        assert!(error.contains("192.0.2.1:9000") && error.contains("set an address"), "{error}");
    }
}
