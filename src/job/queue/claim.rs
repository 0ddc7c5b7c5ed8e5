//! Claiming steps.

use sea_orm::sea_query::{
    Alias, Expr, ExprTrait, LockBehavior, LockType, Order, Query, SelectStatement, UnionType,
};
use sea_orm::{ColumnTrait, Condition, DbBackend};

use super::LeaseHolder;
use crate::access::policy::{Standing, works_on};
use crate::access::{Actor, accessible_step_rows};
use crate::clock::Timestamp;
use crate::entity::{job, task};
use crate::error::{Error, Result};
use crate::id::{JobId, LeaseToken};
use crate::job::Jobs;
use crate::job::decide::{Command, Rejection};
use crate::job::record::{self, Authority, LockedJob};
use crate::job::state::Mode;

/// A claimed step.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The proof of the claim.
    pub token: LeaseToken,
    /// The time at which the lease expires unless it is renewed.
    pub until: Timestamp,
    /// The time at which the attempt times out, whether the lease is renewed or not.
    pub deadline: Timestamp,
    /// The number of this claim among all claims of the job, from 1.
    pub fence: i64,
    /// The name of the step.
    pub step: String,
    /// The attempt of the step, from 1.
    pub attempt: u32,
    /// The job after the claim.
    pub job: job::Model,
    /// The user of an external worker.
    actor: Option<Actor>,
}

impl Claim {
    /// Returns the right to report on this claim.
    pub fn holder(&self) -> LeaseHolder {
        LeaseHolder { job: self.job.id, token: self.token, actor: self.actor.clone() }
    }
}

/// A worker that may claim the queued step of a job.
struct Claimant {
    job: JobId,
    actor: Option<Actor>,
}

/// An external worker needs access to the step.
impl Authority for Claimant {
    fn job_id(&self) -> JobId {
        self.job
    }

    fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    fn check(&self, job: &LockedJob, standing: Option<&Standing>) -> Result<()> {
        let step = job.task_step().unwrap_or_default();
        if self.actor.is_none() || standing.is_some_and(|standing| works_on(standing, step)) {
            return Ok(());
        }
        Err(Error::not_found("step"))
    }
}

impl Jobs {
    /// Claims up to `limit` queued steps of these job types for a worker of this server, highest priority first, then
    /// oldest first. Skips jobs that another transaction has locked.
    pub async fn claim_steps(
        &self,
        worker: &str,
        types: &[String],
        limit: usize,
        lease_seconds: u32,
    ) -> Result<Vec<Claim>> {
        self.claim_steps_as(worker, types, limit, lease_seconds, None).await
    }

    /// [`Jobs::claim_steps`]. For an external worker, claims only steps to which its user has access.
    pub(super) async fn claim_steps_as(
        &self,
        worker: &str,
        types: &[String],
        limit: usize,
        lease_seconds: u32,
        actor: Option<Actor>,
    ) -> Result<Vec<Claim>> {
        let (worker, types, by) = (worker.to_owned(), types.to_vec(), actor.clone());
        let candidates = move |now, backend, skipped: &[JobId]| {
            candidates(now, backend, &types, limit, by.as_ref(), skipped)
        };
        let claimant = actor.clone();
        let authority = move |job| Claimant { job, actor: claimant.clone() };
        let claim = move |locked: &mut LockedJob| {
            let token = LeaseToken::new();
            let by = locked.actor();
            match locked.perform(Command::Claim { owner: worker.clone(), token, lease_seconds, by }) {
                Ok(()) => claimed(token, locked).map(Some),
                Err(Rejection::NothingQueued | Rejection::FourEyes) => Ok(None),
                Err(other) => Err(other.into()),
            }
        };
        let claimed = record::change_found(self, candidates, authority, claim).await?;
        let with_actor = |(job, claim)| Claim { job, actor: actor.clone(), ..claim };
        Ok(claimed.into_iter().map(with_actor).collect())
    }
}

fn claimed(token: LeaseToken, locked: &LockedJob) -> Result<Claim> {
    let state = locked.state();
    let task = state.task.as_ref().ok_or_else(|| Error::internal("a claim without a task"))?;
    let lease = task.lease.as_ref().ok_or_else(|| Error::internal("a claim without a lease"))?;
    Ok(Claim {
        token,
        until: lease.until,
        deadline: lease.deadline,
        fence: lease.fence,
        step: state.steps[task.step].name.clone(),
        attempt: state.steps[task.step].attempt,
        job: locked.row().clone(),
        actor: None,
    })
}

