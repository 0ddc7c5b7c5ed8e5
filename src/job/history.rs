//! The history of a job, and the feed over all jobs: every change once, in order, without gaps.

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

/// The place that a cursor names; an error where it is none.
pub fn parse_cursor(text: &str) -> Result<FeedPosition> {
    FeedPosition::decode(text)
        .ok_or_else(|| Error::invalid("/after", "CURSOR", "This is not the cursor of an event."))
}

/// The sequence that a cursor of this job's history names; an error where it is none.
pub fn parse_job_cursor(job: JobId, text: &str) -> Result<i64> {
    let place = parse_cursor(text)?;
    if place.job == job {
        return Ok(place.sequence);
    }
    Err(Error::invalid("/after", "CURSOR", "This is the cursor of another job's event."))
}

/// An event as somebody of this standing sees it: of a step that is not theirs, only `step` and `withheld`, and not
/// who it was.
pub fn redact_event(standing: &Standing, job_type: &JobType, event: job_event::Model) -> job_event::Model {
    let role = event.data.get("role").and_then(|role| role.as_str());
    let shown = match (event.kind, role, &event.step) {
        // Who sees a content hears of it.
        (EventKind::ContentAdded, Some(role), _) => contents::is_visible(standing, job_type, role),
        (_, _, Some(step)) => works_on(standing, step),
        (_, _, None) => true,
    };
    if shown {
        return event;
    }
    let data = json!({"step": event.step, "withheld": true});
    job_event::Model { data, actor_id: None, ..event }
}

/// An event of the feed, with what decides who sees what of it.
#[derive(Debug, Clone)]
pub struct FeedEvent {
    /// The event.
    pub event: job_event::Model,
    /// Its job as it is now.
    pub job: job::Model,
    /// What the viewer is to the job.
    pub standing: Standing,
}

/// A part of the feed.
#[derive(Debug)]
pub struct FeedPage {
    /// What the viewer may see of it.
    pub events: Vec<FeedEvent>,
    /// Where the next part begins.
    pub next: FeedPosition,
    /// Whether that part is there already.
    pub more: bool,
}

impl Jobs {
    /// For each job and sequence, up to `limit` events just after it, in one statement: sequences have no gaps, so that they
    /// can be named.
    pub async fn histories(&self, after: &[(JobId, i64)], limit: i64) -> Result<Vec<job_event::Model>> {
        let stretch = |(job, after): &(JobId, i64)| {
            Condition::all()
                .add(job_event::Column::JobId.eq(*job))
                .add(job_event::Column::Sequence.gt(*after))
                .add(job_event::Column::Sequence.lte(after.saturating_add(limit)))
        };
        let any = after.iter().map(stretch).fold(Condition::any(), Condition::add);
        let events = job_event::Entity::find().filter(any).order_by_asc(job_event::Column::Sequence);
        Ok(events.all(self.db.read()).await?)
    }

    /// Up to `limit` events of a job just after a sequence.
    pub async fn history(&self, job: JobId, after: i64, limit: u64) -> Result<Vec<job_event::Model>> {
        let events = job_event::Entity::find()
            .filter(job_event::Column::JobId.eq(job))
            .filter(job_event::Column::Sequence.gt(after))
            .order_by_asc(job_event::Column::Sequence)
            .limit(limit);
        Ok(events.all(self.db.read()).await?)
    }

    /// Up to `limit` events just after a place of the feed, of jobs that an actor may see and that match now.
    pub async fn feed(&self, actor: &Actor, filter: &Filter, from: FeedPosition, limit: u64) -> Result<FeedPage> {
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
            // All below the horizon was looked at, whoever's it is.
            _ => (FeedPosition::before(horizon).max(from), false),
        };
        Ok(FeedPage { events: self.judged(actor, rows).await?, next, more })
    }

    /// Puts each event beside its job. What the viewer may not see any more, or is gone, is left out.
    async fn judged(&self, actor: &Actor, rows: Vec<job_event::Model>) -> Result<Vec<FeedEvent>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: BTreeSet<JobId> = rows.iter().map(|row| row.job_id).collect();
        let jobs = job::Entity::find().filter(job::Column::Id.is_in(ids)).all(self.db.read()).await?;
        let standings = access::standings(self.db.read(), actor, &jobs).await?;
        let jobs: HashMap<JobId, job::Model> = jobs.into_iter().map(|job| (job.id, job)).collect();
        let judge = |event: job_event::Model| {
            let (job, standing) = (jobs.get(&event.job_id)?, standings.get(&event.job_id)?);
            Some(FeedEvent { job: job.clone(), standing: standing.clone(), event })
        };
        Ok(rows.into_iter().filter_map(judge).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_belong_to_their_job() {
        let place = FeedPosition { position: 5, job: JobId::new(), sequence: 7 };
        assert_eq!(parse_job_cursor(place.job, &place.encode()), Ok(7));
        assert_eq!(parse_cursor(&place.encode()), Ok(place));
        assert!(parse_job_cursor(JobId::new(), &place.encode()).is_err());
        assert!(parse_cursor("7").is_err());
    }
}
