//! Steering a job: its metadata and priority, cancelling, running again, removing.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, SqlErr};
use serde_json::{Map, Value, json};

use super::decide::Command;
use super::record::{EventKind, Locked, Saved};
use super::{Jobs, gone};
use crate::access::{Cancel, Delete, Edit, Grant, Permission};
use crate::db::Work;
use crate::entity::{content, document, job};
use crate::error::{Error, Problem, Result};
use crate::id::{JobId, UserId};
use crate::job_type::{JobType, metadata};
use crate::json::escape;

/// What an owner may change of a job.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// JSON Merge Patch (RFC 7396) on the metadata.
    pub metadata: Option<Map<String, Value>>,
    /// Runs before those with a lower one.
    pub priority: Option<i32>,
}

/// [`Changes`] that somebody may make.
#[derive(Debug)]
pub struct Edits {
    changes: Changes,
    job_type: Arc<JobType>,
    /// Bytes of metadata.
    largest: usize,
    /// The sequence of the job's last event, where it may have none since.
    seen: Option<i64>,
}

impl Edits {
    /// The same, only where the job has no event after this one.
    pub fn only_after(self, sequence: i64) -> Self {
        Self { seen: Some(sequence), ..self }
    }

    /// Makes them to a job, under its lock.
    pub(crate) fn apply(self, locked: &mut Locked, actor: UserId) -> Result<()> {
        if self.seen.is_some_and(|seen| seen != locked.row().seq) {
            return Err(Error::conflict("The job has changed since it was seen. Look again."));
        }
        if let Some(priority) = self.changes.priority.filter(|new| *new != locked.row().priority) {
            let data = json!({"priority": {"from": locked.row().priority, "to": priority}});
            locked.row_mut().priority = priority;
            locked.record(EventKind::MetadataChanged, None, Some(actor), data);
        }
        let Some(patch) = self.changes.metadata else { return Ok(()) };
        let mut patched = locked.row().metadata.clone();
        let patch = Value::Object(metadata::open(&patch, "/metadata").map_err(Error::Invalid)?);
        json_patch::merge(&mut patched, &patch);
        let patched = patched.as_object().cloned().unwrap_or_default();
        let patched = metadata::normalize(&self.job_type.metadata_schema, &patched, "/metadata");
        let patched = Value::Object(patched.map_err(Error::Invalid)?);
        super::request::metadata_size(&patched, self.largest)?;
        same_taxonomies(&self.job_type, &locked.row().metadata, &patched)?;
        if patched != locked.row().metadata {
            let data = json!({"patch": patch, "metadata": patched});
            locked.row_mut().metadata = patched;
            locked.record(EventKind::MetadataChanged, None, Some(actor), data);
        }
        Ok(())
    }
}

/// How often it is tried to remove a job that others open again.
const REMOVALS: usize = 10;

/// How far priorities go, both ways.
pub const HIGHEST_PRIORITY: i32 = 1_000;

impl Jobs {
    /// Changes metadata and priority; what results is checked against the type's schema.
    pub async fn update(&self, grant: &Grant<Edit>, changes: Changes) -> Result<job::Model> {
        let edits = self.edits(grant, changes).await?;
        self.edit(grant, edits).await
    }

    /// Makes changes that were checked.
    pub async fn edit(&self, grant: &Grant<Edit>, edits: Edits) -> Result<job::Model> {
        let actor = grant.actor().user.id;
        self.change(grant, move |locked| edits.apply(locked, actor)).await
    }

