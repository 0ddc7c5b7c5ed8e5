//! Whether the server lives, whether it can work, and what it counts.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, Iterable, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::Server;
use crate::app::App;
use crate::app::schema::Schema;
use crate::entity::enums::{ReviewStatus, Status};
use crate::entity::{job, review, task, webhook_delivery};
use crate::error::{Error, Result};
use crate::events::feed;
use crate::telemetry::{
    FEED_LAG, JOBS, POOL, POOL_MAX, POOL_NAME, QUEUE_AGE, REVIEW_AGE, REVIEWS, STATEMENTS, TARGET_INFO,
    WEBHOOK_DELIVERIES, WEBHOOK_PENDING,
};

/// An answer of `/readyz` is given again for so long: probes of many may not cost more than those of one.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// A part that has not answered by then does not work. Probes wait some seconds only.
const LONGEST_LOOK: Duration = Duration::from_secs(3);

/// `GET /healthz`: the process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// What was found when somebody last looked, for those who ask again at once.
#[derive(Debug, Clone)]
pub(super) struct Readiness {
    found: Arc<Mutex<Option<(Instant, Found)>>>,
    good_for: Duration,
}

/// The parts that were looked at, and whether they work.
type Found = [(&'static str, bool); 3];

impl Default for Readiness {
    fn default() -> Self {
        Self { found: Arc::default(), good_for: GOOD_FOR }
    }
}

impl Readiness {
    /// One looks, and the others wait for what it finds.
    async fn parts(&self, app: &App) -> Found {
        let mut found = self.found.lock().await;
        match *found {
            Some((at, parts)) if at.elapsed() < self.good_for => parts,
            _ => found.insert((Instant::now(), look(app).await)).1,
        }
    }
}

/// Looks at what everything needs, without the connection that writes.
async fn look(app: &App) -> Found {
    let pending = async { Ok(Schema::read(&app.db).await?.pending) };
    let (pending, storage) =
        tokio::join!(timeout(LONGEST_LOOK, pending), timeout(LONGEST_LOOK, app.storage.check()));
    let (pending, storage) = (pending.unwrap_or_else(|_| late()), storage.unwrap_or_else(|_| late()));
    let works = |part: &'static str, state: Result<()>| {
        if let Err(error) = &state {
            tracing::warn!(part, %error, "not ready");
        }
        (part, state.is_ok())
    };
    let migrations = match &pending {
        Ok(0) => Ok(()),
        Ok(some) => Err(Error::Internal(format!("{some} migrations are pending"))),
        Err(error) => Err(error.clone()),
    };
    [works("database", pending.map(drop)), works("migrations", migrations), works("storage", storage)]
}

fn late<T>() -> Result<T> {
    Err(Error::Internal(format!("no answer within {LONGEST_LOOK:?}")))
}

/// Everything that has to work, and whether it does.
pub(super) async fn parts(server: &Server) -> Vec<(&'static str, bool)> {
    let mut parts = server.readiness.parts(&server.app).await.to_vec();
    parts.extend([("bus", true), ("running", !server.app.stopping.is_cancelled())]);
    parts
}

/// `GET /readyz`: database, migrations and storage work. What is wrong is in the log; the answer names the part.
pub(super) async fn ready(State(server): State<Server>) -> Response {
    let parts = parts(&server).await;
    let good = parts.iter().all(|(_, works)| *works);
    let body: serde_json::Map<_, _> = parts
        .iter()
        .map(|(part, works)| ((*part).to_owned(), json!(if *works { "ok" } else { "failing" })))
        .collect();
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// When what is in the database was last counted for metrics; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted(Arc<Mutex<Option<Instant>>>);

/// `GET /metrics`: for Prometheus. Whoever asks again within a moment costs the database nothing.
pub(super) async fn metrics(State(server): State<Server>) -> Response {
    let mut counted = server.counted.0.lock().await;
    let known = counted.is_some_and(|at| at.elapsed() < GOOD_FOR);
    let gauged = if known { Ok(()) } else { gauges(&server).await };
    if !known && gauged.is_ok() {
        *counted = Some(Instant::now());
    }
    drop(counted);
    match gauged {
        Ok(()) => {
            let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (text, server.metrics.render()).into_response()
        }
        Err(error) => super::refuse(&error),
    }
}

#[derive(FromQueryResult)]
struct Count {
    status: Status,
    count: i64,
}

async fn gauges(server: &Server) -> Result<()> {
    let app = &server.app;
    let counts = job::Entity::find()
        .select_only()
        .column(job::Column::Status)
        .column_as(job::Column::Id.count(), "count")
        .group_by(job::Column::Status);
    let counts: Vec<Count> = counts.into_model().all(app.db.read()).await?;
    for status in Status::iter() {
        let count = counts.iter().find(|row| row.status == status).map_or(0, |row| row.count);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!(JOBS, "status" => status.as_str()).set(count as f64);
    }
    let waiting = task::Entity::find().filter(task::Column::LeaseToken.is_null());
    let oldest = waiting.order_by_asc(task::Column::RunAt).one(app.db.read()).await?;
    let age = oldest.map_or(0.0, |task| (app.clock.now() - task.run_at).as_seconds_f64().max(0.0));
    metrics::gauge!(QUEUE_AGE).set(age);
    for status in ReviewStatus::UNDECIDED {
        let count =
            review::Entity::find().filter(review::Column::Status.eq(status)).count(app.db.read()).await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!(REVIEWS, "status" => status.as_str()).set(count as f64);
    }
    let open = review::Entity::find().filter(review::Column::Status.is_in(ReviewStatus::UNDECIDED));
    let oldest = open.order_by_asc(review::Column::CreatedAt).one(app.db.read()).await?;
    let age = oldest.map_or(0.0, |review| (app.clock.now() - review.created_at).as_seconds_f64().max(0.0));
    metrics::gauge!(REVIEW_AGE).set(age);
    let pending =
        webhook_delivery::Entity::find().filter(webhook_delivery::Column::NextAttemptAt.is_not_null());
    for outcome in ["delivered", "failed", "given_up", "dropped", "lost"] {
        // Zero, where there was none yet: a rate that begins with its first count would not see it.
        metrics::counter!(WEBHOOK_DELIVERIES, "outcome" => outcome).increment(0);
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(WEBHOOK_PENDING).set(pending.count(app.db.read()).await? as f64);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(FEED_LAG).set(feed::lag(&app.db).await? as f64);
    let (open, idle) = app.db.pool();
    let idle = u32::try_from(idle).unwrap_or(open).min(open);
    let (pool, name) = POOL_NAME;
    for (state, count) in [("idle", idle), ("used", open - idle)] {
        metrics::gauge!(POOL, pool => name, "db_client_connection_state" => state).set(f64::from(count));
    }
    metrics::gauge!(POOL_MAX, pool => name).set(f64::from(app.config.database_connections));
    metrics::counter!(STATEMENTS).absolute(app.db.statements());
    let (service, version) = (app.config.telemetry.service_name.clone(), env!("CARGO_PKG_VERSION"));
    metrics::gauge!(TARGET_INFO, "service_name" => service, "service_version" => version).set(1.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait;
    use tokio::sync::oneshot;

    use super::*;
    use crate::app::tests::open;

    #[tokio::test]
    async fn readiness_needs_no_writer_and_is_looked_up_once() {
        let (app, _dir) = open(|_| ()).await;
        let (begun, writes) = oneshot::channel();
        let (go_on, end) = oneshot::channel();
        let db = app.db.clone();
        let writing = app.tasks.spawn(async move {
            db.write(|_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    end.await.unwrap();
                    Ok(())
                })
            })
            .await
        });
        writes.await.unwrap();
        let all = [("database", true), ("migrations", true), ("storage", true)];
        let kept = Readiness { good_for: Duration::from_secs(3_600), ..Readiness::default() };
        assert_eq!(kept.parts(&app).await, all, "while somebody writes");
        go_on.send(()).unwrap();
        writing.await.unwrap().unwrap();

        app.db.writer().execute_unprepared("DELETE FROM seaql_migrations").await.unwrap();
        assert_eq!(kept.parts(&app).await, all, "as it was found before");
        let fresh = Readiness { good_for: Duration::ZERO, ..Readiness::default() };
        assert_eq!(fresh.parts(&app).await, [("database", true), ("migrations", false), ("storage", true)]);
    }
}
