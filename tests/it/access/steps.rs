//! What somebody sees of a job who was let in to one of its steps.

use serde_json::{Value, json};

use super::world::{HUSH, People, World};
use crate::harness::{TestApp, User, both, job_id};

fn roles(job: &Value) -> Vec<&str> {
    let contents = job["contents"].as_array().expect("contents");
    let mut roles: Vec<_> = contents.iter().filter_map(|content| content["role"].as_str()).collect();
    roles.sort_unstable();
    roles
}

both!(a_step_shows_its_own_contents_reviews_and_events);
async fn a_step_shows_its_own_contents_reviews_and_events(app: TestApp) {
    let people = People::new(&app).await;
    let world = World::new(&app, &people).await;
    let fields = "contents { role } review { id } permissions inputContent { role } \
                  events(first: 100) { nodes { sequence kind data } }";

    let all = people.all().job(&world.job, fields).await;
    assert_eq!(roles(&all), ["input", "mapping-json", "mapping-taxonomy-json", "text-json", "zoning-json"]);
    assert_eq!(all["review"]["id"], world.review.as_str());
    assert_eq!(all["permissions"], json!(["VIEW", "EDIT", "WORK", "CANCEL"]));
    assert!(!all["events"].to_string().contains("withheld"));

    let mapping = people.mapping().job(&world.job, fields).await;
    assert_eq!(roles(&mapping), ["input", "mapping-json", "mapping-taxonomy-json"]);
    assert_eq!(mapping["review"]["id"], world.review.as_str());
    assert_eq!(mapping["permissions"], json!(["VIEW", "WORK"]));
    let (theirs, all) = (events(&mapping), events(&all));
    assert_eq!(theirs.len(), all.len(), "nothing is left out of the history");
    for (seen, whole) in theirs.iter().zip(&all) {
        assert_eq!((&seen["sequence"], &seen["kind"]), (&whole["sequence"], &whole["kind"]));
        let of_others = match whole["kind"].as_str() {
            Some("CONTENT_ADDED") => {
                ["text-json", "zoning-json"].iter().any(|role| whole["data"]["role"] == **role)
            }
            Some("STEP_CHANGED") => whole["data"]["step"] != "mapping",
            _ => false,
        };
        if of_others {
            assert_eq!(seen["data"], json!({"step": whole["data"]["step"], "withheld": true}));
        } else {
            assert_eq!(seen["data"], whole["data"]);
        }
    }
}

fn events(job: &Value) -> Vec<Value> {
    job["events"]["nodes"].as_array().expect("events").clone()
}

both!(a_subscription_withholds_the_same_events);
async fn a_subscription_withholds_the_same_events(app: TestApp) {
    let people = People::new(&app).await;
    let world = World::new(&app, &people).await;
    let query = "subscription($id: ID!) { jobEvents(jobId: $id) { sequence kind data } }";
    let listed =
        people.mapping().job(&world.job, "events(first: 100) { nodes { sequence kind data } }").await;
    let mut followed = people.mapping().subscribe(query, json!({"id": world.job})).await;
    for event in events(&listed) {
        assert_eq!(followed.next().await["jobEvents"], event);
    }
}

both!(the_output_is_shown_to_those_of_its_step);
async fn the_output_is_shown_to_those_of_its_step(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let share = json!([
        {"collaborator": {"userId": bob.id()}, "steps": ["third"]},
        {"collaborator": {"userId": cyd.id()}, "steps": ["first"]}
    ]);
    let job = ada.create_job(json!({"collaboration": share})).await;
    app.worker().finish(job_id(&job)).await;
    let sees =
        async |person: &User| !person.job(&job, "outputContent { uri }").await["outputContent"].is_null();
    assert_eq!((sees(&ada).await, sees(&bob).await, sees(&cyd).await), (true, true, false));
}

both!(a_team_counts_for_its_members_as_of_now);
async fn a_team_counts_for_its_members_as_of_now(app: TestApp) {
    let people = People::new(&app).await;
    let world = World::new(&app, &people).await;
    let (owner, all) = (people.owner(), people.all());
    let query = "subscription($id: ID!) { jobUpdated(id: $id) { id } }";
    let mut open = all.subscribe(query, json!({"id": world.job})).await;
    open.next().await;

    let leave = "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { id } } }";
    owner.gql(leave, json!({"in": {"teamId": world.team, "userId": all.id()}})).await;
    assert_eq!(all.job(&world.job, "id").await, Value::Null);
    let edit = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    let refused = all.refused(edit, json!({"in": {"id": world.job, "priority": 1}})).await;
    assert_eq!(refused.code(), "NOT_FOUND");

    owner.gql(edit, json!({"in": {"id": world.job, "metadata": {"more": HUSH}}})).await;
    let error = open.error().await;
    assert_eq!(error.code(), "FORBIDDEN", "an open subscription ends");
}

both!(an_empty_list_of_steps_shows_the_job_alone);
async fn an_empty_list_of_steps_shows_the_job_alone(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": []}]);
    let job = ada.extraction_job(share).await;
    let seen = bob.job(&job, "status permissions contents { role }").await;
    assert_eq!(seen, json!({"status": "QUEUED", "permissions": ["VIEW"], "contents": [{"role": "input"}]}));
}
