//! The one way in which a job changes: lock its row, decide, write rows and history, commit, hint.

use sea_orm::sea_query::{Expr, IntoIden, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel,
    Iterable, QueryFilter, QuerySelect, Set,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::contents;
use super::decide::{Command, Rejection, claimed, decide, leased};
use super::state::{
    Event, Failure, Lease, OpenReview, Release, ReviewClaim, ReviewOutcome, State, StepChange, Task,
};
use super::timing::Timing;
use crate::clock::{Clock, Timestamp};
use crate::db;
use crate::entity::{access, job, review, review_matter, task};
use crate::error::{Error, Result};
use crate::events::feed::{self, NewEvent};
use crate::id::{ContentId, JobId, LeaseToken, ReviewId, UserId};

/// What a change in the history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "documented where clients read them, in the GraphQL schema")]
pub enum EventKind {
    Created,
    Rewound,
    StatusChanged,
    StepChanged,
    ContentAdded,
    CollaborationChanged,
    MetadataChanged,
    ReviewOpened,
    ReviewClaimed,
    ReviewReleased,
    ReviewDecided,
    Retried,
}

/// What a review that a worker asks for is about.
#[derive(Debug, Clone, Default)]
pub struct ReviewSubject {
    /// The content under review.
    pub content: Option<ContentId>,
    /// Its parts that need a decision.
    pub items: Vec<Value>,
}

/// The large parts of a review, which are written where they are new and never read here.
#[derive(Debug, Default)]
struct Matter {
    items: Vec<Value>,
    draft: Option<Value>,
}

/// A review as it stands in this transaction.
#[derive(Debug)]
struct Tracked {
    row: review::Model,
    /// What is to be written beside the row.
    matter: Matter,
    /// Whether its row was there before.
    stored: bool,
    /// Whether it has to be written.
    touched: bool,
}

/// What a transaction has made of a job, for those who wait for it.
#[derive(Debug)]
pub struct Saved {
    /// The job.
    pub job: job::Model,
    /// Reviews that were opened or changed.
    pub reviews: Vec<ReviewId>,
    /// Sequence of the first event that was written; above the job's last where none was.
    pub first: i64,
    /// What is to be sent to webhooks.
    pub deliveries: usize,
}

/// A job whose row is locked by this transaction, with everything that decides what may happen to it.
#[derive(Debug)]
pub struct Locked {
    row: job::Model,
    state: State,
    /// As it was stored.
    task: Option<Task>,
    /// The open review last, where there is one; before it those that this transaction closed.
    reviews: Vec<Tracked>,
    subject: ReviewSubject,
    events: Vec<NewEvent>,
    now: Timestamp,
}

impl Locked {
    /// Locks a job and loads its state; `None` where it does not exist (any more). The time is taken once the lock is held,
    /// from the clock that all nodes share: what waited long is decided by what is the case now.
    pub async fn lock(tx: &DatabaseTransaction, id: JobId, clock: &Clock) -> Result<Option<Self>> {
        let Some(row) = job::Entity::find_by_id(id).lock_exclusive().one(tx).await? else { return Ok(None) };
        let now = db::now(tx, clock).await?;
        let task = task::Entity::find_by_id(id).one(tx).await?;
        let open = review::Entity::find().filter(review::Column::JobId.eq(id));
        let open = open.filter(review::Column::Status.is_in(["OPEN", "CLAIMED"])).one(tx).await?;
        let state = state(&row, task.as_ref(), open.as_ref())?;
        let mut locked = Self::fresh(row, state, now);
        locked.task.clone_from(&locked.state.task);
        locked.reviews.extend(open.map(|row| Tracked {
            row,
            matter: Matter::default(),
            stored: true,
            touched: false,
        }));
        Ok(Some(locked))
    }

    /// A job that this transaction has just inserted.
    pub(super) fn fresh(row: job::Model, state: State, now: Timestamp) -> Self {
        let (reviews, events, subject) = (Vec::new(), Vec::new(), ReviewSubject::default());
        Self { row, state, task: None, reviews, subject, events, now }
    }

    /// The job's row.
    pub fn row(&self) -> &job::Model {
        &self.row
    }

    /// The job's row, for what the state machine does not decide: metadata, priority.
    pub fn row_mut(&mut self) -> &mut job::Model {
        &mut self.row
    }

    /// The job as it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The name of the step that is queued, or with a worker.
    pub fn step_in_work(&self) -> Option<&str> {
        self.state.task.as_ref().map(|task| self.state.steps[task.step].name.as_str())
    }

    /// The open review.
    pub fn open_review(&self) -> Option<&review::Model> {
        self.state.review.and(self.reviews.last()).map(|tracked| &tracked.row)
    }

    /// Keeps what a reviewer has corrected so far; part of no decision.
    pub fn set_draft(&mut self, draft: Value) {
        self.on_review(|_| ());
        if let Some(tracked) = self.reviews.last_mut() {
            tracked.matter.draft = Some(draft);
        }
    }

    /// The time of this transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What a review opened by the next command is about.
    pub fn set_review_subject(&mut self, subject: ReviewSubject) {
        self.subject = subject;
    }

    /// The index of the step that a client calls `toStep`.
    pub fn step_index(&self, name: &str) -> Result<usize> {
        let steps = &self.state.steps;
        steps.iter().position(|step| step.name == name).ok_or_else(|| {
            let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
            let message = format!("The job has no step {name:?}; it has: {}.", names.join(", "));
            Error::invalid("/toStep", "UNKNOWN_STEP", message)
        })
    }

    /// Supersedes the contents that a step and all after it have made.
    pub async fn supersede_from(&self, tx: &DatabaseTransaction, step: usize) -> Result<()> {
        let steps: Vec<_> = self.state.steps[step..].iter().map(|step| step.name.as_str()).collect();
        contents::supersede(tx, self.row.id, &steps).await
    }

    /// Decides a command and makes its events true and part of the history.
    pub fn perform(&mut self, command: Command, actor: Option<UserId>) -> Result<(), Rejection> {
        for event in decide(&self.state, command, self.now)? {
            self.state.apply(&event, self.now);
            self.write_down(&event, actor);
        }
        Ok(())
    }

    /// Whether a lease holds now.
    pub fn check_lease(&self, token: LeaseToken) -> Result<(), Rejection> {
        leased(&self.state, token, self.now).map(drop)
    }

    /// Whether somebody has the open review now.
    pub fn check_claim(&self, by: UserId) -> Result<(), Rejection> {
        claimed(&self.state, by, self.now).map(drop)
    }

    /// Adds to the history what the state machine does not decide. `step` says whose people may read `data`.
    pub fn record(&mut self, kind: EventKind, step: Option<&str>, actor: Option<UserId>, data: Value) {
        self.row.seq += 1;
        self.events.push(NewEvent {
            job: self.row.id,
            sequence: self.row.seq,
            kind: name(kind),
            actor,
            step: step.map(str::to_owned),
            at: self.now,
            data,
        });
    }

    fn write_down(&mut self, event: &Event, actor: Option<UserId>) {
        let step_name = |index: &usize| self.state.steps[*index].name.clone();
        match event {
            Event::Status { from, to, reason, failure } => {
                let mut data = json!({"from": from, "to": to});
                insert_some(&mut data, "reason", reason.as_ref());
                insert_some(&mut data, "failure", failure.as_ref());
                self.record(EventKind::StatusChanged, None, actor, data);
            }
            Event::Step { step, from, change } => {
                let (name, attempt) = (step_name(step), self.state.steps[*step].attempt);
                let mut data =
                    json!({"step": &name, "from": from, "to": change.status(), "attempt": attempt});
                match change {
                    StepChange::Queued { run_at, error } => {
                        insert_some(&mut data, "error", error.as_ref());
                        insert_some(&mut data, "runAt", (*run_at > self.now).then_some(run_at));
                    }
                    StepChange::Running { lease } => insert_some(&mut data, "worker", Some(&lease.owner)),
                    StepChange::Failed { error } => insert_some(&mut data, "error", Some(error)),
                    StepChange::Reset { comment } => insert_some(&mut data, "comment", comment.as_ref()),
                    StepChange::GivenBack
                    | StepChange::Blocked
                    | StepChange::Completed
                    | StepChange::Cancelled => {}
                }
                self.record(EventKind::StepChanged, Some(&name), actor, data);
            }
            Event::ReviewOpened { step, reason } => {
                let name = step_name(step);
                let id = self.add_review(*step, reason);
                let data = json!({"reviewId": id, "step": name, "reason": reason});
                self.record(EventKind::ReviewOpened, Some(&name), None, data);
            }
            Event::ReviewClaimed { step, claim } => {
                let (name, ReviewClaim { by, until }) = (step_name(step), *claim);
                let id = self.on_review(|review| {
                    "CLAIMED".clone_into(&mut review.status);
                    (review.claimed_by, review.claim_expires_at) = (Some(by), Some(until));
                });
                let data = json!({"reviewId": id, "step": name, "expiresAt": until});
                self.record(EventKind::ReviewClaimed, Some(&name), actor, data);
            }
            Event::ReviewRenewed { until } => {
                self.on_review(|review| review.claim_expires_at = Some(*until));
            }
            Event::ReviewReleased { step, claimed_by, why } => {
                let name = step_name(step);
                let id = self.on_review(|review| {
                    "OPEN".clone_into(&mut review.status);
                    (review.claimed_by, review.claim_expires_at) = (None, None);
                });
                let data = json!({"reviewId": id, "step": name, "claimedBy": claimed_by, "reason": why});
                // Time did it, whoever noticed.
                let actor = actor.filter(|_| *why != Release::Expired);
                self.record(EventKind::ReviewReleased, Some(&name), actor, data);
            }
            Event::ReviewClosed { step, outcome, by, comment, receipt, to_step } => {
                let (step, to_step, now) = (step_name(step), to_step.as_ref().map(step_name), self.now);
                let id = self.on_review(|review| {
                    review.status = name(outcome);
                    (review.claimed_by, review.claim_expires_at) = (None, None);
                    (review.decided_by, review.decided_at) = (*by, Some(now));
                    review.comment.clone_from(comment);
                    review.receipt.clone_from(&receipt.content_sha256);
                });
                let mut data = json!({"reviewId": id, "step": step, "decision": outcome});
                insert_some(&mut data, "automatic", by.is_none().then_some(true));
                insert_some(&mut data, "comment", comment.as_ref());
                insert_some(&mut data, "contentSha256", receipt.content_sha256.as_ref());
                insert_some(&mut data, "patch", receipt.patch.as_ref());
                insert_some(&mut data, "toStep", to_step);
                // Nobody but a reviewer decides, whoever cancelled the job.
                let decider = if *outcome == ReviewOutcome::Cancelled { actor } else { *by };
                self.record(EventKind::ReviewDecided, Some(&step), decider, data);
            }
            Event::Retried { step } => {
                let data = json!({"step": step_name(step)});
                self.record(EventKind::Retried, None, actor, data);
            }
            Event::Rewound { step, reason } => {
                let mut data = json!({"step": step_name(step)});
                insert_some(&mut data, "reason", reason.as_ref());
                self.record(EventKind::Rewound, None, actor, data);
            }
        }
    }

    fn add_review(&mut self, step: usize, reason: &str) -> ReviewId {
        let (id, subject) = (ReviewId::new(), std::mem::take(&mut self.subject));
        let step = &self.state.steps[step];
        let row = review::Model {
            id,
            job_id: self.row.id,
            type_id: self.row.type_id.clone(),
            step: step.name.clone(),
            status: "OPEN".to_owned(),
            reason: reason.to_owned(),
            content_id: subject.content,
            claimed_by: None,
            claim_expires_at: None,
            decided_by: None,
            decided_at: None,
            comment: None,
            receipt: None,
            barred_id: step.four_eyes.then_some(self.row.owner_id),
            created_at: self.now,
            updated_at: Some(self.now),
        };
        let matter = Matter { items: subject.items, draft: None };
        self.reviews.push(Tracked { row, matter, stored: false, touched: true });
        id
    }

    /// Changes the row of the review that is, or was until just now, open.
    fn on_review(&mut self, change: impl FnOnce(&mut review::Model)) -> Option<ReviewId> {
        let tracked = self.reviews.last_mut()?;
        change(&mut tracked.row);
        tracked.touched = true;
        tracked.row.updated_at = Some(self.now);
        Some(tracked.row.id)
    }

    /// Writes the rows and the history that follow from what was performed and recorded.
    pub async fn save(mut self, tx: &DatabaseTransaction) -> Result<Saved> {
        let reviews = self.save_reviews(tx).await?;
        let first = self.row.seq + 1 - i64::try_from(self.events.len()).map_err(Error::internal)?;
        if self.events.is_empty() {
            return Ok(Saved { job: self.row, reviews, first, deliveries: 0 });
        }
        self.row.status = name(self.state.status);
        self.row.fence = self.state.fence;
        self.row.steps = serde_json::to_value(&self.state.steps).map_err(Error::internal)?;
        self.row.failure =
            self.state.failure.as_ref().map(serde_json::to_value).transpose().map_err(Error::internal)?;
        self.row.started_at = self.state.started_at;
        self.row.finished_at = self.state.finished_at;
        self.row.timing = Some(serde_json::to_value(self.state.timing).map_err(Error::internal)?);
        self.row.updated_at = self.now;
        let row = self.row.clone().into_active_model().reset_all().update(tx).await?;

        self.save_task(tx, &row).await?;
        let deliveries = feed::append(tx, self.events).await?;
        let touch = access::Entity::update_many().col_expr(access::Column::UpdatedAt, Expr::value(self.now));
        touch.filter(access::Column::JobId.eq(row.id)).exec(tx).await?;
        Ok(Saved { job: row, reviews, first, deliveries })
    }

    async fn save_task(&self, tx: &DatabaseTransaction, job: &job::Model) -> Result<()> {
        match (&self.task, &self.state.task) {
            // A worker may be renewing its lease and saying how far it is, without this lock: only what is ours is written.
            (Some(before), Some(task)) if before == task => {
                let place =
                    task::Entity::update_many().col_expr(task::Column::Priority, Expr::value(job.priority));
                let moved = place
                    .filter(task::Column::JobId.eq(job.id))
                    .filter(task::Column::Priority.ne(job.priority));
                moved.exec(tx).await?;
            }
            (before, Some(task)) => upsert_task(tx, job, &self.state, task, before.is_some()).await?,
            (Some(_), None) => {
                task::Entity::delete_by_id(job.id).exec(tx).await?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    async fn save_reviews(&mut self, tx: &DatabaseTransaction) -> Result<Vec<ReviewId>> {
        let mut saved = Vec::new();
        for Tracked { row, matter, stored, .. } in self.reviews.drain(..).filter(|tracked| tracked.touched) {
            let id = row.id;
            saved.push(id);
            let row = row.into_active_model().reset_all();
            if stored {
                row.update(tx).await?;
            } else {
                insert_review(tx, &row, matter.items).await?;
            }
            if let Some(draft) = matter.draft {
                let keep = review_matter::Entity::update_many()
                    .col_expr(review_matter::Column::Draft, Expr::value(draft));
                keep.filter(review_matter::Column::Id.eq(id)).exec(tx).await?;
            }
        }
        Ok(saved)
    }
}

async fn insert_review(
    tx: &impl ConnectionTrait,
    row: &review::ActiveModel,
    items: Vec<Value>,
) -> Result<()> {
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for column in review::Column::iter() {
        if let Some(value) = row.get(column).into_value() {
            columns.push(column.into_iden());
            values.push(Expr::value(value));
        }
    }
    columns.push(review_matter::Column::Items.into_iden());
    values.push(Expr::value(Value::Array(items)));
    let mut insert = Query::insert();
    insert.into_table(review::Entity).columns(columns).values(values).map_err(Error::internal)?;
    tx.execute(&insert).await?;
    Ok(())
}

async fn upsert_task(
    tx: &impl ConnectionTrait,
    job: &job::Model,
    state: &State,
    task: &Task,
    exists: bool,
) -> Result<()> {
    let lease = task.lease.as_ref();
    let row = task::ActiveModel {
        job_id: Set(job.id),
        type_id: Set(job.type_id.clone()),
        step: Set(state.steps[task.step].name.clone()),
        priority: Set(job.priority),
        run_at: Set(task.run_at),
        fence: Set(state.fence),
        lease_token: Set(lease.map(|lease| lease.token)),
        lease_owner: Set(lease.map(|lease| lease.owner.clone())),
        lease_until: Set(lease.map(|lease| lease.until)),
        deadline: Set(lease.map(|lease| lease.deadline)),
        fraction: Set(0.0),
        message: Set(None),
    };
    if exists {
        row.update(tx).await?;
    } else {
        row.insert(tx).await?;
    }
    Ok(())
}

/// The state that rows stand for.
pub fn state(job: &job::Model, task: Option<&task::Model>, review: Option<&review::Model>) -> Result<State> {
    let steps: Vec<super::state::Step> = parse(&job.steps)?;
    let index = |name: &str| {
        let found = steps.iter().position(|step| step.name == name);
        found.ok_or_else(|| Error::Internal(format!("job {} has no step {name}", job.id)))
    };
    let task = task.map(|row| {
        let (step, lease) = (index(&row.step)?, lease(row));
        Ok::<_, Error>(Task { step, run_at: row.run_at, fraction: row.fraction, lease })
    });
    let review = review.map(|row| {
        let claim = row.claimed_by.zip(row.claim_expires_at);
        Ok::<_, Error>(OpenReview {
            step: index(&row.step)?,
            claim: claim.map(|(by, until)| ReviewClaim { by, until }),
        })
    });
    Ok(State {
        owner: job.owner_id,
        status: unname(&job.status)?,
        mode: unname(&job.mode)?,
        task: task.transpose()?,
        review: review.transpose()?,
        fence: job.fence,
        failure: failure(job)?,
        started_at: job.started_at,
        finished_at: job.finished_at,
        timing: job.timing.as_ref().map_or_else(|| Ok(Timing::since(job.updated_at)), parse)?,
        steps,
    })
}

/// Why a job failed.
pub fn failure(job: &job::Model) -> Result<Option<Failure>> {
    job.failure.as_ref().map(parse).transpose()
}

fn lease(row: &task::Model) -> Option<Lease> {
    Some(Lease {
        fence: row.fence,
        token: row.lease_token?,
        owner: row.lease_owner.clone()?,
        until: row.lease_until?,
        deadline: row.deadline?,
    })
}

/// An enum's value as it stands in a column.
pub(crate) fn name(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        // Only enums without data come here, and those are strings.
        other => format!("{other:?}"),
    }
}

/// The value of a column as its enum.
pub(crate) fn unname<T: DeserializeOwned>(name: &str) -> Result<T> {
    serde_json::from_value(Value::String(name.to_owned())).map_err(Error::internal)
}

fn parse<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(Error::internal)
}

fn insert_some(data: &mut Value, key: &str, value: Option<impl Serialize>) {
    if let (Some(value), Some(object)) =
        (value.and_then(|value| serde_json::to_value(value).ok()), data.as_object_mut())
    {
        object.insert(key.to_owned(), value);
    }
}

/// What a caller is told when a command changes nothing.
impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::conflict(match rejection {
            Rejection::Final(status) => format!("The job has ended already: it is {}.", name(status)),
            Rejection::NotStopped(status) => {
                format!(
                    "Only a job that FAILED or was CANCELLED can be run again; this one is {}.",
                    name(status)
                )
            }
            Rejection::StaleLease => {
                "This claim was lost: its time ran out, or the job went on without it.".into()
            }
            Rejection::NothingQueued | Rejection::LeaseHolds | Rejection::Started => {
                "Somebody else was faster.".into()
            }
            Rejection::NoReview => "This review has ended already.".into(),
            Rejection::ClaimedBy(who) => {
                let message = "Somebody else has claimed this review.".into();
                let details = [("claimedBy".to_owned(), json!(who))].into_iter().collect();
                return Self::Conflict { message, details };
            }
            Rejection::NotClaimed => "Claim this review first, or again where its time ran out.".into(),
            Rejection::FourEyes => {
                let message =
                    "This step is decided by four eyes: the owner of a job may not decide its reviews.";
                return Self::Forbidden(message.into());
            }
            Rejection::NotEarlier => {
                let message = "A review sends a job back to a step before its own.";
                return Self::invalid("/toStep", "NOT_EARLIER", message);
            }
            Rejection::NotReached => {
                let message = "The job has not come to this step yet; it can be taken back only.";
                return Self::invalid("/toStep", "NOT_REACHED", message);
            }
        })
    }
}
