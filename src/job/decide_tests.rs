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

/// A job with a clock that tests set.
struct TestJob {
    state: State,
    now: i64,
    statuses: Vec<Status>,
}

impl TestJob {
    fn start(mode: Mode, kinds: &[StepKind]) -> Self {
        let mut job = Self {
            state: State::new(OWNER, mode, steps(kinds), at(0)),
            now: 0,
            statuses: vec![Status::Queued],
        };
        job.perform(Command::Start).unwrap();
        job
    }

    fn perform(&mut self, command: Command) -> Result<(), Rejection> {
        let decided = decide(&self.state, command, at(self.now))?;
        self.state = decided.state;
        for event in decided.events {
            if let Event::Status { to, .. } = event {
                self.statuses.push(to);
            }
        }
        Ok(())
    }

    fn claim(&mut self) -> LeaseToken {
        let token = LeaseToken::new();
        self.perform(Command::Claim { owner: "w".into(), token, lease_seconds: 30, by: None }).unwrap();
        token
    }

    fn complete(&mut self, token: LeaseToken) -> Result<(), Rejection> {
        self.perform(Command::Complete { token, review: None })
    }

    fn request_review(&mut self, token: LeaseToken) {
        self.perform(Command::Complete { token, review: Some("unsure".into()) }).unwrap();
    }

    fn fail(&mut self, token: LeaseToken, retryable: bool) -> Result<(), Rejection> {
        self.perform(Command::Fail { token, code: "E".into(), message: "e".into(), retryable, jitter: 1.0 })
    }
}

const AUTO: StepKind = StepKind::Automatic;
const MANUAL: StepKind = StepKind::Manual;

#[test]
fn steps_run_one_after_another_until_the_job_completes() {
    use Status::{Completed, Queued, Running};
    let mut job = TestJob::start(Mode::Live, &[AUTO, AUTO]);
    for finished in 0..2 {
        let completed = |step: &&Step| step.status == StepStatus::Completed;
        assert_eq!(job.state.steps.iter().filter(completed).count(), finished);
        assert_eq!(job.state.current_step(), Some(finished));
        let token = job.claim();
        job.complete(token).unwrap();
    }
    assert_eq!(job.statuses, [Queued, Running, Queued, Running, Completed]);
    assert_eq!(job.state.current_step(), None);
    assert_eq!(job.state.finished_at, Some(at(0)));
}

#[test]
fn result_is_accepted_once_and_only_under_valid_lease() {
    let mut job = TestJob::start(Mode::Live, &[AUTO]);
    let late = job.claim();
    job.now = 30;
    assert_eq!(job.complete(late), Err(Rejection::StaleLease), "the lease expired at 30");
    job.perform(Command::Expire { jitter: 1.0 }).unwrap();
    assert_eq!(job.perform(Command::Expire { jitter: 1.0 }), Err(Rejection::StaleLease));
    job.now = 31;
    let token = job.claim();
    assert_eq!(job.state.fence, 2);
    assert_eq!(job.complete(late), Err(Rejection::StaleLease));
    assert_eq!(job.fail(late, true), Err(Rejection::StaleLease));
    job.complete(token).unwrap();
    assert_eq!(job.complete(token), Err(Rejection::StaleLease), "the same result a second time");
}

#[test]
fn claim_fails_while_leased_and_during_backoff() {
    let mut job = TestJob::start(Mode::Live, &[AUTO]);
    let token = job.claim();
    let claim =
        || Command::Claim { owner: "v".into(), token: LeaseToken::new(), lease_seconds: 30, by: None };
    assert_eq!(job.perform(claim()), Err(Rejection::NothingQueued), "another worker has the step");
    job.fail(token, true).unwrap();
    assert_eq!(job.perform(claim()), Err(Rejection::NothingQueued), "the backoff is one second");
    job.now = 1;
    job.perform(claim()).unwrap();
}

