//! The one way in which a job changes: lock its row, decide, write rows and history, commit, hint.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel,
    QueryFilter, QuerySelect, Set,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::decide::{Command, Rejection, decide, leased};
use super::state::{Event, Failure, Lease, State, StepChange, Task};
use crate::clock::Timestamp;
use crate::entity::{access, job, job_event, review, task};
use crate::error::{Error, Result};
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

/// A job whose row is locked by this transaction, with everything that decides what may happen to it.
#[derive(Debug)]
pub struct Locked {
    row: job::Model,
    state: State,
    had_task: bool,
    review: Option<ReviewId>,
    subject: ReviewSubject,
    new_reviews: Vec<review::ActiveModel>,
    closed_reviews: Vec<(ReviewId, &'static str)>,
    events: Vec<job_event::ActiveModel>,
    now: Timestamp,
}

impl Locked {
    /// Locks a job and loads its state; `None` where it does not exist (any more).
    pub async fn lock(tx: &DatabaseTransaction, id: JobId, now: Timestamp) -> Result<Option<Self>> {
        let Some(row) = job::Entity::find_by_id(id).lock_exclusive().one(tx).await? else { return Ok(None) };
        let task = task::Entity::find_by_id(id).one(tx).await?;
        let open = review::Entity::find().filter(review::Column::JobId.eq(id));
        let open = open.filter(review::Column::Status.is_in(["OPEN", "CLAIMED"])).one(tx).await?;
        let state = state(&row, task.as_ref(), open.as_ref())?;
        let (had_task, review) = (task.is_some(), open.map(|open| open.id));
        Ok(Some(Self::with(row, state, had_task, review, now)))
    }

    /// A job that this transaction has just inserted.
    pub(super) fn fresh(row: job::Model, state: State, now: Timestamp) -> Self {
        Self::with(row, state, false, None, now)
    }

    fn with(row: job::Model, state: State, had_task: bool, review: Option<ReviewId>, now: Timestamp) -> Self {
        let (new_reviews, closed_reviews, events) = (Vec::new(), Vec::new(), Vec::new());
        let subject = ReviewSubject::default();
        Self { row, state, had_task, review, subject, new_reviews, closed_reviews, events, now }
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

    /// The time of this transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What a review opened by the next command is about.
    pub fn set_review_subject(&mut self, subject: ReviewSubject) {
        self.subject = subject;
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

    /// Adds to the history what the state machine does not decide. `step` says whose people may read `data`.
    pub fn record(&mut self, kind: EventKind, step: Option<&str>, actor: Option<UserId>, data: Value) {
        self.row.seq += 1;
        self.events.push(job_event::ActiveModel {
            job_id: Set(self.row.id),
            sequence: Set(self.row.seq),
            kind: Set(name(kind)),
            actor_id: Set(actor),
            step: Set(step.map(str::to_owned)),
            at: Set(self.now),
            data: Set(data),
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
                let mut data = json!({"step": name, "from": from, "to": change.status(), "attempt": attempt});
                match change {
                    StepChange::Queued { run_at, error } => {
                        insert_some(&mut data, "error", error.as_ref());
                        insert_some(&mut data, "runAt", (*run_at > self.now).then_some(run_at));
                    }
                    StepChange::Running { lease } => insert_some(&mut data, "worker", Some(&lease.owner)),
                    StepChange::Failed { error } => insert_some(&mut data, "error", Some(error)),
                    StepChange::Blocked
                    | StepChange::Completed
                    | StepChange::Cancelled
                    | StepChange::Reset => {}
                }
                self.record(EventKind::StepChanged, None, actor, data);
            }
            Event::ReviewOpened { step, reason } => {
                let name = step_name(step);
                let id = self.open_review(&name, reason);
                let data = json!({"reviewId": id, "step": name, "reason": reason});
                self.record(EventKind::ReviewOpened, Some(&name), None, data);
            }
            Event::ReviewClosed { step, approved } => {
                let name = step_name(step);
                let decision = if *approved { "APPROVED" } else { "CANCELLED" };
                let id = self.review.take();
                self.closed_reviews.extend(id.map(|id| (id, decision)));
                let data = json!({"reviewId": id, "step": name, "decision": decision, "automatic": true});
                self.record(EventKind::ReviewDecided, Some(&name), actor, data);
            }
            Event::Retried { step } => {
                let data = json!({"step": step_name(step)});
                self.record(EventKind::Retried, None, actor, data);
            }
        }
    }

    fn open_review(&mut self, step: &str, reason: &str) -> ReviewId {
        let (id, subject) = (ReviewId::new(), std::mem::take(&mut self.subject));
        self.review = Some(id);
        self.new_reviews.push(review::ActiveModel {
            id: Set(id),
            job_id: Set(self.row.id),
            type_id: Set(self.row.type_id.clone()),
            step: Set(step.to_owned()),
            status: Set("OPEN".to_owned()),
            reason: Set(reason.to_owned()),
            content_id: Set(subject.content),
            items: Set(Value::Array(subject.items)),
            draft: Set(None),
            claimed_by: Set(None),
            claim_expires_at: Set(None),
            decided_by: Set(None),
            decided_at: Set(None),
            comment: Set(None),
            receipt: Set(None),
            created_at: Set(self.now),
        });
        id
    }

    /// Writes the rows and the history that follow from what was performed and recorded.
    pub async fn save(mut self, tx: &DatabaseTransaction) -> Result<job::Model> {
        self.row.status = name(self.state.status);
        self.row.fence = self.state.fence;
        self.row.steps = serde_json::to_value(&self.state.steps).map_err(Error::internal)?;
        self.row.failure =
            self.state.failure.as_ref().map(serde_json::to_value).transpose().map_err(Error::internal)?;
        self.row.started_at = self.state.started_at;
        self.row.finished_at = self.state.finished_at;
        self.row.updated_at = self.now;
        let row = self.row.clone().into_active_model().reset_all().update(tx).await?;

        match &self.state.task {
            Some(task) => upsert_task(tx, &row, &self.state, task, self.had_task).await?,
            None if self.had_task => {
                task::Entity::delete_by_id(row.id).exec(tx).await?;
            }
            None => {}
        }
        if !self.new_reviews.is_empty() {
            review::Entity::insert_many(self.new_reviews).exec(tx).await?;
        }
        for (id, decision) in self.closed_reviews {
            let update = review::Entity::update_many()
                .col_expr(review::Column::Status, Expr::value(decision))
                .col_expr(review::Column::DecidedAt, Expr::value(self.now));
            update.filter(review::Column::Id.eq(id)).exec(tx).await?;
        }
        if !self.events.is_empty() {
            job_event::Entity::insert_many(self.events).exec(tx).await?;
        }
        let touch = access::Entity::update_many().col_expr(access::Column::UpdatedAt, Expr::value(self.now));
        touch.filter(access::Column::JobId.eq(row.id)).exec(tx).await?;
        Ok(row)
    }
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
    let task = task
        .map(|row| Ok::<_, Error>(Task { step: index(&row.step)?, run_at: row.run_at, lease: lease(row) }));
    let review = review.map(|row| index(&row.step)).transpose()?;
    Ok(State {
        status: unname(&job.status)?,
        mode: unname(&job.mode)?,
        task: task.transpose()?,
        review,
        fence: job.fence,
        failure: failure(job)?,
        started_at: job.started_at,
        finished_at: job.finished_at,
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
        })
    }
}
