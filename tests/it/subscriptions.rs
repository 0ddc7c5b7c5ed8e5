//! Tests of job subscriptions over WebSocket.

use chrono::TimeDelta;
use docket::account::{NewKey, create_key};
use docket::job::state::Mode;
use serde_json::{Value, json};

use crate::harness::{Received, Socket, TestApp, User, both, job_id};

const UPDATED: &str = "subscription($id: ID!) { jobUpdated(id: $id) { status progress { fraction } currentStep { name message } } }";
const EVENTS: &str = "subscription($id: ID!, $after: String) { jobEvents(jobId: $id, after: $after) { sequence cursor kind } }";

fn status(event: &Value) -> &str {
    event["jobUpdated"]["status"].as_str().unwrap_or_default()
}

both!(subscription_sends_current_state_first_and_final_state_last);
async fn subscription_sends_current_state_first_and_final_state_last(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    let claim = worker.claim().await;
    worker.renew(&claim, 0.5).await;
    let mut updates = ada.subscribe(UPDATED, json!({"id": job})).await;
    let first = updates.next().await;
    assert_eq!(first["jobUpdated"]["currentStep"], json!({"name": "first", "message": "working"}));
    let mut fraction = first["jobUpdated"]["progress"]["fraction"].as_f64().expect("a number");
    assert!((fraction - 0.5 / 3.0).abs() < 1e-9, "{first}");

    worker.renew(&claim, 0.9).await;
    let second = updates.next().await;
    assert_eq!(status(&second), "RUNNING", "progress alone causes an update");
    worker.complete(&claim).await.expect("the result is accepted");
    worker.finish(job_id(&job)).await;
    let mut event = second;
    loop {
        let now = event["jobUpdated"]["progress"]["fraction"].as_f64().expect("a number");
        assert!(now >= fraction, "progress never decreases: {now} after {fraction}");
        fraction = now;
        if status(&event) == "COMPLETED" {
            break;
        }
        event = updates.next().await;
    }
    assert!((fraction - 1.0).abs() < 1e-9);
    updates.expect_complete().await;
    app.wait_until("no snapshot is watched", async || app.jobs.hub.subscribed_jobs() == 0).await;
}

both!(failed_and_cancelled_jobs_end_their_subscriptions);
async fn failed_and_cancelled_jobs_end_their_subscriptions(app: TestApp) {
    let ada = app.user("ada").await;
    let worker = app.worker();
    for end in ["FAILED", "CANCELLED"] {
        let job = ada.noop_job().await;
        let mut updates = ada.subscribe(UPDATED, json!({"id": job})).await;
        let mut events = ada.subscribe(EVENTS, json!({"id": job})).await;
        assert_eq!(status(&updates.next().await), "QUEUED");
        if end == "FAILED" {
            worker.fail(&worker.claim().await, "BROKEN", false).await.expect("the failure is recorded");
        } else {
            ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
        }
        updates.wait_for("the job has ended", |event| status(event) == end).await;
        updates.expect_complete().await;
        let last = ada.job(&job, "events(first: 100) { nodes { sequence } }").await;
        let last = last["events"]["nodes"].as_array().map(Vec::len).expect("events");
        events.wait_for("the last event arrives", |event| event["jobEvents"]["sequence"] == last).await;
        events.expect_complete().await;

        // A subscription to an ended job sends one state, or the whole history.
        let mut late = ada.subscribe(UPDATED, json!({"id": job})).await;
        assert_eq!(status(&late.next().await), end);
        late.expect_complete().await;
        let mut history = ada.subscribe(EVENTS, json!({"id": job})).await;
        for sequence in 1..=last {
            assert_eq!(history.next().await["jobEvents"]["sequence"], sequence);
        }
        history.expect_complete().await;
    }
}

