//! Letting others in to a job, step by step, and out again, at once.

use docket::entity::{access, job};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use crate::harness::{TestApp, User, both, job_id};

const ADD: &str = "mutation($in: AddCollaboratorInput!) { addCollaborator(input: $in) { job { collaboration {
    teams { team { name } steps } users { user { email } steps } } } } }";
const REMOVE: &str =
    "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { collaboration {
    teams { team { name } steps } users { user { email } steps } } } } }";

async fn add(owner: &User, job: &str, who: Value, steps: Value) -> Value {
    let data = owner.gql(ADD, json!({"in": {"jobId": job, "collaborator": who, "steps": steps}})).await;
    data["addCollaborator"]["job"]["collaboration"].clone()
}

async fn changes(owner: &User, job: &str) -> Vec<Value> {
    let job = owner.job(job, "events(first: 100) { nodes { kind data } }").await;
    let events = job["events"]["nodes"].as_array().expect("events").iter();
    events
        .filter(|event| event["kind"] == "COLLABORATION_CHANGED")
        .map(|event| event["data"].clone())
        .collect()
}

both!(a_job_is_shared_step_by_step_and_one_row_counts);
async fn a_job_is_shared_step_by_step_and_one_row_counts(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let team = cyd.team("reviewers", &[]).await;
    let job = ada.noop_job().await;
    assert_eq!(bob.job(&job, "id").await, Value::Null);
    let shared = add(&ada, &job, json!({"userEmail": " BOB@example.com"}), json!(["first"])).await;
    assert_eq!(shared["users"], json!([{"user": {"email": "bob@example.com"}, "steps": ["first"]}]));
    let shared = add(&ada, &job, json!({"userId": bob.id()}), json!(["second", "first", "second"])).await;
    assert_eq!(shared["users"][0]["steps"], json!(["second", "first"]), "adding again replaces the steps");
    let shared = add(&ada, &job, json!({"teamName": "reviewers"}), json!(["first", "*"])).await;
    assert_eq!(shared["teams"], json!([{"team": {"name": "reviewers"}, "steps": ["*"]}]));
    let same = add(&ada, &job, json!({"teamId": team}), json!(["*"])).await;
    assert_eq!(same, shared);
    let owner = add(&ada, &job, json!({"userId": ada.id()}), json!(["first"])).await;
    assert_eq!(owner, shared, "the owner has everything already");
    assert_eq!(ada.job(&job, "permissions").await["permissions"].as_array().expect("a list").len(), 6);
    assert_eq!(cyd.job(&job, "permissions").await["permissions"], json!(["VIEW", "EDIT", "WORK", "CANCEL"]));

    let out = json!({"in": {"jobId": job, "collaborator": {"userId": bob.id()}}});
    let left = ada.gql(REMOVE, out.clone()).await;
    assert_eq!(left["removeCollaborator"]["job"]["collaboration"]["users"], json!([]));
    assert_eq!(bob.job(&job, "id").await, Value::Null);
    assert_eq!(ada.refused(REMOVE, out).await.code(), "NOT_FOUND");
    let history = changes(&ada, &job).await;
    let told: Vec<_> = history.iter().map(|data| (data["change"].as_str(), data["steps"].clone())).collect();
    assert_eq!(
        told,
        [
            (Some("ADDED"), json!(["first"])),
            (Some("CHANGED"), json!(["second", "first"])),
            (Some("ADDED"), json!(["*"])),
            (Some("REMOVED"), Value::Null),
        ],
        "what changes nothing is not in the history"
    );
    assert_eq!(history[0]["collaborator"], json!({"kind": "USER", "id": bob.id(), "name": "bob"}));
}

both!(what_is_wrong_with_a_share_is_said_and_changes_nothing);
async fn what_is_wrong_with_a_share_is_said_and_changes_nothing(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let job = ada.create_job(json!({"collaboration": [{"collaborator": {"userId": bob.id()}}]})).await;
    let ask = |who: Value, steps: Value| json!({"in": {"jobId": job, "collaborator": who, "steps": steps}});
    let from_the_start = changes(&ada, &job).await;
    assert_eq!(from_the_start.len(), 1, "who was let in when it was made");
    let cyds = json!({"userId": cyd.id()});
    let refused = ada.refused(ADD, ask(cyds.clone(), json!(["first", "dance"]))).await;
    assert_eq!(refused.problems(), [("/steps/1".into(), "UNKNOWN_STEP".into())]);
    for who in [
        json!({"userId": "00000000-0000-7000-8000-000000000000"}),
        json!({"userId": "nonsense"}),
        json!({"userEmail": "nobody@example.com"}),
        json!({"teamName": "nobodies"}),
        json!({"teamId": bob.id()}),
    ] {
        assert_eq!(ada.refused(ADD, ask(who.clone(), json!(["*"]))).await.code(), "NOT_FOUND", "{who}");
    }
    assert_eq!(bob.refused(ADD, ask(cyds.clone(), json!(["*"]))).await.code(), "FORBIDDEN");
    assert_eq!(cyd.refused(ADD, ask(cyds.clone(), json!(["*"]))).await.code(), "NOT_FOUND");
    let out = json!({"in": {"jobId": job, "collaborator": {"userId": ada.id()}}});
    assert_eq!(ada.refused(REMOVE, out).await.code(), "NOT_FOUND", "the owner is no collaborator");
    assert_eq!(changes(&ada, &job).await, from_the_start);
}

