//! Retention of documents that were uploaded with a TEST key.

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Documents;
use crate::clock::Timestamp;
use crate::entity::enums::Mode;
use crate::entity::{content, document};
use crate::error::{Error, Result};
use crate::id::DocumentId;
use crate::page::{Cursor, Direction, after_cursor};

/// Rows that one statement selects.
pub(crate) const PAGE_ROWS: u64 = 100;

impl Documents {
    /// Deletes documents that were uploaded with TEST keys before a time and that no job uses. Returns their number.
    pub(crate) async fn remove_expired_test_documents(&self, before: Timestamp) -> Result<u64> {
        let mut removed = 0;
        let mut from: Option<Cursor> = None;
        loop {
            let (time, id) = (document::Column::CreatedAt, document::Column::Id);
            let is_test_upload = document::Column::Mode.eq(Mode::Test).and(document::Column::JobId.is_null());
            let used = Query::select()
                .expr(Expr::val(1))
                .from(content::Entity)
                .and_where(
                    Expr::col((content::Entity, content::Column::DocumentId)).equals((document::Entity, id)),
                )
                .to_owned();
            let mut expired = document::Entity::find()
                .select_only()
                .columns([time, id])
                .filter(is_test_upload)
                .filter(time.lt(before))
                .filter(Expr::not(Expr::exists(used)));
            if let Some(from) = from {
                expired = expired.filter(after_cursor(Direction::Ascending, from, time, id));
            }
            let expired = expired.order_by_asc(time).order_by_asc(id).limit(PAGE_ROWS);
            let expired: Vec<(Timestamp, Uuid)> = expired.into_tuple().all(self.db.read()).await?;
            let Some((at, id)) = expired.last().copied() else { return Ok(removed) };
            from = Some(Cursor { at, id });
            for (_, id) in expired {
                removed += count_removed(
                    self.remove(DocumentId(id), |document| document.mode == Mode::Test).await,
                    id,
                )?;
            }
        }
    }
}

/// Returns the number of removed things, 0 or 1, or an error if the removal of the rest would fail too.
pub(crate) fn count_removed(outcome: Result<()>, id: Uuid) -> Result<u64> {
    match outcome {
        Ok(()) => Ok(1),
        Err(Error::Conflict { message, .. }) => {
            tracing::debug!(%id, message, "expired TEST data is still in use, keeping it");
            Ok(0)
        }
        Err(Error::NotFound(_)) => Ok(0),
        Err(error @ Error::Unavailable(_)) => Err(error),
        Err(error) => {
            tracing::error!(%id, %error, "failed to remove expired TEST data");
            Ok(0)
        }
    }
}
