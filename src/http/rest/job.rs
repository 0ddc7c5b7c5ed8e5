//! `/jobs`.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::{Server, documents, refuse_request};
use super::base::{ROOT, run_change, run_read};
use super::envelope::{Envelope, Failure, success};
use super::input::{Caller, JsonObject, JsonPath, Parameters, map_problem_paths};
use super::job_input::{self, CancelJob, CreateJob, RewindJob, Update, UpdateJob};
use super::job_list;
use super::view::{Job, JobStatus};
use crate::access::policy::Standing;
use crate::access::{self, Actor, Cancel, Delete, Edit, Share, View};
use crate::app::App;
use crate::collaboration;
use crate::entity::job;
use crate::error::{Error, Result};
use crate::id::JobId;
use crate::job::control::CheckedUpdate;
use crate::job::query::Ownership;
use crate::job::state::Status;
use crate::page::Cursor;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const DEFAULT_PAGE_SIZE: u32 = 20;

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobPage {
    /// The jobs.
    jobs: Vec<Job>,
    /// Value of `after` for the next page; null on the last page.
    next: Option<String>,
}

/// Lists jobs
///
/// Returns the jobs that the caller may see, newest first. Pages stay stable while jobs are created and deleted.
#[utoipa::path(
    get,
    path = "/jobs",
    operation_id = "list_jobs",
    tag = "Jobs",
    params(
        ("status" = Option<Vec<JobStatus>>, Query, style = Form, explode, description = "Status of the job. Repeat the parameter for several."),
        ("type" = Option<Vec<String>>, Query, style = Form, explode, description = "Job type. Repeat the parameter for several."),
        ("owner" = inline(Option<Ownership>), Query, description = "Jobs of the caller, jobs shared with the caller, or both."),
        ("team_id" = Option<Uuid>, Query, description = "Shared with this team."),
        ("created_after" = Option<chrono::DateTime<chrono::Utc>>, Query, description = "Created after this time."),
        ("created_before" = Option<chrono::DateTime<chrono::Utc>>, Query, description = "Created before this time."),
        ("updated_after" = Option<chrono::DateTime<chrono::Utc>>, Query, description = "Changed after this time."),
        ("blocking_task" = Option<String>, Query, description = "Blocked at this step. Only jobs on whose step the caller may work match."),
        ("blocking_step" = Option<String>, Query, description = "The same as `blocking_task`; give one of them."),
        ("input_name" = Option<String>, Query, description = "Substring of the input document's name, in any case."),
        ("metadata" = Option<Object>, Query, style = Form, explode, description = "Parameters such as `metadata.mapping.taxonomy=invoices`: the field must have this value. JSON values keep their type (`7`, `true`, `\"7\"`); any other value is text."),
        ("order_by" = inline(Option<job_list::Order>), Query, description = "Time of creation (default) or of the last change."),
        ("direction" = inline(Option<job_list::OrderDirection>), Query, description = "Newest first (default) or oldest first."),
        ("first" = Option<i32>, Query, minimum = 1, description = "Size of the page. Default: 20."),
        ("limit" = Option<i32>, Query, minimum = 1, description = "The same as `first`; give one of them."),
        ("after" = Option<String>, Query, description = "`next` of the previous page."),
    ),
    responses((status = 200, description = "A page of jobs.", body = Envelope<JobPage>))
)]
pub(super) async fn list(
    State(server): State<Server>,
    Caller(actor): Caller,
    Parameters(parameters): Parameters,
) -> Result<Response> {
    let app = &server.app;
    let listing = job_list::parse(parameters)?;
    let work = async {
        let (by, direction) = listing.order;
        let window = listing.paging.window(by.list(), DEFAULT_PAGE_SIZE, app.config.limits.page_size)?;
        let page = app.jobs.list(&actor, &listing.filter, (by, direction), window).await?;
        let last = page.rows.last().filter(|_| page.has_next);
        let next = last.map(|row| Cursor { at: by.of(row), id: row.id.0 }.encode(by.list()));
        Ok(JobPage { jobs: views(app, &actor, page.rows).await?, next })
    };
    let page = run_read(&server, work).await.map_err(|error| map_problem_paths(error, &listing.paths))?;
    Ok(success(StatusCode::OK, page))
}

