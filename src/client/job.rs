//! Jobs for the command line: create, watch, find contents.

use std::fmt;
use std::pin::pin;
use std::str::FromStr;

use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::sleep;

use super::error::printable;
use super::operations::{
    CollaboratorInput, CollaboratorRef, CreateJob, CreateJobInput, JobContents, JobUpdated, create_job,
    job_contents, job_updated,
};
use super::{Client, ClientError, DocumentInfo, Job, JobStatus, Result};

/// Parses `user:EMAIL` or `team:NAME`, optionally followed by `=` and steps. The last `=` counts.
impl FromStr for CollaboratorInput {
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
            "user" => CollaboratorRef::UserEmail(name.to_owned()),
            "team" => CollaboratorRef::TeamName(name.to_owned()),
            _ => return Err(format!("it must begin with user: or team:; {example}")),
        };
        Ok(Self { collaborator, steps })
    }
}

impl JobStatus {
    /// Returns whether the job has ended. The statuses of a newer server count as not final.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

/// Formats a status as in the schema, and the status of a newer server without control characters.
impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(name) => f.write_str(&printable(name)),
            known => known.serialize(f),
        }
    }
}

impl Client {
    /// Creates a job. If the idempotency key was used before, returns the job that it created.
    pub async fn create_job(&self, input: CreateJobInput) -> Result<Job> {
        let data = self.execute::<CreateJob>(create_job::Variables { input }).await?;
        Ok(data.create_job.job)
    }

    /// Watches a job until it reaches a final status. Calls `changed` with every state, including the final one.
    pub async fn watch(&self, id: &str, mut changed: impl FnMut(&Job) -> std::io::Result<()>) -> Result<Job> {
        let mut state = None;
        for attempt in 1..=self.policy.max_attempts {
            let variables = job_updated::Variables { id: id.to_owned() };
            let mut states = pin!(self.subscribe::<JobUpdated>(variables));
            while let Some(data) = states.next().await {
                let job = data?.job_updated;
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
        let variables = job_contents::Variables { id: job_id.to_owned(), role: role.to_owned() };
        let data = self.execute::<JobContents>(variables).await?;
        Ok(data.job.and_then(|job| job.contents.into_iter().next()).map(|content| content.document.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_display_as_in_the_schema() {
        for status in ["QUEUED", "RUNNING", "BLOCKED", "COMPLETED", "CANCELLED", "FAILED"] {
            let parsed: JobStatus = serde_json::from_value(status.into()).unwrap();
            assert_eq!(parsed.to_string(), status);
            assert_eq!(parsed.is_final(), !matches!(status, "QUEUED" | "RUNNING" | "BLOCKED"));
        }
        let unknown: JobStatus = serde_json::from_value("PAUSED\u{1b}".into()).unwrap();
        assert_eq!((unknown.to_string().as_str(), unknown.is_final()), ("PAUSED ", false));
    }

    #[test]
    fn collaborators_parse_as_users_or_teams() {
        let ada = CollaboratorInput::from_str("user:ada@example.org").unwrap();
        assert_eq!(ada.collaborator, CollaboratorRef::UserEmail("ada@example.org".into()));
        assert_eq!(ada.steps, ["*"]);
        let clerks = CollaboratorInput::from_str("team:The Clerks: day=zoning, mapping").unwrap();
        assert_eq!(clerks.collaborator, CollaboratorRef::TeamName("The Clerks: day".into()));
        assert_eq!(clerks.steps, ["zoning", "mapping"]);
        for wrong in ["ada@example.org", "users:x", "team:", "team:=a", "user:a=", "user:a=b,,c"] {
            assert!(
                CollaboratorInput::from_str(wrong).unwrap_err().contains("team:clerks=zoning,mapping"),
                "{wrong}"
            );
        }
    }
}
