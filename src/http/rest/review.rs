//! `/jobs/{id}/checkout`, `/release`, `/unblock` and `PUT /jobs/{id}/contents/{role}`: the review that a job is blocked
//! on.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::super::{Server, documents};
use super::base::run_change;
use super::envelope::{Envelope, Failure, success};
use super::input::{Caller, JsonObject, JsonPath, map_problem_paths, media_type, utf_8};
use super::job::{parse, view_by_id};
use super::job_input::{self, Unblock};
use super::view::{Content, Job};
use crate::error::Result;
use crate::json::is_json;
use crate::review::{self, claim, decide, replace};

/// Maximum number of attempts to decide on the newest version while newer versions arrive.
const MAX_ATTEMPTS: u32 = 20;

/// Checks a job out
///
/// Claims the review that the job is blocked on, so that nobody else decides it. A check-out ends after some minutes;
/// checking out again renews it.
#[utoipa::path(
    post,
    path = "/jobs/{id}/checkout",
    operation_id = "check_out_job",
    tag = "Reviews",
    params(("id" = Uuid, Path, description = "UUID of the job.")),
    responses(
        (status = 200, description = "The job.", body = Envelope<Job>),
        (status = 403, description = "The caller sees the job but may not work on the step.", body = Envelope<Failure>),
        (status = 404, description = "There is no such job, or not for the caller.", body = Envelope<Failure>),
        (status = 409, description = "Another person has checked the job out, or it is not blocked.", body = Envelope<Failure>),
    )
)]
pub(super) async fn checkout(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
) -> Result<Response> {
    let (app, id) = (server.app.clone(), parse(&id)?);
    let work = async move {
        let grant = review::open_of_job(&app.jobs, &actor, id).await?;
        claim::claim(&app.jobs, &grant).await?;
        view_by_id(&app, &actor, id).await
    };
    Ok(success(StatusCode::OK, run_change(&server, work).await?))
}

/// Releases a check-out
///
/// Then another person can check the job out. Without a check-out, the request changes nothing.
#[utoipa::path(
    post,
    path = "/jobs/{id}/release",
    operation_id = "release_job",
    tag = "Reviews",
    params(("id" = Uuid, Path, description = "UUID of the job.")),
    responses(
        (status = 200, description = "The job.", body = Envelope<Job>),
        (status = 403, description = "Another person has checked the job out, or the caller may not work on the step.", body = Envelope<Failure>),
        (status = 404, description = "There is no such job, or not for the caller.", body = Envelope<Failure>),
        (status = 409, description = "The job is not blocked.", body = Envelope<Failure>),
    )
)]
pub(super) async fn release(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
) -> Result<Response> {
    let (app, id) = (server.app.clone(), parse(&id)?);
    let work = async move {
        let grant = review::open_of_job(&app.jobs, &actor, id).await?;
        claim::release(&app.jobs, &grant).await?;
        view_by_id(&app, &actor, id).await
    };
    Ok(success(StatusCode::OK, run_change(&server, work).await?))
}

/// Decides the review of a job
///
/// Without a body, the request approves the newest version of the content. An unclaimed review is claimed and decided
/// in one change.
#[utoipa::path(
    post,
    path = "/jobs/{id}/unblock",
    operation_id = "unblock_job",
    tag = "Reviews",
    params(("id" = Uuid, Path, description = "UUID of the job.")),
    request_body(content = Option<Unblock>, content_type = "application/json", description = "The decision. The body is optional."),
    responses(
        (status = 200, description = "The job.", body = Envelope<Job>),
        (status = 403, description = "The caller sees the job but may not decide its review.", body = Envelope<Failure>),
        (status = 404, description = "There is no such job, or not for the caller.", body = Envelope<Failure>),
        (status = 409, description = "Another person has checked the job out, the content has changed, or the job is not blocked.", body = Envelope<Failure>),
    )
)]
pub(super) async fn unblock(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
    body: Option<JsonObject>,
) -> Result<Response> {
    let given = body.map(|body| body.read::<Unblock>(&job_input::UNBLOCK)).transpose()?.unwrap_or_default();
    let (app, id) = (server.app.clone(), parse(&id)?);
    let work = async move {
        let mut grant = review::open_of_job(&app.jobs, &actor, id).await?;
        let mut attempts_left = MAX_ATTEMPTS;
        loop {
            attempts_left -= 1;
            let seen = decide::seen(&app.jobs, grant.review()).await?;
            let decision = given.clone().parse(seen.map(|(_, document)| document.sha256))?;
            let Err(error) = decide::decide(&app.jobs, &grant, decision).await else {
                return view_by_id(&app, &actor, id).await;
            };
            // Without a hash, the client decides on the newest version, and there may be a newer one now.
            if given.content_sha256.is_some() || attempts_left == 0 || !decide::is_stale(&error) {
                return Err(error);
            }
            let again = review::open_of_job(&app.jobs, &actor, id).await?;
            if again.review().id != grant.review().id {
                return Err(error);
            }
            grant = again;
        }
    };
    let paths = [
        ("/toStep".to_owned(), "/to_step".to_owned()),
        ("/contentSha256".to_owned(), "/content_sha256".to_owned()),
    ];
    let job = run_change(&server, work).await.map_err(|error| map_problem_paths(error, &paths))?;
    Ok(success(StatusCode::OK, job))
}

/// Replaces the content under review
///
/// Requires the check-out. The role is the one under review, or any role of a manual step. The bytes become its next
/// version and the content of the review. JSON is checked like the result of a correction. The server computes the
/// items of the review again and discards a draft.
#[utoipa::path(
    put,
    path = "/jobs/{id}/contents/{role}",
    operation_id = "put_job_contents",
    tag = "Reviews",
    params(
        ("id" = Uuid, Path, description = "UUID of the job."),
        ("role" = String, Path, description = "Role of the content.", example = "zoning-json", pattern = "^[A-Za-z0-9._-]{1,100}$"),
        ("X-Name" = Option<String>, Header, description = "File name. Default: the name of the previous version.", pattern = "^[ -~]*$"),
        ("X-Type" = Option<String>, Header, description = "MIME type of an output of a manual step. A content under review keeps its type.", pattern = "^[a-z]+/[a-z0-9]+([.+-][a-z0-9]+)*$"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The bytes; any content type is accepted."),
    responses(
        (status = 201, description = "The new version.", body = Envelope<Content>),
        (status = 403, description = "The caller sees the job but may not work on the step.", body = Envelope<Failure>),
        (status = 404, description = "There is no such job, or not for the caller.", body = Envelope<Failure>),
        (status = 409, description = "The caller has not checked the job out, or it is not blocked.", body = Envelope<Failure>),
    )
)]
pub(super) async fn put_content(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath((id, role)): JsonPath<(String, String)>,
    request: Request,
) -> Result<Response> {
    let (app, id) = (server.app.clone(), parse(&id)?);
    let grant = review::open_of_job(&app.jobs, &actor, id).await?;
    let description = documents::read_description(request.headers())?;
    media_type(request.headers()).filter(is_json).as_ref().map_or(Ok(()), utf_8)?;
    let replaced = documents::receive(&server, &actor, request, |bytes| async move {
        replace::replace(&app.jobs, &grant, &role, description, bytes).await
    });
    let content = Content::new(&replaced.await?, server.app.jobs.documents.links());
    Ok(success(StatusCode::CREATED, content))
}
