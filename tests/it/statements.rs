//! Checks that the number of SQL statements of a response does not grow with the number of entries.

use docket::events::feed::FeedPosition;
use docket::job::query::Filter;
use serde_json::{Value, json};

use crate::harness::{TestApp, User, both, job_id};

/// All fields of a job.
const JOB: &str = "
    id type { id steps { name } } status progress { current total fraction } owner { id email teams { id } }
    inputContent { role uri document { id owner { email } signedContentsUri } }
    outputContent { role uri document { id owner { email } } }
    contents { role version step document { id owner { email } } }
    collaboration { teams { steps team { name members { email } } } users { steps user { email } } }
    metadata steps { name status message } currentStep { name message }
    review { id reason items { path } content { role document { id } } claimedBy { id } job { id } }
    failure { code } mode permissions events(first: 5) { nodes { sequence kind data actor { email } job { id } } }
    timing { machineSeconds reviewSeconds waitingSeconds remainingSeconds }
    createdAt updatedAt startedAt finishedAt";

/// Creates jobs shared with a team and a user. Of every three jobs one is queued, one blocked and one completed.
async fn create_jobs(app: &TestApp, owner: &User, friend: &User, team: &str, count: usize) -> Vec<String> {
    let worker = app.worker();
    let mut made = Vec::new();
    for i in 0..count {
        let (job_type, step) =
            if i % 3 == 2 { ("noop", "third") } else { ("data-point-extraction", "output") };
        let share = json!([
            {"collaborator": {"teamId": team}},
            {"collaborator": {"userId": friend.id()}, "steps": [step]}
        ]);
        let metadata = json!({"mapping.taxonomy": "invoices"});
        let job =
            owner.create_job(json!({"type": job_type, "metadata": metadata, "collaboration": share})).await;
        for _ in 0..[0, 1, 3][i % 3] {
            let claim = worker.claim_step_of(job_id(&job)).await;
            let result = match claim.step.as_str() {
                "text-extraction" => worker.complete_with_review(&claim, "text-json", &json!({})).await,
                "third" => worker.complete_with(&claim, &[("output", json!({}))]).await,
                _ => worker.complete(&claim).await,
            };
            result.expect("the result is accepted");
        }
        made.push(job);
    }
    made
}

/// Additional statements allowed for 30 jobs, because lookups of several depths may or may not share a batch. Below the
/// nine additional jobs of each kind, so a statement per job still exceeds it.
const TOLERANCE: u64 = 8;

/// Measurements before a query fails the check.
const ATTEMPTS: usize = 20;

/// Runs a query for 3 and for 30 entries. Returns the costs if every response for 30 costs more than any for 3 plus
/// `tolerance` statements. The batching of lookups depends on timing, so a busy machine needs several attempts.
async fn growing_cost(
    app: &TestApp,
    person: &User,
    query: &str,
    variables: [Value; 2],
    tolerance: u64,
) -> Option<String> {
    let (mut of_three, mut of_thirty) = (0, u64::MAX);
    for _ in 0..ATTEMPTS {
        let mut costs = [0, 0];
        for (variables, cost) in variables.iter().zip(&mut costs) {
            // The first run fills caches, such as the job type definitions.
            person.gql(query, variables.clone()).await;
            *cost = app.count_statements(person.gql(query, variables.clone())).await.1;
        }
        (of_three, of_thirty) = (of_three.max(costs[0]), of_thirty.min(costs[1]));
        if of_thirty <= of_three + tolerance {
            return None;
        }
    }
    Some(format!("{}: {of_three} for 3, {of_thirty} for 30: {query}", person.name))
}

both!(statement_count_of_a_job_page_is_constant, |config| config.graphql.cost = 1_000_000);
async fn statement_count_of_a_job_page_is_constant(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("reviewers", &[&bob]).await;
    ada.put_taxonomy("invoices").await;
    create_jobs(&app, &ada, &bob, &team, 30).await;
    let variables = || [json!({"n": 3}), json!({"n": 30})];
    let mut found = Vec::new();
    for field in fields() {
        let query = format!("query($n: Int!) {{ jobs(first: $n) {{ nodes {{ id {field} }} }} }}");
        found.extend(growing_cost(&app, &bob, &query, variables(), TOLERANCE).await);
    }
    let query = format!("query($n: Int!) {{ jobs(first: $n) {{ nodes {{ {JOB} }} }} }}");
    for person in [&ada, &bob] {
        found.extend(growing_cost(&app, person, &query, variables(), TOLERANCE).await);
    }
    assert!(found.is_empty(), "these queries send statements for each job:\n{}", found.join("\n"));
    let page = ada.gql(&query, json!({"n": 30})).await;
    assert_eq!(page["jobs"]["nodes"].as_array().map(Vec::len), Some(30));
}

