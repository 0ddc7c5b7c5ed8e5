//! Tests of step leases: only the current holder may report progress or submit a result, until the lease expires.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta};
use docket::entity::enums::Status;
use docket::entity::{job, task};
use docket::job::Jobs;
use docket::job::queue::{Claim, StepResult};
use sea_orm::EntityTrait;
use sea_orm::sea_query::Expr;
use serde_json::{Value, json};

use crate::harness::{TestApp, User, Worker, both, job_id};

/// Returns the rows of a job that a worker may change.
async fn job_and_task(app: &TestApp, job: &str) -> (Option<job::Model>, Option<task::Model>) {
    let (db, id) = (app.db.read(), job_id(job));
    let job = job::Entity::find_by_id(id).one(db).await.expect("the job can be read");
    (job, task::Entity::find_by_id(id).one(db).await.expect("the task can be read"))
}

/// Asserts that the holder of a lost lease can change nothing.
async fn assert_lost(app: &TestApp, worker: &Worker, lost: &Claim) {
    let id = lost.job.id.to_string();
    let (before, stored) = (job_and_task(app, &id).await, app.stored_keys());
    let made = [("output", json!({"late": true}))];
    let outcomes = [
        worker.complete(lost).await,
        worker.complete_with(lost, &made).await,
        worker.complete_with_review(lost, "output", &json!({})).await,
        worker.fail(lost, "LATE", false).await,
        worker.give_back(lost).await,
    ];
    for outcome in outcomes {
        assert_eq!(outcome.expect_err("the lease is lost").code().as_str(), "CONFLICT");
    }
    assert!(!worker.renew(lost, 0.9).await, "a lost lease cannot be renewed");
    assert_eq!(job_and_task(app, &id).await, before, "the rows are unchanged");
    assert_eq!(app.stored_keys(), stored, "the stored objects are unchanged");
}

async fn step(person: &User, job: &str, index: usize) -> Value {
    person.job(job, "steps { status attempt fraction message }").await["steps"][index].take()
}

/// Returns the backoff of each retry in the history of a job, in milliseconds.
async fn retry_backoffs(person: &User, job: &str) -> Vec<i64> {
    let history = person.job(job, "events(first: 100) { nodes { at data } }").await;
    let time = |value: &Value| DateTime::parse_from_rfc3339(value.as_str()?).ok();
    let nodes = history["events"]["nodes"].as_array().expect("events").iter();
    let backoff =
        |event: &Value| Some((time(&event["data"]["runAt"])? - time(&event["at"])?).num_milliseconds());
    nodes.filter_map(backoff).collect()
}

both!(claim_contains_step_attempt_fence_and_deadline);
async fn claim_contains_step_attempt_fence_and_deadline(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let claim = app.worker().claim().await;
    assert_eq!((claim.step.as_str(), claim.attempt, claim.fence), ("first", 1, 1));
    assert_eq!(claim.job.status, Status::Running);
    assert_eq!(
        claim.deadline - claim.until,
        TimeDelta::seconds(300 - 30),
        "the timeout of the step, less the duration of the lease"
    );
    assert!(app.worker().try_claim().await.is_none(), "the step is already claimed");
    let seen = ada.job(&job, "status startedAt currentStep { name status attempt }").await;
    assert_eq!(seen["currentStep"], json!({"name": "first", "status": "RUNNING", "attempt": 1}));
    assert!(seen["startedAt"].is_string());
}

both!(reported_progress_of_a_step_never_decreases);
async fn reported_progress_of_a_step_never_decreases(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let claim = worker.claim().await;
    for (reported, seen) in [(0.5, 0.5), (0.25, 0.5), (7.0, 1.0)] {
        assert!(worker.renew(&claim, reported).await);
        let step = step(&ada, &job, 0).await;
        assert_eq!((&step["fraction"], &step["message"]), (&json!(seen), &json!("working")));
    }
    let progress = ada.job(&job, "progress { current total fraction }").await["progress"].take();
    assert_eq!((&progress["current"], &progress["total"]), (&json!(0), &json!(3)));
    let fraction = progress["fraction"].as_f64().expect("a number");
    assert!((fraction - 1.0 / 3.0).abs() < 1e-9, "{fraction}");
}

