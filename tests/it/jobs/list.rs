//! Tests of job lists: filters, order and pages.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{TestApp, User, both, job_id};

async fn list_ids(user: &User, filter: Value) -> Vec<String> {
    let query = "query($f: JobFilter) { jobs(filter: $f, orderBy: {direction: ASC}, first: 100) { totalCount nodes { id } } }";
    let jobs = user.gql(query, json!({"f": filter})).await["jobs"].take();
    let ids = ids(&jobs);
    assert_eq!(jobs["totalCount"], ids.len(), "{filter}");
    ids
}

fn ids(jobs: &Value) -> Vec<String> {
    let nodes = jobs["nodes"].as_array().expect("nodes");
    nodes.iter().map(|job| job["id"].as_str().expect("an ID").to_owned()).collect()
}

both!(every_filter_returns_only_matching_jobs);
async fn every_filter_returns_only_matching_jobs(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = bob.team("readers", &[]).await;
    ada.put_taxonomy("invoices").await;
    let named = async |name: &str| json!({"documentId": ada.upload("x", name, "text/plain").await});
    let first = ada.create_job(json!({"input": named("100% Sure_1.txt").await, "metadata": {"n": 1}})).await;
    app.clock.advance(TimeDelta::hours(1));
    let share = json!([{"collaborator": {"teamId": team}}]);
    let second = json!({"input": named("Ärger.txt").await, "metadata": {"n": 1.5, "deep.er": {"x": null}}, "collaboration": share});
    let second = ada.create_job(second).await;
    app.clock.advance(TimeDelta::hours(1));
    let third = json!({
        "type": "data-point-extraction", "input": named("sure1.txt").await,
        "metadata": {"mapping.taxonomy": "invoices", "n": "1", "list": [1, 2], "yes": true}
    });
    let third = ada.create_job(third).await;
    let shared = bob.create_job(json!({"collaboration": [{"collaborator": {"userId": ada.id()}}]})).await;
    let all = [&first, &second, &third, &shared].map(Clone::clone);

    assert_eq!(list_ids(&ada, Value::Null).await, all);
    assert_eq!(list_ids(&ada, json!({"owner": "ANY"})).await, all);
    assert_eq!(list_ids(&ada, json!({"owner": "ME"})).await, all[..3]);
    assert_eq!(list_ids(&ada, json!({"owner": "SHARED_WITH_ME"})).await, all[3..]);
    assert_eq!(list_ids(&bob, json!({"owner": "SHARED_WITH_ME"})).await, all[1..2], "through a team");
    assert_eq!(list_ids(&ada, json!({"teamId": team})).await, all[1..2]);
    assert_eq!(list_ids(&ada, json!({"type": ["data-point-extraction"]})).await, all[2..3]);
    assert_eq!(list_ids(&ada, json!({"type": ["noop", "data-point-extraction"]})).await, all);
    assert_eq!(list_ids(&ada, json!({"type": []})).await, Vec::<String>::new());

    let created = ada.job(&second, "createdAt").await["createdAt"].take();
    assert_eq!(list_ids(&ada, json!({"createdAfter": created})).await, all[2..]);
    assert_eq!(list_ids(&ada, json!({"createdBefore": created})).await, all[..1]);
    app.clock.advance(TimeDelta::hours(1));
    let claim = app.worker().claim().await;
    assert_eq!(claim.job.id, job_id(&first));
    let third_created = ada.job(&third, "createdAt").await["createdAt"].take();
    assert_eq!(
        list_ids(&ada, json!({"updatedAfter": third_created})).await,
        [&first, &shared].map(Clone::clone)
    );
    assert_eq!(list_ids(&ada, json!({"status": ["RUNNING"]})).await, all[..1]);
    assert_eq!(list_ids(&ada, json!({"status": ["RUNNING", "QUEUED"]})).await, all);
    assert_eq!(list_ids(&ada, json!({"status": ["FAILED"]})).await, Vec::<String>::new());
    app.worker().complete(&claim).await.expect("the result is accepted");

    for (metadata, expected) in [
        (json!({"n": 1}), vec![&first]),
        (json!({"n": 1.5}), vec![&second]),
        (json!({"n": "1"}), vec![&third]),
        (json!({"deep.er.x": null}), vec![&second]),
        (json!({"deep": {"er": {"x": null}}}), vec![&second]),
        (json!({"mapping.taxonomy": "invoices", "yes": true}), vec![&third]),
        (json!({"mapping.taxonomy": "invoices", "yes": false}), vec![]),
        (json!({"list": [1, 2]}), vec![&third]),
        (json!({"list": [2]}), vec![]),
        (json!({"yes": "true"}), vec![]),
        (json!({"nowhere": null}), vec![]),
    ] {
        assert_eq!(
            list_ids(&ada, json!({"metadata": metadata})).await.iter().collect::<Vec<_>>(),
            expected,
            "{metadata}"
        );
    }
    for (part, expected) in [
        ("SURE", vec![&first, &third]),
        ("100%", vec![&first]),
        ("sure_1", vec![&first]),
        ("e_1", vec![&first]),
        ("ärger", vec![&second]),
        ("\\", vec![]),
    ] {
        assert_eq!(
            list_ids(&ada, json!({"inputName": part})).await.iter().collect::<Vec<_>>(),
            expected,
            "{part}"
        );
    }
    let narrowed = json!({"owner": "ME", "type": ["noop"], "metadata": {"n": 1}, "inputName": "sure"});
    assert_eq!(list_ids(&ada, narrowed).await, all[..1], "all filters apply");
}

