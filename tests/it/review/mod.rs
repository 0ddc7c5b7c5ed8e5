//! Tests of reviews: queue, claims, decisions, corrections, and threshold simulation.

mod claims;
mod decisions;
mod manual;
mod queue;
mod simulation;

use serde_json::{Value, json};

use crate::harness::{TestApp, User, job_id};

const CLAIM: &str =
    "mutation($id: ID!) { claimReview(id: $id) { review { id status claimedBy { id } claimExpiresAt } } }";
const RELEASE: &str = "mutation($id: ID!) { releaseReview(id: $id) { review { status claimedBy { id } } } }";
const DECIDE: &str =
    "mutation($in: DecideReviewInput!) { decideReview(input: $in) { review { id status comment } } }";
const DRAFT: &str = "mutation($in: SaveReviewDraftInput!) { saveReviewDraft(input: $in) { review { draft claimExpiresAt } } }";

/// Returns the content of the step `mapping` in a blocked job.
pub(crate) fn mapping_result() -> Value {
    json!({"data_points": [
        {"name": "invoice.number", "value": "7", "normalized": "7", "confidence": 0.5},
        {"name": "invoice.total", "value": "12.00", "normalized": "12.00", "confidence": 0.95},
    ]})
}

/// A job that is blocked by a review of its step `mapping`.
pub(crate) struct BlockedJob {
    pub(crate) job: String,
    pub(crate) review: String,
    pub(crate) sha256: String,
}

impl BlockedJob {
    pub(crate) async fn create(app: &TestApp, owner: &User, collaboration: Value) -> Self {
        let job = owner.extraction_job(collaboration).await;
        let worker = app.worker();
        for (step, roles) in
            [("text-extraction", vec!["text-json"]), ("zoning", vec!["zoning-json", "zoning-pagesmeta-json"])]
        {
            let claim = worker.claim_step_of(job_id(&job)).await;
            assert_eq!(claim.step, step);
            let contents: Vec<_> = roles.into_iter().map(|role| (role, json!({"made by": step}))).collect();
            worker.complete_with(&claim, &contents).await.expect("the result is accepted");
        }
        let claim = worker.claim_step_of(job_id(&job)).await;
        worker
            .complete_with_review(&claim, "mapping-json", &mapping_result())
            .await
            .expect("the result is accepted");
        let (review, sha256) = open_review(owner, &job).await;
        Self { job, review, sha256 }
    }

    /// Returns the input of a decision on the content under review.
    fn decision(&self, decision: &str, more: &Value) -> Value {
        let mut input = json!({"id": self.review, "decision": decision, "contentSha256": self.sha256});
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"in": input})
    }
}

/// Returns the open review of a job and the SHA-256 of its content.
async fn open_review(user: &User, job: &str) -> (String, String) {
    let job = user.job(job, "status review { id content { document { sha256 } } }").await;
    assert_eq!(job["status"], "BLOCKED");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&job["review"]["id"]), text(&job["review"]["content"]["document"]["sha256"]))
}

async fn claim(user: &User, review: &str) -> Value {
    user.gql(CLAIM, json!({"id": review})).await["claimReview"]["review"].take()
}

/// Returns the state of a job that a refused request must not change.
async fn job_state(user: &User, job: &str) -> Value {
    let fields = "status updatedAt steps { name status attempt comment } contents(superseded: true) { role version current } \
                  review { status draft claimedBy { id } } events(first: 100) { nodes { sequence kind data } }";
    user.job(job, fields).await
}

/// Returns the last event of a kind.
async fn last_event(user: &User, job: &str, kind: &str) -> Value {
    let mut events = user.job(job, "events(first: 100) { nodes { kind data actor { id } } }").await;
    let nodes = events["events"]["nodes"].as_array_mut().expect("events");
    nodes.iter_mut().rfind(|event| event["kind"] == kind).expect("an event of this kind").take()
}
