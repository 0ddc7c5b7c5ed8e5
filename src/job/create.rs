//! Making a job: everything that can be wrong is found at once, and it is acknowledged when its rows are committed.

use bytes::Bytes;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, Set, SqlErr};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::contents::Origin;
use super::decide::Command;
use super::record::{EventKind, Locked, Saved};
use super::request::{NewJob, Prepared, Source, refuse, too_many_contents};
use super::state::State;
use super::{Jobs, contents};
use crate::access::Actor;
use crate::access::policy::ALL_STEPS;
use crate::audit::{self, Event};
use crate::db::{self, Work};
use crate::entity::enums::{PrincipalKind, Status};
use crate::entity::{access, document, job, taxonomy as taxonomies};
use crate::error::{Error, Problem, Result};
use crate::id::{DocumentId, JobId};
use crate::job_type::{INPUT, metadata};

impl Jobs {
    /// Everything that [`Jobs::create`] would object to.
    pub async fn validate(&self, actor: &Actor, new: &NewJob) -> Result<Vec<Problem>> {
        Ok(self.prepare(actor, new).await?.err().unwrap_or_default())
    }

    /// Makes a job and puts its first step into the queue.
    pub async fn create(&self, actor: &Actor, new: NewJob) -> Result<job::Model> {
        if let Some(problem) = too_many_contents(&new) {
            return Err(Error::Invalid(vec![problem]));
        }
        let hash = self.input_hash(actor, &new).await?;
        if let Some(there) = self.by_key(actor, &new, &hash).await? {
            return Ok(there);
        }
        let prepared = self.prepare(actor, &new).await?.map_err(refuse)?;
        let id = JobId::new();
        let taxonomy = match &prepared.taxonomy {
            Some((role, taxonomy)) => {
                Some((role.clone(), self.keep_taxonomy(actor, id, role, taxonomy).await?))
            }
            None => None,
        };
        let key = taxonomy.as_ref().map(|(_, document)| document.storage_key.clone());
        let let_in: Vec<_> = prepared.collaborators.iter().map(|(who, _)| who.id).collect();
        match self.insert(actor, id, &new, prepared, taxonomy, hash.clone()).await {
            Ok(saved) => {
                for who in let_in {
                    audit::between(Event::CollaboratorAdded, actor.into(), who, id);
                }
                Ok(self.announce(saved))
            }
            Err(error) => {
                if let Some(key) = key.filter(|_| error.nothing_written()) {
                    self.documents.discard(&key).await;
                }
                // Somebody was faster with the same key: theirs is the job.
                match self.by_key(actor, &new, &hash).await? {
                    Some(there) => Ok(there),
                    None => Err(error),
                }
            }
        }
    }

    /// What makes two requests the same: the mode, since a job that is for real is no other's answer, and everything that
    /// was asked for. Documents count by their bytes and names, since a client that tries again may
    /// have uploaded them again.
    async fn input_hash(&self, actor: &Actor, new: &NewJob) -> Result<String> {
        if new.idempotency_key.is_none() {
            return Ok(String::new());
        }
        let mut request = serde_json::to_value(new).map_err(Error::internal)?;
        request["input"] = self.identity(actor, &new.input).await?;
        let mut contents = Vec::new();
        for (role, source) in &new.contents {
            contents.push(json!([role, self.identity(actor, source).await?]));
        }
        request["contents"] = Value::Array(contents);
        request["mode"] = json!(actor.mode);
        if let Ok(open) = metadata::open(&new.metadata, "/metadata") {
            request["metadata"] = Value::Object(open);
        }
        Ok(hex::encode(Sha256::digest(request.to_string())))
    }

    async fn identity(&self, actor: &Actor, source: &Source) -> Result<Value> {
        // What is wrong with it is said when the request is checked.
        let found = self.source(actor, source, "", &mut Vec::new()).await?;
        Ok(found.map_or_else(
            || json!(source),
            |document| json!([document.sha256, document.name, document.media_type]),
        ))
    }

    async fn by_key(&self, actor: &Actor, new: &NewJob, hash: &str) -> Result<Option<job::Model>> {
        let Some(key) = &new.idempotency_key else { return Ok(None) };
        let mine = job::Entity::find().filter(job::Column::OwnerId.eq(actor.user.id));
        let there = mine.filter(job::Column::IdempotencyKey.eq(key)).one(self.db.read()).await?;
        match there {
            Some(job) if job.input_hash.as_deref() != Some(hash) => {
                Err(Error::conflict("This idempotency key was used for another job."))
            }
            there => Ok(there),
        }
    }

    async fn keep_taxonomy(
        &self,
        actor: &Actor,
        job: JobId,
        role: &str,
        taxonomy: &taxonomies::Model,
    ) -> Result<document::Model> {
        let id = DocumentId::new();
        let bytes = Bytes::from(taxonomy.definition.to_string());
        let stored = self.storage.put_bytes(format!("jobs/{job}/{role}/{id}"), bytes).await?;
        Ok(document::Model {
            id,
            name: "taxonomy.json".into(),
            media_type: "application/json".into(),
            size: i64::try_from(stored.size).map_err(Error::internal)?,
            sha256: stored.sha256,
            storage_key: stored.key,
            owner_id: actor.user.id,
            job_id: Some(job),
            mode: actor.mode,
            created_at: self.clock.now(),
        })
    }

