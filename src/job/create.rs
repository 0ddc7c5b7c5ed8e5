//! Creating jobs. A request gets all of its problems at once. A job is acknowledged when its rows are committed.

use bytes::Bytes;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Jobs;
use super::contents::Origin;
use super::decide::Command;
use super::record::{self, EventKind, LockedJob};
use super::request::{NewJob, Prepared, Source, refuse, too_many_contents};
use super::state::{Step, StepStatus};
use crate::access::Actor;
use crate::audit::{self, AuditEvent};
use crate::entity::enums::Status;
use crate::entity::{document, job, taxonomy as taxonomies};
use crate::error::{Error, Problem, Result};
use crate::id::{DocumentId, JobId};
use crate::job_type::{INPUT, StepDefinition, metadata};

impl Jobs {
    /// Returns the problems for which [`Jobs::create`] would refuse a request.
    pub async fn validate(&self, actor: &Actor, new: &NewJob) -> Result<Vec<Problem>> {
        Ok(self.prepare(actor, new).await?.err().unwrap_or_default())
    }

    /// Creates a job and queues its first step.
    pub async fn create(&self, actor: &Actor, new: NewJob) -> Result<job::Model> {
        if let Some(problem) = too_many_contents(&new) {
            return Err(Error::Invalid(vec![problem]));
        }
        let hash = self.input_hash(actor, &new).await?;
        if let Some(existing) = self.find_by_idempotency_key(actor, &new, &hash).await? {
            return Ok(existing);
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
        let collaborator_ids = prepared.collaborators.iter().map(|(principal, _)| principal.id);
        let collaborators: Vec<_> = collaborator_ids.collect();
        match self.insert(actor, id, &new, prepared, taxonomy, hash.clone()).await {
            Ok(job) => {
                for collaborator in collaborators {
                    audit::record_access_change(
                        AuditEvent::CollaboratorAdded,
                        actor.into(),
                        collaborator,
                        id,
                    );
                }
                Ok(job)
            }
            Err(error) => {
                if let Some(key) = key.filter(|_| error.is_rolled_back()) {
                    self.documents.discard(&key).await;
                }
                // Another request with the same key may have created the job.
                match self.find_by_idempotency_key(actor, &new, &hash).await? {
                    Some(existing) => Ok(existing),
                    None => Err(error),
                }
            }
        }
    }

    /// Returns the hash by which two requests are the same: of the mode and of the whole request. Documents count by
    /// their bytes, names and MIME types, because a client may upload them again before a retry.
    async fn input_hash(&self, actor: &Actor, new: &NewJob) -> Result<String> {
        if new.idempotency_key.is_none() {
            return Ok(String::new());
        }
        let mut request = serde_json::to_value(new).map_err(Error::internal)?;
        request["input"] = self.source_identity(actor, &new.input).await?;
        let mut contents = Vec::new();
        for (role, source) in &new.contents {
            contents.push(json!([role, self.source_identity(actor, source).await?]));
        }
        request["contents"] = Value::Array(contents);
        request["mode"] = json!(actor.mode);
        if let Ok(expanded) = metadata::expand_keys(&new.metadata, "/metadata") {
            request["metadata"] = Value::Object(expanded);
        }
        Ok(hex::encode(Sha256::digest(request.to_string())))
    }

    async fn source_identity(&self, actor: &Actor, source: &Source) -> Result<Value> {
        // The check of the request reports the problems of the source.
        let found = self.source(actor, source, "", &mut Vec::new()).await?;
        Ok(found.map_or_else(
            || json!(source),
            |document| json!([document.sha256, document.name, document.media_type]),
        ))
    }

    async fn find_by_idempotency_key(
        &self,
        actor: &Actor,
        new: &NewJob,
        hash: &str,
    ) -> Result<Option<job::Model>> {
        let Some(key) = &new.idempotency_key else { return Ok(None) };
        let own = job::Entity::find().filter(job::Column::OwnerId.eq(actor.user.id));
        let existing = own.filter(job::Column::IdempotencyKey.eq(key)).one(self.db.read()).await?;
        match existing {
            Some(job) if job.input_hash.as_deref() != Some(hash) => {
                Err(Error::conflict("This idempotency key was used for another request. Use a new key."))
            }
            existing => Ok(existing),
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
        let steps = job_type.steps.iter().map(pending_step).collect();
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

/// Returns a step of a new job.
pub fn pending_step(definition: &StepDefinition) -> Step {
    Step {
        name: definition.name.clone(),
        title: definition.title.clone(),
        kind: definition.kind,
        status: StepStatus::Pending,
        attempt: 0,
        max_attempts: definition.max_attempts,
        timeout_seconds: definition.timeout_seconds,
        fraction: 0.0,
        four_eyes: definition.four_eyes,
        comment: None,
        started_at: None,
        finished_at: None,
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
    async fn idempotency_key_of_test_job_conflicts_with_live_request() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let test = actor(&app, "ada", Mode::Test).await;
        let live = Actor { mode: Mode::Live, ..test.clone() };
        let input = upload(&app, &test, "a").await;
        let new = NewJob { idempotency_key: Some("k".into()), ..new_job(NOOP, &input) };
        let created = app.jobs.create(&test, new.clone()).await.unwrap();
        assert_eq!(app.jobs.create(&test, new.clone()).await.unwrap().id, created.id);
        assert!(matches!(app.jobs.create(&live, new).await, Err(Error::Conflict { .. })));
    }

    #[tokio::test]
    async fn contents_with_duplicate_or_reserved_roles_are_refused() {
        let (app, _dir) = open(|_| ()).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let input = upload(&app, &ada, "a").await;
        let with_roles = |roles: &[&str]| NewJob {
            contents: roles
                .iter()
                .map(|role| ((*role).to_owned(), Source::Document(input.id.to_string())))
                .collect(),
            ..new_job(DATA_POINT_EXTRACTION, &input)
        };
        let content_problems = |new| {
            let (app, ada) = (app.clone(), ada.clone());
            async move {
                let problems = app.jobs.validate(&ada, &new).await.unwrap();
                let of_contents = |problem: Problem| {
                    problem.path.starts_with("/contents").then_some((problem.path, problem.code))
                };
                problems.into_iter().filter_map(of_contents).collect::<Vec<_>>()
            }
        };
        let one = |path: &str, code: &str| vec![(path.to_owned(), code.to_owned())];
        for (roles, expected) in [
            (&["text-json", "zoning-json"][..], vec![]),
            (&["input"], one("/contents/0/role", "UNKNOWN_ROLE")),
            (&["output"], one("/contents/0/role", "NOT_ALLOWED")),
            (&["mapping-taxonomy-json"], one("/contents/0/role", "NOT_ALLOWED")),
            (&["text-json", "text-json"], one("/contents/1/role", "DUPLICATE")),
            (&["text-json"; 101], one("/contents", "TOO_MANY")),
        ] {
            assert_eq!(content_problems(with_roles(roles)).await, expected, "{roles:?}");
        }
    }
}
