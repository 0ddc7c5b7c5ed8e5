//! Steering a job: its metadata and priority, cancelling, running again, removing.

use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, SqlErr};
use serde_json::{Map, Value, json};

use super::decide::Command;
use super::record::{EventKind, Locked, Saved};
use super::{Jobs, gone};
use crate::access::{Cancel, Delete, Edit, Grant};
use crate::db::Work;
use crate::entity::{content, document, job};
use crate::error::{Error, Problem, Result};
use crate::id::{JobId, UserId};
use crate::job_type::{JobType, metadata};

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
                same_taxonomies(&job_type, &locked.row().metadata, &patched)?;
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
        self.check_reason(reason.as_deref())?;
        let actor = grant.actor().user.id;
        self.change(grant, move |locked| Ok(locked.perform(Command::Cancel { reason }, Some(actor))?)).await
    }

    /// Runs a failed or cancelled job again from the step that stopped it.
    pub async fn retry(&self, grant: &Grant<Cancel>) -> Result<job::Model> {
        let actor = grant.actor().user.id;
        self.change(grant, move |locked| Ok(locked.perform(Command::Retry, Some(actor))?)).await
    }

    /// Takes a job back to a step that it has reached before, whatever its status; what that step and later ones made is
    /// superseded, not lost.
    pub async fn rewind(
        &self,
        grant: &Grant<Cancel>,
        to_step: &str,
        reason: Option<String>,
    ) -> Result<job::Model> {
        self.check_reason(reason.as_deref())?;
        let (id, clock, actor) = (grant.job().id, self.clock.clone(), grant.actor().user.id);
        let to_step = to_step.to_owned();
        let saved = self.db.write(move |tx| -> Work<'_, Saved> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
                let to = locked.step_index(&to_step)?;
                locked.perform(Command::Rewind { to, reason }, Some(actor))?;
                locked.supersede_from(tx, to).await?;
                locked.save(tx).await
            })
        });
        Ok(self.announce(saved.await?))
    }

    /// Removes a job with everything that its steps made; one that is not final is cancelled first, and whoever watches it
    /// sees its end. CONFLICT where another job uses something that this one made.
    pub async fn delete(&self, grant: &Grant<Delete>) -> Result<()> {
        let reason = "The job was deleted.";
        self.remove(grant.job().id, Some(grant.actor().user.id), reason).await
    }

    /// [`Jobs::delete`] for whoever needs no grant; `reason` is what those who watch a job see it cancelled for.
    pub(super) async fn remove(&self, id: JobId, actor: Option<UserId>, reason: &'static str) -> Result<()> {
        let clock = self.clock.clone();
        let cancelled = self.db.write(move |tx| {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
                used_elsewhere(tx, id).await?;
                if locked.state().status.is_final() {
                    return Ok(None);
                }
                locked.perform(Command::Cancel { reason: Some(reason.into()) }, actor)?;
                locked.save(tx).await.map(Some)
            })
        });
        if let Some(saved) = cancelled.await? {
            self.announce(saved);
            // Whoever watches gets this reading, since the next one would find nothing.
            if let Some(end) = self.snapshot(id).await? {
                self.hub.publish(id, end);
            }
        }
        let clock = self.clock.clone();
        let removed = self.db.write(move |tx| {
            Box::pin(async move {
                let locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
                if !locked.state().status.is_final() {
                    return Err(Error::conflict("The job was opened again meanwhile."));
                }
                used_elsewhere(tx, id).await?;
                let made = document::Entity::find().filter(document::Column::JobId.eq(id)).all(tx).await?;
                let keys: Vec<String> = made.into_iter().map(|document| document.storage_key).collect();
                // Contents hold on to their documents, so they go first; the rest goes with the job's row.
                content::Entity::delete_many().filter(content::Column::JobId.eq(id)).exec(tx).await?;
                job::Entity::delete_by_id(id).exec(tx).await.map_err(|error| match error.sql_err() {
                    Some(SqlErr::ForeignKeyConstraintViolation(_)) => in_use(),
                    _ => error.into(),
                })?;
                Ok(keys)
            })
        });
        for key in removed.await? {
            self.documents.discard(&key).await;
        }
        Ok(())
    }

    fn check_reason(&self, reason: Option<&str>) -> Result<()> {
        match self.limits.comment_problem(reason, "/reason") {
            Some(problem) => Err(Error::Invalid(vec![problem])),
            None => Ok(()),
        }
    }

    /// Locks a granted job, changes it, saves it, and hints at the change.
    async fn change<A>(
        &self,
        grant: &Grant<A>,
        change: impl FnOnce(&mut Locked) -> Result<()> + Send + 'static,
    ) -> Result<job::Model> {
        let (id, clock) = (grant.job().id, self.clock.clone());
        let saved = self.db.write(move |tx| -> Work<'_, Saved> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
                change(&mut locked)?;
                locked.save(tx).await
            })
        });
        Ok(self.announce(saved.await?))
    }
}

/// A job works with the copy that it got when it was made; another name in its metadata would say what is not so.
fn same_taxonomies(job_type: &JobType, before: &Value, after: &Value) -> Result<()> {
    let named =
        |metadata: &Value, step: &str| metadata.get(step).and_then(|fields| fields.get("taxonomy")).cloned();
    let changed =
        job_type.taxonomies().filter(|(step, _)| named(before, &step.name) != named(after, &step.name));
    let problems: Vec<_> = changed
        .map(|(step, _)| {
            let path = format!("/metadata/{}/taxonomy", metadata::escape(&step.name));
            Problem::new(path, "NOT_ALLOWED", "A job keeps the taxonomy that it was made with.")
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

fn in_use() -> Error {
    Error::conflict("Another job uses a document that this one made. Delete that job first.")
}

/// Refuses to go on where a document that a job's steps made is a content of another job.
async fn used_elsewhere(tx: &impl ConnectionTrait, id: JobId) -> Result<()> {
    let made = Query::select()
        .column(document::Column::Id)
        .from(document::Entity)
        .and_where(document::Column::JobId.eq(id))
        .to_owned();
    let uses = content::Entity::find()
        .filter(content::Column::DocumentId.in_subquery(made))
        .filter(content::Column::JobId.ne(id));
    if uses.one(tx).await?.is_some() { Err(in_use()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_keeps_its_taxonomy() {
        let step = json!({"name": "mapping", "title": "", "kind": "AUTOMATIC", "contentRoles": ["mapping-taxonomy-json"],
            "maxAttempts": 1, "timeoutSeconds": 1, "fourEyes": false});
        let job_type = json!({"id": "t", "name": "", "description": "", "accepts": [], "steps": [step], "metadataSchema": {}});
        let job_type: JobType = serde_json::from_value(job_type).unwrap();
        let with =
            |taxonomy: Value| json!({"mapping": {"taxonomy": taxonomy, "threshold": 1}, "own": taxonomy});
        let before = with("x".into());
        assert_eq!(same_taxonomies(&job_type, &before, &json!({"mapping": {"taxonomy": "x"}})), Ok(()));
        for after in [with("y".into()), json!({"own": "x"})] {
            let refused = same_taxonomies(&job_type, &before, &after);
            let Err(Error::Invalid(problems)) = refused else { panic!("{refused:?}") };
            assert_eq!((problems.len(), problems[0].path.as_str()), (1, "/metadata/mapping/taxonomy"));
        }
    }
}