/// Creates a job
///
/// Queues the first step. Field names may be written in any case (`InputContent`, `input-content`). Unknown fields
/// become part of `metadata`, which the schema of the job type checks. The input is `input_content`, or the role
/// `input` in `contents`.
#[utoipa::path(
    post,
    path = "/jobs",
    operation_id = "create_job",
    tag = "Jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key with the same request returns the same job. The same key with another request is 409.", pattern = "^[!-~]([\\t -~]{0,198}[!-~])?$")),
    request_body(content = CreateJob, content_type = "application/json", description = "The job."),
    responses(
        (status = 201, description = "The new job.", body = Envelope<Job>, headers(("Location" = String, description = "Path of the job in this API."))),
        (status = 404, description = "A document, team or user in the request does not exist for the caller.", body = Envelope<Failure>),
        (status = 409, description = "The idempotency key was used for another request.", body = Envelope<Failure>),
    )
)]
pub(super) async fn create(
    State(server): State<Server>,
    Caller(actor): Caller,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response> {
    let key = headers.get(IDEMPOTENCY_KEY).map(|value| value.to_str().map(str::to_owned));
    let key = key.transpose().map_err(|_| {
        Error::invalid(
            job_input::IDEMPOTENCY_KEY_PATH,
            "INVALID",
            "Idempotency-Key must consist of visible ASCII characters and spaces.",
        )
    })?;
    let (job, unknown) = body.read_with_unknown::<CreateJob>(&job_input::CREATE)?;
    let (new, paths) = job.parse(&unknown, key)?;
    let app = server.app.clone();
    let work = async move {
        let job = app.jobs.create(&actor, new).await?;
        view(&app, &actor, job).await
    };
    let (id, job) = run_change(&server, work).await.map_err(|error| map_problem_paths(error, &paths))?;
    let location = HeaderValue::from_str(&format!("{ROOT}/jobs/{id}")).map_err(Error::internal)?;
    let mut response = success(StatusCode::CREATED, job);
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// Shows a job
///
/// Supports conditional requests: send the ETag as `If-None-Match`.
#[utoipa::path(
    get,
    path = "/jobs/{id}",
    operation_id = "get_job",
    tag = "Jobs",
    params(
        ("id" = Uuid, Path, description = "UUID of the job."),
        ("If-None-Match" = Option<String>, Header, description = "ETag of the caller's copy."),
    ),
    responses(
        (status = 200, description = "The job.", body = Envelope<Job>, headers(("ETag" = String, description = "Changes with everything that the caller sees of the job."))),
        (status = 304, description = "Nothing has changed."),
        (status = 404, description = "There is no such job, or not for the caller.", body = Envelope<Failure>),
    )
)]
pub(super) async fn describe(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let app = &server.app;
    let work = async {
        let grant = access::job::<View>(app.db.read(), &actor, parse(&id)?).await?;
        let etag = etag(app, grant.job(), grant.standing()).await?;
        let mut response = if documents::matches_etag(&headers, header::IF_NONE_MATCH, &etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            success(StatusCode::OK, view(app, &actor, grant.job().clone()).await?.1)
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::from_str(&etag).map_err(Error::internal)?);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        Ok(response)
    };
    run_read(&server, work).await
}

