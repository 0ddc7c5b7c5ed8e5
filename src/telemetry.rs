//! Logs, metrics and traces: their setup and their names.
//!
//! Log lines and traces share their spans. Span fields are for searching the log; [`trace`] adds the attributes that
//! only traces need. A log line within a traced span contains its `trace_id`.

mod metrics;
pub mod trace;

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

pub use metrics::*;
pub(crate) use trace::Exporter;

/// The log filter of commands that a person types, unless the operator has set `log`.
const COMMAND_LOG_FILTER: &str = "warn";

/// Sends the log lines of a command to standard error: warnings, or the filter that the operator has set `log` to. With
/// `docket::audit=info` in that filter, the command writes its lines of the audit log.
pub(crate) fn init_command_logging(config: &Config) -> Result<(), String> {
    let filter = if config.log_is_set { &config.log } else { COMMAND_LOG_FILTER };
    install_subscriber(config, filter, None)
}

/// Starts logging, and tracing if the configuration names a collector. The caller must stop the returned exporter at
/// shutdown.
pub fn init(config: &Config) -> Result<Exporter, String> {
    let exporter = Exporter::new(&config.telemetry)?;
    install_subscriber(config, &config.log, Some(&exporter))?;
    Ok(exporter)
}

fn install_subscriber(config: &Config, filter: &str, exporter: Option<&Exporter>) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log is not a valid filter: {error}"))?;
    // This crate logs each untrusted certificate as an error, so the owner of a webhook could fill the log.
    let quiet =
        "rustls_platform_verifier=off".parse().map_err(|error| format!("log filter directive: {error}"))?;
    let filter = filter.add_directive(quiet);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Colors are for terminals, not for files and log collectors.
    let lines = if std::io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    let lines = match config.log_format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let traces = exporter.and_then(Exporter::layer);
    tracing_subscriber::registry().with(traces).with(lines).try_init().map_err(|error| error.to_string())
}
