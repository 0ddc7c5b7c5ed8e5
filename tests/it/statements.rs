//! How many statements an answer costs: as many for thirty entries as for three.

use docket::events::feed::Place;
use docket::job::query::Filter;
use serde_json::{Value, json};

use crate::harness::{TestApp, User, both, job_id};

/// Everything that a job says of itself.
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

/// Jobs, each shared with a team and a person; of every three in a row one is queued, one blocked and one completed.
async fn jobs(app: &TestApp, owner: &User, friend: &User, team: &str, count: usize) -> Vec<String> {
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
            let claim = worker.claim_of(job_id(&job)).await;
            let taken = match claim.step.as_str() {
                "text-extraction" => worker.ask(&claim, "text-json", &json!({})).await,
                "third" => worker.complete_with(&claim, &[("output", json!({}))]).await,
                _ => worker.complete(&claim).await,
            };
            taken.expect("a result is taken");
        }
        made.push(job);
    }
    made
}

/// Statements that may be more for thirty jobs: look-ups of several depths meet in one batch, or do not. Nine of every 27
/// jobs are alike, so that what any kind of job costs by itself is more.
const CHANCE: u64 = 8;

/// How often is asked before an answer is blamed.
const TRIES: usize = 20;

/// Asks the same of three and of thirty. Says what it costs where the cheapest answer of thirty costs more than the dearest
/// of three, `chance` statements apart: which look-ups meet in a batch depends on which of others was answered first,
/// and a machine with much to do deals that anew each time.
async fn dear(app: &TestApp, person: &User, query: &str, asks: [Value; 2], chance: u64) -> Option<String> {
    let (mut of_three, mut of_thirty) = (0, u64::MAX);
    for _ in 0..TRIES {
        let mut costs = [0, 0];
        for (variables, cost) in asks.iter().zip(&mut costs) {
            // What is read once and kept (the definitions of job types) is read here.
            person.gql(query, variables.clone()).await;
            *cost = app.count_statements(person.gql(query, variables.clone())).await.1;
        }
        (of_three, of_thirty) = (of_three.max(costs[0]), of_thirty.min(costs[1]));
        if of_thirty <= of_three + chance {
            return None;
        }
    }
    Some(format!("{}: {of_three} for 3, {of_thirty} for 30: {query}", person.name))
}

both!(a_page_of_jobs_costs_the_same_whatever_its_length, |config| config.graphql.cost = 1_000_000);
async fn a_page_of_jobs_costs_the_same_whatever_its_length(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("reviewers", &[&bob]).await;
    ada.put_taxonomy("invoices").await;
    jobs(&app, &ada, &bob, &team, 30).await;
    let asks = || [json!({"n": 3}), json!({"n": 30})];
    let mut found = Vec::new();
    for field in fields() {
        let query = format!("query($n: Int!) {{ jobs(first: $n) {{ nodes {{ id {field} }} }} }}");
        found.extend(dear(&app, &bob, &query, asks(), CHANCE).await);
    }
    let query = format!("query($n: Int!) {{ jobs(first: $n) {{ nodes {{ {JOB} }} }} }}");
    for person in [&ada, &bob] {
        found.extend(dear(&app, person, &query, asks(), CHANCE).await);
    }
    assert!(found.is_empty(), "these cost statements for each job:\n{}", found.join("\n"));
    let page = ada.gql(&query, json!({"n": 30})).await;
    assert_eq!(page["jobs"]["nodes"].as_array().map(Vec::len), Some(30));
}

/// The fields of [`JOB`], one by one.
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
fn every_field_of_a_job_is_counted() {
    let schema = crate::sdl::Sdl::parse(&docket::graphql::sdl()).said();
    let has = schema.keys().filter_map(|name| name.strip_prefix("Job.")).filter(|name| !name.contains('('));
    let fields = fields();
    let counted = |name: &&str| {
        fields.iter().any(|field| field.split([' ', '(']).next().is_some_and(|first| first == *name))
    };
    let missing: Vec<_> = has.filter(|name| !counted(name)).collect();
    assert!(missing.is_empty(), "not in JOB: {missing:?}");
}

both!(nodes_cost_the_same_however_many);
async fn nodes_cost_the_same_however_many(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("reviewers", &[&bob]).await;
    ada.put_taxonomy("invoices").await;
    let ids = jobs(&app, &ada, &bob, &team, 30).await;
    let mut documents = Vec::new();
    for i in 0..30 {
        documents.push(ada.upload(format!("{i}"), "a.txt", "text/plain").await);
    }
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Job { status } ... on Document { name owner { email } } } }";
    let mut found = Vec::new();
    for (person, ids) in [(&ada, &ids), (&bob, &ids), (&ada, &documents)] {
        let asks = [json!({"ids": ids[..3]}), json!({"ids": ids[..30]})];
        let all = person.gql(query, asks[1].clone()).await;
        assert!(!all["nodes"].to_string().contains("null"), "{} sees them all", person.name);
        found.extend(dear(&app, person, query, asks, 0).await);
    }
    assert!(found.is_empty(), "nodes costs statements for each ID:\n{}", found.join("\n"));
}

