//! Commands of users on a job: editing, canceling, retrying, rewinding and deleting it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Jobs;
use super::decide::Command;
use super::record::{self, Authority, LockedJob, Reads, ServerAuthority};
use crate::access::{Cancel, Delete, Edit, Grant};
use crate::entity::job;
use crate::error::{Error, Problem, Result};
use crate::id::JobId;
use crate::job_type::{JobType, metadata};
use crate::json::escape;

/// An update of the metadata or the priority of a job.
#[derive(Debug, Clone, Default)]
pub struct JobUpdate {
    /// JSON Merge Patch (RFC 7396) on the metadata.
    pub metadata: Option<Map<String, Value>>,
    /// Steps of jobs with a higher priority run first.
    pub priority: Option<i32>,
}

/// [`JobUpdate`] that was checked as far as possible without the lock of the job.
#[derive(Debug)]
pub struct CheckedUpdate {
    changes: JobUpdate,
    job_type: Arc<JobType>,
    /// Maximum size of the metadata, in bytes.
    max_metadata_bytes: usize,
    /// The sequence of the last event that the caller has seen; a later event is a conflict.
    last_seen: Option<i64>,
}

impl CheckedUpdate {
    /// Makes the changes conditional: they fail with CONFLICT if the job has an event after this sequence.
    pub(crate) fn only_after(self, sequence: i64) -> Self {
        Self { last_seen: Some(sequence), ..self }
    }

    /// Applies the changes to a locked job.
    pub(crate) fn apply(self, locked: &mut LockedJob) -> Result<()> {
        if self.last_seen.is_some_and(|last| last != locked.row().seq) {
            return Err(Error::conflict("The job has changed since you read it. Read it again and retry."));
        }
        if let Some(priority) = self.changes.priority {
            locked.set_priority(priority);
        }
        let Some(patch) = self.changes.metadata else { return Ok(()) };
        let mut patched = locked.row().metadata.clone();
        let patch = Value::Object(metadata::expand_keys(&patch, "/metadata").map_err(Error::Invalid)?);
        json_patch::merge(&mut patched, &patch);
        let patched = patched.as_object().cloned().unwrap_or_default();
        let patched = metadata::normalize(&self.job_type.metadata_schema, &patched, "/metadata");
        let patched = Value::Object(patched.map_err(Error::Invalid)?);
        super::request::check_metadata_size(&patched, self.max_metadata_bytes)?;
        check_taxonomies(&self.job_type, &locked.row().metadata, &patched)?;
        locked.set_metadata(patched, &patch);
        Ok(())
    }
}

/// Attempts to delete a job that users retry or rewind at the same time.
const MAX_DELETE_ATTEMPTS: usize = 10;

impl Jobs {
    /// Changes the metadata and the priority of a job. The new metadata must match the schema of the job type.
    pub async fn update(&self, grant: &Grant<Edit>, changes: JobUpdate) -> Result<job::Model> {
        let changes = self.check_changes(grant, changes).await?;
        self.apply_changes(grant, changes).await
    }

    /// Applies changes that were checked.
    pub(crate) async fn apply_changes(
        &self,
        grant: &Grant<Edit>,
        changes: CheckedUpdate,
    ) -> Result<job::Model> {
        let changed = record::change(self, grant.clone(), Reads::STATE, move |locked| changes.apply(locked));
        Ok(changed.await?.0)
    }

    /// Checks changes as far as possible without the lock of the job.
    pub(crate) async fn check_changes(
        &self,
        grant: &Grant<Edit>,
        changes: JobUpdate,
    ) -> Result<CheckedUpdate> {
        let before = grant.job();
        let job_type = self.types.version(&before.type_id, before.type_version).await?;
        match changes.priority.and_then(super::request::priority_problem) {
            Some(problem) => Err(Error::Invalid(vec![problem])),
            None => {
                let max_metadata_bytes = self.limits.metadata_bytes;
                Ok(CheckedUpdate { changes, job_type, max_metadata_bytes, last_seen: None })
            }
        }
    }

    /// Cancels a job that has no final status. A running worker learns of it from its next report.
    pub async fn cancel(&self, grant: &Grant<Cancel>, reason: Option<String>) -> Result<job::Model> {
        self.check_reason(reason.as_deref())?;
        self.command(grant, Command::Cancel { reason }).await
    }

    /// Runs a failed or canceled job again from the step that stopped it.
    pub async fn retry(&self, grant: &Grant<Cancel>) -> Result<job::Model> {
        self.command(grant, Command::Retry).await
    }

