//! The backlog: how many steps wait for a worker.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait, Query, UnionType};
use sea_orm::{ColumnTrait, ConnectionTrait};
use tokio::time::Instant;

use super::claim::{claimable_by, claimable_mode};
use crate::access::Actor;
use crate::clock::Timestamp;
use crate::db;
use crate::entity::{job, task};
use crate::error::{Error, Problem, Result};
use crate::job::Jobs;

/// The queued steps of a job type that a worker may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueuedSteps {
    /// How many there are, counted up to a thousand.
    pub count: u64,
    /// The time at which the newest of these became claimable.
    pub newest: Timestamp,
}

/// The backlog of one worker, as one reading has found it.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// The start of the reading. Later wake-ups are not covered by it.
    pub started: Instant,
    /// By job type. Types without queued steps are left out.
    pub types: HashMap<String, QueuedSteps>,
}

/// Maximum number of job types in one request.
const MAX_TYPES: usize = 20;
/// Maximum number of queued steps of a type that are counted.
const MAX_COUNTED: u64 = 1_000;

impl Jobs {
    /// Returns, for each of these job types, the queued steps that the actor may claim. Types without any are left out.
    pub(crate) async fn backlog(&self, actor: &Actor, types: &[String]) -> Result<Backlog> {
        let started = Instant::now();
        let db = self.db.read();
        let now = db::now(db, &self.clock).await?;
        let of_type = |id: &String| {
            let mut waiting = Query::select();
            waiting
                .columns([(task::Entity, task::Column::TypeId), (task::Entity, task::Column::RunAt)])
                .from(task::Entity)
                .inner_join(
                    job::Entity,
                    Expr::col((job::Entity, job::Column::Id)).equals((task::Entity, task::Column::JobId)),
                )
                .and_where(task::Column::LeaseToken.is_null())
                .and_where(task::Column::RunAt.lte(now))
                .and_where(Expr::col((task::Entity, task::Column::TypeId)).eq(id))
                .cond_where(claimable_by(actor, self.db.backend()))
                .limit(MAX_COUNTED);
            if let Some(mode) = claimable_mode(actor) {
                waiting.and_where(job::Column::Mode.eq(mode));
            }
            // A subquery for each type, because a part of a UNION cannot have a limit.
            let all = [task::Column::TypeId, task::Column::RunAt];
            Query::select().columns(all).from_subquery(waiting, "waiting").to_owned()
        };
        let mut parts = types.iter().map(of_type);
        let Some(mut all) = parts.next() else {
            return Ok(Backlog { started, types: HashMap::new() });
        };
        for part in parts {
            all.union(UnionType::All, part);
        }
        let mut counted = Query::select();
        counted
            .column(task::Column::TypeId)
            .expr_as(Expr::cust("count(*)"), "number")
            .expr_as(Expr::col(task::Column::RunAt).max(), "newest")
            .from_subquery(all, "every")
            .group_by_col(task::Column::TypeId);
        let rows = db.query_all(&counted).await?;
        let queued = |row: &sea_orm::QueryResult| {
            let number: i64 = row.try_get("", "number")?;
            let queued = QueuedSteps {
                count: u64::try_from(number).unwrap_or_default(),
                newest: row.try_get("", "newest")?,
            };
            Ok::<_, Error>((row.try_get("", "type_id")?, queued))
        };
        let types = rows.iter().map(queued).collect::<Result<_>>()?;
        Ok(Backlog { started, types })
    }

    /// Returns the problems with a list of job types that a worker requests.
    pub(crate) async fn type_problems(&self, types: &[String]) -> Result<Vec<Problem>> {
        if !(1..=MAX_TYPES).contains(&types.len()) {
            let message = format!("A request names 1 to {MAX_TYPES} job types.");
            return Ok(vec![Problem::new("/types", "RANGE", message)]);
        }
        let mut problems = Vec::new();
        for (i, id) in types.iter().enumerate() {
            if self.types.newest(id).await?.is_none() {
                let message = format!("Unknown job type {id:?}.");
                problems.push(Problem::new(format!("/types/{i}"), "UNKNOWN_TYPE", message));
            }
        }
        Ok(problems)
    }
}