#[test]
fn job_fails_after_last_attempt() {
    let mut job = TestJob::start(Mode::Live, &[AUTO, AUTO]);
    let token = job.claim();
    job.fail(token, true).unwrap();
    assert_eq!(job.state.status, Status::Queued);
    job.now = 1;
    let token = job.claim();
    job.fail(token, true).unwrap();
    assert_eq!(job.state.status, Status::Failed);
    assert_eq!(job.state.failure.as_ref().map(|f| f.code.as_str()), Some("E"));
    assert_eq!(job.state.task, None);
}

#[test]
fn permanent_failure_is_not_retried() {
    let mut job = TestJob::start(Mode::Live, &[AUTO]);
    let token = job.claim();
    job.fail(token, false).unwrap();
    assert_eq!(job.state.status, Status::Failed);
}

#[test]
fn attempt_times_out_despite_longer_lease() {
    let mut job = TestJob::start(Mode::Live, &[AUTO]);
    let claim =
        Command::Claim { owner: "w".into(), token: LeaseToken::new(), lease_seconds: 9_999, by: None };
    job.perform(claim).unwrap();
    job.now = 99;
    assert_eq!(job.perform(Command::Expire { jitter: 0.0 }), Err(Rejection::LeaseHolds));
    job.now = 100;
    let events = decide(&job.state, Command::Expire { jitter: 0.0 }, at(100)).unwrap().events;
    let Event::Step { change: StepChange::Queued { error: Some(error), .. }, .. } = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(error.code, "STEP_TIMEOUT");
}

#[test]
fn review_blocks_live_job_and_approves_itself_in_test_mode() {
    let mut live = TestJob::start(Mode::Live, &[AUTO, AUTO]);
    let token = live.claim();
    live.request_review(token);
    assert_eq!(live.state.status, Status::Blocked);
    assert_eq!(live.state.review, Some(OpenReview { step: 0, claim: None }));
    assert_eq!(live.state.current_step(), Some(0));

    let mut test = TestJob::start(Mode::Test, &[AUTO, MANUAL, MANUAL]);
    let token = test.claim();
    test.request_review(token);
    assert_eq!(test.state.status, Status::Completed, "reviews and manual steps approve themselves");
    assert_eq!(test.state.review, None);
}

#[test]
fn manual_first_step_blocks_job_at_start() {
    let job = TestJob::start(Mode::Live, &[MANUAL, AUTO]);
    assert_eq!(job.statuses, [Status::Queued, Status::Blocked]);
    assert_eq!(job.state.task, None);
}

#[test]
fn cancel_ends_step_and_review_and_rejects_late_results() {
    let mut job = TestJob::start(Mode::Live, &[AUTO]);
    let token = job.claim();
    job.perform(Command::Cancel { reason: Some("enough".into()) }).unwrap();
    assert_eq!(job.complete(token), Err(Rejection::StaleLease));
    assert_eq!(job.state.status, Status::Cancelled);
    assert_eq!(job.state.steps[0].status, StepStatus::Cancelled);
    assert_eq!(job.perform(Command::Cancel { reason: None }), Err(Rejection::Final(Status::Cancelled)));

    let mut blocked = TestJob::start(Mode::Live, &[MANUAL]);
    blocked.perform(Command::Cancel { reason: None }).unwrap();
    assert_eq!(blocked.state.review, None, "the review is closed");
}

#[test]
fn retry_restarts_stopped_step_with_all_attempts() {
    let mut job = TestJob::start(Mode::Live, &[AUTO, AUTO]);
    let token = job.claim();
    job.complete(token).unwrap();
    let token = job.claim();
    job.fail(token, false).unwrap();
    job.perform(Command::Retry).unwrap();
    assert_eq!(
        (job.state.status, job.state.failure.as_ref(), job.state.finished_at),
        (Status::Queued, None, None)
    );
    assert_eq!((job.state.steps[0].status, job.state.steps[1].attempt), (StepStatus::Completed, 0));
    let retry = job.perform(Command::Retry);
    assert_eq!(retry, Err(Rejection::NotStopped(Status::Queued)));
    let token = job.claim();
    job.complete(token).unwrap();
    assert_eq!(job.state.status, Status::Completed);
}

