//! How much one user may ask for in a minute, or one address where nobody has signed in: requests, and the cost of operations.

use super::session::Who;
use crate::config::{Config, Switch};
use crate::error::Result;
use crate::graphql::Viewer;
use crate::graphql::guard::Operation;
use crate::limit::Limiter;

/// The limits of all who ask; none where the configuration turns them off.
#[derive(Debug)]
pub(super) struct Rates(Option<Limits>);

#[derive(Debug)]
struct Limits {
    requests: Limiter<Who>,
    cost: Limiter<Who>,
}

impl Rates {
    pub(super) fn new(config: &Config) -> Self {
        let (requests, cost) = (config.rates.requests_per_minute, config.rates.cost_per_minute);
        let limits = || Limits { requests: Limiter::per_minute(requests), cost: Limiter::per_minute(cost) };
        Self((config.rate_limits == Switch::On).then(limits))
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