/// Returns the fields of [`JOB`] as separate strings.
fn fields() -> Vec<String> {
    let mut fields = Vec::new();
    let (mut depth, mut field) = (0, String::new());
    for token in JOB.replace('{', " { ").replace('}', " } ").split_whitespace() {
        let opens = token == "{";
        if depth == 0 && !opens && !field.is_empty() && !field.ends_with("(first:") {
            fields.push(std::mem::take(&mut field));
        }
        depth += i32::from(opens) - i32::from(token == "}");
        field = format!("{field} {token}").trim().to_owned();
    }
    fields.push(field);
    fields
}

#[test]
fn job_fields_under_test_are_complete() {
    let schema = crate::sdl::Sdl::parse(&docket::graphql::sdl()).elements();
    let has = schema.keys().filter_map(|name| name.strip_prefix("Job.")).filter(|name| !name.contains('('));
    let fields = fields();
    let counted = |name: &&str| {
        fields.iter().any(|field| field.split([' ', '(']).next().is_some_and(|first| first == *name))
    };
    let missing: Vec<_> = has.filter(|name| !counted(name)).collect();
    assert!(missing.is_empty(), "not in JOB: {missing:?}");
}

both!(statement_count_of_nodes_is_constant);
async fn statement_count_of_nodes_is_constant(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("reviewers", &[&bob]).await;
    ada.put_taxonomy("invoices").await;
    let ids = create_jobs(&app, &ada, &bob, &team, 30).await;
    let mut documents = Vec::new();
    for i in 0..30 {
        documents.push(ada.upload(format!("{i}"), "a.txt", "text/plain").await);
    }
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Job { status } ... on Document { name owner { email } } } }";
    let mut found = Vec::new();
    for (person, ids) in [(&ada, &ids), (&bob, &ids), (&ada, &documents)] {
        let variables = [json!({"ids": ids[..3]}), json!({"ids": ids[..30]})];
        let all = person.gql(query, variables[1].clone()).await;
        assert!(!all["nodes"].to_string().contains("null"), "{} sees all nodes", person.name);
        found.extend(growing_cost(&app, person, query, variables, 0).await);
    }
    assert!(found.is_empty(), "`nodes` sends statements for each ID:\n{}", found.join("\n"));
}

both!(statement_count_of_reviews_and_events_is_constant);
async fn statement_count_of_reviews_and_events_is_constant(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("reviewers", &[&bob]).await;
    ada.put_taxonomy("invoices").await;
    let worker = app.worker();
    let share = json!([{"collaborator": {"teamId": team}}]);
    for _ in 0..30 {
        let job = ada.extraction_job(share.clone()).await;
        let claim = worker.claim_step_of(job_id(&job)).await;
        worker.complete_with_review(&claim, "text-json", &json!({})).await.expect("the result is accepted");
    }
    let review = "id reason step status items { path } draft claimedBy { id } decidedBy { id } \
                  content { role document { id owner { email } } } job { id status owner { email } metadata }";
    let query = format!("query($n: Int!) {{ reviews(first: $n) {{ totalCount nodes {{ {review} }} }} }}");
    let mut found = Vec::new();
    for person in [&ada, &bob] {
        let page = person.gql(&query, json!({"n": 30})).await;
        assert_eq!(page["reviews"]["nodes"].as_array().map(Vec::len), Some(30));
        found.extend(growing_cost(&app, person, &query, [json!({"n": 3}), json!({"n": 30})], 0).await);
    }
    // A page of the feed as subscribers read it, for an owner and a collaborator.
    let filter = Filter { types: Some(vec!["data-point-extraction".into()]), ..Filter::default() };
    for person in [&ada, &bob] {
        let actor = person.actor().await;
        let mut costs = Vec::new();
        for length in [3, 30] {
            let read = app.jobs.feed(&actor, &filter, FeedPosition::START, length);
            let (range, cost) = app.count_statements(read).await;
            assert_eq!(range.expect("events").events.len() as u64, length);
            costs.push(cost);
        }
        assert_eq!(costs[0], costs[1], "the feed, for {}", person.name);
    }
    assert!(found.is_empty(), "these queries send statements for each review:\n{}", found.join("\n"));
}

