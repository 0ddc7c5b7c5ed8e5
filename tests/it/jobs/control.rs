//! Tests of updating, cancelling, retrying and deleting jobs.

use docket::entity::{content, document, job, job_event, task};
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};

use super::history::{events, kinds};
use crate::harness::{TestApp, User, both, job_id};

const UPDATE: &str = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { metadata } } }";
const CANCEL: &str =
    "mutation($id: ID!, $why: String) { cancelJob(id: $id, reason: $why) { job { status } } }";
const RETRY: &str = "mutation($id: ID!) { retryJob(id: $id) { job { status } } }";
const DELETE: &str = "mutation($id: ID!) { deleteJob(id: $id) { deletedId } }";

async fn patch_metadata(user: &User, job: &str, patch: Value) -> Value {
    user.gql(UPDATE, json!({"in": {"id": job, "metadata": patch}})).await["updateJob"]["job"]["metadata"]
        .take()
}

both!(update_applies_a_merge_patch_to_the_metadata);
async fn update_applies_a_merge_patch_to_the_metadata(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let metadata = json!({"mapping.taxonomy": "invoices", "own": {"a": 1, "b": [1, 2]}, "removed": true});
    let job = ada.create_job(json!({"type": "data-point-extraction", "metadata": metadata})).await;
    let patch = json!({"own": {"a": null, "b": [3], "c": {"d": 1}}, "removed": null, "mapping.high_confidence_threshold": "0.5"});
    let after = patch_metadata(&ada, &job, patch).await;
    assert_eq!(after["own"], json!({"b": [3], "c": {"d": 1}}), "arrays are replaced, null removes");
    assert_eq!(after.get("removed"), None);
    assert_eq!(after["mapping"], json!({"taxonomy": "invoices", "high_confidence_threshold": 0.5}));
    let after = patch_metadata(&ada, &job, json!({"mapping": {"high_confidence_threshold": null}})).await;
    assert_eq!(after["mapping"]["high_confidence_threshold"], 1, "a removed value returns to its default");

    let seq = events(&ada, &job).await.len();
    for (patch, path) in [
        (json!({"mapping": null}), "/metadata"),
        (json!({"mapping.high_confidence_threshold": 2}), "/metadata/mapping/high_confidence_threshold"),
    ] {
        let refused = ada.gql_err(UPDATE, json!({"in": {"id": job, "metadata": patch}})).await;
        assert_eq!(refused.problems(), [(path.to_owned(), "SCHEMA".to_owned())]);
    }
    let refused = ada.gql_err(UPDATE, json!({"in": {"id": job, "priority": -1001}})).await;
    assert_eq!(refused.problems(), [("/priority".to_owned(), "RANGE".to_owned())]);
    let large = json!({"large": "x".repeat(70_000)});
    let refused = ada.gql_err(UPDATE, json!({"in": {"id": job, "metadata": large}})).await;
    assert_eq!(refused.problems(), [("/metadata".to_owned(), "TOO_LARGE".to_owned())]);
    assert_eq!(patch_metadata(&ada, &job, json!({})).await, after, "an empty patch changes nothing");
    assert_eq!(events(&ada, &job).await.len(), seq, "an update without changes adds no event");
}

both!(history_records_changes_with_their_actor);
async fn history_records_changes_with_their_actor(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let job = ada.create_job(json!({"collaboration": [{"collaborator": {"userId": bob.id()}}]})).await;
    bob.gql(UPDATE, json!({"in": {"id": job, "priority": 9, "metadata": {"a.b": 1}}})).await;
    let history = events(&ada, &job).await;
    let [.., priority, metadata] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!(priority["kind"], "METADATA_CHANGED");
    assert_eq!(priority["data"], json!({"priority": {"from": 0, "to": 9}}));
    assert_eq!(metadata["data"], json!({"patch": {"a": {"b": 1}}, "metadata": {"a": {"b": 1}}}));
    assert!([priority, metadata].iter().all(|event| event["actor"]["email"] == "bob@example.com"));
}

both!(job_can_be_cancelled_only_once);
async fn job_can_be_cancelled_only_once(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let cancelled = ada.gql(CANCEL, json!({"id": job, "why": "It was the wrong document."})).await;
    assert_eq!(cancelled["cancelJob"]["job"]["status"], "CANCELLED");
    let history = events(&ada, &job).await;
    let [.., step, status] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!(step["data"], json!({"step": "first", "from": "QUEUED", "to": "CANCELLED", "attempt": 0}));
    let why = json!({"from": "QUEUED", "to": "CANCELLED", "reason": "It was the wrong document."});
    assert_eq!((&status["kind"], &status["data"]), (&json!("STATUS_CHANGED"), &why));
    assert!(app.worker().try_claim().await.is_none(), "the queue is empty");
    assert_eq!(ada.gql_err(CANCEL, json!({"id": job})).await.code(), "CONFLICT");
    assert_eq!(events(&ada, &job).await.len(), history.len());

    let done = ada.noop_job().await;
    app.worker().finish(job_id(&done)).await;
    for mutation in [CANCEL, RETRY] {
        assert_eq!(
            ada.gql_err(mutation, json!({"id": done})).await.code(),
            "CONFLICT",
            "a completed job stays completed"
        );
    }
    assert_eq!(ada.status(&done).await, "COMPLETED");
}

