//! What clients send about jobs, and what it means to the domain.

use sea_orm::Iterable;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::input::{Names, one_of, plain};
use super::view::OWNERS;
use crate::error::{Error, Problem, Result};
use crate::id::TeamId;
use crate::job::collaborator::PrincipalRef;
use crate::job::control::Changes;
use crate::job::query::{Filter, OrderBy};
use crate::job::request::{NewJob, Source};
use crate::job::state::Status;
use crate::job_type::{INPUT, metadata};
use crate::json::storage_problem;
use crate::page::{Direction, Paging};
use crate::review::decide::{Choice, Decision};

/// Where the domain says that something is, and where this client wrote it.
type Places = Vec<(String, String)>;
type Shared = Vec<(PrincipalRef, Vec<String>)>;

/// Where a problem with the header of that name is.
pub(super) const KEY: &str = "/Idempotency-Key";

const LEAF: Names = Names(&[]);
const COLLABORATOR: Names = Names(&[("id", LEAF), ("name", LEAF), ("email", LEAF), ("steps", LEAF)]);
const COLLABORATION: Names = Names(&[("teams", COLLABORATOR), ("users", COLLABORATOR)]);
pub(super) const CREATE: Names = Names(&[
    ("type", LEAF),
    ("input_content", Names(&[("uri", LEAF)])),
    ("contents", Names(&[("role", LEAF), ("uri", LEAF)])),
    ("collaboration", COLLABORATION),
    ("metadata", LEAF),
    ("priority", LEAF),
]);
pub(super) const UPDATE: Names =
    Names(&[("collaboration", COLLABORATION), ("metadata", LEAF), ("priority", LEAF)]);
pub(super) const CANCEL: Names = Names(&[("reason", LEAF)]);
pub(super) const REWIND: Names = Names(&[("to_step", LEAF), ("reason", LEAF)]);
pub(super) const UNBLOCK: Names =
    Names(&[("decision", LEAF), ("comment", LEAF), ("to_step", LEAF), ("content_sha256", LEAF)]);
pub(super) const LOGIN: Names =
    Names(&[("authentication_method", LEAF), ("username", LEAF), ("password", LEAF)]);

/// A document of this server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputContent {
    /// Its `contents_uri`. No other address is taken: the server fetches nothing.
    #[schema(example = "http://127.0.0.1:8080/documents/01a20cf0-a6ed-70b7-bbae-5947a39396e8/contents")]
    uri: String,
}

/// A document in a role.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewContent {
    /// `input`, or another role of the job's type.
    #[schema(example = "input")]
    role: String,
    /// The document's `contents_uri`.
    #[schema(example = "http://127.0.0.1:8080/documents/01a20cf0-a6ed-70b7-bbae-5947a39396e8/contents")]
    uri: String,
}

/// A team, by ID, by name, or by both as answers have it, and what it is let in to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTeam {
    /// UUID of the team.
    id: Option<String>,
    /// Name of the team.
    #[schema(example = "reviewers")]
    name: Option<String>,
    /// Steps that it may work on; `*`, which is also taken where nothing is given, stands for all.
    #[schema(example = json!(["mapping"]))]
    steps: Option<Vec<String>>,
}

/// A person, by ID, by address, or by both as answers have it, and what they are let in to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// UUID of the account.
    id: Option<String>,
    /// Address of the account.
    #[schema(example = "bob@example.com")]
    email: Option<String>,
    /// Steps that they may work on; `*`, which is also taken where nothing is given, stands for all.
    #[schema(example = json!(["*"]))]
    steps: Option<Vec<String>>,
}

/// Who is let in besides the owner.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCollaboration {
    /// Teams: whoever belongs to them at the time.
    teams: Option<Vec<NewTeam>>,
    /// Single people.
    users: Option<Vec<NewUser>>,
}

