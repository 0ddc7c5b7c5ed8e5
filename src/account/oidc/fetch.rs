//! Fetching what an issuer publishes: bounded in time and size, from the configured host and nowhere that it points to.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Oidc, is_loopback};

/// A client for one issuer.
#[derive(Debug)]
pub(super) struct Fetch {
    client: Client,
    issuer: String,
    /// Where the keys are; "" means that the issuer's discovery document says it.
    keys: String,
    most: usize,
}

/// A JSON Web Key Set (RFC 7517 section 5). Keys of kinds that nobody here knows are no reason to take none.
#[derive(Deserialize)]
pub(super) struct KeySet {
    pub(super) keys: Vec<Value>,
}

/// What of an OpenID Provider's metadata is needed (OpenID Connect Discovery, section 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Fetch {
    pub(super) fn new(config: &Oidc) -> Result<Self, String> {
        let seconds = Duration::from_secs(config.fetch_seconds);
        let mut client = Client::builder().timeout(seconds).redirect(Policy::none());
        let first = if config.jwks_url.is_empty() { &config.issuer } else { &config.jwks_url };
        if Url::parse(first).is_ok_and(|url| is_loopback(&url)) {
            // Nothing stands in between, and nothing is encrypted.
            client = client.no_proxy().tls_certs_only([]);
        } else {
            client = client.https_only(true);
        }
        Ok(Self {
            client: client.build().map_err(|error| format!("the client for oidc.issuer: {error}"))?,
            issuer: config.issuer.clone(),
            keys: config.jwks_url.clone(),
            most: config.fetch_bytes,
        })
    }

    /// The issuer's keys as they are now. The error is for the log.
    pub(super) async fn keys(&self) -> Result<KeySet, String> {
        if !self.keys.is_empty() {
            return self.json(&self.keys).await;
        }
        let discovery = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let metadata: Metadata = self.json(&discovery).await?;
        if metadata.issuer != self.issuer {
            return Err(format!("{discovery} is about the issuer {:?}", metadata.issuer));
        }
        let local = |url: &str| Url::parse(url).is_ok_and(|url| is_loopback(&url));
        if local(&metadata.jwks_uri) && !local(&self.issuer) {
            return Err(format!("{discovery} leads to {}, which is this machine", metadata.jwks_uri));
        }
        self.json(&metadata.jwks_uri).await
    }

    async fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let said = |what: String| format!("{url}: {what}");
        let mut response = self.client.get(url).send().await.map_err(|error| said(full(&error)))?;
        if !response.status().is_success() {
            return Err(said(format!("it answers {}; redirects are not followed", response.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| said(full(&error)))? {
            if body.len() + chunk.len() > self.most {
                return Err(said(format!("it is larger than {} bytes (oidc.fetch_bytes)", self.most)));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| said(error.to_string()))
    }
}

/// An error with its causes: the outermost says next to nothing.
fn full(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
