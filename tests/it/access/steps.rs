//! The view of collaborators who have access to single steps of a job.

use serde_json::{Value, json};

use super::fixture::{Fixture, MARKER, Users};
use crate::harness::{TestApp, User, both, job_id};

fn roles(job: &Value) -> Vec<&str> {
    let contents = job["contents"].as_array().expect("contents");
    let mut roles: Vec<_> = contents.iter().filter_map(|content| content["role"].as_str()).collect();
    roles.sort_unstable();
    roles
}

both!(collaborator_with_one_step_sees_only_its_contents);
async fn collaborator_with_one_step_sees_only_its_contents(app: TestApp) {
    let users = Users::new(&app).await;
    let fixture = Fixture::new(&app, &users).await;
    let fields = "contents { role } review { id } permissions inputContent { role } \
                  events(first: 100) { nodes { sequence kind data } }";

    let all = users.all().job(&fixture.job, fields).await;
    assert_eq!(roles(&all), ["input", "mapping-json", "mapping-taxonomy-json", "text-json", "zoning-json"]);
    assert_eq!(all["review"]["id"], fixture.review.as_str());
    assert_eq!(all["permissions"], json!(["VIEW", "EDIT", "WORK", "CANCEL"]));
    assert!(!all["events"].to_string().contains("withheld"));

    let mapping = users.mapping().job(&fixture.job, fields).await;
    assert_eq!(roles(&mapping), ["input", "mapping-json", "mapping-taxonomy-json"]);
    assert_eq!(mapping["review"]["id"], fixture.review.as_str());
    assert_eq!(mapping["permissions"], json!(["VIEW", "WORK"]));
    let (visible, all) = (events(&mapping), events(&all));
    assert_eq!(visible.len(), all.len(), "the history is complete");
    for (seen, full) in visible.iter().zip(&all) {
        assert_eq!((&seen["sequence"], &seen["kind"]), (&full["sequence"], &full["kind"]));
        let is_withheld = match full["kind"].as_str() {
            Some("CONTENT_ADDED") => {
                ["text-json", "zoning-json"].iter().any(|role| full["data"]["role"] == **role)
            }
            Some("STEP_CHANGED") => full["data"]["step"] != "mapping",
            _ => false,
        };
        if is_withheld {
            assert_eq!(seen["data"], json!({"step": full["data"]["step"], "withheld": true}));
        } else {
            assert_eq!(seen["data"], full["data"]);
        }
    }
}

fn events(job: &Value) -> Vec<Value> {
    job["events"]["nodes"].as_array().expect("events").clone()
}

both!(subscription_withholds_the_same_data_as_the_history);
async fn subscription_withholds_the_same_data_as_the_history(app: TestApp) {
    let users = Users::new(&app).await;
    let fixture = Fixture::new(&app, &users).await;
    let query = "subscription($id: ID!) { jobEvents(jobId: $id) { sequence kind data } }";
    let listed =
        users.mapping().job(&fixture.job, "events(first: 100) { nodes { sequence kind data } }").await;
    let mut subscription = users.mapping().subscribe(query, json!({"id": fixture.job})).await;
    for event in events(&listed) {
        assert_eq!(subscription.next().await["jobEvents"], event);
    }
}

both!(output_is_visible_only_with_access_to_its_step);
async fn output_is_visible_only_with_access_to_its_step(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let share = json!([
        {"collaborator": {"userId": bob.id()}, "steps": ["third"]},
        {"collaborator": {"userId": cyd.id()}, "steps": ["first"]}
    ]);
    let job = ada.create_job(json!({"collaboration": share})).await;
    app.worker().finish(job_id(&job)).await;
    let sees = async |user: &User| !user.job(&job, "outputContent { uri }").await["outputContent"].is_null();
    assert_eq!((sees(&ada).await, sees(&bob).await, sees(&cyd).await), (true, true, false));
}

both!(removed_team_member_loses_access_at_once);
async fn removed_team_member_loses_access_at_once(app: TestApp) {
    let users = Users::new(&app).await;
    let fixture = Fixture::new(&app, &users).await;
    let (owner, all) = (users.owner(), users.all());
    let query = "subscription($id: ID!) { jobUpdated(id: $id) { id } }";
    let mut open = all.subscribe(query, json!({"id": fixture.job})).await;
    open.next().await;

    let remove = "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { id } } }";
    owner.gql(remove, json!({"in": {"teamId": fixture.team, "userId": all.id()}})).await;
    assert_eq!(all.job(&fixture.job, "id").await, Value::Null);
    let edit = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    let refused = all.gql_err(edit, json!({"in": {"id": fixture.job, "priority": 1}})).await;
    assert_eq!(refused.code(), "NOT_FOUND");

    owner.gql(edit, json!({"in": {"id": fixture.job, "metadata": {"more": MARKER}}})).await;
    let error = open.expect_error().await;
    assert_eq!(error.code(), "FORBIDDEN", "an open subscription ends");
}

both!(collaborator_without_steps_sees_only_job_and_input);
async fn collaborator_without_steps_sees_only_job_and_input(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": []}]);
    let job = ada.extraction_job(share).await;
    let seen = bob.job(&job, "status permissions contents { role }").await;
    assert_eq!(seen, json!({"status": "QUEUED", "permissions": ["VIEW"], "contents": [{"role": "input"}]}));
}
