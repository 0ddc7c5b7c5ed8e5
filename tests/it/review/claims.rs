//! Tests of claims: a review has one claimant at a time, for some minutes.

use chrono::TimeDelta;
use docket::entity::job;
use docket::review;
use reqwest::Method;
use serde_json::{Value, json};

use super::{BlockedJob, CLAIM, DECIDE, DRAFT, RELEASE, claim, job_state, last_event};
use crate::harness::{TestApp, both};

both!(one_of_many_concurrent_claims_succeeds);
async fn one_of_many_concurrent_claims_succeeds(app: TestApp) {
    let ada = app.user("ada").await;
    let mut users = Vec::new();
    for i in 0..50 {
        users.push(app.user(&format!("reviewer{i}")).await);
    }
    ada.team("reviewers", &users.iter().collect::<Vec<_>>()).await;
    let share = json!([{"collaborator": {"teamName": "reviewers"}, "steps": ["mapping"]}]);
    let blocked = BlockedJob::create(&app, &ada, share).await;

    let mut claims = tokio::task::JoinSet::new();
    for user in users {
        let review = blocked.review.clone();
        claims.spawn(async move { (user.id(), user.try_gql(CLAIM, json!({"id": review})).await) });
    }
    let responses = claims.join_all().await;
    let winners: Vec<_> =
        responses.iter().filter(|(_, response)| response.is_ok()).map(|(id, _)| id).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    for (_, response) in responses.iter().filter(|(id, _)| id != winners[0]) {
        let error = response.as_ref().expect_err("another user has the claim");
        assert_eq!(error.code(), "CONFLICT");
        assert_eq!(error.extensions["claimedBy"]["id"], winners[0].as_str());
    }
    let claimed = last_event(&ada, &blocked.job, "REVIEW_CLAIMED").await;
    assert_eq!(claimed["actor"]["id"], winners[0].as_str());
}

both!(claim_expires_unless_a_draft_renews_it);
async fn claim_expires_unless_a_draft_renews_it(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": ["*"]}]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    let draft = json!([{"op": "replace", "path": "/data_points/0/value", "value": "8"}]);

    let by_bob = claim(&bob, &blocked.review).await;
    assert_eq!((&by_bob["status"], &by_bob["claimedBy"]["id"]), (&json!("CLAIMED"), &json!(bob.id())));
    app.clock.advance(TimeDelta::minutes(14));
    let saved = bob.gql(DRAFT, json!({"in": {"id": blocked.review, "patch": draft}})).await;
    let saved = &saved["saveReviewDraft"]["review"];
    assert_eq!(saved["draft"], draft);
    assert!(saved["claimExpiresAt"].as_str() > by_bob["claimExpiresAt"].as_str());

    app.clock.advance(TimeDelta::minutes(14));
    assert_eq!(review::claim::expire(&app.jobs, 10).await, Ok(0), "the draft renewed the claim");
    assert_eq!(ada.gql_err(CLAIM, json!({"id": blocked.review})).await.code(), "CONFLICT");
    app.clock.advance(TimeDelta::minutes(2));
    let late = bob.gql_err(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
    assert_eq!(late.code(), "CONFLICT", "{late:?}");
    assert_eq!(review::claim::expire(&app.jobs, 10).await, Ok(1));
    let released = last_event(&ada, &blocked.job, "REVIEW_RELEASED").await;
    assert_eq!((&released["data"]["reason"], &released["actor"]), (&json!("EXPIRED"), &Value::Null));
    assert_eq!(released["data"]["claimedBy"], bob.id());

    claim(&ada, &blocked.review).await;
    let job = ada.job(&blocked.job, "review { draft }").await;
    assert_eq!(job["review"]["draft"], draft, "the next reviewer continues the draft");
}

both!(expired_claim_can_be_replaced_before_the_reaper_runs);
async fn expired_claim_can_be_replaced_before_the_reaper_runs(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}}]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    claim(&bob, &blocked.review).await;
    app.clock.advance(TimeDelta::minutes(15));
    claim(&ada, &blocked.review).await;
    assert_eq!(last_event(&ada, &blocked.job, "REVIEW_RELEASED").await["data"]["reason"], "EXPIRED");
}

