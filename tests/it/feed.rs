//! Tests of the feed: subscribers get every event once, in one order, in whatever order transactions commit.

use chrono::TimeDelta;
use docket::db::Statements;
use docket::entity::enums::EventKind;
use docket::entity::job_event;
use docket::events::NewEvent;
use docket::events::feed::{self, FeedPosition};
use docket::id::JobId;
use docket::job::query::Filter;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, TransactionTrait,
};
use serde_json::{Value, json};

use crate::harness::{Backend, TestApp, User, both, connect, job_id};

const EVENTS: &str = "subscription($filter: JobFilter, $after: String) {
    events(filter: $filter, after: $after) { cursor jobId sequence kind data } }";

/// Reads the feed of a user to its end, in pages of three events, and returns the events and the new position.
async fn read_feed(app: &TestApp, person: &User, from: FeedPosition) -> (Vec<(JobId, i64)>, FeedPosition) {
    let (actor, mut from, mut all) = (person.actor().await, from, Vec::new());
    loop {
        let range = app.jobs.feed(&actor, &Filter::default(), from, 3).await.expect("the feed can be read");
        all.extend(range.events.iter().map(|seen| (seen.event.job_id, seen.event.sequence)));
        from = range.next;
        if !range.more {
            return (all, from);
        }
    }
}

both!(feed_resumes_from_a_cursor_without_gaps_or_duplicates);
async fn feed_resumes_from_a_cursor_without_gaps_or_duplicates(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": ["first"]}]);
    let mut jobs = Vec::new();
    for i in 0..6 {
        let input = if i % 2 == 0 { json!({"collaboration": share}) } else { json!({}) };
        jobs.push(ada.create_job(input).await);
    }
    let mut cursor = Value::Null;
    let mut seen: Vec<(String, i64)> = Vec::new();
    for round in 0..6 {
        let mut feed = ada.subscribe(EVENTS, json!({"after": cursor})).await;
        if round > 0 {
            app.worker().finish_one().await;
        }
        for _ in 0..7 {
            let event = feed.next().await["events"].take();
            seen.push((
                event["jobId"].as_str().unwrap_or_default().to_owned(),
                event["sequence"].as_i64().unwrap_or(0),
            ));
            cursor = event["cursor"].clone();
        }
    }
    let stored = job_event::Entity::find()
        .order_by_asc(job_event::Column::Position)
        .order_by_asc(job_event::Column::JobId)
        .order_by_asc(job_event::Column::Sequence)
        .all(app.db.read())
        .await
        .expect("events");
    let expected: Vec<_> = stored.iter().map(|row| (row.job_id.to_string(), row.sequence)).collect();
    assert_eq!(seen, expected[..seen.len()], "every event once, in order");
    for job in &jobs {
        let sequences: Vec<_> =
            seen.iter().filter(|(id, _)| id == job).map(|(_, sequence)| *sequence).collect();
        assert_eq!(
            sequences,
            (1..=sequences.len() as i64).collect::<Vec<_>>(),
            "the events of a job in order"
        );
    }
    let (bobs, _) = read_feed(&app, &bob, FeedPosition::START).await;
    assert!(
        bobs.iter().all(|(id, _)| jobs.iter().position(|job| *job == id.to_string()).unwrap_or(1) % 2 == 0)
    );
    assert!(!bobs.is_empty());

    let refused = ada.subscribe(EVENTS, json!({"after": "nonsense"})).await;
    assert_eq!(refused.expect_error().await.code(), "BAD_USER_INPUT");
}

both!(feed_applies_the_filter_and_withholds_other_steps);
async fn feed_applies_the_filter_and_withholds_other_steps(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": ["second"]}]);
    let blue = ada.create_job(json!({"metadata": {"color": "blue"}, "collaboration": share})).await;
    let red = ada.create_job(json!({"metadata": {"color": "red"}, "collaboration": share})).await;
    app.worker().finish_all().await;
    let mut feed = bob.subscribe(EVENTS, json!({"filter": {"metadata": {"color": "red"}}})).await;
    let history = bob.job(&red, "events(first: 100) { nodes { sequence kind data cursor } }").await;
    for event in history["events"]["nodes"].as_array().expect("events") {
        let mut received = feed.next().await["events"].take();
        assert_eq!(received["jobId"], red);
        received.as_object_mut().expect("an event").remove("jobId");
        assert_eq!(received, *event, "the feed and the history contain the same event");
        let step = event["data"]["step"].as_str();
        let withheld = step.is_some_and(|step| step != "second") && event["kind"] == "STEP_CHANGED";
        assert_eq!(event["data"]["withheld"] == true, withheld, "{event}");
    }
    let job_events =
        "subscription($id: ID!, $after: String) { jobEvents(jobId: $id, after: $after) { sequence } }";
    let cursor = history["events"]["nodes"][2]["cursor"].clone();
    let mut rest = ada.subscribe(job_events, json!({"id": red, "after": cursor})).await;
    assert_eq!(rest.next().await["jobEvents"]["sequence"], 4, "a cursor of the history works for jobEvents");
    let refused = ada.subscribe(job_events, json!({"id": blue, "after": cursor})).await;
    assert_eq!(refused.expect_error().await.code(), "BAD_USER_INPUT");
}

