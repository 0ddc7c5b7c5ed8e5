//! The readiness check, whose result is cached.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::app::schema::Schema;
use crate::error::{Error, Result};

/// How long a result of `/readyz` and the gauges of `/metrics` are reused, so that many probes cost no more than one.
pub(super) const CACHE_DURATION: Duration = Duration::from_secs(1);
/// Time limit of the check of one part. Probes wait only some seconds.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// The cached result of the last readiness check.
#[derive(Debug, Clone)]
pub(super) struct Readiness {
    last: Arc<Mutex<Option<(Instant, PartStates)>>>,
    cache_duration: Duration,
}

/// The checked parts, and whether each of them works.
pub(super) type PartStates = [(&'static str, bool); 3];

impl Default for Readiness {
    fn default() -> Self {
        Self { last: Arc::default(), cache_duration: CACHE_DURATION }
    }
}

impl Readiness {
    /// Returns the states of all parts. One caller checks them, and concurrent callers wait for its result.
    pub(super) async fn parts(&self, app: &App) -> PartStates {
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

/// Time of the last update of the gauges that read the database. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct GaugeUpdate(pub(super) Arc<Mutex<Option<Instant>>>);

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
