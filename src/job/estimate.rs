//! Estimates the remaining time of a job from earlier jobs of its type.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use moka::future::Cache;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Deserialize;

use super::state::Step;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::entity::enums::Status;
use crate::entity::job;
use crate::error::{Error, Result};

/// Maximum number of completed jobs on which an estimate rests; the newest ones count.
const MAX_SAMPLES: u64 = 200;
/// Minimum number of completed jobs for an estimate.
const MIN_SAMPLES: usize = 10;
/// Time for which the history of a type is cached.
const CACHE_TTL: Duration = Duration::from_secs(60);

/// The start of each step of a completed job, in order, and the end of the job.
type CompletedJob = (Vec<(String, Option<Timestamp>)>, Timestamp);

/// The last completed jobs of each type, cached for a minute. Clones share the cache.
#[derive(Debug, Clone)]
pub(crate) struct DurationHistory(Cache<String, Arc<Vec<CompletedJob>>>);

impl Default for DurationHistory {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(1_000).time_to_live(CACHE_TTL).build())
    }
}

impl DurationHistory {
    /// Estimates the seconds until a job of this type ends that is at a step since a time. Returns the time that nine
    /// of ten earlier jobs exceeded, and the time within which nine of ten ended. `None` if there are too few earlier
    /// jobs.
    pub(crate) async fn remaining(
        &self,
        db: &Db,
        type_id: &str,
        step: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<(f64, f64)>> {
        let read = async { last_completed(db, type_id).await.map(Arc::new) };
        let completed = self.0.try_get_with(type_id.to_owned(), read).await;
        let completed = completed.map_err(|error: Arc<Error>| Error::clone(&error))?;
        let from_step = |(steps, end): &CompletedJob| {
            let started = steps.iter().find(|(name, _)| name == step)?.1?;
            Some(*end - started)
        };
        Ok(remaining_range(completed.iter().filter_map(from_step).collect(), now - since))
    }
}

async fn last_completed(db: &Db, type_id: &str) -> Result<Vec<CompletedJob>> {
    let completed = job::Entity::find()
        .select_only()
        .column(job::Column::Steps)
        .column(job::Column::FinishedAt)
        .filter(job::Column::TypeId.eq(type_id))
        .filter(job::Column::Status.eq(Status::Completed))
        .order_by_desc(job::Column::FinishedAt)
        .limit(MAX_SAMPLES);
    let rows: Vec<(serde_json::Value, Option<Timestamp>)> = completed.into_tuple().all(db.read()).await?;
    let mut jobs = Vec::with_capacity(rows.len());
    for (steps, end) in rows {
        let steps = Vec::<Step>::deserialize(&steps).map_err(Error::internal)?;
        let started = steps.into_iter().map(|step| (step.name, step.started_at)).collect();
        jobs.extend(end.map(|end| (started, end)));
    }
    Ok(jobs)
}

/// Returns the 10th and 90th percentile of the durations, less the elapsed time. Durations of jobs that ended sooner
/// than the elapsed time do not count.
fn remaining_range(mut durations: Vec<TimeDelta>, elapsed: TimeDelta) -> Option<(f64, f64)> {
    if durations.len() < MIN_SAMPLES {
        return None;
    }
    durations.sort_unstable();
    let longer: Vec<_> = durations.iter().copied().filter(|duration| *duration > elapsed).collect();
    // The job has taken longer than all earlier ones: it may take up to as long again.
    let Some(last) = longer.len().checked_sub(1) else { return Some((0.0, seconds(elapsed))) };
    let remaining = |tenths: usize| seconds(longer[last * tenths / 10] - elapsed);
    Some((remaining(1), remaining(9)))
}

fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_shrinks_over_time_and_requires_enough_samples() {
        let durations = |n: i64| (1..=n).map(TimeDelta::seconds).collect::<Vec<_>>();
        assert_eq!(remaining_range(durations(9), TimeDelta::zero()), None);
        assert_eq!(remaining_range(durations(11), TimeDelta::zero()), Some((2.0, 10.0)));
        assert_eq!(remaining_range(durations(11), TimeDelta::seconds(9)), Some((1.0, 1.0)));
        assert_eq!(remaining_range(durations(11), TimeDelta::seconds(20)), Some((0.0, 20.0)));
    }
}
