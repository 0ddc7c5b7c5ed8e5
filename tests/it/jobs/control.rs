//! Changing, cancelling, retrying and deleting jobs.

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

async fn patched(person: &User, job: &str, patch: Value) -> Value {
    person.gql(UPDATE, json!({"in": {"id": job, "metadata": patch}})).await["updateJob"]["job"]["metadata"]
        .take()
}

both!(metadata_is_changed_by_a_merge_patch);
async fn metadata_is_changed_by_a_merge_patch(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let metadata = json!({"mapping.taxonomy": "invoices", "own": {"a": 1, "b": [1, 2]}, "gone": true});
    let job = ada.create_job(json!({"type": "data-point-extraction", "metadata": metadata})).await;
    let patch = json!({"own": {"a": null, "b": [3], "c": {"d": 1}}, "gone": null, "mapping.high_confidence_threshold": "0.5"});
    let after = patched(&ada, &job, patch).await;
    assert_eq!(after["own"], json!({"b": [3], "c": {"d": 1}}), "arrays are replaced, null removes");
    assert_eq!(after.get("gone"), None);
    assert_eq!(after["mapping"], json!({"taxonomy": "invoices", "high_confidence_threshold": 0.5}));
    let after = patched(&ada, &job, json!({"mapping": {"high_confidence_threshold": null}})).await;
    assert_eq!(after["mapping"]["high_confidence_threshold"], 1, "what was removed has its default again");

    let seq = events(&ada, &job).await.len();
    for (patch, path) in [
        (json!({"mapping": null}), "/metadata"),
        (json!({"mapping.high_confidence_threshold": 2}), "/metadata/mapping/high_confidence_threshold"),
    ] {
        let refused = ada.refused(UPDATE, json!({"in": {"id": job, "metadata": patch}})).await;
        assert_eq!(refused.problems(), [(path.to_owned(), "SCHEMA".to_owned())]);
    }
    let refused = ada.refused(UPDATE, json!({"in": {"id": job, "priority": -1001}})).await;
    assert_eq!(refused.problems(), [("/priority".to_owned(), "RANGE".to_owned())]);
    let large = json!({"large": "x".repeat(70_000)});
    let refused = ada.refused(UPDATE, json!({"in": {"id": job, "metadata": large}})).await;
    assert_eq!(refused.problems(), [("/metadata".to_owned(), "TOO_LARGE".to_owned())]);
    assert_eq!(patched(&ada, &job, json!({})).await, after, "an empty patch changes nothing");
    assert_eq!(events(&ada, &job).await.len(), seq, "what changes nothing is not in the history");
}

