//! Tests of `GET /schema.graphql` and `GET /`.

use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::json;

use crate::harness::{TestApp, both};

both!(schema_is_served_as_text_with_an_etag);
async fn schema_is_served_as_text_with_an_etag(app: TestApp) {
    let anonymous = app.anonymous();
    let request = || anonymous.request(Method::GET, "/schema.graphql");
    let response = request().send().await.expect("a response");
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let tag = response.headers()["etag"].clone();
    assert_eq!(response.text().await.expect("text"), docket::graphql::sdl());
    let again = request().header("If-None-Match", tag).send().await.expect("a response");
    assert_eq!((again.status().as_u16(), again.text().await.expect("text")), (304, String::new()));
}

both!(root_path_redirects_to_the_graphiql_page);
async fn root_path_redirects_to_the_graphiql_page(app: TestApp) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(Policy::none()).build();
    let response = client.expect("a client").get(app.url("/")).send().await.expect("a response");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (307, &"/graphiql".parse().expect("text"))
    );
}

both!(deprecated_directive_has_the_locations_of_the_specification);
async fn deprecated_directive_has_the_locations_of_the_specification(app: TestApp) {
    let ada = app.user("ada").await;
    let data = ada.gql("{ __schema { directives { name locations } } }", json!({})).await;
    let directives = data["__schema"]["directives"].as_array().expect("a list");
    let deprecated =
        directives.iter().find(|directive| directive["name"] == "deprecated").expect("a directive");
    let locations = ["FIELD_DEFINITION", "ARGUMENT_DEFINITION", "INPUT_FIELD_DEFINITION", "ENUM_VALUE"];
    assert_eq!(deprecated["locations"], json!(locations));
    // If the schema prints the definition, it must contain all locations of the specification.
    let printed = docket::graphql::sdl();
    let definition = printed.lines().find(|line| line.starts_with("directive @deprecated"));
    assert!(
        definition.is_none_or(|line| locations.iter().all(|location| line.contains(location))),
        "{definition:?}"
    );
}