#[test]
fn released_step_is_queued_at_once() {
    let mut job = TestJob::start(Mode::Live, &[AUTO]);
    let token = job.claim();
    job.perform(Command::ReleaseStep { token }).unwrap();
    assert_eq!((job.state.status, job.state.failure.clone()), (Status::Queued, None));
    assert_eq!(job.perform(Command::ReleaseStep { token }), Err(Rejection::StaleLease));
    job.claim();
}

impl TestJob {
    /// Returns a LIVE job of three steps that is blocked at the second.
    fn blocked() -> Self {
        let mut job = Self::start(Mode::Live, &[AUTO, AUTO, AUTO]);
        let token = job.claim();
        job.complete(token).unwrap();
        let token = job.claim();
        job.request_review(token);
        job
    }

    fn claim_review(&mut self, by: UserId) -> Result<(), Rejection> {
        self.perform(Command::ClaimReview { by, until: at(self.now + 900) })
    }

    fn decide(&mut self, by: UserId, verdict: Verdict) -> Result<(), Rejection> {
        let (comment, receipt) = (Some("because".into()), Receipt::default());
        self.perform(Command::DecideReview { by, verdict, comment, receipt })
    }

    fn step_statuses(&self) -> Vec<StepStatus> {
        self.state.steps.iter().map(|step| step.status).collect()
    }
}

#[test]
fn review_has_one_claimant_until_claim_expires() {
    let mut job = TestJob::blocked();
    assert_eq!(job.decide(ADA, Verdict::Approve), Err(Rejection::NotClaimed));
    job.claim_review(ADA).unwrap();
    assert_eq!(job.claim_review(BOB), Err(Rejection::ClaimedBy(ADA)));
    assert_eq!(job.decide(BOB, Verdict::Approve), Err(Rejection::ClaimedBy(ADA)));
    job.now = 800;
    job.claim_review(ADA).unwrap();
    job.now = 1_699;
    assert_eq!(job.claim_review(BOB), Err(Rejection::ClaimedBy(ADA)), "the claim was renewed until 1700");
    job.perform(Command::ReleaseReview { cause: ReleaseCause::Clock }).unwrap();
    assert!(job.state.review.unwrap().claim.is_some(), "the claim has not expired");
    job.now = 1_700;
    assert_eq!(job.decide(ADA, Verdict::Approve), Err(Rejection::NotClaimed));
    for cause in [ReleaseCause::Claimant(BOB), ReleaseCause::Claimant(ADA), ReleaseCause::Admin] {
        job.perform(Command::ReleaseReview { cause }).unwrap();
        assert!(job.state.review.unwrap().claim.is_some(), "only the clock ends an expired claim");
    }
    job.claim_review(BOB).unwrap();
    assert_eq!(
        job.perform(Command::ReleaseReview { cause: ReleaseCause::Claimant(ADA) }),
        Err(Rejection::ClaimedBy(BOB))
    );
    job.perform(Command::ReleaseReview { cause: ReleaseCause::AccessLost(ADA) }).unwrap();
    assert!(job.state.review.unwrap().claim.is_some(), "the claim is no longer hers");
    job.perform(Command::ReleaseReview { cause: ReleaseCause::Admin }).unwrap();
    assert_eq!(job.state.review.unwrap().claim, None);
}

#[test]
fn approval_continues_job_and_rejection_fails_it() {
    let mut approved = TestJob::blocked();
    approved.claim_review(ADA).unwrap();
    approved.decide(ADA, Verdict::Approve).unwrap();
    assert_eq!((approved.state.status, approved.state.current_step()), (Status::Queued, Some(2)));
    assert_eq!(approved.decide(ADA, Verdict::Approve), Err(Rejection::NoReview), "twice");

    let mut rejected = TestJob::blocked();
    rejected.claim_review(ADA).unwrap();
    rejected.decide(ADA, Verdict::Reject).unwrap();
    let failure = rejected.state.failure.clone().unwrap();
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("REVIEW_REJECTED", "because"));
    rejected.perform(Command::Retry).unwrap();
    assert_eq!(rejected.state.current_step(), Some(1), "the step that was rejected runs again");
}