both!(jobs_are_sorted_by_creation_or_update_time);
async fn jobs_are_sorted_by_creation_or_update_time(app: TestApp) {
    let ada = app.user("ada").await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(ada.noop_job().await);
    }
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    for i in [2, 0, 1] {
        ada.gql(update, json!({"in": {"id": jobs[i], "metadata": {"touched": true}}})).await;
    }
    let query = "query($by: JobOrder) { jobs(orderBy: $by) { nodes { id } } }";
    for (order, expected) in [
        (json!(null), [2, 1, 0]),
        (json!({}), [2, 1, 0]),
        (json!({"field": "CREATED_AT", "direction": "ASC"}), [0, 1, 2]),
        (json!({"field": "UPDATED_AT"}), [1, 0, 2]),
        (json!({"field": "UPDATED_AT", "direction": "ASC"}), [2, 0, 1]),
    ] {
        let got = ids(&ada.gql(query, json!({"by": order})).await["jobs"]);
        assert_eq!(got, expected.map(|i: usize| jobs[i].clone()), "{order}");
    }
}

const PAGE: &str = "query($first: Int, $after: String, $last: Int, $before: String) {
    jobs(first: $first, after: $after, last: $last, before: $before) {
        nodes { id } edges { cursor node { id } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
}";

both!(pages_stay_stable_while_jobs_are_added_or_deleted);
async fn pages_stay_stable_while_jobs_are_added_or_deleted(app: TestApp) {
    let ada = app.user("ada").await;
    let mut jobs = Vec::new();
    for _ in 0..7 {
        jobs.push(ada.noop_job().await);
    }
    jobs.reverse();
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let mut page = ada.gql(PAGE, json!({"first": 3, "after": cursor})).await["jobs"].take();
        assert_eq!(page["pageInfo"]["hasPreviousPage"], !cursor.is_null());
        seen.extend(ids(&page));
        assert_eq!(
            page["pageInfo"]["endCursor"],
            page["edges"].as_array().expect("edges").last().expect("one")["cursor"]
        );
        cursor = page["pageInfo"]["endCursor"].take();
        // New jobs appear before the pages that are already read.
        ada.noop_job().await;
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(seen, jobs, "no duplicates and no gaps");

    // Reads backward across the new jobs, after the job of the cursor is deleted.
    let delete = "mutation($id: ID!) { deleteJob(id: $id) { deletedId } }";
    ada.gql(delete, json!({"id": jobs[6]})).await;
    let (mut back, mut before) = (Vec::new(), cursor);
    loop {
        let mut page = ada.gql(PAGE, json!({"last": 4, "before": before})).await["jobs"].take();
        let mut page_ids = ids(&page);
        page_ids.extend(back);
        back = page_ids;
        assert_eq!(page["pageInfo"]["hasNextPage"], true);
        before = page["pageInfo"]["startCursor"].take();
        if page["pageInfo"]["hasPreviousPage"] == false {
            break;
        }
    }
    let all = ids(&ada.gql(PAGE, json!({"first": 100})).await["jobs"]);
    assert_eq!(back, all, "reading backward gives the same order");
    assert_eq!(back.len(), 9);
    let last = ids(&ada.gql(PAGE, json!({"last": 2})).await["jobs"]);
    assert_eq!(last, all[7..], "the end of the list in the same order");
}

both!(invalid_page_arguments_are_refused_with_their_path);
async fn invalid_page_arguments_are_refused_with_their_path(app: TestApp) {
    let ada = app.user("ada").await;
    for (page, path) in [
        (json!({"first": 0}), "/first"),
        (json!({"first": 101}), "/first"),
        (json!({"last": -1}), "/last"),
        (json!({"first": 1, "last": 1}), "/last"),
        (json!({"after": "nonsense"}), "/after"),
        (json!({"last": 1, "before": "AAAA"}), "/before"),
    ] {
        let refused = ada.gql_err(PAGE, page.clone()).await;
        assert_eq!(refused.code(), "BAD_USER_INPUT", "{page}");
        assert_eq!(refused.problems()[0].0, path, "{page}");
    }
    let filtered = "query($f: JobFilter) { jobs(filter: $f) { nodes { id } } }";
    let refused = ada.gql_err(filtered, json!({"f": {"metadata": {"a\"b": 1}}})).await;
    assert_eq!(refused.code(), "BAD_USER_INPUT");
}

both!(times_outside_the_supported_range_are_refused);
async fn times_outside_the_supported_range_are_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let query = "query($f: JobFilter) { jobs(filter: $f) { nodes { id } } }";
    let (first, last) = ("-262143-01-01T00:00:00Z", "+262142-12-31T23:59:59Z");
    for field in ["createdAfter", "createdBefore", "updatedAfter"] {
        for time in [first, last] {
            let refused = ada.gql_err(query, json!({"f": {field: time}})).await;
            assert_eq!(refused.problems(), [(format!("/filter/{field}"), "RANGE".into())], "{time}");
        }
    }
    let widest = json!({"createdAfter": "0001-01-01T00:00:00Z", "createdBefore": "9999-12-31T23:59:59Z"});
    let listed = ada.gql(query, json!({"f": widest})).await;
    assert!(listed["jobs"]["nodes"].to_string().contains(&job));
}
