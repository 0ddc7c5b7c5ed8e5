//! One request to a webhook, bounded in every way: where it goes, how long it takes, how much of the answer is read.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url};

use super::queue::Outcome;
use super::target::{NotAllowed, Targets};
use crate::clock::Timestamp;
use crate::config::Webhooks as Settings;

/// A connection may idle for so long: less than after which common servers close it, perhaps as the next event is sent.
const IDLE: Duration = Duration::from_secs(4);

/// What a request carries besides its body.
#[derive(Debug)]
pub(super) struct Signed {
    pub id: String,
    pub at: Timestamp,
    pub signature: String,
    /// What names the attempt's span.
    pub trace: HeaderMap,
}

/// The client of all deliveries.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    http: Client,
    patience: u32,
}

impl Sender {
    pub(super) fn new(settings: &Settings, targets: &Targets) -> reqwest::Result<Self> {
        // Fails only where a provider is installed already, and any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = || builder(settings, targets.clone());
        let http = builder().build().or_else(|error| {
            tracing::warn!(%error, "this machine trusts no certificates: webhooks at https addresses will fail");
            builder().tls_certs_only([]).build()
        })?;
        Ok(Self { http, patience: settings.attempt_seconds })
    }

    /// Sends a message once. Of the answer no more than its head is read.
    pub(super) async fn send(&self, url: Url, signed: Signed, body: String) -> Outcome {
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
            Ok(response) => judge(&response, signed.at),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> Outcome {
        // What exactly went wrong in our network is nothing for those outside of it.
        let error = if caused_by_refusal(error) {
            return Outcome::Refused(NOT_ALLOWED.to_owned());
        } else if error.is_dns() {
            "The name of the target could not be resolved.".to_owned()
        } else if error.is_connect() {
            // One that takes too long is a timeout, too.
            "No connection could be made: refused, unreachable, too slow, or without a certificate to trust."
                .to_owned()
        } else if error.is_timeout() {
            format!("There was no answer within {} s.", self.patience)
        } else {
            "The connection broke off.".to_owned()
        };
        Outcome::Failed { status: None, error, retry_after: None }
    }
}

pub(super) const NOT_ALLOWED: &str = "The target is not allowed: it is not at a public address.";

fn builder(settings: &Settings, targets: Targets) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("Docket-Webhooks/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(targets)
        // A proxy would resolve names itself.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .http1_max_headers(100)
        .pool_max_idle_per_host(settings.host_concurrency)
        .pool_idle_timeout(IDLE)
        .connect_timeout(Duration::from_secs(settings.connect_seconds.into()))
        .timeout(Duration::from_secs(settings.attempt_seconds.into()))
}

fn judge(response: &Response, now: Timestamp) -> Outcome {
    let status = response.status();
    if status.is_success() {
        return Outcome::Delivered(status.as_u16());
    }
    if status == StatusCode::GONE {
        return Outcome::Gone;
    }
    let error = match status {
        status if status.is_redirection() => {
            format!("The target answered {status}; redirects are not followed.")
        }
        status => format!("The target answered {status}."),
    };
    let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let wanted = response.headers().get(RETRY_AFTER).filter(|_| busy);
    let retry_after = wanted.and_then(|value| retry_after(value.to_str().ok()?, now));
    Outcome::Failed { status: Some(status.as_u16()), error, retry_after }
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
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
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
        assert_eq!(retry_after("120", now), Some(TimeDelta::seconds(120)));
        assert_eq!(retry_after("Thu, 01 Jan 2026 00:01:00 GMT", now), Some(TimeDelta::seconds(60)));
        for nonsense in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }
}
