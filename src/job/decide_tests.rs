use chrono::{DateTime, TimeDelta};

use super::decide::*;
use super::state::*;
use crate::clock::Timestamp;
use crate::id::{LeaseToken, UserId};

const OWNER: UserId = UserId(uuid::Uuid::from_u128(1));
const ADA: UserId = UserId(uuid::Uuid::from_u128(2));
const BOB: UserId = UserId(uuid::Uuid::from_u128(3));

fn at(seconds: i64) -> Timestamp {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn steps(kinds: &[StepKind]) -> Vec<Step> {
    let step = |(i, kind): (usize, &StepKind)| Step {
        name: format!("s{i}"),
        title: format!("Step {i}"),
        kind: *kind,
        status: StepStatus::Pending,
        attempt: 0,
        max_attempts: 2,
        timeout_seconds: 100,
        fraction: 0.0,
        four_eyes: false,
        comment: None,
        started_at: None,
        finished_at: None,
    };
    kinds.iter().enumerate().map(step).collect()
}

/// A job and the time, driven by commands.
struct Story {
    state: State,
    now: i64,
    statuses: Vec<Status>,
}

impl Story {
    fn begin(mode: Mode, kinds: &[StepKind]) -> Self {
        let mut story = Self {
            state: State::new(OWNER, mode, steps(kinds), at(0)),
            now: 0,
            statuses: vec![Status::Queued],
        };
        story.does(Command::Start).unwrap();
        story
    }

    fn does(&mut self, command: Command) -> Result<(), Rejection> {
        let decided = decide(&self.state, command, at(self.now))?;
        self.state = decided.state;
        for event in decided.events {
            if let Event::Status { to, .. } = event {
                self.statuses.push(to);
            }
        }
        Ok(())
    }

    fn claims(&mut self) -> LeaseToken {
        let token = LeaseToken::new();
        self.does(Command::Claim { owner: "w".into(), token, lease_seconds: 30, by: None }).unwrap();
        token
    }

    fn completes(&mut self, token: LeaseToken) -> Result<(), Rejection> {
        self.does(Command::Complete { token, review: None })
    }

    fn asks(&mut self, token: LeaseToken) {
        self.does(Command::Complete { token, review: Some("unsure".into()) }).unwrap();
    }

    fn fails(&mut self, token: LeaseToken, retryable: bool) -> Result<(), Rejection> {
        self.does(Command::Fail { token, code: "E".into(), message: "e".into(), retryable, jitter: 1.0 })
    }
}

const AUTO: StepKind = StepKind::Automatic;
const MANUAL: StepKind = StepKind::Manual;

#[test]
fn steps_run_one_after_another_until_the_job_completes() {
    use Status::{Completed, Queued, Running};
    let mut job = Story::begin(Mode::Live, &[AUTO, AUTO]);
    for done in 0..2 {
        assert_eq!(job.state.finished_steps(), done);
        assert_eq!(job.state.current_step(), Some(done));
        let token = job.claims();
        job.completes(token).unwrap();
    }
    assert_eq!(job.statuses, [Queued, Running, Queued, Running, Completed]);
    assert_eq!(job.state.current_step(), None);
    assert_eq!(job.state.finished_at, Some(at(0)));
}

#[test]
fn a_result_is_taken_once_and_only_under_the_lease_that_holds() {
    let mut job = Story::begin(Mode::Live, &[AUTO]);
    let late = job.claims();
    job.now = 30;
    assert_eq!(job.completes(late), Err(Rejection::StaleLease), "the lease ended at 30");
    job.does(Command::Expire { jitter: 1.0 }).unwrap();
    assert_eq!(job.does(Command::Expire { jitter: 1.0 }), Err(Rejection::StaleLease));
    job.now = 31;
    let token = job.claims();
    assert_eq!(job.state.fence, 2);
    assert_eq!(job.completes(late), Err(Rejection::StaleLease));
    assert_eq!(job.fails(late, true), Err(Rejection::StaleLease));
    job.completes(token).unwrap();
    assert_eq!(job.completes(token), Err(Rejection::StaleLease), "the same result a second time");
}

#[test]
fn a_claim_waits_for_the_backoff_and_takes_what_nobody_has() {
    let mut job = Story::begin(Mode::Live, &[AUTO]);
    let token = job.claims();
    let claim =
        || Command::Claim { owner: "v".into(), token: LeaseToken::new(), lease_seconds: 30, by: None };
    assert_eq!(job.does(claim()), Err(Rejection::NothingQueued), "somebody has it");
    job.fails(token, true).unwrap();
    assert_eq!(job.does(claim()), Err(Rejection::NothingQueued), "it waits for a second");
    job.now = 1;
    job.does(claim()).unwrap();
}

#[test]
fn attempts_are_used_up() {
    let mut job = Story::begin(Mode::Live, &[AUTO, AUTO]);
    let token = job.claims();
    job.fails(token, true).unwrap();
    assert_eq!(job.state.status, Status::Queued);
    job.now = 1;
    let token = job.claims();
    job.fails(token, true).unwrap();
    assert_eq!(job.state.status, Status::Failed);
    assert_eq!(job.state.failure.as_ref().map(|f| f.code.as_str()), Some("E"));
    assert_eq!(job.state.task, None);
}

#[test]
fn what_cannot_succeed_is_not_tried_again() {
    let mut job = Story::begin(Mode::Live, &[AUTO]);
    let token = job.claims();
    job.fails(token, false).unwrap();
    assert_eq!(job.state.status, Status::Failed);
}

#[test]
fn an_attempt_ends_at_its_deadline_whatever_the_lease_asks_for() {
    let mut job = Story::begin(Mode::Live, &[AUTO]);
    job.does(Command::Claim { owner: "w".into(), token: LeaseToken::new(), lease_seconds: 9_999, by: None })
        .unwrap();
    job.now = 99;
    assert_eq!(job.does(Command::Expire { jitter: 0.0 }), Err(Rejection::LeaseHolds));
    job.now = 100;
    let events = decide(&job.state, Command::Expire { jitter: 0.0 }, at(100)).unwrap().events;
    let Event::Step { change: StepChange::Queued { error: Some(error), .. }, .. } = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(error.code, "STEP_TIMEOUT");
}

#[test]
fn a_review_blocks_a_live_job_and_passes_in_test_mode() {
    let mut live = Story::begin(Mode::Live, &[AUTO, AUTO]);
    let token = live.claims();
    live.asks(token);
    assert_eq!(live.state.status, Status::Blocked);
    assert_eq!(live.state.review, Some(OpenReview { step: 0, claim: None }));
    assert_eq!(live.state.current_step(), Some(0));

    let mut test = Story::begin(Mode::Test, &[AUTO, MANUAL, MANUAL]);
    let token = test.claims();
    test.asks(token);
    assert_eq!(test.state.status, Status::Completed, "every person is stood in for");
    assert_eq!(test.state.review, None);
}

#[test]
fn a_manual_first_step_waits_for_a_person_at_once() {
    let job = Story::begin(Mode::Live, &[MANUAL, AUTO]);
    assert_eq!(job.statuses, [Status::Queued, Status::Blocked]);
    assert_eq!(job.state.task, None);
}

#[test]
fn cancelling_ends_whatever_is_under_way_and_late_results_change_nothing() {
    let mut job = Story::begin(Mode::Live, &[AUTO]);
    let token = job.claims();
    job.does(Command::Cancel { reason: Some("enough".into()) }).unwrap();
    assert_eq!(job.completes(token), Err(Rejection::StaleLease));
    assert_eq!(job.state.status, Status::Cancelled);
    assert_eq!(job.state.steps[0].status, StepStatus::Cancelled);
    assert_eq!(job.does(Command::Cancel { reason: None }), Err(Rejection::Final(Status::Cancelled)));

    let mut blocked = Story::begin(Mode::Live, &[MANUAL]);
    blocked.does(Command::Cancel { reason: None }).unwrap();
    assert_eq!(blocked.state.review, None, "its review went with it");
}

#[test]
fn a_retry_gives_the_stopped_step_its_attempts_back() {
    let mut job = Story::begin(Mode::Live, &[AUTO, AUTO]);
    let token = job.claims();
    job.completes(token).unwrap();
    let token = job.claims();
    job.fails(token, false).unwrap();
    job.does(Command::Retry).unwrap();
    assert_eq!(
        (job.state.status, job.state.failure.as_ref(), job.state.finished_at),
        (Status::Queued, None, None)
    );
    assert_eq!((job.state.steps[0].status, job.state.steps[1].attempt), (StepStatus::Completed, 0));
    let retry = job.does(Command::Retry);
    assert_eq!(retry, Err(Rejection::NotStopped(Status::Queued)));
    let token = job.claims();
    job.completes(token).unwrap();
    assert_eq!(job.state.status, Status::Completed);
}

#[test]
fn what_is_given_back_is_queued_at_once() {
    let mut job = Story::begin(Mode::Live, &[AUTO]);
    let token = job.claims();
    job.does(Command::ReleaseStep { token }).unwrap();
    assert_eq!((job.state.status, job.state.failure.clone()), (Status::Queued, None));
    assert_eq!(job.does(Command::ReleaseStep { token }), Err(Rejection::StaleLease));
    job.claims();
}

impl Story {
    /// A live job of three steps that is blocked at the second.
    fn blocked() -> Self {
        let mut job = Self::begin(Mode::Live, &[AUTO, AUTO, AUTO]);
        let token = job.claims();
        job.completes(token).unwrap();
        let token = job.claims();
        job.asks(token);
        job
    }

    fn claims_review(&mut self, by: UserId) -> Result<(), Rejection> {
        self.does(Command::ClaimReview { by, until: at(self.now + 900) })
    }

    fn decides(&mut self, by: UserId, verdict: Verdict) -> Result<(), Rejection> {
        let (comment, receipt) = (Some("because".into()), Receipt::default());
        self.does(Command::DecideReview { by, verdict, comment, receipt })
    }

    fn step_statuses(&self) -> Vec<StepStatus> {
        self.state.steps.iter().map(|step| step.status).collect()
    }
}

#[test]
fn a_review_has_one_claimant_until_the_claim_ends() {
    let mut job = Story::blocked();
    assert_eq!(job.decides(ADA, Verdict::Approve), Err(Rejection::NotClaimed));
    job.claims_review(ADA).unwrap();
    assert_eq!(job.claims_review(BOB), Err(Rejection::ClaimedBy(ADA)));
    assert_eq!(job.decides(BOB, Verdict::Approve), Err(Rejection::ClaimedBy(ADA)));
    job.now = 800;
    job.claims_review(ADA).unwrap();
    job.now = 1_699;
    assert_eq!(job.claims_review(BOB), Err(Rejection::ClaimedBy(ADA)), "it was renewed until 1700");
    job.does(Command::ReleaseReview { cause: ReleaseCause::Clock }).unwrap();
    assert!(job.state.review.unwrap().claim.is_some(), "its time is not over yet");
    job.now = 1_700;
    assert_eq!(job.decides(ADA, Verdict::Approve), Err(Rejection::NotClaimed));
    job.claims_review(BOB).unwrap();
    assert_eq!(
        job.does(Command::ReleaseReview { cause: ReleaseCause::Claimant(ADA) }),
        Err(Rejection::ClaimedBy(BOB))
    );
    job.does(Command::ReleaseReview { cause: ReleaseCause::AccessLost(ADA) }).unwrap();
    assert!(job.state.review.unwrap().claim.is_some(), "it is not hers any more");
    job.does(Command::ReleaseReview { cause: ReleaseCause::Admin }).unwrap();
    assert_eq!(job.state.review.unwrap().claim, None);
}

#[test]
fn an_approval_goes_on_and_a_rejection_fails() {
    let mut approved = Story::blocked();
    approved.claims_review(ADA).unwrap();
    approved.decides(ADA, Verdict::Approve).unwrap();
    assert_eq!((approved.state.status, approved.state.current_step()), (Status::Queued, Some(2)));
    assert_eq!(approved.decides(ADA, Verdict::Approve), Err(Rejection::NoReview), "twice");

    let mut rejected = Story::blocked();
    rejected.claims_review(ADA).unwrap();
    rejected.decides(ADA, Verdict::Reject).unwrap();
    let failure = rejected.state.failure.clone().unwrap();
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("REVIEW_REJECTED", "because"));
    rejected.does(Command::Retry).unwrap();
    assert_eq!(rejected.state.current_step(), Some(1), "the step that was rejected runs again");
}

