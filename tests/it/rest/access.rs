//! Tests of access control in the REST API, which uses the same policy as GraphQL.

use reqwest::Method;
use serde_json::{Value, json};

use super::{create_job, get, send, send_json, text};
use crate::harness::{TestApp, User, both, job_id};

/// Returns the requests for a job, each with a valid body.
fn job_requests() -> [(Method, &'static str, Value); 7] {
    [
        (Method::GET, "", Value::Null),
        (Method::PUT, "", json!({"metadata": {"a": 1}})),
        (Method::PUT, "", json!({"collaboration": {"users": []}})),
        (Method::POST, "/cancel", json!({})),
        (Method::POST, "/rewind", json!({"to_step": "first"})),
        (Method::GET, "/contents/input/1", Value::Null),
        (Method::DELETE, "", Value::Null),
    ]
}

async fn status(user: &User, id: &str, (method, path, body): (Method, &str, Value)) -> u16 {
    let request = user.request(method, &format!("/v1.1/jobs/{id}{path}"));
    let request = if body.is_null() { request } else { request.json(&body) };
    request.send().await.expect("a response").status().as_u16()
}

both!(users_can_run_only_permitted_requests_on_a_job);
async fn users_can_run_only_permitted_requests_on_a_job(app: TestApp) {
    let (ada, all, one) = (app.user("ada").await, app.user("all").await, app.user("one").await);
    let (eve, admin) = (app.user("eve").await, app.admin("root").await);
    let share = json!({"users": [{"email": all.email()}, {"email": one.email(), "steps": ["first"]}]});
    for (user, expected) in [
        (&one, [200, 403, 403, 403, 403, 200, 403]),
        (&all, [200, 200, 403, 200, 200, 200, 403]),
        (&eve, [404; 7]),
        (&app.anonymous(), [401; 7]),
        (&ada, [200, 200, 200, 200, 200, 200, 200]),
        (&admin, [200, 200, 200, 200, 200, 200, 200]),
    ] {
        let id = create_job(&ada, json!({"collaboration": share})).await;
        for (call, expected) in job_requests().into_iter().zip(expected) {
            let name = format!("{}, {} {} {}", user.name, call.0, call.1, call.2);
            assert_eq!(status(user, &id, call).await, expected, "{name}");
        }
    }
    for id in ["x", "00000000-0000-7000-8000-000000000000", "a%2Fb", "%00"] {
        let found = status(&ada, id, (Method::GET, "", Value::Null)).await;
        assert!([400, 404].contains(&found), "{id}: {found}");
    }
}

both!(collaborator_with_one_step_sees_only_its_contents);
async fn collaborator_with_one_step_sees_only_its_contents(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let team = ada.team("reviewers", &[&bob]).await;
    ada.put_taxonomy("invoices").await;
    let collaboration = json!({
        "Teams": [{"Name": "reviewers", "Steps": ["mapping"]}],
        "users": [{"email": " CYD@example.com", "steps": ["text-extraction"]}],
    });
    let id = create_job(&ada, json!({"type": "data-point-extraction", "mapping.taxonomy": "invoices", "collaboration": collaboration})).await;
    app.worker().finish(job_id(&id)).await;
    let roles = async |user: &User| {
        let job = get(user, &format!("/jobs/{id}")).await.body;
        let mut roles: Vec<_> =
            job["contents"].as_array().expect("a list").iter().map(|c| text(&c["role"])).collect();
        roles.sort();
        (roles, job["output_content"].is_null())
    };
    assert_eq!(roles(&ada).await.0.len(), 7);
    let mapping = ["input", "mapping-json", "mapping-taxonomy-json"].map(str::to_owned).to_vec();
    assert_eq!(roles(&bob).await, (mapping, true), "the output belongs to another step");
    assert_eq!(roles(&cyd).await, (vec!["input".to_owned(), "text-json".to_owned()], true));
    for (user, role, expected) in [
        (&bob, "mapping-json", 200),
        (&bob, "text-json", 404),
        (&cyd, "text-json", 200),
        (&cyd, "output", 404),
        (&ada, "output", 200),
    ] {
        let call = (Method::GET, &*format!("/contents/{role}/latest"), Value::Null);
        assert_eq!(status(user, &id, call).await, expected, "{} {role}", user.name);
    }
    let seen = get(&bob, &format!("/jobs/{id}")).await;
    let expected = json!({
        "teams": [{"id": team, "name": "reviewers", "steps": ["mapping"]}],
        "users": [{"id": cyd.id(), "email": "cyd@example.com", "steps": ["text-extraction"]}],
    });
    assert_eq!(seen.body["collaboration"], expected);

    // A client can write the collaboration that it has read, but an ID and a name must belong to the same team.
    let written =
        send_json(&ada, Method::PUT, &format!("/jobs/{id}"), json!({"collaboration": expected})).await;
    assert_eq!((written.status.as_u16(), &written.body["collaboration"]), (200, &expected));
    for other in [
        json!({"teams": [{"id": team, "name": "others"}]}),
        json!({"users": [{"id": cyd.id(), "email": bob.email()}]}),
    ] {
        let refused =
            send_json(&ada, Method::PUT, &format!("/jobs/{id}"), json!({"collaboration": other})).await;
        assert_eq!(refused.status, 404, "{other}");
    }

    // A list replaces the complete list of its kind at once.
    let change = json!({"collaboration": {"teams": []}});
    let changed = send_json(&ada, Method::PUT, &format!("/jobs/{id}"), change).await;
    assert_eq!(changed.body["collaboration"]["users"].as_array().map(Vec::len), Some(1), "users stay");
    assert_eq!(get(&bob, &format!("/jobs/{id}")).await.status, 404);
    let change = json!({"collaboration": {"teams": [{"id": team, "steps": ["zoning"]}], "users": []}});
    send_json(&ada, Method::PUT, &format!("/jobs/{id}"), change).await;
    assert_eq!(get(&cyd, &format!("/jobs/{id}")).await.status, 404);
    let zoning = ["input", "zoning-json", "zoning-pagesmeta-json"].map(str::to_owned).to_vec();
    assert_eq!(roles(&bob).await.0, zoning);
    let history = ada.job(&id, "events(first: 100) { nodes { kind data } }").await;
    let history = history["events"]["nodes"].as_array().expect("events").iter();
    let recorded: Vec<_> = history
        .filter(|event| event["kind"] == "COLLABORATION_CHANGED")
        .map(|event| {
            format!("{} {}", text(&event["data"]["change"]), text(&event["data"]["collaborator"]["name"]))
        })
        .collect();
    let initial = ["ADDED reviewers", "ADDED cyd"];
    assert_eq!(recorded, [&initial[..], &["REMOVED reviewers", "REMOVED cyd", "ADDED reviewers"]].concat());
}

both!(update_with_one_invalid_part_changes_nothing);
async fn update_with_one_invalid_part_changes_nothing(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create_job(&ada, json!({})).await;
    let path = format!("/jobs/{id}");
    for (teams, status, problems) in [
        (json!([{"name": "unknown"}]), 404, vec![]),
        (
            json!([{"name": "unknown", "steps": ["x"]}]),
            400,
            vec!["/collaboration/teams/0", "/collaboration/teams/0/steps/0"],
        ),
        (json!([{"name": "a", "id": "b"}]), 404, vec![]),
        (json!([{}]), 400, vec!["/collaboration/teams/0"]),
        (json!([{"title": "a"}]), 400, vec!["/collaboration/teams/0/title"]),
        (json!("all"), 400, vec!["/collaboration/teams"]),
    ] {
        let change = json!({"metadata": {"a": 1}, "collaboration": {"teams": teams}});
        let response = send_json(&ada, Method::PUT, &path, change).await;
        let mut found: Vec<_> = response.problems().into_iter().map(|(path, _)| path).collect();
        found.sort();
        assert_eq!(
            (response.status.as_u16(), found),
            (status, problems.into_iter().map(str::to_owned).collect()),
            "{teams}"
        );
    }
    assert_eq!(get(&ada, &path).await.body["metadata"], json!({}));
}

both!(number_of_collaborators_per_job_is_limited, |config| config.limits.collaborators = 2);
async fn number_of_collaborators_per_job_is_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let people = [app.user("bob").await, app.user("cyd").await, app.user("dan").await];
    let id = create_job(&ada, json!({})).await;
    let users = |n: usize| people[..n].iter().map(|user| json!({"email": user.email()})).collect::<Vec<_>>();
    let put = async |collaboration: Value| {
        send_json(&ada, Method::PUT, &format!("/jobs/{id}"), json!({"collaboration": collaboration})).await
    };
    assert_eq!(
        put(json!({"users": users(3)})).await.problems(),
        [("/collaboration".into(), "TOO_MANY".into())]
    );
    assert_eq!(put(json!({"users": users(2)})).await.status, 200);
    ada.team("reviewers", &[]).await;
    let one_more = put(json!({"teams": [{"name": "reviewers"}]})).await;
    assert_eq!(
        one_more.problems(),
        [("/collaboration".into(), "TOO_MANY".into())],
        "the remaining users count too"
    );
    let update = json!({"collaboration": {"teams": [{"name": "reviewers"}]}, "metadata": {"a": 1}});
    assert_eq!(send_json(&ada, Method::PUT, &format!("/jobs/{id}"), update).await.status, 400);
    assert_eq!(
        ada.job(&id, "metadata").await["metadata"],
        json!({}),
        "a request is applied completely or not at all"
    );
    assert_eq!(put(json!({"teams": [{"name": "reviewers"}], "users": users(1)})).await.status, 200);
}

