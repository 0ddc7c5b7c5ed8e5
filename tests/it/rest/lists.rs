//! Lists of jobs: filters, pages, and what a page costs.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ask, create, get, text};
use crate::harness::{TestApp, User, both};

async fn ids(person: &User, query: &str) -> Vec<String> {
    let page = get(person, &format!("/jobs?{query}")).await;
    assert_eq!(page.status, 200, "{query}: {}", page.body);
    page.body["jobs"].as_array().expect("a list").iter().map(|job| text(&job["id"])).collect()
}

both!(jobs_are_filtered);
async fn jobs_are_filtered(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("reviewers", &[]).await;
    let first = create(&ada, json!({"customer": 7, "order.number": "x"})).await;
    let second =
        create(&ada, json!({"customer": "7", "collaboration": {"teams": [{"name": "reviewers"}]}})).await;
    let theirs = create(&bob, json!({"collaboration": {"users": [{"email": ada.email()}]}})).await;
    ask(&ada, Method::POST, &format!("/jobs/{first}/cancel"), json!({})).await;
    let at = text(&get(&ada, &format!("/jobs/{second}")).await.body["created_at"]);
    for (query, expected) in [
        ("", vec![&theirs, &second, &first]),
        ("direction=asc", vec![&first, &second, &theirs]),
        ("order_by=updated_at", vec![&first, &theirs, &second]),
        ("status=CANCELLED", vec![&first]),
        ("status=CANCELLED&status=QUEUED&owner=ME", vec![&second, &first]),
        ("owner=SHARED_WITH_ME", vec![&theirs]),
        ("type=indexing", vec![]),
        ("type=indexing&type=noop&owner=ME", vec![&second, &first]),
        ("metadata.customer=7", vec![&first]),
        ("metadata.customer=%227%22", vec![&second]),
        ("metadata.order.number=x", vec![&first]),
        ("input_name=A.TX&owner=SHARED_WITH_ME", vec![&theirs]),
        (&*format!("team_id={team}"), vec![&second]),
        (&*format!("created_after={at}"), vec![&theirs]),
        (&*format!("created_before={at}"), vec![&first]),
        (&*format!("updated_after={at}&owner=ME"), vec![&first]),
    ] {
        assert_eq!(ids(&ada, query).await.iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

both!(pages_go_on_where_the_one_before_ended, |config| config.limits.page_size = 3);
async fn pages_go_on_where_the_one_before_ended(app: TestApp) {
    let ada = app.user("ada").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(create(&ada, json!({})).await);
    }
    made.reverse();
    let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
    for _ in 0..3 {
        let page = get(&ada, &format!("/jobs?{query}")).await.body;
        seen.extend(page["jobs"].as_array().expect("a list").iter().map(|job| text(&job["id"])));
        match &page["next"] {
            Value::Null => break,
            next => query = format!("first=2&after={}", text(next)),
        }
        // Another one does not move those that follow.
        create(&ada, json!({})).await;
    }
    assert_eq!(seen, made);
    assert_eq!(ids(&ada, "").await.len(), 3, "the largest page is the usual one where it is smaller");
    for (query, path) in [("limit=4", "/limit"), ("first=0", "/first"), ("after=x", "/after")] {
        let said = get(&ada, &format!("/jobs?{query}")).await;
        assert_eq!((said.status.as_u16(), &*said.problems()[0].0), (400, path), "{query}");
    }
}

both!(parameters_that_are_wrong_are_all_said);
async fn parameters_that_are_wrong_are_all_said(app: TestApp) {
    let ada = app.user("ada").await;
    for (query, expected) in [
        (
            "status=DONE&limit=many&colour=red",
            vec![("/status", "INVALID"), ("/limit", "INVALID"), ("/colour", "UNKNOWN_PARAMETER")],
        ),
        ("metadata.a%22b=1", vec![("/metadata.a\"b", "INVALID")]),
        ("input_name=%00", vec![("", "INVALID")]),
        ("metadata.a=%22%5Cu0000%22", vec![("/metadata.a", "INVALID")]),
        (&*"type=a&".repeat(101), vec![("", "TOO_MANY")]),
    ] {
        let said = get(&ada, &format!("/jobs?{query}")).await;
        let expected: Vec<_> =
            expected.into_iter().map(|(path, code)| (path.to_owned(), code.to_owned())).collect();
        assert_eq!((said.status.as_u16(), said.problems()), (400, expected), "{query}");
    }
}

both!(a_page_costs_the_same_whatever_its_length);
async fn a_page_costs_the_same_whatever_its_length(app: TestApp) {
    let (ada, bob, worker) = (app.user("ada").await, app.user("bob").await, app.worker());
    ada.team("reviewers", &[&bob]).await;
    for _ in 0..12 {
        let collaboration = json!({"teams": [{"name": "reviewers", "steps": ["first"]}], "users": [{"email": bob.email(), "steps": ["third"]}]});
        create(&ada, json!({"collaboration": collaboration})).await;
        worker.finish_one().await;
    }
    for person in [&ada, &bob] {
        // What is read once and kept is read here.
        get(person, "/jobs?limit=12").await;
        let mut costs = Vec::new();
        for limit in [3, 12] {
            let (page, cost) = app.count_statements(get(person, &format!("/jobs?limit={limit}"))).await;
            assert_eq!(page.body["jobs"].as_array().map(Vec::len), Some(limit));
            costs.push(cost);
        }
        assert_eq!(costs[0], costs[1], "{}: with 3 and with 12 jobs", person.name);
        assert!(costs[0] <= 12, "{}: {costs:?}", person.name);
    }
    let id = ids(&ada, "limit=1").await.remove(0);
    let etag = get(&ada, &format!("/jobs/{id}")).await.header("etag").to_owned();
    let poll = ada.request(Method::GET, &format!("/v1.1/jobs/{id}")).header("If-None-Match", etag);
    let (answer, cost) = app.count_statements(poll.send()).await;
    assert_eq!(answer.expect("an answer").status(), 304);
    assert!(cost <= 4, "a poll that finds nothing new costs {cost} statements");
}
