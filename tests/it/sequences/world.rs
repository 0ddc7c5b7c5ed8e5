//! The people, the type and the job of a sequence, and what each attempt does to them and to the model.

use chrono::TimeDelta;
use docket::access::policy::Action;
use docket::access::{self, Actor, Cancel, Edit, Share, View};
use docket::collaboration;
use docket::engine::{Ask, Claim, Results};
use docket::entity::enums::EventKind;
use docket::entity::{access as rows, content, job_event, review, task};
use docket::error::Error;
use docket::id::{DocumentId, JobId, TeamId};
use docket::job::collaborator::PrincipalRef;
use docket::job::control::Changes;
use docket::job::decide::{Command, ReleaseWord, Verdict};
use docket::job::request::{NewJob, Source};
use docket::job::rows::state;
use docket::job::state::{Mode, Receipt, State};
use docket::job_type::JobType;
use docket::review as reviews;
use docket::review::decide::{Choice, Decision};
use docket::team;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use serde_json::json;

use super::Attempt;
use super::model::{End, Model, With, essence};
use crate::harness::TestApp;

const TYPE: &str = "sequence";
const STEPS: [&str; 3] = ["first", "second", "third"];

/// Everything that sequences share.
pub(super) struct World {
    app: TestApp,
    people: Vec<Actor>,
    team: TeamId,
    input: DocumentId,
    job_type: std::sync::Arc<JobType>,
}

type Outcome<T = ()> = Result<T, String>;

/// One job's way through a sequence.
struct Run<'w> {
    world: &'w World,
    job: JobId,
    model: Model,
    claims: Vec<Claim>,
}

fn end(result: Result<(), Error>) -> Outcome<End> {
    match result {
        Ok(()) => Ok(End::Done),
        Err(Error::NotFound(_)) => Ok(End::NotFound),
        Err(Error::Forbidden(_)) => Ok(End::Forbidden),
        Err(Error::Conflict { .. }) => Ok(End::Conflict),
        Err(Error::Invalid(_)) => Ok(End::Invalid),
        Err(other) => Err(format!("a fault: {other}")),
    }
}

fn fault(error: impl std::fmt::Display) -> String {
    format!("a fault: {error}")
}

impl World {
    pub(super) async fn new(app: &TestApp) -> Self {
        let owner = app.user("owner").await;
        let input = owner.upload("x", "x.txt", "text/plain").await;
        let mut people = vec![owner.actor().await];
        for name in ["ada", "bob", "cyd", "stranger"] {
            people.push(app.user(name).await.actor().await);
        }
        let team = team::create(&app.db, &app.clock, &people[4], "team", &app.config.limits)
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
        Self { app: app.clone(), people, team, input, job_type }
    }

