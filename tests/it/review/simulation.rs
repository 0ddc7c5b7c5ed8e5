//! What another threshold would have done.

use docket::engine::{Ask, Results};
use docket_extract::operation::Scored;
use docket_extract::review::Score;
use serde_json::{Value, json};

use super::{DECIDE, claim, found, open_review};
use crate::harness::{TestApp, User, both, job_id};

const SIMULATE: &str = "query($step: String!, $threshold: Float!) {
    simulateReviewThreshold(type: \"data-point-extraction\", step: $step, threshold: $threshold) {
        items reviewed wouldReview missedCorrections } }";

/// A job in which mapping found values of some confidences, of which those below 0.9 are looked at.
async fn reviewed(app: &TestApp, owner: &User, corrects: bool) {
    let job = owner.extraction_job(json!([])).await;
    let worker = app.worker();
    for _ in 0..2 {
        worker.complete(&worker.claim_of(job_id(&job)).await).await.expect("it is taken");
    }
    let claimed = worker.claim_of(job_id(&job)).await;
    let made = vec![worker.make(&claimed, "mapping-json", &found().to_string()).await];
    let ask = Ask { reason: "1 value.".into(), role: "mapping-json".into(), items: Vec::new() };
    let score = |thousandths, missing, items, due| Score { thousandths, missing, items, due };
    let scores = vec![score(0, true, 1, 1), score(500, false, 1, 1), score(950, false, 1, 0)];
    let scored = Scored { content_role: "mapping-json".into(), scores };
    app.jobs
        .complete(&claimed, Results { made, ask: Some(ask), scored: Some(scored) })
        .await
        .expect("it is taken");
    let (review, sha256) = open_review(owner, &job).await;
    claim(owner, &review).await;
    let patch = json!([{"op": "replace", "path": "/data_points/0/value", "value": "8"}]);
    let patch = if corrects { patch } else { Value::Null };
    let decision = json!({"id": review, "decision": "APPROVE", "contentSha256": sha256, "patch": patch});
    owner.gql(DECIDE, json!({"in": decision})).await;
    worker.finish(job_id(&job)).await;
}

both!(a_threshold_is_tried_on_what_was_decided);
async fn a_threshold_is_tried_on_what_was_decided(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    reviewed(&app, &ada, true).await;
    reviewed(&app, &ada, false).await;
    for (threshold, would_review, missed) in
        [(0.0, 0, 1), (0.4, 2, 1), (0.5, 2, 1), (0.51, 4, 0), (0.96, 6, 0), (1.0, 6, 0)]
    {
        let data = ada.gql(SIMULATE, json!({"step": "mapping", "threshold": threshold})).await;
        let expected =
            json!({"items": 6, "reviewed": 4, "wouldReview": would_review, "missedCorrections": missed});
        assert_eq!(data["simulateReviewThreshold"], expected, "at {threshold}");
    }
    let others = eve.gql(SIMULATE, json!({"step": "mapping", "threshold": 1.0})).await;
    assert_eq!(others["simulateReviewThreshold"]["items"], 0, "jobs that she does not see");
    for (step, threshold) in [("dancing", 0.5), ("mapping", 1.5), ("mapping", -0.1)] {
        let refused = ada.refused(SIMULATE, json!({"step": step, "threshold": threshold})).await;
        assert_eq!(refused.code(), "BAD_USER_INPUT");
    }
    let query = "{ simulateReviewThreshold(type: \"dance\", step: \"a\", threshold: 0.5) { items } }";
    assert_eq!(ada.refused(query, json!({})).await.code(), "NOT_FOUND");
}