/// Changes a job
///
/// Applies a JSON Merge Patch (RFC 7396) to `metadata`, `priority` and `collaboration`; omitted fields stay. A list in
/// `collaboration` replaces the whole list, and collaborators that it omits lose access at once.
#[utoipa::path(
    put,
    path = "/jobs/{id}",
    operation_id = "update_job",
    tag = "Jobs",
    params(
        ("id" = Uuid, Path, description = "UUID of the job."),
        ("If-Match" = Option<String>, Header, description = "ETag of the caller's copy. If the job has changed since, the request changes nothing. `*` matches any state."),
    ),
    request_body(content = UpdateJob, content_type = "application/json", description = "The changes."),
    responses(
        (status = 200, description = "The job.", body = Envelope<Job>),
        (status = 403, description = "The caller sees the job but may not make this change.", body = Envelope<Failure>),
        (status = 404, description = "There is no such job, or not for the caller; or a team or user in the request does not exist.", body = Envelope<Failure>),
        (status = 409, description = "The change conflicts with another one.", body = Envelope<Failure>),
        (status = 412, description = "`If-Match` names another state of the job.", body = Envelope<Failure>),
    )
)]
pub(super) async fn update(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response> {
    let (app, id) = (server.app.clone(), parse(&id)?);
    let Update { changes, collaborators, paths } = body.read::<UpdateJob>(&job_input::UPDATE)?.parse()?;
    let mut seen_seq = None;
    if headers.contains_key(header::IF_MATCH) {
        let grant = access::job::<Edit>(app.db.read(), &actor, id).await?;
        // ETags of jobs are weak, because they leave out times and links of the response. Here they match like strong
        // ones, because a client has no others.
        let etag = etag(&app, grant.job(), grant.standing()).await?;
        if !documents::matches_etag(&headers, header::IF_MATCH, &etag) {
            let message = format!("The entity tag of the job is {etag}.");
            return Ok(refuse_request(StatusCode::PRECONDITION_FAILED, "IF_MATCH", message));
        }
        // Another request may change the job before this one does.
        seen_seq = Some(grant.job().seq).filter(|_| headers[header::IF_MATCH] != "*");
    }
    let work = async move {
        // All checks come before the first change.
        let edit = access::job::<Edit>(app.db.read(), &actor, id).await?;
        let sharing = match collaborators {
            Some((teams, users)) => {
                let share = access::job::<Share>(app.db.read(), &actor, id).await?;
                let collaborators = collaboration::new_collaborators(&app.jobs, &share, teams, users).await?;
                Some((share, collaborators))
            }
            None => None,
        };
        let changes = app.jobs.check_changes(&edit, changes).await?;
        let changes = seen_seq.into_iter().fold(changes, CheckedUpdate::only_after);
        let job = match sharing {
            Some((share, collaborators)) => {
                collaboration::replace(&app.jobs, &share, collaborators, changes).await?
            }
            None => app.jobs.apply_changes(&edit, changes).await?,
        };
        view(&app, &actor, job).await
    };
    let (_, job) = run_change(&server, work).await.map_err(|error| map_problem_paths(error, &paths))?;
    Ok(success(StatusCode::OK, job))
}

/// A deleted job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Deleted {
    /// UUID of the deleted job.
    id: Uuid,
}

/// Deletes a job
///
/// Deletes the job with its history and all outputs of its steps. Cancels it first unless it is final.
#[utoipa::path(
    delete,
    path = "/jobs/{id}",
    operation_id = "delete_job",
    tag = "Jobs",
    params(("id" = Uuid, Path, description = "UUID of the job.")),
    responses(
        (status = 200, description = "The job is deleted.", body = Envelope<Deleted>),
        (status = 403, description = "The caller sees the job but may not delete it.", body = Envelope<Failure>),
        (status = 404, description = "There is no such job, or not for the caller.", body = Envelope<Failure>),
        (status = 409, description = "Another job uses an output of this job.", body = Envelope<Failure>),
    )
)]
pub(super) async fn delete(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
) -> Result<Response> {
    let (app, id) = (server.app.clone(), parse(&id)?);
    let work = async move {
        let grant = access::job::<Delete>(app.db.read(), &actor, id).await?;
        app.jobs.delete(&grant).await
    };
    run_change(&server, work).await?;
    Ok(success(StatusCode::OK, Deleted { id: id.0 }))
}

