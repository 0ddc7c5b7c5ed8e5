//! One request to a webhook, with bounds on its target, its duration and the bytes read of the response.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url};

use super::queue::AttemptOutcome;
use super::target::{NotAllowed, Targets};
use crate::clock::Timestamp;
use crate::config::Webhooks as Settings;

/// How long a connection may be idle. Common servers close it later, so they do not close it as the next event is sent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The headers of a request.
#[derive(Debug)]
pub(super) struct Signed {
    pub id: String,
    pub at: Timestamp,
    pub signature: String,
    /// Trace context of the attempt's span.
    pub trace: HeaderMap,
}

/// The HTTP client of all deliveries.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    http: Client,
    attempt_seconds: u32,
}

impl Sender {
    pub(super) fn new(settings: &Settings, targets: &Targets) -> reqwest::Result<Self> {
        // This fails only if a provider is already installed, and any provider works.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = || builder(settings, targets.clone());
        let http = builder().build().or_else(|error| {
            tracing::warn!(%error, "no trusted root certificates found, webhooks with https URLs will fail");
            builder().tls_certs_only([]).build()
        })?;
        Ok(Self { http, attempt_seconds: settings.attempt_seconds })
    }

    /// Sends a message once. Reads only the head of the response.
    pub(super) async fn send(&self, url: Url, signed: Signed, body: String) -> AttemptOutcome {
        let request = self
            .http
            .post(url)
            .headers(signed.trace)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", signed.id)
            .header("webhook-timestamp", signed.at.timestamp())
            .header("webhook-signature", signed.signature)
            .body(body);
        match request.send().await {
            Ok(response) => classify(&response, signed.at),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> AttemptOutcome {
        // Users outside our network must not learn its details from the error.
        let error = if caused_by_refusal(error) {
            return AttemptOutcome::Refused(NOT_ALLOWED.to_owned());
        } else if error.is_dns() {
            "The host name of the target could not be resolved.".to_owned()
        } else if error.is_connect() {
            // A timeout while connecting is also `is_timeout`, so this check comes first.
            "Connection failed: refused, unreachable, timed out, or no trusted certificate.".to_owned()
        } else if error.is_timeout() {
            format!("No response within {} s.", self.attempt_seconds)
        } else {
            "The connection was closed before the response.".to_owned()
        };
        AttemptOutcome::Failed { status: None, error, retry_after: None }
    }
}

pub(super) const NOT_ALLOWED: &str = "The target is not allowed: its address is not public.";

fn builder(settings: &Settings, targets: Targets) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("Docket-Webhooks/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(targets)
        // A proxy would resolve names itself, without the check of the resolver.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .http1_max_headers(100)
        .pool_max_idle_per_host(settings.host_concurrency)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .connect_timeout(Duration::from_secs(settings.connect_seconds.into()))
        .timeout(Duration::from_secs(settings.attempt_seconds.into()))
}

fn classify(response: &Response, now: Timestamp) -> AttemptOutcome {
    let status = response.status();
    if status.is_success() {
        return AttemptOutcome::Delivered(status.as_u16());
    }
    if status == StatusCode::GONE {
        return AttemptOutcome::Gone;
    }
    let error = match status {
        status if status.is_redirection() => {
            format!("The target returned {status}. Redirects are not followed.")
        }
        status => format!("The target returned {status}."),
    };
    let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let wanted = response.headers().get(RETRY_AFTER).filter(|_| busy);
    let retry_after = wanted.and_then(|value| retry_after(value.to_str().ok()?, now));
    AttemptOutcome::Failed { status: Some(status.as_u16()), error, retry_after }
}

/// Parses the header `Retry-After`: seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<TimeDelta> {
    match text.trim().parse::<u32>() {
        Ok(seconds) => Some(TimeDelta::seconds(seconds.into())),
        Err(_) => Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now),
    }
}

fn caused_by_refusal(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotAllowed>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_accepts_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
        assert_eq!(retry_after("120", now), Some(TimeDelta::seconds(120)));
        assert_eq!(retry_after("Thu, 01 Jan 2026 00:01:00 GMT", now), Some(TimeDelta::seconds(60)));
        for nonsense in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }
}
