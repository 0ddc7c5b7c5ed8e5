//! Checks the query plans of lists with 100,000 jobs: each uses its index, and none scans a large table.

use std::collections::BTreeSet;

use docket::access::Actor;
use docket::entity::enums::ReviewStatus;
use docket::events::feed::FeedPosition;
use docket::id::UserId;
use docket::job::query::{Filter, OrderBy, Ownership};
use docket::page::{Direction, List, Paging};
use docket::review;
use docket::team;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::harness::{Backend, TestApp};

/// The indexes that a query uses, and its full scans of large tables.
struct Plan {
    query: &'static str,
    indexes: BTreeSet<String>,
    scans: Vec<String>,
}

struct Planner<'a> {
    app: &'a TestApp,
    sent: UnboundedReceiver<String>,
    plans: Vec<Plan>,
}

impl Planner<'_> {
    async fn record<T>(&mut self, query: &'static str, work: impl Future<Output = T>) -> T {
        while self.sent.try_recv().is_ok() {}
        let response = work.await;
        let statements: Vec<_> = std::iter::from_fn(|| self.sent.try_recv().ok()).collect();
        assert!(!statements.is_empty(), "{query}: no statement was sent");
        let (mut indexes, mut scans) = (BTreeSet::new(), Vec::new());
        for statement in statements.iter().filter(|statement| statement.trim_start().starts_with("SELECT")) {
            for line in self.explain(statement).await {
                let words: Vec<&str> = line.split_whitespace().collect();
                let after = |word: &str| words.iter().position(|w| *w == word).and_then(|i| words.get(i + 1));
                // "SEARCH job USING INDEX name (…)", "Index Scan using name on job", "Bitmap Index Scan on name".
                let index = after("INDEX").or_else(|| after("using"));
                indexes.extend(index.map(ToString::to_string));
                if line.contains("Bitmap Index Scan on") {
                    indexes.extend(after("on").map(ToString::to_string));
                }
                let is_scanned = |table: &&&str| {
                    line == format!("SCAN {table}")
                        || line.contains(&format!("Seq Scan on {table} "))
                        || line.ends_with(&format!("Seq Scan on {table}"))
                };
                let large = ["job", "access", "job_event", "content", "document", "confidence"];
                scans.extend(large.iter().find(is_scanned).map(|_| format!("{line}\n    of {statement}")));
            }
        }
        self.plans.push(Plan { query, indexes, scans });
        response
    }

    async fn explain(&self, statement: &str) -> Vec<String> {
        let (backend, sql) = match self.app.backend() {
            Backend::Sqlite => (DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {statement}")),
            Backend::Postgres => (DbBackend::Postgres, format!("EXPLAIN (COSTS OFF) {statement}")),
        };
        let rows =
            self.app.db.read().query_all_raw(Statement::from_string(backend, sql)).await.expect("a plan");
        let column = if backend == DbBackend::Sqlite { "detail" } else { "QUERY PLAN" };
        rows.iter().map(|row| row.try_get::<String>("", column).expect("a line").trim().to_owned()).collect()
    }
}

const JOBS: u32 = 100_000;

