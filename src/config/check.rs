//! Validation of values at startup. Each error names the key.

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use reqwest::Url;

use super::origin::origin_problem;
use super::{Config, Oidc, Signup, Switch, TrustedDocuments};

/// Minimum length of a secret that signs tokens and links, in bytes.
pub(crate) const SECRET_BYTES: usize = 32;

/// A hundred years, which overflow no timestamp.
const MAX_DAYS: u32 = 36_500;

impl Config {
    pub(super) fn check(&self) -> Result<(), String> {
        let shared = !self.database().starts_with("sqlite:");
        match self.bus_url.as_str() {
            "" | "local" => {}
            "postgres" if shared => {}
            "postgres" => {
                return Err("bus_url is postgres; with a SQLite database it needs local".into());
            }
            other => return Err(format!("bus_url is {other}; it needs local or postgres")),
        }
        if self.retention.test_days > MAX_DAYS {
            let days = self.retention.test_days;
            return Err(format!(
                "retention.test_days is {days}; it needs {MAX_DAYS} or less, 0 to keep forever"
            ));
        }
        let current = Some(&self.jwt_secret).filter(|secret| !secret.expose().is_empty());
        let previous = self.jwt_previous_secrets.iter().map(|secret| ("jwt_previous_secrets", secret));
        for (key, secret) in current.map(|secret| ("jwt_secret", secret)).into_iter().chain(previous) {
            let bytes = secret.expose().len();
            if bytes < SECRET_BYTES {
                return Err(format!("{key} has {bytes} bytes; it needs {SECRET_BYTES} or more"));
            }
        }
        if !self.public_url.is_empty() {
            self.check_public_url()?;
        }
        self.oidc.check()?;
        let links_accounts = !self.oidc.issuer.is_empty() && self.oidc.link_verified_email == Switch::On;
        if links_accounts && self.signup != Signup::Closed {
            return Err("oidc.link_verified_email is on; it needs signup = \"closed\". Otherwise a stranger who signs up \
                        with a person's address first shares that person's account"
                .into());
        }
        for (key, milliseconds) in [
            ("engine.poll_milliseconds", self.engine.poll_milliseconds),
            ("webhooks.poll_milliseconds", self.webhooks.poll_milliseconds),
        ] {
            check_range(key, milliseconds, 10, 3_600_000)?;
        }
        for (key, seconds) in [
            ("webhooks.longest_retry_seconds", self.webhooks.longest_retry_seconds),
            ("webhooks.give_up_seconds", self.webhooks.give_up_seconds),
            ("webhooks.old_secret_seconds", self.webhooks.old_secret_seconds),
        ] {
            check_range(key, seconds, 0, 31_536_000)?;
        }
        for (key, days) in [
            ("webhooks.disable_days", self.webhooks.disable_days),
            ("webhooks.log_days", self.webhooks.log_days),
        ] {
            check_range(key, days, 0, MAX_DAYS)?;
        }
        check_range("auth.token_seconds", self.auth.token_seconds, 1, 31_536_000)?;
        check_range("auth.hash_concurrency", self.auth.hash_concurrency, 1, 1_024)?;
        check_range("auth.hash_queue", self.auth.hash_queue, 0, 100_000)?;
        check_range("auth.known_network_days", self.auth.known_network_days, 1, 3_650)?;
        for (key, seconds) in [
            ("http.header_seconds", self.http.header_seconds),
            ("http.body_seconds", self.http.body_seconds),
            ("http.write_seconds", self.http.write_seconds),
            ("http.execution_seconds", self.http.execution_seconds),
        ] {
            check_range(key, seconds, 1, 86_400)?;
        }
        check_range("sse.keep_alive_milliseconds", self.sse.keep_alive_milliseconds, 1, 86_400_000)?;
        for (key, value) in [
            ("engine_concurrency", self.engine_concurrency),
            ("database_connections", self.database_connections as usize),
            ("database_wait_seconds", self.database_wait_seconds as usize),
            ("engine.lease_seconds", self.engine.lease_seconds as usize),
            ("review.claim_seconds", self.review.claim_seconds as usize),
            ("limits.page_size", self.limits.page_size as usize),
            ("webhooks.concurrency", self.webhooks.concurrency),
            ("webhooks.host_concurrency", self.webhooks.host_concurrency),
            ("webhooks.user_concurrency", self.webhooks.user_concurrency),
            ("webhooks.connect_seconds", self.webhooks.connect_seconds as usize),
            ("webhooks.attempt_seconds", self.webhooks.attempt_seconds as usize),
            ("webhooks.first_retry_seconds", self.webhooks.first_retry_seconds as usize),
            ("sse.streams", self.sse.streams),
            ("http.connections", self.http.connections),
            ("http.address_connections", self.http.address_connections),
            ("limits.transfers", self.limits.transfers),
            ("workers.claims", self.workers.claims as usize),
            ("workers.lease_seconds", self.workers.lease_seconds as usize),
        ] {
            if value == 0 {
                return Err(format!("{key} is 0; it needs 1 or more"));
            }
        }
        let ratio = self.telemetry.sample_ratio;
        if !(0.0..=1.0).contains(&ratio) {
            return Err(format!("telemetry.sample_ratio is {ratio}; it needs 0 to 1"));
        }
        let endpoint = &self.telemetry.otlp_endpoint;
        if !endpoint.is_empty() && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(format!("telemetry.otlp_endpoint is {endpoint}; it needs http://… or https://…"));
        }
        if let Some(problem) = self.http.cors_origins.iter().find_map(|origin| origin_problem(origin)) {
            return Err(format!("http.cors_origins: {problem}"));
        }
        if self.persisted.mode != TrustedDocuments::Off && self.persisted.path.is_empty() {
            return Err(
                "persisted.path is \"\"; unless persisted.mode is off, it needs a folder or a manifest"
                    .into(),
            );
        }
        self.websocket.check().map_err(|error| format!("websocket: {error}"))
    }

    fn check_public_url(&self) -> Result<(), String> {
        let is_valid = |url: Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        if Url::parse(&self.public_url).is_ok_and(is_valid) {
            return Ok(());
        }
        let needs = "it needs a URL such as https://docket.example.com, without query, fragment or user";
        Err(format!("public_url is {:?}; {needs}", self.public_url))
    }
}