    /// Makes a job, does everything to it, and removes it again.
    pub(super) async fn follow(&self, attempts: &[Attempt]) -> Outcome {
        let new = NewJob {
            type_id: TYPE.into(),
            input: Source::Document(self.input.to_string()),
            contents: Vec::new(),
            metadata: serde_json::Map::new(),
            collaboration: Vec::new(),
            idempotency_key: None,
            priority: 0,
        };
        let job = self.app.jobs.create(&self.people[0], new).await.map_err(fault)?;
        let now = self.app.clock.now();
        let state = State::new(job.owner_id, Mode::Live, self.job_type.fresh_steps(), now);
        let people = self.people.iter().map(|actor| actor.user.id).collect();
        let mut model = Model {
            state,
            people,
            shares: Default::default(),
            members: [4].into(),
            taken: Default::default(),
        };
        model.perform(Command::Start, now);
        let mut run = Run { world: self, job: job.id, model, claims: Vec::new() };
        let mut outcome = Ok(());
        for (i, attempt) in attempts.iter().enumerate() {
            outcome =
                run.attempt(attempt).await.map_err(|error| format!("attempt {i}, {attempt:?}: {error}"));
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
    async fn attempt(&mut self, attempt: &Attempt) -> Outcome {
        let (app, people) = (&self.world.app, &self.world.people);
        let person = |n: u8| usize::from(n) % people.len();
        let step_of = |n: u8| usize::from(n) % STEPS.len();
        let (expected, got) = match attempt {
            Attempt::Wait(n) => return self.wait(*n).await,
            Attempt::Look(by) => {
                let found = access::job::<View>(app.db.read(), &people[person(*by)], self.job).await;
                (self.model.may(person(*by), Action::View), end(found.map(drop))?)
            }
            Attempt::Claim => return self.claim().await,
            Attempt::Complete { ago, review } => return self.complete(*ago, *review).await,
            Attempt::Fail { ago, retryable } => return self.fail(*ago, *retryable).await,
            Attempt::Share { by, with, steps } => {
                let steps: Vec<String> = match steps % 5 {
                    0 => vec!["*".into()],
                    n => STEPS.iter().take(usize::from(n) - 1).map(ToString::to_string).collect(),
                };
                let (with, who) = self.principal(*with);
                let expected = self.model.may(person(*by), Action::Share);
                let got = match access::job::<Share>(app.db.read(), &people[person(*by)], self.job).await {
                    Ok(grant) => collaboration::share(&app.jobs, &grant, &who, &steps).await.map(drop),
                    Err(error) => Err(error),
                };
                if expected == End::Done && with != With::Person(0) {
                    self.model.shares.insert(with, steps);
                    self.model.free_lost_claim(app.clock.now());
                }
                (expected, end(got)?)
            }
            Attempt::Revoke { by, with } => {
                let (with, who) = self.principal(*with);
                let mut expected = self.model.may(person(*by), Action::Share);
                let got = match access::job::<Share>(app.db.read(), &people[person(*by)], self.job).await {
                    Ok(grant) => collaboration::revoke(&app.jobs, &grant, &who).await.map(drop),
                    Err(error) => Err(error),
                };
                if expected == End::Done {
                    match self.model.shares.remove(&with) {
                        Some(_) => self.model.free_lost_claim(app.clock.now()),
                        None => expected = End::NotFound,
                    }
                }
                (expected, end(got)?)
            }
            Attempt::Join(who) => {
                let who = person(*who);
                self.join(who).await?;
                return self.check().await;
            }
            Attempt::Leave(who) => {
                let who = person(*who);
                self.leave(who).await?;
                return self.check().await;
            }
            Attempt::Update(by) => {
                let expected = self.model.may(person(*by), Action::Edit);
                let got = match access::job::<Edit>(app.db.read(), &people[person(*by)], self.job).await {
                    Ok(grant) => {
                        app.jobs.update(&grant, Changes { metadata: None, priority: Some(1) }).await.map(drop)
                    }
                    Err(error) => Err(error),
                };
                (expected, end(got)?)
            }
            Attempt::Cancel(by) => self.steer(person(*by), Command::Cancel { reason: None }).await?,
            Attempt::Retry(by) => self.steer(person(*by), Command::Retry).await?,
            Attempt::Rewind { by, to } => {
                self.steer(person(*by), Command::Rewind { to: step_of(*to), reason: None }).await?
            }
            Attempt::ClaimReview(by) => self.review(person(*by), None).await?,
            Attempt::Release(by) => self.review(person(*by), Some(None)).await?,
            Attempt::Decide { by, verdict } => {
                let verdict = match verdict % 4 {
                    0 => Verdict::Reject,
                    1 => Verdict::SendBack(step_of(verdict / 4)),
                    _ => Verdict::Approve,
                };
                self.review(person(*by), Some(Some(verdict))).await?
            }
        };
        if expected != got {
            return Err(format!("{expected:?} was expected, got {got:?}"));
        }
        self.check().await
    }

    fn principal(&self, n: u8) -> (With, PrincipalRef) {
        match usize::from(n) % 5 {
            4 => (With::Team, PrincipalRef::TeamId(self.world.team.to_string())),
            person => {
                (With::Person(person), PrincipalRef::UserId(self.world.people[person].user.id.to_string()))
            }
        }
    }

    async fn join(&mut self, who: usize) -> Outcome {
        let (app, person) = (&self.world.app, team::PersonRef::Id(self.world.people[who].user.id));
        team::add_member(
            &app.db,
            &app.clock,
            &self.world.people[4],
            self.world.team,
            person,
            &app.config.limits,
        )
        .await
        .map_err(fault)?;
        collaboration::membership_changed(&app.jobs, self.world.people[who].user.id).await.map_err(fault)?;
        self.model.members.insert(who);
        Ok(())
    }

    async fn leave(&mut self, who: usize) -> Outcome {
        // The stranger keeps the team, so that there is somebody who can change it.
        if who == 4 || !self.model.members.remove(&who) {
            return Ok(());
        }
        let (app, person) = (&self.world.app, team::PersonRef::Id(self.world.people[who].user.id));
        team::remove_member(&app.db, &self.world.people[4], self.world.team, person).await.map_err(fault)?;
        collaboration::membership_changed(&app.jobs, self.world.people[who].user.id).await.map_err(fault)?;
        self.model.free_lost_claim(app.clock.now());
        Ok(())
    }

    async fn wait(&mut self, n: u8) -> Outcome {
        let app = &self.world.app;
        app.clock.advance(TimeDelta::seconds([40, 200, 1_000][usize::from(n) % 3]));
        app.jobs.expire(10).await.map_err(fault)?;
        reviews::claim::expire(&app.jobs, 10).await.map_err(fault)?;
        let now = app.clock.now();
        self.model.perform(Command::Expire { jitter: 0.0 }, now);
        self.model.perform(Command::ReleaseReview { word: ReleaseWord::Clock }, now);
        self.check().await?;
        // What failed and waits for its next attempt has waited long enough, however slow this machine is.
        app.clock.advance(TimeDelta::seconds(5));
        Ok(())
    }

    async fn claim(&mut self) -> Outcome {
        let app = &self.world.app;
        let claims = app.jobs.claim("worker", &[TYPE.to_owned()], 2, 30).await.map_err(fault)?;
        let token = claims.first().map_or_else(docket::id::LeaseToken::new, |claim| claim.token);
        let command = Command::Claim { owner: "worker".into(), token, lease_seconds: 30, by: None };
        let expected = self.model.perform(command, app.clock.now());
        if (expected == End::Done) != (claims.len() == 1) {
            return Err(format!("{expected:?} was expected, and {} steps were claimed", claims.len()));
        }
        self.claims.extend(claims);
        self.check().await
    }

    fn earlier_claim(&self, ago: u8) -> Option<Claim> {
        let ago = if ago.is_multiple_of(5) { usize::from(ago / 5) % 3 } else { 0 };
        self.claims.len().checked_sub(ago + 1).map(|place| self.claims[place].clone())
    }

    async fn complete(&mut self, ago: u8, review: bool) -> Outcome {
        let Some(claim) = self.earlier_claim(ago) else { return Ok(()) };
        let app = &self.world.app;
        let ask = review.then(|| Ask { reason: "Unsure.".into(), role: "none".into(), items: Vec::new() });
        let got = end(app.jobs.complete(&claim, Results { ask, ..Results::default() }).await.map(drop))?;
        let review = review.then(|| "Unsure.".to_owned());
        let expected = self.model.perform(Command::Complete { token: claim.token, review }, app.clock.now());
        if expected != got {
            return Err(format!("{expected:?} was expected, got {got:?}"));
        }
        if got == End::Done && !self.model.taken.insert(claim.token) {
            return Err("a result was taken twice".into());
        }
        self.check().await
    }

    async fn fail(&mut self, ago: u8, retryable: bool) -> Outcome {
        let Some(claim) = self.earlier_claim(ago) else { return Ok(()) };
        let app = &self.world.app;
        let (code, message) = ("E".to_owned(), "e".to_owned());
        let got = end(app.jobs.fail(&claim, code.clone(), message.clone(), retryable).await.map(drop))?;
        let command = Command::Fail { token: claim.token, code, message, retryable, jitter: 0.0 };
        let expected = self.model.perform(command, app.clock.now());
        if expected != got {
            return Err(format!("{expected:?} was expected, got {got:?}"));
        }
        self.check().await?;
        app.clock.advance(TimeDelta::seconds(5));
        Ok(())
    }

    async fn steer(&mut self, person: usize, command: Command) -> Outcome<(End, End)> {
        let app = &self.world.app;
        let mut expected = self.model.may(person, Action::Cancel);
        let got = match access::job::<Cancel>(app.db.read(), &self.world.people[person], self.job).await {
            Ok(grant) => match &command {
                Command::Cancel { reason } => app.jobs.cancel(&grant, reason.clone()).await.map(drop),
                Command::Rewind { to, .. } => {
                    app.jobs.rewind(&grant, Some(STEPS[*to].into()), None).await.map(drop)
                }
                _ => app.jobs.retry(&grant).await.map(drop),
            },
            Err(error) => Err(error),
        };
        if expected == End::Done {
            expected = self.model.perform(command, app.clock.now());
        }
        Ok((expected, end(got)?))
    }

    /// Claims, releases (`Some(None)`) or decides the newest review of the job.
    async fn review(&mut self, person: usize, what: Option<Option<Verdict>>) -> Outcome<(End, End)> {
        let app = &self.world.app;
        let newest = review::Entity::find().filter(review::Column::JobId.eq(self.job));
        let newest = newest.order_by_desc(review::Column::Id).one(app.db.read()).await.map_err(fault)?;
        let Some(newest) = newest else { return Ok((End::Done, End::Done)) };
        let by = self.world.people[person].user.id;
        let now = app.clock.now();
        let mut expected = self.model.may_review(person, &newest.step);
        let granted = access::review(app.db.read(), &self.world.people[person], newest.id).await;
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
                    let decision = Decision {
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
        if expected == End::Done {
            let is_open = ["OPEN", "CLAIMED"].contains(&newest.status.as_str());
            let claimed_by = self.model.state.review.and_then(|review| review.claim).map(|claim| claim.by);
            expected = match what {
                _ if !is_open => End::Conflict,
                Some(None) if claimed_by.is_some_and(|claimant| claimant != by) => End::Forbidden,
                None => {
                    self.model.perform(Command::ClaimReview { by, until: now + TimeDelta::minutes(15) }, now)
                }
                Some(None) => {
                    self.model.perform(Command::ReleaseReview { word: ReleaseWord::Claimant(by) }, now)
                }
                Some(Some(verdict)) => {
                    let (comment, receipt) = (Some("why".to_owned()), Receipt::default());
                    self.model.perform(Command::DecideReview { by, verdict, comment, receipt }, now)
                }
            };
        }
        Ok((expected, end(got)?))
    }

    /// The rows say what the model says, and everybody sees what the table says.
    async fn check(&self) -> Outcome {
        let app = &self.world.app;
        let snapshot = app.jobs.snapshot(self.job).await.map_err(fault)?.ok_or("the job is gone")?;
        let open = review::Entity::find()
            .filter(review::Column::JobId.eq(self.job))
            .filter(review::Column::Status.is_in(["OPEN", "CLAIMED"]));
        let open = open.all(app.db.read()).await.map_err(fault)?;
        if open.len() > 1 {
            return Err(format!("{} reviews are open", open.len()));
        }
        let stored = state(&snapshot.job, snapshot.task.as_ref(), open.first()).map_err(fault)?;
        let (model, stored) = (essence(&self.model.state), essence(&stored));
        if model != stored {
            return Err(format!("the model says {model:?}, the rows {stored:?}"));
        }
        for (i, person) in self.world.people.iter().enumerate() {
            let seen = snapshot.audience.standing(person, snapshot.job.owner_id);
            if seen != self.model.standing(i) {
                return Err(format!("person {i} is {seen:?} and should be {:?}", self.model.standing(i)));
            }
        }
        Ok(())
    }

    async fn check_history(&self) -> Outcome {
        let app = &self.world.app;
        let job = app.jobs.snapshot(self.job).await.map_err(fault)?.ok_or("the job is gone")?.job;
        let events = app.jobs.history(self.job, 0, 10_000).await.map_err(fault)?;
        let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
        if sequences != (1..=job.seq).collect::<Vec<_>>() {
            return Err(format!("the history has gaps: {sequences:?} of {}", job.seq));
        }
        if !events.is_sorted_by_key(|event| event.position) {
            return Err("the feed has the job's events in another order".into());
        }
        let mut status = json!("QUEUED");
        for event in events.iter().filter(|event| event.kind == EventKind::StatusChanged) {
            if event.data["from"] != status {
                return Err(format!("a status came from {} when it was {status}", event.data["from"]));
            }
            status = event.data["to"].clone();
        }
        if status != json!(job.status) {
            return Err(format!("the history ends with {status}, the job is {}", job.status));
        }
        Ok(())
    }

    /// Deletes the job; nothing of it is left. The team is as at the beginning.
    async fn remove(&mut self) -> Outcome {
        let app = &self.world.app;
        for who in 0..4 {
            self.leave(who).await?;
        }
        let owner = &self.world.people[0];
        let grant = access::job::<access::Delete>(app.db.read(), owner, self.job).await.map_err(fault)?;
        app.jobs.delete(&grant).await.map_err(fault)?;
        let db = app.db.read();
        let left = [
            task::Entity::find().filter(task::Column::JobId.eq(self.job)).count(db).await,
            job_event::Entity::find().filter(job_event::Column::JobId.eq(self.job)).count(db).await,
            content::Entity::find().filter(content::Column::JobId.eq(self.job)).count(db).await,
            rows::Entity::find().filter(rows::Column::JobId.eq(self.job)).count(db).await,
            review::Entity::find().filter(review::Column::JobId.eq(self.job)).count(db).await,
        ];
        for count in left {
            if count.map_err(fault)? > 0 {
                return Err("the job left rows behind".into());
            }
        }
        Ok(())
    }
}