    async fn command(&self, grant: &Grant<Cancel>, command: Command) -> Result<job::Model> {
        let performed =
            record::change(self, grant.clone(), Reads::STATE, move |locked| Ok(locked.perform(command)?));
        Ok(performed.await?.0)
    }

    /// Takes a job back to a step that it has already reached, whatever its status. Contents of that step and of later
    /// steps are superseded, not lost. Without a step, the job goes back by one step; a job with a final status goes
    /// back to the last step that it has reached.
    pub async fn rewind(
        &self,
        grant: &Grant<Cancel>,
        to_step: Option<String>,
        reason: Option<String>,
    ) -> Result<job::Model> {
        self.check_reason(reason.as_deref())?;
        let rewound = record::change(self, grant.clone(), Reads::CONTENT_HISTORY, move |locked| {
            let to = match &to_step {
                Some(step) => locked.step_index(step)?,
                None => locked.state().step_back(),
            };
            locked.perform(Command::Rewind { to, reason })?;
            locked.supersede_from(to)
        });
        Ok(rewound.await?.0)
    }

    /// Deletes a job with everything that its steps have made. A job without a final status is canceled first, so that
    /// its subscribers see the end. Outputs that other jobs use are given to one of these jobs.
    pub async fn delete(&self, grant: &Grant<Delete>) -> Result<()> {
        self.delete_as(grant.clone(), "The job was deleted.").await
    }

    /// Deletes a job on behalf of the server. Subscribers see it canceled for `reason`.
    pub(super) async fn delete_as_server(&self, id: JobId, reason: &'static str) -> Result<()> {
        self.delete_as(ServerAuthority::deletion(id), reason).await
    }

    async fn delete_as(&self, authority: impl Authority + Clone, reason: &'static str) -> Result<()> {
        // A user may retry or rewind the job between the two transactions.
        for _ in 0..MAX_DELETE_ATTEMPTS {
            self.cancel_before_delete(authority.clone(), reason).await?;
            if let Some(keys) = record::remove_ended(self, authority.clone()).await? {
                for key in keys {
                    self.documents.discard(&key).await;
                }
                return Ok(());
            }
        }
        Err(Error::conflict("The job was retried or rewound at the same time. Retry the request."))
    }

    /// Cancels a job that has no final status, and sends this last state to its subscribers.
    async fn cancel_before_delete(&self, authority: impl Authority, reason: &'static str) -> Result<()> {
        let canceled = record::change(self, authority, Reads::STATE, move |locked| {
            if locked.state().status.is_final() {
                return Ok(false);
            }
            locked.perform(Command::Cancel { reason: Some(reason.into()) })?;
            Ok(true)
        });
        let (job, is_canceled) = canceled.await?;
        if is_canceled {
            // Subscribers get this snapshot, because a later reading finds nothing.
            if let Some(end) = self.snapshot(job.id).await? {
                self.hub.publish(job.id, end);
            }
        }
        Ok(())
    }

    fn check_reason(&self, reason: Option<&str>) -> Result<()> {
        match self.limits.comment_problem(reason, "/reason") {
            Some(problem) => Err(Error::Invalid(vec![problem])),
            None => Ok(()),
        }
    }
}

