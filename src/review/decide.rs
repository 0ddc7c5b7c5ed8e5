//! Deciding a review: with the claim, on what was seen, and once.

use std::collections::BTreeMap;

use bytes::Bytes;
use docket_extract::operation;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter};
use serde_json::{Map, Value, json};

use super::correct::{self, Grade};
use super::{claim, json_content, name_claimant};
use crate::access::ReviewGrant;
use crate::db::Work;
use crate::entity::{confidence, content, document, review};
use crate::error::{Error, Problem, Result};
use crate::id::{ContentId, DocumentId};
use crate::job::contents::{self, Origin};
use crate::job::decide::{Command, Rejection, Verdict};
use crate::job::record::{Locked, Saved};
use crate::job::request::Source;
use crate::job::state::{Receipt, StepKind};
use crate::job::{Jobs, gone};
use crate::job_type::{DATA_POINT_EXTRACTION, INDEXING, JobType};

/// What a reviewer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The job goes on.
    Approve,
    /// The job fails.
    Reject,
    /// An earlier step runs again.
    SendBack,
}

/// A decision as a client sends it.
#[derive(Debug, Clone)]
pub struct Decision {
    /// What.
    pub choice: Choice,
    /// SHA-256 of the content that the reviewer saw.
    pub content_sha256: Option<String>,
    /// What somebody who did a manual step has made, by role.
    pub contents: Vec<(String, Source)>,
    /// JSON Patch (RFC 6902) on the content under review.
    pub patch: Option<Value>,
    /// What they have to say.
    pub comment: Option<String>,
    /// Where a job is sent back to.
    pub to_step: Option<String>,
    /// Whether a review that nobody has claimed is claimed and decided in one change.
    pub claim_if_free: bool,
}

/// The content under review, with its document.
pub type Seen = (content::Model, document::Model);

/// A correction whose bytes are in the store already.
struct Correction {
    document: document::Model,
    grades: Vec<Grade>,
}

/// Decides a review. A patch that does not apply, a decision on something that has changed, or one by somebody else than
/// the claimant changes nothing.
pub async fn decide(jobs: &Jobs, grant: &ReviewGrant, decision: Decision) -> Result<review::Model> {
    let job_type = jobs.types.version(&grant.job().type_id, grant.job().type_version).await?;
    let seen = seen(jobs, grant.review()).await?;
    check(jobs, &job_type, grant, &decision, seen.as_ref())?;
    // Looked at again under the lock; here so that nobody makes work who cannot decide.
    if decision.patch.is_some() && grant.review().claimed_by != Some(grant.actor().user.id) {
        let rejection = grant.review().claimed_by.map_or(Rejection::NotClaimed, Rejection::ClaimedBy);
        return Err(name_claimant(jobs, rejection.into()).await);
    }
    let contents = jobs.sources(grant.actor(), &decision.contents).await?;
    let correction = match (&decision.patch, &seen) {
        (Some(patch), Some(seen)) => correct(jobs, &job_type, grant, patch, seen).await?,
        _ => None,
    };
    let key = correction.as_ref().map(|correction| correction.document.storage_key.clone());
    match commit(jobs, grant, decision, seen, contents, correction).await {
        Ok(saved) => {
            jobs.announce(saved);
            claim::get(jobs, grant.review().id).await
        }
        Err(error) => {
            if let Some(key) = key.filter(|_| error.nothing_written()) {
                jobs.documents.discard(&key).await;
            }
            Err(name_claimant(jobs, error).await)
        }
    }
}

/// Returns the content under review, where there is one.
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