both!(only_claimant_or_admin_can_release_a_claim);
async fn only_claimant_or_admin_can_release_a_claim(app: TestApp) {
    let (ada, bob, root) = (app.user("ada").await, app.user("bob").await, app.admin("root").await);
    let share = json!([{"collaborator": {"userId": bob.id()}}]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    claim(&bob, &blocked.review).await;
    let before = job_state(&ada, &blocked.job).await;
    for (query, variables) in [
        (RELEASE, json!({"id": blocked.review})),
        (DRAFT, json!({"in": {"id": blocked.review, "patch": []}})),
        (DECIDE, blocked.decision("APPROVE", &json!({}))),
    ] {
        let refused = ada.gql_err(query, variables).await;
        assert!(["FORBIDDEN", "CONFLICT"].contains(&refused.code()), "{refused:?}");
    }
    assert_eq!(job_state(&ada, &blocked.job).await, before);

    root.gql(RELEASE, json!({"id": blocked.review})).await;
    let released = last_event(&ada, &blocked.job, "REVIEW_RELEASED").await;
    assert_eq!(
        (&released["data"]["reason"], &released["actor"]["id"]),
        (&json!("BY_ADMIN"), &json!(root.id()))
    );
    claim(&ada, &blocked.review).await;
    let free = ada.gql(RELEASE, json!({"id": blocked.review})).await;
    assert_eq!(free["releaseReview"]["review"], json!({"status": "OPEN", "claimedBy": null}));
    let again = ada.gql(RELEASE, json!({"id": blocked.review})).await;
    assert_eq!(
        again["releaseReview"]["review"]["status"], "OPEN",
        "releasing an unclaimed review changes nothing"
    );
}

both!(expired_claim_of_another_user_is_not_held);
async fn expired_claim_of_another_user_is_not_held(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}}]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    claim(&bob, &blocked.review).await;
    let patch = json!({"patch": [{"op": "replace", "path": "/data_points/0/value", "value": "8"}]});
    let correction = blocked.decision("APPROVE", &patch);
    let held = ada.gql_err(DECIDE, correction.clone()).await;
    assert_eq!(held.extensions["claimedBy"]["id"], bob.id());
    app.clock.advance(TimeDelta::minutes(15));
    let before = job_state(&ada, &blocked.job).await;
    for person in [&ada, &bob] {
        person.gql(RELEASE, json!({"id": blocked.review})).await;
    }
    assert_eq!(job_state(&ada, &blocked.job).await, before, "releasing an unclaimed review changes nothing");
    for person in [&ada, &bob] {
        let free = person.gql_err(DECIDE, correction.clone()).await;
        assert_eq!((free.code(), free.extensions.get("claimedBy")), ("CONFLICT", None));
        let path = format!("/v1.1/jobs/{}/contents/mapping-json", blocked.job);
        let replaced = person.request(Method::PUT, &path).body("{}").send().await.expect("a response");
        assert_eq!(replaced.status(), 409);
        let body: Value = replaced.json().await.expect("JSON");
        assert_eq!(
            (&body["response"]["code"], &body["response"]["claimed_by"]),
            (&json!("CONFLICT"), &json!(null))
        );
    }
}

both!(unreadable_job_does_not_keep_other_claims_from_being_released);
async fn unreadable_job_does_not_keep_other_claims_from_being_released(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("reviewers", &[&bob]).await;
    let mut blocked = Vec::new();
    for _ in 0..3 {
        let share = json!([{"collaborator": {"teamId": team}, "steps": ["mapping"]}]);
        blocked.push(BlockedJob::create(&app, &ada, share).await);
    }
    for BlockedJob { review, .. } in &blocked {
        claim(&bob, review).await;
    }
    app.overwrite_job(&blocked[1].job, job::Column::Steps, "'{}'").await;
    let remove = "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { id } } }";
    ada.gql(remove, json!({"in": {"teamId": team, "userId": bob.id()}})).await;
    for BlockedJob { job, .. } in [&blocked[0], &blocked[2]] {
        assert_eq!(ada.job(job, "review { status }").await["review"]["status"], "OPEN");
    }
}

both!(claim_ends_when_the_claimant_loses_access);
async fn claim_ends_when_the_claimant_loses_access(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let team = cyd.team("reviewers", &[&bob]).await;
    let share = json!([
        {"collaborator": {"teamId": team}, "steps": ["mapping"]},
        {"collaborator": {"userId": cyd.id()}, "steps": ["mapping"]}
    ]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    let remove_member = "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { id } } }";
    claim(&bob, &blocked.review).await;
    cyd.gql(remove_member, json!({"in": {"teamId": team, "userId": bob.id()}})).await;
    assert_eq!(last_event(&ada, &blocked.job, "REVIEW_RELEASED").await["data"]["reason"], "ACCESS_LOST");

    claim(&cyd, &blocked.review).await;
    let add = "mutation($in: AddCollaboratorInput!) { addCollaborator(input: $in) { job { id } } }";
    let other =
        json!({"in": {"jobId": blocked.job, "collaborator": {"userId": cyd.id()}, "steps": ["zoning"]}});
    ada.gql(add, other).await;
    assert_eq!(
        ada.job(&blocked.job, "review { claimedBy { id } }").await["review"]["claimedBy"]["id"],
        cyd.id(),
        "she still has access through the team"
    );
    let remove = "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { id } } }";
    ada.gql(remove, json!({"in": {"jobId": blocked.job, "collaborator": {"teamId": team}}})).await;
    let job = ada.job(&blocked.job, "review { status claimedBy { id } }").await;
    assert_eq!(job["review"], json!({"status": "OPEN", "claimedBy": null}));
}