/// A job to be made. Fields that are not known are put into `metadata`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({
    "type": "data-point-extraction",
    "input_content": {"uri": "http://127.0.0.1:8080/documents/01a20cf0-a6ed-70b7-bbae-5947a39396e8/contents"},
    "collaboration": {"teams": [{"name": "reviewers", "steps": ["mapping"]}], "users": [{"email": "bob@example.com"}]},
    "mapping.taxonomy": "demo-invoice"
}))]
pub(super) struct CreateJob {
    /// Job type.
    #[serde(rename = "type")]
    #[schema(example = "data-point-extraction")]
    type_id: String,
    /// What the job works on. Without it a content has the role `input`.
    input_content: Option<InputContent>,
    /// Further contents, and the input where `input_content` is not given.
    contents: Option<Vec<NewContent>>,
    /// Who may see the job besides its owner.
    collaboration: Option<NewCollaboration>,
    /// What the type needs to know, and whatever else should ride along. Dotted keys are paths.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Runs before those with a lower one; 0 where it is not given.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: Option<i32>,
}

impl CreateJob {
    /// Converts it to a request of the domain. `unknown` are the fields of the body that are not known here.
    pub(super) fn parse(self, unknown: &Map<String, Value>, key: Option<String>) -> Result<(NewJob, Places)> {
        let mut problems = Vec::new();
        let mut places: Places = vec![("/idempotencyKey".into(), KEY.into())];
        let mut input: Option<(String, String)> =
            self.input_content.map(|content| (content.uri, "/input_content".to_owned()));
        let mut contents = Vec::new();
        for (i, NewContent { role, uri }) in self.contents.into_iter().flatten().enumerate() {
            let place = format!("/contents/{i}");
            if role != INPUT {
                places.push((format!("/contents/{}", contents.len()), place.clone()));
                places.push((format!("/contents/{}/source", contents.len()), place));
                contents.push((role, Source::Uri(uri)));
                continue;
            }
            match &input {
                Some((there, _)) if *there == uri => {}
                Some((_, other)) => {
                    let message = format!("The input is given once more, and differs from {other}.");
                    problems.push(Problem::new(format!("{place}/uri"), "CLASH", message));
                }
                None => input = Some((uri, place)),
            }
        }
        let (teams, users) =
            self.collaboration.map_or((None, None), |given| given.parse(&mut problems, &mut places));
        let own = self.metadata.unwrap_or_default();
        let metadata = metadata::join([(&own, "/metadata"), (unknown, "")]).unwrap_or_else(|found| {
            problems.extend(found);
            Map::new()
        });
        let Some((uri, place)) = input else {
            let message = "Give the input as input_content, or as a content with the role input.";
            problems.push(Problem::new("/input_content", "REQUIRED", message));
            return Err(Error::Invalid(problems));
        };
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        places.push(("/input".into(), place));
        let new = NewJob {
            type_id: self.type_id,
            input: Source::Uri(uri),
            contents,
            metadata,
            collaboration: teams.into_iter().chain(users).flatten().collect(),
            idempotency_key: key,
            priority: self.priority.unwrap_or_default(),
        };
        Ok((new, places))
    }
}

impl NewCollaboration {
    /// Teams and users, each where it was given. The domain counts the teams first.
    fn parse(self, problems: &mut Vec<Problem>, places: &mut Places) -> (Option<Shared>, Option<Shared>) {
        let all = || vec!["*".to_owned()];
        let mut count = 0;
        let mut place = |at: &str| {
            let (collaborator, steps) =
                (format!("/collaboration/{count}/collaborator"), format!("/collaboration/{count}/steps"));
            places.extend([(collaborator, at.to_owned()), (steps, format!("{at}/steps"))]);
            count += 1;
        };
        let teams = self.teams.map(|teams| {
            let mut list = Vec::new();
            for (i, NewTeam { id, name, steps }) in teams.into_iter().enumerate() {
                let at = format!("/collaboration/teams/{i}");
                place(&at);
                let who = match (id, name) {
                    (Some(id), Some(name)) => Some(PrincipalRef::Team { id, name }),
                    (Some(id), None) => Some(PrincipalRef::TeamId(id)),
                    (None, Some(name)) => Some(PrincipalRef::TeamName(name)),
                    (None, None) => {
                        problems.push(Problem::new(&at, "REQUIRED", "Give the team's id or name."));
                        None
                    }
                };
                list.extend(who.map(|who| (who, steps.unwrap_or_else(all))));
            }
            list
        });
        let users = self.users.map(|users| {
            let mut list = Vec::new();
            for (i, NewUser { id, email, steps }) in users.into_iter().enumerate() {
                let at = format!("/collaboration/users/{i}");
                place(&at);
                let who = match (id, email) {
                    (Some(id), Some(email)) => Some(PrincipalRef::User { id, email }),
                    (Some(id), None) => Some(PrincipalRef::UserId(id)),
                    (None, Some(email)) => Some(PrincipalRef::UserEmail(email)),
                    (None, None) => {
                        problems.push(Problem::new(&at, "REQUIRED", "Give the user's id or email."));
                        None
                    }
                };
                list.extend(who.map(|who| (who, steps.unwrap_or_else(all))));
            }
            list
        });
        (teams, users)
    }
}

