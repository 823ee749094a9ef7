//! Logs to standard error, and the recorder of metrics.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Variables that set the log level; the first one that is set decides.
const VARIABLES: [&str; 2] = ["HIGHWATER_LOG", "RUST_LOG"];

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {variable}: \"{value}\": {reason}")]
pub struct Error {
    variable: &'static str,
    value: String,
    reason: String,
}

/// Starts logging to standard error, for the whole process, at `level` unless the environment says otherwise.
/// Only the first call has an effect.
pub fn start(level: &str) -> Result<(), Error> {
    let filter = filter(level, |variable| std::env::var(variable).ok())?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .finish();
    // A test that runs several servers in one process keeps the first subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Returns the process's metrics, which the macros of `metrics` write to from the first call on.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Fails only if someone else installed a recorder; then ours stays empty.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

fn filter(level: &str, variable: impl Fn(&str) -> Option<String>) -> Result<EnvFilter, Error> {
    let given = VARIABLES
        .iter()
        .find_map(|name| Some((*name, variable(name)?)).filter(|(_, value)| !value.is_empty()));
    let Some((name, value)) = given else { return Ok(EnvFilter::new(level)) };
    EnvFilter::try_new(&value).map_err(|error| Error {
        variable: name,
        value,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_variable_beats_the_common_one() {
        let both = |name: &str| Some(if name == "HIGHWATER_LOG" { "warn" } else { "trace" }.into());
        assert_eq!(filter("info", both).unwrap().to_string(), "warn");
        assert_eq!(filter("info", |_| None).unwrap().to_string(), "info");
    }

    #[test]
    fn bad_level_names_its_variable() {
        let error = filter("info", |_| Some("a=b=c".into())).unwrap_err().to_string();
        assert!(error.starts_with("environment variable HIGHWATER_LOG: \"a=b=c\""), "{error}");
    }
}
