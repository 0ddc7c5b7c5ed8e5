//! How much one user may ask for in a minute, or one address where nobody has signed in: requests, and the cost of operations.

use std::net::IpAddr;
use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::session::Who;
use crate::config::{Config, Switch};
use crate::error::Result;
use crate::graphql::Viewer;
use crate::graphql::guard::Operation;
use crate::limit::{Limiter, network};

/// The limits of all who ask; none where the configuration turns them off.
#[derive(Debug)]
pub(super) struct Rates(Option<Limits>);

#[derive(Debug)]
struct Limits {
    requests: Limiter<Who>,
    cost: Limiter<Who>,
    /// Of credentials that were not seen lately, for each network.
    credentials: Limiter<Who>,
    /// SHA-256 of credentials that were good lately.
    known: Cache<[u8; 32], ()>,
}

/// Credentials that are remembered as good.
const MAX_KNOWN: u64 = 100_000;
/// How long a credential that is not used is remembered.
const KNOWN_FOR: Duration = Duration::from_secs(600);

impl Rates {
    pub(super) fn new(config: &Config) -> Self {
        let (requests, cost) = (config.rates.requests_per_minute, config.rates.cost_per_minute);
        let limits = || Limits {
            requests: Limiter::per_minute(requests),
            cost: Limiter::per_minute(cost),
            credentials: Limiter::per_minute(requests),
            known: Cache::builder().max_capacity(MAX_KNOWN).time_to_idle(KNOWN_FOR).build(),
        };
        Self((config.rate_limits == Switch::On).then(limits))
    }

    /// Counts a credential that was not seen lately for its network, before it is looked up; RATE_LIMITED where there were
    /// too many. This bounds guessing, and requests without a credential cannot use the allowance up.
    pub(super) fn credential(&self, authorization: &str, address: Option<IpAddr>) -> Result<()> {
        let Some(limits) = &self.0 else { return Ok(()) };
        if limits.known.contains_key(&digest(authorization)) {
            return Ok(());
        }
        limits.credentials.take(Who::Network(address.map(network)), 1)
    }

    /// Remembers a credential that is good.
    pub(super) fn remember(&self, authorization: &str) {
        if let Some(limits) = &self.0 {
            limits.known.insert(digest(authorization), ());
        }
    }

    /// Forgets a credential that has stopped being good, and counts it.
    pub(super) fn forget(&self, authorization: &str, address: Option<IpAddr>) -> Result<()> {
        let Some(limits) = &self.0 else { return Ok(()) };
        match limits.known.remove(&digest(authorization)) {
            Some(()) => limits.credentials.take(Who::Network(address.map(network)), 1),
            // It was counted before it was looked up.
            None => Ok(()),
        }
    }

    /// Counts a request, or an operation on a connection; RATE_LIMITED where there were too many.
    pub(super) fn request(&self, viewer: &Viewer) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |limits| limits.requests.take(viewer.into(), 1))
    }

    /// Counts what an operation comes to; RATE_LIMITED where that was too much.
    pub(super) fn operation(&self, viewer: &Viewer, operation: &Operation) -> Result<()> {
        let cost = operation.cost.saturating_add(operation.introspection_cost);
        self.0.as_ref().map_or(Ok(()), |limits| limits.cost.take(viewer.into(), cost))
    }
}

fn digest(authorization: &str) -> [u8; 32] {
    Sha256::digest(authorization).into()
}