/// What should change of a job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"metadata": {"customer": "7"}, "collaboration": {"teams": [{"name": "reviewers"}]}}))]
pub(super) struct UpdateJob {
    /// JSON Merge Patch (RFC 7396) on the metadata: a field that is null goes.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Runs before those with a lower one.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: Option<i32>,
    /// Whoever is let in from now on: `teams` in place of all teams, `users` in place of all single people.
    collaboration: Option<NewCollaboration>,
}

/// The same for the domain.
pub(super) struct Update {
    pub(super) changes: Changes,
    pub(super) shared: Option<(Option<Shared>, Option<Shared>)>,
    pub(super) places: Places,
}

impl UpdateJob {
    pub(super) fn parse(self) -> Result<Update> {
        let (mut problems, mut places) = (Vec::new(), Vec::new());
        let shared = self.collaboration.map(|given| given.parse(&mut problems, &mut places));
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let changes = Changes { metadata: self.metadata, priority: self.priority };
        Ok(Update { changes, shared, places })
    }
}

/// Why a job is cancelled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelJob {
    /// For the history.
    pub(super) reason: Option<String>,
}

/// Where a job is taken back to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to_step": "mapping", "reason": "Check the totals again."}))]
pub(super) struct RewindJob {
    /// Name of a step that the job has reached before. Without it, the step before the current one, or the last step that a
    /// job has reached that has ended.
    pub(super) to_step: Option<String>,
    /// Why, for the history.
    pub(super) reason: Option<String>,
}

/// A decision on the open review of a job.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"decision": "approve", "comment": "The total was read from the wrong line."}))]
pub(super) struct Unblock {
    /// `approve` (the default): the job goes on. `reject`: it fails. `send_back`: an earlier step runs again.
    #[schema(
        pattern = "^([Aa][Pp][Pp][Rr][Oo][Vv][Ee]|[Rr][Ee][Jj][Ee][Cc][Tt]|[Ss][Ee][Nn][Dd]_[Bb][Aa][Cc][Kk])$"
    )]
    decision: Option<String>,
    /// Comment of the reviewer: the message of a job that is rejected, or a hint for the step that it is sent back to.
    comment: Option<String>,
    /// Step that the job is sent back to.
    to_step: Option<String>,
    /// SHA-256 of the content that the reviewer saw; a newer version is a conflict. Without it the newest version is meant.
    pub(super) content_sha256: Option<String>,
}

impl Unblock {
    /// Converts it to a decision of the domain; `newest` is the hash of the content under review.
    pub(super) fn parse(self, newest: Option<String>) -> Result<Decision> {
        let choice = match self.decision.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("approve") => Choice::Approve,
            Some("reject") => Choice::Reject,
            Some("send_back") => Choice::SendBack,
            Some(_) => {
                let message = "Unknown decision. Valid decisions: approve, reject, send_back.";
                return Err(Error::invalid("/decision", "UNKNOWN_VALUE", message));
            }
        };
        Ok(Decision {
            choice,
            content_sha256: self.content_sha256.or(newest),
            contents: Vec::new(),
            patch: None,
            comment: self.comment,
            to_step: self.to_step,
            claim_if_free: true,
        })
    }
}

