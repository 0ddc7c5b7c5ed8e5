//! The test harness: a server for each test, its users, and a worker.
//!
//! ```ignore
//! both!(owner_sees_the_job_but_stranger_does_not);
//! async fn owner_sees_the_job_but_stranger_does_not(app: TestApp) {
//!     let (ada, eve) = (app.user("ada").await, app.user("eve").await);
//!     let job = ada.noop_job().await;
//!     let query = "query($id: ID!) { job(id: $id) { status } }";
//!     assert_eq!(ada.gql(query, json!({"id": job})).await, json!({"job": {"status": "QUEUED"}}));
//!     assert_eq!(eve.gql(query, json!({"id": job})).await, json!({"job": null}));
//! }
//! ```

mod app;
mod database;
mod events;
mod issuer;
mod multipart;
mod response;
mod socket;
mod user;
mod worker;

pub(crate) use app::TestApp;
pub(crate) use database::{Backend, connect};
pub(crate) use events::{Events, StreamItem};
pub(crate) use issuer::{Issuer, KeySetReply, SigningKey};
pub(crate) use multipart::{File, body as multipart_body};
pub(crate) use response::GqlResponse;
pub(crate) use socket::{Received, Socket};
pub(crate) use user::{User, job_id, with_query};
pub(crate) use worker::Worker;

/// Defines two tests, `$test::sqlite` and `$test::postgres`. An optional closure changes the configuration:
/// `both!(sign_up_is_refused, |config| config.signup = Signup::Closed);`
macro_rules! both {
    ($test:ident) => {
        both!($test, |_| {});
    };
    ($test:ident, $configure:expr) => {
        mod $test {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                TestApp::run(crate::harness::Backend::Sqlite, $test, $configure).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                TestApp::run(crate::harness::Backend::Postgres, $test, $configure).await;
            }
        }
    };
}

pub(crate) use both;
