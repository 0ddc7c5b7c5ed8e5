//! Tests of adding and removing collaborators of a job and of single steps.

use docket::entity::{access, job};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use crate::harness::{TestApp, User, both, job_id};

const ADD: &str = "mutation($in: AddCollaboratorInput!) { addCollaborator(input: $in) { job { collaboration {
    teams { team { name } steps } users { user { email } steps } } } } }";
const REMOVE: &str =
    "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { collaboration {
    teams { team { name } steps } users { user { email } steps } } } } }";

async fn add_collaborator(owner: &User, job: &str, collaborator: Value, steps: Value) -> Value {
    let data =
        owner.gql(ADD, json!({"in": {"jobId": job, "collaborator": collaborator, "steps": steps}})).await;
    data["addCollaborator"]["job"]["collaboration"].clone()
}

async fn collaboration_changes(owner: &User, job: &str) -> Vec<Value> {
    let job = owner.job(job, "events(first: 100) { nodes { kind data } }").await;
    let events = job["events"]["nodes"].as_array().expect("events").iter();
    events
        .filter(|event| event["kind"] == "COLLABORATION_CHANGED")
        .map(|event| event["data"].clone())
        .collect()
}

both!(sharing_again_replaces_the_steps_of_a_collaborator);
async fn sharing_again_replaces_the_steps_of_a_collaborator(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let team = cyd.team("reviewers", &[]).await;
    let job = ada.noop_job().await;
    assert_eq!(bob.job(&job, "id").await, Value::Null);
    let shared =
        add_collaborator(&ada, &job, json!({"userEmail": " BOB@example.com"}), json!(["first"])).await;
    assert_eq!(shared["users"], json!([{"user": {"email": "bob@example.com"}, "steps": ["first"]}]));
    let shared =
        add_collaborator(&ada, &job, json!({"userId": bob.id()}), json!(["second", "first", "second"])).await;
    assert_eq!(shared["users"][0]["steps"], json!(["second", "first"]), "adding again replaces the steps");
    let shared = add_collaborator(&ada, &job, json!({"teamName": "reviewers"}), json!(["first", "*"])).await;
    assert_eq!(shared["teams"], json!([{"team": {"name": "reviewers"}, "steps": ["*"]}]));
    let same = add_collaborator(&ada, &job, json!({"teamId": team}), json!(["*"])).await;
    assert_eq!(same, shared);
    let owner = add_collaborator(&ada, &job, json!({"userId": ada.id()}), json!(["first"])).await;
    assert_eq!(owner, shared, "the owner has everything already");
    assert_eq!(ada.job(&job, "permissions").await["permissions"].as_array().expect("a list").len(), 6);
    assert_eq!(cyd.job(&job, "permissions").await["permissions"], json!(["VIEW", "EDIT", "WORK", "CANCEL"]));

    let removal = json!({"in": {"jobId": job, "collaborator": {"userId": bob.id()}}});
    let remaining = ada.gql(REMOVE, removal.clone()).await;
    assert_eq!(remaining["removeCollaborator"]["job"]["collaboration"]["users"], json!([]));
    assert_eq!(bob.job(&job, "id").await, Value::Null);
    assert_eq!(ada.gql_err(REMOVE, removal).await.code(), "NOT_FOUND");
    let history = collaboration_changes(&ada, &job).await;
    let recorded: Vec<_> =
        history.iter().map(|data| (data["change"].as_str(), data["steps"].clone())).collect();
    assert_eq!(
        recorded,
        [
            (Some("ADDED"), json!(["first"])),
            (Some("CHANGED"), json!(["second", "first"])),
            (Some("ADDED"), json!(["*"])),
            (Some("REMOVED"), Value::Null),
        ],
        "calls that change nothing add no event"
    );
    assert_eq!(history[0]["collaborator"], json!({"kind": "USER", "id": bob.id(), "name": "bob"}));
}

