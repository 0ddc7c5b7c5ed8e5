//! Hearing of what other nodes have changed: the feed, read again and again, becomes hints of this node.

use std::time::Duration;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio_util::sync::CancellationToken;

use super::Jobs;
use crate::entity::job_event;
use crate::error::Result;
use crate::events::feed::{self, Place};
use crate::id::ReviewId;

/// How late a change of another node is heard of, at the most.
const EVERY: Duration = Duration::from_millis(500);
/// Events read at once.
const PAGE: u64 = 1_000;

impl Jobs {
    /// Hints at changes that were made elsewhere, until `stop`. For a node that shares its database.
    pub async fn follow(&self, stop: &CancellationToken) {
        let mut from: Option<Place> = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            match self.hear(from).await {
                Ok(next) => from = Some(next),
                Err(error) => tracing::warn!(%error, "changes of other nodes could not be read"),
            }
        }
    }

    /// Hints at what came after a place; without one nothing is old.
    async fn hear(&self, from: Option<Place>) -> Result<Place> {
        let horizon = feed::horizon(&self.db).await?;
        let Some(mut from) = from else { return Ok(Place::before(horizon)) };
        loop {
            let rows = job_event::Entity::find()
                .filter(feed::after(from))
                .filter(job_event::Column::Position.lt(horizon))
                .order_by_asc(job_event::Column::Position)
                .order_by_asc(job_event::Column::JobId)
                .order_by_asc(job_event::Column::Sequence)
                .limit(PAGE);
            let rows = rows.all(self.db.read()).await?;
            for row in rows.iter().filter(|row| !self.hub.has_announced(row.job_id, row.sequence)) {
                if row.kind == "COLLABORATION_CHANGED" {
                    self.hub.share_changed();
                }
                self.hub.changed(row.job_id);
                let review = row.data.get("reviewId").and_then(|id| ReviewId::parse(id.as_str()?));
                if let Some(review) = review {
                    self.hub.review_changed(review);
                }
            }
            match rows.last() {
                Some(last) if rows.len() as u64 == PAGE => from = Place::of(last),
                _ => return Ok(Place::before(horizon).max(from)),
            }
        }
    }
}