both!(statement_count_of_other_lists_is_constant);
async fn statement_count_of_other_lists_is_constant(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let documents = "query($n: Int!) { documents(first: $n) { nodes { id name owner { email teams { id } } contentsUri } } }";
    let lists = "{ teams { id members { email } } taxonomies { name owner { email } } apiKeys { id } jobTypes { id } }";
    let mut costs = Vec::new();
    for (round, more) in [3, 27].into_iter().enumerate() {
        for i in 0..more {
            ada.upload(format!("{i}"), "a.txt", "text/plain").await;
            ada.team(&format!("team {round} {i}"), &[&bob]).await;
            ada.put_taxonomy(&format!("taxonomy {round} {i}")).await;
        }
        let count = if round == 0 { 3 } else { 30 };
        let (page, of_documents) = app.count_statements(ada.gql(documents, json!({"n": count}))).await;
        assert_eq!(page["documents"]["nodes"].as_array().map(Vec::len), Some(count));
        let (page, of_lists) = app.count_statements(ada.gql(lists, json!({}))).await;
        assert_eq!(page["teams"].as_array().map(Vec::len), Some(count));
        costs.push((of_documents, of_lists));
    }
    assert_eq!(costs[0], costs[1], "documents and other lists, with 3 and with 30 entries");
}

both!(subscribers_without_access_to_a_job_add_no_statements);
async fn subscribers_without_access_to_a_job_add_no_statements(app: TestApp) {
    const SUBSCRIBERS: usize = 30;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let job = ada.noop_job().await;
    let mut own = ada.subscribe("subscription { events { kind } }", json!({})).await;
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    let mut rounds = 0;
    let mut cost = async || {
        let five_updates = async {
            for _ in 0..5 {
                rounds += 1;
                ada.gql(update, json!({"in": {"id": job, "metadata": {"round": rounds}}})).await;
                own.wait_for("the event arrives", |event| event["events"]["kind"] == "METADATA_CHANGED")
                    .await;
            }
        };
        // The count includes the statements of the change poller.
        let before = app.db.statement_count();
        five_updates.await;
        app.db.statement_count() - before
    };
    let alone = cost().await;
    let mut others = Vec::new();
    for i in 0..SUBSCRIBERS {
        let field = ["events { jobId }", "jobsUpdated { id }", "reviewsUpdated { id }"][i % 3];
        others.push(eve.subscribe(&format!("subscription {{ {field} }}"), json!({})).await);
    }
    let all = SUBSCRIBERS + 1;
    app.wait_until("all subscribers are registered", async || app.changes.subscribers() == all).await;
    let followed = cost().await;
    assert!(
        followed < alone + SUBSCRIBERS as u64,
        "{alone} statements, {followed} with {SUBSCRIBERS} subscribers"
    );
    // Subscriptions of one user with the same filter share their reads.
    let last = ada.job(&job, "events(first: 100) { nodes { sequence } }").await;
    let last = last["events"]["nodes"].as_array().map(Vec::len);
    for _ in 0..SUBSCRIBERS {
        let mut subscription = ada.subscribe("subscription { events { sequence } }", json!({})).await;
        subscription
            .wait_for("the history has arrived", |event| {
                event["events"]["sequence"].as_u64() == last.map(|n| n as u64)
            })
            .await;
        others.push(subscription);
    }
    let shared = cost().await;
    assert!(
        shared < followed + SUBSCRIBERS as u64,
        "{followed} statements, {shared} with {SUBSCRIBERS} of one user"
    );
    let own_job = eve.noop_job().await;
    assert_eq!(
        others[0].next().await["events"]["jobId"],
        own_job,
        "the subscribers receive their own events"
    );
    assert_eq!(others[1].next().await["jobsUpdated"]["id"], own_job);
}
