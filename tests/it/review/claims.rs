//! One claimant at a time, for some minutes.

use chrono::TimeDelta;
use docket::review;
use serde_json::{Value, json};

use super::{Blocked, CLAIM, DECIDE, DRAFT, RELEASE, claim, everything, last};
use crate::harness::{TestApp, both};

both!(of_many_who_claim_at_once_one_wins_and_the_others_hear_who);
async fn of_many_who_claim_at_once_one_wins_and_the_others_hear_who(app: TestApp) {
    let ada = app.user("ada").await;
    let mut people = Vec::new();
    for i in 0..50 {
        people.push(app.user(&format!("reviewer{i}")).await);
    }
    ada.team("reviewers", &people.iter().collect::<Vec<_>>()).await;
    let share = json!([{"collaborator": {"teamName": "reviewers"}, "steps": ["mapping"]}]);
    let blocked = Blocked::of(&app, &ada, share).await;

    let mut claims = tokio::task::JoinSet::new();
    for person in people {
        let review = blocked.review.clone();
        claims.spawn(async move { (person.id(), person.try_gql(CLAIM, json!({"id": review})).await) });
    }
    let answers = claims.join_all().await;
    let winners: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(id, _)| id).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    for (_, answer) in answers.iter().filter(|(id, _)| id != winners[0]) {
        let error = answer.as_ref().expect_err("somebody else has it");
        assert_eq!(error.code(), "CONFLICT");
        assert_eq!(error.extensions["claimedBy"]["id"], winners[0].as_str());
    }
    let claimed = last(&ada, &blocked.job, "REVIEW_CLAIMED").await;
    assert_eq!(claimed["actor"]["id"], winners[0].as_str());
}

both!(a_claim_ends_with_its_time_and_drafts_renew_it);
async fn a_claim_ends_with_its_time_and_drafts_renew_it(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": ["*"]}]);
    let blocked = Blocked::of(&app, &ada, share).await;
    let draft = json!([{"op": "replace", "path": "/data_points/0/value", "value": "8"}]);

    let by_bob = claim(&bob, &blocked.review).await;
    assert_eq!((&by_bob["status"], &by_bob["claimedBy"]["id"]), (&json!("CLAIMED"), &json!(bob.id())));
    app.clock.advance(TimeDelta::minutes(14));
    let saved = bob.gql(DRAFT, json!({"in": {"id": blocked.review, "patch": draft}})).await;
    let saved = &saved["saveReviewDraft"]["review"];
    assert_eq!(saved["draft"], draft);
    assert!(saved["claimExpiresAt"].as_str() > by_bob["claimExpiresAt"].as_str());

    app.clock.advance(TimeDelta::minutes(14));
    assert_eq!(review::claim::expire(&app.jobs, 10).await, Ok(0), "it was renewed");
    assert_eq!(ada.refused(CLAIM, json!({"id": blocked.review})).await.code(), "CONFLICT");
    app.clock.advance(TimeDelta::minutes(2));
    let late = bob.refused(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
    assert_eq!(late.code(), "CONFLICT", "{late:?}");
    assert_eq!(review::claim::expire(&app.jobs, 10).await, Ok(1));
    let released = last(&ada, &blocked.job, "REVIEW_RELEASED").await;
    assert_eq!((&released["data"]["reason"], &released["actor"]), (&json!("EXPIRED"), &Value::Null));
    assert_eq!(released["data"]["claimedBy"], bob.id());

    claim(&ada, &blocked.review).await;
    let job = ada.job(&blocked.job, "review { draft }").await;
    assert_eq!(job["review"]["draft"], draft, "the next one goes on where the last one stopped");
}

both!(claims_that_ran_out_are_taken_over_without_the_sweeper);
async fn claims_that_ran_out_are_taken_over_without_the_sweeper(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}}]);
    let blocked = Blocked::of(&app, &ada, share).await;
    claim(&bob, &blocked.review).await;
    app.clock.advance(TimeDelta::minutes(15));
    claim(&ada, &blocked.review).await;
    assert_eq!(last(&ada, &blocked.job, "REVIEW_RELEASED").await["data"]["reason"], "EXPIRED");
}

both!(only_the_claimant_or_an_admin_lets_go);
async fn only_the_claimant_or_an_admin_lets_go(app: TestApp) {
    let (ada, bob, root) = (app.user("ada").await, app.user("bob").await, app.admin("root").await);
    let share = json!([{"collaborator": {"userId": bob.id()}}]);
    let blocked = Blocked::of(&app, &ada, share).await;
    claim(&bob, &blocked.review).await;
    let before = everything(&ada, &blocked.job).await;
    for (query, variables) in [
        (RELEASE, json!({"id": blocked.review})),
        (DRAFT, json!({"in": {"id": blocked.review, "patch": []}})),
        (DECIDE, blocked.decision("APPROVE", &json!({}))),
    ] {
        let refused = ada.refused(query, variables).await;
        assert!(["FORBIDDEN", "CONFLICT"].contains(&refused.code()), "{refused:?}");
    }
    assert_eq!(everything(&ada, &blocked.job).await, before);

    root.gql(RELEASE, json!({"id": blocked.review})).await;
    let released = last(&ada, &blocked.job, "REVIEW_RELEASED").await;
    assert_eq!(
        (&released["data"]["reason"], &released["actor"]["id"]),
        (&json!("BY_ADMIN"), &json!(root.id()))
    );
    claim(&ada, &blocked.review).await;
    let free = ada.gql(RELEASE, json!({"id": blocked.review})).await;
    assert_eq!(free["releaseReview"]["review"], json!({"status": "OPEN", "claimedBy": null}));
    let again = ada.gql(RELEASE, json!({"id": blocked.review})).await;
    assert_eq!(again["releaseReview"]["review"]["status"], "OPEN", "nothing happens where nobody has it");
}

both!(whoever_loses_access_loses_the_claim);
async fn whoever_loses_access_loses_the_claim(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let team = cyd.team("reviewers", &[&bob]).await;
    let share = json!([
        {"collaborator": {"teamId": team}, "steps": ["mapping"]},
        {"collaborator": {"userId": cyd.id()}, "steps": ["mapping"]}
    ]);
    let blocked = Blocked::of(&app, &ada, share).await;
    let gone = "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { id } } }";
    claim(&bob, &blocked.review).await;
    cyd.gql(gone, json!({"in": {"teamId": team, "userId": bob.id()}})).await;
    assert_eq!(last(&ada, &blocked.job, "REVIEW_RELEASED").await["data"]["reason"], "ACCESS_LOST");

    claim(&cyd, &blocked.review).await;
    let change = "mutation($in: AddCollaboratorInput!) { addCollaborator(input: $in) { job { id } } }";
    let other =
        json!({"in": {"jobId": blocked.job, "collaborator": {"userId": cyd.id()}, "steps": ["zoning"]}});
    ada.gql(change, other).await;
    assert_eq!(
        ada.job(&blocked.job, "review { claimedBy { id } }").await["review"]["claimedBy"]["id"],
        cyd.id(),
        "the team still lets her in"
    );
    let out = "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { id } } }";
    ada.gql(out, json!({"in": {"jobId": blocked.job, "collaborator": {"teamId": team}}})).await;
    let job = ada.job(&blocked.job, "review { status claimedBy { id } }").await;
    assert_eq!(job["review"], json!({"status": "OPEN", "claimedBy": null}));
}
