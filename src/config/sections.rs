//! The sections of the configuration. `config.default.toml` documents the keys.

use std::num::NonZeroU32;

use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::{Switch, TrustedDocuments};
use crate::error::Problem;

/// Section `[auth]`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Auth {
    pub(crate) token_seconds: u32,
    pub(crate) hash_concurrency: usize,
    pub(crate) hash_queue: usize,
    pub(crate) known_network_days: u32,
}

/// Section `[oidc]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Oidc {
    pub issuer: String,
    pub(crate) jwks_url: String,
    pub audience: String,
    pub(crate) algorithms: Vec<Algorithm>,
    pub clock_skew_seconds: u32,
    pub create_users: Switch,
    pub link_verified_email: Switch,
    pub(crate) email_claim: String,
    pub(crate) name_claim: String,
    pub(crate) keys_seconds: u32,
    pub(crate) retry_seconds: u32,
    pub(crate) fetch_seconds: u64,
    pub(crate) fetch_bytes: usize,
}

/// Section `[rates]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Rates {
    pub requests_per_minute: NonZeroU32,
    pub cost_per_minute: NonZeroU32,
    pub(crate) sign_in_address_per_minute: NonZeroU32,
    pub sign_in_pair_per_minute: NonZeroU32,
    pub(crate) sign_in_account_per_hour: NonZeroU32,
}

/// Section `[http]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Http {
    pub(crate) header_seconds: u64,
    pub(crate) body_seconds: u64,
    pub(crate) write_seconds: u64,
    pub(crate) execution_seconds: u64,
    pub connections: usize,
    pub(crate) address_connections: usize,
    pub trusted_proxies: Vec<IpNet>,
    pub cors_origins: Vec<String>,
}

/// Section `[sse]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Sse {
    pub keep_alive_milliseconds: u64,
    pub streams: usize,
}

/// Section `[persisted]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Persisted {
    pub automatic: Switch,
    pub mode: TrustedDocuments,
    pub path: String,
}

/// Section `[engine]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Engine {
    pub lease_seconds: u32,
    pub poll_milliseconds: u64,
    pub(crate) shutdown_seconds: u64,
}

/// Section `[workers]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Workers {
    pub claims: u32,
    pub lease_seconds: u32,
}

/// Section `[review]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Review {
    pub(crate) claim_seconds: u32,
    pub content_bytes: usize,
}

/// Section `[retention]`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Retention {
    pub(crate) test_days: u32,
}

/// Section `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Limits {
    pub upload_bytes: u64,
    pub request_bytes: usize,
    pub page_size: u32,
    pub metadata_bytes: usize,
    pub taxonomy_bytes: usize,
    pub collaborators: usize,
    pub comment_characters: usize,
    pub request_files: usize,
    pub transfers: usize,
    pub api_keys: u64,
    pub teams: u64,
    pub team_members: u64,
    pub taxonomies: u64,
}

/// Section `[telemetry]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Telemetry {
    pub(crate) otlp_endpoint: String,
    pub(crate) service_name: String,
    pub(crate) sample_ratio: f64,
}

/// Section `[webhooks]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Webhooks {
    pub allow_http: Switch,
    pub allowed_networks: Vec<IpNet>,
    pub per_user: u64,
    pub url_bytes: usize,
    pub message_bytes: usize,
    pub concurrency: usize,
    pub host_concurrency: usize,
    pub user_concurrency: usize,
    pub connect_seconds: u32,
    pub attempt_seconds: u32,
    pub poll_milliseconds: u64,
    pub first_retry_seconds: u32,
    pub(crate) longest_retry_seconds: u32,
    pub(crate) give_up_seconds: u32,
    pub(crate) disable_days: u32,
    pub(crate) old_secret_seconds: u32,
    pub(crate) log_days: u32,
}

impl Limits {
    /// Returns a problem at `path` of the input if a comment or reason is too long.
    pub(crate) fn comment_problem(&self, text: Option<&str>, path: &str) -> Option<Problem> {
        let max = self.comment_characters;
        text.filter(|text| text.chars().count() > max)
            .map(|_| Problem::new(path, "TOO_LARGE", format!("The text must have at most {max} characters.")))
    }
}
