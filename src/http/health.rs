//! Whether the server lives, whether it can work, and what it counts.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use migration::Migrator;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use sea_orm_migration::MigratorTrait;
use serde_json::json;

use super::Server;
use crate::entity::{job, review, task};
use crate::error::{Error, Result};
use crate::events::feed;
use crate::telemetry::{FEED_LAG, JOBS, POOL, QUEUE_AGE, REVIEW_AGE, REVIEWS, STATEMENTS};

/// `GET /healthz`: the process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: database, migrations and storage work. What is wrong is in the log; the answer names the part.
pub(super) async fn ready(State(server): State<Server>) -> Response {
    let app = &server.app;
    let database = app.db.read().execute_unprepared("SELECT 1").await.map(drop).map_err(Error::from);
    let migrations = match Migrator::get_pending_migrations(app.db.writer()).await {
        Ok(pending) if pending.is_empty() => Ok(()),
        Ok(pending) => Err(Error::Internal(format!("{} migrations are pending", pending.len()))),
        Err(error) => Err(error.into()),
    };
    let stopping = if app.stopping.is_cancelled() { Err(Error::internal("stopping")) } else { Ok(()) };
    let parts = [
        ("database", database),
        ("migrations", migrations),
        ("storage", app.storage.check().await),
        ("bus", Ok(())),
        ("running", stopping),
    ];
    let good = parts.iter().all(|(_, state)| state.is_ok());
    for (part, state) in &parts {
        if let Err(error) = state {
            tracing::warn!(part, %error, "not ready");
        }
    }
    let body: serde_json::Map<_, _> = parts
        .iter()
        .map(|(part, state)| ((*part).to_owned(), json!(if state.is_ok() { "ok" } else { "failing" })))
        .collect();
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// `GET /metrics`: for Prometheus.
pub(super) async fn metrics(State(server): State<Server>) -> Response {
    match gauges(&server).await {
        Ok(()) => {
            let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (text, server.metrics.render()).into_response()
        }
        Err(error) => super::refuse(&error),
    }
}

#[derive(FromQueryResult)]
struct Count {
    status: String,
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
    for status in ["QUEUED", "RUNNING", "BLOCKED", "COMPLETED", "CANCELLED", "FAILED"] {
        let count = counts.iter().find(|row| row.status == status).map_or(0, |row| row.count);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!(JOBS, "status" => status).set(count as f64);
    }
    let waiting = task::Entity::find().filter(task::Column::LeaseToken.is_null());
    let oldest = waiting.order_by_asc(task::Column::RunAt).one(app.db.read()).await?;
    let age = oldest.map_or(0.0, |task| (app.clock.now() - task.run_at).as_seconds_f64().max(0.0));
    metrics::gauge!(QUEUE_AGE).set(age);
    for status in ["OPEN", "CLAIMED"] {
        let count =
            review::Entity::find().filter(review::Column::Status.eq(status)).count(app.db.read()).await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!(REVIEWS, "status" => status).set(count as f64);
    }
    let open = review::Entity::find().filter(review::Column::Status.is_in(["OPEN", "CLAIMED"]));
    let oldest = open.order_by_asc(review::Column::CreatedAt).one(app.db.read()).await?;
    let age = oldest.map_or(0.0, |review| (app.clock.now() - review.created_at).as_seconds_f64().max(0.0));
    metrics::gauge!(REVIEW_AGE).set(age);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(FEED_LAG).set(feed::lag(&app.db).await? as f64);
    let (open, idle) = app.db.pool();
    metrics::gauge!(POOL, "state" => "open").set(f64::from(open));
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(POOL, "state" => "idle").set(idle as f64);
    metrics::counter!(STATEMENTS).absolute(app.db.statements());
    Ok(())
}
