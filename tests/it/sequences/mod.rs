//! Random sequences of everything that people and workers can do to a job, against a small model: on both databases the
//! rows say what the model says, nobody gets further than the table allows, and the history has no gap.
//!
//! The model decides with `job::decide`, whose own properties are tested beside it; here it is locks, rows, access and
//! history that are on trial.

mod model;
mod world;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::harness::{Backend, TestApp};
use world::World;

/// Something that somebody tries. People are numbered: the owner, three others, and a stranger whom nobody lets in.
#[derive(Debug, Clone)]
pub(crate) enum Attempt {
    /// Seconds pass; whatever ran out meanwhile is swept.
    Wait(u8),
    Claim,
    Complete {
        ago: u8,
        review: bool,
    },
    Fail {
        ago: u8,
        retryable: bool,
    },
    Share {
        by: u8,
        with: u8,
        steps: u8,
    },
    Revoke {
        by: u8,
        with: u8,
    },
    Join(u8),
    Leave(u8),
    Update(u8),
    Cancel(u8),
    Retry(u8),
    Rewind {
        by: u8,
        to: u8,
    },
    ClaimReview(u8),
    Release(u8),
    Decide {
        by: u8,
        verdict: u8,
    },
    Look(u8),
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let who = || any::<u8>();
    prop_oneof![
        2 => any::<u8>().prop_map(Attempt::Wait),
        5 => Just(Attempt::Claim),
        5 => (any::<u8>(), any::<bool>()).prop_map(|(ago, review)| Attempt::Complete { ago, review }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(ago, retryable)| Attempt::Fail { ago, retryable }),
        3 => (who(), who(), any::<u8>()).prop_map(|(by, with, steps)| Attempt::Share { by, with, steps }),
        1 => (who(), who()).prop_map(|(by, with)| Attempt::Revoke { by, with }),
        1 => who().prop_map(Attempt::Join),
        1 => who().prop_map(Attempt::Leave),
        1 => who().prop_map(Attempt::Update),
        1 => who().prop_map(Attempt::Cancel),
        1 => who().prop_map(Attempt::Retry),
        1 => (who(), any::<u8>()).prop_map(|(by, to)| Attempt::Rewind { by, to }),
        4 => who().prop_map(Attempt::ClaimReview),
        1 => who().prop_map(Attempt::Release),
        4 => (who(), any::<u8>()).prop_map(|(by, verdict)| Attempt::Decide { by, verdict }),
        1 => who().prop_map(Attempt::Look),
    ]
}

/// Runs sequences one after another on a server of their own. A failure is shrunk to the shortest sequence that fails.
async fn sequences(app: TestApp, cases: u32) {
    let world = World::new(&app).await;
    let run = move || {
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let runtime = tokio::runtime::Handle::current();
        runner.run(&vec(attempt(), 1..12), |attempts| {
            runtime.block_on(world.follow(&attempts)).map_err(TestCaseError::fail)
        })
    };
    let outcome = tokio::task::spawn_blocking(run).await.expect("the runner ends");
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

macro_rules! shares {
    ($($name:ident: $backend:ident, $cases:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            TestApp::tell_long(Backend::$backend, Duration::from_secs(1_200), |app| sequences(app, $cases), |_| {}).await;
        }
    )*};
}

// 10,000 on SQLite and 1,000 on PostgreSQL, in shares that run side by side.
shares! {
    sqlite_1: Sqlite, 2_500;
    sqlite_2: Sqlite, 2_500;
    sqlite_3: Sqlite, 2_500;
    sqlite_4: Sqlite, 2_500;
    postgres_1: Postgres, 500;
    postgres_2: Postgres, 500;
}
