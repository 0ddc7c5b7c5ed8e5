//! The users, job type and job of a sequence, and the effect of each operation on the rows and the model.

use chrono::TimeDelta;
use docket::access::policy::Action;
use docket::access::{self, Actor, Cancel, Edit, Share, View};
use docket::collaboration;
use docket::entity::enums::EventKind;
use docket::entity::{access as rows, content, job_event, review, task};
use docket::error::Error;
use docket::id::{DocumentId, JobId, TeamId};
use docket::job::collaborator::PrincipalRef;
use docket::job::control::JobUpdate;
use docket::job::create::pending_step;
use docket::job::decide::{Command, ReleaseCause, Verdict};
use docket::job::queue::{Claim, ReviewRequest, StepFailure, StepResult};
use docket::job::request::{NewJob, Source};
use docket::job::rows::state;
use docket::job::state::{Mode, Receipt, State};
use docket::job_type::JobType;
use docket::review as reviews;
use docket::review::decide::{Choice, DecisionRequest};
use docket::team;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use serde_json::json;

use super::Operation;
use super::model::{Collaborator, Model, Outcome, comparable_parts};
use crate::harness::TestApp;

const TYPE: &str = "sequence";
const STEPS: [&str; 3] = ["first", "second", "third"];

/// The server and the objects that all sequences share.
pub(super) struct Fixture {
    app: TestApp,
    users: Vec<Actor>,
    team: TeamId,
    input: DocumentId,
    job_type: std::sync::Arc<JobType>,
}

type CheckResult<T = ()> = Result<T, String>;

/// The run of one sequence on its own job.
struct Run<'f> {
    fixture: &'f Fixture,
    job: JobId,
    model: Model,
    claims: Vec<Claim>,
}

fn outcome_of(result: Result<(), Error>) -> CheckResult<Outcome> {
    match result {
        Ok(()) => Ok(Outcome::Done),
        Err(Error::NotFound(_)) => Ok(Outcome::NotFound),
        Err(Error::Forbidden(_)) => Ok(Outcome::Forbidden),
        Err(Error::Conflict { .. }) => Ok(Outcome::Conflict),
        Err(Error::Invalid(_)) => Ok(Outcome::Invalid),
        Err(other) => Err(format!("unexpected error: {other}")),
    }
}

fn unexpected_error(error: impl std::fmt::Display) -> String {
    format!("unexpected error: {error}")
}

impl Fixture {
    pub(super) async fn new(app: &TestApp) -> Self {
        let owner = app.user("owner").await;
        let input = owner.upload("x", "x.txt", "text/plain").await;
        let mut users = vec![owner.actor().await];
        for name in ["ada", "bob", "cyd", "stranger"] {
            users.push(app.user(name).await.actor().await);
        }
        let team = team::create(&app.db, &app.clock, &users[4], "team", &app.config.limits)
            .await
            .expect("a team")
            .id;
        let definition = json!({
            "id": TYPE, "name": "Sequence", "description": "For tests.", "accepts": [], "metadataSchema": {},
            "steps": [
                {"name": "first", "title": "First", "kind": "AUTOMATIC", "contentRoles": ["first-json"], "maxAttempts": 2,
                 "timeoutSeconds": 100, "thresholdField": null, "fourEyes": false},
                {"name": "second", "title": "Second", "kind": "MANUAL", "contentRoles": ["second-json"], "maxAttempts": 2,
                 "timeoutSeconds": 100, "thresholdField": null, "fourEyes": true},
                {"name": "third", "title": "Third", "kind": "AUTOMATIC", "contentRoles": ["output"], "maxAttempts": 2,
                 "timeoutSeconds": 100, "thresholdField": null, "fourEyes": false},
            ],
        });
        let definition: JobType = serde_json::from_value(definition).expect("a job type");
        let job_type = app.jobs.types.put(&app.clock, definition).await.expect("a job type");
        let input = DocumentId::parse(&input).expect("an ID");
        Self { app: app.clone(), users, team, input, job_type }
    }

