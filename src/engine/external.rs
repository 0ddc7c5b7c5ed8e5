//! Steps done by workers outside of this process: whoever works on a step may take it, under the same leases as the
//! engine's own. What they carry from call to call is a [`Ticket`].

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sea_orm::sea_query::{Expr, ExprTrait, Query, UnionType};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::claim::{Claim, Renewal, may_take};
use crate::access::policy::works_on;
use crate::access::{Actor, standing, standing_in};
use crate::clock::Timestamp;
use crate::db::{self, Work};
use crate::entity::enums::Status;
use crate::entity::{job, task};
use crate::error::{Error, Problem, Result};
use crate::id::{JobId, LeaseToken};
use crate::job::contents::{self, Origin};
use crate::job::decide::{Command, Rejection};
use crate::job::news::Waiting;
use crate::job::record::{Locked, ReviewSubject, Saved};
use crate::job::request::Source;
use crate::job::{Jobs, gone};
use crate::job_type::INPUT;

/// Types asked for at once.
const MOST_TYPES: usize = 20;
/// Characters of a worker's name, and of the code of a failure.
const LONGEST_NAME: usize = 100;
/// Parts of a content that a worker points out to reviewers.
const MOST_ITEMS: usize = 10_000;
/// Waiting steps are counted so far.
const MOST_COUNTED: u64 = 1_000;

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The worker's name, for people.
    pub worker: String,
    /// Types of jobs.
    pub types: Vec<String>,
    /// Steps at the most.
    pub limit: i32,
    /// Seconds that each lease holds without a report.
    pub lease_seconds: i32,
}

/// What a claim is proved with: the job, the lease, and how long the lease holds from each report. Opaque to workers, who
/// gain nothing by changing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
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
}

impl std::fmt::Display for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.lease_seconds.to_be_bytes();
        let bytes = [&self.job.0.as_bytes()[..], &self.token.0.as_bytes()[..], &seconds].concat();
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// What a report comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Until when the lease holds now.
    pub until: Timestamp,
    /// The job was cancelled: stop, nothing will be taken any more.
    pub cancelled: bool,
}

/// What a worker hands in.
#[derive(Debug, Clone, Default)]
pub struct HandedIn {
    /// Documents by role.
    pub contents: Vec<(String, Source)>,
    /// Set where a person should look before the job goes on.
    pub review: Option<Wanted>,
}

/// A wish that a person look at something.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Why.
    pub reason: String,
    /// The content that it is about: handed in, or there already.
    pub role: String,
    /// Its parts that need a decision.
    pub items: Vec<Value>,
}

