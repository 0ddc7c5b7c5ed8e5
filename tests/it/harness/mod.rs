//! What the tests tell their stories with: a server of their own, the people who use it, and a worker.
//!
//! ```ignore
//! both!(the_owner_sees_the_job);
//! async fn the_owner_sees_the_job(app: TestApp) {
//!     let (ada, eve) = (app.user("ada").await, app.user("eve").await);
//!     let job = ada.noop_job().await;
//!     let query = "query($id: ID!) { job(id: $id) { status } }";
//!     assert_eq!(ada.gql(query, json!({"id": job})).await, json!({"job": {"status": "QUEUED"}}));
//!     assert_eq!(eve.gql(query, json!({"id": job})).await, json!({"job": null}));
//! }
//! ```

mod answer;
mod app;
mod database;
mod events;
mod issuer;
mod multipart;
mod socket;
mod user;
mod worker;

pub(crate) use answer::Answer;
pub(crate) use app::TestApp;
pub(crate) use database::{Backend, connect};
pub(crate) use events::{Events, Sent};
pub(crate) use issuer::{Issuer, Published, SigningKey};
pub(crate) use multipart::{File, body as multipart_body};
pub(crate) use socket::{Received, Socket};
pub(crate) use user::{User, job_id, with_query};
pub(crate) use worker::Worker;

/// Makes two tests of a story, `story::sqlite` and `story::postgres`. A closure changes the configuration first:
/// `both!(story, |config| config.signup = Signup::Closed);`
macro_rules! both {
    ($story:ident) => {
        both!($story, |_| {});
    };
    ($story:ident, $configure:expr) => {
        mod $story {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                TestApp::tell(crate::harness::Backend::Sqlite, $story, $configure).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                TestApp::tell(crate::harness::Backend::Postgres, $story, $configure).await;
            }
        }
    };
}

pub(crate) use both;
