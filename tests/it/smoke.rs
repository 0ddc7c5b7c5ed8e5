//! Tests of the harness itself on both databases.

use serde_json::json;

use crate::harness::{TestApp, both, job_id};

both!(job_is_visible_only_to_its_owner);
async fn job_is_visible_only_to_its_owner(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let job = ada.noop_job().await;
    assert_eq!(ada.job(&job, "status").await, json!({"status": "QUEUED"}));
    assert_eq!(eve.job(&job, "status").await, json!(null));

    let mut updates =
        ada.subscribe("subscription($id: ID!) { jobUpdated(id: $id) { status } }", json!({"id": job})).await;
    assert_eq!(updates.next().await, json!({"jobUpdated": {"status": "QUEUED"}}));
    app.worker().finish(job_id(&job)).await;
    updates.wait_for("the job is completed", |event| event["jobUpdated"]["status"] == "COMPLETED").await;
    updates.expect_complete().await;
}

both!(engine_runs_all_steps_of_a_job);
async fn engine_runs_all_steps_of_a_job(app: TestApp) {
    let ada = app.user("ada").await;
    app.start_engine();
    ada.put_taxonomy("invoices").await;
    let metadata = json!({
        "mapping": {"taxonomy": "invoices", "high_confidence_threshold": 0},
        "zoning": {"high_confidence_threshold": 0}
    });
    let job = ada.create_job(json!({"type": "data-point-extraction", "metadata": metadata})).await;
    app.wait_until("the job is completed", async || ada.status(&job).await == "COMPLETED").await;
}
