//! The queue for external workers: users claim steps to which they have access, and report on them by lease tokens.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::renew::Renewal;
use super::{Claim, LeaseHolder, Output, OutputDocument, ReviewRequest, StepFailure, StepResult};
use crate::access::policy::works_on;
use crate::access::{Actor, standing, standing_in};
use crate::clock::Timestamp;
use crate::entity::enums::Status;
use crate::entity::{job, task};
use crate::error::{Error, Problem, Result};
use crate::events::{Identity, WakeUp};
use crate::id::{JobId, LeaseToken};
use crate::job::decide::Rejection;
use crate::job::request::Source;
use crate::job::{Jobs, contents};
use crate::job_type::INPUT;

/// Maximum length of a worker's name and of a failure code, in characters.
const MAX_NAME_CHARS: usize = 100;
/// Longest wait for a step, in seconds.
pub(crate) const MAX_WAIT_SECONDS: i32 = 30;
/// Interval at which the queue is polled without a wake-up while claimers wait.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of items in a review that a worker requests.
const MAX_REVIEW_ITEMS: usize = 10_000;

/// A worker's request for steps.
#[derive(Debug, Clone)]
pub(crate) struct ClaimRequest {
    /// The name of the worker, for people.
    pub worker: String,
    /// The job types whose steps it runs.
    pub types: Vec<String>,
    /// Maximum number of steps.
    pub limit: i32,
    /// The duration of each lease, in seconds, from the claim and from each report.
    pub lease_seconds: i32,
    /// How long to wait for a step, in seconds.
    pub wait_seconds: i32,
}

/// The caller of a claim, who may wait for a step.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Canceled when the caller does not wait any more, or when the server stops.
    pub(crate) gone: CancellationToken,
    /// The time by which the caller must get an answer.
    pub(crate) answer_by: Instant,
}

/// The lease token as workers carry it: the job, the fencing token, and the duration of the lease. Opaque to workers, who
/// gain nothing by changing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    job: JobId,
    token: LeaseToken,
    lease_seconds: u32,
}

impl Ticket {
    fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (job, rest) = bytes.split_first_chunk::<16>()?;
        let (token, seconds) = rest.split_first_chunk::<16>()?;
        let lease_seconds = u32::from_be_bytes(seconds.try_into().ok()?);
        let (job, token) = (JobId(Uuid::from_bytes(*job)), LeaseToken(Uuid::from_bytes(*token)));
        Some(Self { job, token, lease_seconds })
    }

    fn holder(&self, actor: &Actor) -> LeaseHolder {
        LeaseHolder { job: self.job, token: self.token, actor: Some(actor.clone()) }
    }
}

impl std::fmt::Display for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.lease_seconds.to_be_bytes();
        let bytes = [&self.job.0.as_bytes()[..], &self.token.0.as_bytes()[..], &seconds].concat();
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// The answer to a progress report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reported {
    /// The time at which the lease expires now.
    pub until: Timestamp,
    /// The job was cancelled: the worker should stop, because its result would be refused.
    pub(crate) is_cancelled: bool,
}

/// The result of a step as an external worker submits it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SubmittedResult {
    /// Documents by role.
    pub contents: Vec<(String, Source)>,
    /// Set if a person has to review a content before the job continues.
    pub review: Option<ReviewRequest>,
}

/// An item of a review, as reviews store it.
#[derive(Debug, Serialize, Deserialize)]
struct Item {
    path: String,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    confidence: f64,
    #[serde(default)]
    page: Option<i32>,
    #[serde(default, rename = "box")]
    bbox: Option<[f64; 4]>,
}

