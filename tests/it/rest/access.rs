//! Who may do what, by the same policy as everywhere.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ask, create, get, send, text};
use crate::harness::{TestApp, User, both, job_id};

/// The calls on a job, each with a body that is good.
fn calls() -> [(Method, &'static str, Value); 7] {
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

async fn status(person: &User, id: &str, (method, path, body): (Method, &str, Value)) -> u16 {
    let request = person.request(method, &format!("/v1.1/jobs/{id}{path}"));
    let request = if body.is_null() { request } else { request.json(&body) };
    request.send().await.expect("an answer").status().as_u16()
}

both!(what_somebody_may_do_with_a_job);
async fn what_somebody_may_do_with_a_job(app: TestApp) {
    let (ada, all, one) = (app.user("ada").await, app.user("all").await, app.user("one").await);
    let (eve, admin) = (app.user("eve").await, app.admin("root").await);
    let share = json!({"users": [{"email": all.email()}, {"email": one.email(), "steps": ["first"]}]});
    for (person, expected) in [
        (&one, [200, 403, 403, 403, 403, 200, 403]),
        (&all, [200, 200, 403, 200, 200, 200, 403]),
        (&eve, [404; 7]),
        (&app.anonymous(), [401; 7]),
        (&ada, [200, 200, 200, 200, 200, 200, 200]),
        (&admin, [200, 200, 200, 200, 200, 200, 200]),
    ] {
        let id = create(&ada, json!({"collaboration": share})).await;
        for (call, expected) in calls().into_iter().zip(expected) {
            let name = format!("{}, {} {} {}", person.name, call.0, call.1, call.2);
            assert_eq!(status(person, &id, call).await, expected, "{name}");
        }
    }
    for id in ["x", "00000000-0000-7000-8000-000000000000", "a%2Fb", "%00"] {
        let found = status(&ada, id, (Method::GET, "", Value::Null)).await;
        assert!([400, 404].contains(&found), "{id}: {found}");
    }
}

both!(a_collaborator_with_one_step_sees_that_one_only);
async fn a_collaborator_with_one_step_sees_that_one_only(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let team = ada.team("reviewers", &[&bob]).await;
    ada.put_taxonomy("invoices").await;
    let collaboration = json!({
        "Teams": [{"Name": "reviewers", "Steps": ["mapping"]}],
        "users": [{"email": " CYD@example.com", "steps": ["text-extraction"]}],
    });
    let id = create(&ada, json!({"type": "data-point-extraction", "mapping.taxonomy": "invoices", "collaboration": collaboration})).await;
    app.worker().finish(job_id(&id)).await;
    let roles = async |person: &User| {
        let job = get(person, &format!("/jobs/{id}")).await.body;
        let mut roles: Vec<_> =
            job["contents"].as_array().expect("a list").iter().map(|c| text(&c["role"])).collect();
        roles.sort();
        (roles, job["output_content"].is_null())
    };
    assert_eq!(roles(&ada).await.0.len(), 7);
    let mapping = ["input", "mapping-json", "mapping-taxonomy-json"].map(str::to_owned).to_vec();
    assert_eq!(roles(&bob).await, (mapping, true), "the output is of another step");
    assert_eq!(roles(&cyd).await, (vec!["input".to_owned(), "text-json".to_owned()], true));
    for (person, role, expected) in [
        (&bob, "mapping-json", 200),
        (&bob, "text-json", 404),
        (&cyd, "text-json", 200),
        (&cyd, "output", 404),
        (&ada, "output", 200),
    ] {
        let call = (Method::GET, &*format!("/contents/{role}/latest"), Value::Null);
        assert_eq!(status(person, &id, call).await, expected, "{} {role}", person.name);
    }
    let seen = get(&bob, &format!("/jobs/{id}")).await;
    let expected = json!({
        "teams": [{"id": team, "name": "reviewers", "steps": ["mapping"]}],
        "users": [{"id": cyd.id(), "email": "cyd@example.com", "steps": ["text-extraction"]}],
    });
    assert_eq!(seen.body["collaboration"], expected);

    // A client can write back the collaboration that it has read, but an ID and a name must be of the same team.
    let written = ask(&ada, Method::PUT, &format!("/jobs/{id}"), json!({"collaboration": expected})).await;
    assert_eq!((written.status.as_u16(), &written.body["collaboration"]), (200, &expected));
    for other in [
        json!({"teams": [{"id": team, "name": "others"}]}),
        json!({"users": [{"id": cyd.id(), "email": bob.email()}]}),
    ] {
        let refused = ask(&ada, Method::PUT, &format!("/jobs/{id}"), json!({"collaboration": other})).await;
        assert_eq!(refused.status, 404, "{other}");
    }

    // A list replaces the whole list of its kind, and at once.
    let change = json!({"collaboration": {"teams": []}});
    let changed = ask(&ada, Method::PUT, &format!("/jobs/{id}"), change).await;
    assert_eq!(changed.body["collaboration"]["users"].as_array().map(Vec::len), Some(1), "users stay");
    assert_eq!(get(&bob, &format!("/jobs/{id}")).await.status, 404);
    let change = json!({"collaboration": {"teams": [{"id": team, "steps": ["zoning"]}], "users": []}});
    ask(&ada, Method::PUT, &format!("/jobs/{id}"), change).await;
    assert_eq!(get(&cyd, &format!("/jobs/{id}")).await.status, 404);
    let zoning = ["input", "zoning-json", "zoning-pagesmeta-json"].map(str::to_owned).to_vec();
    assert_eq!(roles(&bob).await.0, zoning);
    let history = ada.job(&id, "events(first: 100) { nodes { kind data } }").await;
    let history = history["events"]["nodes"].as_array().expect("events").iter();
    let told: Vec<_> = history
        .filter(|event| event["kind"] == "COLLABORATION_CHANGED")
        .map(|event| {
            format!("{} {}", text(&event["data"]["change"]), text(&event["data"]["collaborator"]["name"]))
        })
        .collect();
    let made_with = ["ADDED reviewers", "ADDED cyd"];
    assert_eq!(told, [&made_with[..], &["REMOVED reviewers", "REMOVED cyd", "ADDED reviewers"]].concat());
}

both!(a_change_that_is_wrong_in_part_changes_nothing);
async fn a_change_that_is_wrong_in_part_changes_nothing(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create(&ada, json!({})).await;
    let path = format!("/jobs/{id}");
    for (teams, status, problems) in [
        (json!([{"name": "nobodies"}]), 404, vec![]),
        (
            json!([{"name": "nobodies", "steps": ["x"]}]),
            400,
            vec!["/collaboration/teams/0", "/collaboration/teams/0/steps/0"],
        ),
        (json!([{"name": "a", "id": "b"}]), 404, vec![]),
        (json!([{}]), 400, vec!["/collaboration/teams/0"]),
        (json!([{"title": "a"}]), 400, vec!["/collaboration/teams/0/title"]),
        (json!("all"), 400, vec!["/collaboration/teams"]),
    ] {
        let change = json!({"metadata": {"a": 1}, "collaboration": {"teams": teams}});
        let said = ask(&ada, Method::PUT, &path, change).await;
        let mut found: Vec<_> = said.problems().into_iter().map(|(path, _)| path).collect();
        found.sort();
        assert_eq!(
            (said.status.as_u16(), found),
            (status, problems.into_iter().map(str::to_owned).collect()),
            "{teams}"
        );
    }
    assert_eq!(get(&ada, &path).await.body["metadata"], json!({}));
}

both!(collaborators_have_a_limit, |config| config.limits.collaborators = 2);
async fn collaborators_have_a_limit(app: TestApp) {
    let ada = app.user("ada").await;
    let people = [app.user("bob").await, app.user("cyd").await, app.user("dan").await];
    let id = create(&ada, json!({})).await;
    let users =
        |n: usize| people[..n].iter().map(|person| json!({"email": person.email()})).collect::<Vec<_>>();
    let put = async |collaboration: Value| {
        ask(&ada, Method::PUT, &format!("/jobs/{id}"), json!({"collaboration": collaboration})).await
    };
    assert_eq!(
        put(json!({"users": users(3)})).await.problems(),
        [("/collaboration".into(), "TOO_MANY".into())]
    );
    assert_eq!(put(json!({"users": users(2)})).await.status, 200);
    ada.team("reviewers", &[]).await;
    let one_more = put(json!({"teams": [{"name": "reviewers"}]})).await;
    assert_eq!(one_more.problems(), [("/collaboration".into(), "TOO_MANY".into())], "with those who stay");
    let both = json!({"collaboration": {"teams": [{"name": "reviewers"}]}, "metadata": {"a": 1}});
    assert_eq!(ask(&ada, Method::PUT, &format!("/jobs/{id}"), both).await.status, 400);
    assert_eq!(ada.job(&id, "metadata").await["metadata"], json!({}), "all of a request, or nothing");
    assert_eq!(put(json!({"teams": [{"name": "reviewers"}], "users": users(1)})).await.status, 200);
}

both!(credentials_are_those_of_the_api);
async fn credentials_are_those_of_the_api(app: TestApp) {
    let ada = app.user("ada").await;
    for (person, expected) in [
        (app.anonymous(), 401),
        (app.bearer_of("Bearer nonsense"), 401),
        (app.bearer_of("Digest x"), 401),
        (app.bearer_of(&format!("Basic {}", base64(&format!("{}:", ada.secret())))), 200),
    ] {
        let said = send(person.request(Method::GET, "/v1.1/jobs")).await;
        assert_eq!(said.status, expected);
        if expected == 401 {
            assert_eq!((said.code(), said.header("www-authenticate")), ("UNAUTHENTICATED", "Bearer"));
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}

both!(a_change_may_ask_for_the_state_that_was_seen);
async fn a_change_may_ask_for_the_state_that_was_seen(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create(&ada, json!({})).await;
    let path = format!("/v1.1/jobs/{id}");
    let seen = ada.request(Method::GET, &path).send().await.expect("an answer");
    let etag = seen.headers()["ETag"].to_str().expect("a tag").to_owned();
    let put = async |tag: &str, priority: i64| {
        let request = ada.request(Method::PUT, &path).header("If-Match", tag);
        request.json(&json!({"priority": priority})).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(put("\"zzz\"", 1).await, 412);
    assert_eq!(put(&etag, 2).await, 200);
    assert_eq!(put(&etag, 3).await, 412, "it is another by now");
    assert_eq!(put("*", 4).await, 200);
    let seen: Value =
        ada.request(Method::GET, &path).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(seen["response"]["priority"], 4);
}
