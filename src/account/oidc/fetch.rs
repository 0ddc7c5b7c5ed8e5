//! Fetches the keys that an issuer publishes, with limits on time and size and without following redirects.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Oidc, is_loopback};
use crate::error::with_causes;

/// The HTTP client for one issuer.
#[derive(Debug)]
pub(super) struct KeyFetcher {
    client: Client,
    issuer: String,
    /// URL of the keys; "" means that the issuer's discovery document names it.
    jwks_url: String,
    max_bytes: usize,
}

/// A JSON Web Key Set (RFC 7517 section 5). Keys of unknown types are skipped, not refused.
#[derive(Deserialize)]
pub(super) struct KeySet {
    pub(super) keys: Vec<Value>,
}

/// The part of an OpenID Provider's metadata that is needed (OpenID Connect Discovery, section 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl KeyFetcher {
    pub(super) fn new(config: &Oidc) -> Result<Self, String> {
        let seconds = Duration::from_secs(config.fetch_seconds);
        let mut client = Client::builder().timeout(seconds).redirect(Policy::none());
        let first = if config.jwks_url.is_empty() { &config.issuer } else { &config.jwks_url };
        if Url::parse(first).is_ok_and(|url| is_loopback(&url)) {
            // Loopback connections use neither a proxy nor TLS.
            client = client.no_proxy().tls_certs_only([]);
        } else {
            client = client.https_only(true);
        }
        Ok(Self {
            client: client
                .build()
                .map_err(|error| format!("cannot create the HTTP client for oidc.issuer: {error}"))?,
            issuer: config.issuer.clone(),
            jwks_url: config.jwks_url.clone(),
            max_bytes: config.fetch_bytes,
        })
    }

    /// Fetches the issuer's current keys. The error is for the log.
    pub(super) async fn fetch_keys(&self) -> Result<KeySet, String> {
        if !self.jwks_url.is_empty() {
            return self.fetch_json(&self.jwks_url).await;
        }
        let discovery = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let metadata: Metadata = self.fetch_json(&discovery).await?;
        if metadata.issuer != self.issuer {
            return Err(format!("{discovery} names another issuer, {:?}", metadata.issuer));
        }
        let is_local = |url: &str| Url::parse(url).is_ok_and(|url| is_loopback(&url));
        if is_local(&metadata.jwks_uri) && !is_local(&self.issuer) {
            return Err(format!(
                "{discovery} names {} on this machine, which is not allowed",
                metadata.jwks_uri
            ));
        }
        self.fetch_json(&metadata.jwks_uri).await
    }

    async fn fetch_json<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let fetch_error = |cause: String| format!("{url}: {cause}");
        let mut response =
            self.client.get(url).send().await.map_err(|error| fetch_error(with_causes(&error)))?;
        if !response.status().is_success() {
            return Err(fetch_error(format!(
                "the issuer responded with {}; redirects are not followed",
                response.status()
            )));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| fetch_error(with_causes(&error)))? {
            if body.len() + chunk.len() > self.max_bytes {
                return Err(fetch_error(format!(
                    "the response is larger than {} bytes (oidc.fetch_bytes)",
                    self.max_bytes
                )));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| fetch_error(error.to_string()))
    }
}
