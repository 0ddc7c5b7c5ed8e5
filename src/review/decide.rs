//! Deciding a review: with the claim, on the content that the reviewer has seen, and once.

use bytes::Bytes;
use docket_extract::operation;
use sea_orm::EntityTrait;
use serde_json::Value;

use super::{add_claimant, claim, correct, json_content};
use crate::access::ReviewGrant;
use crate::entity::{content, document, review};
use crate::error::{Error, Problem, Result};
use crate::id::{ContentId, DocumentId};
use crate::job::Jobs;
use crate::job::contents::{self, Grade, Origin};
use crate::job::decide::{Command, Rejection, Verdict};
use crate::job::record::{self, LockedJob, Reads};
use crate::job::request::Source;
use crate::job::state::{Receipt, StepKind};
use crate::job_type::{DATA_POINT_EXTRACTION, INDEXING, JobType};

/// The kind of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The job continues.
    Approve,
    /// The job fails.
    Reject,
    /// An earlier step runs again.
    SendBack,
}

/// A decision as a client sends it, unchecked.
#[derive(Debug, Clone)]
pub struct DecisionRequest {
    /// The kind of the decision.
    pub choice: Choice,
    /// SHA-256 of the content that the reviewer has seen.
    pub content_sha256: Option<String>,
    /// Outputs of a MANUAL step, by role.
    pub contents: Vec<(String, Source)>,
    /// JSON Patch (RFC 6902) on the content under review.
    pub patch: Option<Value>,
    /// The reviewer's comment.
    pub comment: Option<String>,
    /// The step to which the job is sent back.
    pub to_step: Option<String>,
    /// Whether to claim an unclaimed review in the same transaction.
    pub claim_if_free: bool,
}

/// A checked decision.
#[derive(Debug)]
enum Decision {
    Approve { patch: Option<Value>, contents: Vec<(String, Source)> },
    Reject,
    SendBack { to_step: String },
}

/// The content under review, with its document.
pub(crate) type Seen = (content::Model, document::Model);

/// A correction whose bytes are in the store already.
struct Correction {
    document: document::Model,
    grades: Vec<Grade>,
}

/// Decides a review. Changes nothing if the patch does not apply, if the content is not the newest any more, or if
/// another user has the claim.
pub async fn decide(jobs: &Jobs, grant: &ReviewGrant, request: DecisionRequest) -> Result<review::Model> {
    let job_type = jobs.types.version(&grant.job().type_id, grant.job().type_version).await?;
    let seen = seen(jobs, grant.review()).await?;
    let (comment, claim_if_free) = (request.comment.clone(), request.claim_if_free);
    let decision = check(jobs, &job_type, grant, request, seen.as_ref())?;
    let (mut outputs, mut correction) = (Vec::new(), None);
    if let Decision::Approve { patch, contents } = &decision {
        if patch.is_some() {
            claim::check_claim(jobs, grant).await?;
        }
        outputs = jobs.sources(grant.actor(), contents).await?;
        if let (Some(patch), Some(seen)) = (patch, &seen) {
            correction = correct(jobs, &job_type, grant, patch, seen).await?;
        }
    }
    let key = correction.as_ref().map(|correction| correction.document.storage_key.clone());
    let (by, duration) = (grant.actor().user.id, claim::claim_duration(jobs));
    let content_before = grant.review().content_id;
    let reads = match &decision {
        Decision::SendBack { .. } => Reads::CONTENT_HISTORY,
        Decision::Approve { .. } | Decision::Reject => Reads::CONTENTS,
    };
    let decided = record::change(jobs, grant.clone(), reads, move |locked| {
        if let Some((content, document)) = &seen {
            check_current(locked, content, document)?;
        }
        if locked.open_review().is_some_and(|review| review.content_id != content_before) {
            return Err(Error::conflict("The review has a new content. Read it and decide again."));
        }
        if let Decision::SendBack { to_step } = &decision {
            locked.step_index(to_step)?;
        }
        if claim_if_free && locked.is_review_unclaimed() {
            let until = locked.now() + duration;
            locked.perform(Command::ClaimReview { by, until })?;
        }
        locked.check_claim(by)?;
        commit(locked, decision, comment, &outputs, seen, correction)
    });
    match decided.await {
        Ok(_) => claim::get(jobs, grant.review().id).await,
        Err(error) => {
            if let Some(key) = key.filter(|_| error.is_rolled_back()) {
                jobs.documents.discard(&key).await;
            }
            Err(add_claimant(jobs, error).await)
        }
    }
}

