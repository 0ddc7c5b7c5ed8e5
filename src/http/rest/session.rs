//! `/users`.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::Server;
use super::base::run_change;
use super::envelope::{Envelope, Failure, success};
use super::input::{Caller, JsonObject};
use super::job_input::{self, Login};
use super::view::User;
use crate::access::Viewer;
use crate::error::{Error, Result};

/// A user who has logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoggedIn {
    /// UUID of the account.
    id: Uuid,
    /// E-mail address of the account.
    #[schema(example = "ada@example.com")]
    email: String,
    /// Display name.
    #[schema(example = "Ada")]
    name: String,
    /// Keys to send as user name of HTTP Basic authentication, or as Bearer token.
    api_keys: ApiKeys,
}

/// The API keys of a login. They expire like a token.
#[derive(Debug, Serialize, ToSchema)]
struct ApiKeys {
    /// Key for real jobs.
    #[schema(pattern = "^user-live-[A-Za-z0-9_-]+$")]
    live: String,
    /// Key for test jobs, whose reviews approve themselves.
    #[schema(pattern = "^user-test-[A-Za-z0-9_-]+$")]
    test: String,
}

/// Logs in
///
/// Creates two API keys named "login", one for real jobs and one for tests, that expire like a token. An account has
/// the keys of at most 20 logins; one more revokes the oldest. Any content type is accepted. The limits of sign-in
/// apply.
#[utoipa::path(
    post,
    path = "/users/login",
    operation_id = "log_in",
    tag = "Users",
    security(()),
    request_body(content = Login, content_type = "application/json", description = "The credentials."),
    responses(
        (status = 200, description = "The user, with new API keys.", body = Envelope<LoggedIn>),
        (status = 401, description = "The e-mail address or the password is wrong.", body = Envelope<Failure>),
    )
)]
pub(super) async fn login(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    request: Request,
) -> Result<Response> {
    let body = JsonObject::of_any_type(request, &server).await?;
    let Login { authentication_method, username, password } = body.read(&job_input::LOGIN)?;
    if authentication_method.is_some_and(|method| !method.eq_ignore_ascii_case("password")) {
        let message = "Unknown authentication method. The only method is password.";
        return Err(Error::invalid("/authentication_method", "UNKNOWN_VALUE", message));
    }
    let app = server.app.clone();
    let work = async move { app.accounts.log_in(&username, password, viewer.address).await };
    let (account, keys) = run_change(&server, work).await?;
    let api_keys = ApiKeys { live: keys.live, test: keys.test };
    let user = LoggedIn { id: account.id.0, email: account.email, name: account.name, api_keys };
    Ok(success(StatusCode::OK, user))
}

/// Shows the caller
///
/// Returns the account of the credential.
#[utoipa::path(
    get,
    path = "/users/me",
    operation_id = "get_me",
    tag = "Users",
    responses((status = 200, description = "The caller's account.", body = Envelope<User>))
)]
pub(super) async fn me(Caller(actor): Caller) -> Result<Response> {
    Ok(success(StatusCode::OK, User::from(&*actor.user)))
}
