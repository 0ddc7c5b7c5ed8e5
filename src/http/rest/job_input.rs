//! The bodies of requests about jobs, and their conversion to the domain.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::input::FieldNames;
use crate::error::{Error, Problem, Result};
use crate::job::collaborator::PrincipalRef;
use crate::job::control::JobUpdate;
use crate::job::request::{NewJob, Source};
use crate::job_type::{INPUT, metadata};
use crate::review::decide::{Choice, DecisionRequest};

/// Pairs of a path of the domain and its path in the request.
pub(super) type PathMap = Vec<(String, String)>;
type Collaborators = Vec<(PrincipalRef, Vec<String>)>;

/// Path of problems with the header `Idempotency-Key`.
pub(super) const IDEMPOTENCY_KEY_PATH: &str = "/Idempotency-Key";

const LEAF: FieldNames = FieldNames(&[]);
const COLLABORATOR: FieldNames =
    FieldNames(&[("id", LEAF), ("name", LEAF), ("email", LEAF), ("steps", LEAF)]);
const COLLABORATION: FieldNames = FieldNames(&[("teams", COLLABORATOR), ("users", COLLABORATOR)]);
pub(super) const CREATE: FieldNames = FieldNames(&[
    ("type", LEAF),
    ("input_content", FieldNames(&[("uri", LEAF)])),
    ("contents", FieldNames(&[("role", LEAF), ("uri", LEAF)])),
    ("collaboration", COLLABORATION),
    ("metadata", LEAF),
    ("priority", LEAF),
]);
pub(super) const UPDATE: FieldNames =
    FieldNames(&[("collaboration", COLLABORATION), ("metadata", LEAF), ("priority", LEAF)]);
pub(super) const CANCEL: FieldNames = FieldNames(&[("reason", LEAF)]);
pub(super) const REWIND: FieldNames = FieldNames(&[("to_step", LEAF), ("reason", LEAF)]);
pub(super) const UNBLOCK: FieldNames =
    FieldNames(&[("decision", LEAF), ("comment", LEAF), ("to_step", LEAF), ("content_sha256", LEAF)]);
pub(super) const LOGIN: FieldNames =
    FieldNames(&[("authentication_method", LEAF), ("username", LEAF), ("password", LEAF)]);

/// A document of this server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputContent {
    /// The `contents_uri` of the document. The server fetches no other URL.
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

/// A team as collaborator, by ID, by name, or by both as in responses.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTeam {
    /// UUID of the team.
    id: Option<String>,
    /// Name of the team.
    #[schema(example = "reviewers")]
    name: Option<String>,
    /// Steps that the team may work on. Default: `*`, which stands for all.
    #[schema(example = json!(["mapping"]))]
    steps: Option<Vec<String>>,
}

/// A user as collaborator, by ID, by e-mail address, or by both as in responses.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// UUID of the account.
    id: Option<String>,
    /// E-mail address of the account.
    #[schema(example = "bob@example.com")]
    email: Option<String>,
    /// Steps that the user may work on. Default: `*`, which stands for all.
    #[schema(example = json!(["*"]))]
    steps: Option<Vec<String>>,
}

/// Collaborators of a job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCollaboration {
    /// Teams. Access follows their current members.
    teams: Option<Vec<NewTeam>>,
    /// Users.
    users: Option<Vec<NewUser>>,
}

/// A new job. Unknown fields become part of `metadata`.
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
    /// Input document. Without it, one of the `contents` must have the role `input`.
    input_content: Option<InputContent>,
    /// Further contents, and the input unless `input_content` names it.
    contents: Option<Vec<NewContent>>,
    /// Collaborators of the job.
    collaboration: Option<NewCollaboration>,
    /// Metadata for the job type and for the client. Dotted keys are paths.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Priority. Jobs with a higher priority run first. Default: 0.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: Option<i32>,
}

