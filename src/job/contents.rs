//! Contents: documents in roles of a job, and who sees which.

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set};
use serde_json::json;

use super::Jobs;
use super::record::{EventKind, Locked};
use crate::access::policy::{Standing, works_on};
use crate::access::{self, Actor};
use crate::document;
use crate::entity::{content, document as documents, job};
use crate::error::{Error, Result};
use crate::id::{ContentId, DocumentId, JobId, UserId};
use crate::job_type::{INPUT, JobType};

/// The input is seen by everyone who sees the job; any other role with access to a step that lists it.
pub fn visible(standing: &Standing, job_type: &JobType, role: &str) -> bool {
    let everything = matches!(standing, Standing::Owner | Standing::Admin | Standing::AllSteps);
    everything || role == INPUT || job_type.steps_of_role(role).any(|step| works_on(standing, &step.name))
}

/// Adds the next version of a role; the one before is superseded, not lost.
pub async fn add(
    tx: &impl ConnectionTrait,
    locked: &mut Locked,
    role: &str,
    document: &documents::Model,
    step: Option<&str>,
    actor: Option<UserId>,
) -> Result<ContentId> {
    let (job, id, now) = (locked.row().id, ContentId::new(), locked.now());
    let of_role =
        content::Entity::find().filter(content::Column::JobId.eq(job)).filter(content::Column::Role.eq(role));
    let newest = of_role.order_by_desc(content::Column::Version).one(tx).await?;
    let version = newest.as_ref().map_or(1, |newest| newest.version + 1);
    if let Some(newest) = newest {
        let supersede = content::Entity::update_many().col_expr(content::Column::Current, Expr::value(false));
        supersede.filter(content::Column::Id.eq(newest.id)).exec(tx).await?;
    }
    let row = content::ActiveModel {
        id: Set(id),
        job_id: Set(job),
        role: Set(role.to_owned()),
        version: Set(version),
        document_id: Set(document.id),
        step: Set(step.map(str::to_owned)),
        current: Set(true),
        created_at: Set(now),
    };
    row.insert(tx).await?;
    let data = json!({
        "role": role, "version": version, "documentId": document.id, "name": document.name, "type": document.media_type,
        "size": document.size, "sha256": document.sha256, "step": step,
    });
    // The input is for everyone who sees the job; `step` would keep it from some.
    let shown_to = step.filter(|_| role != INPUT);
    locked.record(EventKind::ContentAdded, shown_to, actor, data);
    Ok(id)
}

impl Jobs {
    /// The contents that somebody of this standing sees, newest first.
    pub async fn contents(
        &self,
        job: &job::Model,
        standing: &Standing,
        role: Option<&str>,
        superseded: bool,
    ) -> Result<Vec<(content::Model, documents::Model)>> {
        let job_type = self.types.version(&job.type_id, job.type_version).await?;
        let mut query = content::Entity::find().filter(content::Column::JobId.eq(job.id));
        if let Some(role) = role {
            query = query.filter(content::Column::Role.eq(role));
        }
        if !superseded {
            query = query.filter(content::Column::Current.eq(true));
        }
        let found = query.order_by_desc(content::Column::Id).find_also_related(documents::Entity);
        let rows = found.all(self.db.read()).await?;
        let pairs = rows.into_iter().filter_map(|(content, document)| Some((content, document?)));
        Ok(pairs.filter(|(content, _)| visible(standing, &job_type, &content.role)).collect())
    }

    /// A document that an actor may read: one of theirs, or a content that they see of a job.
    pub async fn document(&self, actor: &Actor, id: DocumentId) -> Result<documents::Model> {
        let missing = || Error::not_found("document");
        if let Some(own) = document::own(self.db.read(), actor, id).await? {
            return Ok(own);
        }
        let uses = content::Entity::find().filter(content::Column::DocumentId.eq(id));
        for (content, job) in uses.find_also_related(job::Entity).all(self.db.read()).await? {
            let Some(job) = job else { continue };
            let Some(standing) = access::standing(self.db.read(), actor, &job).await? else { continue };
            let job_type = self.types.version(&job.type_id, job.type_version).await?;
            if visible(&standing, &job_type, &content.role) {
                return documents::Entity::find_by_id(id).one(self.db.read()).await?.ok_or_else(missing);
            }
        }
        Err(missing())
    }

    /// The current content of a role, whoever asks: for the engine.
    pub async fn current(
        &self,
        job: JobId,
        role: &str,
    ) -> Result<Option<(content::Model, documents::Model)>> {
        let query = content::Entity::find()
            .filter(content::Column::JobId.eq(job))
            .filter(content::Column::Role.eq(role))
            .filter(content::Column::Current.eq(true));
        let found = query.find_also_related(documents::Entity).one(self.db.read()).await?;
        Ok(found.and_then(|(content, document)| Some((content, document?))))
    }
}
