//! The query parameters of a list of jobs, and their conversion to the domain.

use sea_orm::Iterable;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::input::{normalize, one_of};
use super::job_input::PathMap;
use super::view::OWNERS;
use crate::error::{Error, Problem, Result};
use crate::id::TeamId;
use crate::job::query::{Filter, OrderBy};
use crate::job::state::Status;
use crate::json::{escape, storage_problem};
use crate::page::{Direction, Paging};

/// Sort key of a list.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Time of creation.
    CreatedAt,
    /// Time of the last change.
    UpdatedAt,
}

/// Direction of a list.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderDirection {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// A list request of the domain: filter, order and page.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) filter: Filter,
    pub(super) order: (OrderBy, Direction),
    pub(super) paging: Paging,
    pub(super) paths: PathMap,
}

/// Converts the parameters of a list. The error contains all of their problems.
pub(super) fn parse(parameters: Vec<(String, String)>) -> Result<Listing> {
    let mut given = RemainingParameters { rest: parameters, problems: Vec::new() };
    let status = given.all("status", "queued, running, blocked, completed, cancelled or failed", |text| {
        Status::iter().find(|status| status.as_str().eq_ignore_ascii_case(text))
    });
    let types = given.all("type", "a job type", |text| Some(text.to_owned()));
    let owner =
        |text: &str| OWNERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, owner)| *owner);
    let step = |text: &str| Some(text.to_owned());
    let blocking = ["blocking_step", "blocking_task"].map(|name| given.one(name, "the name of a step", step));
    let blocked_at = match blocking {
        [Some(step), Some(task)] if step == task => Some(step),
        [None, None] => None,
        names => one_of(names, "/blocking_task", "blocking_step and blocking_task", &mut given.problems),
    };
    let time = |text: &str| Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.to_utc());
    let a_time = "a time in RFC 3339 format, such as 2026-01-31T12:00:00Z";
    let filter = Filter {
        status,
        types,
        ownership: given.one("owner", "me, shared_with_me or any", owner),
        team: given.one("team_id", "the UUID of a team", TeamId::parse),
        created_after: given.one("created_after", a_time, time),
        created_before: given.one("created_before", a_time, time),
        updated_after: given.one("updated_after", a_time, time),
        metadata: given.metadata(),
        input_name: given.one("input_name", "a name", |text| Some(text.to_owned())),
        blocked_at,
    };
    let by = match given.one("order_by", "created_at or updated_at", parse_enum) {
        Some(Order::UpdatedAt) => OrderBy::Updated,
        Some(Order::CreatedAt) | None => OrderBy::Created,
    };
    let direction = match given.one("direction", "asc or desc", parse_enum) {
        Some(OrderDirection::Asc) => Direction::Ascending,
        Some(OrderDirection::Desc) | None => Direction::Descending,
    };
    let size = |text: &str| text.parse().ok();
    let sizes = [given.one("first", "a whole number", size), given.one("limit", "a whole number", size)];
    let has_limit = sizes[1].is_some();
    let first = match sizes {
        [None, None] => None,
        sizes => one_of(sizes, "/limit", "first and limit", &mut given.problems),
    };
    let after = given.one("after", "a cursor", |text| Some(text.to_owned()));
    let RemainingParameters { rest, mut problems } = given;
    for (name, _) in rest {
        let message = "Unknown parameter. The OpenAPI document lists all parameters.";
        problems.push(Problem::new(format!("/{}", escape(&name)), "UNKNOWN_PARAMETER", message));
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let fields = filter.metadata.iter().flat_map(|fields| fields.keys()).map(|key| escape(key));
    let mut paths: PathMap =
        fields.map(|key| (format!("/filter/metadata/{key}"), format!("/metadata.{key}"))).collect();
    if has_limit {
        paths.push(("/first".into(), "/limit".into()));
    }
    Ok(Listing {
        filter,
        order: (by, direction),
        paging: Paging { first, after, ..Paging::default() },
        paths,
    })
}

/// Returns the enum value of a name in any case; the names of the enum are in lower case.
fn parse_enum<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(Value::String(text.to_ascii_lowercase())).ok()
}

