//! `GET /schema.graphql` and `GET /`.

use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::json;

use crate::harness::{TestApp, both};

both!(schema_is_served_as_text_with_an_entity_tag);
async fn schema_is_served_as_text_with_an_entity_tag(app: TestApp) {
    let nobody = app.anonymous();
    let ask = || nobody.request(Method::GET, "/schema.graphql");
    let answer = ask().send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    let tag = answer.headers()["etag"].clone();
    assert_eq!(answer.text().await.expect("text"), docket::graphql::sdl());
    let again = ask().header("If-None-Match", tag).send().await.expect("an answer");
    assert_eq!((again.status().as_u16(), again.text().await.expect("text")), (304, String::new()));
}

both!(root_leads_to_graphiql);
async fn root_leads_to_graphiql(app: TestApp) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(Policy::none()).build();
    let answer = client.expect("a client").get(app.url("/")).send().await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (307, &"/graphiql".parse().expect("text"))
    );
}

both!(deprecated_has_the_locations_of_the_specification);
async fn deprecated_has_the_locations_of_the_specification(app: TestApp) {
    let ada = app.user("ada").await;
    let said = ada.gql("{ __schema { directives { name locations } } }", json!({})).await;
    let directives = said["__schema"]["directives"].as_array().expect("a list");
    let deprecated =
        directives.iter().find(|directive| directive["name"] == "deprecated").expect("a directive");
    let locations = ["FIELD_DEFINITION", "ARGUMENT_DEFINITION", "INPUT_FIELD_DEFINITION", "ENUM_VALUE"];
    assert_eq!(deprecated["locations"], json!(locations));
    // A printed definition must not be narrower than the one that every tool knows.
    let printed = docket::graphql::sdl();
    let definition = printed.lines().find(|line| line.starts_with("directive @deprecated"));
    assert!(
        definition.is_none_or(|line| locations.iter().all(|location| line.contains(location))),
        "{definition:?}"
    );
}