both!(rest_accepts_the_credentials_of_the_graphql_api);
async fn rest_accepts_the_credentials_of_the_graphql_api(app: TestApp) {
    let ada = app.user("ada").await;
    for (user, expected) in [
        (app.anonymous(), 401),
        (app.with_authorization("Bearer nonsense"), 401),
        (app.with_authorization("Digest x"), 401),
        (app.with_authorization(&format!("Basic {}", base64(&format!("{}:", ada.secret())))), 200),
    ] {
        let response = send(user.request(Method::GET, "/v1.1/jobs")).await;
        assert_eq!(response.status, expected);
        if expected == 401 {
            assert_eq!((response.code(), response.header("www-authenticate")), ("UNAUTHENTICATED", "Bearer"));
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}

both!(update_with_outdated_etag_is_refused);
async fn update_with_outdated_etag_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create_job(&ada, json!({})).await;
    let path = format!("/v1.1/jobs/{id}");
    let seen = ada.request(Method::GET, &path).send().await.expect("a response");
    let etag = seen.headers()["ETag"].to_str().expect("a tag").to_owned();
    let put = async |tag: &str, priority: i64| {
        let request = ada.request(Method::PUT, &path).header("If-Match", tag);
        request.json(&json!({"priority": priority})).send().await.expect("a response").status().as_u16()
    };
    assert_eq!(put("\"zzz\"", 1).await, 412);
    assert_eq!(put(&etag, 2).await, 200);
    assert_eq!(put(&etag, 3).await, 412, "the job has changed");
    assert_eq!(put("*", 4).await, 200);
    let seen: Value =
        ada.request(Method::GET, &path).send().await.expect("a response").json().await.expect("JSON");
    assert_eq!(seen["response"]["priority"], 4);
}
