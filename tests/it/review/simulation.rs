//! Tests of the simulation of review thresholds.

use docket::job::queue::{ReviewRequest, StepResult};
use docket_extract::operation::ContentScores;
use docket_extract::review::Score;
use serde_json::{Value, json};

use super::{DECIDE, claim, mapping_result, open_review};
use crate::harness::{TestApp, User, both, job_id};

const SIMULATE: &str = "query($step: String!, $threshold: Float!) {
    simulateReviewThreshold(type: \"data-point-extraction\", step: $step, threshold: $threshold) {
        items reviewed wouldReview missedCorrections } }";

/// Creates a job with values of different confidences, and approves the review of those below 0.9.
async fn create_reviewed_job(app: &TestApp, owner: &User, corrects: bool) {
    let job = owner.extraction_job(json!([])).await;
    let worker = app.worker();
    for _ in 0..2 {
        worker.complete(&worker.claim_step_of(job_id(&job)).await).await.expect("the result is accepted");
    }
    let claimed = worker.claim_step_of(job_id(&job)).await;
    let outputs = vec![worker.store_content(&claimed, "mapping-json", &mapping_result().to_string()).await];
    let review = ReviewRequest { reason: "1 value.".into(), role: "mapping-json".into(), items: Vec::new() };
    let score = |thousandths, missing, items, due| Score { thousandths, missing, items, due };
    let scores = vec![score(0, true, 1, 1), score(500, false, 1, 1), score(950, false, 1, 0)];
    let scored = ContentScores { content_role: "mapping-json".into(), scores };
    app.jobs
        .complete_step(claimed.holder(), StepResult { outputs, review: Some(review), scored: Some(scored) })
        .await
        .expect("the result is accepted");
    let (review, sha256) = open_review(owner, &job).await;
    claim(owner, &review).await;
    let patch = json!([{"op": "replace", "path": "/data_points/0/value", "value": "8"}]);
    let patch = if corrects { patch } else { Value::Null };
    let decision = json!({"id": review, "decision": "APPROVE", "contentSha256": sha256, "patch": patch});
    owner.gql(DECIDE, json!({"in": decision})).await;
    worker.finish(job_id(&job)).await;
}

both!(simulation_applies_a_threshold_to_decided_reviews);
async fn simulation_applies_a_threshold_to_decided_reviews(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    create_reviewed_job(&app, &ada, true).await;
    create_reviewed_job(&app, &ada, false).await;
    for (threshold, would_review, missed) in
        [(0.0, 0, 1), (0.4, 2, 1), (0.5, 2, 1), (0.51, 4, 0), (0.96, 6, 0), (1.0, 6, 0)]
    {
        let data = ada.gql(SIMULATE, json!({"step": "mapping", "threshold": threshold})).await;
        let expected =
            json!({"items": 6, "reviewed": 4, "wouldReview": would_review, "missedCorrections": missed});
        assert_eq!(data["simulateReviewThreshold"], expected, "at {threshold}");
    }
    let others = eve.gql(SIMULATE, json!({"step": "mapping", "threshold": 1.0})).await;
    assert_eq!(others["simulateReviewThreshold"]["items"], 0, "she cannot see the jobs");
    for (step, threshold) in [("dancing", 0.5), ("mapping", 1.5), ("mapping", -0.1)] {
        let refused = ada.gql_err(SIMULATE, json!({"step": step, "threshold": threshold})).await;
        assert_eq!(refused.code(), "BAD_USER_INPUT");
    }
    let query = "{ simulateReviewThreshold(type: \"dance\", step: \"a\", threshold: 0.5) { items } }";
    assert_eq!(ada.gql_err(query, json!({})).await.code(), "NOT_FOUND");
}
