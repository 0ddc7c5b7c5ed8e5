//! Tests of the review queue and its subscription.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{BlockedJob, DECIDE, claim};
use crate::harness::{TestApp, both};

const QUEUE: &str = "query($filter: ReviewFilter, $first: Int, $after: String) {
    reviews(filter: $filter, first: $first, after: $after) {
        nodes { id } totalCount pageInfo { hasNextPage endCursor } } }";

fn ids(data: &Value) -> Vec<&str> {
    data["reviews"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect()
}

both!(queue_lists_permitted_reviews_oldest_first);
async fn queue_lists_permitted_reviews_oldest_first(app: TestApp) {
    let (ada, bob, eve, root) =
        (app.user("ada").await, app.user("bob").await, app.user("eve").await, app.admin("root").await);
    let to_bob = |steps: Value| json!([{"collaborator": {"userId": bob.id()}, "steps": steps}]);
    let mut reviews = Vec::new();
    for steps in [json!(["mapping"]), json!(["*"]), json!(["zoning"]), json!(["mapping", "zoning"])] {
        reviews.push(BlockedJob::create(&app, &ada, to_bob(steps)).await);
        app.clock.advance(TimeDelta::seconds(1));
    }
    let id = |i: usize| reviews[i].review.as_str();
    let all = ada.gql(QUEUE, json!({})).await;
    assert_eq!(ids(&all), [id(0), id(1), id(2), id(3)]);
    assert_eq!(ids(&root.gql(QUEUE, json!({})).await), [id(0), id(1), id(2), id(3)]);
    assert_eq!(ids(&eve.gql(QUEUE, json!({})).await), Vec::<&str>::new());
    let bobs = bob.gql(QUEUE, json!({})).await;
    assert_eq!((ids(&bobs), &bobs["reviews"]["totalCount"]), (vec![id(0), id(1), id(3)], &json!(3)));

    let first = bob.gql(QUEUE, json!({"first": 2})).await;
    assert_eq!(ids(&first), [id(0), id(1)]);
    let cursor = &first["reviews"]["pageInfo"]["endCursor"];
    let rest = bob.gql(QUEUE, json!({"first": 2, "after": cursor})).await;
    assert_eq!((ids(&rest), &rest["reviews"]["pageInfo"]["hasNextPage"]), (vec![id(3)], &json!(false)));

    claim(&bob, id(1)).await;
    let filtered = async |filter: Value| {
        let data = bob.gql(QUEUE, json!({"filter": filter})).await;
        ids(&data).into_iter().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(filtered(json!({"claimedByMe": true})).await, [id(1)]);
    assert_eq!(filtered(json!({"claimedByMe": false})).await, [id(0), id(3)]);
    assert_eq!(filtered(json!({"status": ["CLAIMED"]})).await, [id(1)]);
    assert_eq!(filtered(json!({"step": ["zoning"]})).await, Vec::<String>::new());
    assert_eq!(filtered(json!({"type": ["indexing"]})).await, Vec::<String>::new());
    bob.gql(DECIDE, reviews[1].decision("APPROVE", &json!({}))).await;
    assert_eq!(filtered(json!({})).await, [id(0), id(3)], "decided reviews are not in the queue");
    assert_eq!(filtered(json!({"status": ["APPROVED"]})).await, [id(1)]);
}

both!(subscription_sends_only_permitted_reviews_of_the_filter);
async fn subscription_sends_only_permitted_reviews_of_the_filter(app: TestApp) {
    let (ada, bob, eve) = (app.user("ada").await, app.user("bob").await, app.user("eve").await);
    let query =
        "subscription($filter: ReviewFilter) { reviewsUpdated(filter: $filter) { id status job { id } } }";
    let mut all = bob.subscribe(query, json!({})).await;
    let mut open = bob.subscribe(query, json!({"filter": {"status": ["OPEN"]}})).await;
    let mut none = eve.subscribe(query, json!({})).await;
    let ready = async || app.changes.subscribers() == 3;
    app.wait_until("three subscribers are connected", ready).await;
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": ["mapping"]}]);
    let first = BlockedJob::create(&app, &ada, share.clone()).await;
    let seen = |review: &BlockedJob, status: &str| json!({"reviewsUpdated": {"id": review.review, "status": status, "job": {"id": review.job}}});
    assert_eq!(all.next().await, seen(&first, "OPEN"));
    assert_eq!(open.next().await, seen(&first, "OPEN"));
    claim(&bob, &first.review).await;
    assert_eq!(all.next().await, seen(&first, "CLAIMED"));
    bob.gql(DECIDE, first.decision("APPROVE", &json!({}))).await;
    assert_eq!(all.next().await, seen(&first, "APPROVED"));
    let second = BlockedJob::create(&app, &ada, share).await;
    assert_eq!(
        open.next().await,
        seen(&second, "OPEN"),
        "claimed and decided reviews do not match the filter"
    );
    let permitted = BlockedJob::create(&app, &ada, json!([{"collaborator": {"userId": eve.id()}}])).await;
    assert_eq!(none.next().await, seen(&permitted, "OPEN"), "reviews of other users are not sent to her");
}