/// Checks that the names of taxonomies stay the same: a job keeps the copy that it was created with.
fn check_taxonomies(job_type: &JobType, before: &Value, after: &Value) -> Result<()> {
    let taxonomy =
        |metadata: &Value, step: &str| metadata.get(step).and_then(|fields| fields.get("taxonomy")).cloned();
    let changed =
        job_type.taxonomies().filter(|(step, _)| taxonomy(before, &step.name) != taxonomy(after, &step.name));
    let problems: Vec<_> = changed
        .map(|(step, _)| {
            let path = format!("/metadata/{}/taxonomy", escape(&step.name));
            Problem::new(path, "NOT_ALLOWED", "The taxonomy of a job cannot be changed.")
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

#[cfg(test)]
mod tests {
    use sea_orm::EntityTrait;
    use serde_json::json;

    use super::*;
    use crate::access::{self, Actor};
    use crate::app::App;
    use crate::app::tests::{actor, new_job, open, upload};
    use crate::collaboration;
    use crate::config::Switch;
    use crate::entity::document;
    use crate::job::collaborator::PrincipalRef;
    use crate::job::queue::{Output, OutputDocument, StepResult};
    use crate::job::state::Mode;

    #[test]
    fn taxonomy_of_a_job_cannot_be_changed() {
        let step = json!({"name": "mapping", "title": "", "kind": "AUTOMATIC", "contentRoles": ["mapping-taxonomy-json"],
            "maxAttempts": 1, "timeoutSeconds": 1, "fourEyes": false});
        let job_type = json!({"id": "t", "name": "", "description": "", "accepts": [], "steps": [step], "metadataSchema": {}});
        let job_type: JobType = serde_json::from_value(job_type).unwrap();
        let with =
            |taxonomy: Value| json!({"mapping": {"taxonomy": taxonomy, "threshold": 1}, "own": taxonomy});
        let before = with("x".into());
        assert_eq!(check_taxonomies(&job_type, &before, &json!({"mapping": {"taxonomy": "x"}})), Ok(()));
        for after in [with("y".into()), json!({"own": "x"})] {
            let refused = check_taxonomies(&job_type, &before, &after);
            let Err(Error::Invalid(problems)) = refused else { panic!("{refused:?}") };
            assert_eq!((problems.len(), problems[0].path.as_str()), (1, "/metadata/mapping/taxonomy"));
        }
    }

    /// Two users, and a job of the first one.
    async fn two_users(app: &App) -> (Actor, Actor, JobId) {
        let (ada, bob) = (actor(app, "ada", Mode::Live).await, actor(app, "bob", Mode::Live).await);
        let input = upload(app, &ada, "x").await;
        let id = app.jobs.create(&ada, new_job("noop", &input)).await.unwrap().id;
        (ada, bob, id)
    }

    #[tokio::test]
    async fn collaborator_removed_before_the_lock_changes_nothing() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let (ada, bob, id) = two_users(&app).await;
        let db = app.db.read();
        let share = access::job::<access::Share>(db, &ada, id).await.unwrap();
        let collaborator = PrincipalRef::UserId(bob.user.id.to_string());
        collaboration::share(&app.jobs, &share, &collaborator, &["*".to_owned()]).await.unwrap();
        let (edit, cancel) = (
            access::job::<Edit>(db, &bob, id).await.unwrap(),
            access::job::<Cancel>(db, &bob, id).await.unwrap(),
        );
        collaboration::revoke(&app.jobs, &share, &collaborator).await.unwrap();
        let refused =
            |outcome: Result<job::Model>| assert!(matches!(outcome, Err(Error::NotFound(_))), "{outcome:?}");
        let changes = JobUpdate { priority: Some(5), ..JobUpdate::default() };
        refused(app.jobs.update(&edit, changes).await);
        refused(app.jobs.cancel(&cancel, None).await);
        refused(app.jobs.rewind(&cancel, Some("first".into()), None).await);
        assert_eq!(
            app.jobs.snapshot(id).await.unwrap().unwrap().job.status,
            crate::job::state::Status::Queued
        );
    }

    #[tokio::test]
    async fn used_output_of_a_deleted_job_goes_to_its_user() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let (ada, bob, id) = two_users(&app).await;
        let claim = app.jobs.claim_steps("w", &["noop".to_owned()], 1, 30).await.unwrap().remove(0);
        let bytes = bytes::Bytes::from_static(b"x");
        let stored = app.jobs.storage.put_bytes("output".into(), bytes).await.unwrap();
        let document = OutputDocument::New { name: "x".into(), media_type: "text/plain".into(), stored };
        let outputs = vec![Output { role: "output".into(), document }];
        let result = StepResult { outputs, ..StepResult::default() };
        app.jobs.complete_step(claim.holder(), result).await.unwrap();
        let (_, output) = app.jobs.current_content(id, "output").await.unwrap().unwrap();
        let grant = access::job::<access::Share>(app.db.read(), &ada, id).await.unwrap();
        let collaborator = PrincipalRef::UserId(bob.user.id.to_string());
        collaboration::share(&app.jobs, &grant, &collaborator, &["*".to_owned()]).await.unwrap();
        let heir = app.jobs.create(&bob, new_job("noop", &output)).await.unwrap();

        let grant = access::job::<Delete>(app.db.read(), &ada, id).await.unwrap();
        app.jobs.delete(&grant).await.unwrap();
        let kept = document::Entity::find_by_id(output.id).one(app.db.read()).await.unwrap().unwrap();
        assert_eq!((kept.job_id, kept.owner_id), (Some(heir.id), bob.user.id));
        assert_eq!(app.jobs.storage.read(&kept.storage_key, 9).await.unwrap(), b"x");
        let grant = access::job::<Delete>(app.db.read(), &bob, heir.id).await.unwrap();
        app.jobs.delete(&grant).await.unwrap();
        assert!(document::Entity::find_by_id(output.id).one(app.db.read()).await.unwrap().is_none());
    }
}
