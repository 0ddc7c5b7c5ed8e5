//! Tests of the history of a job: each change once, in order, without gaps.

use serde_json::{Value, json};

use crate::harness::{TestApp, User, both, job_id};

/// Reads the complete history of a job page by page.
pub(super) async fn events(user: &User, job: &str) -> Vec<Value> {
    let query = "query($id: ID!, $after: String) { job(id: $id) { events(first: 7, after: $after) {
        nodes { sequence cursor kind at data actor { email } jobId job { id } } pageInfo { hasNextPage endCursor }
    } } }";
    let (mut events, mut after) = (Vec::new(), Value::Null);
    loop {
        let mut page = user.gql(query, json!({"id": job, "after": after})).await["job"]["events"].take();
        let Value::Array(nodes) = page["nodes"].take() else { panic!("not a list of events") };
        events.extend(nodes);
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].take();
    }
    for (i, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], i + 1, "sequences start at 1 and have no gaps");
        assert_eq!((&event["jobId"], &event["job"]["id"]), (&json!(job), &json!(job)));
    }
    events
}

/// Returns the kinds of the events.
pub(super) fn kinds(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["kind"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Summarizes events as `step STATUS`, `STATUS` or `+role`, and other events by their kind.
fn summaries(events: &[Value]) -> Vec<String> {
    let summary = |event: &Value| {
        let (kind, data) = (event["kind"].as_str().unwrap_or_default(), &event["data"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match kind {
            "STEP_CHANGED" => format!("{} {}", text(&data["step"]), text(&data["to"])),
            "STATUS_CHANGED" => text(&data["to"]),
            "CONTENT_ADDED" => format!("+{}", text(&data["role"])),
            other => other.to_owned(),
        }
    };
    events.iter().map(summary).collect()
}

both!(history_contains_every_change_of_a_job);
async fn history_contains_every_change_of_a_job(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    worker.complete(&worker.claim().await).await.expect("the result is accepted");
    worker.give_back(&worker.claim().await).await.expect("a step with a valid lease is returned");
    worker.fail(&worker.claim().await, "BROKEN", false).await.expect("the failure is accepted");
    ada.gql("mutation($id: ID!) { retryJob(id: $id) { job { id } } }", json!({"id": job})).await;
    worker.finish(job_id(&job)).await;
    let events = events(&ada, &job).await;
    let expected = [
        "CREATED",
        "+input",
        "first QUEUED",
        "first RUNNING",
        "RUNNING",
        "first COMPLETED",
        "second QUEUED",
        "QUEUED",
        "second RUNNING",
        "RUNNING",
        "second QUEUED",
        "QUEUED",
        "second RUNNING",
        "RUNNING",
        "second FAILED",
        "FAILED",
        "RETRIED",
        "second PENDING",
        "second QUEUED",
        "QUEUED",
        "second RUNNING",
        "RUNNING",
        "second COMPLETED",
        "third QUEUED",
        "QUEUED",
        "third RUNNING",
        "RUNNING",
        "+output",
        "third COMPLETED",
        "COMPLETED",
    ];
    assert_eq!(summaries(&events), expected);
    let with_actor: Vec<_> = events
        .iter()
        .filter(|event| !event["actor"].is_null())
        .map(|event| event["sequence"].clone())
        .collect();
    assert_eq!(with_actor, [1, 2, 17, 18, 19, 20].map(|n| json!(n)), "all other events are automatic");
    assert!(events.is_sorted_by_key(|event| event["at"].to_string()));
}

both!(concurrent_changes_are_recorded_without_gaps);
async fn concurrent_changes_are_recorded_without_gaps(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let before = events(&ada, &job).await.len();
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    let writers = (0..24).map(|i| {
        let (ada, job) = (ada.clone(), job.clone());
        async move { ada.gql(update, json!({"in": {"id": job, "metadata": {format!("k{i}"): i}}})).await }
    });
    futures_util::future::join_all(writers).await;
    let history = events(&ada, &job).await;
    assert_eq!(history.len(), before + 24);
    let metadata = ada.job(&job, "metadata").await["metadata"].take();
    assert_eq!(metadata.as_object().map(serde_json::Map::len), Some(24), "no change was lost");
    assert_eq!(
        history.last().map(|event| &event["data"]["metadata"]),
        Some(&metadata),
        "rows and history agree"
    );
}

both!(cursor_of_another_job_is_refused);
async fn cursor_of_another_job_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let (job, other) = (ada.noop_job().await, ada.noop_job().await);
    let cursor = events(&ada, &other).await[0]["cursor"].take();
    let query =
        "query($id: ID!, $after: String) { job(id: $id) { events(after: $after) { nodes { sequence } } } }";
    for after in [cursor, json!("1"), json!("")] {
        let refused = ada.gql_err(query, json!({"id": job, "after": after})).await;
        assert_eq!(refused.code(), "BAD_USER_INPUT", "{after}");
    }
}
