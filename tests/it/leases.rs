//! Claims: who has a step, for how long, and that only who has it may say what came of it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta};
use docket::engine::{Claim, Results};
use docket::entity::enums::Status;
use docket::entity::{job, task};
use docket::job::Jobs;
use sea_orm::EntityTrait;
use sea_orm::sea_query::Expr;
use serde_json::{Value, json};

use crate::harness::{TestApp, User, Worker, both, job_id};

/// The rows of a job that a worker may change.
async fn rows(app: &TestApp, job: &str) -> (Option<job::Model>, Option<task::Model>) {
    let (db, id) = (app.db.read(), job_id(job));
    let job = job::Entity::find_by_id(id).one(db).await.expect("the job can be read");
    (job, task::Entity::find_by_id(id).one(db).await.expect("the task can be read"))
}

/// Everything that a claim that was lost could still try, and that none of it does anything.
async fn is_powerless(app: &TestApp, worker: &Worker, lost: &Claim) {
    let id = lost.job.id.to_string();
    let (before, stored) = (rows(app, &id).await, app.stored());
    let made = [("output", json!({"late": true}))];
    let outcomes = [
        worker.complete(lost).await,
        worker.complete_with(lost, &made).await,
        worker.ask(lost, "output", &json!({})).await,
        worker.fail(lost, "LATE", false).await,
        worker.give_back(lost).await,
    ];
    for outcome in outcomes {
        assert_eq!(outcome.expect_err("the claim was lost").code().as_str(), "CONFLICT");
    }
    assert!(!worker.renew(lost, 0.9).await, "it cannot be renewed either");
    assert_eq!(rows(app, &id).await, before, "nothing has changed");
    assert_eq!(app.stored(), stored, "no bytes are left");
}

async fn step(person: &User, job: &str, index: usize) -> Value {
    person.job(job, "steps { status attempt fraction message }").await["steps"][index].take()
}

/// Milliseconds that each retry in a job's history waits.
async fn waits(person: &User, job: &str) -> Vec<i64> {
    let history = person.job(job, "events(first: 100) { nodes { at data } }").await;
    let time = |value: &Value| DateTime::parse_from_rfc3339(value.as_str()?).ok();
    let nodes = history["events"]["nodes"].as_array().expect("events").iter();
    let wait =
        |event: &Value| Some((time(&event["data"]["runAt"])? - time(&event["at"])?).num_milliseconds());
    nodes.filter_map(wait).collect()
}

both!(a_claim_says_what_was_claimed);
async fn a_claim_says_what_was_claimed(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let claim = app.worker().claim().await;
    assert_eq!((claim.step.as_str(), claim.attempt, claim.fence), ("first", 1, 1));
    assert_eq!(claim.job.status, Status::Running);
    assert_eq!(
        claim.deadline - claim.until,
        TimeDelta::seconds(300 - 30),
        "the step's time, and the lease's"
    );
    assert!(app.worker().try_claim().await.is_none(), "it is taken");
    let seen = ada.job(&job, "status startedAt currentStep { name status attempt }").await;
    assert_eq!(seen["currentStep"], json!({"name": "first", "status": "RUNNING", "attempt": 1}));
    assert!(seen["startedAt"].is_string());
}