both!(reviews_and_events_cost_the_same_whatever_the_length_of_the_page);
async fn reviews_and_events_cost_the_same_whatever_the_length_of_the_page(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let team = ada.team("reviewers", &[&bob]).await;
    ada.put_taxonomy("invoices").await;
    let worker = app.worker();
    let share = json!([{"collaborator": {"teamId": team}}]);
    for _ in 0..30 {
        let job = ada.extraction_job(share.clone()).await;
        let claim = worker.claim_of(job_id(&job)).await;
        worker.ask(&claim, "text-json", &json!({})).await.expect("a result is taken");
    }
    let review = "id reason step status items { path } draft claimedBy { id } decidedBy { id } \
                  content { role document { id owner { email } } } job { id status owner { email } metadata }";
    let query = format!("query($n: Int!) {{ reviews(first: $n) {{ totalCount nodes {{ {review} }} }} }}");
    let mut found = Vec::new();
    for person in [&ada, &bob] {
        let page = person.gql(&query, json!({"n": 30})).await;
        assert_eq!(page["reviews"]["nodes"].as_array().map(Vec::len), Some(30));
        found.extend(dear(&app, person, &query, [json!({"n": 3}), json!({"n": 30})], 0).await);
    }
    // What a follower of the feed reads: a page of events with their jobs, for whoever may see them.
    let filter = Filter { types: Some(vec!["data-point-extraction".into()]), ..Filter::default() };
    for person in [&ada, &bob] {
        let actor = person.actor().await;
        let mut costs = Vec::new();
        for length in [3, 30] {
            let read = app.jobs.feed(&actor, &filter, Place::START, length);
            let (stretch, cost) = app.count_statements(read).await;
            assert_eq!(stretch.expect("events").events.len() as u64, length);
            costs.push(cost);
        }
        assert_eq!(costs[0], costs[1], "the feed, for {}", person.name);
    }
    assert!(found.is_empty(), "these cost statements for each review:\n{}", found.join("\n"));
}

both!(other_lists_cost_the_same_whatever_their_length);
async fn other_lists_cost_the_same_whatever_their_length(app: TestApp) {
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

both!(followers_whom_a_change_does_not_concern_cost_nothing);
async fn followers_whom_a_change_does_not_concern_cost_nothing(app: TestApp) {
    const FOLLOWERS: usize = 30;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let job = ada.noop_job().await;
    let mut own = ada.subscribe("subscription { events { kind } }", json!({})).await;
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    let mut rounds = 0;
    let mut cost = async || {
        let five = async {
            for _ in 0..5 {
                rounds += 1;
                ada.gql(update, json!({"in": {"id": job, "metadata": {"round": rounds}}})).await;
                own.until("it is heard of", |event| event["events"]["kind"] == "METADATA_CHANGED").await;
            }
        };
        // Those of the news are among them.
        let before = app.db.statements();
        five.await;
        app.db.statements() - before
    };
    let alone = cost().await;
    let mut others = Vec::new();
    for i in 0..FOLLOWERS {
        let what = ["events { jobId }", "jobsUpdated { id }", "reviewsUpdated { id }"][i % 3];
        others.push(eve.subscribe(&format!("subscription {{ {what} }}"), json!({})).await);
    }
    let all = FOLLOWERS + 1;
    app.wait_until("they follow", async || app.jobs.news.followers() == all).await;
    let followed = cost().await;
    assert!(
        followed < alone + FOLLOWERS as u64,
        "{alone} statements, {followed} with {FOLLOWERS} who follow"
    );
    // Those who are one person and ask for the same read once.
    let last = ada.job(&job, "events(first: 100) { nodes { sequence } }").await;
    let last = last["events"]["nodes"].as_array().map(Vec::len);
    for _ in 0..FOLLOWERS {
        let mut mine = ada.subscribe("subscription { events { sequence } }", json!({})).await;
        mine.until("it has caught up", |event| {
            event["events"]["sequence"].as_u64() == last.map(|n| n as u64)
        })
        .await;
        others.push(mine);
    }
    let shared = cost().await;
    assert!(
        shared < followed + FOLLOWERS as u64,
        "{followed} statements, {shared} with {FOLLOWERS} of one person"
    );
    let hers = eve.noop_job().await;
    assert_eq!(others[0].next().await["events"]["jobId"], hers, "what concerns them they hear of");
    assert_eq!(others[1].next().await["jobsUpdated"]["id"], hers);
}