/// Cancels a job
///
/// Cancels a job that is not final. A running worker learns of it at its next report.
#[utoipa::path(
    post,
    path = "/jobs/{id}/cancel",
    operation_id = "cancel_job",
    tag = "Jobs",
    params(("id" = Uuid, Path, description = "UUID of the job.")),
    request_body(content = Option<CancelJob>, content_type = "application/json", description = "The reason. The body is optional."),
    responses(
        (status = 200, description = "The job.", body = Envelope<Job>),
        (status = 403, description = "The caller sees the job but may not cancel it.", body = Envelope<Failure>),
        (status = 404, description = "There is no such job, or not for the caller.", body = Envelope<Failure>),
        (status = 409, description = "The job has ended.", body = Envelope<Failure>),
    )
)]
pub(super) async fn cancel(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
    body: Option<JsonObject>,
) -> Result<Response> {
    let (id, given) = (parse(&id)?, body.map(|body| body.read::<CancelJob>(&job_input::CANCEL)).transpose()?);
    let reason = given.and_then(|given| given.reason);
    let app = server.app.clone();
    let work = async move {
        let grant = access::job::<Cancel>(app.db.read(), &actor, id).await?;
        let job = app.jobs.cancel(&grant, reason).await?;
        view(&app, &actor, job).await
    };
    Ok(success(StatusCode::OK, run_change(&server, work).await?.1))
}

/// Rewinds a job
///
/// Takes a job of any status back to a step that it has reached before. The default is the step before the current one,
/// or the last step of a job that has ended. Contents of that step and of later steps are superseded, not deleted.
#[utoipa::path(
    post,
    path = "/jobs/{id}/rewind",
    operation_id = "rewind_job",
    tag = "Jobs",
    params(("id" = Uuid, Path, description = "UUID of the job.")),
    request_body(content = Option<RewindJob>, content_type = "application/json", description = "The step. The body is optional."),
    responses(
        (status = 200, description = "The job.", body = Envelope<Job>),
        (status = 403, description = "The caller sees the job but may not rewind it.", body = Envelope<Failure>),
        (status = 404, description = "There is no such job, or not for the caller.", body = Envelope<Failure>),
        (status = 409, description = "The job cannot be rewound in its current status.", body = Envelope<Failure>),
    )
)]
pub(super) async fn rewind(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
    body: Option<JsonObject>,
) -> Result<Response> {
    let given = body.map(|body| body.read::<RewindJob>(&job_input::REWIND)).transpose()?.unwrap_or_default();
    let id = parse(&id)?;
    let app = server.app.clone();
    let work = async move {
        let grant = access::job::<Cancel>(app.db.read(), &actor, id).await?;
        let job = app.jobs.rewind(&grant, given.to_step, given.reason).await?;
        view(&app, &actor, job).await
    };
    let paths = [("/toStep".to_owned(), "/to_step".to_owned())];
    let (_, job) = run_change(&server, work).await.map_err(|error| map_problem_paths(error, &paths))?;
    Ok(success(StatusCode::OK, job))
}

/// Runs a job again
///
/// Runs a job that has failed or was canceled, starting with the step at which it stopped.
#[utoipa::path(
    post,
    path = "/jobs/{id}/retry",
    operation_id = "retry_job",
    tag = "Jobs",
    params(("id" = Uuid, Path, description = "UUID of the job.")),
    responses(
        (status = 200, description = "The job.", body = Envelope<Job>),
        (status = 403, description = "The caller sees the job but may not run it again.", body = Envelope<Failure>),
        (status = 404, description = "There is no such job, or not for the caller.", body = Envelope<Failure>),
        (status = 409, description = "The job has neither failed nor been canceled.", body = Envelope<Failure>),
    )
)]
pub(super) async fn retry(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
) -> Result<Response> {
    let (app, id) = (server.app.clone(), parse(&id)?);
    let work = async move {
        let grant = access::job::<Cancel>(app.db.read(), &actor, id).await?;
        let job = app.jobs.retry(&grant).await?;
        view(&app, &actor, job).await
    };
    Ok(success(StatusCode::OK, run_change(&server, work).await?.1))
}

