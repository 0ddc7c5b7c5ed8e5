//! Hearing of what other nodes have changed: the feed, read again and again, becomes hints of this node.

use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio_util::sync::CancellationToken;

use super::Jobs;
use crate::entity::job_event;
use crate::error::Result;
use crate::events::feed::{self, Place};
use crate::id::{JobId, ReviewId};

/// How late a change of another node is heard of, at the most.
const EVERY: Duration = Duration::from_millis(500);
/// Events read at once.
const PAGE: u64 = 1_000;

/// Hears of what other nodes change from some time on.
#[derive(Debug)]
pub struct Follower {
    jobs: Jobs,
    from: Place,
}

impl Jobs {
    /// Begins to hear: what changes from now on will be hinted at by [`Follower::run`]. For a node that shares its
    /// database, before it takes subscriptions.
    pub async fn follower(&self) -> Result<Follower> {
        let from = Place::before(feed::horizon(&self.db).await?);
        Ok(Follower { jobs: self.clone(), from })
    }
}

impl Follower {
    /// Hints at changes that were made elsewhere, until `stop`.
    pub async fn run(mut self, stop: &CancellationToken) {
        loop {
            match self.hear().await {
                Ok(next) => self.from = next,
                Err(error) => tracing::warn!(%error, "changes of other nodes could not be read"),
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Hints at what came since; where the next part begins.
    async fn hear(&self) -> Result<Place> {
        let Jobs { db, hub, .. } = &self.jobs;
        let (horizon, mut from) = (feed::horizon(db).await?, self.from);
        loop {
            // Without the data of events, which may be large.
            let rows = job_event::Entity::find()
                .select_only()
                .column(job_event::Column::Position)
                .column(job_event::Column::JobId)
                .column(job_event::Column::Sequence)
                .column(job_event::Column::Kind)
                .expr_as(Expr::cust("data->>'reviewId'"), "review")
                .filter(feed::after(from))
                .filter(job_event::Column::Position.lt(horizon))
                .order_by_asc(job_event::Column::Position)
                .order_by_asc(job_event::Column::JobId)
                .order_by_asc(job_event::Column::Sequence)
                .limit(PAGE);
            let rows: Vec<(i64, JobId, i64, String, Option<String>)> =
                rows.into_tuple().all(db.read()).await?;
            for (_, job, sequence, kind, review) in &rows {
                if hub.has_announced(*job, *sequence) {
                    continue;
                }
                if kind == "COLLABORATION_CHANGED" {
                    hub.share_changed();
                }
                hub.changed(*job);
                if let Some(review) = review.as_deref().and_then(ReviewId::parse) {
                    hub.review_changed(review);
                }
            }
            match rows.last() {
                Some((position, job, sequence, ..)) if rows.len() as u64 == PAGE => {
                    from = Place { position: *position, job: *job, sequence: *sequence };
                }
                _ => return Ok(Place::before(horizon).max(from)),
            }
        }
    }
}
