//! Compares random sequences of user and worker operations on a job with a small model, on both databases.
//!
//! Rows and access must match the model, and the history must have no gap. The model decides with `job::decide`, which
//! has its own property tests; these tests cover locks, rows, access and history.

mod fixture;
mod model;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::harness::{Backend, TestApp};
use fixture::Fixture;

/// An operation of a user or worker.
///
/// Users are numbers: the owner, three others, and a stranger who never becomes a collaborator.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Advances the clock and runs the reaper.
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
    View(u8),
}

fn operation() -> impl Strategy<Value = Operation> {
    let user = || any::<u8>();
    prop_oneof![
        2 => any::<u8>().prop_map(Operation::Wait),
        5 => Just(Operation::Claim),
        5 => (any::<u8>(), any::<bool>()).prop_map(|(ago, review)| Operation::Complete { ago, review }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(ago, retryable)| Operation::Fail { ago, retryable }),
        3 => (user(), user(), any::<u8>()).prop_map(|(by, with, steps)| Operation::Share { by, with, steps }),
        1 => (user(), user()).prop_map(|(by, with)| Operation::Revoke { by, with }),
        1 => user().prop_map(Operation::Join),
        1 => user().prop_map(Operation::Leave),
        1 => user().prop_map(Operation::Update),
        1 => user().prop_map(Operation::Cancel),
        1 => user().prop_map(Operation::Retry),
        1 => (user(), any::<u8>()).prop_map(|(by, to)| Operation::Rewind { by, to }),
        4 => user().prop_map(Operation::ClaimReview),
        1 => user().prop_map(Operation::Release),
        4 => (user(), any::<u8>()).prop_map(|(by, verdict)| Operation::Decide { by, verdict }),
        1 => user().prop_map(Operation::View),
    ]
}

/// Runs random sequences on one server. A failure is shrunk to the shortest sequence that fails.
async fn run_sequences(app: TestApp, cases: u32) {
    let fixture = Fixture::new(&app).await;
    let run = move || {
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let runtime = tokio::runtime::Handle::current();
        runner.run(&vec(operation(), 1..12), |operations| {
            runtime.block_on(fixture.run_sequence(&operations)).map_err(TestCaseError::fail)
        })
    };
    let outcome = tokio::task::spawn_blocking(run).await.expect("the runner ends");
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

macro_rules! sequence_tests {
    ($($name:ident: $backend:ident, $cases:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            TestApp::run_with_timeout(Backend::$backend, Duration::from_secs(1_200), |app| run_sequences(app, $cases), |_| {}).await;
        }
    )*};
}

// 10,000 sequences on SQLite and 1,000 on PostgreSQL, divided into tests that run in parallel.
sequence_tests! {
    random_sequences_match_model_on_sqlite_1: Sqlite, 2_500;
    random_sequences_match_model_on_sqlite_2: Sqlite, 2_500;
    random_sequences_match_model_on_sqlite_3: Sqlite, 2_500;
    random_sequences_match_model_on_sqlite_4: Sqlite, 2_500;
    random_sequences_match_model_on_postgres_1: Postgres, 500;
    random_sequences_match_model_on_postgres_2: Postgres, 500;
}
