//! Lists of the jobs that an actor may see, filtered, ordered and paged.

use std::collections::HashMap;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, LikeExpr, Query, SimpleExpr, UnionType};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Jobs;
use super::state::Status;
use crate::access::{self, Actor};
use crate::clock::Timestamp;
use crate::entity::enums::ReviewStatus;
use crate::entity::{access as access_rows, job, review};
use crate::error::{Error, Result};
use crate::id::{JobId, TeamId};
use crate::job_type::metadata::{MAX_LEVELS, count_levels};
use crate::json::escape;
use crate::page::{Direction, List, Page, Window};

/// Maximum number of principals (the user and their teams) for which a list is merged from one page of each.
const MAX_MERGED_PRINCIPALS: usize = 50;

/// Maximum number of values in a metadata filter. Each is a condition of the statement.
const MAX_METADATA_VALUES: usize = 20;

/// The owners whose jobs a list contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// The viewer's own.
    Mine,
    /// The jobs of other users that the viewer may see.
    Shared,
    /// All jobs that the viewer may see.
    Any,
}

/// A filter for jobs. `None` matches all jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
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
    /// Matches jobs that are blocked at this step, if the viewer may work on the review.
    pub blocked_at: Option<String>,
    pub input_name: Option<String>,
}

/// The time by which a list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderBy {
    /// The time of creation.
    Created,
    /// The time of the last change.
    Updated,
}

impl OrderBy {
    fn column(self) -> job::Column {
        match self {
            Self::Created => job::Column::CreatedAt,
            Self::Updated => job::Column::UpdatedAt,
        }
    }

    /// Returns the kind of list, for cursors.
    pub fn list(self) -> List {
        match self {
            Self::Created => List::JobsByCreation,
            Self::Updated => List::JobsByChange,
        }
    }

    /// Returns the time by which a job is ordered.
    pub fn of(self, job: &job::Model) -> Timestamp {
        match self {
            Self::Created => job.created_at,
            Self::Updated => job.updated_at,
        }
    }
}

impl Jobs {
    /// Returns a page of the jobs that the actor may see.
    pub async fn list(
        &self,
        actor: &Actor,
        filter: &Filter,
        order: (OrderBy, Direction),
        window: Window,
    ) -> Result<Page<job::Model>> {
        let (by, direction) = order;
        let sees_all = actor.user.is_admin && filter.ownership != Some(Ownership::Shared);
        let principal_ids = match filter.ownership {
            Some(Ownership::Mine) => Vec::new(),
            _ if sees_all => Vec::new(),
            _ => access::principal_ids(self.db.read(), actor).await?,
        };
        if principal_ids.is_empty() || principal_ids.len() > MAX_MERGED_PRINCIPALS {
            // An index of the job table has this order.
            let query = window.select(self.matching(actor, filter)?, direction, by.column(), job::Column::Id);
            return Ok(window.page(query.all(self.db.read()).await?));
        }
        let condition = self.condition(actor, filter)?;
        let ids = self.merged_page(principal_ids, condition, (by, direction), window).await?;
        let jobs = job::Entity::find().filter(job::Column::Id.is_in(ids.iter().copied()));
        let mut jobs: HashMap<JobId, job::Model> =
            jobs.all(self.db.read()).await?.into_iter().map(|job| (job.id, job)).collect();
        Ok(window.page(ids.into_iter().filter_map(|id| jobs.remove(&id)).collect()))
    }

    /// Returns the IDs of a page. An index has the rows of `access` of each principal in the order of the list. So the
    /// statement reads only one page for each principal, and then merges these pages.
    async fn merged_page(
        &self,
        principal_ids: Vec<Uuid>,
        condition: Condition,
        (by, direction): (OrderBy, Direction),
        window: Window,
    ) -> Result<Vec<JobId>> {
        let time = match by {
            OrderBy::Created => access_rows::Column::CreatedAt,
            OrderBy::Updated => access_rows::Column::UpdatedAt,
        };
        let row = |column| Expr::col((access_rows::Entity, column));
        let (at, id) = (Alias::new("at"), Alias::new("job_id"));
        let of_principal = |principal: Uuid| {
            let mut page = Query::select()
                .expr_as(row(time), at.clone())
                .expr_as(row(access_rows::Column::JobId), id.clone())
                .from(access_rows::Entity)
                .inner_join(
                    job::Entity,
                    Expr::col((job::Entity, job::Column::Id))
                        .equals((access_rows::Entity, access_rows::Column::JobId)),
                )
                .and_where(row(access_rows::Column::PrincipalId).eq(principal))
                .cond_where(condition.clone())
                .to_owned();
            window.apply_to_statement(&mut page, direction, &row(time), &row(access_rows::Column::JobId));
            Query::select()
                .column(at.clone())
                .column(id.clone())
                .from_subquery(page, Alias::new("of_principal"))
                .to_owned()
        };
        let mut pages = principal_ids.into_iter().map(of_principal);
        let Some(mut all) = pages.next() else { return Ok(Vec::new()) };
        for page in pages {
            // A job with several principals of the actor occurs once.
            all.union(UnionType::Distinct, page);
        }
        let mut merged = Query::select().column(id.clone()).from_subquery(all, Alias::new("seen")).to_owned();
        window.apply_to_statement(&mut merged, direction, &Expr::col(at), &Expr::col(id));
        let rows = self.db.read().query_all(&merged).await?;
        rows.iter().map(|row| Ok(row.try_get("", "job_id")?)).collect()
    }

    /// Returns those of the given jobs that the actor may see and that match the filter, the newest change last.
    pub async fn among(
        &self,
        actor: &Actor,
        filter: &Filter,
        ids: impl IntoIterator<Item = JobId>,
    ) -> Result<Vec<job::Model>> {
        let found = self.matching(actor, filter)?.filter(job::Column::Id.is_in(ids));
        Ok(found.order_by_asc(job::Column::UpdatedAt).all(self.db.read()).await?)
    }

