//! Rate limits on requests, credentials and the cost of operations, for each user or anonymous network.

use std::net::IpAddr;
use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::quota::QuotaHolder;
use crate::access::Viewer;
use crate::config::{Config, Switch};
use crate::error::Result;
use crate::graphql::guard::Operation;
use crate::limit::{Limiter, network};

/// The rate limits, or nothing if the configuration turns them off.
#[derive(Debug)]
pub(super) struct RateLimits(Option<Limits>);

#[derive(Debug)]
struct Limits {
    requests: Limiter<QuotaHolder>,
    cost: Limiter<QuotaHolder>,
    /// Credentials that are not in `known_credentials`, for each network.
    credentials: Limiter<QuotaHolder>,
    /// SHA-256 hashes of credentials that were good recently.
    known_credentials: Cache<[u8; 32], ()>,
}

/// Maximum number of credentials that are remembered as good.
const MAX_KNOWN_CREDENTIALS: u64 = 100_000;
/// How long an unused credential is remembered as good.
const KNOWN_CREDENTIAL_TTI: Duration = Duration::from_secs(600);

impl RateLimits {
    pub(super) fn new(config: &Config) -> Self {
        let (requests, cost) = (config.rates.requests_per_minute, config.rates.cost_per_minute);
        let limits = || Limits {
            requests: Limiter::per_minute(requests),
            cost: Limiter::per_minute(cost),
            credentials: Limiter::per_minute(requests),
            known_credentials: Cache::builder()
                .max_capacity(MAX_KNOWN_CREDENTIALS)
                .time_to_idle(KNOWN_CREDENTIAL_TTI)
                .build(),
        };
        Self((config.rate_limits == Switch::On).then(limits))
    }

    /// Counts a credential for the limit of its network, unless the credential is known as good.
    ///
    /// Returns RATE_LIMITED above the limit. The caller counts before it looks the credential up, which bounds
    /// guessing. Requests without a credential do not use this limit up.
    pub(super) fn count_credential(&self, authorization: &str, address: Option<IpAddr>) -> Result<()> {
        let Some(limits) = &self.0 else { return Ok(()) };
        if limits.known_credentials.contains_key(&digest(authorization)) {
            return Ok(());
        }
        limits.credentials.take(QuotaHolder::Network(address.map(network)), 1)
    }

    /// Remembers a credential as good.
    pub(super) fn remember(&self, authorization: &str) {
        if let Some(limits) = &self.0 {
            limits.known_credentials.insert(digest(authorization), ());
        }
    }

    /// Forgets a credential that is no longer good, and counts it for the limit of its network.
    pub(super) fn forget(&self, authorization: &str, address: Option<IpAddr>) -> Result<()> {
        let Some(limits) = &self.0 else { return Ok(()) };
        match limits.known_credentials.remove(&digest(authorization)) {
            Some(()) => limits.credentials.take(QuotaHolder::Network(address.map(network)), 1),
            // `count_credential` has counted it.
            None => Ok(()),
        }
    }

    /// Counts a request, or an operation on a connection. Returns RATE_LIMITED above the limit.
    pub(super) fn count_request(&self, viewer: &Viewer) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |limits| limits.requests.take(viewer.into(), 1))
    }

    /// Counts the cost of an operation. Returns RATE_LIMITED above the limit.
    pub(super) fn count_cost(&self, viewer: &Viewer, operation: &Operation) -> Result<()> {
        let cost = operation.cost.saturating_add(operation.introspection_cost);
        self.0.as_ref().map_or(Ok(()), |limits| limits.cost.take(viewer.into(), cost))
    }
}

fn digest(authorization: &str) -> [u8; 32] {
    Sha256::digest(authorization).into()
}