both!(collaborators_have_a_limit, |config| config.limits.collaborators = 2);
async fn collaborators_have_a_limit(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let (bob, cyd, dan) = (app.user("bob").await, app.user("cyd").await, app.user("dan").await);
    add(&ada, &job, json!({"userId": bob.id()}), json!(["*"])).await;
    add(&ada, &job, json!({"userId": cyd.id()}), json!(["*"])).await;
    let one_more = json!({"in": {"jobId": job, "collaborator": {"userId": dan.id()}, "steps": ["*"]}});
    assert_eq!(ada.refused(ADD, one_more).await.problems(), [("/collaborator".into(), "TOO_MANY".into())]);
    add(&ada, &job, json!({"userId": bob.id()}), json!(["first"])).await;
}

both!(rows_of_access_follow_their_job_in_every_order);
async fn rows_of_access_follow_their_job_in_every_order(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let job = ada.noop_job().await;
    app.clock.advance(chrono::TimeDelta::minutes(1));
    add(&ada, &job, json!({"userId": bob.id()}), json!(["*"])).await;
    app.worker().finish(job_id(&job)).await;
    let row = job::Entity::find_by_id(job_id(&job)).one(app.db.read()).await.unwrap().expect("the job");
    let rows =
        access::Entity::find().filter(access::Column::JobId.eq(row.id)).all(app.db.read()).await.unwrap();
    assert_eq!(rows.len(), 2);
    for access in rows {
        assert_eq!((access.created_at, access.updated_at), (row.created_at, row.updated_at));
    }
}

both!(whoever_is_let_out_hears_nothing_more);
async fn whoever_is_let_out_hears_nothing_more(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let team = cyd.team("reviewers", &[&bob]).await;
    let share = json!([{"collaborator": {"teamId": team}, "steps": ["*"]}]);
    let (job, other) = (ada.create_job(json!({"collaboration": share})).await, bob.noop_job().await);
    let (mut updated, mut events) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let query = "subscription($id: ID!) { jobUpdated(id: $id) { status metadata } }";
        let mut subscription = bob.subscribe(query, json!({"id": job})).await;
        subscription.next().await;
        updated.push(subscription);
        let query = "subscription($id: ID!) { jobEvents(jobId: $id) { sequence kind } }";
        let mut subscription = bob.subscribe(query, json!({"id": job})).await;
        subscription.until("all is caught up", |event| event["jobEvents"]["sequence"] == 4).await;
        events.push(subscription);
    }
    let mut all = bob.subscribe("subscription { events { jobId sequence } }", json!({})).await;
    all.until("all is caught up", |event| {
        event["events"]["jobId"] == other && event["events"]["sequence"] == 3
    })
    .await;
    let mut jobs = bob.subscribe("subscription { jobsUpdated { id status } }", json!({})).await;
    app.wait_until("jobs are followed", async || app.jobs.news.followers() == 2).await;

    let gone = "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { id } } }";
    cyd.gql(gone, json!({"in": {"teamId": team, "userId": bob.id()}})).await;
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    ada.gql(update, json!({"in": {"id": job, "metadata": {"secret": true}}})).await;
    for subscription in updated.into_iter().chain(events) {
        assert_eq!(subscription.error().await.code(), "FORBIDDEN", "and no event before it");
    }
    bob.gql(update, json!({"in": {"id": other, "metadata": {"mine": true}}})).await;
    assert_eq!(all.next().await["events"]["jobId"], other, "lists go on without the job");
    assert_eq!(jobs.next().await["jobsUpdated"]["id"], other);
}

both!(lists_of_jobs_merge_what_is_own_and_what_is_shared);
async fn lists_of_jobs_merge_what_is_own_and_what_is_shared(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let team = cyd.team("reviewers", &[&bob]).await;
    let mut expected = Vec::new();
    for i in 0..12 {
        let twice = json!([{"collaborator": {"teamId": team}}, {"collaborator": {"userId": bob.id()}}]);
        let job = match i % 4 {
            0 => bob.noop_job().await,
            1 => ada.create_job(json!({"collaboration": twice})).await,
            2 => {
                ada.create_job(
                    json!({"collaboration": [{"collaborator": {"teamId": team}, "steps": ["first"]}]}),
                )
                .await
            }
            _ => ada.noop_job().await,
        };
        app.clock.advance(chrono::TimeDelta::seconds(1));
        if i % 4 != 3 {
            expected.insert(0, job);
        }
    }
    let query = "query($filter: JobFilter, $first: Int, $after: String, $last: Int, $before: String) {
        jobs(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
            nodes { id } totalCount pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } }";
    let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
    let (mut after, mut before) = (Value::Null, Value::Null);
    let ids = |data: &Value| -> Vec<String> {
        let nodes = data["jobs"]["nodes"].as_array().expect("nodes").iter();
        nodes.map(|node| node["id"].as_str().unwrap_or_default().to_owned()).collect()
    };
    loop {
        let page = bob.gql(query, json!({"first": 2, "after": after})).await;
        assert_eq!(page["jobs"]["totalCount"], 9);
        forwards.extend(ids(&page));
        after = page["jobs"]["pageInfo"]["endCursor"].clone();
        let page = bob.gql(query, json!({"last": 2, "before": before})).await;
        backwards.splice(0..0, ids(&page));
        before = page["jobs"]["pageInfo"]["startCursor"].clone();
        if page["jobs"]["pageInfo"]["hasPreviousPage"] == false {
            break;
        }
    }
    assert_eq!(forwards, expected);
    assert_eq!(backwards, expected);
    let filtered =
        async |filter: Value| ids(&bob.gql(query, json!({"filter": filter, "first": 100})).await).len();
    assert_eq!(filtered(json!({"owner": "ME"})).await, 3);
    assert_eq!(filtered(json!({"owner": "SHARED_WITH_ME"})).await, 6);
    assert_eq!(filtered(json!({"owner": "ANY", "teamId": team})).await, 6);
}
