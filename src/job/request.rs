//! Requests for new jobs, and the checks that find all of their problems at once.

use std::sync::Arc;

use bytes::Bytes;
use docket_extract::sniff;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Jobs;
use super::collaborator::{Principal, PrincipalRef, find_principal, normalize_steps, step_problems};
use crate::access::Actor;
use crate::entity::{document, taxonomy as taxonomies};
use crate::error::{Error, Problem, Result};
use crate::id::{DocumentId, UserId};
use crate::job_type::{INPUT, JobType, OUTPUT, metadata};
use crate::json::escape;
use crate::storage::HEAD_BYTES;
use crate::taxonomy;

/// A client's reference to a document of this server.
#[derive(Debug, Clone, Serialize)]
pub enum Source {
    /// The ID of the document.
    Document(String),
    /// The `contentsUri` of the document.
    Uri(String),
}

/// A client's request for a new job.
#[derive(Debug, Clone, Serialize)]
pub struct NewJob {
    /// The ID of the job type.
    pub type_id: String,
    /// The input document.
    pub input: Source,
    /// Further contents by role.
    pub contents: Vec<(String, Source)>,
    /// The metadata as the client sent it.
    pub metadata: Map<String, Value>,
    /// The collaborators and their steps.
    pub collaboration: Vec<(PrincipalRef, Vec<String>)>,
    /// A repeated request of the same owner with the same key returns the same job.
    pub idempotency_key: Option<String>,
    /// Steps of jobs with a higher priority run first.
    pub priority: i32,
}

/// A checked request.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) job_type: Arc<JobType>,
    pub(super) metadata: Value,
    pub(super) input: document::Model,
    pub(super) contents: Vec<(String, document::Model)>,
    pub(super) taxonomy: Option<(String, taxonomies::Model)>,
    /// The collaborators and their steps.
    pub(super) collaborators: Vec<(Principal, Vec<String>)>,
}

/// Maximum number of further contents in a request. Each role may be given once, and no job type has nearly as many
/// roles.
const MAX_CONTENTS: usize = 100;
/// Maximum length of an idempotency key, in characters.
const MAX_KEY_CHARS: usize = 200;

/// The highest priority. The lowest is its negative.
pub(crate) const MAX_PRIORITY: i32 = 1_000;

