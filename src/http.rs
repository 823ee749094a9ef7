//! Health and metrics over HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! # Semantics
//! `/livez` answers as long as the process can. `/readyz` is 503 with the reasons until every one of them is
//! gone, and 200 after. `/metrics` is Prometheus text: what was recorded, then gauges computed at the scrape.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// One value of a gauge, computed when somebody asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the metric, e.g. `highwater_stream_rows`. Samples of one name follow each other.
    pub name: &'static str,
    /// What the metric says; one line.
    pub help: &'static str,
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// Computes samples. Must not block for long.
pub type Samples = Box<dyn Fn() -> Vec<Sample> + Send + Sync>;

/// What the server says about itself.
pub struct Health {
    metrics: PrometheusHandle,
    state: Mutex<HealthState>,
}

struct HealthState {
    /// Why the server is not ready; ready iff empty.
    reasons: BTreeSet<String>,
    samples: Arc<Samples>,
}

impl Health {
    /// A server that is not ready, for one reason.
    pub fn new(metrics: PrometheusHandle, reason: &str) -> Self {
        let samples: Samples = Box::new(Vec::new);
        let reasons = BTreeSet::from([reason.to_owned()]);
        Self { metrics, state: Mutex::new(HealthState { reasons, samples: Arc::new(samples) }) }
    }

    /// Adds a reason not to be ready.
    pub fn block(&self, reason: &str) {
        self.state().reasons.insert(reason.to_owned());
    }

    /// Takes a reason away.
    pub fn unblock(&self, reason: &str) {
        self.state().reasons.remove(reason);
    }

    /// Sets what computes gauges at a scrape.
    pub fn set_samples(&self, samples: Samples) {
        self.state().samples = Arc::new(samples);
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves HTTP until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    let reasons = health.state().reasons.clone();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "ready": ready, "reasons": reasons }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    health.metrics.run_upkeep();
    let samples = Arc::clone(&health.state().samples);
    // Outside of the lock: samples may wait for locks of the engine.
    let body = health.metrics.render() + &render(&samples());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response()
}

/// Writes samples as Prometheus text.
fn render(samples: &[Sample]) -> String {
    let mut text = String::new();
    let mut name = "";
    for sample in samples {
        if sample.name != name {
            name = sample.name;
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", sample.help);
        }
        let labels: Vec<String> = sample
            .labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        let braces =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(text, "{name}{braces} {}", number(sample.value));
    }
    text
}

/// A label's value: names of objects may hold anything.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number as Prometheus spells it.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn request(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn ready_once_every_reason_is_gone() {
        let handle =
            metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let health = Arc::new(Health::new(handle, "engine is starting"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Arc::clone(&health), shutdown.clone()));

        assert!(request(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let unready = request(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
        assert!(unready.ends_with(r#"{"ready":false,"reasons":["engine is starting"]}"#));
        health.unblock("engine is starting");
        assert!(request(address, "/readyz").await.starts_with("HTTP/1.1 200"));

        health.set_samples(Box::new(|| {
            vec![Sample { name: "up", help: "Whether.", labels: Vec::new(), value: 1.0 }]
        }));
        assert!(request(address, "/metrics").await.contains("# TYPE up gauge\nup 1\n"));
        assert!(request(address, "/").await.starts_with("HTTP/1.1 404"));
        shutdown.cancel();
        server.await.unwrap().unwrap();
    }

    #[test]
    fn samples_of_a_name_share_a_header_and_labels_are_escaped() {
        let sample = |stream: &str, value| Sample {
            name: "rows",
            help: "Rows.",
            labels: vec![("stream", stream.to_owned())],
            value,
        };
        let text = render(&[sample("a\"b", 2.5), sample("c", f64::INFINITY)]);
        let expected = "# HELP rows Rows.\n# TYPE rows gauge\n\
                        rows{stream=\"a\\\"b\"} 2.5\nrows{stream=\"c\"} +Inf\n";
        assert_eq!(text, expected);
    }
}