/// Everything that is wrong with a decision in itself.
fn check(
    jobs: &Jobs,
    job_type: &JobType,
    grant: &ReviewGrant,
    decision: &Decision,
    seen: Option<&Seen>,
) -> Result<()> {
    let mut problems = Vec::new();
    let mut wrong = |path: &str, code: &str, message: &str| problems.push(Problem::new(path, code, message));
    let is_manual = job_type.step(&grant.review().step).is_some_and(|step| step.kind == StepKind::Manual);
    match (&decision.to_step, decision.choice == Choice::SendBack) {
        (None, true) => wrong("/toStep", "REQUIRED", "SEND_BACK needs the name of an earlier step."),
        (Some(_), false) => wrong("/toStep", "NOT_ALLOWED", "A step is named with SEND_BACK only."),
        _ => {}
    }
    if seen.is_some() && decision.content_sha256.is_none() {
        let message = "Say what was seen: the sha256 of the content's document.";
        wrong("/contentSha256", "REQUIRED", message);
    }
    if seen.is_none() && decision.content_sha256.is_some() {
        wrong("/contentSha256", "NOT_ALLOWED", "This review has no content.");
    }
    if decision.patch.is_some() && seen.is_none() {
        wrong("/patch", "NOT_ALLOWED", "This review has no content that could be corrected.");
    } else if decision.patch.is_some() && decision.choice != Choice::Approve {
        wrong("/patch", "NOT_ALLOWED", "Corrections go with APPROVE only.");
    }
    let hands_in = is_manual && decision.choice == Choice::Approve;
    if !decision.contents.is_empty() && !hands_in {
        wrong("/contents", "NOT_ALLOWED", "Contents are handed in with APPROVE on a MANUAL step only.");
    }
    let roles =
        job_type.step(&grant.review().step).map(|step| step.content_roles.as_slice()).unwrap_or_default();
    problems.extend(contents::role_problems(roles, &decision.contents));
    problems.extend(jobs.limits.comment_problem(decision.comment.as_deref(), "/comment"));
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    match (seen, &decision.content_sha256) {
        (Some((_, document)), Some(given)) if !document.sha256.eq_ignore_ascii_case(given) => {
            Err(stale(document))
        }
        _ => Ok(()),
    }
}

/// The decision rests on something else than what is there.
fn stale(now: &document::Model) -> Error {
    let details = Map::from_iter([("contentSha256".to_owned(), json!(now.sha256))]);
    Error::Conflict { message: "The content is not the one that was seen. Look again.".into(), details }
}

/// Whether an error says that a decision rests on another content than the newest.
pub fn is_stale(error: &Error) -> bool {
    matches!(error, Error::Conflict { details, .. } if details.contains_key("contentSha256"))
}

