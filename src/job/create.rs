//! Making a job: everything that can be wrong is found at once, and it is acknowledged when its rows are committed.

use std::sync::Arc;

use bytes::Bytes;
use docket_extract::sniff;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, Set, SqlErr};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::collaborator::{Principal, PrincipalRef, normal_steps, principal_of, step_problems};
use super::contents::Origin;
use super::decide::Command;
use super::record::{EventKind, Locked, Saved, name};
use super::state::State;
use super::{Jobs, contents};
use crate::access::Actor;
use crate::access::policy::ALL_STEPS;
use crate::audit::{self, Event};
use crate::db::{self, Work};
use crate::entity::{access, document, job, taxonomy as taxonomies};
use crate::error::{Error, Problem, Result};
use crate::id::{DocumentId, JobId, UserId};
use crate::job_type::{INPUT, JobType, OUTPUT, metadata};
use crate::storage::HEAD_BYTES;
use crate::taxonomy;

/// A document of this server, as clients name it.
#[derive(Debug, Clone, Serialize)]
pub enum Source {
    /// By ID.
    Document(String),
    /// By its link.
    Uri(String),
}

/// What a client asks for.
#[derive(Debug, Clone, Serialize)]
pub struct NewJob {
    /// Job type.
    pub type_id: String,
    /// The input document.
    pub input: Source,
    /// Further contents by role.
    pub contents: Vec<(String, Source)>,
    /// As the client wrote it.
    pub metadata: Map<String, Value>,
    /// Who is let in, and to which steps.
    pub collaboration: Vec<(PrincipalRef, Vec<String>)>,
    /// Same key, same owner, same input: the same job.
    pub idempotency_key: Option<String>,
    /// Runs before those with a lower one.
    pub priority: i32,
}

/// A request in which nothing is wrong.
#[derive(Debug, Clone)]
struct Prepared {
    job_type: Arc<JobType>,
    metadata: Value,
    input: document::Model,
    contents: Vec<(String, document::Model)>,
    taxonomy: Option<(String, taxonomies::Model)>,
    /// Who is let in, and to which steps.
    collaborators: Vec<(Principal, Vec<String>)>,
}

