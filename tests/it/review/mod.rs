//! People's turn: the queue, claims, decisions, corrections, and what another threshold would have done.

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

/// What mapping has found in a blocked job.
pub(crate) fn found() -> Value {
    json!({"data_points": [
        {"name": "invoice.number", "value": "7", "normalized": "7", "confidence": 0.5},
        {"name": "invoice.total", "value": "12.00", "normalized": "12.00", "confidence": 0.95},
    ]})
}

/// A job that waits for somebody to look at what mapping has found.
pub(crate) struct Blocked {
    pub(crate) job: String,
    pub(crate) review: String,
    pub(crate) sha256: String,
}

impl Blocked {
    pub(crate) async fn of(app: &TestApp, owner: &User, collaboration: Value) -> Self {
        let job = owner.extraction_job(collaboration).await;
        let worker = app.worker();
        for (step, roles) in
            [("text-extraction", vec!["text-json"]), ("zoning", vec!["zoning-json", "zoning-pagesmeta-json"])]
        {
            let claim = worker.claim_of(job_id(&job)).await;
            assert_eq!(claim.step, step);
            let contents: Vec<_> = roles.into_iter().map(|role| (role, json!({"made by": step}))).collect();
            worker.complete_with(&claim, &contents).await.expect("it is taken");
        }
        let claim = worker.claim_of(job_id(&job)).await;
        worker.ask(&claim, "mapping-json", &found()).await.expect("it is taken");
        let (review, sha256) = open_review(owner, &job).await;
        Self { job, review, sha256 }
    }

    /// A decision on what was seen.
    fn decision(&self, decision: &str, more: &Value) -> Value {
        let mut input = json!({"id": self.review, "decision": decision, "contentSha256": self.sha256});
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"in": input})
    }
}

/// The open review of a job, and the hash of what it is about.
async fn open_review(person: &User, job: &str) -> (String, String) {
    let job = person.job(job, "status review { id content { document { sha256 } } }").await;
    assert_eq!(job["status"], "BLOCKED");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&job["review"]["id"]), text(&job["review"]["content"]["document"]["sha256"]))
}

async fn claim(person: &User, review: &str) -> Value {
    person.gql(CLAIM, json!({"id": review})).await["claimReview"]["review"].take()
}

/// Everything of a job that a refused request must leave as it is.
async fn everything(person: &User, job: &str) -> Value {
    let fields = "status updatedAt steps { name status attempt comment } contents(superseded: true) { role version current } \
                  review { status draft claimedBy { id } } events(first: 100) { nodes { sequence kind data } }";
    person.job(job, fields).await
}

/// The data of the last event of a kind.
async fn last(person: &User, job: &str, kind: &str) -> Value {
    let mut events = person.job(job, "events(first: 100) { nodes { kind data actor { id } } }").await;
    let nodes = events["events"]["nodes"].as_array_mut().expect("events");
    nodes.iter_mut().rfind(|event| event["kind"] == kind).expect("such an event").take()
}