/// Applies the patch and stores what comes of it; `None` where it changes nothing.
async fn correct(
    jobs: &Jobs,
    job_type: &JobType,
    grant: &ReviewGrant,
    patch: &Value,
    (content, seen): &Seen,
) -> Result<Option<Correction>> {
    let operations = correct::parse(patch).map_err(Error::Invalid)?;
    let largest = jobs.review.content_bytes;
    if seen.size > i64::try_from(largest).unwrap_or(i64::MAX) {
        return Err(Error::TooLarge(format!("Contents of more than {largest} bytes cannot be patched.")));
    }
    let _permit = json_content::permit(jobs, u64::try_from(seen.size).unwrap_or_default()).await?;
    let bytes = jobs.storage.read(&seen.storage_key, largest as u64).await?;
    let schema = schema(job_type, &content.role);
    // Megabytes of JSON would keep other requests waiting.
    let applied = tokio::task::spawn_blocking(move || -> Result<_> {
        let before = json_content::parse(&bytes, "/patch")?;
        let corrected =
            correct::apply(&before, &operations, schema.as_ref(), largest).map_err(Error::Invalid)?;
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

/// What a content of a built-in type has to look like.
pub(super) fn schema(job_type: &JobType, role: &str) -> Option<Value> {
    let built_in = [DATA_POINT_EXTRACTION, INDEXING].contains(&job_type.id.as_str());
    let text = operation::schema(role).filter(|_| built_in)?;
    // The schemas are part of the program; the tests of `correct` use them.
    serde_json::from_str(text).ok()
}

async fn commit(
    jobs: &Jobs,
    grant: &ReviewGrant,
    decision: Decision,
    seen: Option<Seen>,
    contents: Vec<(String, document::Model)>,
    correction: Option<Correction>,
) -> Result<Saved> {
    let (job, id, step) = (grant.job().id, grant.review().id, grant.review().step.clone());
    let (clock, by, grant, lasts) =
        (jobs.clock.clone(), grant.actor().user.id, grant.clone(), claim::lasts(jobs));
    jobs.db
        .write(move |tx| -> Work<'_, Saved> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, job, &clock).await?.ok_or_else(gone)?;
                grant.still_holds(tx, locked.row()).await?;
                claim::is_open(&locked, id)?;
                if let Some((content, document)) = &seen {
                    still_current(tx, content, document).await?;
                }
                let verdict = match (decision.choice, &decision.to_step) {
                    (Choice::Approve, _) => Verdict::Approve,
                    (Choice::SendBack, Some(step)) => Verdict::SendBack(locked.step_index(step)?),
                    // What is missing was refused by `check`.
                    (Choice::Reject | Choice::SendBack, _) => Verdict::Reject,
                };
                let receipt = Receipt {
                    content_sha256: seen.as_ref().map(|(_, document)| document.sha256.clone()),
                    patch: decision.patch,
                };
                if decision.claim_if_free && locked.review_is_free() {
                    let until = locked.now() + lasts;
                    locked.perform(Command::ClaimReview { by, until }, Some(by))?;
                }
                // The claim is checked before anything is written.
                locked.check_claim(by)?;
                if let Some((content, _)) = &seen {
                    let grades = correction.as_ref().map(|c| c.grades.as_slice()).unwrap_or_default();
                    count(tx, content.id, grades).await?;
                    if let Some(correction) = correction {
                        let row = correction.document.into_active_model().reset_all().insert(tx).await?;
                        let origin = Origin::Made(&step);
                        contents::add(tx, &mut locked, &content.role, &row, origin, Some(by)).await?;
                    }
                }
                for (role, document) in &contents {
                    contents::add(tx, &mut locked, role, document, Origin::Made(&step), Some(by)).await?;
                }
                let comment = decision.comment;
                locked.perform(Command::DecideReview { by, verdict, comment, receipt }, Some(by))?;
                if let Verdict::SendBack(to) = verdict {
                    locked.supersede_from(tx, to).await?;
                }
                locked.save(tx).await
            })
        })
        .await
}

/// Checks that no newer version of the content has come meanwhile.
pub(super) async fn still_current(
    tx: &impl ConnectionTrait,
    seen: &content::Model,
    document: &document::Model,
) -> Result<()> {
    let newest = content::Entity::find()
        .filter(content::Column::JobId.eq(seen.job_id))
        .filter(content::Column::Role.eq(&seen.role))
        .filter(content::Column::Current.eq(true))
        .find_also_related(document::Entity);
    match newest.one(tx).await? {
        Some((content, _)) if content.id == seen.id => Ok(()),
        Some((_, Some(newer))) => Err(stale(&newer)),
        _ => Err(stale(document)),
    }
}

/// Keeps for [`super::simulate`] that a person has looked at what they were asked about, and what they corrected.
async fn count(tx: &impl ConnectionTrait, content: ContentId, grades: &[Grade]) -> Result<()> {
    use confidence::Column;
    let rows = || confidence::Entity::update_many().filter(Column::ContentId.eq(content));
    rows().col_expr(Column::Reviewed, Expr::col(Column::Due)).exec(tx).await?;
    count_corrections(tx, content, grades).await
}

/// Counts what was corrected of a content, by how sure the machine had been.
pub(super) async fn count_corrections(
    tx: &impl ConnectionTrait,
    content: ContentId,
    grades: &[Grade],
) -> Result<()> {
    use confidence::Column;
    let rows = || confidence::Entity::update_many().filter(Column::ContentId.eq(content));
    let mut counts: BTreeMap<Grade, i32> = BTreeMap::new();
    for grade in grades {
        *counts.entry(*grade).or_default() += 1;
    }
    for (grade, corrected) in counts {
        rows()
            .col_expr(Column::Corrected, Expr::col(Column::Corrected).add(corrected))
            .filter(Column::Thousandths.eq(grade.thousandths))
            .filter(Column::Missing.eq(grade.missing))
            .exec(tx)
            .await?;
    }
    Ok(())
}