/// Returns the content under review; `None` if the review has none.
pub async fn seen(jobs: &Jobs, review: &review::Model) -> Result<Option<Seen>> {
    match review.content_id {
        Some(id) => content_with_document(jobs, id).await,
        None => Ok(None),
    }
}

/// Returns a content with its document.
pub(super) async fn content_with_document(jobs: &Jobs, id: ContentId) -> Result<Option<Seen>> {
    let found = content::Entity::find_by_id(id).find_also_related(document::Entity);
    Ok(found.one(jobs.db.read()).await?.and_then(|(content, document)| Some((content, document?))))
}

/// Returns the decision of a request. Fails with all problems that can be found without the lock of the job.
fn check(
    jobs: &Jobs,
    job_type: &JobType,
    grant: &ReviewGrant,
    request: DecisionRequest,
    seen: Option<&Seen>,
) -> Result<Decision> {
    let mut problems = Vec::new();
    let mut wrong = |path: &str, code: &str, message: &str| problems.push(Problem::new(path, code, message));
    let is_manual = job_type.step(&grant.review().step).is_some_and(|step| step.kind == StepKind::Manual);
    match (request.choice, &request.to_step) {
        (Choice::SendBack, None) => {
            wrong("/toStep", "REQUIRED", "SEND_BACK requires the name of an earlier step.");
        }
        (Choice::Approve | Choice::Reject, Some(_)) => {
            wrong("/toStep", "NOT_ALLOWED", "Only SEND_BACK takes a step.");
        }
        _ => {}
    }
    if seen.is_some() && request.content_sha256.is_none() {
        let message = "A decision requires the SHA-256 of the document that you have reviewed.";
        wrong("/contentSha256", "REQUIRED", message);
    }
    if seen.is_none() && request.content_sha256.is_some() {
        wrong("/contentSha256", "NOT_ALLOWED", "This review has no content.");
    }
    if request.patch.is_some() && seen.is_none() {
        wrong("/patch", "NOT_ALLOWED", "This review has no content that could be corrected.");
    } else if request.patch.is_some() && request.choice != Choice::Approve {
        wrong("/patch", "NOT_ALLOWED", "Only APPROVE takes corrections.");
    }
    let takes_contents = is_manual && request.choice == Choice::Approve;
    if !request.contents.is_empty() && !takes_contents {
        wrong("/contents", "NOT_ALLOWED", "Only APPROVE of a MANUAL step takes contents.");
    }
    let roles =
        job_type.step(&grant.review().step).map(|step| step.content_roles.as_slice()).unwrap_or_default();
    problems.extend(contents::role_problems(roles, &request.contents));
    problems.extend(jobs.limits.comment_problem(request.comment.as_deref(), "/comment"));
    let decision = match (request.choice, request.to_step) {
        _ if !problems.is_empty() => return Err(Error::Invalid(problems)),
        (Choice::SendBack, Some(to_step)) => Decision::SendBack { to_step },
        (Choice::SendBack, None) => return Err(Error::Invalid(problems)),
        (Choice::Approve, _) => Decision::Approve { patch: request.patch, contents: request.contents },
        (Choice::Reject, _) => Decision::Reject,
    };
    match (seen, &request.content_sha256) {
        (Some((_, document)), Some(given)) if !document.sha256.eq_ignore_ascii_case(given) => {
            Err(stale(document))
        }
        _ => Ok(decision),
    }
}

/// The conflict of a decision on a content that is not the newest any more.
fn stale(newest: &document::Model) -> Error {
    let message = "The content has changed since you reviewed it. Read the new content and decide again.";
    Error::conflict_with(message, "contentSha256", newest.sha256.as_str())
}

/// Returns whether an error reports that a decision was made on another content than the newest.
pub(crate) fn is_stale(error: &Error) -> bool {
    matches!(error, Error::Conflict { details, .. } if details.contains_key("contentSha256"))
}

