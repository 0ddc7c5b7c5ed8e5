//! The REST façade under `/v1.1`: snake_case JSON in one envelope, over the same commands that GraphQL's resolvers use.

mod base;
mod document;
mod envelope;
mod input;
mod job;
mod job_input;
mod job_list;
mod job_type;
mod openapi;
mod review;
mod session;
mod status;
mod view;

pub(super) use base::{ALIAS, ROOT};
pub(super) use envelope::wrap_errors;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::compression::compressible;
use super::{Server, auth, graphiql};

/// Returns the routes and the OpenAPI document. Both come from one list, so they cannot differ.
pub(super) fn routes(server: &Server) -> Router<Server> {
    let json = OpenApiRouter::new()
        .routes(routes!(job::list, job::create))
        .routes(routes!(job::describe, job::update, job::delete))
        .routes(routes!(job::cancel))
        .routes(routes!(job::retry))
        .routes(routes!(job::rewind))
        .routes(routes!(review::checkout))
        .routes(routes!(review::release))
        .routes(routes!(review::unblock))
        .routes(routes!(review::put_content))
        .routes(routes!(session::me))
        .routes(routes!(job_type::list))
        .routes(routes!(job_type::describe))
        .routes(routes!(document::upload))
        .routes(routes!(document::describe))
        .layer(CompressionLayer::new().compress_when(compressible()));
    let bytes = OpenApiRouter::new().routes(routes!(job::contents)).routes(routes!(document::contents));
    let signed_in = json.merge(bytes).layer(from_fn_with_state(server.clone(), auth::authenticate));
    let open = OpenApiRouter::new().routes(routes!(status::status));
    let login = OpenApiRouter::new()
        .routes(routes!(session::login))
        .layer(from_fn_with_state(server.clone(), auth::ignore_credential));
    let all = OpenApiRouter::with_openapi(openapi::head()).nest(ROOT, signed_in.merge(login).merge(open));
    let (router, generated) = all.split_for_parts();
    let document = axum::Json(openapi::complete(&generated, &server.app.config.limits));
    let texts = Router::new()
        .route(&format!("{ROOT}/openapi.json"), get(async move || document))
        .route(&format!("{ROOT}/docs"), get(async || graphiql::page("rest.html")))
        .layer(CompressionLayer::new().compress_when(compressible()));
    router.merge(texts)
}
