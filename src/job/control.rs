//! Steering a job: its metadata and priority, cancelling, running again, removing.

use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};
use serde_json::{Map, Value, json};

use super::decide::Command;
use super::record::{EventKind, Locked};
use super::{Jobs, gone};
use crate::access::{Cancel, Delete, Edit, Grant};
use crate::db::Work;
use crate::entity::{content, document, job, task};
use crate::error::{Error, Result};
use crate::job_type::metadata;

/// What an owner may change of a job.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// JSON Merge Patch (RFC 7396) on the metadata.
    pub metadata: Option<Map<String, Value>>,
    /// Runs before those with a lower one.
    pub priority: Option<i32>,
}

/// How far priorities go, both ways.
pub const HIGHEST_PRIORITY: i32 = 1_000;

impl Jobs {
    /// Changes metadata and priority; what results is checked against the type's schema.
    pub async fn update(&self, grant: &Grant<Edit>, changes: Changes) -> Result<job::Model> {
        let before = grant.job();
        let job_type = self.types.version(&before.type_id, before.type_version).await?;
        if let Some(problem) = changes.priority.and_then(super::create::priority_problem) {
            return Err(Error::Invalid(vec![problem]));
        }
        let (largest, actor) = (self.limits.metadata_bytes, grant.actor().user.id);
        self.change(grant, move |locked| {
            if let Some(priority) = changes.priority.filter(|new| *new != locked.row().priority) {
                let data = json!({"priority": {"from": locked.row().priority, "to": priority}});
                locked.row_mut().priority = priority;
                locked.record(EventKind::MetadataChanged, None, Some(actor), data);
            }
            if let Some(patch) = changes.metadata {
                let mut patched = locked.row().metadata.clone();
                let patch = Value::Object(metadata::open(&patch, "/metadata").map_err(Error::Invalid)?);
                json_patch::merge(&mut patched, &patch);
                let patched = patched.as_object().cloned().unwrap_or_default();
                let patched = metadata::normalize(&job_type.metadata_schema, &patched, "/metadata");
                let patched = Value::Object(patched.map_err(Error::Invalid)?);
                super::create::metadata_size(&patched, largest)?;
                if patched != locked.row().metadata {
                    let data = json!({"patch": patch, "metadata": patched});
                    locked.row_mut().metadata = patched;
                    locked.record(EventKind::MetadataChanged, None, Some(actor), data);
                }
            }
            Ok(())
        })
        .await
    }

    /// Ends a job that is not final. A running worker learns of it at its next report.
    pub async fn cancel(&self, grant: &Grant<Cancel>, reason: Option<String>) -> Result<job::Model> {
        let actor = grant.actor().user.id;
        self.change(grant, move |locked| Ok(locked.perform(Command::Cancel { reason }, Some(actor))?)).await
    }

    /// Runs a failed or cancelled job again from the step that stopped it.
    pub async fn retry(&self, grant: &Grant<Cancel>) -> Result<job::Model> {
        let actor = grant.actor().user.id;
        self.change(grant, move |locked| Ok(locked.perform(Command::Retry, Some(actor))?)).await
    }

    /// Removes a job with everything that its steps made; one that is not final is cancelled first, so that whoever
    /// watches it sees its end.
    pub async fn delete(&self, grant: &Grant<Delete>) -> Result<()> {
        let (id, clock, actor) = (grant.job().id, self.clock.clone(), grant.actor().user.id);
        let cancelled = self.db.write(move |tx| {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, id, clock.now()).await?.ok_or_else(gone)?;
                if locked.state().status.is_final() {
                    return Ok(());
                }
                locked
                    .perform(Command::Cancel { reason: Some("The job was deleted.".into()) }, Some(actor))?;
                locked.save(tx).await?;
                Ok(())
            })
        });
        cancelled.await?;
        self.hub.changed(id);
        let removed = self.db.write(move |tx| {
            Box::pin(async move {
                let made = document::Entity::find().filter(document::Column::JobId.eq(id)).all(tx).await?;
                let keys: Vec<String> = made.into_iter().map(|document| document.storage_key).collect();
                // Contents hold on to their documents, so they go first; the rest goes with the job's row.
                content::Entity::delete_many().filter(content::Column::JobId.eq(id)).exec(tx).await?;
                job::Entity::delete_by_id(id).exec(tx).await?;
                Ok(keys)
            })
        });
        for key in removed.await? {
            self.documents.discard(&key).await;
        }
        self.hub.changed(id);
        Ok(())
    }

    /// Locks a granted job, changes it, saves it, and hints at the change.
    async fn change<A>(
        &self,
        grant: &Grant<A>,
        change: impl FnOnce(&mut Locked) -> Result<()> + Send + 'static,
    ) -> Result<job::Model> {
        let (id, clock) = (grant.job().id, self.clock.clone());
        let saved = self.db.write(move |tx| -> Work<'_, job::Model> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, id, clock.now()).await?.ok_or_else(gone)?;
                change(&mut locked)?;
                let job = locked.save(tx).await?;
                // What is queued keeps its place in the queue by the job's priority.
                if let Some(task) =
                    task::Entity::find_by_id(id).one(tx).await?.filter(|task| task.priority != job.priority)
                {
                    let mut task = task.into_active_model();
                    task.priority = sea_orm::Set(job.priority);
                    sea_orm::ActiveModelTrait::update(task, tx).await?;
                }
                Ok(job)
            })
        });
        let job = saved.await?;
        self.changed(&job);
        Ok(job)
    }
}
