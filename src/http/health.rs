//! Liveness, readiness and metrics.

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

/// How long a result of `/readyz` and the gauges of `/metrics` are reused, so that many probes cost no more than one.
const CACHE_DURATION: Duration = Duration::from_secs(1);
/// Time limit of the check of one part. Probes wait only some seconds.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// `GET /healthz`: succeeds while the process runs.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The cached result of the last readiness check.
#[derive(Debug, Clone)]
pub(super) struct Readiness {
    last: Arc<Mutex<Option<(Instant, PartStates)>>>,
    cache_duration: Duration,
}

/// The checked parts, and whether each of them works.
type PartStates = [(&'static str, bool); 3];

impl Default for Readiness {
    fn default() -> Self {
        Self { last: Arc::default(), cache_duration: CACHE_DURATION }
    }
}

impl Readiness {
    /// Returns the states of all parts. One caller checks them, and concurrent callers wait for its result.
    async fn parts(&self, app: &App) -> PartStates {
        let mut last = self.last.lock().await;
        match *last {
            Some((at, parts)) if at.elapsed() < self.cache_duration => parts,
            _ => last.insert((Instant::now(), check_parts(app).await)).1,
        }
    }
}

/// Checks database, migrations and object store, without the write connection.
async fn check_parts(app: &App) -> PartStates {
    let pending = async { Ok(Schema::read(&app.db).await?.pending) };
    let (pending, storage) =
        tokio::join!(timeout(CHECK_TIMEOUT, pending), timeout(CHECK_TIMEOUT, app.storage.check()));
    let (pending, storage) =
        (pending.unwrap_or_else(|_| timed_out()), storage.unwrap_or_else(|_| timed_out()));
    let works = |part: &'static str, state: Result<()>| {
        if let Err(error) = &state {
            tracing::warn!(part, %error, "readiness check failed");
        }
        (part, state.is_ok())
    };
    let migrations = match &pending {
        Ok(0) => Ok(()),
        Ok(count) => Err(Error::Internal(format!("{count} migrations are pending"))),
        Err(error) => Err(error.clone()),
    };
    [works("database", pending.map(drop)), works("migrations", migrations), works("storage", storage)]
}

fn timed_out<T>() -> Result<T> {
    Err(Error::Internal(format!("no response within {CHECK_TIMEOUT:?}")))
}

/// Returns all parts that a ready server needs, and whether each of them works.
pub(super) async fn parts(server: &Server) -> Vec<(&'static str, bool)> {
    let mut parts = server.readiness.parts(&server.app).await.to_vec();
    parts.extend([("bus", true), ("running", !server.app.stopping.is_cancelled())]);
    parts
}

/// `GET /readyz`: whether all parts work. The response names the failing part, and the log has its error.
pub(super) async fn ready(State(server): State<Server>) -> Response {
    let parts = parts(&server).await;
    let is_ready = parts.iter().all(|(_, works)| *works);
    let body: serde_json::Map<_, _> = parts
        .iter()
        .map(|(part, works)| ((*part).to_owned(), json!(if *works { "ok" } else { "failing" })))
        .collect();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Time of the last update of the gauges that read the database. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct GaugeUpdate(Arc<Mutex<Option<Instant>>>);

/// `GET /metrics`: the metrics for Prometheus. The gauges read the database at most once in [`CACHE_DURATION`].
pub(super) async fn metrics(State(server): State<Server>) -> Response {
    let mut updated_at = server.gauge_update.0.lock().await;
    let is_current = updated_at.is_some_and(|at| at.elapsed() < CACHE_DURATION);
    let updated = if is_current { Ok(()) } else { update_gauges(&server).await };
    if !is_current && updated.is_ok() {
        *updated_at = Some(Instant::now());
    }
    drop(updated_at);
    match updated {
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

async fn update_gauges(server: &Server) -> Result<()> {
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
        // Creates each counter with 0, because a rate cannot see the first increment of a new series.
        metrics::counter!(WEBHOOK_DELIVERIES, "outcome" => outcome).increment(0);
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(WEBHOOK_PENDING).set(pending.count(app.db.read()).await? as f64);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(FEED_LAG).set(feed::lag(&app.db).await? as f64);
    let (open, idle) = app.db.read_pool_size();
    let idle = u32::try_from(idle).unwrap_or(open).min(open);
    let (pool, name) = POOL_NAME;
    for (state, count) in [("idle", idle), ("used", open - idle)] {
        metrics::gauge!(POOL, pool => name, "db_client_connection_state" => state).set(f64::from(count));
    }
    metrics::gauge!(POOL_MAX, pool => name).set(f64::from(app.config.database_connections));
    metrics::counter!(STATEMENTS).absolute(app.db.statement_count());
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
    async fn readiness_needs_no_writer_and_is_cached() {
        let (app, _dir) = open(|_| ()).await;
        let (started, has_started) = oneshot::channel();
        let (finish, may_finish) = oneshot::channel();
        let db = app.db.clone();
        let writing = app.tasks.spawn(async move {
            db.write(|_| {
                Box::pin(async move {
                    started.send(()).unwrap();
                    may_finish.await.unwrap();
                    Ok(())
                })
            })
            .await
        });
        has_started.await.unwrap();
        let all = [("database", true), ("migrations", true), ("storage", true)];
        let cached = Readiness { cache_duration: Duration::from_secs(3_600), ..Readiness::default() };
        assert_eq!(cached.parts(&app).await, all, "during a write");
        finish.send(()).unwrap();
        writing.await.unwrap().unwrap();

        app.db.writer().execute_unprepared("DELETE FROM seaql_migrations").await.unwrap();
        assert_eq!(cached.parts(&app).await, all, "the cached result");
        let fresh = Readiness { cache_duration: Duration::ZERO, ..Readiness::default() };
        assert_eq!(fresh.parts(&app).await, [("database", true), ("migrations", false), ("storage", true)]);
    }
}