/// The credentials of an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"authentication_method": "password", "username": "ada@example.com", "password": "correct horse battery"}))]
pub(super) struct Login {
    /// `password`, which is the only method and the default.
    pub(super) authentication_method: Option<String>,
    /// Address of the account.
    pub(super) username: String,
    /// Its password.
    pub(super) password: String,
}

/// What a list is ordered by.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// When jobs were made.
    CreatedAt,
    /// When they last changed.
    UpdatedAt,
}

/// Which way a list runs.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// The oldest first.
    Asc,
    /// The newest first.
    Desc,
}

/// Which jobs, in which order, and how many.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) filter: Filter,
    pub(super) order: (OrderBy, Direction),
    pub(super) paging: Paging,
    pub(super) places: Places,
}

/// What the parameters of a list ask for; everything that is wrong with them is said at once.
pub(super) fn listing(parameters: Vec<(String, String)>) -> Result<Listing> {
    let mut given = Given { rest: parameters, problems: Vec::new() };
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
    let a_time = "a time by RFC 3339, such as 2026-01-31T12:00:00Z";
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
    let by = match given.one("order_by", "created_at or updated_at", named) {
        Some(Order::UpdatedAt) => OrderBy::Updated,
        Some(Order::CreatedAt) | None => OrderBy::Created,
    };
    let direction = match given.one("direction", "asc or desc", named) {
        Some(Way::Asc) => Direction::Ascending,
        Some(Way::Desc) | None => Direction::Descending,
    };
    let size = |text: &str| text.parse().ok();
    let sizes = [given.one("first", "a whole number", size), given.one("limit", "a whole number", size)];
    let limited = sizes[1].is_some();
    let first = match sizes {
        [None, None] => None,
        sizes => one_of(sizes, "/limit", "first and limit", &mut given.problems),
    };
    let after = given.one("after", "a cursor", |text| Some(text.to_owned()));
    let Given { rest, mut problems } = given;
    for (name, _) in rest {
        let message = "There is no such parameter; the OpenAPI document lists all.";
        problems.push(Problem::new(format!("/{}", metadata::escape(&name)), "UNKNOWN_PARAMETER", message));
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let fields = filter.metadata.iter().flat_map(|fields| fields.keys()).map(|key| metadata::escape(key));
    let mut places: Places =
        fields.map(|key| (format!("/filter/metadata/{key}"), format!("/metadata.{key}"))).collect();
    if limited {
        places.push(("/first".into(), "/limit".into()));
    }
    Ok(Listing {
        filter,
        order: (by, direction),
        paging: Paging { first, after, ..Paging::default() },
        places,
    })
}

/// Returns the value of an enum whose names are in lower case, in any case.
fn named<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(Value::String(text.to_ascii_lowercase())).ok()
}

/// The prefix of parameters that name a field of the metadata.
const METADATA: &str = "metadata.";

/// Parameters that were not taken yet.
struct Given {
    rest: Vec<(String, String)>,
    problems: Vec<Problem>,
}

impl Given {
    fn take(&mut self, is: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let (taken, rest) = std::mem::take(&mut self.rest).into_iter().partition(|(name, _)| is(name));
        self.rest = rest;
        taken
    }

    /// Every value of a parameter that may be repeated.
    fn all<T>(&mut self, name: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let texts = self.take(|one| plain(one) == plain(name));
        let mut values = Vec::new();
        for (_, text) in &texts {
            match parse(text) {
                Some(value) => values.push(value),
                None => self.problems.push(Problem::new(
                    format!("/{name}"),
                    "INVALID",
                    format!("This is not {what}."),
                )),
            }
        }
        (!texts.is_empty()).then_some(values)
    }

    /// The value of a parameter that is given once.
    fn one<T>(&mut self, name: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut values = self.all(name, what, parse)?;
        if values.len() > 1 {
            let message = "This parameter is given once at the most.";
            self.problems.push(Problem::new(format!("/{name}"), "DUPLICATE", message));
        }
        values.pop()
    }