/// Prefix of parameters that name a field of the metadata.
const METADATA_PREFIX: &str = "metadata.";

/// The parameters that are not parsed yet, and the problems so far.
struct RemainingParameters {
    rest: Vec<(String, String)>,
    problems: Vec<Problem>,
}

impl RemainingParameters {
    fn take(&mut self, matches: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let (taken, rest) = std::mem::take(&mut self.rest).into_iter().partition(|(name, _)| matches(name));
        self.rest = rest;
        taken
    }

    /// Takes all values of a parameter that may be repeated.
    fn all<T>(&mut self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let texts = self.take(|one| normalize(one) == normalize(name));
        let mut values = Vec::new();
        for (_, text) in &texts {
            match parse(text) {
                Some(value) => values.push(value),
                None => self.problems.push(Problem::new(
                    format!("/{name}"),
                    "INVALID",
                    format!("Expected {expected}."),
                )),
            }
        }
        (!texts.is_empty()).then_some(values)
    }

    /// Takes the value of a parameter that may be given at most once.
    fn one<T>(&mut self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut values = self.all(name, expected, parse)?;
        if values.len() > 1 {
            let message = "Give this parameter at most once.";
            self.problems.push(Problem::new(format!("/{name}"), "DUPLICATE", message));
        }
        values.pop()
    }

    /// Takes the fields of `metadata.…`. JSON values keep their type; any other value is text.
    fn metadata(&mut self) -> Option<Map<String, Value>> {
        let mut fields = Map::new();
        let prefix = |name: &str| {
            name.get(..METADATA_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(METADATA_PREFIX))
        };
        for (name, text) in self.take(prefix) {
            let key = &name[METADATA_PREFIX.len()..];
            let path = format!("/{METADATA_PREFIX}{}", escape(key));
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            if key.is_empty() {
                let message = "Name a field, such as metadata.customer.";
                self.problems.push(Problem::new(&path, "INVALID", message));
            }
            if let Some(problem) = storage_problem(&value) {
                self.problems.push(Problem { path: format!("{path}{}", problem.path), ..problem });
            }
            if fields.insert(key.to_owned(), value).is_some() {
                let message = "Give this parameter at most once.";
                self.problems.push(Problem::new(path, "DUPLICATE", message));
            }
        }
        (!fields.is_empty()).then_some(fields)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems<T: std::fmt::Debug>(result: Result<T>) -> Vec<(String, String)> {
        match result {
            Err(Error::Invalid(problems)) => problems.into_iter().map(|one| (one.path, one.code)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn list_parameters_are_parsed_in_any_case() {
        let parse_query = |query: &str| {
            let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
            parse(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        let listing = parse_query("Status=queued&STATUS=Failed&owner=Me&Metadata.Own=1&blockingTask=zoning&blocking_step=zoning&orderBy=UPDATED_AT&metadata.a.b=7&metadata.c=x&limit=3").unwrap();
        assert_eq!(listing.filter.status.map(|list| list.len()), Some(2));
        assert_eq!(listing.filter.blocked_at.as_deref(), Some("zoning"));
        assert_eq!(listing.order.0, OrderBy::Updated);
        assert_eq!(listing.filter.metadata.map(Value::Object), Some(json!({"a.b": 7, "c": "x", "Own": 1})));
        assert_eq!(listing.paging.first, Some(3));
        let wrong = parse_query(
            "status=QUEUED,FAILED&owner=mine&created_after=soon&first=1&limit=1&team_id=x&order_by=a&after=a&after=b&metadata.=1&color=QUEUED&blocking_step=a&Blocking-Task=b",
        );
        let expected = [
            ("/status", "INVALID"),
            ("/blocking_task", "ONE_OF"),
            ("/owner", "INVALID"),
            ("/team_id", "INVALID"),
            ("/created_after", "INVALID"),
            ("/metadata.", "INVALID"),
            ("/order_by", "INVALID"),
            ("/limit", "ONE_OF"),
            ("/after", "DUPLICATE"),
            ("/color", "UNKNOWN_PARAMETER"),
        ];
        assert_eq!(problems(wrong), expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
    }
}
