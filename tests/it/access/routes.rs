//! The routes of documents, which take the same credentials as the API.

use reqwest::Method;

use super::world::{People, World};
use crate::harness::{TestApp, both};

both!(contents_are_fetched_by_whoever_sees_the_document);
async fn contents_are_fetched_by_whoever_sees_the_document(app: TestApp) {
    let people = People::new(&app).await;
    let world = World::new(&app, &people).await;
    // Owner, all steps, one step, stranger, admin, nobody.
    let table = [
        ("an input", &world.input, [200, 200, 200, 404, 200, 401]),
        ("a content of the step", &world.mapping, [200, 200, 200, 404, 200, 401]),
        ("a content of another step", &world.text, [200, 200, 404, 404, 200, 401]),
        ("of no job", &world.loose, [200, 404, 404, 404, 200, 401]),
        ("not a document", &world.job, [404, 404, 404, 404, 404, 401]),
    ];
    for method in [Method::GET, Method::HEAD] {
        for (what, id, expected) in &table {
            for (i, expected) in expected.iter().enumerate() {
                let (person, _) = people.ask_as(i);
                let request = person.request(method.clone(), &format!("/documents/{id}/contents"));
                let response = request.send().await.expect("the server answers");
                assert_eq!(response.status(), *expected, "{method} {what}, {}", person.name);
            }
        }
    }
}

both!(whoever_has_signed_in_uploads);
async fn whoever_has_signed_in_uploads(app: TestApp) {
    let people = People::new(&app).await;
    let before = app.stored();
    for (i, expected) in [201, 201, 201, 201, 201, 401].into_iter().enumerate() {
        let (person, _) = people.ask_as(i);
        let response =
            person.request(Method::POST, "/documents").body("bytes").send().await.expect("an answer");
        assert_eq!(response.status(), expected, "{}", person.name);
    }
    assert_eq!(app.stored().len(), before.len() + 5, "what nobody may upload is not stored");
}