    /// Returns up to `limit` jobs that the actor may see and that match the filter, from those after a time of change
    /// and an ID. The newest change is last.
    pub(crate) async fn changed_after(
        &self,
        actor: &Actor,
        filter: &Filter,
        (time, id): (Timestamp, Uuid),
        limit: u64,
    ) -> Result<Vec<job::Model>> {
        let same = job::Column::UpdatedAt.eq(time).and(job::Column::Id.gt(id));
        let changed = self.matching(actor, filter)?.filter(job::Column::UpdatedAt.gt(time).or(same));
        let changed = changed.order_by_asc(job::Column::UpdatedAt).order_by_asc(job::Column::Id).limit(limit);
        Ok(changed.all(self.db.read()).await?)
    }

    /// Returns the number of jobs that the actor may see and that match the filter.
    pub async fn count(&self, actor: &Actor, filter: &Filter) -> Result<u64> {
        Ok(self.matching(actor, filter)?.count(self.db.read()).await?)
    }

    fn matching(&self, actor: &Actor, filter: &Filter) -> Result<Select<job::Entity>> {
        let visible = match filter.ownership {
            Some(Ownership::Shared) => access::shared_job_rows(actor, "job", "id"),
            _ => access::visible_jobs(actor),
        };
        Ok(job::Entity::find().filter(visible).filter(self.condition(actor, filter)?))
    }

    /// Returns a filter as a condition on the rows of `job`. It does not check access.
    pub(super) fn condition(&self, actor: &Actor, filter: &Filter) -> Result<Condition> {
        let me = actor.user.id;
        let mut all = match filter.ownership {
            Some(Ownership::Mine) => Condition::all().add(job::Column::OwnerId.eq(me)),
            Some(Ownership::Shared) => Condition::all().add(job::Column::OwnerId.ne(me)),
            Some(Ownership::Any) | None => Condition::all(),
        };
        if let Some(statuses) = &filter.status {
            all = all.add(job::Column::Status.is_in(statuses.iter().copied()));
        }
        if let Some(types) = &filter.types {
            all = all.add(job::Column::TypeId.is_in(types));
        }
        if let Some(team) = filter.team {
            let shared = Query::select()
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
        if let Some(step) = &filter.blocked_at {
            let not_barred = Condition::any()
                .add(review::Column::BarredId.is_null())
                .add(review::Column::BarredId.ne(actor.user.id));
            let open = Query::select()
                .column(review::Column::JobId)
                .from(review::Entity)
                .and_where(review::Column::Status.is_in(ReviewStatus::UNDECIDED))
                .and_where(review::Column::Step.eq(step))
                .cond_where(access::accessible_step_rows(actor, self.db.backend(), "review"))
                .cond_where(not_barred)
                .to_owned();
            all = all.add(job::Column::Id.in_subquery(open));
        }
        if let Some(metadata) = &filter.metadata {
            let backend = self.db.backend();
            for (path, value) in metadata_values(metadata)? {
                all = all.add(metadata_equals(backend, &path, &value));
            }
        }
        Ok(all)
    }
}

/// Returns each value in a metadata filter with its path. A key with dots is a path.
fn metadata_values(filter: &Map<String, Value>) -> Result<Vec<(Vec<String>, Value)>> {
    let mut found = Vec::new();
    let mut open: Vec<(Vec<String>, &Map<String, Value>)> = vec![(Vec::new(), filter)];
    while let Some((prefix, object)) = open.pop() {
        for (key, value) in object {
            if key.contains(['"', '\\']) {
                let path = format!("/filter/metadata/{}", escape(key));
                let message = "A metadata key in a filter must not contain quotation marks or backslashes.";
                return Err(Error::invalid(path, "INVALID", message));
            }
            if prefix.len() + count_levels(key) > MAX_LEVELS {
                let path = format!("/filter/metadata/{}", escape(key));
                let message = format!("A path in the metadata has at most {MAX_LEVELS} levels.");
                return Err(Error::invalid(path, "TOO_DEEP", message));
            }
            let mut path = prefix.clone();
            path.extend(key.split('.').map(str::to_owned));
            match value {
                Value::Object(inner) if !inner.is_empty() => open.push((path, inner)),
                value => found.push((path, value.clone())),
            }
            if found.len() > MAX_METADATA_VALUES {
                let message = format!("A filter has at most {MAX_METADATA_VALUES} metadata values.");
                return Err(Error::invalid("/filter/metadata", "TOO_MANY", message));
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
        // Containment finds the path. Equality is checked at its end, because an array contains each of its elements.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_filter_is_limited_in_values_and_levels() {
        let values = |filter: &Value| metadata_values(filter.as_object().unwrap());
        let wide = |n: usize| Value::Object((0..n).map(|i| (format!("k{i}"), json!(i))).collect());
        let code = |filter: &Value| match values(filter) {
            Err(Error::Invalid(problems)) => problems[0].code.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(values(&wide(MAX_METADATA_VALUES)).unwrap().len(), MAX_METADATA_VALUES);
        assert_eq!(code(&wide(MAX_METADATA_VALUES + 1)), "TOO_MANY");
        assert_eq!(code(&json!({"a": wide(1_200)})), "TOO_MANY");
        let deep = |n: usize| vec!["a"; n].join(".");
        assert!(values(&json!({"a": {deep(MAX_LEVELS - 1): 1}})).is_ok());
        assert_eq!(code(&json!({"a": {deep(MAX_LEVELS): 1}})), "TOO_DEEP");
        assert_eq!(code(&json!({deep(20_000): 1})), "TOO_DEEP");
    }
}
