//! How long a job will take yet, from what jobs of its type took before.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use moka::future::Cache;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Deserialize;

use super::Jobs;
use super::state::Step;
use crate::clock::Timestamp;
use crate::entity::enums::Status;
use crate::entity::job;
use crate::error::{Error, Result};

/// Completed jobs that are looked at, the last ones.
const SAMPLES: u64 = 200;
/// With fewer than these nothing is said.
const LEAST: usize = 10;
/// What was read is good for so long.
const FRESH: Duration = Duration::from_secs(60);

/// When each step of a job began, in its order, and when the job was over.
type Course = (Vec<(String, Option<Timestamp>)>, Timestamp);

/// The past of each type, kept for a minute; clones share it.
#[derive(Debug, Clone)]
pub struct DurationHistory(Cache<String, Arc<Vec<Course>>>);

impl Default for DurationHistory {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(1_000).time_to_live(FRESH).build())
    }
}

impl Jobs {
    /// Seconds until a job of this type ends that is at a step since some time: what nine of ten of those before it
    /// exceeded, and what nine of ten kept to. `None` while there are too few.
    pub async fn remaining(
        &self,
        type_id: &str,
        step: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<(f64, f64)>> {
        let read = async { self.past(type_id).await.map(Arc::new) };
        let past = self.durations.0.try_get_with(type_id.to_owned(), read).await;
        let past = past.map_err(|error: Arc<Error>| Error::clone(&error))?;
        let from_step = |(steps, end): &Course| {
            let began = steps.iter().find(|(name, _)| name == step)?.1?;
            Some(*end - began)
        };
        Ok(range(past.iter().filter_map(from_step).collect(), now - since))
    }

    async fn past(&self, type_id: &str) -> Result<Vec<Course>> {
        let completed = job::Entity::find()
            .select_only()
            .column(job::Column::Steps)
            .column(job::Column::FinishedAt)
            .filter(job::Column::TypeId.eq(type_id))
            .filter(job::Column::Status.eq(Status::Completed))
            .order_by_desc(job::Column::FinishedAt)
            .limit(SAMPLES);
        let rows: Vec<(serde_json::Value, Option<Timestamp>)> =
            completed.into_tuple().all(self.db.read()).await?;
        let mut past = Vec::with_capacity(rows.len());
        for (steps, end) in rows {
            let steps = Vec::<Step>::deserialize(&steps).map_err(Error::internal)?;
            let began = steps.into_iter().map(|step| (step.name, step.started_at)).collect();
            past.extend(end.map(|end| (began, end)));
        }
        Ok(past)
    }
}

/// Between the tenth and the ninetieth of a hundred, less what has passed already. Jobs that had ended by then say nothing
/// of one that has not.
fn range(mut took: Vec<TimeDelta>, passed: TimeDelta) -> Option<(f64, f64)> {
    if took.len() < LEAST {
        return None;
    }
    took.sort_unstable();
    let longer: Vec<_> = took.iter().copied().filter(|took| *took > passed).collect();
    // It takes longer than all before it: up to as long again.
    let Some(most) = longer.len().checked_sub(1) else { return Some((0.0, seconds(passed))) };
    let left = |tenths: usize| seconds(longer[most * tenths / 10] - passed);
    Some((left(1), left(9)))
}

fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_shrinks_as_time_passes_and_is_silent_on_too_little() {
        let took = |n: i64| (1..=n).map(TimeDelta::seconds).collect::<Vec<_>>();
        assert_eq!(range(took(9), TimeDelta::zero()), None);
        assert_eq!(range(took(11), TimeDelta::zero()), Some((2.0, 10.0)));
        assert_eq!(range(took(11), TimeDelta::seconds(9)), Some((1.0, 1.0)));
        assert_eq!(range(took(11), TimeDelta::seconds(20)), Some((0.0, 20.0)));
    }
}
