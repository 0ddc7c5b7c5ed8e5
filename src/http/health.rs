//! Liveness, readiness and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, Iterable, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::json;
use tokio::time::Instant;

use super::readiness::CACHE_DURATION;
use super::{Server, refuse};
use crate::entity::enums::{ReviewStatus, Status};
use crate::entity::{job, review, task, webhook_delivery};
use crate::error::Result;
use crate::events::feed;
use crate::telemetry::{
    FEED_LAG, JOBS, POOL, POOL_MAX, POOL_NAME, QUEUE_AGE, REVIEW_AGE, REVIEWS, STATEMENTS, TARGET_INFO,
    WEBHOOK_DELIVERIES, WEBHOOK_PENDING,
};

/// `GET /healthz`: succeeds while the process runs.
pub(super) async fn live() -> &'static str {
    "ok\n"
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
        Err(error) => refuse(&error),
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
