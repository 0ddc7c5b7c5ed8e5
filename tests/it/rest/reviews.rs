//! Tests of reviews over REST: blocked jobs are listed, checked out, corrected and decided.

use reqwest::Method;
use serde_json::{Value, json};

use super::{RestResponse, get, post, send, send_json, text};
use crate::harness::{TestApp, User, both};
use crate::review::{BlockedJob, mapping_result};

/// Stores a content over REST.
async fn put(user: &User, job: &str, role: &str, content: &Value) -> RestResponse {
    let request = user.request(Method::PUT, &format!("/v1.1/jobs/{job}/contents/{role}"));
    send(request.header("Content-Type", "text/plain").body(content.to_string())).await
}

fn problem(path: &str, code: &str) -> Vec<(String, String)> {
    vec![(path.to_owned(), code.to_owned())]
}

both!(blocked_job_shows_its_step_and_its_claimant);
async fn blocked_job_shows_its_step_and_its_claimant(app: TestApp) {
    let (ada, bob, eve) = (app.user("ada").await, app.user("bob").await, app.user("eve").await);
    let share = json!([
        {"collaborator": {"userEmail": bob.email()}, "steps": ["mapping"]},
        {"collaborator": {"userEmail": eve.email()}, "steps": ["zoning"]},
    ]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    let path = format!("/jobs/{}", blocked.job);
    let seen = get(&bob, &path).await;
    assert_eq!((&seen.body["status"], &seen.body["blocking_step"]), (&json!("blocked"), &json!("mapping")));
    assert_eq!(seen.body["blocking_task"], "mapping");
    assert_eq!(
        (seen.body.get("claimed_by"), seen.body.get("claim_expires_at")),
        (Some(&Value::Null), Some(&Value::Null))
    );

    let checked_out = post(&bob, &format!("{path}/checkout")).await;
    assert_eq!(checked_out.status, 200, "{}", checked_out.body);
    let me = json!({"id": bob.id(), "email": bob.email(), "name": "bob"});
    assert_eq!(checked_out.body["claimed_by"], me);
    assert!(checked_out.body["claim_expires_at"].is_string());
    let again = post(&bob, &format!("{path}/checkout")).await;
    assert_eq!(again.status, 200, "a second checkout renews the claim");
    assert!(again.body["claim_expires_at"].as_str() >= checked_out.body["claim_expires_at"].as_str());
    assert_ne!(get(&bob, &path).await.header("etag"), seen.header("etag"), "the claim changes the ETag");

    let other = post(&ada, &format!("{path}/checkout")).await;
    assert_eq!((other.status.as_u16(), other.code(), &other.body["claimed_by"]), (409, "CONFLICT", &me));
    let foreign = post(&eve, &format!("{path}/checkout")).await;
    assert_eq!((foreign.status.as_u16(), foreign.code()), (403, "FORBIDDEN"));
    let seen = get(&eve, &path).await.body;
    assert_eq!(seen["blocking_step"], "mapping");
    assert!(seen.get("claimed_by").is_none() && seen.get("claim_expires_at").is_none(), "{seen}");

    assert_eq!(post(&ada, &format!("{path}/release")).await.status, 403, "the claim belongs to another user");
    let released = post(&bob, &format!("{path}/release")).await;
    assert_eq!((released.status.as_u16(), &released.body["claimed_by"]), (200, &Value::Null));
    assert_eq!(post(&ada, &format!("{path}/checkout")).await.status, 200);

    let stranger = app.user("mallory").await;
    for action in ["checkout", "release", "unblock"] {
        assert_eq!(post(&stranger, &format!("{path}/{action}")).await.status, 404, "{action}");
        let queued = super::create_job(&ada, json!({})).await;
        assert_eq!(post(&ada, &format!("/jobs/{queued}/{action}")).await.status, 409, "{action}");
    }
}

both!(jobs_can_be_filtered_by_their_blocking_step);
async fn jobs_can_be_filtered_by_their_blocking_step(app: TestApp) {
    let (root, ada, bob, eve) =
        (app.admin("root").await, app.user("ada").await, app.user("bob").await, app.user("eve").await);
    let share = json!([
        {"collaborator": {"userEmail": bob.email()}, "steps": ["mapping"]},
        {"collaborator": {"userEmail": eve.email()}, "steps": ["zoning"]},
    ]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    super::create_job(&ada, json!({})).await;
    let list = async |user: &User, query: &str| {
        let response = get(user, &format!("/jobs?{query}")).await;
        let jobs = response.body["jobs"].as_array().expect("a list").iter().map(|job| text(&job["id"]));
        jobs.collect::<Vec<_>>()
    };
    for user in [&root, &ada, &bob] {
        for query in [
            "blocking_task=mapping",
            "Blocking-Step=mapping",
            "BLOCKING_TASK=mapping&STATUS=Blocked&owner=Any",
        ] {
            assert_eq!(list(user, query).await, std::slice::from_ref(&blocked.job), "{} {query}", user.name);
        }
        assert_eq!(list(user, "blocking_task=zoning").await, Vec::<String>::new());
    }
    assert_eq!(
        list(&eve, "blocking_task=mapping").await,
        Vec::<String>::new(),
        "she has no access to the step"
    );
    assert_eq!(list(&eve, "status=blocked").await, std::slice::from_ref(&blocked.job));
    post(&bob, &format!("/jobs/{}/unblock", blocked.job)).await;
    assert_eq!(list(&bob, "blocking_task=mapping").await, Vec::<String>::new());
}

both!(corrected_content_becomes_the_content_under_review);
async fn corrected_content_becomes_the_content_under_review(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userEmail": bob.email()}, "steps": ["mapping"]}]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    let (job, path) = (&blocked.job, format!("/jobs/{}", blocked.job));
    let mut corrected = mapping_result();
    corrected["data_points"][0]["value"] = json!("8");

    let unclaimed = put(&bob, job, "mapping-json", &corrected).await;
    assert_eq!((unclaimed.status.as_u16(), unclaimed.code()), (409, "CONFLICT"));
    post(&ada, &format!("{path}/checkout")).await;
    assert_eq!(put(&bob, job, "mapping-json", &corrected).await.status, 409, "another user has the claim");
    post(&ada, &format!("{path}/release")).await;
    post(&bob, &format!("{path}/checkout")).await;
    let draft = "mutation($in: SaveReviewDraftInput!) { saveReviewDraft(input: $in) { review { draft } } }";
    bob.gql(
        draft,
        json!({"in": {"id": blocked.review, "patch": [{"op": "remove", "path": "/data_points/0"}]}}),
    )
    .await;

    let content_at = |page: Value, place: Value| json!({"data_points": [{"name": "invoice.number", "value": "7", "confidence": 0.5, "page": page, "box": place}]});
    let stored = app.stored_keys();
    for (role, content, problems) in [
        ("zoning-json", corrected.clone(), problem("/role", "UNKNOWN_ROLE")),
        ("input", corrected.clone(), problem("/role", "UNKNOWN_ROLE")),
        (
            "mapping-json",
            json!({"data_points": [{"value": "nameless"}]}),
            problem("/data_points/0", "SCHEMA"),
        ),
        // The server could not parse these numbers again, so that the whole queue would fail.
        (
            "mapping-json",
            content_at(json!(3_000_000_000_u64), json!([0, 0, 1, 1])),
            problem("/data_points/0/page", "SCHEMA"),
        ),
        (
            "mapping-json",
            content_at(json!(1), json!([1e39, 0, 1, 1])),
            problem("/data_points/0/box/0", "SCHEMA"),
        ),
        (
            "mapping-json",
            content_at(json!(1.0), json!([0, 0, 1, 1])),
            problem("/data_points/0/page", "SHAPE"),
        ),
    ] {
        assert_eq!(put(&bob, job, role, &content).await.problems(), problems, "{role}");
    }
    let request =
        bob.request(Method::PUT, &format!("/v1.1{path}/contents/mapping-json")).body("{\"data_points\"");
    assert_eq!(send(request).await.problems(), problem("", "NOT_JSON"));
    let long = put(&bob, job, "mapping-json", &json!({"data_points": "x".repeat(100_000)})).await;
    assert_eq!(long.problems(), problem("/data_points", "SCHEMA"));
    assert!(long.body.to_string().len() < 1_000, "the content is not quoted");
    for (name, value) in [("content-type", "application/json; charset=utf-16"), ("content-encoding", "gzip")]
    {
        let request = bob.request(Method::PUT, &format!("/v1.1{path}/contents/mapping-json"));
        let refused = send(request.header(name, value).body(corrected.to_string())).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (415, "UNSUPPORTED_MEDIA_TYPE"), "{value}");
    }
    assert_eq!(app.stored_keys(), stored, "refused contents are not stored");

    let put_once = bob.request(Method::PUT, &format!("/v1.1{path}/contents/mapping-json"));
    let put_once = send(put_once.body(format!("\u{feff}{corrected}"))).await;
    assert_eq!(put_once.status, 201, "{}", put_once.body);
    assert_eq!((&put_once.body["role"], &put_once.body["version"]), (&json!("mapping-json"), &json!(2)));
    assert_eq!(
        (&put_once.body["step"], &put_once.body["type"]),
        (&json!("mapping"), &json!("application/json"))
    );
    let latest = bob.request(Method::GET, &format!("/v1.1{path}/contents/mapping-json/latest"));
    let latest = latest.send().await.expect("a response").text().await.expect("text");
    assert_eq!(latest, format!("\u{feff}{corrected}"), "the bytes are stored unchanged");
    let fields = "review { status draft content { version document { sha256 } } items { path value } }";
    let review = bob.job(job, fields).await["review"].take();
    assert_eq!(
        (&review["status"], &review["draft"]),
        (&json!("CLAIMED"), &Value::Null),
        "the draft is discarded"
    );
    assert_eq!(review["content"], json!({"version": 2, "document": {"sha256": put_once.body["sha256"]}}));
    assert_eq!(
        review["items"][0],
        json!({"path": "/data_points/0", "value": "8"}),
        "the items are computed again"
    );

    // The next content is compared with this one, and corrections apply to it.
    let again = put(&bob, job, "mapping-json", &corrected).await;
    assert_eq!(again.body["version"], 3, "{}", again.body);

    // A decision on an older version is refused.
    let stale =
        send_json(&bob, Method::POST, &format!("{path}/unblock"), json!({"content_sha256": blocked.sha256}))
            .await;
    assert_eq!((stale.status.as_u16(), stale.code()), (409, "CONFLICT"));
    let unblocked = post(&bob, &format!("{path}/unblock")).await;
    assert_eq!(unblocked.status, 200, "{}", unblocked.body);
    assert_eq!(
        (&unblocked.body["status"], &unblocked.body["current_step"]),
        (&json!("queued"), &json!("output"))
    );
    assert!(unblocked.body.get("blocking_step").is_none());
    let events =
        ada.job(job, "events(first: 100) { nodes { kind actor { id } data } }").await["events"]["nodes"]
            .take();
    let decided = events
        .as_array()
        .expect("a list")
        .iter()
        .find(|event| event["kind"] == "REVIEW_DECIDED")
        .expect("a decision event");
    assert_eq!(decided["actor"]["id"], json!(bob.id()));
    assert_eq!(
        decided["data"]["contentSha256"], again.body["sha256"],
        "the receipt is for the newest version"
    );
}

both!(unblock_claims_and_decides_an_unclaimed_review);
async fn unblock_claims_and_decides_an_unclaimed_review(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userEmail": bob.email()}}]);
    let blocked = BlockedJob::create(&app, &ada, share.clone()).await;
    let path = format!("/jobs/{}", blocked.job);
    post(&bob, &format!("{path}/checkout")).await;
    let held = post(&ada, &format!("{path}/unblock")).await;
    assert_eq!((held.status.as_u16(), &held.body["claimed_by"]["email"]), (409, &json!(bob.email())));
    post(&bob, &format!("{path}/release")).await;
    let body = json!({"Decision": "REJECT", "comment": "not an invoice"});
    let rejected = send_json(&ada, Method::POST, &format!("{path}/unblock"), body).await;
    assert_eq!(
        (&rejected.body["status"], &rejected.body["failure"]["message"]),
        (&json!("failed"), &json!("not an invoice"))
    );
    assert_eq!(post(&ada, &format!("{path}/unblock")).await.status, 409, "the job is no longer blocked");
    assert_eq!(post(&ada, &format!("{path}/retry")).await.body["status"], "queued");

    let blocked = BlockedJob::create(&app, &ada, share).await;
    let path = format!("/jobs/{}/unblock", blocked.job);
    for (body, problems) in [
        (json!({"decision": "send_back"}), problem("/to_step", "REQUIRED")),
        (json!({"decision": "approve", "to_step": "zoning"}), problem("/to_step", "NOT_ALLOWED")),
        (json!({"decision": "send_back", "to_step": "output"}), problem("/to_step", "NOT_EARLIER")),
        (json!({"decision": "perhaps"}), problem("/decision", "UNKNOWN_VALUE")),
    ] {
        assert_eq!(send_json(&ada, Method::POST, &path, body.clone()).await.problems(), problems, "{body}");
    }
    let body = json!({"decision": "send_back", "toStep": "zoning", "comment": "look again"});
    let sent_back = send_json(&ada, Method::POST, &path, body).await;
    assert_eq!(
        (&sent_back.body["status"], &sent_back.body["current_step"]),
        (&json!("queued"), &json!("zoning"))
    );
}

both!(decision_without_hash_applies_to_the_newest_version);
async fn decision_without_hash_applies_to_the_newest_version(app: TestApp) {
    let ada = app.user("ada").await;
    for _ in 0..3 {
        let blocked = BlockedJob::create(&app, &ada, json!([])).await;
        let path = format!("/jobs/{}", blocked.job);
        post(&ada, &format!("{path}/checkout")).await;
        let corrections = (0..8).map(|i| {
            let (ada, job) = (&ada, &blocked.job);
            async move {
                let mut corrected = mapping_result();
                corrected["data_points"][0]["value"] = json!(format!("{i}"));
                put(ada, job, "mapping-json", &corrected).await
            }
        });
        let unblock = format!("{path}/unblock");
        let (_, unblocked) = tokio::join!(futures_util::future::join_all(corrections), post(&ada, &unblock));
        assert_eq!(unblocked.status, 200, "{}", unblocked.body);
    }
}

both!(history_hides_reviewer_from_collaborators_of_other_steps);
async fn history_hides_reviewer_from_collaborators_of_other_steps(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userEmail": bob.email()}, "steps": ["zoning"]}]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    post(&ada, &format!("/jobs/{}/checkout", blocked.job)).await;
    for (reader, actor) in [(&ada, json!({"id": ada.id()})), (&bob, Value::Null)] {
        let job = reader.job(&blocked.job, "events(first: 100) { nodes { kind actor { id } } }").await;
        let events = job["events"]["nodes"].as_array().expect("a list").iter();
        let claimed: Vec<_> = events.filter(|event| event["kind"] == "REVIEW_CLAIMED").collect();
        assert_eq!((claimed.len(), &claimed[0]["actor"]), (1, &actor));
    }
}

both!(owner_cannot_review_a_four_eyes_step);
async fn owner_cannot_review_a_four_eyes_step(app: TestApp) {
    let (root, ada) = (app.admin("root").await, app.user("ada").await);
    let steps = json!([{"name": "write", "kind": "MANUAL", "contentRoles": ["draft"], "fourEyes": true}]);
    let input =
        json!({"id": "letter", "name": "Letter", "description": "By hand.", "accepts": [], "steps": steps});
    let register = "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }";
    root.gql(register, json!({"in": input})).await;
    let job = ada.create_job(json!({"type": "letter"})).await;
    assert_eq!(post(&ada, &format!("/jobs/{job}/checkout")).await.status, 403);
    assert_eq!(put(&ada, &job, "draft", &json!({})).await.status, 403);
    assert_eq!(post(&ada, &format!("/jobs/{job}/unblock")).await.status, 403);
}

both!(manual_step_is_completed_by_storing_its_contents);
async fn manual_step_is_completed_by_storing_its_contents(app: TestApp) {
    let (root, ada) = (app.admin("root").await, app.user("ada").await);
    let steps =
        json!([{"name": "write", "kind": "MANUAL", "contentRoles": ["draft", "notes-json", "output"]}]);
    let input =
        json!({"id": "letter", "name": "Letter", "description": "By hand.", "accepts": [], "steps": steps});
    let register = "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }";
    root.gql(register, json!({"in": input})).await;
    let job = ada.create_job(json!({"type": "letter"})).await;
    let path = format!("/v1.1/jobs/{job}/contents");
    post(&ada, &format!("/jobs/{job}/checkout")).await;
    let letter = |role: &str, kind: &str, body: &'static str| {
        let request = ada.request(Method::PUT, &format!("{path}/{role}")).header("X-Type", kind);
        send(request.header("X-Name", "letter.txt").body(body))
    };
    let draft = letter("draft", "text/plain", "Dear Sir").await;
    assert_eq!(
        (draft.status.as_u16(), &draft.body["name"], &draft.body["type"]),
        (201, &json!("letter.txt"), &json!("text/plain"))
    );
    assert_eq!(letter("notes-json", "application/json", "{").await.problems(), problem("", "NOT_JSON"));
    assert_eq!(
        letter("notes-json", "application/json", "{\"a\": 1e999}").await.problems(),
        problem("/a", "TOO_LONG")
    );
    assert_eq!(letter("input", "text/plain", "x").await.problems(), problem("/role", "UNKNOWN_ROLE"));
    assert_eq!(letter("output", "application/xml", "<letter/>").await.status, 201);
    assert_eq!(post(&ada, &format!("/jobs/{job}/unblock")).await.body["status"], "completed");
    let done = get(&ada, &format!("/jobs/{job}")).await;
    assert_eq!(done.body["output_content"]["type"], "application/xml");
}