/// Further contents of one request: each role may be given once, and no type is near having so many.
const MOST_CONTENTS: usize = 100;
/// Characters of an idempotency key.
const LONGEST_KEY: usize = 200;

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
            mode: name(actor.mode),
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
            status: "QUEUED".into(),
            mode: name(mode),
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
                    let grant = |principal: Uuid, kind: &str, steps: Value| access::ActiveModel {
                        job_id: Set(id),
                        principal_id: Set(principal),
                        kind: Set(kind.to_owned()),
                        steps: Set(steps),
                        created_at: Set(now),
                        updated_at: Set(now),
                    };
                    let let_in = prepared.collaborators.iter();
                    let let_in = let_in.map(|(who, steps)| grant(who.id, who.kind, json!(steps)));
                    let owners = grant(owner.0, "OWNER", json!([ALL_STEPS]));
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

    async fn prepare(&self, actor: &Actor, new: &NewJob) -> Result<Result<Prepared, Vec<Problem>>> {
        let Some(job_type) = self.types.newest(&new.type_id).await? else {
            let known: Vec<_> = self.types.list().await?.iter().map(|t| t.id.clone()).collect();
            let message = format!("There is no job type {:?}; there are: {}.", new.type_id, known.join(", "));
            return Ok(Err(vec![Problem::new("/type", "UNKNOWN_TYPE", message)]));
        };
        if let Some(problem) = too_many_contents(new) {
            return Ok(Err(vec![problem]));
        }
        let mut problems = Vec::new();
        problems.extend(priority_problem(new.priority));
        if new.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.chars().count() > LONGEST_KEY)
        {
            let message = format!("An idempotency key has 1 to {LONGEST_KEY} characters.");
            problems.push(Problem::new("/idempotencyKey", "LENGTH", message));
        }
        let input = self.source(actor, &new.input, "/input", &mut problems).await?;
        if let Some(input) = &input {
            problems.extend(self.type_problem(&job_type, input).await?);
        }
        let mut contents = Vec::new();
        for (i, (role, source)) in new.contents.iter().enumerate() {
            let earlier = new.contents[..i].iter().map(|(role, _)| role.as_str());
            problems.extend(role_problem(&job_type, role, earlier, &format!("/contents/{i}/role")));
            let found = self.source(actor, source, &format!("/contents/{i}/source"), &mut problems).await?;
            contents.extend(found.map(|document| (role.clone(), document)));
        }
        let metadata = match metadata::normalize(&job_type.metadata_schema, &new.metadata, "/metadata") {
            Ok(metadata) => Some(Value::Object(metadata)),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        if let Some(Err(Error::Invalid(found))) =
            metadata.as_ref().map(|m| metadata_size(m, self.limits.metadata_bytes))
        {
            problems.extend(found);
        }
        let taxonomy = match &metadata {
            Some(metadata) => self.taxonomy_of(&job_type, metadata, &mut problems).await?,
            // What else is wrong with it keeps nobody from hearing that its taxonomy is not there.
            None => match metadata::open(&new.metadata, "/metadata") {
                Ok(open) => self.taxonomy_of(&job_type, &Value::Object(open), &mut problems).await?,
                Err(_) => None,
            },
        };
        let collaborators =
            self.collaborators(actor.user.id, &job_type, &new.collaboration, &mut problems).await?;
        Ok(match (input, metadata) {
            (Some(input), Some(metadata)) if problems.is_empty() => {
                Ok(Prepared { job_type, metadata, input, contents, taxonomy, collaborators })
            }
            _ => Err(problems),
        })
    }

    /// A document that somebody may read; what is wrong with it goes to the problems.
    pub async fn source(
        &self,
        actor: &Actor,
        source: &Source,
        path: &str,
        problems: &mut Vec<Problem>,
    ) -> Result<Option<document::Model>> {
        let id = match source {
            Source::Document(id) => DocumentId::parse(id),
            Source::Uri(uri) => match self.documents.links().parse(uri) {
                Some(id) => Some(id),
                None => {
                    let message = "This is not the contentsUri of a document of this server.";
                    problems.push(Problem::new(format!("{path}/uri"), "FOREIGN_URI", message));
                    return Ok(None);
                }
            },
        };
        let found = match id {
            Some(id) => match self.document(actor, id).await {
                Err(Error::NotFound(_)) => None,
                found => Some(found?),
            },
            None => None,
        };
        if found.is_none() {
            problems.push(Problem::new(path, "NOT_FOUND", "There is no such document."));
        }
        Ok(found)
    }

    async fn type_problem(&self, job_type: &JobType, input: &document::Model) -> Result<Option<Problem>> {
        if job_type.accepts.is_empty() {
            return Ok(None);
        }
        let size = u64::try_from(input.size).unwrap_or(0);
        let head = match size {
            0 => Vec::new(),
            _ => {
                use futures_util::TryStreamExt;
                let range = 0..size.min(HEAD_BYTES as u64);
                let chunks: Vec<Bytes> =
                    self.storage.get(&input.storage_key, Some(range)).await?.try_collect().await?;
                chunks.concat()
            }
        };
        let checked = sniff::check(&input.media_type, &job_type.accepts, &head);
        Ok(checked.err().map(|failure| Problem::new("/input", name(failure.code), failure.message)))
    }

    /// The taxonomy that the metadata names, with the role that it is kept in.
    async fn taxonomy_of(
        &self,
        job_type: &JobType,
        metadata: &Value,
        problems: &mut Vec<Problem>,
    ) -> Result<Option<(String, taxonomies::Model)>> {
        for (step, role) in job_type.taxonomies() {
            let named =
                metadata.get(&step.name).and_then(|fields| fields.get("taxonomy")).and_then(Value::as_str);
            let Some(named) = named else { continue };
            let found = taxonomy::by_name(self.db.read(), named).await?;
            if found.is_none() {
                let path = format!("/metadata/{}/taxonomy", metadata::escape(&step.name));
                problems.push(Problem::new(
                    path,
                    "UNKNOWN_TAXONOMY",
                    format!("There is no taxonomy {named:?}."),
                ));
            }
            return Ok(found.map(|taxonomy| (role, taxonomy)));
        }
        Ok(None)
    }

    /// The teams and users that are meant, each once with its steps, without the owner; what is wrong goes to the problems.
    pub(crate) async fn collaborators(
        &self,
        owner: UserId,
        job_type: &JobType,
        collaboration: &[(PrincipalRef, Vec<String>)],
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<(Principal, Vec<String>)>> {
        let mut found: Vec<(Principal, Vec<String>)> = Vec::new();
        if collaboration.len() > self.limits.collaborators {
            let message = format!("A job has {} collaborators at the most.", self.limits.collaborators);
            problems.push(Problem::new("/collaboration", "TOO_MANY", message));
            return Ok(found);
        }
        for (i, (principal, steps)) in collaboration.iter().enumerate() {
            problems.extend(step_problems(job_type, steps, &format!("/collaboration/{i}/steps")));
            match principal_of(self.db.read(), principal).await {
                // The owner has everything already; one row per collaborator, the last one said counts.
                Ok(Principal { id, .. }) if id == owner.0 => {}
                Ok(principal) => {
                    found.retain(|(there, _)| there.id != principal.id);
                    found.push((principal, normal_steps(steps)));
                }
                Err(Error::NotFound(message)) => {
                    problems.push(Problem::new(
                        format!("/collaboration/{i}/collaborator"),
                        "NOT_FOUND",
                        message,
                    ));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(found)
    }
}

pub(super) fn priority_problem(priority: i32) -> Option<Problem> {
    let most = super::control::HIGHEST_PRIORITY;
    (!(-most..=most).contains(&priority))
        .then(|| Problem::new("/priority", "RANGE", format!("A priority lies between -{most} and {most}.")))
}

fn too_many_contents(new: &NewJob) -> Option<Problem> {
    (new.contents.len() > MOST_CONTENTS).then(|| {
        let message = format!("A job is made with {MOST_CONTENTS} further contents at the most.");
        Problem::new("/contents", "TOO_MANY", message)
    })
}

/// What is wrong with the role of a further content: it is one of the type's, given once, and not one whose content the
/// server itself makes.
fn role_problem<'a>(
    job_type: &JobType,
    role: &str,
    mut earlier: impl Iterator<Item = &'a str>,
    path: &str,
) -> Option<Problem> {
    let roles = job_type.content_roles();
    let (code, message) = if role == INPUT || !roles.iter().any(|one| one == role) {
        ("UNKNOWN_ROLE", format!("Further contents have a role of the type: {}.", roles[1..].join(", ")))
    } else if role == OUTPUT {
        ("NOT_ALLOWED", "The output is made by the job's steps; it cannot be given.".to_owned())
    } else if job_type.taxonomies().any(|(_, kept)| kept == role) {
        ("NOT_ALLOWED", "The taxonomy is named in the metadata; it cannot be given as a content.".to_owned())
    } else if earlier.any(|one| one == role) {
        ("DUPLICATE", "Another content has this role.".to_owned())
    } else {
        return None;
    };
    Some(Problem::new(path, code, message))
}

pub(super) fn metadata_size(metadata: &Value, largest: usize) -> Result<()> {
    if metadata.to_string().len() <= largest {
        return Ok(());
    }
    Err(Error::invalid(
        "/metadata",
        "TOO_LARGE",
        format!("Metadata has {largest} bytes of JSON at the most."),
    ))
}

/// What cannot be found is NOT_FOUND, where nothing else is wrong.
pub(crate) fn refuse(problems: Vec<Problem>) -> Error {
    match problems.as_slice() {
        [first, ..] if problems.iter().all(|problem| problem.code == "NOT_FOUND") => {
            Error::NotFound(first.message.clone())
        }
        _ => Error::Invalid(problems),
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
    use crate::app::tests::{actor, open, upload};
    use crate::config::Switch;
    use crate::job::state::Mode;
    use crate::job_type::{DATA_POINT_EXTRACTION, NOOP};

    fn of(type_id: &str, input: &document::Model) -> NewJob {
        NewJob {
            type_id: type_id.into(),
            input: Source::Document(input.id.to_string()),
            contents: Vec::new(),
            metadata: Map::new(),
            collaboration: Vec::new(),
            idempotency_key: None,
            priority: 0,
        }
    }

    #[tokio::test]
    async fn a_job_for_trying_out_is_no_answer_to_one_that_is_for_real() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let test = actor(&app, "ada", Mode::Test).await;
        let live = Actor { mode: Mode::Live, ..test.clone() };
        let input = upload(&app, &test, "a").await;
        let new = NewJob { idempotency_key: Some("k".into()), ..of(NOOP, &input) };
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
            ..of(DATA_POINT_EXTRACTION, &input)
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