impl Jobs {
    /// Claims up to `limit` queued steps to which the actor has access, highest priority first, then oldest first. A TEST
    /// key claims steps of TEST jobs only. If there is no step, waits for one for the requested time, while the caller waits.
    pub(crate) async fn claim_steps_for(
        &self,
        actor: &Actor,
        request: ClaimRequest,
        caller: &Caller,
    ) -> Result<Vec<(Claim, Ticket)>> {
        let ClaimRequest { worker, types, limit, lease_seconds, wait_seconds } = request;
        let mut problems = Vec::new();
        if !(1..=MAX_NAME_CHARS).contains(&worker.chars().count()) || worker.contains('\0') {
            let message = format!("A worker's name has 1 to {MAX_NAME_CHARS} characters, without U+0000.");
            problems.push(Problem::new("/workerId", "LENGTH", message));
        }
        problems.extend(self.type_problems(&types).await?);
        let limit = in_range(limit, self.workers.claims, "/limit", &mut problems);
        let seconds = in_range(lease_seconds, self.workers.lease_seconds, "/leaseSeconds", &mut problems);
        if !(0..=MAX_WAIT_SECONDS).contains(&wait_seconds) {
            let message = format!("A number from 0 to {MAX_WAIT_SECONDS} is expected.");
            problems.push(Problem::new("/waitSeconds", "RANGE", message));
        }
        let (Some(limit), Some(lease_seconds), true) = (limit, seconds, problems.is_empty()) else {
            return Err(Error::Invalid(problems));
        };
        let identity = (actor.user.id, actor.mode);
        let claim =
            || self.claim_steps_as(&worker, &types, limit as usize, lease_seconds, Some(actor.clone()));
        let wait = Duration::from_secs(wait_seconds.unsigned_abs().into());
        let claims = self.wait_for_claims(&types, identity, wait, caller, claim).await?;
        let with_ticket = |claim: Claim| {
            let ticket = Ticket { job: claim.job.id, token: claim.token, lease_seconds };
            (claim, ticket)
        };
        Ok(claims.into_iter().map(with_ticket).collect())
    }

    /// Runs `claim` until it finds steps, `wait` is over, or the caller must get its answer.
    async fn wait_for_claims<F: Future<Output = Result<Vec<Claim>>>>(
        &self,
        types: &[String],
        identity: Identity,
        wait: Duration,
        caller: &Caller,
        claim: impl Fn() -> F,
    ) -> Result<Vec<Claim>> {
        if wait.is_zero() {
            return claim().await;
        }
        let queue = self.hub.queue();
        let deadline = caller.answer_by.min(Instant::now() + wait);
        let (mut wake_up, mut has_polled) = (None::<WakeUp>, false);
        loop {
            // Before the claim, so that no step in between is lost.
            let mut claimer = queue.wait_for(types, identity);
            let claims = claim().await?;
            if !claims.is_empty() {
                if wake_up.map_or(has_polled, WakeUp::end) {
                    queue.wake_after_poll(types);
                }
                return Ok(self.keep_or_release(claims, caller).await);
            }
            if let Some(wake_up) = wake_up.take() {
                wake_up.refuse();
            }
            (wake_up, has_polled) = loop {
                if caller.gone.is_cancelled() || Instant::now() >= deadline {
                    return Ok(Vec::new());
                }
                tokio::select! {
                    // A caller that has gone takes nothing.
                    biased;
                    () = caller.gone.cancelled() => {}
                    woken = claimer.woken() => break (Some(woken), false),
                    // Other nodes queue steps too, and retries become due. One claimer polls for all of its user.
                    () = sleep_until(deadline.min(Instant::now() + POLL_INTERVAL)) => {
                        if claimer.is_first() {
                            break (None, true);
                        }
                    }
                }
            };
        }
    }

    /// Returns the claims to a caller that still waits for them. Otherwise their steps return to the queue.
    async fn keep_or_release(&self, claims: Vec<Claim>, caller: &Caller) -> Vec<Claim> {
        if !caller.gone.is_cancelled() {
            return claims;
        }
        for claim in claims {
            let job = claim.job.id;
            if let Err(error) = self.release_step(claim.holder()).await {
                tracing::warn!(job.id = %job, %error, "failed to release the step of a worker that has gone");
            }
        }
        Vec::new()
    }

    /// Renews a lease and stores the progress of its step. `None` leaves the fraction or the message as it is.
    pub(crate) async fn report_progress_for(
        &self,
        actor: &Actor,
        ticket: &str,
        fraction: Option<f64>,
        message: Option<&str>,
    ) -> Result<Reported> {
        if fraction.is_some_and(|fraction| !(0.0..=1.0).contains(&fraction)) {
            return Err(Error::invalid("/fraction", "RANGE", "The fraction is a number from 0 to 1."));
        }
        let (ticket, job) = self.ticket(actor, ticket).await?;
        let task = match self.leased_task(actor, &ticket, &job).await {
            Ok(task) => task,
            Err(Error::Conflict { .. }) => return self.report_lost_lease(ticket.job).await,
            Err(error) => return Err(error),
        };
        let renewal = Renewal {
            job: ticket.job,
            token: ticket.token,
            deadline: task.deadline.ok_or_else(|| Error::internal("a lease without a deadline"))?,
            lease_seconds: ticket.lease_seconds,
            fraction: fraction.unwrap_or_default(),
            message: message.map(str::to_owned),
        };
        match self.renew(renewal).await? {
            Some(until) => Ok(Reported { until, is_cancelled: false }),
            None => self.report_lost_lease(ticket.job).await,
        }
    }

