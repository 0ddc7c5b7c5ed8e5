//! Tests of job lists over REST: filters, pages, and database statements per page.

use reqwest::Method;
use serde_json::{Value, json};

use super::{create_job, get, send_json, text};
use crate::harness::{TestApp, User, both};

async fn ids(user: &User, query: &str) -> Vec<String> {
    let page = get(user, &format!("/jobs?{query}")).await;
    assert_eq!(page.status, 200, "{query}: {}", page.body);
    page.body["jobs"].as_array().expect("a list").iter().map(|job| text(&job["id"])).collect()
}

both!(job_list_returns_only_jobs_that_match_filters);
async fn job_list_returns_only_jobs_that_match_filters(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("reviewers", &[]).await;
    let first = create_job(&ada, json!({"customer": 7, "order.number": "x"})).await;
    let second =
        create_job(&ada, json!({"customer": "7", "collaboration": {"teams": [{"name": "reviewers"}]}})).await;
    let shared = create_job(&bob, json!({"collaboration": {"users": [{"email": ada.email()}]}})).await;
    send_json(&ada, Method::POST, &format!("/jobs/{first}/cancel"), json!({})).await;
    let at = text(&get(&ada, &format!("/jobs/{second}")).await.body["created_at"]);
    for (query, expected) in [
        ("", vec![&shared, &second, &first]),
        ("direction=asc", vec![&first, &second, &shared]),
        ("order_by=updated_at", vec![&first, &shared, &second]),
        ("status=CANCELLED", vec![&first]),
        ("status=CANCELLED&status=QUEUED&owner=ME", vec![&second, &first]),
        ("owner=SHARED_WITH_ME", vec![&shared]),
        ("type=indexing", vec![]),
        ("type=indexing&type=noop&owner=ME", vec![&second, &first]),
        ("metadata.customer=7", vec![&first]),
        ("metadata.customer=%227%22", vec![&second]),
        ("metadata.order.number=x", vec![&first]),
        ("input_name=A.TX&owner=SHARED_WITH_ME", vec![&shared]),
        (&*format!("team_id={team}"), vec![&second]),
        (&*format!("created_after={at}"), vec![&shared]),
        (&*format!("created_before={at}"), vec![&first]),
        (&*format!("updated_after={at}&owner=ME"), vec![&first]),
    ] {
        assert_eq!(ids(&ada, query).await.iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

both!(next_page_continues_after_the_previous_page, |config| config.limits.page_size = 3);
async fn next_page_continues_after_the_previous_page(app: TestApp) {
    let ada = app.user("ada").await;
    let mut created = Vec::new();
    for _ in 0..5 {
        created.push(create_job(&ada, json!({})).await);
    }
    created.reverse();
    let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
    for _ in 0..3 {
        let page = get(&ada, &format!("/jobs?{query}")).await.body;
        seen.extend(page["jobs"].as_array().expect("a list").iter().map(|job| text(&job["id"])));
        match &page["next"] {
            Value::Null => break,
            next => query = format!("first=2&after={}", text(next)),
        }
        // A new job does not move the following pages.
        create_job(&ada, json!({})).await;
    }
    assert_eq!(seen, created);
    assert_eq!(ids(&ada, "").await.len(), 3, "a smaller maximum is also the default page size");
    for (query, path) in [("limit=4", "/limit"), ("first=0", "/first"), ("after=x", "/after")] {
        let response = get(&ada, &format!("/jobs?{query}")).await;
        assert_eq!((response.status.as_u16(), &*response.problems()[0].0), (400, path), "{query}");
    }
}

both!(all_invalid_parameters_are_reported_at_once);
async fn all_invalid_parameters_are_reported_at_once(app: TestApp) {
    let ada = app.user("ada").await;
    for (query, expected) in [
        (
            "status=DONE&limit=many&color=red",
            vec![("/status", "INVALID"), ("/limit", "INVALID"), ("/color", "UNKNOWN_PARAMETER")],
        ),
        ("metadata.a%22b=1", vec![("/metadata.a\"b", "INVALID")]),
        ("input_name=%00", vec![("", "INVALID")]),
        ("metadata.a=%22%5Cu0000%22", vec![("/metadata.a", "INVALID")]),
        (&*"type=a&".repeat(101), vec![("", "TOO_MANY")]),
    ] {
        let response = get(&ada, &format!("/jobs?{query}")).await;
        let expected: Vec<_> =
            expected.into_iter().map(|(path, code)| (path.to_owned(), code.to_owned())).collect();
        assert_eq!((response.status.as_u16(), response.problems()), (400, expected), "{query}");
    }
}

both!(statements_per_page_do_not_depend_on_its_length);
async fn statements_per_page_do_not_depend_on_its_length(app: TestApp) {
    let (ada, bob, worker) = (app.user("ada").await, app.user("bob").await, app.worker());
    ada.team("reviewers", &[&bob]).await;
    for _ in 0..12 {
        let collaboration = json!({"teams": [{"name": "reviewers", "steps": ["first"]}], "users": [{"email": bob.email(), "steps": ["third"]}]});
        create_job(&ada, json!({"collaboration": collaboration})).await;
        worker.finish_one().await;
    }
    for user in [&ada, &bob] {
        // This request fills the caches.
        get(user, "/jobs?limit=12").await;
        let mut costs = Vec::new();
        for limit in [3, 12] {
            let (page, cost) = app.count_statements(get(user, &format!("/jobs?limit={limit}"))).await;
            assert_eq!(page.body["jobs"].as_array().map(Vec::len), Some(limit));
            costs.push(cost);
        }
        assert_eq!(costs[0], costs[1], "{}: with 3 and with 12 jobs", user.name);
        assert!(costs[0] <= 12, "{}: {costs:?}", user.name);
    }
    let id = ids(&ada, "limit=1").await.remove(0);
    let etag = get(&ada, &format!("/jobs/{id}")).await.header("etag").to_owned();
    let poll = ada.request(Method::GET, &format!("/v1.1/jobs/{id}")).header("If-None-Match", etag);
    let (response, cost) = app.count_statements(poll.send()).await;
    assert_eq!(response.expect("a response").status(), 304);
    assert!(cost <= 4, "a poll without changes runs {cost} statements");
}
