//! What holds of every job, whatever is done to it in whatever order: random sequences of commands against
//! [`decide`] and [`State::apply`] alone.

use chrono::{DateTime, TimeDelta};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::decide::*;
use super::state::*;
use crate::clock::Timestamp;
use crate::id::{LeaseToken, UserId};

/// Owner, and three who review.
fn person(n: u8) -> UserId {
    UserId(Uuid::from_u128(u128::from(n % 4)))
}

/// Something that somebody tries.
#[derive(Debug, Clone)]
enum Attempt {
    Wait(i64),
    Claim(Option<u8>),
    /// With the newest token, or with one that many claims ago was the newest.
    Complete {
        ago: usize,
        review: bool,
    },
    Fail {
        ago: usize,
        retryable: bool,
    },
    GiveBack {
        ago: usize,
    },
    Expire,
    Cancel,
    Retry,
    Rewind(usize),
    ClaimReview(u8),
    RenewReview(u8),
    Release(u8),
    Decide(u8, u8),
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let ago = || prop_oneof![4 => Just(0_usize), 1 => 1..3_usize];
    prop_oneof![
        2 => (1..200_i64).prop_map(Attempt::Wait),
        6 => proptest::option::of(any::<u8>()).prop_map(Attempt::Claim),
        6 => (ago(), any::<bool>()).prop_map(|(ago, review)| Attempt::Complete { ago, review }),
        2 => (ago(), any::<bool>()).prop_map(|(ago, retryable)| Attempt::Fail { ago, retryable }),
        1 => ago().prop_map(|ago| Attempt::GiveBack { ago }),
        2 => Just(Attempt::Expire),
        1 => Just(Attempt::Cancel),
        2 => Just(Attempt::Retry),
        1 => (0..4_usize).prop_map(Attempt::Rewind),
        4 => any::<u8>().prop_map(Attempt::ClaimReview),
        1 => any::<u8>().prop_map(Attempt::RenewReview),
        1 => any::<u8>().prop_map(Attempt::Release),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(who, what)| Attempt::Decide(who, what)),
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
    /// Tokens whose result was taken.
    taken: Vec<LeaseToken>,
    /// Seconds during which the job was not final.
    open_seconds: f64,
}

impl Run {
    fn does(&mut self, attempt: &Attempt) -> Result<Decided, Rejection> {
        let token = |run: &Self, ago: usize| {
            let place = run.tokens.len().checked_sub(ago + 1);
            place.map_or_else(LeaseToken::new, |place| run.tokens[place])
        };
        let until = self.now + TimeDelta::seconds(90);
        let command = match attempt {
            Attempt::Wait(seconds) => {
                self.now += TimeDelta::seconds(*seconds);
                if !self.state.status.is_final() {
                    self.open_seconds += TimeDelta::seconds(*seconds).as_seconds_f64();
                }
                return Ok(Decided { state: self.state.clone(), events: Vec::new() });
            }
            Attempt::Claim(by) => {
                let token = LeaseToken::new();
                self.tokens.push(token);
                Command::Claim { owner: "w".into(), token, lease_seconds: 30, by: by.map(person) }
            }
            Attempt::Complete { ago, review } => {
                let review = review.then(|| "unsure".to_owned());
                Command::Complete { token: token(self, *ago), review }
            }
            Attempt::Fail { ago, retryable } => Command::Fail {
                token: token(self, *ago),
                code: "E".into(),
                message: "e".into(),
                retryable: *retryable,
                jitter: 0.5,
            },
            Attempt::GiveBack { ago } => Command::ReleaseStep { token: token(self, *ago) },
            Attempt::Expire => Command::Expire { jitter: 0.5 },
            Attempt::Cancel => Command::Cancel { reason: None },
            Attempt::Retry => Command::Retry,
            Attempt::Rewind(to) => Command::Rewind { to: to % self.state.steps.len(), reason: None },
            Attempt::ClaimReview(who) => Command::ClaimReview { by: person(*who), until },
            Attempt::RenewReview(who) => Command::RenewReview { by: person(*who), until },
            Attempt::Release(who) => Command::ReleaseReview {
                word: match who % 4 {
                    0 => ReleaseCause::Admin,
                    1 => ReleaseCause::Clock,
                    2 => ReleaseCause::AccessLost(person(who / 4)),
                    _ => ReleaseCause::Claimant(person(who / 4)),
                },
            },
            Attempt::Decide(who, what) => Command::DecideReview {
                by: person(*who),
                verdict: match what % 4 {
                    0 => Verdict::Reject,
                    1 => Verdict::SendBack(usize::from(what / 4) % self.state.steps.len()),
                    _ => Verdict::Approve,
                },
                comment: None,
                receipt: Receipt::default(),
            },
        };
        if let Command::Complete { token, .. } = &command {
            let decided = decide(&self.state, command.clone(), self.now)?;
            self.taken.push(*token);
            return Ok(decided);
        }
        decide(&self.state, command, self.now)
    }
}

