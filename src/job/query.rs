//! Lists of jobs: what an actor may see, filtered, ordered and paged.

use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, DbBackend, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Select,
};
use serde_json::{Map, Value};

use super::Jobs;
use super::state::Status;
use crate::access::{self, Actor};
use crate::clock::Timestamp;
use crate::entity::{access as access_rows, job};
use crate::error::{Error, Result};
use crate::id::{JobId, TeamId};
use crate::job_type::metadata::escape;
use crate::page::{Direction, Page, Window};

/// Whose jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// The viewer's own.
    Mine,
    /// Others' that the viewer may see.
    Shared,
    /// All that the viewer may see.
    Any,
}

/// Which jobs. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented where clients read them, in the GraphQL schema")]
pub struct Filter {
    pub status: Option<Vec<Status>>,
    pub types: Option<Vec<String>>,
    pub ownership: Option<Ownership>,
    pub team: Option<TeamId>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    pub updated_after: Option<Timestamp>,
    pub metadata: Option<Map<String, Value>>,
    pub input_name: Option<String>,
}

/// By what time a list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderBy {
    /// When jobs were made.
    Created,
    /// When they last changed.
    Updated,
}

impl OrderBy {
    fn column(self) -> job::Column {
        match self {
            Self::Created => job::Column::CreatedAt,
            Self::Updated => job::Column::UpdatedAt,
        }
    }

    /// The time that a row is ordered by.
    pub fn of(self, job: &job::Model) -> Timestamp {
        match self {
            Self::Created => job.created_at,
            Self::Updated => job.updated_at,
        }
    }
}

impl Jobs {
    /// A page of the jobs that an actor may see.
    pub async fn list(
        &self,
        actor: &Actor,
        filter: &Filter,
        order: (OrderBy, Direction),
        window: Window,
    ) -> Result<Page<job::Model>> {
        let query = window.select(self.matching(actor, filter)?, order.1, order.0.column(), job::Column::Id);
        Ok(window.page(query.all(self.db.read()).await?))
    }

    /// Those of some jobs that an actor may see and that match.
    pub async fn among(
        &self,
        actor: &Actor,
        filter: &Filter,
        ids: impl IntoIterator<Item = JobId>,
    ) -> Result<Vec<job::Model>> {
        let some = self.matching(actor, filter)?.filter(job::Column::Id.is_in(ids));
        Ok(some.all(self.db.read()).await?)
    }

    /// The jobs that an actor may see, that match and that have changed since, the newest change last.
    pub async fn changed_since(
        &self,
        actor: &Actor,
        filter: &Filter,
        since: Timestamp,
    ) -> Result<Vec<job::Model>> {
        let changed = self.matching(actor, filter)?.filter(job::Column::UpdatedAt.gte(since));
        Ok(changed.order_by_asc(job::Column::UpdatedAt).all(self.db.read()).await?)
    }

    /// How many jobs that an actor may see match.
    pub async fn count(&self, actor: &Actor, filter: &Filter) -> Result<u64> {
        Ok(self.matching(actor, filter)?.count(self.db.read()).await?)
    }