both!(invalid_collaborator_is_refused_and_changes_nothing);
async fn invalid_collaborator_is_refused_and_changes_nothing(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let job = ada.create_job(json!({"collaboration": [{"collaborator": {"userId": bob.id()}}]})).await;
    let input = |collaborator: Value, steps: Value| json!({"in": {"jobId": job, "collaborator": collaborator, "steps": steps}});
    let initial = collaboration_changes(&ada, &job).await;
    assert_eq!(initial.len(), 1, "the collaborator given at creation");
    let cyds = json!({"userId": cyd.id()});
    let refused = ada.gql_err(ADD, input(cyds.clone(), json!(["first", "dance"]))).await;
    assert_eq!(refused.problems(), [("/steps/1".into(), "UNKNOWN_STEP".into())]);
    for collaborator in [
        json!({"userId": "00000000-0000-7000-8000-000000000000"}),
        json!({"userId": "nonsense"}),
        json!({"userEmail": "nobody@example.com"}),
        json!({"teamName": "nobodies"}),
        json!({"teamId": bob.id()}),
    ] {
        assert_eq!(
            ada.gql_err(ADD, input(collaborator.clone(), json!(["*"]))).await.code(),
            "NOT_FOUND",
            "{collaborator}"
        );
    }
    assert_eq!(bob.gql_err(ADD, input(cyds.clone(), json!(["*"]))).await.code(), "FORBIDDEN");
    assert_eq!(cyd.gql_err(ADD, input(cyds.clone(), json!(["*"]))).await.code(), "NOT_FOUND");
    let removal = json!({"in": {"jobId": job, "collaborator": {"userId": ada.id()}}});
    assert_eq!(ada.gql_err(REMOVE, removal).await.code(), "NOT_FOUND", "the owner is no collaborator");
    assert_eq!(collaboration_changes(&ada, &job).await, initial);
}

both!(number_of_collaborators_per_job_is_limited, |config| config.limits.collaborators = 2);
async fn number_of_collaborators_per_job_is_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let (bob, cyd, dan) = (app.user("bob").await, app.user("cyd").await, app.user("dan").await);
    add_collaborator(&ada, &job, json!({"userId": bob.id()}), json!(["*"])).await;
    add_collaborator(&ada, &job, json!({"userId": cyd.id()}), json!(["*"])).await;
    let one_more = json!({"in": {"jobId": job, "collaborator": {"userId": dan.id()}, "steps": ["*"]}});
    assert_eq!(ada.gql_err(ADD, one_more).await.problems(), [("/collaborator".into(), "TOO_MANY".into())]);
    add_collaborator(&ada, &job, json!({"userId": bob.id()}), json!(["first"])).await;
}

both!(access_rows_have_timestamps_of_their_job);
async fn access_rows_have_timestamps_of_their_job(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let job = ada.noop_job().await;
    app.clock.advance(chrono::TimeDelta::minutes(1));
    add_collaborator(&ada, &job, json!({"userId": bob.id()}), json!(["*"])).await;
    app.worker().finish(job_id(&job)).await;
    let row = job::Entity::find_by_id(job_id(&job)).one(app.db.read()).await.unwrap().expect("the job");
    let rows =
        access::Entity::find().filter(access::Column::JobId.eq(row.id)).all(app.db.read()).await.unwrap();
    assert_eq!(rows.len(), 2);
    for access in rows {
        assert_eq!((access.created_at, access.updated_at), (row.created_at, row.updated_at));
    }
}

both!(removed_collaborator_receives_no_further_events);
async fn removed_collaborator_receives_no_further_events(app: TestApp) {
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
        subscription.wait_for("the history has arrived", |event| event["jobEvents"]["sequence"] == 4).await;
        events.push(subscription);
    }
    let mut all = bob.subscribe("subscription { events { jobId sequence } }", json!({})).await;
    all.wait_for("the feed has arrived", |event| {
        event["events"]["jobId"] == other && event["events"]["sequence"] == 3
    })
    .await;
    let mut jobs = bob.subscribe("subscription { jobsUpdated { id status } }", json!({})).await;
    app.wait_until("both lists are subscribed", async || app.changes.subscribers() == 2).await;

    let remove_member = "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { id } } }";
    cyd.gql(remove_member, json!({"in": {"teamId": team, "userId": bob.id()}})).await;
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    ada.gql(update, json!({"in": {"id": job, "metadata": {"secret": true}}})).await;
    for subscription in updated.into_iter().chain(events) {
        assert_eq!(
            subscription.expect_error().await.code(),
            "FORBIDDEN",
            "no event arrives before the error"
        );
    }
    bob.gql(update, json!({"in": {"id": other, "metadata": {"mine": true}}})).await;
    assert_eq!(all.next().await["events"]["jobId"], other, "list subscriptions continue without the job");
    assert_eq!(jobs.next().await["jobsUpdated"]["id"], other);
}

both!(job_list_merges_own_and_shared_jobs);
async fn job_list_merges_own_and_shared_jobs(app: TestApp) {
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
