//! Taking steps, keeping them, and freeing those that nobody keeps.

use chrono::TimeDelta;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, LockBehavior, LockType, Order, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::access::policy::works_on;
use crate::access::{Actor, standing, works_on_rows};
use crate::clock::Timestamp;
use crate::db::{self, Work};
use crate::entity::{job, task};
use crate::error::{Error, Result};
use crate::id::{JobId, LeaseToken};
use crate::job::Jobs;
use crate::job::decide::{Command, Rejection};
use crate::job::record::{Locked, Saved};
use crate::job::state::Mode;

/// Somebody's hold on a step.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Proof of it.
    pub token: LeaseToken,
    /// Lost when not renewed until then.
    pub until: Timestamp,
    /// The attempt's time is out then.
    pub deadline: Timestamp,
    /// Which claim of the job this is.
    pub fence: i64,
    /// The step's name.
    pub step: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The job as it was claimed.
    pub job: job::Model,
}

/// A claim that is to be kept, and how far its step is.
#[derive(Debug)]
pub(super) struct Renewal {
    pub(super) job: JobId,
    pub(super) token: LeaseToken,
    pub(super) deadline: Timestamp,
    pub(super) lease_seconds: u32,
    /// Progress never runs backwards within an attempt: less than before leaves it where it is.
    pub(super) fraction: f64,
    /// `None` leaves it as it is.
    pub(super) message: Option<String>,
}

/// A TEST key is for trying things out: what it takes are TEST jobs.
pub(super) fn mode_of(actor: &Actor) -> Option<Mode> {
    (actor.mode == Mode::Test).then_some(Mode::Test)
}

impl Jobs {
    /// Takes up to `limit` queued steps of these types, those of high priority and the oldest first. Jobs that somebody
    /// else is changing right now are passed over.
    pub async fn claim(
        &self,
        owner: &str,
        types: &[String],
        limit: usize,
        lease_seconds: u32,
    ) -> Result<Vec<Claim>> {
        self.claim_of(owner, types, limit, lease_seconds, None).await
    }

