//! The history of a job: every change once, in order, without gaps.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::Jobs;
use crate::entity::job_event;
use crate::error::{Error, Result};
use crate::id::JobId;

/// A place in the history of one job, as clients carry it.
pub fn cursor(job: JobId, sequence: i64) -> String {
    format!("{job}.{sequence}")
}

/// The sequence that a cursor names; an error where it is not one of this job's.
pub fn parse_cursor(job: JobId, text: &str) -> Result<i64> {
    let foreign = || Error::invalid("/after", "CURSOR", "This is not a cursor of this job's history.");
    let (of, sequence) = text.split_once('.').ok_or_else(foreign)?;
    let sequence: i64 = sequence.parse().map_err(|_| foreign())?;
    if JobId::parse(of) == Some(job) && sequence >= 0 { Ok(sequence) } else { Err(foreign()) }
}

impl Jobs {
    /// Up to `limit` events just after a sequence.
    pub async fn history(&self, job: JobId, after: i64, limit: u64) -> Result<Vec<job_event::Model>> {
        let events = job_event::Entity::find()
            .filter(job_event::Column::JobId.eq(job))
            .filter(job_event::Column::Sequence.gt(after))
            .order_by_asc(job_event::Column::Sequence)
            .limit(limit);
        Ok(events.all(self.db.read()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_belong_to_their_job() {
        let job = JobId::new();
        assert_eq!(parse_cursor(job, &cursor(job, 7)), Ok(7));
        for foreign in
            [cursor(JobId::new(), 7), cursor(job, -1), "7".into(), format!("{job}.x"), String::new()]
        {
            assert!(parse_cursor(job, &foreign).is_err(), "{foreign}");
        }
    }
}
