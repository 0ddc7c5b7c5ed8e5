//! Jobs for the command line: create, watch, find contents.

use std::pin::pin;
use std::str::FromStr;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{Client, ClientError, DocumentInfo, Result, parse_field};

macro_rules! job_fields {
    () => {
        "{ id type { id } status progress { current total fraction }
           currentStep { name title status attempt maxAttempts message }
           review { id step reason }
           failure { code message step }
           inputContent { document { id name type size sha256 } }
           outputContent { document { id name type size sha256 } } }"
    };
}

const CREATE: &str =
    concat!("mutation ($input: CreateJobInput!) { createJob(input: $input) { job ", job_fields!(), " } }");
const WATCH: &str = concat!("subscription ($id: ID!) { jobUpdated(id: $id) ", job_fields!(), " }");
const CONTENTS: &str = "query ($id: ID!, $role: String!) {
    job(id: $id) { contents(role: $role) { document { id name type size sha256 } } } }";

/// The input for creating a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewJob {
    /// The job type.
    #[serde(rename = "type")]
    pub job_type: String,
    /// The input document.
    pub input: Source,
    /// The metadata; dots in keys separate path segments.
    pub metadata: Map<String, Value>,
    /// The collaborators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collaboration: Vec<Collaborator>,
    /// The idempotency key: a repeated request with the same key returns the same job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The priority; jobs with a higher one run first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// A document on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The ID of the document.
    pub document_id: String,
}

/// A collaborator of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Collaborator {
    /// The user or team.
    pub collaborator: Principal,
    /// The steps that the collaborator has access to; `*` means all.
    pub steps: Vec<String>,
}

/// A user or a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Principal {
    /// The e-mail address of a user.
    UserEmail(String),
    /// The name of a team.
    TeamName(String),
}

/// Parses `user:EMAIL` or `team:NAME`, optionally followed by `=` and steps. The last `=` counts.
impl FromStr for Collaborator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "examples are user:ada@example.org and team:clerks=zoning,mapping";
        let (kind, rest) =
            text.split_once(':').ok_or_else(|| format!("it must begin with user: or team:; {example}"))?;
        let (name, steps) = match rest.rsplit_once('=') {
            Some((name, steps)) => (name, steps.split(',').map(|step| step.trim().to_owned()).collect()),
            None => (rest, vec!["*".to_owned()]),
        };
        if name.is_empty() {
            return Err(format!("the name is empty; {example}"));
        }
        if steps.iter().any(String::is_empty) {
            return Err(format!("a step after the = is empty; {example}"));
        }
        let collaborator = match kind {
            "user" => Principal::UserEmail(name.to_owned()),
            "team" => Principal::TeamName(name.to_owned()),
            _ => return Err(format!("it must begin with user: or team:; {example}")),
        };
        Ok(Self { collaborator, steps })
    }
}

/// The fields of a job that the client shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the API's schema documents its fields")]
pub struct Job {
    pub id: String,
    #[serde(rename = "type")]
    pub job_type: TypeRef,
    pub status: JobStatus,
    pub progress: Progress,
    pub current_step: Option<Step>,
    pub review: Option<Review>,
    pub failure: Option<Failure>,
    pub input_content: Content,
    pub output_content: Option<Content>,
}

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the API's schema documents its fields")]
pub enum JobStatus {
    Queued,
    Running,
    Blocked,
    Completed,
    Cancelled,
    Failed,
}

impl JobStatus {
    /// Returns whether the job has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

impl std::fmt::Display for JobStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Blocked => "BLOCKED",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
        })
    }
}

/// The type of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeRef {
    /// The slug of the type.
    pub id: String,
}

/// The estimated progress, in steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the API's schema documents its fields")]
pub struct Progress {
    pub current: u32,
    pub total: u32,
    pub fraction: f64,
}

/// The current step of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the API's schema documents its fields")]
pub struct Step {
    pub name: String,
    pub title: String,
    pub status: String,
    pub attempt: u32,
    pub max_attempts: u32,
    pub message: Option<String>,
}