    /// [`Jobs::claim`]; where somebody takes them, only steps that they work on.
    pub(super) async fn claim_of(
        &self,
        owner: &str,
        types: &[String],
        limit: usize,
        lease_seconds: u32,
        by: Option<Actor>,
    ) -> Result<Vec<Claim>> {
        let clock = self.clock.clone();
        let (owner, types) = (owner.to_owned(), types.to_vec());
        let claims = self.db.write(move |tx| -> Work<'_, Vec<(Claim, Saved)>> {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                let mut candidates = Query::select()
                    .column((task::Entity, task::Column::JobId))
                    .from(task::Entity)
                    .inner_join(
                        job::Entity,
                        task::Column::JobId.into_expr().equals((job::Entity, job::Column::Id)),
                    )
                    .and_where(task::Column::LeaseToken.is_null())
                    .and_where(task::Column::RunAt.lte(now))
                    .and_where(task::Column::TypeId.is_in(types))
                    .order_by((task::Entity, task::Column::Priority), Order::Desc)
                    .order_by((task::Entity, task::Column::RunAt), Order::Asc)
                    .order_by((task::Entity, task::Column::JobId), Order::Asc)
                    .limit(limit as u64)
                    .to_owned();
                if let Some(actor) = &by {
                    candidates.cond_where(may_take(actor, tx.get_database_backend()));
                }
                if let Some(mode) = by.as_ref().and_then(mode_of) {
                    candidates.and_where(job::Column::Mode.eq(mode));
                }
                if tx.get_database_backend() == DbBackend::Postgres {
                    candidates.lock_with_tables_behavior(
                        LockType::Update,
                        [job::Entity],
                        LockBehavior::SkipLocked,
                    );
                }
                let mut claims = Vec::new();
                for row in tx.query_all(&candidates).await? {
                    let id: JobId = row.try_get("", "job_id")?;
                    let Some(mut locked) = Locked::lock(tx, id, &clock).await? else { continue };
                    if let Some(actor) = &by {
                        // They may have been let out while this waited for the lock.
                        let standing = standing(tx, actor, locked.row()).await?;
                        let step = locked.step_in_work().unwrap_or_default();
                        if !standing.is_some_and(|standing| works_on(&standing, step)) {
                            continue;
                        }
                    }
                    let (token, actor) = (LeaseToken::new(), by.as_ref().map(|actor| actor.user.id));
                    let claim = Command::Claim { owner: owner.clone(), token, lease_seconds, by: actor };
                    match locked.perform(claim, actor) {
                        Ok(()) => claims.push(claimed(token, locked, tx).await?),
                        Err(Rejection::NothingQueued | Rejection::FourEyes) => {}
                        Err(other) => return Err(other.into()),
                    }
                }
                Ok(claims)
            })
        });
        let announce = |(claim, saved)| {
            self.announce(saved);
            claim
        };
        Ok(claims.await?.into_iter().map(announce).collect())
    }

    /// Keeps a step and says how far it is; `None` where it is lost.
    pub async fn renew(
        &self,
        claim: &Claim,
        lease_seconds: u32,
        fraction: f64,
        message: Option<&str>,
    ) -> Result<Option<Timestamp>> {
        let (job, token, deadline) = (claim.job.id, claim.token, claim.deadline);
        let (fraction, message) = (fraction.clamp(0.0, 1.0), message.map(str::to_owned));
        self.renew_lease(Renewal { job, token, deadline, lease_seconds, fraction, message }).await
    }

    /// [`Jobs::renew`], for whoever has the parts of a claim.
    pub(super) async fn renew_lease(&self, renewal: Renewal) -> Result<Option<Timestamp>> {
        let Renewal { job: id, token, deadline, lease_seconds, fraction, message } = renewal;
        let clock = self.clock.clone();
        let message = message.map(|text| text.chars().filter(|c| *c != '\0').take(500).collect::<String>());
        let until = self.db.write(move |tx| -> Work<'_, Option<Timestamp>> {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                let until = Ord::min(deadline, now + TimeDelta::seconds(lease_seconds.into()));
                let mut kept = task::Entity::update_many()
                    .col_expr(task::Column::LeaseUntil, Expr::value(until))
                    // Progress never runs backwards within an attempt.
                    .col_expr(
                        task::Column::Fraction,
                        CaseStatement::new()
                            .case(task::Column::Fraction.lt(fraction), fraction)
                            .finally(Expr::col(task::Column::Fraction))
                            .into(),
                    )
                    .filter(task::Column::JobId.eq(id))
                    .filter(task::Column::LeaseToken.eq(token))
                    .filter(task::Column::LeaseUntil.gt(now));
                if let Some(message) = message {
                    kept = kept.col_expr(task::Column::Message, Expr::value(message));
                }
                Ok((kept.exec(tx).await?.rows_affected > 0).then_some(until))
            })
        });
        let until = until.await?;
        if until.is_some() {
            self.hub.progressed(id);
        }
        Ok(until)
    }

    /// Frees steps whose lease ran out, by pages of `limit`; each is queued again or failed, under its job's lock. One that
    /// cannot be freed keeps no other from it.
    pub async fn expire(&self, limit: u64) -> Result<usize> {
        let now = db::now(self.db.read(), &self.clock).await?;
        let (mut freed, mut done) = (0, Vec::new());
        loop {
            let late = task::Entity::find()
                .filter(task::Column::LeaseToken.is_not_null())
                .filter(task::Column::LeaseUntil.lte(now))
                .filter(task::Column::JobId.is_not_in(done.iter().copied()))
                .order_by_asc(task::Column::LeaseUntil)
                .limit(limit);
            let late = late.all(self.db.read()).await?;
            let last_page = (late.len() as u64) < limit;
            for task in late {
                match self.expire_one(task.job_id).await {
                    Ok(Some(job)) => {
                        freed += 1;
                        tracing::warn!(job.id = %job.id, job.status = %job.status, step = task.step, "a lease ran out");
                    }
                    // Somebody was faster.
                    Ok(None) => done.push(task.job_id),
                    Err(error) => {
                        done.push(task.job_id);
                        tracing::error!(job.id = %task.job_id, %error, "an expired lease could not be freed");
                    }
                }
            }
            if last_page {
                return Ok(freed);
            }
        }
    }

    async fn expire_one(&self, id: JobId) -> Result<Option<job::Model>> {
        let clock = self.clock.clone();
        let saved = self.db.write(move |tx| -> Work<'_, Option<Saved>> {
            Box::pin(async move {
                let Some(mut locked) = Locked::lock(tx, id, &clock).await? else { return Ok(None) };
                match locked.perform(Command::Expire { jitter: rand::random() }, None) {
                    Ok(()) => locked.save(tx).await.map(Some),
                    // Renewed, handed in or freed by another node since we looked.
                    Err(Rejection::LeaseHolds | Rejection::StaleLease) => Ok(None),
                    Err(other) => Err(other.into()),
                }
            })
        });
        Ok(saved.await?.map(|saved| self.announce(saved)))
    }

    /// Ends every lease now. Only for the start of a process that has the database for itself, where whoever held them
    /// is gone.
    pub async fn orphan_all(&self) -> Result<u64> {
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let update =
                        task::Entity::update_many().col_expr(task::Column::LeaseUntil, Expr::value(now));
                    // One that ran out already ended then: what it was that ended it is judged by that time.
                    let held = update
                        .filter(task::Column::LeaseToken.is_not_null())
                        .filter(task::Column::LeaseUntil.gt(now));
                    Ok(held.exec(tx).await?.rows_affected)
                })
            })
            .await
    }
}

/// The rows of `task`, joined with their jobs, whose step somebody may take, as a condition.
pub(super) fn may_take(actor: &Actor, backend: DbBackend) -> Condition {
    // Of their own jobs only what does not need four eyes.
    let (each, is_set) = match backend {
        DbBackend::Postgres => ("jsonb_array_elements(\"job\".\"steps\") AS one(value)", "::boolean"),
        _ => ("json_each(\"job\".\"steps\") AS one", ""),
    };
    let needs_four = format!(
        "EXISTS (SELECT 1 FROM {each} WHERE one.value->>'name' = \"task\".\"step\" \
         AND (one.value->>'four_eyes'){is_set})"
    );
    let others = Expr::col((job::Entity, job::Column::OwnerId)).ne(actor.user.id);
    works_on_rows(actor, backend, "task").add(others.or(Expr::cust(needs_four).not()))
}

async fn claimed(
    token: LeaseToken,
    locked: Locked,
    tx: &sea_orm::DatabaseTransaction,
) -> Result<(Claim, Saved)> {
    let state = locked.state();
    let task = state.task.as_ref().ok_or_else(|| Error::internal("a claim without a task"))?;
    let lease = task.lease.clone().ok_or_else(|| Error::internal("a claim without a lease"))?;
    let (step, attempt) = (state.steps[task.step].name.clone(), state.steps[task.step].attempt);
    let saved = locked.save(tx).await?;
    let (until, deadline, fence, job) = (lease.until, lease.deadline, lease.fence, saved.job.clone());
    Ok((Claim { token, until, deadline, fence, step, attempt, job }, saved))
}