both!(progress_moves_forward_only);
async fn progress_moves_forward_only(app: TestApp) {
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

both!(a_lease_that_runs_out_is_lost_and_the_step_waits_before_it_is_tried_again);
async fn a_lease_that_runs_out_is_lost_and_the_step_waits_before_it_is_tried_again(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let lost = worker.claim().await;
    app.clock.advance(TimeDelta::seconds(20));
    assert!(worker.renew(&lost, 0.1).await);
    app.clock.advance(TimeDelta::seconds(20));
    assert_eq!(app.jobs.expire(10).await, Ok(0), "it was renewed");
    app.clock.advance(TimeDelta::seconds(11));
    is_powerless(&app, &worker, &lost).await;

    assert_eq!(app.jobs.expire(10).await, Ok(1));
    assert_eq!(app.jobs.expire(10).await, Ok(0), "once");
    is_powerless(&app, &worker, &lost).await;
    assert_eq!(step(&ada, &job, 0).await["status"], "QUEUED");
    let [wait] = waits(&ada, &job).await[..] else { panic!("one retry") };
    assert!((500..=1000).contains(&wait), "{wait} ms");
    app.clock.advance(TimeDelta::seconds(1));
    let second = worker.claim().await;
    assert_eq!((second.attempt, second.fence), (2, 2));
    is_powerless(&app, &worker, &lost).await;
    worker.complete(&second).await.expect("the newer claim holds");
    is_powerless(&app, &worker, &second).await;
    let history = ada.job(&job, "events(first: 100) { nodes { data } }").await.to_string();
    assert!(history.contains("LEASE_EXPIRED"), "{history}");
}

both!(a_step_is_not_claimed_before_its_time);
async fn a_step_is_not_claimed_before_its_time(app: TestApp) {
    let ada = app.user("ada").await;
    ada.noop_job().await;
    let later = Expr::value(app.clock.now() + TimeDelta::hours(1));
    let wait = task::Entity::update_many().col_expr(task::Column::RunAt, later);
    wait.exec(app.db.writer()).await.expect("the step waits");
    assert!(app.worker().try_claim().await.is_none());
    app.clock.advance(TimeDelta::hours(1));
    app.worker().claim().await;
}

both!(attempts_come_to_an_end);
async fn attempts_come_to_an_end(app: TestApp) {
    let ada = app.user("ada").await;
    let (crashing, failing) = (ada.noop_job().await, ada.create_job(json!({"priority": -1})).await);
    let worker = app.worker();
    for attempt in 1..=3 {
        let claim = worker.claim().await;
        assert_eq!((claim.job.id, claim.attempt), (job_id(&crashing), attempt));
        app.clock.advance(TimeDelta::seconds(31));
        assert_eq!(app.jobs.expire(10).await, Ok(1));
        app.clock.advance(TimeDelta::seconds(5));
    }
    let seen = ada.job(&crashing, "status failure { code step } steps { status }").await;
    assert_eq!(seen["status"], "FAILED");
    assert_eq!(seen["failure"], json!({"code": "LEASE_EXPIRED", "step": "first"}));
    assert_eq!(seen["steps"], json!([{"status": "FAILED"}, {"status": "PENDING"}, {"status": "PENDING"}]));

    for _ in 0..3 {
        let claim = worker.claim().await;
        assert_eq!(claim.job.id, job_id(&failing));
        worker.fail(&claim, "FLAKY", true).await.expect("news are taken");
        app.clock.advance(TimeDelta::seconds(5));
    }
    assert_eq!(ada.job(&failing, "failure { code }").await["failure"]["code"], "FLAKY");
    let [first, second] = waits(&ada, &failing).await[..] else { panic!("two retries") };
    assert!((500..=1000).contains(&first) && (1000..=2000).contains(&second), "{first} ms, {second} ms");
    assert!(worker.try_claim().await.is_none());
}

both!(what_cannot_be_helped_by_trying_again_is_not_tried_again);
async fn what_cannot_be_helped_by_trying_again_is_not_tried_again(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    worker.fail(&worker.claim().await, "DOCUMENT_ENCRYPTED", false).await.expect("news are taken");
    let seen = ada.job(&job, "status steps { attempt }").await;
    assert_eq!((&seen["status"], &seen["steps"][0]["attempt"]), (&json!("FAILED"), &json!(1)));
}

both!(a_step_that_takes_too_long_loses_its_claim_however_often_it_is_renewed);
async fn a_step_that_takes_too_long_loses_its_claim_however_often_it_is_renewed(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let claim = worker.claim().await;
    for _ in 0..14 {
        app.clock.advance(TimeDelta::seconds(20));
        assert!(worker.renew(&claim, 0.5).await);
    }
    app.clock.advance(TimeDelta::seconds(20));
    assert!(!worker.renew(&claim, 0.5).await, "the step's 300 seconds are over");
    assert_eq!(app.jobs.expire(10).await, Ok(1));
    is_powerless(&app, &worker, &claim).await;
    let history = ada.job(&job, "events(first: 100) { nodes { data } }").await.to_string();
    assert!(history.contains("STEP_TIMEOUT") && !history.contains("LEASE_EXPIRED"), "{history}");
}

both!(what_is_given_back_is_taken_again_at_once);
async fn what_is_given_back_is_taken_again_at_once(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let first = worker.claim().await;
    worker.give_back(&first).await.expect("a good lease is given back");
    assert_eq!(ada.status(&job).await, "QUEUED");
    is_powerless(&app, &worker, &first).await;
    let second = worker.claim().await;
    assert_eq!((second.step.as_str(), second.fence), ("first", 2));
}

both!(a_cancelled_job_takes_no_result);
async fn a_cancelled_job_takes_no_result(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let claim = worker.claim().await;
    ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
    is_powerless(&app, &worker, &claim).await;
    assert_eq!(ada.status(&job).await, "CANCELLED");
    ada.gql("mutation($id: ID!) { retryJob(id: $id) { job { id } } }", json!({"id": job})).await;
    is_powerless(&app, &worker, &claim).await;
    worker.finish(job_id(&job)).await;
}

both!(attempts_keep_their_bytes_apart);
async fn attempts_keep_their_bytes_apart(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    worker.complete(&worker.claim().await).await.expect("a result is taken");
    worker.complete(&worker.claim().await).await.expect("a result is taken");
    let slow = worker.claim().await;
    let late = worker.make(&slow, "output", "late").await;
    app.clock.advance(TimeDelta::seconds(31));
    app.jobs.expire(10).await.expect("leases can be freed");
    app.clock.advance(TimeDelta::seconds(5));
    let quick = worker.claim().await;
    worker.complete_with(&quick, &[("output", json!("in time"))]).await.expect("a result is taken");
    let refused = app.jobs.complete(&slow, Results { made: vec![late], ..Results::default() }).await;
    assert_eq!(refused.expect_err("it is late").code().as_str(), "CONFLICT");
    let contents = ada.job(&job, "contents(role: \"output\", superseded: true) { version uri }").await;
    let [output] = contents["contents"].as_array().expect("contents").as_slice() else {
        panic!("{contents}")
    };
    let uri = output["uri"].as_str().expect("an address");
    let bytes = ada.request(reqwest::Method::GET, uri).send().await.expect("an answer").text().await;
    assert_eq!(bytes.expect("bytes"), "\"in time\"");
    assert_ne!(Jobs::content_key(&slow, "output"), Jobs::content_key(&slow, "output"));
}

both!(no_step_is_claimed_twice_however_many_claim_at_once);
async fn no_step_is_claimed_twice_however_many_claim_at_once(app: TestApp) {
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
            // Others may be holding the rest right now, so nothing once is not the end.
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
    assert_eq!((claims.len(), jobs.len(), tokens.len()), (50, 50, 50), "each once");
    for claim in &claims {
        app.worker().complete(claim).await.expect("every claim is good");
    }
}