both!(a_change_is_in_the_history_with_who_made_it);
async fn a_change_is_in_the_history_with_who_made_it(app: TestApp) {
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

both!(cancelling_ends_a_job_once);
async fn cancelling_ends_a_job_once(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let cancelled = ada.gql(CANCEL, json!({"id": job, "why": "It was the wrong document."})).await;
    assert_eq!(cancelled["cancelJob"]["job"]["status"], "CANCELLED");
    let history = events(&ada, &job).await;
    let [.., step, status] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!(step["data"], json!({"step": "first", "from": "QUEUED", "to": "CANCELLED", "attempt": 0}));
    let why = json!({"from": "QUEUED", "to": "CANCELLED", "reason": "It was the wrong document."});
    assert_eq!((&status["kind"], &status["data"]), (&json!("STATUS_CHANGED"), &why));
    assert!(app.worker().try_claim().await.is_none(), "nothing is left in the queue");
    assert_eq!(ada.refused(CANCEL, json!({"id": job})).await.code(), "CONFLICT");
    assert_eq!(events(&ada, &job).await.len(), history.len());

    let done = ada.noop_job().await;
    app.worker().finish(job_id(&done)).await;
    for end in [CANCEL, RETRY] {
        assert_eq!(
            ada.refused(end, json!({"id": done})).await.code(),
            "CONFLICT",
            "what is completed stays so"
        );
    }
    assert_eq!(ada.status(&done).await, "COMPLETED");
}

both!(a_blocked_job_is_cancelled_with_its_review);
async fn a_blocked_job_is_cancelled_with_its_review(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.extraction_job(json!([])).await;
    let worker = app.worker();
    worker.ask(&worker.claim().await, "text-json", &json!({"data_points": []})).await.expect("it is taken");
    let review = ada.job(&job, "status review { id }").await;
    assert_eq!(review["status"], "BLOCKED");
    ada.gql(CANCEL, json!({"id": job})).await;
    let query = "query($id: ID!) { review(id: $id) { status } }";
    let after = ada.gql(query, json!({"id": review["review"]["id"]})).await;
    assert_eq!(after["review"]["status"], "CANCELLED");
    assert_eq!(ada.job(&job, "review { id }").await["review"], Value::Null);
}

both!(a_retry_goes_on_at_the_step_that_stopped_the_job);
async fn a_retry_goes_on_at_the_step_that_stopped_the_job(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let worker = app.worker();
    worker.complete(&worker.claim().await).await.expect("a result is taken");
    worker.fail(&worker.claim().await, "BROKEN", false).await.expect("news are taken");
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
    assert_eq!(again["steps"], steps, "its attempts are given back");
    assert_eq!(
        (&again["status"], &again["failure"], &again["finishedAt"]),
        (&json!("QUEUED"), &Value::Null, &Value::Null)
    );
    assert_eq!(ada.refused(RETRY, json!({"id": job})).await.code(), "CONFLICT", "it is on its way already");
    assert!(kinds(&events(&ada, &job).await).contains(&"RETRIED".to_owned()));
    assert_eq!(worker.claim().await.step, "second");

    ada.gql(CANCEL, json!({"id": job})).await;
    ada.gql(RETRY, json!({"id": job})).await;
    worker.finish(job_id(&job)).await;
    assert_eq!(ada.status(&job).await, "COMPLETED", "a cancelled one goes on too");
}

both!(deleting_removes_everything_that_a_job_made);
async fn deleting_removes_everything_that_a_job_made(app: TestApp) {
    let ada = app.user("ada").await;
    let (kept, uploads) = (ada.noop_job().await, app.stored());
    let job = ada.extraction_job(json!([])).await;
    let input =
        ada.job(&job, "inputContent { document { id } }").await["inputContent"]["document"]["id"].take();
    let worker = app.worker();
    let claim = worker.claim_of(job_id(&job)).await;
    worker.complete_with(&claim, &[("text-json", json!({}))]).await.expect("a result is taken");
    let running = worker.claim_of(job_id(&job)).await;
    let mut watched =
        ada.subscribe("subscription($id: ID!) { jobUpdated(id: $id) { status } }", json!({"id": job})).await;
    watched.next().await;

    assert_eq!(ada.gql(DELETE, json!({"id": job})).await["deleteJob"]["deletedId"], job.as_str());
    watched.until("it is cancelled", |event| event["jobUpdated"]["status"] == "CANCELLED").await;
    watched.ended().await;
    let late = worker.complete(&running).await.expect_err("the job is gone");
    assert!(["NOT_FOUND", "CONFLICT"].contains(&late.code().as_str()), "{late}");
    assert_eq!(ada.job(&job, "id").await, Value::Null);
    for refused in [DELETE, RETRY] {
        assert_eq!(ada.refused(refused, json!({"id": job})).await.code(), "NOT_FOUND");
    }

    let db = app.db.read();
    assert_eq!(job::Entity::find().count(db).await, Ok(1));
    assert_eq!(task::Entity::find().count(db).await, Ok(1));
    assert_eq!(content::Entity::find().count(db).await, Ok(1), "the other job's input");
    assert_eq!(document::Entity::find().count(db).await, Ok(2), "what was uploaded stays");
    let of_the_other = events(&ada, &kept).await.len();
    assert_eq!(job_event::Entity::find().count(db).await, Ok(of_the_other as u64));
    assert_eq!(app.stored().len(), uploads.len() + 1, "bytes of steps and the taxonomy are gone");
    let delete = "mutation($id: ID!) { deleteDocument(id: $id) { deletedId } }";
    ada.gql(delete, json!({"id": input})).await;
    assert_eq!(app.stored(), uploads, "its input is free again");
}
