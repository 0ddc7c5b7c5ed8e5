//! What was uploaded with a TEST key is for trying things out, and is not kept for ever.

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Documents;
use crate::clock::Timestamp;
use crate::entity::enums::Mode;
use crate::entity::{content, document};
use crate::error::{Error, Result};
use crate::id::DocumentId;
use crate::page::{Cursor, Direction, beyond};

/// Looked up at once.
pub(crate) const PAGE: u64 = 100;

impl Documents {
    /// Removes those that were uploaded with TEST keys before a time and that no job uses. Returns how many.
    pub(crate) async fn remove_tests(&self, before: Timestamp) -> Result<u64> {
        let mut removed = 0;
        let mut from: Option<Cursor> = None;
        loop {
            let (time, id) = (document::Column::CreatedAt, document::Column::Id);
            let of_tests = document::Column::Mode.eq(Mode::Test).and(document::Column::JobId.is_null());
            let used = Query::select()
                .expr(Expr::val(1))
                .from(content::Entity)
                .and_where(
                    Expr::col((content::Entity, content::Column::DocumentId)).equals((document::Entity, id)),
                )
                .to_owned();
            let mut late = document::Entity::find()
                .select_only()
                .columns([time, id])
                .filter(of_tests)
                .filter(time.lt(before))
                .filter(Expr::not(Expr::exists(used)));
            if let Some(from) = from {
                late = late.filter(beyond(Direction::Ascending, from, time, id));
            }
            let late = late.order_by_asc(time).order_by_asc(id).limit(PAGE);
            let late: Vec<(Timestamp, Uuid)> = late.into_tuple().all(self.db.read()).await?;
            let Some((at, id)) = late.last().copied() else { return Ok(removed) };
            from = Some(Cursor { at, id });
            for (_, id) in late {
                removed +=
                    went(self.remove(DocumentId(id), |document| document.mode == Mode::Test).await, id)?;
            }
        }
    }
}

/// Whether something was removed, as a number; an error where the rest need not be tried.
pub(crate) fn went(outcome: Result<()>, id: Uuid) -> Result<u64> {
    match outcome {
        Ok(()) => Ok(1),
        Err(Error::Conflict { message, .. }) => {
            tracing::debug!(%id, message, "something of a TEST key is kept for now");
            Ok(0)
        }
        Err(Error::NotFound(_)) => Ok(0),
        Err(error @ Error::Unavailable(_)) => Err(error),
        Err(error) => {
            tracing::error!(%id, %error, "something of a TEST key could not be removed");
            Ok(0)
        }
    }
}