    /// Answers the report of a worker whose lease is lost. A worker of a cancelled job learns of it; for all others it is a
    /// CONFLICT.
    async fn report_lost_lease(&self, job: JobId) -> Result<Reported> {
        let job = job::Entity::find_by_id(job).one(self.db.read()).await?;
        match job.map(|job| job.status) {
            Some(Status::Cancelled) => Ok(Reported { until: self.clock.now(), is_cancelled: true }),
            _ => Err(Rejection::StaleLease.into()),
        }
    }

    /// Takes the result of a step. Under a lost lease it is refused and changes nothing.
    pub(crate) async fn complete_step_for(
        &self,
        actor: &Actor,
        ticket: &str,
        submitted: SubmittedResult,
    ) -> Result<job::Model> {
        let (ticket, row) = self.ticket(actor, ticket).await?;
        let step = self.leased_task(actor, &ticket, &row).await?.step;
        let job_type = self.types.version(&row.type_id, row.type_version).await?;
        let roles = job_type.step(&step).map(|step| step.content_roles.clone()).unwrap_or_default();
        let SubmittedResult { contents, mut review } = submitted;
        let mut problems = contents::role_problems(&roles, &contents);
        if let Some(review) = &mut review {
            problems.extend(self.limits.comment_problem(Some(&review.reason), "/review/reason"));
            match items(&review.items) {
                Ok(items) => review.items = items,
                Err(wrong) => problems.extend(wrong),
            }
            let is_writable = roles.contains(&review.role) && review.role != INPUT;
            let is_submitted = contents.iter().any(|(role, _)| *role == review.role);
            if !is_submitted && (!is_writable || self.current_content(row.id, &review.role).await?.is_none())
            {
                let message = "The content to be reviewed is neither part of this result nor an earlier content of this step.";
                problems.push(Problem::new("/review/contentRole", "UNKNOWN_ROLE", message));
            }
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let outputs = self.sources(actor, &contents).await?.into_iter().map(|(role, document)| {
            let document = OutputDocument::Existing(Box::new(document));
            Output { role, document }
        });
        let result = StepResult { outputs: outputs.collect(), review, scored: None };
        self.complete_step(ticket.holder(actor), result).await
    }

    /// Takes the failure of a step. Under a lost lease it is refused and changes nothing.
    pub(crate) async fn fail_step_for(
        &self,
        actor: &Actor,
        ticket: &str,
        failure: StepFailure,
    ) -> Result<job::Model> {
        let StepFailure { code, message, .. } = &failure;
        let mut problems = Vec::new();
        if !(1..=MAX_NAME_CHARS).contains(&code.chars().count()) || code.contains('\0') {
            let text = format!("A failure code has 1 to {MAX_NAME_CHARS} characters, without U+0000.");
            problems.push(Problem::new("/code", "LENGTH", text));
        }
        problems.extend(self.limits.comment_problem(Some(message), "/message"));
        if message.contains('\0') {
            problems.push(Problem::new(
                "/message",
                "INVALID",
                "A message must not contain the character U+0000.",
            ));
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let (ticket, _) = self.ticket(actor, ticket).await?;
        self.fail_step(ticket.holder(actor), failure).await
    }

    /// Reads a ticket, and the job that it names if the actor may see it.
    async fn ticket(&self, actor: &Actor, ticket: &str) -> Result<(Ticket, job::Model)> {
        let missing = || Error::not_found("claim");
        let max_seconds = self.workers.lease_seconds;
        let is_valid = |ticket: &Ticket| (1..=max_seconds).contains(&ticket.lease_seconds);
        let ticket = Ticket::parse(ticket).filter(is_valid).ok_or_else(missing)?;
        let job = job::Entity::find_by_id(ticket.job).one(self.db.read()).await?;
        standing_in(self.db.read(), actor, job.as_ref()).await?.ok_or_else(missing)?;
        Ok((ticket, job.ok_or_else(missing)?))
    }

    /// Reads the task that a ticket holds a lease on. CONFLICT if the lease is lost.
    async fn leased_task(&self, actor: &Actor, ticket: &Ticket, job: &job::Model) -> Result<task::Model> {
        let task = task::Entity::find_by_id(ticket.job).filter(task::Column::LeaseToken.eq(ticket.token));
        let task = task.one(self.db.read()).await?.ok_or(Rejection::StaleLease)?;
        let standing = standing(self.db.read(), actor, job).await?;
        if standing.is_some_and(|standing| works_on(&standing, &task.step)) {
            Ok(task)
        } else {
            Err(Error::not_found("claim"))
        }
    }
}

/// Returns a number from 1 to `max`, or adds a problem.
fn in_range(number: i32, max: u32, path: &str, problems: &mut Vec<Problem>) -> Option<u32> {
    let valid = u32::try_from(number).ok().filter(|number| (1..=max).contains(number));
    if valid.is_none() {
        problems.push(Problem::new(path, "RANGE", format!("The value is a whole number from 1 to {max}.")));
    }
    valid
}

/// Checks the items of a requested review, and completes them to the shape that reviews store.
fn items(given: &[Value]) -> Result<Vec<Value>, Vec<Problem>> {
    if given.len() > MAX_REVIEW_ITEMS {
        let message = format!("A review has at most {MAX_REVIEW_ITEMS} items.");
        return Err(vec![Problem::new("/review/items", "TOO_MANY", message)]);
    }
    let (mut items, mut problems) = (Vec::with_capacity(given.len()), Vec::new());
    for (i, item) in given.iter().enumerate() {
        match serde_json::from_value::<Item>(item.clone()) {
            Ok(item) if (0.0..=1.0).contains(&item.confidence) => items.push(json!({
                "path": &item.path, "label": item.label.as_ref().unwrap_or(&item.path), "value": item.value,
                "confidence": item.confidence, "page": item.page, "box": item.bbox,
            })),
            Ok(_) => {
                let message = "A confidence is a number from 0 to 1.";
                problems.push(Problem::new(format!("/review/items/{i}/confidence"), "RANGE", message));
            }
            Err(error) => {
                let message = format!(
                    "An item is {{path, label, value, confidence, page, box}}; path is required: {error}."
                );
                problems.push(Problem::new(format!("/review/items/{i}"), "SHAPE", message));
            }
        }
    }
    if problems.is_empty() { Ok(items) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{actor, open};
    use crate::config::Switch;
    use crate::job::state::Mode;

    #[test]
    fn ticket_survives_its_text_form() {
        let ticket = Ticket { job: JobId::new(), token: LeaseToken::new(), lease_seconds: 30 };
        let text = ticket.to_string();
        assert_eq!(Ticket::parse(&text), Some(ticket));
        for wrong in ["", "x", &text[1..], &format!("{text}AA"), "ä"] {
            assert_eq!(Ticket::parse(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn claim_ends_its_wait_when_its_caller_goes_or_must_get_an_answer() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let request = ClaimRequest {
            worker: "w".into(),
            types: vec!["noop".into()],
            limit: 1,
            lease_seconds: 30,
            wait_seconds: MAX_WAIT_SECONDS,
        };
        let gone = CancellationToken::new();
        let soon = Caller { gone: gone.clone(), answer_by: Instant::now() + Duration::from_millis(10) };
        let later = Caller { gone: gone.clone(), answer_by: Instant::now() + Duration::from_secs(3600) };
        assert_eq!(app.jobs.claim_steps_for(&ada, request.clone(), &soon).await.unwrap().len(), 0);
        let waiting = async {
            let claims = app.jobs.claim_steps_for(&ada, request.clone(), &later).await.unwrap();
            assert_eq!(claims.len(), 0);
        };
        let go = async { gone.cancel() };
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(waiting, go) }).await.unwrap();
    }

    #[test]
    fn number_of_review_items_is_limited() {
        let given = vec![json!({"path": "/a"}); MAX_REVIEW_ITEMS + 1];
        assert_eq!(items(&given[1..]).map(|kept| kept.len()), Ok(MAX_REVIEW_ITEMS));
        let problems = items(&given).unwrap_err();
        assert_eq!((&*problems[0].path, &*problems[0].code), ("/review/items", "TOO_MANY"));
    }

    #[test]
    fn items_are_completed_to_the_stored_shape() {
        let kept = items(&[json!({"path": "/a", "box": [0, 0, 1, 1]})]).unwrap();
        assert_eq!(kept[0]["label"], "/a");
        assert_eq!(kept[0]["confidence"], 0.0);
        for (wrong, path) in [
            (json!({"label": "x"}), "/review/items/0"),
            (json!("/a"), "/review/items/0"),
            (json!({"path": "/a", "box": [1]}), "/review/items/0"),
            (json!({"path": "/a", "confidence": 2}), "/review/items/0/confidence"),
        ] {
            assert_eq!(items(std::slice::from_ref(&wrong)).unwrap_err()[0].path, path, "{wrong}");
        }
    }
}