/// Fetches the bytes of a content
///
/// The response has no envelope, and the media type of the document.
#[utoipa::path(
    get,
    path = "/jobs/{id}/contents/{role}/{version}",
    operation_id = "get_job_contents",
    tag = "Jobs",
    params(
        ("id" = Uuid, Path, description = "UUID of the job."),
        ("role" = String, Path, description = "Role of the content.", example = "output", pattern = "^[A-Za-z0-9._-]{1,100}$"),
        ("version" = String, Path, description = "Version number, starting at 1, or `latest` for the current version.", example = "latest", pattern = "^([1-9][0-9]{0,8}|latest)$"),
        ("Range" = Option<String>, Header, description = "One range of bytes.", example = "bytes=0-1023"),
        ("If-None-Match" = Option<String>, Header, description = "ETag of the caller's copy."),
    ),
    responses(
        (status = 200, description = "The bytes.", body = serde_json::Value, content_type = "*/*", headers(("ETag" = String, description = "SHA-256 of the bytes, in quotation marks."))),
        (status = 206, description = "The requested range.", body = serde_json::Value, content_type = "*/*"),
        (status = 304, description = "The caller's copy is current."),
        (status = 404, description = "There is no such content, or not for the caller.", body = Envelope<Failure>),
        (status = 412, description = "`If-Match` names other bytes.", body = Envelope<Failure>),
        (status = 416, description = "The content has no such range.", body = Envelope<Failure>),
    )
)]
pub(super) async fn contents(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath((id, role, version)): JsonPath<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let version = match version.as_str() {
        "latest" => None,
        number => Some(number.parse().ok().filter(|number: &i32| *number > 0).ok_or_else(|| {
            Error::invalid("/version", "INVALID", "The version must be a number from 1, or latest.")
        })?),
    };
    let work = async {
        let grant = access::job::<View>(server.app.db.read(), &actor, parse(&id)?).await?;
        server.app.jobs.content(&grant, &role, version).await
    };
    let document = run_read(&server, work).await?;
    documents::serve(&server, (&actor).into(), &document, &method, &headers).await
}

pub(super) fn parse(id: &str) -> Result<JobId> {
    JobId::parse(id).ok_or_else(|| Error::not_found("job"))
}

async fn views(app: &App, actor: &Actor, jobs: Vec<job::Model>) -> Result<Vec<Job>> {
    let details = app.jobs.details(actor, jobs).await?;
    Ok(details.into_iter().map(|details| Job::new(details, app.jobs.documents.links())).collect())
}

/// Returns the current state of a job.
pub(super) async fn view_by_id(app: &App, actor: &Actor, id: JobId) -> Result<Job> {
    let grant = access::job::<View>(app.db.read(), actor, id).await?;
    Ok(view(app, actor, grant.job().clone()).await?.1)
}

async fn view(app: &App, actor: &Actor, job: job::Model) -> Result<(JobId, Job)> {
    let id = job.id;
    let found = views(app, actor, vec![job]).await?.pop();
    found.map(|job| (id, job)).ok_or_else(|| Error::not_found("job"))
}

/// Returns an ETag that changes with everything that a caller with this access sees of a job: its history, the progress
/// of its step, the claim of its review, and the access itself.
async fn etag(app: &App, job: &job::Model, standing: &Standing) -> Result<String> {
    let (fraction, message) = match app.jobs.task(job.id).await? {
        Some(task) => (task.fraction, task.message),
        None => (0.0, None),
    };
    let claim = match job.status == Status::Blocked {
        true => app.jobs.claim_on(job.id).await?,
        false => None,
    };
    let access = match standing {
        Standing::Owner => json!("owner"),
        Standing::Admin => json!("admin"),
        Standing::AllSteps => json!("all"),
        Standing::Steps(steps) => json!(steps),
    };
    let seen = json!([job.id, job.seq, fraction, message, access, claim]).to_string();
    Ok(format!("W/\"{}\"", &hex::encode(Sha256::digest(seen))[..32]))
}