fn legal(from: Status, to: Status, opened_again: bool) -> bool {
    use Status::{Blocked, Cancelled, Completed, Failed, Queued, Running};
    match from {
        Queued => matches!(to, Running | Blocked | Cancelled | Completed),
        Running => matches!(to, Queued | Blocked | Completed | Failed | Cancelled),
        Blocked => matches!(to, Queued | Completed | Failed | Cancelled),
        Completed | Cancelled | Failed => opened_again && matches!(to, Queued | Blocked | Completed),
    }
}

/// What holds between commands.
fn check(state: &State) -> Result<(), TestCaseError> {
    use StepStatus::{Blocked, Cancelled, Completed, Failed, Pending, Queued, Running};
    let leased = state.task.as_ref().map(|task| task.lease.is_some());
    let shape = (state.status, leased, state.review.is_some());
    let expected = match state.status {
        Status::Queued => (Status::Queued, Some(false), false),
        Status::Running => (Status::Running, Some(true), false),
        Status::Blocked => (Status::Blocked, None, true),
        ended => (ended, None, false),
    };
    prop_assert_eq!(shape, expected);
    let turn = match state.status {
        Status::Queued => Some(Queued),
        Status::Running => Some(Running),
        Status::Blocked => Some(Blocked),
        Status::Failed => Some(Failed),
        Status::Cancelled => Some(Cancelled),
        Status::Completed => None,
    };
    let now: Vec<_> = state.steps.iter().map(|step| step.status).collect();
    let place = now.iter().position(|status| *status != Completed);
    prop_assert_eq!(place.map(|place| now[place]), turn, "{:?}", now);
    if let Some(place) = place {
        prop_assert!(now[place + 1..].iter().all(|status| *status == Pending), "{:?}", now);
        prop_assert!(state.current_step().is_none_or(|current| current == place));
    }
    prop_assert!(state.steps.iter().all(|step| step.attempt <= step.max_attempts));
    prop_assert_eq!(state.failure.is_some(), state.status == Status::Failed);
    prop_assert_eq!(state.finished_at.is_some(), state.status.is_final());
    Ok(())
}

fn follow(mode: Mode, steps: Vec<Step>, attempts: &[Attempt]) -> Result<(), TestCaseError> {
    let now = DateTime::UNIX_EPOCH;
    let state = State::new(person(0), mode, steps, now);
    let mut run = Run { state, now, tokens: Vec::new(), taken: Vec::new(), open_seconds: 0.0 };
    let started = decide(&run.state, Command::Start, now).map_err(|r| TestCaseError::fail(format!("{r:?}")))?;
    run.state = started.state;
    check(&run.state)?;
    for attempt in attempts {
        let before = run.state.clone();
        let Ok(Decided { state: decided, events }) = run.does(attempt) else {
            prop_assert_eq!(&before, &run.state, "a rejected command changes nothing");
            continue;
        };
        let opened_again =
            events.iter().any(|event| matches!(event, Event::Retried { .. } | Event::Rewound { .. }));
        for event in &events {
            match event {
                Event::Status { from, to, .. } => {
                    prop_assert_eq!(*from, run.state.status);
                    prop_assert!(legal(*from, *to, opened_again), "{:?} to {:?}", from, to);
                }
                Event::Step { step, from, change, .. } => {
                    prop_assert_eq!(*from, run.state.steps[*step].status);
                    let taken = matches!(change, StepChange::Running { .. });
                    let own = matches!(attempt, Attempt::Claim(Some(by)) if person(*by) == run.state.owner);
                    prop_assert!(!(taken && own && run.state.steps[*step].four_eyes));
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
    let mut once = run.taken.clone();
    once.sort_unstable();
    once.dedup();
    prop_assert_eq!(once.len(), run.taken.len(), "no result is taken twice");
    let spent = run.state.timing.spent(run.state.phase(), run.now);
    let sum = spent.machine + spent.person + spent.waiting;
    prop_assert!((sum - run.open_seconds).abs() < 1e-3, "{} and {}", sum, run.open_seconds);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_keeps_a_job_whole(
        test in any::<bool>(),
        steps in steps(),
        attempts in vec(attempt(), 1..40),
    ) {
        follow(if test { Mode::Test } else { Mode::Live }, steps, &attempts)?;
    }
}
