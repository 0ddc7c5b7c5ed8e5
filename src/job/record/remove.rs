//! Deleting the rows of a job.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, SqlErr};

use super::authority::Authority;
use super::load::{Reads, open};
use crate::entity::{content, document, job};
use crate::error::{Error, Result};
use crate::id::JobId;
use crate::job::Jobs;

/// Deletes the rows of a job that has a final status. Returns the storage keys of its outputs, which nothing refers to any
/// more; `None` if the job has no final status, because it was retried or rewound.
pub(crate) async fn remove_ended(jobs: &Jobs, authority: impl Authority) -> Result<Option<Vec<String>>> {
    let clock = jobs.clock.clone();
    let removed = jobs.db.write(move |tx| {
        Box::pin(async move {
            let id = authority.job_id();
            let locked = open(tx, &clock, &authority, Reads::STATE).await?;
            if !locked.state().status.is_final() {
                return Ok(None);
            }
            give_used_outputs_away(tx, id).await?;
            let made = document::Entity::find().filter(document::Column::JobId.eq(id)).all(tx).await?;
            let keys: Vec<String> = made.into_iter().map(|document| document.storage_key).collect();
            // Contents refer to their documents, so they are deleted first; all other rows are deleted with the job.
            content::Entity::delete_many().filter(content::Column::JobId.eq(id)).exec(tx).await?;
            job::Entity::delete_by_id(id).exec(tx).await.map_err(|error| match error.sql_err() {
                Some(SqlErr::ForeignKeyConstraintViolation(_)) => in_use(),
                _ => error.into(),
            })?;
            Ok(Some(keys))
        })
    });
    removed.await
}

fn in_use() -> Error {
    Error::conflict("Another job has started using an output of this job. Retry the request.")
}

/// Gives the outputs of a job that other jobs use to one of these. Otherwise every reader of an output could create a job
/// from it, and so prevent the owner from deleting theirs.
async fn give_used_outputs_away(tx: &impl ConnectionTrait, id: JobId) -> Result<()> {
    let made = Query::select()
        .column(document::Column::Id)
        .from(document::Entity)
        .and_where(document::Column::JobId.eq(id))
        .to_owned();
    let uses = content::Entity::find()
        .filter(content::Column::DocumentId.in_subquery(made))
        .filter(content::Column::JobId.ne(id))
        .order_by_desc(content::Column::Id)
        .find_also_related(job::Entity);
    // The oldest use of each document, because the map keeps the last one of this descending order.
    let heirs: HashMap<_, _> =
        uses.all(tx).await?.into_iter().filter_map(|(used, job)| Some((used.document_id, job?))).collect();
    for (document, heir) in heirs {
        let give = document::Entity::update_many()
            .col_expr(document::Column::JobId, Expr::value(heir.id))
            .col_expr(document::Column::OwnerId, Expr::value(heir.owner_id));
        let given = give.filter(document::Column::Id.eq(document)).exec(tx).await;
        given.map_err(|error| match error.sql_err() {
            // The other job was deleted at the same time.
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => in_use(),
            _ => error.into(),
        })?;
    }
    Ok(())
}