impl CreateJob {
    /// Converts the body to a request of the domain. `unknown` contains the unknown fields of the body.
    pub(super) fn parse(
        self,
        unknown: &Map<String, Value>,
        key: Option<String>,
    ) -> Result<(NewJob, PathMap)> {
        let mut problems = Vec::new();
        let mut paths: PathMap = vec![("/idempotencyKey".into(), IDEMPOTENCY_KEY_PATH.into())];
        let mut input: Option<(String, String)> =
            self.input_content.map(|content| (content.uri, "/input_content".to_owned()));
        let mut contents = Vec::new();
        for (i, NewContent { role, uri }) in self.contents.into_iter().flatten().enumerate() {
            let path = format!("/contents/{i}");
            if role != INPUT {
                paths.push((format!("/contents/{}", contents.len()), path.clone()));
                paths.push((format!("/contents/{}/source", contents.len()), path));
                contents.push((role, Source::Uri(uri)));
                continue;
            }
            match &input {
                Some((existing, _)) if *existing == uri => {}
                Some((_, other)) => {
                    let message =
                        format!("This input differs from the one at {other}. Give the input only once.");
                    problems.push(Problem::new(format!("{path}/uri"), "CLASH", message));
                }
                None => input = Some((uri, path)),
            }
        }
        let (teams, users) =
            self.collaboration.map_or((None, None), |given| given.parse(&mut problems, &mut paths));
        let own = self.metadata.unwrap_or_default();
        let metadata = metadata::join([(&own, "/metadata"), (unknown, "")]).unwrap_or_else(|found| {
            problems.extend(found);
            Map::new()
        });
        let Some((uri, path)) = input else {
            let message = "Give the input as input_content, or as a content with the role input.";
            problems.push(Problem::new("/input_content", "REQUIRED", message));
            return Err(Error::Invalid(problems));
        };
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        paths.push(("/input".into(), path));
        let new = NewJob {
            type_id: self.type_id,
            input: Source::Uri(uri),
            contents,
            metadata,
            collaboration: teams.into_iter().chain(users).flatten().collect(),
            idempotency_key: key,
            priority: self.priority.unwrap_or_default(),
        };
        Ok((new, paths))
    }
}

impl NewCollaboration {
    /// Returns the teams and users of the body. In paths of the domain, the teams have the lowest indexes.
    fn parse(
        self,
        problems: &mut Vec<Problem>,
        paths: &mut PathMap,
    ) -> (Option<Collaborators>, Option<Collaborators>) {
        let all_steps = || vec!["*".to_owned()];
        let mut count = 0;
        let mut add_path = |path: &str| {
            let (collaborator, steps) =
                (format!("/collaboration/{count}/collaborator"), format!("/collaboration/{count}/steps"));
            paths.extend([(collaborator, path.to_owned()), (steps, format!("{path}/steps"))]);
            count += 1;
        };
        let teams = self.teams.map(|teams| {
            let mut list = Vec::new();
            for (i, NewTeam { id, name, steps }) in teams.into_iter().enumerate() {
                let path = format!("/collaboration/teams/{i}");
                add_path(&path);
                let principal = match (id, name) {
                    (Some(id), Some(name)) => Some(PrincipalRef::Team { id, name }),
                    (Some(id), None) => Some(PrincipalRef::TeamId(id)),
                    (None, Some(name)) => Some(PrincipalRef::TeamName(name)),
                    (None, None) => {
                        problems.push(Problem::new(&path, "REQUIRED", "Give the team's id or name."));
                        None
                    }
                };
                list.extend(principal.map(|principal| (principal, steps.unwrap_or_else(all_steps))));
            }
            list
        });
        let users = self.users.map(|users| {
            let mut list = Vec::new();
            for (i, NewUser { id, email, steps }) in users.into_iter().enumerate() {
                let path = format!("/collaboration/users/{i}");
                add_path(&path);
                let principal = match (id, email) {
                    (Some(id), Some(email)) => Some(PrincipalRef::User { id, email }),
                    (Some(id), None) => Some(PrincipalRef::UserId(id)),
                    (None, Some(email)) => Some(PrincipalRef::UserEmail(email)),
                    (None, None) => {
                        problems.push(Problem::new(&path, "REQUIRED", "Give the user's id or email."));
                        None
                    }
                };
                list.extend(principal.map(|principal| (principal, steps.unwrap_or_else(all_steps))));
            }
            list
        });
        (teams, users)
    }
}