both!(history_interrupted_five_times_has_no_gaps_or_duplicates);
async fn history_interrupted_five_times_has_no_gaps_or_duplicates(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let writer = {
        let (ada, app, job) = (ada.clone(), app.clone(), job.clone());
        async move {
            let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
            for i in 0..40 {
                ada.gql(update, json!({"in": {"id": job, "metadata": {"i": i}}})).await;
            }
            app.worker().finish(job_id(&job)).await;
        }
    };
    let reader = {
        let (ada, job) = (ada.clone(), job.clone());
        async move {
            let (mut seen, mut after) = (Vec::new(), Value::Null);
            for count in [3, 1, 7, 2, 11] {
                let mut connection = ada.subscribe(EVENTS, json!({"id": job, "after": after})).await;
                for _ in 0..count {
                    let mut event = connection.next().await["jobEvents"].take();
                    after = event["cursor"].take();
                    seen.push(event["sequence"].as_u64().expect("a number"));
                }
                drop(connection);
            }
            let mut rest = ada.subscribe(EVENTS, json!({"id": job, "after": after})).await;
            let is_status_change = |event: &Value| event["jobEvents"]["kind"] == "STATUS_CHANGED";
            loop {
                let event = rest.next().await;
                let sequence = event["jobEvents"]["sequence"].as_u64().expect("a number");
                seen.push(sequence);
                if is_status_change(&event)
                    && ada.status(&job).await == "COMPLETED"
                    && sequence == last_sequence(&ada, &job).await
                {
                    break;
                }
            }
            rest.expect_complete().await;
            seen
        }
    };
    let ((), seen) = tokio::join!(writer, reader);
    let expected: Vec<u64> = (1..=last_sequence(&ada, &job).await).collect();
    assert_eq!(seen, expected);
}

async fn last_sequence(person: &User, job: &str) -> u64 {
    let history = person.job(job, "events(first: 100) { nodes { sequence } }").await;
    history["events"]["nodes"]
        .as_array()
        .and_then(|events| events.last()?["sequence"].as_u64())
        .expect("events")
}

both!(subscription_to_invisible_or_unknown_job_is_not_found);
async fn subscription_to_invisible_or_unknown_job_is_not_found(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let job = ada.noop_job().await;
    for id in [job.as_str(), "0198c0de-0000-7000-8000-000000000000", "nonsense", ""] {
        for query in [UPDATED, EVENTS] {
            let error = eve.subscribe(query, json!({"id": id})).await.expect_error().await;
            assert_eq!(error.code(), "NOT_FOUND", "{id}");
        }
    }
    let error = app.anonymous().subscribe(UPDATED, json!({"id": job})).await.expect_error().await;
    assert_eq!(error.code(), "UNAUTHENTICATED");
    let other = ada.noop_job().await;
    let cursor =
        ada.job(&other, "events(first: 1) { nodes { cursor } }").await["events"]["nodes"][0]["cursor"].take();
    let error = ada.subscribe(EVENTS, json!({"id": job, "after": cursor})).await.expect_error().await;
    assert_eq!(error.code(), "BAD_USER_INPUT", "a cursor of another job");
    app.wait_until("no snapshot is watched", async || app.jobs.hub.subscribed_jobs() == 0).await;
}

both!(removed_team_member_gets_forbidden_immediately);
async fn removed_team_member_gets_forbidden_immediately(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("readers", &[&bob]).await;
    let job = ada.create_job(json!({"collaboration": [{"collaborator": {"teamId": team}}]})).await;
    let mut updates = bob.subscribe(UPDATED, json!({"id": job})).await;
    let mut events = bob.subscribe(EVENTS, json!({"id": job})).await;
    updates.next().await;
    events.wait_for("the history has arrived", |event| event["jobEvents"]["sequence"] == 4).await;
    let remove = "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { id } } }";
    ada.gql(remove, json!({"in": {"teamId": team, "userId": bob.id()}})).await;
    // The job itself does not change.
    assert_eq!(updates.expect_error().await.code(), "FORBIDDEN");
    assert_eq!(events.expect_error().await.code(), "FORBIDDEN");
}

both!(expired_credential_closes_its_websocket_connection);
async fn expired_credential_closes_its_websocket_connection(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let account = app.accounts.by_email(&ada.email()).await.expect("a query").expect("an account");
    let soon = Some(app.clock.now() + TimeDelta::seconds(5));
    let new = NewKey { name: "short".into(), mode: Mode::Live, expires_at: soon };
    let (secret, _) =
        create_key(&app.db, &app.clock, account.id, new, &app.config.limits).await.expect("a key");
    let short = app.with_authorization(&format!("Bearer {secret}"));
    let mut updates = short.subscribe(UPDATED, json!({"id": job})).await;
    updates.next().await;
    assert_eq!(updates.close_code().await, 4401);
    let refused = short.execute("{ viewer { id } }", json!({})).await;
    assert_eq!(refused.code(), "UNAUTHENTICATED");
}