impl Jobs {
    /// Checks a request, and finds everything that it refers to. Returns all problems at once.
    pub(super) async fn prepare(
        &self,
        actor: &Actor,
        new: &NewJob,
    ) -> Result<Result<Prepared, Vec<Problem>>> {
        let Some(job_type) = self.types.newest(&new.type_id).await? else {
            let valid: Vec<_> = self.types.list().await?.iter().map(|t| t.id.clone()).collect();
            let message = format!("Unknown job type {:?}. Valid types: {}.", new.type_id, valid.join(", "));
            return Ok(Err(vec![Problem::new("/type", "UNKNOWN_TYPE", message)]));
        };
        if let Some(problem) = too_many_contents(new) {
            return Ok(Err(vec![problem]));
        }
        let mut problems = Vec::new();
        problems.extend(priority_problem(new.priority));
        let is_valid_key = |key: &String| (1..=MAX_KEY_CHARS).contains(&key.chars().count());
        if new.idempotency_key.as_ref().is_some_and(|key| !is_valid_key(key)) {
            let message = format!("An idempotency key has 1 to {MAX_KEY_CHARS} characters.");
            problems.push(Problem::new("/idempotencyKey", "LENGTH", message));
        }
        let input = self.source(actor, &new.input, "/input", &mut problems).await?;
        if let Some(input) = &input {
            problems.extend(self.media_type_problem(&job_type, input).await?);
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
            metadata.as_ref().map(|m| check_metadata_size(m, self.limits.metadata_bytes))
        {
            problems.extend(found);
        }
        let taxonomy = match &metadata {
            Some(metadata) => self.taxonomy_of(&job_type, metadata, &mut problems).await?,
            // An unknown taxonomy is reported together with the other problems of the metadata.
            None => match metadata::expand_keys(&new.metadata, "/metadata") {
                Ok(expanded) => self.taxonomy_of(&job_type, &Value::Object(expanded), &mut problems).await?,
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

    /// Finds a document that the actor may read. Otherwise adds a problem and returns `None`.
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
                    let message = "The URI is not the contentsUri of a document of this server.";
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

    async fn media_type_problem(
        &self,
        job_type: &JobType,
        input: &document::Model,
    ) -> Result<Option<Problem>> {
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
        let checked = sniff::check_media_type(&input.media_type, &job_type.accepts, &head);
        Ok(checked.err().map(|failure| Problem::new("/input", failure.code.as_str(), failure.message)))
    }

    /// Finds the taxonomy that the metadata names, with the role of its copy. Adds a problem if it does not exist.
    async fn taxonomy_of(
        &self,
        job_type: &JobType,
        metadata: &Value,
        problems: &mut Vec<Problem>,
    ) -> Result<Option<(String, taxonomies::Model)>> {
        for (step, role) in job_type.taxonomies() {
            let name =
                metadata.get(&step.name).and_then(|fields| fields.get("taxonomy")).and_then(Value::as_str);
            let Some(name) = name else { continue };
            let found = taxonomy::by_name(self.db.read(), name).await?;
            if found.is_none() {
                let path = format!("/metadata/{}/taxonomy", escape(&step.name));
                problems.push(Problem::new(
                    path,
                    "UNKNOWN_TAXONOMY",
                    format!("There is no taxonomy {name:?}."),
                ));
            }
            return Ok(found.map(|taxonomy| (role, taxonomy)));
        }
        Ok(None)
    }

    /// Finds the principals of a collaboration, each once with its steps, without the owner. Adds a problem for each
    /// wrong entry.
    pub(crate) async fn collaborators(
        &self,
        owner: UserId,
        job_type: &JobType,
        collaboration: &[(PrincipalRef, Vec<String>)],
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<(Principal, Vec<String>)>> {
        let mut found: Vec<(Principal, Vec<String>)> = Vec::new();
        if collaboration.len() > self.limits.collaborators {
            let message = format!("A job has at most {} collaborators.", self.limits.collaborators);
            problems.push(Problem::new("/collaboration", "TOO_MANY", message));
            return Ok(found);
        }
        for (i, (principal, steps)) in collaboration.iter().enumerate() {
            problems.extend(step_problems(job_type, steps, &format!("/collaboration/{i}/steps")));
            match find_principal(self.db.read(), principal).await {
                // The owner already has access to all steps. If a principal occurs twice, the last entry counts.
                Ok(Principal { id, .. }) if id == owner.0 => {}
                Ok(principal) => {
                    found.retain(|(existing, _)| existing.id != principal.id);
                    found.push((principal, normalize_steps(steps)));
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
    let max = MAX_PRIORITY;
    (!(-max..=max).contains(&priority))
        .then(|| Problem::new("/priority", "RANGE", format!("A priority is a number from -{max} to {max}.")))
}

pub(super) fn too_many_contents(new: &NewJob) -> Option<Problem> {
    (new.contents.len() > MAX_CONTENTS).then(|| {
        let message = format!("A request has at most {MAX_CONTENTS} further contents.");
        Problem::new("/contents", "TOO_MANY", message)
    })
}

/// Checks the role of a further content: the job type has it, it occurs once, and the server does not produce its
/// content.
fn role_problem<'a>(
    job_type: &JobType,
    role: &str,
    mut earlier: impl Iterator<Item = &'a str>,
    path: &str,
) -> Option<Problem> {
    let roles = job_type.content_roles();
    let (code, message) = if role == INPUT || !roles.iter().any(|one| one == role) {
        let (id, valid) = (&job_type.id, roles[1..].join(", "));
        ("UNKNOWN_ROLE", format!("Unknown role {role:?} for job type {id}. Valid roles: {valid}."))
    } else if role == OUTPUT {
        ("NOT_ALLOWED", "The steps of the job produce the output. Remove this content.".to_owned())
    } else if job_type.taxonomies().any(|(_, taxonomy_role)| taxonomy_role == role) {
        ("NOT_ALLOWED", "Name the taxonomy in the metadata instead of giving it as a content.".to_owned())
    } else if earlier.any(|one| one == role) {
        ("DUPLICATE", "Another content has this role.".to_owned())
    } else {
        return None;
    };
    Some(Problem::new(path, code, message))
}

pub(super) fn check_metadata_size(metadata: &Value, max_bytes: usize) -> Result<()> {
    if metadata.to_string().len() <= max_bytes {
        return Ok(());
    }
    let message = format!("The metadata has at most {max_bytes} bytes of JSON.");
    Err(Error::invalid("/metadata", "TOO_LARGE", message))
}

/// Returns the error for a request with problems: NOT_FOUND if all of them are references to things that do not exist.
pub(crate) fn refuse(problems: Vec<Problem>) -> Error {
    match problems.as_slice() {
        [first, ..] if problems.iter().all(|problem| problem.code == "NOT_FOUND") => {
            Error::NotFound(first.message.clone())
        }
        _ => Error::Invalid(problems),
    }
}