both!(expired_lease_is_lost_and_step_is_retried_with_backoff);
async fn expired_lease_is_lost_and_step_is_retried_with_backoff(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let lost = worker.claim().await;
    app.clock.advance(TimeDelta::seconds(20));
    assert!(worker.renew(&lost, 0.1).await);
    app.clock.advance(TimeDelta::seconds(20));
    assert_eq!(app.jobs.expire_leases(10).await, Ok(0), "the lease was renewed");
    app.clock.advance(TimeDelta::seconds(11));
    assert_lost(&app, &worker, &lost).await;

    assert_eq!(app.jobs.expire_leases(10).await, Ok(1));
    assert_eq!(app.jobs.expire_leases(10).await, Ok(0), "a lease expires once");
    assert_lost(&app, &worker, &lost).await;
    assert_eq!(step(&ada, &job, 0).await["status"], "QUEUED");
    let [backoff] = retry_backoffs(&ada, &job).await[..] else { panic!("one retry") };
    assert!((500..=1000).contains(&backoff), "{backoff} ms");
    app.clock.advance(TimeDelta::seconds(1));
    let second = worker.claim().await;
    assert_eq!((second.attempt, second.fence), (2, 2));
    assert_lost(&app, &worker, &lost).await;
    worker.complete(&second).await.expect("the newer lease is valid");
    assert_lost(&app, &worker, &second).await;
    let history = ada.job(&job, "events(first: 100) { nodes { data } }").await.to_string();
    assert!(history.contains("LEASE_EXPIRED"), "{history}");
}

both!(step_is_not_claimed_before_its_scheduled_time);
async fn step_is_not_claimed_before_its_scheduled_time(app: TestApp) {
    let ada = app.user("ada").await;
    ada.noop_job().await;
    let later = Expr::value(app.clock.now() + TimeDelta::hours(1));
    let postpone = task::Entity::update_many().col_expr(task::Column::RunAt, later);
    postpone.exec(app.db.writer()).await.expect("the step is postponed");
    assert!(app.worker().try_claim().await.is_none());
    app.clock.advance(TimeDelta::hours(1));
    app.worker().claim().await;
}

both!(job_fails_after_the_maximum_number_of_attempts);
async fn job_fails_after_the_maximum_number_of_attempts(app: TestApp) {
    let ada = app.user("ada").await;
    let (crashing, failing) = (ada.noop_job().await, ada.create_job(json!({"priority": -1})).await);
    let worker = app.worker();
    for attempt in 1..=3 {
        let claim = worker.claim().await;
        assert_eq!((claim.job.id, claim.attempt), (job_id(&crashing), attempt));
        app.clock.advance(TimeDelta::seconds(31));
        assert_eq!(app.jobs.expire_leases(10).await, Ok(1));
        app.clock.advance(TimeDelta::seconds(5));
    }
    let seen = ada.job(&crashing, "status failure { code step } steps { status }").await;
    assert_eq!(seen["status"], "FAILED");
    assert_eq!(seen["failure"], json!({"code": "LEASE_EXPIRED", "step": "first"}));
    assert_eq!(seen["steps"], json!([{"status": "FAILED"}, {"status": "PENDING"}, {"status": "PENDING"}]));

    for _ in 0..3 {
        let claim = worker.claim().await;
        assert_eq!(claim.job.id, job_id(&failing));
        worker.fail(&claim, "FLAKY", true).await.expect("the failure is recorded");
        app.clock.advance(TimeDelta::seconds(5));
    }
    assert_eq!(ada.job(&failing, "failure { code }").await["failure"]["code"], "FLAKY");
    let [first, second] = retry_backoffs(&ada, &failing).await[..] else { panic!("two retries") };
    assert!((500..=1000).contains(&first) && (1000..=2000).contains(&second), "{first} ms, {second} ms");
    assert!(worker.try_claim().await.is_none());
}

both!(failure_that_is_not_retryable_is_not_retried);
async fn failure_that_is_not_retryable_is_not_retried(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    worker.fail(&worker.claim().await, "DOCUMENT_ENCRYPTED", false).await.expect("the failure is recorded");
    let seen = ada.job(&job, "status steps { attempt }").await;
    assert_eq!((&seen["status"], &seen["steps"][0]["attempt"]), (&json!("FAILED"), &json!(1)));
}