    /// Creates a job, runs a sequence on it, and deletes it.
    pub(super) async fn run_sequence(&self, operations: &[Operation]) -> CheckResult {
        let new = NewJob {
            type_id: TYPE.into(),
            input: Source::Document(self.input.to_string()),
            contents: Vec::new(),
            metadata: serde_json::Map::new(),
            collaboration: Vec::new(),
            idempotency_key: None,
            priority: 0,
        };
        let job = self.app.jobs.create(&self.users[0], new).await.map_err(unexpected_error)?;
        let now = self.app.clock.now();
        let steps = self.job_type.steps.iter().map(pending_step).collect();
        let state = State::new(job.owner_id, Mode::Live, steps, now);
        let users = self.users.iter().map(|actor| actor.user.id).collect();
        let mut model = Model {
            state,
            users,
            collaborators: Default::default(),
            team_members: [4].into(),
            completed: Default::default(),
        };
        model.apply(Command::Start, now);
        let mut run = Run { fixture: self, job: job.id, model, claims: Vec::new() };
        let mut outcome = Ok(());
        for (i, operation) in operations.iter().enumerate() {
            outcome = run
                .run_operation(operation)
                .await
                .map_err(|error| format!("operation {i}, {operation:?}: {error}"));
            if outcome.is_err() {
                break;
            }
        }
        let checked = match outcome {
            Ok(()) => run.check_history().await,
            Err(error) => Err(error),
        };
        let removed = run.remove().await;
        checked.and(removed)
    }
}