/// Returns a query for the jobs with a claimable step, in the order of the queue, without `skipped`.
///
/// Each type has a subquery of its own, because an index holds the queue of each type in order: the cost does not depend on
/// how much is queued.
fn candidates(
    now: Timestamp,
    backend: DbBackend,
    types: &[String],
    limit: usize,
    actor: Option<&Actor>,
    skipped: &[JobId],
) -> SelectStatement {
    let queued = Alias::new("queued");
    let of_types = types.iter().map(|of_type| {
        let of_type = candidates_of_type(now, backend, of_type, limit, actor, skipped);
        Query::select().columns(QUEUE_COLUMNS).from_subquery(of_type, queued.clone()).to_owned()
    });
    let union = of_types.reduce(|mut all, of_type| all.union(UnionType::All, of_type).to_owned());
    let Some(union) = union else {
        // Without types, there is no candidate.
        let none =
            Query::select().column(task::Column::JobId).from(task::Entity).and_where(false.into()).to_owned();
        return none;
    };
    Query::select()
        .column(task::Column::JobId)
        .from_subquery(union, queued)
        .order_by(task::Column::Priority, Order::Desc)
        .order_by(task::Column::RunAt, Order::Asc)
        .order_by(task::Column::JobId, Order::Asc)
        .limit(limit as u64)
        .to_owned()
}

/// The columns that give the order of the queue.
const QUEUE_COLUMNS: [task::Column; 3] = [task::Column::JobId, task::Column::Priority, task::Column::RunAt];

fn candidates_of_type(
    now: Timestamp,
    backend: DbBackend,
    of_type: &str,
    limit: usize,
    actor: Option<&Actor>,
    skipped: &[JobId],
) -> SelectStatement {
    let mut candidates = Query::select()
        .columns(QUEUE_COLUMNS.map(|column| (task::Entity, column)))
        .from(task::Entity)
        .inner_join(job::Entity, task::Column::JobId.into_expr().equals((job::Entity, job::Column::Id)))
        .and_where(task::Column::LeaseToken.is_null())
        .and_where(task::Column::RunAt.lte(now))
        .and_where(task::Column::TypeId.eq(of_type))
        .order_by((task::Entity, task::Column::Priority), Order::Desc)
        .order_by((task::Entity, task::Column::RunAt), Order::Asc)
        .order_by((task::Entity, task::Column::JobId), Order::Asc)
        .limit(limit as u64)
        .to_owned();
    if !skipped.is_empty() {
        candidates.and_where(task::Column::JobId.is_not_in(skipped.iter().copied()));
    }
    if let Some(actor) = actor {
        candidates.cond_where(claimable_by(actor, backend));
        if let Some(mode) = claimable_mode(actor) {
            candidates.and_where(job::Column::Mode.eq(mode));
        }
    }
    if backend == DbBackend::Postgres {
        candidates.lock_with_tables_behavior(LockType::Update, [job::Entity], LockBehavior::SkipLocked);
    }
    candidates
}

/// Returns the mode to which the claims of an actor are limited: a TEST key claims steps of TEST jobs only.
pub(super) fn claimable_mode(actor: &Actor) -> Option<Mode> {
    (actor.mode == Mode::Test).then_some(Mode::Test)
}

/// Returns a condition on the rows of `task`, joined with their jobs: the actor may claim the step. Excludes four-eyes steps
/// of the actor's own jobs.
pub(super) fn claimable_by(actor: &Actor, backend: DbBackend) -> Condition {
    // Invalid JSON in one row must not fail the query for all rows.
    let (each, step, is_set) = match backend {
        DbBackend::Postgres => (
            "jsonb_array_elements(CASE jsonb_typeof(\"job\".\"steps\") WHEN 'array' THEN \"job\".\"steps\" END) \
             AS one(value)",
            "one.value",
            "= 'true'",
        ),
        _ => (
            "json_each(CASE WHEN json_valid(\"job\".\"steps\") THEN \"job\".\"steps\" END) AS one",
            "(CASE one.type WHEN 'object' THEN one.value END)",
            "= 1",
        ),
    };
    let needs_four_eyes = format!(
        "EXISTS (SELECT 1 FROM {each} WHERE {step}->>'name' = \"task\".\"step\" \
         AND {step}->>'four_eyes' {is_set})"
    );
    let is_foreign = Expr::col((job::Entity, job::Column::OwnerId)).ne(actor.user.id);
    accessible_step_rows(actor, backend, "task").add(is_foreign.or(Expr::cust(needs_four_eyes).not()))
}
