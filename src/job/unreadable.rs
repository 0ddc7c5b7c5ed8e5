//! Jobs whose rows this version cannot read, such as rows with a status of a newer version.

use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::id::JobId;

/// How long claims skip a job that cannot be read. Then they try it again.
const SKIP_DURATION: Duration = Duration::from_secs(60);
/// Maximum number of jobs that are remembered; beyond it, the oldest are tried again earlier. A claim looks no further.
pub(super) const MAX_JOBS: usize = 1_000;

/// The jobs that this node could not read in the last minute. Claims skip them without reading them again, so that each is
/// logged once a minute. Clones share the list.
#[derive(Debug, Clone)]
pub(crate) struct UnreadableJobs(Cache<JobId, ()>);

impl Default for UnreadableJobs {
    fn default() -> Self {
        let jobs = Cache::builder().max_capacity(MAX_JOBS as u64).time_to_live(SKIP_DURATION);
        Self(jobs.eviction_policy(EvictionPolicy::lru()).build())
    }
}

impl UnreadableJobs {
    /// Adds a job.
    pub(super) fn add(&self, job: JobId) {
        self.0.insert(job, ());
    }

    /// Returns the IDs of all jobs in the list.
    pub(super) fn ids(&self) -> Vec<JobId> {
        self.0.iter().map(|(job, ())| *job).collect()
    }
}