    /// Changes that are checked as far as they can be without the job's lock.
    pub async fn edits(&self, grant: &Grant<Edit>, changes: Changes) -> Result<Edits> {
        let before = grant.job();
        let job_type = self.types.version(&before.type_id, before.type_version).await?;
        match changes.priority.and_then(super::request::priority_problem) {
            Some(problem) => Err(Error::Invalid(vec![problem])),
            None => Ok(Edits { changes, job_type, largest: self.limits.metadata_bytes, seen: None }),
        }
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
    /// superseded, not lost. Without a step it goes one step back, and a job that has ended to the last step that it has
    /// reached.
    pub async fn rewind(
        &self,
        grant: &Grant<Cancel>,
        to_step: Option<String>,
        reason: Option<String>,
    ) -> Result<job::Model> {
        self.check_reason(reason.as_deref())?;
        let (id, clock, actor) = (grant.job().id, self.clock.clone(), grant.actor().user.id);
        let grant = grant.clone();
        let saved = self.db.write(move |tx| -> Work<'_, Saved> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
                grant.still_holds(tx, locked.row()).await?;
                let to = match &to_step {
                    Some(step) => locked.step_index(step)?,
                    None => locked.state().step_back(),
                };
                locked.perform(Command::Rewind { to, reason }, Some(actor))?;
                locked.supersede_from(tx, to).await?;
                locked.save(tx).await
            })
        });
        Ok(self.announce(saved.await?))
    }

    /// Removes a job with everything that its steps made; one that is not final is cancelled first, and whoever watches it
    /// sees its end. What another job uses of it goes to that one.
    pub async fn delete(&self, grant: &Grant<Delete>) -> Result<()> {
        let reason = "The job was deleted.";
        self.remove(grant.job().id, Some(grant.actor().user.id), reason).await
    }

    /// [`Jobs::delete`] for whoever needs no grant; `reason` is what those who watch a job see it cancelled for.
    pub(super) async fn remove(&self, id: JobId, actor: Option<UserId>, reason: &'static str) -> Result<()> {
        // Somebody may open it again in between; whoever removes it means it.
        for _ in 0..REMOVALS {
            self.end(id, actor, reason).await?;
            if let Some(keys) = self.remove_ended(id).await? {
                for key in keys {
                    self.documents.discard(&key).await;
                }
                return Ok(());
            }
        }
        Err(Error::conflict("The job was opened again each time. Try again."))
    }

    /// Cancels a job that is not final; whoever watches it sees that.
    async fn end(&self, id: JobId, actor: Option<UserId>, reason: &'static str) -> Result<()> {
        let clock = self.clock.clone();
        let cancelled = self.db.write(move |tx| {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
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
        Ok(())
    }

    /// Removes the rows of a job that has ended, and returns the keys of bytes that nobody needs any more; `None` where it
    /// was opened again meanwhile.
    async fn remove_ended(&self, id: JobId) -> Result<Option<Vec<String>>> {
        let clock = self.clock.clone();
        let removed = self.db.write(move |tx| {
            Box::pin(async move {
                let locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
                if !locked.state().status.is_final() {
                    return Ok(None);
                }
                hand_over(tx, id).await?;
                let made = document::Entity::find().filter(document::Column::JobId.eq(id)).all(tx).await?;
                let keys: Vec<String> = made.into_iter().map(|document| document.storage_key).collect();
                // Contents hold on to their documents, so they go first; the rest goes with the job's row.
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

    fn check_reason(&self, reason: Option<&str>) -> Result<()> {
        match self.limits.comment_problem(reason, "/reason") {
            Some(problem) => Err(Error::Invalid(vec![problem])),
            None => Ok(()),
        }
    }

    /// Locks a granted job, changes it, saves it, and hints at the change.
    async fn change<A: Permission + Clone + Send + Sync + 'static>(
        &self,
        grant: &Grant<A>,
        change: impl FnOnce(&mut Locked) -> Result<()> + Send + 'static,
    ) -> Result<job::Model> {
        let (id, clock, grant) = (grant.job().id, self.clock.clone(), grant.clone());
        let saved = self.db.write(move |tx| -> Work<'_, Saved> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
                grant.still_holds(tx, locked.row()).await?;
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
            let path = format!("/metadata/{}/taxonomy", escape(&step.name));
            Problem::new(path, "NOT_ALLOWED", "A job keeps the taxonomy that it was made with.")
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

fn in_use() -> Error {
    Error::conflict("A job was made of something that this one made, just now. Try again.")
}

/// Gives the documents that a job's steps made, and that are contents of other jobs, to one of these: whoever may read a
/// document can make a job of it, and would keep its owner from removing theirs.
async fn hand_over(tx: &impl ConnectionTrait, id: JobId) -> Result<()> {
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
    // The first that uses it, since later ones come earlier here.
    let heirs: HashMap<_, _> =
        uses.all(tx).await?.into_iter().filter_map(|(use_, job)| Some((use_.document_id, job?))).collect();
    for (document, heir) in heirs {
        let give = document::Entity::update_many()
            .col_expr(document::Column::JobId, Expr::value(heir.id))
            .col_expr(document::Column::OwnerId, Expr::value(heir.owner_id));
        give.filter(document::Column::Id.eq(document)).exec(tx).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{self, Actor};
    use crate::app::App;
    use crate::app::tests::{actor, new_job, open, upload};
    use crate::collaboration;
    use crate::config::Switch;
    use crate::job::collaborator::PrincipalRef;
    use crate::job::state::Mode;

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

    /// Two who work with one application, and a job that the first one made.
    async fn two(app: &App) -> (Actor, Actor, JobId) {
        let (ada, bob) = (actor(app, "ada", Mode::Live).await, actor(app, "bob", Mode::Live).await);
        let input = upload(app, &ada, "x").await;
        let id = app.jobs.create(&ada, new_job("noop", &input)).await.unwrap().id;
        (ada, bob, id)
    }

    #[tokio::test]
    async fn whoever_is_let_out_between_the_look_and_the_lock_changes_nothing() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let (ada, bob, id) = two(&app).await;
        let db = app.db.read();
        let share = access::job::<access::Share>(db, &ada, id).await.unwrap();
        let who = PrincipalRef::UserId(bob.user.id.to_string());
        collaboration::share(&app.jobs, &share, &who, &["*".to_owned()]).await.unwrap();
        let (edit, cancel) = (
            access::job::<Edit>(db, &bob, id).await.unwrap(),
            access::job::<Cancel>(db, &bob, id).await.unwrap(),
        );
        collaboration::revoke(&app.jobs, &share, &who).await.unwrap();
        let refused =
            |outcome: Result<job::Model>| assert!(matches!(outcome, Err(Error::NotFound(_))), "{outcome:?}");
        let changes = Changes { priority: Some(5), ..Changes::default() };
        refused(app.jobs.update(&edit, changes).await);
        refused(app.jobs.cancel(&cancel, None).await);
        refused(app.jobs.rewind(&cancel, Some("first".into()), None).await);
        assert_eq!(
            app.jobs.snapshot(id).await.unwrap().unwrap().job.status,
            crate::job::state::Status::Queued
        );
    }

    #[tokio::test]
    async fn what_another_job_was_made_of_goes_to_that_one() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let (ada, bob, id) = two(&app).await;
        let claim = app.jobs.claim("w", &["noop".to_owned()], 1, 30).await.unwrap().remove(0);
        let made = app.jobs.storage.put_bytes("made".into(), bytes::Bytes::from_static(b"x")).await.unwrap();
        let made = crate::engine::Made {
            role: "output".into(),
            name: "x".into(),
            media_type: "text/plain".into(),
            stored: made,
        };
        let results = crate::engine::Results { made: vec![made], ..Default::default() };
        app.jobs.complete(&claim, results).await.unwrap();
        let (_, output) = app.jobs.current(id, "output").await.unwrap().unwrap();
        let grant = access::job::<access::Share>(app.db.read(), &ada, id).await.unwrap();
        let who = PrincipalRef::UserId(bob.user.id.to_string());
        collaboration::share(&app.jobs, &grant, &who, &["*".to_owned()]).await.unwrap();
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
