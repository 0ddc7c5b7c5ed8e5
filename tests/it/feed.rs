//! The feed over all jobs: everything once, in one order, whatever order transactions commit in.

use chrono::TimeDelta;
use docket::entity::enums::EventKind;
use docket::entity::job_event;
use docket::events::feed::{self, NewEvent, Place};
use docket::id::JobId;
use docket::job::query::Filter;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, TransactionTrait,
};
use serde_json::{Value, json};

use crate::harness::{Backend, TestApp, User, both, connect, job_id};

const EVENTS: &str = "subscription($filter: JobFilter, $after: String) {
    events(filter: $filter, after: $after) { cursor jobId sequence kind data } }";

/// Everything that somebody finds in the feed now, read in small parts.
async fn whole(app: &TestApp, person: &User, from: Place) -> (Vec<(JobId, i64)>, Place) {
    let (actor, mut from, mut all) = (person.actor().await, from, Vec::new());
    loop {
        let stretch = app.jobs.feed(&actor, &Filter::default(), from, 3).await.expect("the feed can be read");
        all.extend(stretch.events.iter().map(|seen| (seen.event.job_id, seen.event.sequence)));
        from = stretch.next;
        if !stretch.more {
            return (all, from);
        }
    }
}

both!(the_feed_tells_everything_once_and_goes_on_where_one_left_off);
async fn the_feed_tells_everything_once_and_goes_on_where_one_left_off(app: TestApp) {
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
    assert_eq!(seen, expected[..seen.len()], "in one order, nothing twice, nothing left out");
    for job in &jobs {
        let sequences: Vec<_> =
            seen.iter().filter(|(id, _)| id == job).map(|(_, sequence)| *sequence).collect();
        assert_eq!(
            sequences,
            (1..=sequences.len() as i64).collect::<Vec<_>>(),
            "a job's own events in their order"
        );
    }
    let (bobs, _) = whole(&app, &bob, Place::START).await;
    assert!(
        bobs.iter().all(|(id, _)| jobs.iter().position(|job| *job == id.to_string()).unwrap_or(1) % 2 == 0)
    );
    assert!(!bobs.is_empty());

    let foreign = ada.subscribe(EVENTS, json!({"after": "nonsense"})).await;
    assert_eq!(foreign.error().await.code(), "BAD_USER_INPUT");
}

both!(a_filter_chooses_and_steps_are_withheld);
async fn a_filter_chooses_and_steps_are_withheld(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": ["second"]}]);
    let blue = ada.create_job(json!({"metadata": {"colour": "blue"}, "collaboration": share})).await;
    let red = ada.create_job(json!({"metadata": {"colour": "red"}, "collaboration": share})).await;
    app.worker().finish_all().await;
    let mut feed = bob.subscribe(EVENTS, json!({"filter": {"metadata": {"colour": "red"}}})).await;
    let history = bob.job(&red, "events(first: 100) { nodes { sequence kind data cursor } }").await;
    for event in history["events"]["nodes"].as_array().expect("events") {
        let mut told = feed.next().await["events"].take();
        assert_eq!(told["jobId"], red);
        told.as_object_mut().expect("an event").remove("jobId");
        assert_eq!(told, *event, "the feed and the history say the same");
        let step = event["data"]["step"].as_str();
        let withheld = step.is_some_and(|step| step != "second") && event["kind"] == "STEP_CHANGED";
        assert_eq!(event["data"]["withheld"] == true, withheld, "{event}");
    }
    let job_events =
        "subscription($id: ID!, $after: String) { jobEvents(jobId: $id, after: $after) { sequence } }";
    let cursor = history["events"]["nodes"][2]["cursor"].clone();
    let mut rest = ada.subscribe(job_events, json!({"id": red, "after": cursor})).await;
    assert_eq!(rest.next().await["jobEvents"]["sequence"], 4, "one cursor is good for both");
    let foreign = ada.subscribe(job_events, json!({"id": blue, "after": cursor})).await;
    assert_eq!(foreign.error().await.code(), "BAD_USER_INPUT");
}

/// Writes an event of a job in a transaction of its own, which stays open until `commit` of what it returns.
async fn open(app: &TestApp, job: &str) -> sea_orm::DatabaseTransaction {
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
    feed::append(&tx, vec![event]).await.expect("it is written");
    tx.execute_unprepared(&format!("UPDATE job SET seq = {sequence} WHERE id = '{id}'"))
        .await
        .expect("it is counted");
    tx
}

/// On PostgreSQL, where writers run side by side: commits in every order, with readings in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_out_of_order_lose_nothing() {
    TestApp::tell(
        Backend::Postgres,
        async |app| {
            let ada = app.user("ada").await;
            let jobs = [ada.noop_job().await, ada.noop_job().await, ada.noop_job().await];
            // Whatever else the cluster is doing holds the feed back.
            let everything = async |from| whole(&app, &ada, from).await.0.len();
            app.wait_until("their making is read", async || everything(Place::START).await == 9).await;
            let (_, start) = whole(&app, &ada, Place::START).await;
            let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
            let (mut read, mut place) = (Vec::new(), start);
            for order in orders {
                let mut open_ones = Vec::new();
                for job in &jobs {
                    open_ones.push(Some(open(&app, job).await));
                }
                for i in order {
                    let tx = open_ones[i].take().expect("it is open");
                    tx.commit().await.expect("it commits");
                    let (part, next) = whole(&app, &ada, place).await;
                    assert!(next >= place, "a reader never goes back");
                    read.extend(part);
                    place = next;
                }
            }
            app.wait_until("all is there to be read", async || everything(start).await == 18).await;
            let (part, _) = whole(&app, &ada, place).await;
            read.extend(part);
            let (again, _) = whole(&app, &ada, start).await;
            assert_eq!(read, again, "who reads meanwhile and who reads later see the same order");
            let rows = job_event::Entity::find().filter(job_event::Column::Kind.eq("METADATA_CHANGED"));
            assert_eq!(read.len(), rows.all(app.db.read()).await.expect("events").len());
            assert_eq!(read.len(), 18);
        },
        |_| {},
    )
    .await;
}

