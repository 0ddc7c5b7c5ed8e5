//! Invariants of every job, checked by random sequences of commands against [`decide`] and [`State::apply`].

use chrono::{DateTime, TimeDelta};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::decide::*;
use super::state::*;
use crate::clock::Timestamp;
use crate::id::{LeaseToken, UserId};

/// Returns one of four users: the owner (0) and three reviewers.
fn user(n: u8) -> UserId {
    UserId(Uuid::from_u128(u128::from(n % 4)))
}

/// One action of a random sequence.
#[derive(Debug, Clone)]
enum Action {
    Wait(i64),
    Claim(Option<u8>),
    /// With the token of the claim that `age` further claims have followed.
    Complete {
        age: usize,
        review: bool,
    },
    Fail {
        age: usize,
        retryable: bool,
    },
    ReleaseStep {
        age: usize,
    },
    Expire,
    Cancel,
    Retry,
    Rewind(usize),
    ClaimReview(u8),
    RenewReview(u8),
    ReleaseReview(u8),
    Decide(u8, u8),
}

fn action() -> impl Strategy<Value = Action> {
    let age = || prop_oneof![4 => Just(0_usize), 1 => 1..3_usize];
    prop_oneof![
        2 => (1..200_i64).prop_map(Action::Wait),
        6 => proptest::option::of(any::<u8>()).prop_map(Action::Claim),
        6 => (age(), any::<bool>()).prop_map(|(age, review)| Action::Complete { age, review }),
        2 => (age(), any::<bool>()).prop_map(|(age, retryable)| Action::Fail { age, retryable }),
        1 => age().prop_map(|age| Action::ReleaseStep { age }),
        2 => Just(Action::Expire),
        1 => Just(Action::Cancel),
        2 => Just(Action::Retry),
        1 => (0..4_usize).prop_map(Action::Rewind),
        4 => any::<u8>().prop_map(Action::ClaimReview),
        1 => any::<u8>().prop_map(Action::RenewReview),
        1 => any::<u8>().prop_map(Action::ReleaseReview),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(n, choice)| Action::Decide(n, choice)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<bool>(), any::<bool>(), 1..4_u32);
    vec(step, 1..5).prop_map(|steps| {
        let step = |(i, (manual, four_eyes, max_attempts)): (usize, (bool, bool, u32))| Step {
            name: format!("s{i}"),
            title: format!("Step {i}"),
            kind: if manual { StepKind::Manual } else { StepKind::Automatic },
            status: StepStatus::Pending,
            attempt: 0,
            max_attempts,
            timeout_seconds: 100,
            fraction: 0.0,
            four_eyes,
            comment: None,
            started_at: None,
            finished_at: None,
        };
        steps.into_iter().enumerate().map(step).collect()
    })
}

struct Run {
    state: State,
    now: Timestamp,
    tokens: Vec<LeaseToken>,
    /// Tokens whose result was accepted.
    accepted: Vec<LeaseToken>,
    /// Seconds during which the job was not final.
    open_seconds: f64,
}

impl Run {
    fn decide(&mut self, action: &Action) -> Result<Decided, Rejection> {
        let token = |run: &Self, age: usize| {
            let index = run.tokens.len().checked_sub(age + 1);
            index.map_or_else(LeaseToken::new, |index| run.tokens[index])
        };
        let until = self.now + TimeDelta::seconds(90);
        let command = match action {
            Action::Wait(seconds) => {
                self.now += TimeDelta::seconds(*seconds);
                if !self.state.status.is_final() {
                    self.open_seconds += TimeDelta::seconds(*seconds).as_seconds_f64();
                }
                return Ok(Decided { state: self.state.clone(), events: Vec::new() });
            }
            Action::Claim(by) => {
                let token = LeaseToken::new();
                self.tokens.push(token);
                Command::Claim { owner: "w".into(), token, lease_seconds: 30, by: by.map(user) }
            }
            Action::Complete { age, review } => {
                let review = review.then(|| "unsure".to_owned());
                Command::Complete { token: token(self, *age), review }
            }
            Action::Fail { age, retryable } => Command::Fail {
                token: token(self, *age),
                code: "E".into(),
                message: "e".into(),
                retryable: *retryable,
                jitter: 0.5,
            },
            Action::ReleaseStep { age } => Command::ReleaseStep { token: token(self, *age) },
            Action::Expire => Command::Expire { jitter: 0.5 },
            Action::Cancel => Command::Cancel { reason: None },
            Action::Retry => Command::Retry,
            Action::Rewind(to) => Command::Rewind { to: to % self.state.steps.len(), reason: None },
            Action::ClaimReview(n) => Command::ClaimReview { by: user(*n), until },
            Action::RenewReview(n) => Command::RenewReview { by: user(*n), until },
            Action::ReleaseReview(n) => Command::ReleaseReview {
                cause: match n % 4 {
                    0 => ReleaseCause::Admin,
                    1 => ReleaseCause::Clock,
                    2 => ReleaseCause::AccessLost(user(n / 4)),
                    _ => ReleaseCause::Claimant(user(n / 4)),
                },
            },
            Action::Decide(n, choice) => Command::DecideReview {
                by: user(*n),
                verdict: match choice % 4 {
                    0 => Verdict::Reject,
                    1 => Verdict::SendBack(usize::from(choice / 4) % self.state.steps.len()),
                    _ => Verdict::Approve,
                },
                comment: None,
                receipt: Receipt::default(),
            },
        };
        if let Command::Complete { token, .. } = &command {
            let decided = decide(&self.state, command.clone(), self.now)?;
            self.accepted.push(*token);
            return Ok(decided);
        }
        decide(&self.state, command, self.now)
    }
}

