//! Tests of MANUAL steps and of four-eyes steps.

use serde_json::{Value, json};

use super::{CLAIM, DECIDE, claim, last_event, open_review};
use crate::harness::{TestApp, User, both};

const REGISTER: &str =
    "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id version } } }";

/// Registers a job type with a MANUAL step and a MANUAL four-eyes step.
async fn register_letter_type(root: &User) {
    let steps = json!([
        {"name": "write", "kind": "MANUAL", "contentRoles": ["draft"]},
        {"name": "approve", "kind": "MANUAL", "contentRoles": ["draft", "output"], "fourEyes": true},
    ]);
    let input = json!({"id": "letter", "name": "Letter", "description": "Written by people.", "accepts": [], "steps": steps});
    root.gql(REGISTER, json!({"in": input})).await;
}

both!(manual_step_is_completed_with_uploaded_contents);
async fn manual_step_is_completed_with_uploaded_contents(app: TestApp) {
    let (root, ada, bob) = (app.admin("root").await, app.user("ada").await, app.user("bob").await);
    register_letter_type(&root).await;
    let share = json!([{"collaborator": {"userEmail": bob.email()}}]);
    let job = ada.create_job(json!({"type": "letter", "collaboration": share})).await;
    let (review, sha256) = open_review(&ada, &job).await;
    assert_eq!(sha256, "", "there is no content yet");
    claim(&ada, &review).await;
    let text = ada.upload("Dear Sir", "letter.txt", "text/plain").await;
    let content = |role: &str, document: &str| json!([{"role": role, "source": {"documentId": document}}]);
    let decision =
        |contents: Value| json!({"in": {"id": review, "decision": "APPROVE", "contents": contents}});
    for (contents, path) in [
        (content("output", &text), "/contents/0/role"),
        (content("draft", &review), "/contents/0/source"),
        (content("draft", &bob.upload("x", "x", "text/plain").await), "/contents/0/source"),
    ] {
        let refused = ada.gql_err(DECIDE, decision(contents)).await;
        assert_eq!(refused.problems()[0].0, path, "{refused:?}");
    }
    ada.gql(DECIDE, decision(content("draft", &text))).await;
    let created = ada.job(&job, "contents(role: \"draft\") { step version document { id } }").await;
    assert_eq!(created["contents"], json!([{"step": "write", "version": 1, "document": {"id": text}}]));

    // The owner may not decide the next step, in any capacity.
    let (review, _) = open_review(&ada, &job).await;
    assert_eq!(ada.gql_err(CLAIM, json!({"id": review})).await.code(), "FORBIDDEN");
    claim(&bob, &review).await;
    let output = bob.upload("Dear Sir or Madam", "letter.txt", "text/plain").await;
    let contents = content("output", &output);
    bob.gql(DECIDE, json!({"in": {"id": review, "decision": "APPROVE", "contents": contents}})).await;
    let job_now = ada.job(&job, "status outputContent { document { id } }").await;
    assert_eq!(job_now, json!({"status": "COMPLETED", "outputContent": {"document": {"id": output}}}));
    assert_eq!(last_event(&ada, &job, "REVIEW_DECIDED").await["actor"]["id"], bob.id());
}

both!(owner_cannot_bypass_four_eyes_as_admin_or_member);
async fn owner_cannot_bypass_four_eyes_as_admin_or_member(app: TestApp) {
    let (root, bob) = (app.admin("root").await, app.user("bob").await);
    register_letter_type(&root).await;
    // The owner is an admin, and a member of the team with access to the step.
    let team = root.team("approvers", &[&bob]).await;
    let share = json!([{"collaborator": {"teamId": team}}, {"collaborator": {"userId": root.id()}}]);
    let job = root.create_job(json!({"type": "letter", "collaboration": share})).await;
    let (review, _) = open_review(&root, &job).await;
    claim(&root, &review).await;
    root.gql(DECIDE, json!({"in": {"id": review, "decision": "APPROVE"}})).await;
    let (review, _) = open_review(&root, &job).await;
    let approve = json!({"in": {"id": review, "decision": "APPROVE"}});
    assert_eq!(root.gql_err(CLAIM, json!({"id": review})).await.code(), "FORBIDDEN");
    claim(&bob, &review).await;
    assert_ne!(root.gql_err(DECIDE, approve.clone()).await.code(), "INTERNAL_SERVER_ERROR");
    root.gql(super::RELEASE, json!({"id": review})).await;
    assert_eq!(root.gql_err(CLAIM, json!({"id": review})).await.code(), "FORBIDDEN");
    let queue = "{ reviews { nodes { id } totalCount } }";
    let empty = json!({"reviews": {"nodes": [], "totalCount": 0}});
    assert_eq!(root.gql(queue, json!({})).await, empty, "the owner may not review the step");
    // A new version of the type without four eyes does not change existing jobs.
    let steps = json!([{"name": "write"}, {"name": "approve", "fourEyes": false}]);
    let input = json!({"id": "letter", "name": "Letter", "description": "d", "accepts": [], "steps": steps});
    root.gql(REGISTER, json!({"in": input})).await;
    assert_eq!(root.gql_err(CLAIM, json!({"id": review})).await.code(), "FORBIDDEN");
    claim(&bob, &review).await;
    bob.gql(DECIDE, approve).await;
    assert_eq!(root.status(&job).await, "COMPLETED");
}

both!(job_types_are_validated_and_get_versions);
async fn job_types_are_validated_and_get_versions(app: TestApp) {
    let (root, ada) = (app.admin("root").await, app.user("ada").await);
    let input = |changes: Value| {
        let mut input = json!({"id": "scan", "name": "Scan", "description": "d", "accepts": ["image/png"], "steps": [{"name": "look"}]});
        input.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        json!({"in": input})
    };
    assert_eq!(ada.gql_err(REGISTER, input(json!({}))).await.code(), "FORBIDDEN");
    for (more, paths) in [
        (json!({"id": "no spaces"}), vec!["/id"]),
        (json!({"id": "data-point-extraction"}), vec!["/id"]),
        (json!({"steps": []}), vec!["/steps"]),
        (
            json!({"steps": [{"name": "a"}, {"name": "a", "maxAttempts": 0, "timeoutSeconds": -1}]}),
            vec!["/steps/1/maxAttempts", "/steps/1/name", "/steps/1/timeoutSeconds"],
        ),
        (json!({"accepts": ["anything"]}), vec!["/accepts/0"]),
        (json!({"metadataSchema": {"type": "dance"}}), vec!["/metadataSchema"]),
    ] {
        let refused = root.gql_err(REGISTER, input(more.clone())).await;
        let found: Vec<_> = refused.problems().into_iter().map(|(path, _)| path).collect();
        assert_eq!(found, paths, "{more}");
    }
    let registered = async |more: Value| {
        root.gql(REGISTER, input(more)).await["registerJobType"]["jobType"]["version"].clone()
    };
    assert_eq!(registered(json!({})).await, 1);
    assert_eq!(registered(json!({})).await, 1, "an unchanged job type gets no new version");
    let document = ada.upload(*b"\x89PNG\r\n\x1a\n0000", "a.png", "image/png").await;
    let job = ada.create_job(json!({"type": "scan", "input": {"documentId": document}})).await;
    assert_eq!(registered(json!({"steps": [{"name": "look"}, {"name": "think"}]})).await, 2);
    let job = ada.job(&job, "type { version steps { name } } steps { name }").await;
    assert_eq!(
        job["type"],
        json!({"version": 1, "steps": [{"name": "look"}]}),
        "the job keeps its version of the type"
    );
}
