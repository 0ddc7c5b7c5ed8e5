//! The history of a job, and the feed of all jobs: each change once, in order, without gaps.

use std::collections::{BTreeSet, HashMap};

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;

use super::query::{Filter, Ownership};
use super::{Jobs, contents};
use crate::access::policy::{Standing, works_on};
use crate::access::{self, Actor};
use crate::entity::enums::EventKind;
use crate::entity::{job, job_event};
use crate::error::{Error, Result};
use crate::events::feed::{self, FeedPosition};
use crate::id::JobId;
use crate::job_type::JobType;

/// Reads the cursor of an event.
pub(crate) fn parse_cursor(text: &str) -> Result<FeedPosition> {
    FeedPosition::decode(text)
        .ok_or_else(|| Error::invalid("/after", "CURSOR", "The cursor is not the cursor of an event."))
}

/// Reads the cursor of an event of this job, and returns the sequence of the event.
pub(crate) fn parse_job_cursor(job: JobId, text: &str) -> Result<i64> {
    let position = parse_cursor(text)?;
    if position.job == job {
        return Ok(position.sequence);
    }
    Err(Error::invalid("/after", "CURSOR", "The cursor belongs to an event of another job."))
}

/// Returns an event as a user with this standing sees it. Of an event of a step without access, its data is only `step`
/// and `withheld`, and the actor is left out.
pub(crate) fn redact_event(
    standing: &Standing,
    job_type: &JobType,
    event: job_event::Model,
) -> job_event::Model {
    let role = event.data.get("role").and_then(|role| role.as_str());
    let is_visible = match (event.kind, role, &event.step) {
        (EventKind::ContentAdded, Some(role), _) => contents::is_visible(standing, job_type, role),
        (_, _, Some(step)) => works_on(standing, step),
        (_, _, None) => true,
    };
    if is_visible {
        return event;
    }
    let data = json!({"step": event.step, "withheld": true});
    job_event::Model { data, actor_id: None, ..event }
}

/// An event of the feed, with its job and the viewer's access to the job.
#[derive(Debug, Clone)]
pub struct FeedEvent {
    /// The event.
    pub event: job_event::Model,
    /// The present row of the job.
    pub job: job::Model,
    /// The viewer's access to the job.
    pub standing: Standing,
}

/// A page of the feed.
#[derive(Debug)]
pub struct FeedPage {
    /// The events that the viewer may see.
    pub events: Vec<FeedEvent>,
    /// The start of the next page.
    pub next: FeedPosition,
    /// Whether the next page may already contain events.
    pub more: bool,
}

impl Jobs {
    /// Returns, for each job and sequence, up to `limit` events after it, in one statement. This is possible because
    /// sequences have no gaps.
    pub(crate) async fn histories(
        &self,
        after: &[(JobId, i64)],
        limit: i64,
    ) -> Result<Vec<job_event::Model>> {
        let range = |(job, after): &(JobId, i64)| {
            Condition::all()
                .add(job_event::Column::JobId.eq(*job))
                .add(job_event::Column::Sequence.gt(*after))
                .add(job_event::Column::Sequence.lte(after.saturating_add(limit)))
        };
        let any = after.iter().map(range).fold(Condition::any(), Condition::add);
        let events = job_event::Entity::find().filter(any).order_by_asc(job_event::Column::Sequence);
        Ok(events.all(self.db.read()).await?)
    }

    /// Returns up to `limit` events of a job after a sequence.
    pub async fn history(&self, job: JobId, after: i64, limit: u64) -> Result<Vec<job_event::Model>> {
        let events = job_event::Entity::find()
            .filter(job_event::Column::JobId.eq(job))
            .filter(job_event::Column::Sequence.gt(after))
            .order_by_asc(job_event::Column::Sequence)
            .limit(limit);
        Ok(events.all(self.db.read()).await?)
    }

    /// Returns up to `limit` events after a point in the feed, of jobs that the actor may see and that match the filter
    /// now.
    pub async fn feed(
        &self,
        actor: &Actor,
        filter: &Filter,
        from: FeedPosition,
        limit: u64,
    ) -> Result<FeedPage> {
        let horizon = feed::horizon(&self.db).await?;
        let mut events = job_event::Entity::find()
            .filter(feed::after(from))
            .filter(job_event::Column::Position.lt(horizon));
        events = events.filter(match filter.ownership {
            Some(Ownership::Shared) => access::shared_job_rows(actor, "job_event", "job_id"),
            _ => access::visible_job_rows(actor, "job_event", "job_id"),
        });
        if *filter != Filter::default() {
            let matching = Query::select()
                .expr(Expr::val(1))
                .from(job::Entity)
                .and_where(
                    Expr::col((job::Entity, job::Column::Id))
                        .equals((job_event::Entity, job_event::Column::JobId)),
                )
                .cond_where(self.condition(actor, filter)?)
                .to_owned();
            events = events.filter(Expr::exists(matching));
        }
        let events = events
            .order_by_asc(job_event::Column::Position)
            .order_by_asc(job_event::Column::JobId)
            .order_by_asc(job_event::Column::Sequence)
            .limit(limit);
        let rows = events.all(self.db.read()).await?;
        let (next, more) = match rows.last() {
            Some(last) if rows.len() as u64 == limit => (FeedPosition::of(last), true),
            // All events below the horizon were read, including those that the actor may not see.
            _ => (FeedPosition::before(horizon).max(from), false),
        };
        Ok(FeedPage { events: self.with_jobs(actor, rows).await?, next, more })
    }

    /// Adds the job to each event. Leaves out events of jobs that are deleted, or that the actor may no longer see.
    async fn with_jobs(&self, actor: &Actor, rows: Vec<job_event::Model>) -> Result<Vec<FeedEvent>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: BTreeSet<JobId> = rows.iter().map(|row| row.job_id).collect();
        let jobs = job::Entity::find().filter(job::Column::Id.is_in(ids)).all(self.db.read()).await?;
        let standings = access::standings(self.db.read(), actor, &jobs).await?;
        let jobs: HashMap<JobId, job::Model> = jobs.into_iter().map(|job| (job.id, job)).collect();
        let with_job = |event: job_event::Model| {
            let (job, standing) = (jobs.get(&event.job_id)?, standings.get(&event.job_id)?);
            Some(FeedEvent { job: job.clone(), standing: standing.clone(), event })
        };
        Ok(rows.into_iter().filter_map(with_job).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_belongs_to_its_job() {
        let position = FeedPosition { position: 5, job: JobId::new(), sequence: 7 };
        assert_eq!(parse_job_cursor(position.job, &position.encode()), Ok(7));
        assert_eq!(parse_cursor(&position.encode()), Ok(position));
        assert!(parse_job_cursor(JobId::new(), &position.encode()).is_err());
        assert!(parse_cursor("7").is_err());
    }
}