#[test]
fn sent_back_step_runs_again_with_comment() {
    let mut job = TestJob::blocked();
    job.claim_review(ADA).unwrap();
    for not_earlier in [1, 2] {
        assert_eq!(job.decide(ADA, Verdict::SendBack(not_earlier)), Err(Rejection::NotEarlier));
    }
    job.decide(ADA, Verdict::SendBack(0)).unwrap();
    assert_eq!(job.step_statuses(), [StepStatus::Queued, StepStatus::Pending, StepStatus::Pending]);
    let first = &job.state.steps[0];
    assert_eq!((first.attempt, first.comment.as_deref()), (0, Some("because")));
    let token = job.claim();
    job.fail(token, true).unwrap();
    assert_eq!(job.state.steps[0].comment.as_deref(), Some("because"), "the next attempt needs the comment");
    job.now = 10;
    let token = job.claim();
    job.complete(token).unwrap();
    assert_eq!(job.state.steps[0].comment, None);
}

#[test]
fn rewind_of_manual_step_closes_and_reopens_review() {
    let mut job = TestJob::start(Mode::Live, &[MANUAL, MANUAL]);
    for verdict in [Verdict::Approve, Verdict::SendBack(0)] {
        job.claim_review(ADA).unwrap();
        job.decide(ADA, verdict).unwrap();
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
fn four_eyes_bar_owner_but_not_other_reviewers() {
    let mut job = TestJob::start(Mode::Live, &[MANUAL]);
    job.state.steps[0].four_eyes = true;
    assert_eq!(job.claim_review(OWNER), Err(Rejection::FourEyes));
    job.claim_review(ADA).unwrap();
    job.decide(ADA, Verdict::Approve).unwrap();
    assert_eq!(job.state.status, Status::Completed);
}

#[test]
fn four_eyes_bar_owner_from_claiming_step_as_worker() {
    let mut job = TestJob::start(Mode::Live, &[AUTO]);
    job.state.steps[0].four_eyes = true;
    let claim = |by| Command::Claim { owner: "w".into(), token: LeaseToken::new(), lease_seconds: 30, by };
    assert_eq!(job.perform(claim(Some(OWNER))), Err(Rejection::FourEyes));
    job.perform(claim(Some(ADA))).unwrap();
    assert_eq!(job.state.status, Status::Running);
}

#[test]
fn rewind_goes_back_from_any_status_and_never_forward() {
    let mut done = TestJob::start(Mode::Live, &[AUTO, AUTO]);
    assert_eq!(done.perform(Command::Rewind { to: 1, reason: None }), Err(Rejection::NotReached));
    for _ in 0..2 {
        let token = done.claim();
        done.complete(token).unwrap();
    }
    done.perform(Command::Rewind { to: 1, reason: Some("again".into()) }).unwrap();
    assert_eq!((done.state.status, done.state.finished_at), (Status::Queued, None));
    assert_eq!(done.step_statuses(), [StepStatus::Completed, StepStatus::Queued]);

    let running = done.claim();
    done.perform(Command::Rewind { to: 0, reason: None }).unwrap();
    assert_eq!(done.complete(running), Err(Rejection::StaleLease), "a late result changes nothing");
    assert_eq!(done.step_statuses(), [StepStatus::Queued, StepStatus::Pending]);

    let mut blocked = TestJob::blocked();
    blocked.claim_review(ADA).unwrap();
    blocked.perform(Command::Rewind { to: 0, reason: None }).unwrap();
    assert_eq!((blocked.state.review, blocked.state.status), (None, Status::Queued));
    assert_eq!(blocked.decide(ADA, Verdict::Approve), Err(Rejection::NoReview));
}

#[test]
fn time_counts_for_phase_of_job() {
    let mut job = TestJob::start(Mode::Live, &[AUTO]);
    job.now = 2;
    let token = job.claim();
    job.now = 5;
    job.request_review(token);
    job.now = 9;
    job.claim_review(ADA).unwrap();
    job.now = 16;
    job.decide(ADA, Verdict::Approve).unwrap();
    job.now = 100;
    let spent = job.state.timing.spent(job.state.phase(), at(job.now));
    assert_eq!((spent.machine, spent.person, spent.waiting), (3.0, 7.0, 6.0));
}