/// Applies a patch and stores the corrected content; `None` if the patch changes nothing.
async fn correct(
    jobs: &Jobs,
    job_type: &JobType,
    grant: &ReviewGrant,
    patch: &Value,
    (content, seen): &Seen,
) -> Result<Option<Correction>> {
    let operations = correct::parse(patch).map_err(Error::Invalid)?;
    let max_bytes = jobs.review.content_bytes;
    if seen.size > i64::try_from(max_bytes).unwrap_or(i64::MAX) {
        return Err(Error::TooLarge(format!("Contents of more than {max_bytes} bytes cannot be patched.")));
    }
    let _permit = json_content::permit(jobs, u64::try_from(seen.size).unwrap_or_default()).await?;
    let bytes = jobs.storage.read(&seen.storage_key, max_bytes as u64).await?;
    let schema = schema(job_type, &content.role);
    // Megabytes of JSON would delay other requests.
    let applied = tokio::task::spawn_blocking(move || -> Result<_> {
        let before = json_content::parse(&bytes, "/patch")?;
        let corrected =
            correct::apply(&before, &operations, schema.as_ref(), max_bytes).map_err(Error::Invalid)?;
        let text = corrected.content.map(|content| serde_json::to_vec(&content)).transpose();
        Ok((text.map_err(Error::internal)?, corrected.grades))
    });
    let (Some(text), grades) = applied.await.map_err(Error::internal)?? else { return Ok(None) };
    let (job, id) = (grant.job(), DocumentId::new());
    let key = format!("jobs/{}/{}/review-{}-{id}", job.id, content.role, grant.review().id);
    let stored = jobs.storage.put_bytes(key, Bytes::from(text)).await?;
    let document = document::Model {
        id,
        name: seen.name.clone(),
        media_type: seen.media_type.clone(),
        size: i64::try_from(stored.size).map_err(Error::internal)?,
        sha256: stored.sha256,
        storage_key: stored.key,
        owner_id: job.owner_id,
        job_id: Some(job.id),
        mode: job.mode,
        created_at: jobs.clock.now(),
    };
    Ok(Some(Correction { document, grades }))
}

/// Returns the JSON Schema of a content of a built-in job type.
pub(super) fn schema(job_type: &JobType, role: &str) -> Option<Value> {
    let built_in = [DATA_POINT_EXTRACTION, INDEXING].contains(&job_type.id.as_str());
    let text = operation::schema(role).filter(|_| built_in)?;
    // The schemas are part of the program; the tests of `correct` use them.
    serde_json::from_str(text).ok()
}

/// Applies a decision to a locked job, whose review the actor has claimed.
fn commit(
    locked: &mut LockedJob,
    decision: Decision,
    comment: Option<String>,
    outputs: &[(String, document::Model)],
    seen: Option<Seen>,
    correction: Option<Correction>,
) -> Result<()> {
    let (by, step) = match (locked.actor(), locked.open_review()) {
        (Some(by), Some(review)) => (by, review.step.clone()),
        _ => return Err(Rejection::NoReview.into()),
    };
    let content_sha256 = seen.as_ref().map(|(_, document)| document.sha256.clone());
    if let Some((content, _)) = seen {
        locked.mark_reviewed(content.id);
        if let Some(Correction { document, grades }) = correction {
            locked.count_corrections(content.id, grades);
            locked.add_content(&content.role, &document, Origin::Made(&step))?;
            locked.add_document(document);
        }
    }
    for (role, document) in outputs {
        locked.add_content(role, document, Origin::Made(&step))?;
    }
    let (verdict, patch) = match decision {
        Decision::Approve { patch, .. } => (Verdict::Approve, patch),
        Decision::Reject => (Verdict::Reject, None),
        Decision::SendBack { to_step } => (Verdict::SendBack(locked.step_index(&to_step)?), None),
    };
    let receipt = Receipt { content_sha256, patch };
    locked.perform(Command::DecideReview { by, verdict, comment, receipt })?;
    match verdict {
        Verdict::SendBack(to) => locked.supersede_from(to),
        Verdict::Approve | Verdict::Reject => Ok(()),
    }
}

/// Fails if a content is not the newest of its role any more.
pub(super) fn check_current(
    locked: &LockedJob,
    seen: &content::Model,
    document: &document::Model,
) -> Result<()> {
    match locked.current_content(&seen.role)? {
        Some((content, _)) if content.id == seen.id => Ok(()),
        Some((_, Some(newer))) => Err(stale(newer)),
        _ => Err(stale(document)),
    }
}