both!(revoked_key_closes_its_websocket_connection_immediately);
async fn revoked_key_closes_its_websocket_connection_immediately(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let create = "mutation { createApiKey(input: {name: \"robot\"}) { secret apiKey { id } } }";
    let made = ada.gql(create, json!({})).await["createApiKey"].take();
    let robot = app.with_authorization(&format!("Bearer {}", made["secret"].as_str().expect("a secret")));
    let mut revoked = robot.subscribe(UPDATED, json!({"id": job})).await;
    let mut own = ada.subscribe(UPDATED, json!({"id": job})).await;
    revoked.next().await;
    own.next().await;
    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id } } }";
    ada.gql(revoke, json!({"id": made["apiKey"]["id"]})).await;
    // This happens before the next periodic check of the connection.
    assert_eq!(revoked.close_code().await, 4401);
    ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
    assert_eq!(status(&own.next().await), "CANCELLED", "connections of other keys stay open");
}

both!(invalid_credential_closes_connection_with_code_4403);
async fn invalid_credential_closes_connection_with_code_4403(app: TestApp) {
    let ada = app.user("ada").await;
    let account = app.accounts.by_email(&ada.email()).await.expect("a query").expect("an account");
    let new = NewKey { name: "revoked".into(), mode: Mode::Live, expires_at: None };
    let (revoked, key) =
        create_key(&app.db, &app.clock, account.id, new, &app.config.limits).await.expect("a key");
    app.accounts.revoke_key(&ada.actor().await, key.id).await.expect("the key is revoked");
    let texts = [format!("Bearer {revoked}"), "Bearer nonsense".into(), "nonsense".into()];
    for invalid in texts.map(Value::from).into_iter().chain([json!(5), json!({"Bearer": ada.secret()})]) {
        let mut socket = Socket::open(&app).await;
        socket.send(&json!({"type": "connection_init", "payload": {"Authorization": invalid}})).await;
        assert_eq!(socket.receive_any().await, Received::Closed(4403), "{invalid}");
    }
}

both!(queries_and_mutations_share_the_subscription_connection);
async fn queries_and_mutations_share_the_subscription_connection(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let mut socket = ada.socket().await;
    socket.run("watch", UPDATED, &json!({"id": job})).await;
    assert_eq!(socket.receive().await["payload"]["data"]["jobUpdated"]["status"], "QUEUED");
    socket
        .run("cancel", "mutation($id: ID!) { cancelJob(id: $id) { job { status } } }", &json!({"id": job}))
        .await;
    let mut received = Vec::new();
    for _ in 0..4 {
        let message = socket.receive().await;
        received.push(format!(
            "{} {}",
            message["id"].as_str().unwrap_or_default(),
            message["type"].as_str().unwrap_or_default()
        ));
    }
    received.sort();
    assert_eq!(received, ["cancel complete", "cancel next", "watch complete", "watch next"]);
}

both!(slow_client_gets_newest_state_instead_of_backlog, |config| config.websocket.write_milliseconds =
    100_000);
async fn slow_client_gets_newest_state_instead_of_backlog(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let mut updates = ada
        .subscribe("subscription($id: ID!) { jobUpdated(id: $id) { metadata } }", json!({"id": job}))
        .await;
    updates.next().await;
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    // Together the updates exceed the buffers of the connection.
    let filler = "x".repeat(60_000);
    for i in 0..200 {
        ada.gql(update, json!({"in": {"id": job, "metadata": {"i": i, "filler": filler}}})).await;
    }
    let mut count = 0;
    loop {
        let event = updates.next().await;
        count += 1;
        if event["jobUpdated"]["metadata"]["i"] == 199 {
            break;
        }
    }
    assert!(count < 200, "outdated states are skipped, but {count} arrived");
}