both!(cancelling_a_blocked_job_cancels_its_review);
async fn cancelling_a_blocked_job_cancels_its_review(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.extraction_job(json!([])).await;
    let worker = app.worker();
    worker
        .complete_with_review(&worker.claim().await, "text-json", &json!({"data_points": []}))
        .await
        .expect("the result is accepted");
    let review = ada.job(&job, "status review { id }").await;
    assert_eq!(review["status"], "BLOCKED");
    ada.gql(CANCEL, json!({"id": job})).await;
    let query = "query($id: ID!) { review(id: $id) { status } }";
    let after = ada.gql(query, json!({"id": review["review"]["id"]})).await;
    assert_eq!(after["review"]["status"], "CANCELLED");
    assert_eq!(ada.job(&job, "review { id }").await["review"], Value::Null);
}

both!(retry_resumes_at_the_failed_step);
async fn retry_resumes_at_the_failed_step(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    worker.complete(&worker.claim().await).await.expect("the result is accepted");
    worker.fail(&worker.claim().await, "BROKEN", false).await.expect("the failure is accepted");
    let fields =
        "status failure { code message step } currentStep { name } finishedAt steps { name status attempt }";
    let failed = ada.job(&job, fields).await;
    assert_eq!(failed["status"], "FAILED");
    let failure = json!({"code": "BROKEN", "message": "It failed with BROKEN.", "step": "second"});
    assert_eq!((&failed["failure"], &failed["currentStep"]), (&failure, &Value::Null));
    assert!(failed["finishedAt"].is_string());

    ada.gql(RETRY, json!({"id": job})).await;
    let again = ada.job(&job, fields).await;
    let steps = json!([
        {"name": "first", "status": "COMPLETED", "attempt": 1},
        {"name": "second", "status": "QUEUED", "attempt": 0},
        {"name": "third", "status": "PENDING", "attempt": 0}
    ]);
    assert_eq!(again["steps"], steps, "the attempts start again at 0");
    assert_eq!(
        (&again["status"], &again["failure"], &again["finishedAt"]),
        (&json!("QUEUED"), &Value::Null, &Value::Null)
    );
    assert_eq!(ada.gql_err(RETRY, json!({"id": job})).await.code(), "CONFLICT", "the job is already queued");
    assert!(kinds(&events(&ada, &job).await).contains(&"RETRIED".to_owned()));
    assert_eq!(worker.claim().await.step, "second");

    ada.gql(CANCEL, json!({"id": job})).await;
    ada.gql(RETRY, json!({"id": job})).await;
    worker.finish(job_id(&job)).await;
    assert_eq!(ada.status(&job).await, "COMPLETED", "a cancelled job resumes too");
}

both!(deleting_a_job_removes_its_contents_and_events);
async fn deleting_a_job_removes_its_contents_and_events(app: TestApp) {
    let ada = app.user("ada").await;
    let (kept, uploads) = (ada.noop_job().await, app.stored_keys());
    let job = ada.extraction_job(json!([])).await;
    let input =
        ada.job(&job, "inputContent { document { id } }").await["inputContent"]["document"]["id"].take();
    let worker = app.worker();
    let claim = worker.claim_step_of(job_id(&job)).await;
    worker.complete_with(&claim, &[("text-json", json!({}))]).await.expect("the result is accepted");
    let running = worker.claim_step_of(job_id(&job)).await;
    let mut updates =
        ada.subscribe("subscription($id: ID!) { jobUpdated(id: $id) { status } }", json!({"id": job})).await;
    updates.next().await;

    assert_eq!(ada.gql(DELETE, json!({"id": job})).await["deleteJob"]["deletedId"], job.as_str());
    updates.wait_for("the job is cancelled", |event| event["jobUpdated"]["status"] == "CANCELLED").await;
    updates.expect_complete().await;
    let late = worker.complete(&running).await.expect_err("the job is deleted");
    assert!(["NOT_FOUND", "CONFLICT"].contains(&late.code().as_str()), "{late}");
    assert_eq!(ada.job(&job, "id").await, Value::Null);
    for mutation in [DELETE, RETRY] {
        assert_eq!(ada.gql_err(mutation, json!({"id": job})).await.code(), "NOT_FOUND");
    }

    let db = app.db.read();
    assert_eq!(job::Entity::find().count(db).await, Ok(1));
    assert_eq!(task::Entity::find().count(db).await, Ok(1));
    assert_eq!(content::Entity::find().count(db).await, Ok(1), "the input of the other job");
    assert_eq!(document::Entity::find().count(db).await, Ok(2), "uploaded documents stay");
    let kept_events = events(&ada, &kept).await.len();
    assert_eq!(job_event::Entity::find().count(db).await, Ok(kept_events as u64));
    assert_eq!(
        app.stored_keys().len(),
        uploads.len() + 1,
        "the contents of steps and the taxonomy are deleted"
    );
    let delete = "mutation($id: ID!) { deleteDocument(id: $id) { deletedId } }";
    ada.gql(delete, json!({"id": input})).await;
    assert_eq!(app.stored_keys(), uploads, "the input can be deleted now");
}
