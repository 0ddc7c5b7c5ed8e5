//! Completing, failing and releasing claimed steps. A result is taken once, and only under the lease that holds.

use docket_extract::operation::ContentScores;
use serde_json::Value;

use super::{Claim, LeaseHolder};
use crate::entity::{document, job};
use crate::error::{Error, Result};
use crate::id::DocumentId;
use crate::job::Jobs;
use crate::job::contents::Origin;
use crate::job::decide::{Command, Rejection};
use crate::job::record::{self, LockedJob, Reads, ReviewSubject};
use crate::storage::StoredObject;

/// The result of a step.
#[derive(Debug, Clone, Default)]
pub struct StepResult {
    /// Contents that the step has produced.
    pub outputs: Vec<Output>,
    /// Set if a person has to review one of the contents before the job continues.
    pub review: Option<ReviewRequest>,
    /// The confidences of the values in one of the outputs.
    pub scored: Option<ContentScores>,
}

/// A content that a step has produced.
#[derive(Debug, Clone)]
pub struct Output {
    /// The role of the content.
    pub role: String,
    /// The document in that role.
    pub document: OutputDocument,
}

/// The document of an output.
#[derive(Debug, Clone)]
pub enum OutputDocument {
    /// Bytes that are in the store already, without a row that names them.
    New {
        /// The file name.
        name: String,
        /// The MIME type.
        media_type: String,
        /// The bytes.
        stored: StoredObject,
    },
    /// A document that exists already.
    Existing(Box<document::Model>),
}

/// A worker's request that a person reviews a content.
#[derive(Debug, Clone)]
pub struct ReviewRequest {
    /// The reason, for the reviewer.
    pub reason: String,
    /// The role of the content: an output of this result, or a content that the job has already.
    pub role: String,
    /// The parts of the content that need a decision.
    pub items: Vec<Value>,
}

/// The failure of a step.
#[derive(Debug, Clone)]
pub struct StepFailure {
    /// Code for programs.
    pub code: String,
    /// Text for people.
    pub message: String,
    /// Whether a further attempt can succeed.
    pub retryable: bool,
}

impl Jobs {
    /// Returns a storage key for an output of a claimed step. The fence separates attempts, so that a late attempt
    /// overwrites nothing.
    pub fn output_key(claim: &Claim, role: &str) -> String {
        format!("jobs/{}/{role}/{}-{}", claim.job.id, claim.fence, DocumentId::new())
    }

    /// Takes the result of a step: the job continues with its next step, or is blocked by a review. If the result is
    /// refused, new bytes are removed from the store.
    pub async fn complete_step(&self, holder: LeaseHolder, result: StepResult) -> Result<job::Model> {
        let keys = result.outputs.iter().filter_map(|output| match &output.document {
            OutputDocument::New { stored, .. } => Some(stored.key.clone()),
            OutputDocument::Existing(_) => None,
        });
        let keys: Vec<String> = keys.collect();
        let token = holder.token;
        let completed = record::change(self, holder, Reads::CONTENTS, move |locked| {
            let step = locked.task_step().ok_or(Rejection::StaleLease)?.to_owned();
            let (subject, reason) = add_outputs(locked, &step, result)?;
            locked.set_review_subject(subject);
            Ok(locked.perform(Command::Complete { token, review: reason })?)
        });
        match completed.await {
            Ok((job, ())) => Ok(job),
            Err(error) => {
                if error.is_rolled_back() {
                    for key in keys {
                        self.documents.discard(&key).await;
                    }
                }
                Err(error)
            }
        }
    }

    /// Takes the failure of a step: the step is queued again after a backoff, or the job fails.
    pub async fn fail_step(&self, holder: LeaseHolder, failure: StepFailure) -> Result<job::Model> {
        let StepFailure { code, message, retryable } = failure;
        let (token, jitter) = (holder.token, rand::random());
        self.end_claim(holder, Command::Fail { token, code, message, retryable, jitter }).await
    }

    /// Queues a claimed step again without counting the attempt: its worker shuts down.
    pub async fn release_step(&self, holder: LeaseHolder) -> Result<job::Model> {
        let token = holder.token;
        self.end_claim(holder, Command::ReleaseStep { token }).await
    }

    async fn end_claim(&self, holder: LeaseHolder, command: Command) -> Result<job::Model> {
        let ended = record::change(self, holder, Reads::STATE, move |locked| Ok(locked.perform(command)?));
        Ok(ended.await?.0)
    }
}

/// Adds the outputs of a step as contents. Returns what the requested review is about, and its reason.
fn add_outputs(
    locked: &mut LockedJob,
    step: &str,
    result: StepResult,
) -> Result<(ReviewSubject, Option<String>)> {
    let StepResult { outputs, review, mut scored } = result;
    for Output { role, document } in outputs {
        let document = match document {
            OutputDocument::Existing(document) => *document,
            OutputDocument::New { name, media_type, stored } => {
                let document = new_document(locked, name, media_type, stored)?;
                locked.add_document(document.clone());
                document
            }
        };
        let content = locked.add_content(&role, &document, Origin::Made(step))?;
        if let Some(scored) = scored.take_if(|scored| scored.content_role == role) {
            locked.keep_scores(content, step, scored.scores);
        }
    }
    let Some(ReviewRequest { reason, role, items }) = review else {
        return Ok((ReviewSubject::default(), None));
    };
    let content = locked.current_content(&role)?.map(|(content, _)| content.id);
    Ok((ReviewSubject { content, items }, Some(reason)))
}

fn new_document(
    locked: &LockedJob,
    name: String,
    media_type: String,
    stored: StoredObject,
) -> Result<document::Model> {
    let job = locked.row();
    Ok(document::Model {
        id: DocumentId::new(),
        name,
        media_type,
        size: i64::try_from(stored.size).map_err(Error::internal)?,
        sha256: stored.sha256,
        storage_key: stored.key,
        owner_id: job.owner_id,
        job_id: Some(job.id),
        mode: job.mode,
        created_at: locked.now(),
    })
}