/// Appends an event to a job in its own transaction, and returns the transaction uncommitted.
async fn append_uncommitted(app: &TestApp, job: &str) -> sea_orm::DatabaseTransaction {
    let connection = connect(app.database_url()).await;
    let tx = connection.begin().await.expect("a transaction");
    let id = job_id(job);
    let locked =
        docket::entity::job::Entity::find_by_id(id).lock_exclusive().one(&tx).await.expect("the lock");
    let row = locked.expect("the job");
    let sequence = row.seq + 1;
    let event = NewEvent {
        job: id,
        sequence,
        kind: EventKind::MetadataChanged,
        actor: None,
        step: None,
        at: row.updated_at + TimeDelta::seconds(1),
        data: json!({}),
    };
    let mut statements = Statements::default();
    feed::append(&mut statements, tx.get_database_backend(), vec![event]);
    statements.run(&tx).await.expect("the event is written");
    tx.execute_unprepared(&format!("UPDATE job SET seq = {sequence} WHERE id = '{id}'"))
        .await
        .expect("the sequence is written");
    tx
}

/// PostgreSQL only, which has concurrent writers. Commits three transactions in every order, and reads in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_in_any_order_lose_no_event() {
    TestApp::run(
        Backend::Postgres,
        async |app| {
            let ada = app.user("ada").await;
            let jobs = [ada.noop_job().await, ada.noop_job().await, ada.noop_job().await];
            // Transactions in other databases of the cluster can delay the feed.
            let count_events = async |from| read_feed(&app, &ada, from).await.0.len();
            app.wait_until("the creation events are read", async || {
                count_events(FeedPosition::START).await == 9
            })
            .await;
            let (_, start) = read_feed(&app, &ada, FeedPosition::START).await;
            let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
            let (mut read, mut position) = (Vec::new(), start);
            for order in orders {
                let mut transactions = Vec::new();
                for job in &jobs {
                    transactions.push(Some(append_uncommitted(&app, job).await));
                }
                for i in order {
                    let tx = transactions[i].take().expect("an open transaction");
                    tx.commit().await.expect("the transaction commits");
                    let (part, next) = read_feed(&app, &ada, position).await;
                    assert!(next >= position, "a reader never goes back");
                    read.extend(part);
                    position = next;
                }
            }
            app.wait_until("all new events can be read", async || count_events(start).await == 18).await;
            let (part, _) = read_feed(&app, &ada, position).await;
            read.extend(part);
            let (again, _) = read_feed(&app, &ada, start).await;
            assert_eq!(read, again, "early and late readers see the same order");
            let rows = job_event::Entity::find().filter(job_event::Column::Kind.eq("METADATA_CHANGED"));
            assert_eq!(read.len(), rows.all(app.db.read()).await.expect("events").len());
            assert_eq!(read.len(), 18);
        },
        |_| {},
    )
    .await;
}

/// A transaction that waits for a job's lock gets a later position than the holder, even if it began earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_that_waits_for_lock_comes_later_in_feed() {
    TestApp::run(
        Backend::Postgres,
        async |app| {
            let ada = app.user("ada").await;
            let job = ada.noop_job().await;
            let first = append_uncommitted(&app, &job).await;
            let (app_clone, id) = (app.clone(), job.clone());
            let waiting = app.tasks.spawn(async move { append_uncommitted(&app_clone, &id).await.commit().await });
            let waits = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            app.wait_until("the second transaction waits for the lock", async || {
                let row = app.db.read().query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, waits)).await;
                row.ok().flatten().and_then(|row| row.try_get::<i64>("", "n").ok()).is_some_and(|n| n > 0)
            })
            .await;
            first.commit().await.expect("the transaction commits");
            waiting.await.expect("the task ends").expect("the transaction commits");
            let events = job_event::Entity::find().filter(job_event::Column::JobId.eq(job_id(&job)));
            let rows = events.order_by_asc(job_event::Column::Sequence).all(app.db.read()).await.expect("events");
            assert!(rows.is_sorted_by_key(|row| row.position), "{rows:#?}");
            assert_eq!(rows.len(), 5);
        },
        |_| {},
    )
    .await;
}