/// A transaction that waited for a job's lock has a later position than the one that it waited for, even where it was begun
/// earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waited_for_the_lock_comes_later_in_the_feed() {
    TestApp::tell(
        Backend::Postgres,
        async |app| {
            let ada = app.user("ada").await;
            let job = ada.noop_job().await;
            let first = open(&app, &job).await;
            let (again, id) = (app.clone(), job.clone());
            let waiting = app.tasks.spawn(async move { open(&again, &id).await.commit().await });
            let waits = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            app.wait_until("the second waits for the lock", async || {
                let row = app.db.read().query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, waits)).await;
                row.ok().flatten().and_then(|row| row.try_get::<i64>("", "n").ok()).is_some_and(|n| n > 0)
            })
            .await;
            first.commit().await.expect("it commits");
            waiting.await.expect("it ends").expect("it commits");
            let events = job_event::Entity::find().filter(job_event::Column::JobId.eq(job_id(&job)));
            let rows = events.order_by_asc(job_event::Column::Sequence).all(app.db.read()).await.expect("events");
            assert!(rows.is_sorted_by_key(|row| row.position), "{rows:#?}");
            assert_eq!(rows.len(), 5);
        },
        |_| {},
    )
    .await;
}

/// However many wait for one job at once, and in whatever order they get it, its events stand in their order in the feed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_wait_for_one_job_keep_its_order() {
    TestApp::tell(
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

/// A dump that was restored into a younger cluster has positions that its transactions have not come to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_new_events_come_after_the_old_ones() {
    TestApp::tell(
        Backend::Postgres,
        async |app| {
            let ada = app.user("ada").await;
            let old = ada.noop_job().await;
            let future = "UPDATE job_event SET position = position + 1000000000000";
            app.db.writer().execute_unprepared(future).await.expect("as after a restore");
            feed::align(&app.db).await.expect("it is seen and mended");
            let read = async || whole(&app, &ada, Place::START).await;
            app.wait_until("the old ones are read", async || read().await.0.len() == 3).await;
            let (before, place) = read().await;
            assert!(before.iter().all(|(job, _)| job.to_string() == old));
            let new = ada.noop_job().await;
            app.wait_until("it is read", async || {
                let (after, _) = whole(&app, &ada, place).await;
                after.len() == 3 && after.iter().all(|(job, _)| job.to_string() == new)
            })
            .await;
            feed::align(&app.db).await.expect("nothing is to mend");
            assert_eq!(whole(&app, &ada, place).await.0.len(), 3, "and nothing moves again");
        },
        |_| {},
    )
    .await;
}

/// Changes that another node has made become hints here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_other_nodes_are_heard_of() {
    TestApp::tell(
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
            app.wait_until("the list is followed", async || app.jobs.news.followers() == 1).await;
            // Another node's transaction: nothing of this process hints at it.
            open(&app, &job).await.commit().await.expect("it commits");
            assert_eq!(events.next().await["jobEvents"]["sequence"], 4);
            assert_eq!(list.next().await["jobsUpdated"]["id"], job);
        },
        |_| {},
    )
    .await;
}

/// How far a worker of another node has got, and who has left a team there, stands in no history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_and_memberships_of_other_nodes_are_heard_of() {
    TestApp::tell(
        Backend::Postgres,
        async |app| {
            let (ada, bob) = (app.user("ada").await, app.user("bob").await);
            let team = ada.team("reviewers", &[&bob]).await;
            let share = json!([{"collaborator": {"teamId": team}}]);
            let job = ada.create_job(json!({"collaboration": share})).await;
            let events = "subscription($id: ID!) { jobEvents(jobId: $id) { sequence } }";
            let mut his = bob.subscribe(events, json!({"id": job})).await;
            let list = "subscription { jobsUpdated { status progress { fraction } } }";
            let mut list = ada.subscribe(list, json!({})).await;
            app.wait_until("the list is followed", async || app.jobs.news.followers() == 1).await;
            app.worker().claim_of(job_id(&job)).await;
            list.until("it is claimed", |heard| heard["jobsUpdated"]["status"] == "RUNNING").await;
            let last = app.jobs.history(job_id(&job), 0, 100).await.expect("there is a history").len();
            his.until("all is heard", |heard| heard["jobEvents"]["sequence"] == last).await;
            let write = async |sql| app.db.writer().execute_unprepared(sql).await.expect("it is written");
            write("UPDATE task SET fraction = 0.5").await;
            let further = |heard: &Value| heard["jobsUpdated"]["progress"]["fraction"].as_f64() > Some(0.0);
            list.until("it has got further", further).await;
            write("DELETE FROM team_member").await;
            assert_eq!(his.error().await.code(), "FORBIDDEN");
        },
        |_| {},
    )
    .await;
}