/// Changes of a job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"metadata": {"customer": "7"}, "collaboration": {"teams": [{"name": "reviewers"}]}}))]
pub(super) struct UpdateJob {
    /// JSON Merge Patch (RFC 7396) on the metadata. A field that is null is removed.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Priority. Jobs with a higher priority run first.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: Option<i32>,
    /// New collaborators. `teams` replaces all teams, `users` replaces all users.
    collaboration: Option<NewCollaboration>,
}

/// The changes of a job, as a request of the domain.
pub(super) struct Update {
    pub(super) changes: JobUpdate,
    pub(super) collaborators: Option<(Option<Collaborators>, Option<Collaborators>)>,
    pub(super) paths: PathMap,
}

impl UpdateJob {
    pub(super) fn parse(self) -> Result<Update> {
        let (mut problems, mut paths) = (Vec::new(), Vec::new());
        let collaborators = self.collaboration.map(|given| given.parse(&mut problems, &mut paths));
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let changes = JobUpdate { metadata: self.metadata, priority: self.priority };
        Ok(Update { changes, collaborators, paths })
    }
}

/// Cancellation of a job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelJob {
    /// Reason, for the history.
    pub(super) reason: Option<String>,
}

/// Rewinding of a job.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to_step": "mapping", "reason": "Check the totals again."}))]
pub(super) struct RewindJob {
    /// Name of a step that the job has reached before. Default: the step before the current one, or the last reached
    /// step of a job that has ended.
    pub(super) to_step: Option<String>,
    /// Reason, for the history.
    pub(super) reason: Option<String>,
}

/// A decision on the open review of a job.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"decision": "approve", "comment": "The total was read from the wrong line."}))]
pub(super) struct Unblock {
    /// `approve` (the default): the job continues. `reject`: it fails. `send_back`: an earlier step runs again.
    #[schema(
        pattern = "^([Aa][Pp][Pp][Rr][Oo][Vv][Ee]|[Rr][Ee][Jj][Ee][Cc][Tt]|[Ss][Ee][Nn][Dd]_[Bb][Aa][Cc][Kk])$"
    )]
    decision: Option<String>,
    /// Comment of the reviewer: the message of a job that is rejected, or a hint for the step that it is sent back to.
    comment: Option<String>,
    /// Step that the job is sent back to.
    to_step: Option<String>,
    /// SHA-256 of the content that the reviewer saw. A newer version is a conflict. Default: the newest version.
    pub(super) content_sha256: Option<String>,
}

impl Unblock {
    /// Converts the body to a decision of the domain. `newest` is the hash of the content under review.
    pub(super) fn parse(self, newest: Option<String>) -> Result<DecisionRequest> {
        let choice = match self.decision.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("approve") => Choice::Approve,
            Some("reject") => Choice::Reject,
            Some("send_back") => Choice::SendBack,
            Some(_) => {
                let message = "Unknown decision. Valid decisions: approve, reject, send_back.";
                return Err(Error::invalid("/decision", "UNKNOWN_VALUE", message));
            }
        };
        Ok(DecisionRequest {
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
    /// E-mail address of the account.
    pub(super) username: String,
    /// Password of the account.
    pub(super) password: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn create(body: &Value) -> Result<(NewJob, PathMap)> {
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
    fn input_is_given_as_input_content_or_as_a_content() {
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
    fn unknown_fields_become_metadata_and_must_not_contradict_it() {
        let body = json!({"type": "t", "input_content": {"uri": "u"}, "customer": 7, "mapping.taxonomy": "x",
            "metadata": {"mapping": {"high": 1}, "customer": 7}});
        let expected = json!({"customer": 7, "mapping": {"taxonomy": "x", "high": 1}});
        assert_eq!(Value::Object(create(&body).unwrap().0.metadata), expected);
        let body =
            json!({"type": "t", "input_content": {"uri": "u"}, "customer": 7, "metadata": {"customer": 8}});
        assert_eq!(problems(create(&body)), [("/customer".into(), "CLASH".into())]);
    }
}
