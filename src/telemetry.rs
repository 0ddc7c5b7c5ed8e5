//! Logs, metrics and traces: set up once, names in one place.
//!
//! The spans of log lines are those of traces. Their fields are what people look for in a log; what only a trace needs is
//! an attribute that [`trace`] adds. A log line within a span that is traced carries its `trace_id`.

mod metrics;
pub mod trace;

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

pub use metrics::*;
pub use trace::Exporter;

/// The filter of commands that a person types, unless the operator has chosen one.
const COMMAND_LOG: &str = "warn";

/// Sends the log lines of a command to standard error: warnings, or whatever the operator has set `log` to. With
/// `docket::audit=info` in it a command writes its lines of the audit log.
pub fn command_logs(config: &Config) -> Result<(), String> {
    let filter = if config.log_is_set { &config.log } else { COMMAND_LOG };
    subscribe(config, filter, None)
}

/// Logs, and traces where the configuration names a collector. What is returned has to be stopped at the end.
pub fn start(config: &Config) -> Result<Exporter, String> {
    let exporter = Exporter::new(&config.telemetry)?;
    subscribe(config, &config.log, Some(&exporter))?;
    Ok(exporter)
}

fn subscribe(config: &Config, filter: &str, exporter: Option<&Exporter>) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log is not a filter: {error}"))?;
    // It logs as an error each certificate that is not to be trusted: whoever has a webhook could fill the log with those.
    let quiet = "rustls_platform_verifier=off".parse().map_err(|error| format!("a filter: {error}"))?;
    let filter = filter.add_directive(quiet);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Colours are for people, not for files and collectors.
    let lines = if std::io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    let lines = match config.log_format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let traces = exporter.and_then(Exporter::layer);
    tracing_subscriber::registry().with(traces).with(lines).try_init().map_err(|error| error.to_string())
}
