//! What clients ask for when they make a job, and everything that is wrong with it, all at once.

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
pub(super) struct Prepared {
    pub(super) job_type: Arc<JobType>,
    pub(super) metadata: Value,
    pub(super) input: document::Model,
    pub(super) contents: Vec<(String, document::Model)>,
    pub(super) taxonomy: Option<(String, taxonomies::Model)>,
    /// Who is let in, and to which steps.
    pub(super) collaborators: Vec<(Principal, Vec<String>)>,
}

/// Further contents of one request: each role may be given once, and no type is near having so many.
const MOST_CONTENTS: usize = 100;
/// Characters of an idempotency key.
const LONGEST_KEY: usize = 200;

impl Jobs {
    /// Looks everything up that a request names.
    pub(super) async fn prepare(
        &self,
        actor: &Actor,
        new: &NewJob,
    ) -> Result<Result<Prepared, Vec<Problem>>> {
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
            None => match metadata::expand_keys(&new.metadata, "/metadata") {
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
        let checked = sniff::check_media_type(&input.media_type, &job_type.accepts, &head);
        Ok(checked.err().map(|failure| Problem::new("/input", failure.code.as_str(), failure.message)))
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
                let path = format!("/metadata/{}/taxonomy", escape(&step.name));
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
            match find_principal(self.db.read(), principal).await {
                // The owner has everything already; one row per collaborator, the last one said counts.
                Ok(Principal { id, .. }) if id == owner.0 => {}
                Ok(principal) => {
                    found.retain(|(there, _)| there.id != principal.id);
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
    let most = super::control::MAX_PRIORITY;
    (!(-most..=most).contains(&priority))
        .then(|| Problem::new("/priority", "RANGE", format!("A priority lies between -{most} and {most}.")))
}

pub(super) fn too_many_contents(new: &NewJob) -> Option<Problem> {
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
