//! Making a job: everything that can be wrong is found at once, and it is acknowledged when its rows are committed.

use bytes::Bytes;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Jobs;
use super::contents::Origin;
use super::decide::Command;
use super::record::{self, EventKind, LockedJob};
use super::request::{NewJob, Prepared, Source, refuse, too_many_contents};
use crate::access::Actor;
use crate::audit::{self, Event};
use crate::entity::enums::Status;
use crate::entity::{document, job, taxonomy as taxonomies};
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
                Some((role.clone(), self.store_taxonomy(actor, id, role, taxonomy).await?))
            }
            None => None,
        };
        let key = taxonomy.as_ref().map(|(_, document)| document.storage_key.clone());
        let collaborators: Vec<_> = prepared.collaborators.iter().map(|(who, _)| who.id).collect();
        match self.insert(actor, id, &new, prepared, taxonomy, hash.clone()).await {
            Ok(job) => {
                for collaborator in collaborators {
                    audit::record_access_change(Event::CollaboratorAdded, actor.into(), collaborator, id);
                }
                Ok(job)
            }
            Err(error) => {
                if let Some(key) = key.filter(|_| error.is_rolled_back()) {
                    self.documents.discard(&key).await;
                }
                // Another request with the same key may have created the job.
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
        if let Ok(open) = metadata::expand_keys(&new.metadata, "/metadata") {
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

    async fn store_taxonomy(
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
    ) -> Result<job::Model> {
        let Prepared { job_type, metadata, input, contents, collaborators, .. } = prepared;
        let steps = job_type.fresh_steps();
        let row = job::Model {
            id,
            type_id: job_type.id.clone(),
            type_version: job_type.version,
            owner_id: actor.user.id,
            status: Status::Queued,
            mode: actor.mode,
            metadata,
            priority: new.priority,
            seq: 0,
            fence: 0,
            steps: Value::Null,
            failure: None,
            idempotency_key: new.idempotency_key.clone(),
            input_hash: new.idempotency_key.as_ref().map(|_| hash),
            input_name: input.name.to_lowercase(),
            created_at: self.clock.now(),
            updated_at: self.clock.now(),
            started_at: None,
            finished_at: None,
            timing: None,
        };
        let create = move |job: &mut LockedJob| {
            let row = job.row();
            let created = json!({
                "type": row.type_id, "version": row.type_version, "mode": row.mode, "metadata": row.metadata,
                "priority": row.priority,
            });
            job.record(EventKind::Created, None, created);
            for (principal, steps) in &collaborators {
                job.add_first_collaborator(principal, steps);
            }
            job.add_content(INPUT, &input, Origin::Given(None))?;
            if let Some((_, document)) = &taxonomy {
                job.add_document(document.clone());
            }
            for (role, document) in taxonomy.iter().chain(&contents) {
                let step = job_type.steps_of_role(role).next().map(|step| step.name.as_str());
                job.add_content(role, document, Origin::Given(step))?;
            }
            Ok(job.perform_as_server(Command::Start)?)
        };
        record::create(self, row, steps, create).await
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