#[test]
fn what_is_sent_back_runs_again_with_the_comment() {
    let mut job = Story::blocked();
    job.claims_review(ADA).unwrap();
    for not_earlier in [1, 2] {
        assert_eq!(job.decides(ADA, Verdict::SendBack(not_earlier)), Err(Rejection::NotEarlier));
    }
    job.decides(ADA, Verdict::SendBack(0)).unwrap();
    assert_eq!(job.step_statuses(), [StepStatus::Queued, StepStatus::Pending, StepStatus::Pending]);
    let first = &job.state.steps[0];
    assert_eq!((first.attempt, first.comment.as_deref()), (0, Some("because")));
    let token = job.claims();
    job.fails(token, true).unwrap();
    assert_eq!(job.state.steps[0].comment.as_deref(), Some("because"), "the next attempt needs it too");
    job.now = 10;
    let token = job.claims();
    job.completes(token).unwrap();
    assert_eq!(job.state.steps[0].comment, None);
}

#[test]
fn a_manual_step_that_is_sent_back_to_says_why() {
    let mut job = Story::begin(Mode::Live, &[MANUAL, MANUAL]);
    for verdict in [Verdict::Approve, Verdict::SendBack(0)] {
        job.claims_review(ADA).unwrap();
        job.decides(ADA, verdict).unwrap();
    }
    let events = decide(&job.state, Command::Rewind { to: 0, reason: None }, at(0)).unwrap().events;
    assert!(
        matches!(&events[1], Event::ReviewClosed { outcome: ReviewOutcome::Cancelled, by: None, .. }),
        "{events:?}"
    );
    assert_eq!(job.state.status, Status::Blocked);
    assert_eq!(job.state.review.map(|review| review.step), Some(0));
}