impl Oidc {
    fn check(&self) -> Result<(), String> {
        if self.issuer.is_empty() {
            return Ok(());
        }
        for (key, url) in [("oidc.issuer", &self.issuer), ("oidc.jwks_url", &self.jwks_url)] {
            let is_secure = |url: &Url| url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
            if !url.is_empty() && !Url::parse(url).is_ok_and(|url| url.has_host() && is_secure(&url)) {
                return Err(format!(
                    "{key} is {url:?}; it needs an https URL (http only for a loopback address)"
                ));
            }
        }
        if self.audience.is_empty() {
            return Err(
                "oidc.audience is \"\"; it needs the aud of the issuer's tokens for this server".into()
            );
        }
        let symmetric = |algorithm: &&Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
        if let Some(algorithm) = self.algorithms.iter().find(symmetric) {
            return Err(format!(
                "oidc.algorithms has {algorithm:?}; it needs public-key algorithms, such as RS256"
            ));
        }
        if self.algorithms.is_empty() {
            return Err("oidc.algorithms is empty; it needs at least one algorithm, such as RS256".into());
        }
        check_range("oidc.clock_skew_seconds", self.clock_skew_seconds, 0, 600)?;
        check_range("oidc.keys_seconds", self.keys_seconds, 1, 86_400)?;
        check_range("oidc.retry_seconds", self.retry_seconds, 1, 86_400)?;
        check_range("oidc.fetch_seconds", self.fetch_seconds, 1, 60)?;
        check_range("oidc.fetch_bytes", self.fetch_bytes, 1_024, 16_777_216)
    }
}

/// Returns an error with the key if the value is not in `min..=max`.
fn check_range<N: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    value: N,
    min: N,
    max: N,
) -> Result<(), String> {
    if value < min || value > max {
        return Err(format!("{key} is {value}; it needs {min} to {max}"));
    }
    Ok(())
}

/// Returns whether the host of a URL is this machine. No network can read such traffic, and no proxy can reach the host.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_recognized() {
        for (url, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("http://10.0.0.1", false),
            ("https://example.org", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