    pub(super) fn matching(&self, actor: &Actor, filter: &Filter) -> Result<Select<job::Entity>> {
        let me = actor.user.id;
        let mut all = match filter.ownership {
            Some(Ownership::Mine) => Condition::all().add(job::Column::OwnerId.eq(me)),
            Some(Ownership::Shared) => access::shared_jobs(actor).add(job::Column::OwnerId.ne(me)),
            Some(Ownership::Any) | None => access::visible_jobs(actor),
        };
        if let Some(statuses) = &filter.status {
            all = all.add(job::Column::Status.is_in(statuses.iter().map(super::record::name)));
        }
        if let Some(types) = &filter.types {
            all = all.add(job::Column::TypeId.is_in(types));
        }
        if let Some(team) = filter.team {
            let shared = sea_orm::sea_query::Query::select()
                .column(access_rows::Column::JobId)
                .from(access_rows::Entity)
                .and_where(access_rows::Column::PrincipalId.eq(team.0))
                .to_owned();
            all = all.add(job::Column::Id.in_subquery(shared));
        }
        if let Some(after) = filter.created_after {
            all = all.add(job::Column::CreatedAt.gt(after));
        }
        if let Some(before) = filter.created_before {
            all = all.add(job::Column::CreatedAt.lt(before));
        }
        if let Some(after) = filter.updated_after {
            all = all.add(job::Column::UpdatedAt.gt(after));
        }
        if let Some(part) = &filter.input_name {
            let escaped = part.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            let pattern = LikeExpr::new(format!("%{escaped}%")).escape('\\');
            all = all.add(Expr::col((job::Entity, job::Column::InputName)).like(pattern));
        }
        if let Some(metadata) = &filter.metadata {
            let backend = self.db.backend();
            for (path, value) in leaves(metadata)? {
                all = all.add(metadata_equals(backend, &path, &value));
            }
        }
        Ok(job::Entity::find().filter(all))
    }
}

/// Every value that a metadata filter asks for, with the path to it; dotted keys are paths.
fn leaves(filter: &Map<String, Value>) -> Result<Vec<(Vec<String>, Value)>> {
    let mut found = Vec::new();
    let mut open: Vec<(Vec<String>, &Map<String, Value>)> = vec![(Vec::new(), filter)];
    while let Some((prefix, object)) = open.pop() {
        for (key, value) in object {
            if key.contains(['"', '\\']) {
                let path = format!("/filter/metadata/{}", escape(key));
                return Err(Error::invalid(
                    path,
                    "INVALID",
                    "A key to filter by has no quotation marks and backslashes.",
                ));
            }
            let mut path = prefix.clone();
            path.extend(key.split('.').map(str::to_owned));
            match value {
                Value::Object(inner) if !inner.is_empty() => open.push((path, inner)),
                value => found.push((path, value.clone())),
            }
        }
    }
    Ok(found)
}

fn metadata_equals(backend: DbBackend, path: &[String], value: &Value) -> SimpleExpr {
    if backend == DbBackend::Postgres {
        let nested = path
            .iter()
            .rev()
            .fold(value.clone(), |inner, key| Value::Object([(key.clone(), inner)].into_iter().collect()));
        // Containment finds the path; equality at its end keeps an array from standing for its parts.
        let keys: Vec<String> = path.to_vec();
        return Expr::cust_with_values(
            "\"job\".\"metadata\" @> $1 AND \"job\".\"metadata\" #> $2 = $3",
            [sea_orm::Value::from(nested), keys.into(), value.clone().into()],
        );
    }
    let at = path.iter().fold("$".to_owned(), |at, key| format!("{at}.\"{key}\""));
    let typed = |kind: &str, value: sea_orm::Value| {
        Expr::cust_with_values(
            format!(
                "json_type(\"job\".\"metadata\", ?) {kind} AND json_extract(\"job\".\"metadata\", ?) IS ?"
            ),
            [at.clone().into(), at.clone().into(), value],
        )
    };
    match value {
        Value::String(text) => typed("= 'text'", text.clone().into()),
        Value::Bool(true) => Expr::cust_with_values("json_type(\"job\".\"metadata\", ?) = 'true'", [at]),
        Value::Bool(false) => Expr::cust_with_values("json_type(\"job\".\"metadata\", ?) = 'false'", [at]),
        Value::Null => Expr::cust_with_values("json_type(\"job\".\"metadata\", ?) = 'null'", [at]),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => typed("IN ('integer', 'real')", whole.into()),
            None => typed("IN ('integer', 'real')", number.as_f64().into()),
        },
        Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            Expr::cust_with_values("json_extract(\"job\".\"metadata\", ?) = json(?)", [at, text])
        }
    }
}