fn is_legal(from: Status, to: Status, is_reopened: bool) -> bool {
    use Status::{Blocked, Cancelled, Completed, Failed, Queued, Running};
    match from {
        Queued => matches!(to, Running | Blocked | Cancelled | Completed),
        Running => matches!(to, Queued | Blocked | Completed | Failed | Cancelled),
        Blocked => matches!(to, Queued | Completed | Failed | Cancelled),
        Completed | Cancelled | Failed => is_reopened && matches!(to, Queued | Blocked | Completed),
    }
}

/// Checks the invariants that hold between commands.
fn check(state: &State) -> Result<(), TestCaseError> {
    use StepStatus::{Blocked, Cancelled, Completed, Failed, Pending, Queued, Running};
    let is_leased = state.task.as_ref().map(|task| task.lease.is_some());
    let shape = (state.status, is_leased, state.review.is_some());
    let expected = match state.status {
        Status::Queued => (Status::Queued, Some(false), false),
        Status::Running => (Status::Running, Some(true), false),
        Status::Blocked => (Status::Blocked, None, true),
        final_status => (final_status, None, false),
    };
    prop_assert_eq!(shape, expected);
    let open_step = match state.status {
        Status::Queued => Some(Queued),
        Status::Running => Some(Running),
        Status::Blocked => Some(Blocked),
        Status::Failed => Some(Failed),
        Status::Cancelled => Some(Cancelled),
        Status::Completed => None,
    };
    let statuses: Vec<_> = state.steps.iter().map(|step| step.status).collect();
    let index = statuses.iter().position(|status| *status != Completed);
    prop_assert_eq!(index.map(|index| statuses[index]), open_step, "{:?}", statuses);
    if let Some(index) = index {
        prop_assert!(statuses[index + 1..].iter().all(|status| *status == Pending), "{:?}", statuses);
        prop_assert!(state.current_step().is_none_or(|current| current == index));
    }
    prop_assert!(state.steps.iter().all(|step| step.attempt <= step.max_attempts));
    prop_assert_eq!(state.failure.is_some(), state.status == Status::Failed);
    prop_assert_eq!(state.finished_at.is_some(), state.status.is_final());
    Ok(())
}

fn run_actions(mode: Mode, steps: Vec<Step>, actions: &[Action]) -> Result<(), TestCaseError> {
    let now = DateTime::UNIX_EPOCH;
    let state = State::new(user(0), mode, steps, now);
    let mut run = Run { state, now, tokens: Vec::new(), accepted: Vec::new(), open_seconds: 0.0 };
    let started =
        decide(&run.state, Command::Start, now).map_err(|r| TestCaseError::fail(format!("{r:?}")))?;
    run.state = started.state;
    check(&run.state)?;
    for action in actions {
        let before = run.state.clone();
        let Ok(Decided { state: decided, events }) = run.decide(action) else {
            prop_assert_eq!(&before, &run.state, "a rejected command changes nothing");
            continue;
        };
        let is_reopened =
            events.iter().any(|event| matches!(event, Event::Retried { .. } | Event::Rewound { .. }));
        for event in &events {
            match event {
                Event::Status { from, to, .. } => {
                    prop_assert_eq!(*from, run.state.status);
                    prop_assert!(is_legal(*from, *to, is_reopened), "{:?} to {:?}", from, to);
                }
                Event::Step { step, from, change, .. } => {
                    prop_assert_eq!(*from, run.state.steps[*step].status);
                    let is_claim = matches!(change, StepChange::Running { .. });
                    let is_owner = matches!(action, Action::Claim(Some(by)) if user(*by) == run.state.owner);
                    prop_assert!(!(is_claim && is_owner && run.state.steps[*step].four_eyes));
                }
                Event::ReviewClaimed { step, claim } => {
                    prop_assert!(!(run.state.steps[*step].four_eyes && claim.by == run.state.owner));
                    prop_assert_eq!(run.state.review.and_then(|review| review.claim), None);
                }
                Event::ReviewClosed { step, by: Some(by), .. } => {
                    prop_assert!(!(run.state.steps[*step].four_eyes && *by == run.state.owner));
                    let claim = run.state.review.and_then(|review| review.claim);
                    prop_assert!(claim.is_some_and(|claim| claim.by == *by && run.now < claim.until));
                }
                _ => {}
            }
            run.state.apply(event, run.now);
        }
        prop_assert_eq!(&run.state, &decided, "the events lead to the decided state");
        check(&run.state)?;
        prop_assert!(run.state.fence >= before.fence);
    }
    let mut distinct = run.accepted.clone();
    distinct.sort_unstable();
    distinct.dedup();
    prop_assert_eq!(distinct.len(), run.accepted.len(), "no result is accepted twice");
    let spent = run.state.timing.spent(run.state.phase(), run.now);
    let sum = spent.machine + spent.person + spent.waiting;
    prop_assert!((sum - run.open_seconds).abs() < 1e-3, "{} and {}", sum, run.open_seconds);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_command_sequence_keeps_job_consistent(
        test in any::<bool>(),
        steps in steps(),
        actions in vec(action(), 1..40),
    ) {
        run_actions(if test { Mode::Test } else { Mode::Live }, steps, &actions)?;
    }
}