/// An open review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the API's schema documents its fields")]
pub struct Review {
    pub id: String,
    pub step: String,
    pub reason: String,
}

/// The reason why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the API's schema documents its fields")]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub step: Option<String>,
}

/// A document in a role of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The document.
    pub document: DocumentInfo,
}

impl Client {
    /// Creates a job. If the idempotency key was used before, returns the job that it created.
    pub async fn create_job(&self, new: &NewJob) -> Result<Job> {
        #[derive(Deserialize)]
        struct Payload {
            job: Job,
        }
        let data = self.graphql(CREATE, json!({"input": new})).await?;
        parse_field(data, "createJob").map(|Payload { job }| job)
    }

    /// Watches a job until it reaches a final status. Calls `changed` with every state, including the final one.
    pub async fn watch(&self, id: &str, mut changed: impl FnMut(&Job) -> std::io::Result<()>) -> Result<Job> {
        let mut state = None;
        for attempt in 1..=self.policy.max_attempts {
            let mut states = pin!(self.subscribe(WATCH, json!({"id": id})));
            while let Some(data) = states.next().await {
                let job: Job = parse_field(data?, "jobUpdated")?;
                changed(&job)?;
                if job.status.is_final() {
                    return Ok(job);
                }
                state = Some(job.status);
            }
            // A server that shuts down may complete its subscriptions normally.
            sleep(self.policy.backoff(attempt)).await;
        }
        let state = state.map_or_else(|| "unknown".into(), |status| status.to_string());
        Err(ClientError::Protocol(format!("subscriptions to job {id} ended while its status was {state}")))
    }

    /// Returns the newest content of a job in a role, or `None` if the viewer may not see any.
    pub async fn content(&self, job_id: &str, role: &str) -> Result<Option<DocumentInfo>> {
        #[derive(Deserialize)]
        struct Contents {
            contents: Vec<Content>,
        }
        let data = self.graphql(CONTENTS, json!({"id": job_id, "role": role})).await?;
        let job: Option<Contents> = parse_field(data, "job")?;
        Ok(job.and_then(|job| job.contents.into_iter().next()).map(|content| content.document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_jobs_have_the_shape_of_the_schema() {
        let new = NewJob {
            job_type: "noop".into(),
            input: Source { document_id: "d".into() },
            metadata: Map::new(),
            collaboration: vec![Collaborator {
                collaborator: Principal::TeamName("clerks".into()),
                steps: vec!["*".into()],
            }],
            idempotency_key: Some("k".into()),
            priority: None,
        };
        assert_eq!(
            serde_json::to_value(&new).unwrap(),
            json!({
                "type": "noop", "input": {"documentId": "d"}, "metadata": {}, "idempotencyKey": "k",
                "collaboration": [{"collaborator": {"teamName": "clerks"}, "steps": ["*"]}],
            })
        );
    }

    #[test]
    fn statuses_display_as_in_the_schema() {
        for status in ["QUEUED", "RUNNING", "BLOCKED", "COMPLETED", "CANCELLED", "FAILED"] {
            let parsed: JobStatus = serde_json::from_value(status.into()).unwrap();
            assert_eq!(parsed.to_string(), status);
            assert_eq!(parsed.is_final(), !matches!(status, "QUEUED" | "RUNNING" | "BLOCKED"));
        }
    }

    #[test]
    fn collaborators_parse_as_users_or_teams() {
        let ada = Collaborator::from_str("user:ada@example.org").unwrap();
        assert_eq!(ada.collaborator, Principal::UserEmail("ada@example.org".into()));
        assert_eq!(ada.steps, ["*"]);
        let clerks = Collaborator::from_str("team:The Clerks: day=zoning, mapping").unwrap();
        assert_eq!(clerks.collaborator, Principal::TeamName("The Clerks: day".into()));
        assert_eq!(clerks.steps, ["zoning", "mapping"]);
        for wrong in ["ada@example.org", "users:x", "team:", "team:=a", "user:a=", "user:a=b,,c"] {
            assert!(
                Collaborator::from_str(wrong).unwrap_err().contains("team:clerks=zoning,mapping"),
                "{wrong}"
            );
        }
    }
}