#[test]
fn four_eyes_bar_the_owner_and_nobody_else() {
    let mut job = Story::begin(Mode::Live, &[MANUAL]);
    job.state.steps[0].four_eyes = true;
    assert_eq!(job.claims_review(OWNER), Err(Rejection::FourEyes));
    job.claims_review(ADA).unwrap();
    job.decides(ADA, Verdict::Approve).unwrap();
    assert_eq!(job.state.status, Status::Completed);
}

#[test]
fn four_eyes_keep_the_owner_from_doing_the_step_as_a_worker() {
    let mut job = Story::begin(Mode::Live, &[AUTO]);
    job.state.steps[0].four_eyes = true;
    let claim = |by| Command::Claim { owner: "w".into(), token: LeaseToken::new(), lease_seconds: 30, by };
    assert_eq!(job.does(claim(Some(OWNER))), Err(Rejection::FourEyes));
    job.does(claim(Some(ADA))).unwrap();
    assert_eq!(job.state.status, Status::Running);
}

#[test]
fn a_rewind_goes_back_from_any_status_and_never_forward() {
    let mut done = Story::begin(Mode::Live, &[AUTO, AUTO]);
    assert_eq!(done.does(Command::Rewind { to: 1, reason: None }), Err(Rejection::NotReached));
    for _ in 0..2 {
        let token = done.claims();
        done.completes(token).unwrap();
    }
    done.does(Command::Rewind { to: 1, reason: Some("again".into()) }).unwrap();
    assert_eq!((done.state.status, done.state.finished_at), (Status::Queued, None));
    assert_eq!(done.step_statuses(), [StepStatus::Completed, StepStatus::Queued]);

    let running = done.claims();
    done.does(Command::Rewind { to: 0, reason: None }).unwrap();
    assert_eq!(done.completes(running), Err(Rejection::StaleLease), "a late result changes nothing");
    assert_eq!(done.step_statuses(), [StepStatus::Queued, StepStatus::Pending]);

    let mut blocked = Story::blocked();
    blocked.claims_review(ADA).unwrap();
    blocked.does(Command::Rewind { to: 0, reason: None }).unwrap();
    assert_eq!((blocked.state.review, blocked.state.status), (None, Status::Queued));
    assert_eq!(blocked.decides(ADA, Verdict::Approve), Err(Rejection::NoReview));
}

#[test]
fn time_is_counted_for_whoever_has_the_job() {
    let mut job = Story::begin(Mode::Live, &[AUTO]);
    job.now = 2;
    let token = job.claims();
    job.now = 5;
    job.asks(token);
    job.now = 9;
    job.claims_review(ADA).unwrap();
    job.now = 16;
    job.decides(ADA, Verdict::Approve).unwrap();
    job.now = 100;
    let spent = job.state.timing.spent(job.state.phase(), at(job.now));
    assert_eq!((spent.machine, spent.person, spent.waiting), (3.0, 7.0, 6.0));
}