/// Inserts 100,000 jobs of one owner: all are shared with a team, every hundredth is blocked with an open review.
async fn insert_jobs(app: &TestApp, owner: UserId, team: uuid::Uuid) {
    let sqlite = app.backend() == Backend::Sqlite;
    let numbers = if sqlite {
        format!(
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS}) SELECT i FROM n)"
        )
    } else {
        format!("(SELECT generate_series(1, {JOBS}) AS i)")
    };
    let id = |kind: u8| {
        if sqlite {
            format!("unhex('0198c0de{kind:02x}0070008000' || printf('%012x', i))")
        } else {
            format!("('0198c0de-{kind:02x}00-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid")
        }
    };
    let uuid = |id: uuid::Uuid| if sqlite { format!("x'{}'", id.simple()) } else { format!("'{id}'::uuid") };
    let at = if sqlite {
        "strftime('%Y-%m-%dT%H:%M:%f+00:00', 1700000000 + i, 'unixepoch')"
    } else {
        "to_timestamp(1700000000 + i)"
    };
    let json = |text: &str| if sqlite { format!("'{text}'") } else { format!("'{text}'::jsonb") };
    let steps = json(
        r#"[{"name":"mapping","title":"m","kind":"AUTOMATIC","status":"BLOCKED","attempt":1,"max_attempts":3,"timeout_seconds":9,"started_at":null,"finished_at":null}]"#,
    );
    let (owner, team) = (uuid(owner.0), uuid(team));
    let (job, review, empty, all) = (id(1), id(2), json("{}"), json(r#"["*"]"#));
    let (some, none) = (json(r#"["mapping"]"#), json("[]"));
    let statements = [
        format!(
            "INSERT INTO job (id, type_id, type_version, owner_id, status, mode, metadata, priority, seq, fence, steps, input_name, created_at, updated_at) \
             SELECT {job}, 'noop', 1, {owner}, CASE WHEN i % 100 = 0 THEN 'BLOCKED' ELSE 'COMPLETED' END, 'LIVE', {empty}, 0, 3, 0, {steps}, 'x', {at}, {at} FROM {numbers} AS n"
        ),
        format!(
            "INSERT INTO access (job_id, principal_id, kind, steps, created_at, updated_at) SELECT {job}, {owner}, 'OWNER', {all}, {at}, {at} FROM {numbers} AS n"
        ),
        format!(
            "INSERT INTO access (job_id, principal_id, kind, steps, created_at, updated_at) SELECT {job}, {team}, 'TEAM', {some}, {at}, {at} FROM {numbers} AS n"
        ),
        format!(
            "INSERT INTO job_event (job_id, sequence, kind, at, data, position) \
             SELECT {job}, s.n, 'STATUS_CHANGED', {at}, {empty}, i FROM {numbers} AS n CROSS JOIN (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3) AS s"
        ),
        format!(
            "INSERT INTO review (id, job_id, type_id, step, status, reason, items, created_at, updated_at) \
             SELECT {review}, {job}, 'noop', 'mapping', 'OPEN', 'r', {none}, {at}, {at} FROM {numbers} AS n WHERE i % 100 = 0"
        ),
        format!(
            "INSERT INTO confidence (content_id, thousandths, missing, job_id, type_id, step, at, items, due, reviewed, corrected) \
             SELECT {review}, 500, {no}, {job}, 'data-point-extraction', 'mapping', {at}, 1, 1, 0, 0 FROM {numbers} AS n",
            no = if sqlite { "0" } else { "false" }
        ),
    ];
    for statement in statements {
        app.db
            .writer()
            .execute_unprepared(&statement)
            .await
            .unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
    // The base of the feed must be above the positions of these events.
    let further = format!("UPDATE feed SET base = base + {}", JOBS + 1);
    app.db.writer().execute_unprepared(&further).await.expect("the base is raised");
    if !sqlite {
        app.db.writer().execute_unprepared("ANALYZE").await.expect("statistics");
    }
}

/// The index that each query must use; it may use others too.
const EXPECTED: [(&str, &str); 11] = [
    ("jobs of the owner", "access_created"),
    ("jobs of the owner, by change", "access_updated"),
    ("jobs of a team", "access_created"),
    ("all jobs of an admin", "job_created"),
    // One user owns all these jobs, so PostgreSQL may choose either index.
    ("own jobs only", "job_owner_created|job_created"),
    ("jobs blocked at a step", "review_queue|review_job|review_open"),
    ("review queue", "review_queue"),
    ("end of the feed", "job_event_feed"),
    ("start of the feed", "job_event_feed"),
    ("expired claims", "review_claims"),
    ("threshold simulation", "confidence_history"),
];

async fn check_plans(app: TestApp) {
    let (ada, bob, root) = (app.user("ada").await, app.user("bob").await, app.admin("root").await);
    let (ada, bob, root): (Actor, Actor, Actor) = (ada.actor().await, bob.actor().await, root.actor().await);
    let team =
        team::create(&app.db, &app.clock, &bob, "reviewers", &app.config.limits).await.expect("a team");
    insert_jobs(&app, ada.user.id, team.id.0).await;

    let mut planner = Planner { app: &app, sent: app.db.record_statements(), plans: Vec::new() };
    let page =
        Paging { first: Some(20), ..Paging::default() }.window(List::Reviews, 20, 100).expect("a page");
    let (all, newest) = (Filter::default(), Direction::Descending);
    let mine = Filter { ownership: Some(Ownership::Mine), ..Filter::default() };
    let blocked = Filter { blocked_at: Some("mapping".to_owned()), ..Filter::default() };
    let jobs = &app.jobs;
    let length = |page: docket::error::Result<docket::page::Page<_>>| page.expect("a page").rows.len();
    for (query, actor, filter, by) in [
        ("jobs of the owner", &ada, &all, OrderBy::Created),
        ("jobs of the owner, by change", &ada, &all, OrderBy::Updated),
        ("jobs of a team", &bob, &all, OrderBy::Created),
        ("all jobs of an admin", &root, &all, OrderBy::Created),
        ("own jobs only", &ada, &mine, OrderBy::Created),
        ("jobs blocked at a step", &bob, &blocked, OrderBy::Created),
    ] {
        let found = planner.record(query, jobs.list(actor, filter, (by, newest), page)).await;
        assert_eq!(length(found), 20, "{query}");
    }
    let open = review::Filter { status: Some(ReviewStatus::UNDECIDED.to_vec()), ..review::Filter::default() };
    let queue = planner.record("review queue", review::queue(jobs, &bob, &open, page)).await;
    assert_eq!(queue.expect("a page").rows.len(), 20);
    let tail = FeedPosition::before(i64::from(JOBS) - 10);
    let range = planner.record("end of the feed", jobs.feed(&bob, &all, tail, 20)).await;
    assert_eq!(range.expect("events").events.len(), 20);
    let range = planner.record("start of the feed", jobs.feed(&ada, &all, FeedPosition::START, 20)).await;
    assert_eq!(range.expect("events").events.len(), 20);
    // All rows have the same type and step, so only the time selects.
    let since = chrono::DateTime::from_timestamp(1_700_000_000 + i64::from(JOBS) - 500, 0);
    let simulation = review::simulate::simulate(jobs, &bob, ("data-point-extraction", "mapping"), 0.6, since);
    let counts = planner.record("threshold simulation", simulation).await.expect("counts");
    assert_eq!(counts.items, 501);
    planner.record("expired claims", review::claim::expire(jobs, 100)).await.expect("no claim expired");

    let mut problems = Vec::new();
    for Plan { query, indexes, scans } in &planner.plans {
        problems.extend(scans.iter().map(|scan| format!("{query}: {scan}")));
        let (_, expected) = EXPECTED.iter().find(|(name, _)| name == query).expect("an expected index");
        if !expected.split('|').any(|index| indexes.contains(index)) {
            problems.push(format!("{query}: {indexes:?} without {expected}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn sqlite() {
    TestApp::run(Backend::Sqlite, check_plans, |_| {}).await;
}

#[tokio::test]
async fn postgres() {
    TestApp::run(Backend::Postgres, check_plans, |_| {}).await;
}