/// A part of a content, as reviews keep it.
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
    /// Takes up to `limit` queued steps that the actor works on, those of high priority and the oldest first. With a TEST
    /// key those of TEST jobs only.
    pub async fn claim_as(&self, actor: &Actor, wish: Wish) -> Result<Vec<(Claim, Ticket)>> {
        let Wish { worker, types, limit, lease_seconds } = wish;
        let mut problems = Vec::new();
        if !(1..=LONGEST_NAME).contains(&worker.chars().count()) || worker.contains('\0') {
            let message = format!("A worker's name has 1 to {LONGEST_NAME} characters.");
            problems.push(Problem::new("/workerId", "LENGTH", message));
        }
        problems.extend(self.types_problems(&types).await?);
        let limit = within(limit, self.workers.claims, "/limit", &mut problems);
        let seconds = within(lease_seconds, self.workers.lease_seconds, "/leaseSeconds", &mut problems);
        let (Some(limit), Some(lease_seconds), true) = (limit, seconds, problems.is_empty()) else {
            return Err(Error::Invalid(problems));
        };
        let claims =
            self.claim_of(&worker, &types, limit as usize, lease_seconds, Some(actor.clone())).await?;
        let with_ticket = |claim: Claim| {
            let ticket = Ticket { job: claim.job.id, token: claim.token, lease_seconds };
            (claim, ticket)
        };
        Ok(claims.into_iter().map(with_ticket).collect())
    }

    /// Keeps a step and says how far it is; what is not given stays as it is.
    pub async fn report_as(
        &self,
        actor: &Actor,
        ticket: &str,
        fraction: Option<f64>,
        message: Option<&str>,
    ) -> Result<Reported> {
        if fraction.is_some_and(|fraction| !(0.0..=1.0).contains(&fraction)) {
            return Err(Error::invalid("/fraction", "RANGE", "A number from 0 to 1 is wanted."));
        }
        let (ticket, job) = self.holder(actor, ticket).await?;
        let held = match self.held(actor, &ticket, &job).await {
            Ok(held) => held,
            Err(Error::Conflict { .. }) if job.status == Status::Cancelled => {
                return Ok(Reported { until: self.clock.now(), cancelled: true });
            }
            Err(error) => return Err(error),
        };
        let renewal = Renewal {
            job: ticket.job,
            token: ticket.token,
            deadline: held.deadline.ok_or_else(|| Error::internal("a lease without a deadline"))?,
            lease_seconds: ticket.lease_seconds,
            fraction: fraction.unwrap_or_default(),
            message: message.map(str::to_owned),
        };
        match self.renew_lease(renewal).await? {
            Some(until) => Ok(Reported { until, cancelled: false }),
            None => match self.status_of(ticket.job).await? {
                Some(Status::Cancelled) => Ok(Reported { until: self.clock.now(), cancelled: true }),
                _ => Err(Rejection::StaleLease.into()),
            },
        }
    }

    /// Takes the result of a step, once; under a claim that was lost it changes nothing.
    pub async fn complete_as(&self, actor: &Actor, ticket: &str, handed_in: HandedIn) -> Result<job::Model> {
        let (ticket, row) = self.holder(actor, ticket).await?;
        let step = self.held(actor, &ticket, &row).await?.step;
        let job_type = self.types.version(&row.type_id, row.type_version).await?;
        let roles = job_type.step(&step).map(|step| step.content_roles.clone()).unwrap_or_default();
        let writes = |role: &String| roles.contains(role) && role != INPUT;
        let mut problems = contents::role_problems(&roles, &handed_in.contents);
        let (mut subject, mut about) = (ReviewSubject::default(), None);
        if let Some(wanted) = &handed_in.review {
            problems.extend(self.limits.comment_problem(Some(&wanted.reason), "/review/reason"));
            subject.items = items(&wanted.items).unwrap_or_else(|wrong| {
                problems.extend(wrong);
                Vec::new()
            });
            if handed_in.contents.iter().any(|(role, _)| *role == wanted.role) {
                about = Some(wanted.role.clone());
            } else {
                let current = match writes(&wanted.role) {
                    true => self.current(row.id, &wanted.role).await?,
                    false => None,
                };
                subject.content = current.map(|(content, _)| content.id);
                if subject.content.is_none() {
                    let message = "This is no content that the step hands in, or has handed in before.";
                    problems.push(Problem::new("/review/contentRole", "UNKNOWN_ROLE", message));
                }
            }
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let (made, review) = (self.sources(actor, &handed_in.contents).await?, handed_in.review);
        self.hand_in_as(actor, ticket, move |tx, locked, step, actor| {
            Box::pin(async move {
                let mut subject = subject;
                for (role, document) in &made {
                    let origin = Origin::Made(step);
                    let id = contents::add(tx, locked, role, document, origin, Some(actor.user.id)).await?;
                    if about.as_ref() == Some(role) {
                        subject.content = Some(id);
                    }
                }
                locked.set_review_subject(subject);
                Ok(Command::Complete { token: ticket.token, review: review.map(|wanted| wanted.reason) })
            })
        })
        .await
    }

    /// Takes the news that a step did not work.
    pub async fn fail_as(
        &self,
        actor: &Actor,
        ticket: &str,
        code: String,
        message: String,
        retryable: bool,
    ) -> Result<job::Model> {
        let mut problems = Vec::new();
        if !(1..=LONGEST_NAME).contains(&code.chars().count()) || code.contains('\0') {
            let text = format!("A code for programs has 1 to {LONGEST_NAME} characters.");
            problems.push(Problem::new("/code", "LENGTH", text));
        }
        problems.extend(self.limits.comment_problem(Some(&message), "/message"));
        if message.contains('\0') {
            problems.push(Problem::new("/message", "INVALID", "It must not have the character U+0000."));
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let (ticket, _) = self.holder(actor, ticket).await?;
        let (token, jitter) = (ticket.token, rand::random());
        self.hand_in_as(actor, ticket, move |_, _, _, _| {
            Box::pin(async move { Ok(Command::Fail { token, code, message, retryable, jitter }) })
        })
        .await
    }

    /// What waits of each type that the actor could take; types of which nothing waits are left out.
    pub async fn waiting_for(&self, actor: &Actor, types: &[String]) -> Result<HashMap<String, Waiting>> {
        let db = self.db.read();
        let now = db::now(db, &self.clock).await?;
        let of_type = |id: &String| {
            let mut waiting = Query::select();
            waiting
                .columns([(task::Entity, task::Column::TypeId), (task::Entity, task::Column::RunAt)])
                .from(task::Entity)
                .inner_join(
                    job::Entity,
                    Expr::col((job::Entity, job::Column::Id)).equals((task::Entity, task::Column::JobId)),
                )
                .and_where(task::Column::LeaseToken.is_null())
                .and_where(task::Column::RunAt.lte(now))
                .and_where(Expr::col((task::Entity, task::Column::TypeId)).eq(id))
                .cond_where(may_take(actor, self.db.backend()))
                .limit(MOST_COUNTED);
            if let Some(mode) = super::claim::mode_of(actor) {
                waiting.and_where(job::Column::Mode.eq(mode));
            }
            // Each with a limit of its own, which a part of a UNION cannot have.
            let all = [task::Column::TypeId, task::Column::RunAt];
            Query::select().columns(all).from_subquery(waiting, "waiting").to_owned()
        };
        let mut parts = types.iter().map(of_type);
        let Some(mut all) = parts.next() else { return Ok(HashMap::new()) };
        for part in parts {
            all.union(UnionType::All, part);
        }
        let mut counted = Query::select();
        counted
            .column(task::Column::TypeId)
            .expr_as(Expr::cust("count(*)"), "number")
            .expr_as(Expr::col(task::Column::RunAt).max(), "newest")
            .from_subquery(all, "every")
            .group_by_col(task::Column::TypeId);
        let rows = db.query_all(&counted).await?;
        let waiting = |row: &sea_orm::QueryResult| {
            let number: i64 = row.try_get("", "number")?;
            let waiting = Waiting {
                count: u64::try_from(number).unwrap_or_default(),
                newest: row.try_get("", "newest")?,
            };
            Ok((row.try_get("", "type_id")?, waiting))
        };
        rows.iter().map(waiting).collect()
    }

    /// What is wrong with the types that a worker asks for.
    pub async fn types_problems(&self, types: &[String]) -> Result<Vec<Problem>> {
        if !(1..=MOST_TYPES).contains(&types.len()) {
            let message = format!("1 to {MOST_TYPES} types are asked for at once.");
            return Ok(vec![Problem::new("/types", "RANGE", message)]);
        }
        let mut problems = Vec::new();
        for (i, id) in types.iter().enumerate() {
            if self.types.newest(id).await?.is_none() {
                let message = format!("There is no job type {id:?}.");
                problems.push(Problem::new(format!("/types/{i}"), "UNKNOWN_TYPE", message));
            }
        }
        Ok(problems)
    }

    async fn status_of(&self, id: JobId) -> Result<Option<Status>> {
        Ok(job::Entity::find_by_id(id).one(self.db.read()).await?.map(|job| job.status))
    }

    /// The job of a ticket, where the actor sees it.
    async fn holder(&self, actor: &Actor, ticket: &str) -> Result<(Ticket, job::Model)> {
        let missing = || Error::not_found("claim");
        let most = self.workers.lease_seconds;
        let good = |ticket: &Ticket| (1..=most).contains(&ticket.lease_seconds);
        let ticket = Ticket::parse(ticket).filter(good).ok_or_else(missing)?;
        let job = job::Entity::find_by_id(ticket.job).one(self.db.read()).await?;
        standing_in(self.db.read(), actor, job.as_ref()).await?.ok_or_else(missing)?;
        Ok((ticket, job.ok_or_else(missing)?))
    }

    /// The step that a ticket holds now; CONFLICT where it was lost.
    async fn held(&self, actor: &Actor, ticket: &Ticket, job: &job::Model) -> Result<task::Model> {
        let held = task::Entity::find_by_id(ticket.job).filter(task::Column::LeaseToken.eq(ticket.token));
        let held = held.one(self.db.read()).await?.ok_or(Rejection::StaleLease)?;
        let standing = standing(self.db.read(), actor, job).await?;
        if standing.is_some_and(|standing| works_on(&standing, &held.step)) {
            Ok(held)
        } else {
            Err(Error::not_found("claim"))
        }
    }

    async fn hand_in_as<F>(&self, actor: &Actor, ticket: Ticket, work: F) -> Result<job::Model>
    where
        F: for<'c> FnOnce(
                &'c sea_orm::DatabaseTransaction,
                &'c mut Locked,
                &'c str,
                &'c Actor,
            ) -> Work<'c, Command>
            + Send
            + 'static,
    {
        let (clock, actor) = (self.clock.clone(), actor.clone());
        let saved = self.db.write(move |tx| -> Work<'_, Saved> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, ticket.job, &clock).await?.ok_or_else(gone)?;
                // Checked before anything is written: a stale result changes nothing.
                locked.check_lease(ticket.token)?;
                let step = locked.step_in_work().ok_or(Rejection::StaleLease)?.to_owned();
                // They may have been let out since they took it.
                let standing = standing(tx, &actor, locked.row()).await?;
                if !standing.is_some_and(|standing| works_on(&standing, &step)) {
                    return Err(Error::not_found("claim"));
                }
                locked.check_eyes(actor.user.id)?;
                let command = work(tx, &mut locked, &step, &actor).await?;
                locked.perform(command, Some(actor.user.id))?;
                locked.save(tx).await
            })
        });
        Ok(self.announce(saved.await?))
    }
}