both!(step_timeout_ends_the_lease_despite_renewals);
async fn step_timeout_ends_the_lease_despite_renewals(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let claim = worker.claim().await;
    for _ in 0..14 {
        app.clock.advance(TimeDelta::seconds(20));
        assert!(worker.renew(&claim, 0.5).await);
    }
    app.clock.advance(TimeDelta::seconds(20));
    assert!(!worker.renew(&claim, 0.5).await, "the 300 seconds of the step have passed");
    assert_eq!(app.jobs.expire_leases(10).await, Ok(1));
    assert_lost(&app, &worker, &claim).await;
    let history = ada.job(&job, "events(first: 100) { nodes { data } }").await.to_string();
    assert!(history.contains("STEP_TIMEOUT") && !history.contains("LEASE_EXPIRED"), "{history}");
}

both!(released_step_can_be_claimed_again_immediately);
async fn released_step_can_be_claimed_again_immediately(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let first = worker.claim().await;
    worker.give_back(&first).await.expect("a valid lease is released");
    assert_eq!(ada.status(&job).await, "QUEUED");
    assert_lost(&app, &worker, &first).await;
    let second = worker.claim().await;
    assert_eq!((second.step.as_str(), second.fence), ("first", 2));
}

both!(cancelled_job_refuses_the_result_of_its_step);
async fn cancelled_job_refuses_the_result_of_its_step(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let claim = worker.claim().await;
    ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
    assert_lost(&app, &worker, &claim).await;
    assert_eq!(ada.status(&job).await, "CANCELLED");
    ada.gql("mutation($id: ID!) { retryJob(id: $id) { job { id } } }", json!({"id": job})).await;
    assert_lost(&app, &worker, &claim).await;
    worker.finish(job_id(&job)).await;
}

both!(attempts_of_a_step_store_separate_objects);
async fn attempts_of_a_step_store_separate_objects(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    worker.complete(&worker.claim().await).await.expect("the result is accepted");
    worker.complete(&worker.claim().await).await.expect("the result is accepted");
    let expired = worker.claim().await;
    let late = worker.store_content(&expired, "output", "late").await;
    app.clock.advance(TimeDelta::seconds(31));
    app.jobs.expire_leases(10).await.expect("the lease is released");
    app.clock.advance(TimeDelta::seconds(5));
    let current = worker.claim().await;
    worker.complete_with(&current, &[("output", json!("in time"))]).await.expect("the result is accepted");
    let refused = app
        .jobs
        .complete_step(expired.holder(), StepResult { outputs: vec![late], ..StepResult::default() })
        .await;
    assert_eq!(refused.expect_err("the result is late").code().as_str(), "CONFLICT");
    let contents = ada.job(&job, "contents(role: \"output\", superseded: true) { version uri }").await;
    let [output] = contents["contents"].as_array().expect("contents").as_slice() else {
        panic!("{contents}")
    };
    let uri = output["uri"].as_str().expect("a URI");
    let bytes = ada.request(reqwest::Method::GET, uri).send().await.expect("a response").text().await;
    assert_eq!(bytes.expect("bytes"), "\"in time\"");
    assert_ne!(Jobs::output_key(&expired, "output"), Jobs::output_key(&expired, "output"));
}

both!(concurrent_workers_never_claim_the_same_step);
async fn concurrent_workers_never_claim_the_same_step(app: TestApp) {
    let ada = app.user("ada").await;
    let document = ada.upload("x", "x.txt", "text/plain").await;
    for _ in 0..50 {
        ada.create_job(json!({"input": {"documentId": document}})).await;
    }
    let mut claimers = tokio::task::JoinSet::new();
    for i in 0..8 {
        let worker = app.worker();
        claimers.spawn(async move {
            let mut claimed = Vec::new();
            let mut empty = 0;
            // Other workers may hold locks on the remaining steps, so one empty claim does not mean the end.
            while empty < 3 {
                let claims = worker.claim_up_to(1 + i % 3).await;
                empty = if claims.is_empty() { empty + 1 } else { 0 };
                claimed.extend(claims);
            }
            claimed
        });
    }
    let claims: Vec<_> = claimers.join_all().await.into_iter().flatten().collect();
    let jobs: BTreeSet<_> = claims.iter().map(|claim| claim.job.id).collect();
    let tokens: BTreeSet<_> = claims.iter().map(|claim| claim.token).collect();
    assert_eq!((claims.len(), jobs.len(), tokens.len()), (50, 50, 50), "each step is claimed once");
    for claim in &claims {
        app.worker().complete(claim).await.expect("every lease is valid");
    }
}