    async fn insert(
        &self,
        actor: &Actor,
        id: JobId,
        new: &NewJob,
        prepared: Prepared,
        taxonomy: Option<(String, document::Model)>,
        hash: String,
    ) -> Result<Saved> {
        let (owner, mode, clock) = (actor.user.id, actor.mode, self.clock.clone());
        let steps = prepared.job_type.fresh_steps();
        let mut row = job::Model {
            id,
            type_id: prepared.job_type.id.clone(),
            type_version: prepared.job_type.version,
            owner_id: owner,
            status: Status::Queued,
            mode,
            metadata: prepared.metadata.clone(),
            priority: new.priority,
            seq: 0,
            fence: 0,
            steps: serde_json::to_value(&steps).map_err(Error::internal)?,
            failure: None,
            idempotency_key: new.idempotency_key.clone(),
            input_hash: new.idempotency_key.as_ref().map(|_| hash),
            input_name: prepared.input.name.to_lowercase(),
            created_at: clock.now(),
            updated_at: clock.now(),
            started_at: None,
            finished_at: None,
            timing: None,
        };
        self.db
            .write(move |tx| -> Work<'_, Saved> {
                Box::pin(async move {
                    use sea_orm::IntoActiveModel;
                    let now = db::now(tx, &clock).await?;
                    (row.created_at, row.updated_at) = (now, now);
                    let row = row.into_active_model().reset_all().insert(tx).await.map_err(taken)?;
                    let grant = |principal: Uuid, kind: PrincipalKind, steps: Value| access::ActiveModel {
                        job_id: Set(id),
                        principal_id: Set(principal),
                        kind: Set(kind),
                        steps: Set(steps),
                        created_at: Set(now),
                        updated_at: Set(now),
                    };
                    let let_in = prepared.collaborators.iter();
                    let let_in = let_in.map(|(who, steps)| grant(who.id, who.kind, json!(steps)));
                    let owners = grant(owner.0, PrincipalKind::Owner, json!([ALL_STEPS]));
                    access::Entity::insert_many(std::iter::once(owners).chain(let_in)).exec(tx).await?;
                    let mut locked = Locked::fresh(row, State::new(owner, mode, steps, now), now);
                    let created = json!({
                        "type": prepared.job_type.id, "version": prepared.job_type.version, "mode": mode,
                        "metadata": prepared.metadata, "priority": locked.row().priority,
                    });
                    locked.record(EventKind::Created, None, Some(owner), created);
                    for (who, steps) in &prepared.collaborators {
                        let mut data = who.change("ADDED");
                        data["steps"] = json!(steps);
                        locked.record(EventKind::CollaborationChanged, None, Some(owner), data);
                    }
                    contents::add(tx, &mut locked, INPUT, &prepared.input, Origin::Given(None), Some(owner))
                        .await?;
                    if let Some((role, document)) = taxonomy {
                        let document = document.into_active_model().reset_all().insert(tx).await?;
                        let step =
                            prepared.job_type.steps_of_role(&role).next().map(|step| step.name.clone());
                        let origin = Origin::Given(step.as_deref());
                        contents::add(tx, &mut locked, &role, &document, origin, Some(owner)).await?;
                    }
                    for (role, document) in &prepared.contents {
                        let step = prepared.job_type.steps_of_role(role).next().map(|step| step.name.clone());
                        let origin = Origin::Given(step.as_deref());
                        contents::add(tx, &mut locked, role, document, origin, Some(owner)).await?;
                    }
                    locked.perform(Command::Start, None)?;
                    locked.save(tx).await
                })
            })
            .await
    }
}

fn taken(error: sea_orm::DbErr) -> Error {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => {
            Error::conflict("This idempotency key was used at the same time.")
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{actor, new_job, open, upload};
    use crate::config::Switch;
    use crate::job::state::Mode;
    use crate::job_type::{DATA_POINT_EXTRACTION, NOOP};

    #[tokio::test]
    async fn a_job_for_trying_out_is_no_answer_to_one_that_is_for_real() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let test = actor(&app, "ada", Mode::Test).await;
        let live = Actor { mode: Mode::Live, ..test.clone() };
        let input = upload(&app, &test, "a").await;
        let new = NewJob { idempotency_key: Some("k".into()), ..new_job(NOOP, &input) };
        let made = app.jobs.create(&test, new.clone()).await.unwrap();
        assert_eq!(app.jobs.create(&test, new.clone()).await.unwrap().id, made.id);
        assert!(matches!(app.jobs.create(&live, new).await, Err(Error::Conflict { .. })));
    }

    #[tokio::test]
    async fn contents_are_given_once_and_not_in_place_of_what_the_server_makes() {
        let (app, _dir) = open(|_| ()).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let input = upload(&app, &ada, "a").await;
        let given = |roles: &[&str]| NewJob {
            contents: roles
                .iter()
                .map(|role| ((*role).to_owned(), Source::Document(input.id.to_string())))
                .collect(),
            ..new_job(DATA_POINT_EXTRACTION, &input)
        };
        let said = |new| {
            let (app, ada) = (app.clone(), ada.clone());
            async move {
                let problems = app.jobs.validate(&ada, &new).await.unwrap();
                let about = |problem: Problem| {
                    problem.path.starts_with("/contents").then_some((problem.path, problem.code))
                };
                problems.into_iter().filter_map(about).collect::<Vec<_>>()
            }
        };
        let one = |path: &str, code: &str| vec![(path.to_owned(), code.to_owned())];
        assert_eq!(said(given(&["text-json", "zoning-json"])).await, []);
        assert_eq!(said(given(&["input"])).await, one("/contents/0/role", "UNKNOWN_ROLE"));
        assert_eq!(said(given(&["output"])).await, one("/contents/0/role", "NOT_ALLOWED"));
        assert_eq!(said(given(&["mapping-taxonomy-json"])).await, one("/contents/0/role", "NOT_ALLOWED"));
        assert_eq!(said(given(&["text-json", "text-json"])).await, one("/contents/1/role", "DUPLICATE"));
        assert_eq!(said(given(&["text-json"; 101])).await, one("/contents", "TOO_MANY"));
    }
}