impl Run<'_> {
    async fn run_operation(&mut self, operation: &Operation) -> CheckResult {
        let (app, users) = (&self.fixture.app, &self.fixture.users);
        let user_index = |n: u8| usize::from(n) % users.len();
        let step_of = |n: u8| usize::from(n) % STEPS.len();
        let (expected, got) = match operation {
            Operation::Wait(n) => return self.advance_clock(*n).await,
            Operation::View(by) => {
                let found = access::job::<View>(app.db.read(), &users[user_index(*by)], self.job).await;
                (self.model.check_access(user_index(*by), Action::View), outcome_of(found.map(drop))?)
            }
            Operation::Claim => return self.claim().await,
            Operation::Complete { ago, review } => return self.complete(*ago, *review).await,
            Operation::Fail { ago, retryable } => return self.fail(*ago, *retryable).await,
            Operation::Share { by, with, steps } => {
                let steps: Vec<String> = match steps % 5 {
                    0 => vec!["*".into()],
                    n => STEPS.iter().take(usize::from(n) - 1).map(ToString::to_string).collect(),
                };
                let (collaborator, principal) = self.principal(*with);
                let expected = self.model.check_access(user_index(*by), Action::Share);
                let got = match access::job::<Share>(app.db.read(), &users[user_index(*by)], self.job).await {
                    Ok(grant) => collaboration::share(&app.jobs, &grant, &principal, &steps).await.map(drop),
                    Err(error) => Err(error),
                };
                if expected == Outcome::Done && collaborator != Collaborator::User(0) {
                    self.model.collaborators.insert(collaborator, steps);
                    self.model.release_lost_claim(app.clock.now());
                }
                (expected, outcome_of(got)?)
            }
            Operation::Revoke { by, with } => {
                let (collaborator, principal) = self.principal(*with);
                let mut expected = self.model.check_access(user_index(*by), Action::Share);
                let got = match access::job::<Share>(app.db.read(), &users[user_index(*by)], self.job).await {
                    Ok(grant) => collaboration::revoke(&app.jobs, &grant, &principal).await.map(drop),
                    Err(error) => Err(error),
                };
                if expected == Outcome::Done {
                    match self.model.collaborators.remove(&collaborator) {
                        Some(_) => self.model.release_lost_claim(app.clock.now()),
                        None => expected = Outcome::NotFound,
                    }
                }
                (expected, outcome_of(got)?)
            }
            Operation::Join(number) => {
                let index = user_index(*number);
                self.join_team(index).await?;
                return self.check().await;
            }
            Operation::Leave(number) => {
                let index = user_index(*number);
                self.leave_team(index).await?;
                return self.check().await;
            }
            Operation::Update(by) => {
                let expected = self.model.check_access(user_index(*by), Action::Edit);
                let got = match access::job::<Edit>(app.db.read(), &users[user_index(*by)], self.job).await {
                    Ok(grant) => app
                        .jobs
                        .update(&grant, JobUpdate { metadata: None, priority: Some(1) })
                        .await
                        .map(drop),
                    Err(error) => Err(error),
                };
                (expected, outcome_of(got)?)
            }
            Operation::Cancel(by) => {
                self.control_job(user_index(*by), Command::Cancel { reason: None }).await?
            }
            Operation::Retry(by) => self.control_job(user_index(*by), Command::Retry).await?,
            Operation::Rewind { by, to } => {
                self.control_job(user_index(*by), Command::Rewind { to: step_of(*to), reason: None }).await?
            }
            Operation::ClaimReview(by) => self.review(user_index(*by), None).await?,
            Operation::Release(by) => self.review(user_index(*by), Some(None)).await?,
            Operation::Decide { by, verdict } => {
                let verdict = match verdict % 4 {
                    0 => Verdict::Reject,
                    1 => Verdict::SendBack(step_of(verdict / 4)),
                    _ => Verdict::Approve,
                };
                self.review(user_index(*by), Some(Some(verdict))).await?
            }
        };
        if expected != got {
            return Err(format!("expected {expected:?}, got {got:?}"));
        }
        self.check().await
    }

    fn principal(&self, n: u8) -> (Collaborator, PrincipalRef) {
        match usize::from(n) % 5 {
            4 => (Collaborator::Team, PrincipalRef::TeamId(self.fixture.team.to_string())),
            user => {
                (Collaborator::User(user), PrincipalRef::UserId(self.fixture.users[user].user.id.to_string()))
            }
        }
    }

    async fn join_team(&mut self, index: usize) -> CheckResult {
        let (app, user) = (&self.fixture.app, team::UserRef::Id(self.fixture.users[index].user.id));
        team::add_member(
            &app.db,
            &app.clock,
            &self.fixture.users[4],
            self.fixture.team,
            user,
            &app.config.limits,
        )
        .await
        .map_err(unexpected_error)?;
        collaboration::membership_changed(&app.jobs, self.fixture.users[index].user.id)
            .await
            .map_err(unexpected_error)?;
        self.model.team_members.insert(index);
        Ok(())
    }

    async fn leave_team(&mut self, index: usize) -> CheckResult {
        // The stranger stays in the team, because only members can change it.
        if index == 4 || !self.model.team_members.remove(&index) {
            return Ok(());
        }
        let (app, user) = (&self.fixture.app, team::UserRef::Id(self.fixture.users[index].user.id));
        team::remove_member(&app.db, &self.fixture.users[4], self.fixture.team, user)
            .await
            .map_err(unexpected_error)?;
        collaboration::membership_changed(&app.jobs, self.fixture.users[index].user.id)
            .await
            .map_err(unexpected_error)?;
        self.model.release_lost_claim(app.clock.now());
        Ok(())
    }

    async fn advance_clock(&mut self, n: u8) -> CheckResult {
        let app = &self.fixture.app;
        app.clock.advance(TimeDelta::seconds([40, 200, 1_000][usize::from(n) % 3]));
        app.jobs.expire_leases(10).await.map_err(unexpected_error)?;
        reviews::claim::expire(&app.jobs, 10).await.map_err(unexpected_error)?;
        let now = app.clock.now();
        self.model.apply(Command::Expire { jitter: 0.0 }, now);
        self.model.apply(Command::ReleaseReview { cause: ReleaseCause::Clock }, now);
        self.check().await?;
        // The backoff of failed steps ends here, even on a slow machine.
        app.clock.advance(TimeDelta::seconds(5));
        Ok(())
    }

    async fn claim(&mut self) -> CheckResult {
        let app = &self.fixture.app;
        let claims =
            app.jobs.claim_steps("worker", &[TYPE.to_owned()], 2, 30).await.map_err(unexpected_error)?;
        let token = claims.first().map_or_else(docket::id::LeaseToken::new, |claim| claim.token);
        let command = Command::Claim { owner: "worker".into(), token, lease_seconds: 30, by: None };
        let expected = self.model.apply(command, app.clock.now());
        if (expected == Outcome::Done) != (claims.len() == 1) {
            return Err(format!("expected {expected:?}, but {} steps were claimed", claims.len()));
        }
        self.claims.extend(claims);
        self.check().await
    }

    fn earlier_claim(&self, ago: u8) -> Option<Claim> {
        let ago = if ago.is_multiple_of(5) { usize::from(ago / 5) % 3 } else { 0 };
        self.claims.len().checked_sub(ago + 1).map(|place| self.claims[place].clone())
    }

    async fn complete(&mut self, ago: u8, review: bool) -> CheckResult {
        let Some(claim) = self.earlier_claim(ago) else { return Ok(()) };
        let app = &self.fixture.app;
        let request = review.then(|| ReviewRequest {
            reason: "Unsure.".into(),
            role: "none".into(),
            items: Vec::new(),
        });
        let got = outcome_of(
            app.jobs
                .complete_step(claim.holder(), StepResult { review: request, ..StepResult::default() })
                .await
                .map(drop),
        )?;
        let review = review.then(|| "Unsure.".to_owned());
        let expected = self.model.apply(Command::Complete { token: claim.token, review }, app.clock.now());
        if expected != got {
            return Err(format!("expected {expected:?}, got {got:?}"));
        }
        if got == Outcome::Done && !self.model.completed.insert(claim.token) {
            return Err("a result was accepted twice".into());
        }
        self.check().await
    }

    async fn fail(&mut self, ago: u8, retryable: bool) -> CheckResult {
        let Some(claim) = self.earlier_claim(ago) else { return Ok(()) };
        let app = &self.fixture.app;
        let (code, message) = ("E".to_owned(), "e".to_owned());
        let failure = StepFailure { code: code.clone(), message: message.clone(), retryable };
        let got = outcome_of(app.jobs.fail_step(claim.holder(), failure).await.map(drop))?;
        let command = Command::Fail { token: claim.token, code, message, retryable, jitter: 0.0 };
        let expected = self.model.apply(command, app.clock.now());
        if expected != got {
            return Err(format!("expected {expected:?}, got {got:?}"));
        }
        self.check().await?;
        app.clock.advance(TimeDelta::seconds(5));
        Ok(())
    }

    async fn control_job(&mut self, user: usize, command: Command) -> CheckResult<(Outcome, Outcome)> {
        let app = &self.fixture.app;
        let mut expected = self.model.check_access(user, Action::Cancel);
        let got = match access::job::<Cancel>(app.db.read(), &self.fixture.users[user], self.job).await {
            Ok(grant) => match &command {
                Command::Cancel { reason } => app.jobs.cancel(&grant, reason.clone()).await.map(drop),
                Command::Rewind { to, .. } => {
                    app.jobs.rewind(&grant, Some(STEPS[*to].into()), None).await.map(drop)
                }
                _ => app.jobs.retry(&grant).await.map(drop),
            },
            Err(error) => Err(error),
        };
        if expected == Outcome::Done {
            expected = self.model.apply(command, app.clock.now());
        }
        Ok((expected, outcome_of(got)?))
    }

    /// Claims, releases (`Some(None)`) or decides the newest review of the job.
    async fn review(
        &mut self,
        user: usize,
        what: Option<Option<Verdict>>,
    ) -> CheckResult<(Outcome, Outcome)> {
        let app = &self.fixture.app;
        let newest = review::Entity::find().filter(review::Column::JobId.eq(self.job));
        let newest =
            newest.order_by_desc(review::Column::Id).one(app.db.read()).await.map_err(unexpected_error)?;
        let Some(newest) = newest else { return Ok((Outcome::Done, Outcome::Done)) };
        let by = self.fixture.users[user].user.id;
        let now = app.clock.now();
        let mut expected = self.model.check_review_access(user, &newest.step);
        let granted = access::review(app.db.read(), &self.fixture.users[user], newest.id).await;
        let got = match granted {
            Err(error) => Err(error),
            Ok(grant) => match what {
                None => reviews::claim::claim(&app.jobs, &grant).await.map(drop),
                Some(None) => reviews::claim::release(&app.jobs, &grant).await.map(drop),
                Some(Some(verdict)) => {
                    let (choice, to_step) = match verdict {
                        Verdict::Approve => (Choice::Approve, None),
                        Verdict::Reject => (Choice::Reject, None),
                        Verdict::SendBack(to) => (Choice::SendBack, Some(STEPS[to].to_owned())),
                    };
                    let (contents, comment) = (Vec::new(), Some("why".to_owned()));
                    let decision = DecisionRequest {
                        choice,
                        content_sha256: None,
                        contents,
                        patch: None,
                        comment,
                        to_step,
                        claim_if_free: false,
                    };
                    reviews::decide::decide(&app.jobs, &grant, decision).await.map(drop)
                }
            },
        };
        if expected == Outcome::Done {
            let is_open = ["OPEN", "CLAIMED"].contains(&newest.status.as_str());
            let claimed_by = self.model.state.review.and_then(|review| review.claim).map(|claim| claim.by);
            expected = match what {
                _ if !is_open => Outcome::Conflict,
                Some(None) if claimed_by.is_some_and(|claimant| claimant != by) => Outcome::Forbidden,
                None => {
                    self.model.apply(Command::ClaimReview { by, until: now + TimeDelta::minutes(15) }, now)
                }
                Some(None) => {
                    self.model.apply(Command::ReleaseReview { cause: ReleaseCause::Claimant(by) }, now)
                }
                Some(Some(verdict)) => {
                    let (comment, receipt) = (Some("why".to_owned()), Receipt::default());
                    self.model.apply(Command::DecideReview { by, verdict, comment, receipt }, now)
                }
            };
        }
        Ok((expected, outcome_of(got)?))
    }

    /// Checks that the rows match the model, and that every user has the expected access.
    async fn check(&self) -> CheckResult {
        let app = &self.fixture.app;
        let snapshot =
            app.jobs.snapshot(self.job).await.map_err(unexpected_error)?.ok_or("the job does not exist")?;
        let open = review::Entity::find()
            .filter(review::Column::JobId.eq(self.job))
            .filter(review::Column::Status.is_in(["OPEN", "CLAIMED"]));
        let open = open.all(app.db.read()).await.map_err(unexpected_error)?;
        if open.len() > 1 {
            return Err(format!("{} reviews are open", open.len()));
        }
        let stored = state(&snapshot.job, snapshot.task.as_ref(), open.first()).map_err(unexpected_error)?;
        let (model, stored) = (comparable_parts(&self.model.state), comparable_parts(&stored));
        if model != stored {
            return Err(format!("the model has {model:?}, but the rows have {stored:?}"));
        }
        for (i, user) in self.fixture.users.iter().enumerate() {
            let seen = snapshot.audience.standing(user, snapshot.job.owner_id);
            if seen != self.model.standing(i) {
                return Err(format!("user {i} has {seen:?}, expected {:?}", self.model.standing(i)));
            }
        }
        Ok(())
    }

    async fn check_history(&self) -> CheckResult {
        let app = &self.fixture.app;
        let job =
            app.jobs.snapshot(self.job).await.map_err(unexpected_error)?.ok_or("the job does not exist")?.job;
        let events = app.jobs.history(self.job, 0, 10_000).await.map_err(unexpected_error)?;
        let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
        if sequences != (1..=job.seq).collect::<Vec<_>>() {
            return Err(format!("the history has gaps: {sequences:?} of {}", job.seq));
        }
        if !events.is_sorted_by_key(|event| event.position) {
            return Err("the order of the job's events differs in the feed".into());
        }
        let mut status = json!("QUEUED");
        for event in events.iter().filter(|event| event.kind == EventKind::StatusChanged) {
            if event.data["from"] != status {
                return Err(format!("a status changed from {}, but was {status}", event.data["from"]));
            }
            status = event.data["to"].clone();
        }
        if status != json!(job.status) {
            return Err(format!("the history ends with {status}, but the job is {}", job.status));
        }
        Ok(())
    }

    /// Deletes the job, checks that no rows are left, and restores the team.
    async fn remove(&mut self) -> CheckResult {
        let app = &self.fixture.app;
        for index in 0..4 {
            self.leave_team(index).await?;
        }
        let owner = &self.fixture.users[0];
        let grant =
            access::job::<access::Delete>(app.db.read(), owner, self.job).await.map_err(unexpected_error)?;
        app.jobs.delete(&grant).await.map_err(unexpected_error)?;
        let db = app.db.read();
        let counts = [
            task::Entity::find().filter(task::Column::JobId.eq(self.job)).count(db).await,
            job_event::Entity::find().filter(job_event::Column::JobId.eq(self.job)).count(db).await,
            content::Entity::find().filter(content::Column::JobId.eq(self.job)).count(db).await,
            rows::Entity::find().filter(rows::Column::JobId.eq(self.job)).count(db).await,
            review::Entity::find().filter(review::Column::JobId.eq(self.job)).count(db).await,
        ];
        for count in counts {
            if count.map_err(unexpected_error)? > 0 {
                return Err("the job left rows behind".into());
            }
        }
        Ok(())
    }
}