/// A number from 1 to `most`.
fn within(number: i32, most: u32, path: &str, problems: &mut Vec<Problem>) -> Option<u32> {
    let good = u32::try_from(number).ok().filter(|number| (1..=most).contains(number));
    if good.is_none() {
        problems.push(Problem::new(path, "RANGE", format!("A whole number from 1 to {most} is wanted.")));
    }
    good
}

/// The parts that a worker points out, as reviews keep them.
fn items(given: &[Value]) -> Result<Vec<Value>, Vec<Problem>> {
    if given.len() > MOST_ITEMS {
        let message = format!("A review has {MOST_ITEMS} items at the most.");
        return Err(vec![Problem::new("/review/items", "TOO_MANY", message)]);
    }
    let (mut kept, mut problems) = (Vec::with_capacity(given.len()), Vec::new());
    for (i, item) in given.iter().enumerate() {
        match serde_json::from_value::<Item>(item.clone()) {
            Ok(item) if (0.0..=1.0).contains(&item.confidence) => kept.push(json!({
                "path": &item.path, "label": item.label.as_ref().unwrap_or(&item.path), "value": item.value,
                "confidence": item.confidence, "page": item.page, "box": item.bbox,
            })),
            Ok(_) => {
                let message = "A confidence is a number from 0 to 1.";
                problems.push(Problem::new(format!("/review/items/{i}/confidence"), "RANGE", message));
            }
            Err(error) => {
                let message = format!(
                    "An item is {{path, label, value, confidence, page, box}}, of which path is required: {error}."
                );
                problems.push(Problem::new(format!("/review/items/{i}"), "SHAPE", message));
            }
        }
    }
    if problems.is_empty() { Ok(kept) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_its_text() {
        let ticket = Ticket { job: JobId::new(), token: LeaseToken::new(), lease_seconds: 30 };
        let text = ticket.to_string();
        assert_eq!(Ticket::parse(&text), Some(ticket));
        for wrong in ["", "x", &text[1..], &format!("{text}AA"), "ä"] {
            assert_eq!(Ticket::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_review_has_so_many_items() {
        let given = vec![json!({"path": "/a"}); MOST_ITEMS + 1];
        assert_eq!(items(&given[1..]).map(|kept| kept.len()), Ok(MOST_ITEMS));
        let problems = items(&given).unwrap_err();
        assert_eq!((&*problems[0].path, &*problems[0].code), ("/review/items", "TOO_MANY"));
    }

    #[test]
    fn items_are_kept_in_the_shape_that_reviews_have() {
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