/// The events of a job stay in order in the feed, in whatever order concurrent transactions get its lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_updates_of_one_job_keep_event_order() {
    TestApp::run(
        Backend::Postgres,
        async |app| {
            let ada = app.user("ada").await;
            let job = ada.noop_job().await;
            let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
            for round in 0..5 {
                let all = (0..20)
                    .map(|i| ada.gql(update, json!({"in": {"id": job, "metadata": {"n": round * 100 + i}}})));
                futures_util::future::join_all(all).await;
            }
            let events = job_event::Entity::find().filter(job_event::Column::JobId.eq(job_id(&job)));
            let rows =
                events.order_by_asc(job_event::Column::Sequence).all(app.db.read()).await.expect("events");
            let positions: Vec<_> = rows.iter().map(|row| row.position).collect();
            assert!(positions.is_sorted(), "{positions:?}");
            assert_eq!(rows.len(), 103);
        },
        |_| {},
    )
    .await;
}

/// A dump restored into a new cluster contains positions that the transaction IDs of the cluster have not reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_events_follow_old_ones_after_a_restore() {
    TestApp::run(
        Backend::Postgres,
        async |app| {
            let ada = app.user("ada").await;
            let old = ada.noop_job().await;
            let future = "UPDATE job_event SET position = position + 1000000000000";
            app.db.writer().execute_unprepared(future).await.expect("the positions are raised");
            feed::align(&app.db).await.expect("the base is raised");
            let read = async || read_feed(&app, &ada, FeedPosition::START).await;
            app.wait_until("the old events are read", async || read().await.0.len() == 3).await;
            let (before, position) = read().await;
            assert!(before.iter().all(|(job, _)| job.to_string() == old));
            let new = ada.noop_job().await;
            app.wait_until("the new events are read", async || {
                let (after, _) = read_feed(&app, &ada, position).await;
                after.len() == 3 && after.iter().all(|(job, _)| job.to_string() == new)
            })
            .await;
            feed::align(&app.db).await.expect("the base stays");
            assert_eq!(
                read_feed(&app, &ada, position).await.0.len(),
                3,
                "a second alignment changes nothing"
            );
        },
        |_| {},
    )
    .await;
}

/// A change by another node wakes the subscribers of this node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_by_other_nodes_reach_local_subscribers() {
    TestApp::run(
        Backend::Postgres,
        async |app| {
            let ada = app.user("ada").await;
            let job = ada.noop_job().await;
            let query = "subscription($id: ID!) { jobEvents(jobId: $id) { sequence } }";
            let mut events = ada.subscribe(query, json!({"id": job})).await;
            for sequence in 1..=3 {
                assert_eq!(events.next().await["jobEvents"]["sequence"], sequence);
            }
            let mut list = ada.subscribe("subscription { jobsUpdated { id } }", json!({})).await;
            app.wait_until("the list is subscribed", async || app.changes.subscribers() == 1).await;
            // The transaction of another node sends no wake-up in this process.
            append_uncommitted(&app, &job).await.commit().await.expect("the transaction commits");
            assert_eq!(events.next().await["jobEvents"]["sequence"], 4);
            assert_eq!(list.next().await["jobsUpdated"]["id"], job);
        },
        |_| {},
    )
    .await;
}

/// Progress and team membership are not part of the history, so changes by other nodes have no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_and_membership_changes_reach_other_nodes() {
    TestApp::run(
        Backend::Postgres,
        async |app| {
            let (ada, bob) = (app.user("ada").await, app.user("bob").await);
            let team = ada.team("reviewers", &[&bob]).await;
            let share = json!([{"collaborator": {"teamId": team}}]);
            let job = ada.create_job(json!({"collaboration": share})).await;
            let query = "subscription($id: ID!) { jobEvents(jobId: $id) { sequence } }";
            let mut events = bob.subscribe(query, json!({"id": job})).await;
            let list = "subscription { jobsUpdated { status progress { fraction } } }";
            let mut list = ada.subscribe(list, json!({})).await;
            app.wait_until("the list is subscribed", async || app.changes.subscribers() == 1).await;
            app.worker().claim_step_of(job_id(&job)).await;
            list.wait_for("the step is claimed", |received| received["jobsUpdated"]["status"] == "RUNNING")
                .await;
            let last = app.jobs.history(job_id(&job), 0, 100).await.expect("the history").len();
            events
                .wait_for("the history has arrived", |received| received["jobEvents"]["sequence"] == last)
                .await;
            let write =
                async |sql| app.db.writer().execute_unprepared(sql).await.expect("the row is written");
            write("UPDATE task SET fraction = 0.5").await;
            let has_progress =
                |received: &Value| received["jobsUpdated"]["progress"]["fraction"].as_f64() > Some(0.0);
            list.wait_for("the progress arrives", has_progress).await;
            write("DELETE FROM team_member").await;
            assert_eq!(events.expect_error().await.code(), "FORBIDDEN");
        },
        |_| {},
    )
    .await;
}