    /// The fields of `metadata.…`. What is JSON is taken as that, anything else as text.
    fn metadata(&mut self) -> Option<Map<String, Value>> {
        let mut fields = Map::new();
        let prefix =
            |name: &str| name.get(..METADATA.len()).is_some_and(|start| start.eq_ignore_ascii_case(METADATA));
        for (name, text) in self.take(prefix) {
            let key = &name[METADATA.len()..];
            let path = format!("/{METADATA}{}", metadata::escape(key));
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            if key.is_empty() {
                let message = "Name a field, such as metadata.customer.";
                self.problems.push(Problem::new(&path, "INVALID", message));
            }
            if let Some(problem) = storage_problem(&value) {
                self.problems.push(Problem { path: format!("{path}{}", problem.path), ..problem });
            }
            if fields.insert(key.to_owned(), value).is_some() {
                let message = "This parameter is given once at the most.";
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

    fn create(body: &Value) -> Result<(NewJob, Places)> {
        let mut unknown = body.as_object().unwrap().clone();
        let known = CREATE.split(&mut unknown);
        serde_json::from_value::<CreateJob>(Value::Object(known)).unwrap().parse(&unknown, None)
    }

    fn problems<T: std::fmt::Debug>(result: Result<T>) -> Vec<(String, String)> {
        match result {
            Err(Error::Invalid(problems)) => problems.into_iter().map(|one| (one.path, one.code)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_input_is_given_in_one_of_two_ways() {
        let input = |body: Value| match create(&body).unwrap() {
            (NewJob { input: Source::Uri(uri), contents, .. }, _) => (uri, contents.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(input(json!({"type": "t", "input_content": {"uri": "u"}})), ("u".into(), 0));
        let contents = json!([{"role": "a", "uri": "x"}, {"role": "input", "uri": "u"}]);
        assert_eq!(input(json!({"type": "t", "contents": contents})), ("u".into(), 1));
        assert_eq!(
            input(json!({"type": "t", "contents": contents, "input_content": {"uri": "u"}})),
            ("u".into(), 1)
        );
        let clash = create(&json!({"type": "t", "contents": contents, "input_content": {"uri": "v"}}));
        assert_eq!(problems(clash), [("/contents/1/uri".into(), "CLASH".into())]);
        assert_eq!(problems(create(&json!({"type": "t"}))), [("/input_content".into(), "REQUIRED".into())]);
    }

    #[test]
    fn unknown_fields_are_metadata_and_may_not_contradict_it() {
        let body = json!({"type": "t", "input_content": {"uri": "u"}, "customer": 7, "mapping.taxonomy": "x",
            "metadata": {"mapping": {"high": 1}, "customer": 7}});
        let expected = json!({"customer": 7, "mapping": {"taxonomy": "x", "high": 1}});
        assert_eq!(Value::Object(create(&body).unwrap().0.metadata), expected);
        let body =
            json!({"type": "t", "input_content": {"uri": "u"}, "customer": 7, "metadata": {"customer": 8}});
        assert_eq!(problems(create(&body)), [("/customer".into(), "CLASH".into())]);
    }

    #[test]
    fn parameters_of_a_list() {
        let ask = |query: &str| {
            let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
            listing(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        let asked = ask("Status=queued&STATUS=Failed&owner=Me&Metadata.Own=1&blockingTask=zoning&blocking_step=zoning&orderBy=UPDATED_AT&metadata.a.b=7&metadata.c=x&limit=3").unwrap();
        assert_eq!(asked.filter.status.map(|list| list.len()), Some(2));
        assert_eq!(asked.filter.blocked_at.as_deref(), Some("zoning"));
        assert_eq!(asked.order.0, OrderBy::Updated);
        assert_eq!(asked.filter.metadata.map(Value::Object), Some(json!({"a.b": 7, "c": "x", "Own": 1})));
        assert_eq!(asked.paging.first, Some(3));
        let wrong = ask(
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
