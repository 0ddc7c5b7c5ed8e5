//! The document routes, which accept the same credentials as the API.

use reqwest::Method;

use super::fixture::{Fixture, Users};
use crate::harness::{TestApp, both};

both!(document_contents_are_served_only_to_its_viewers);
async fn document_contents_are_served_only_to_its_viewers(app: TestApp) {
    let users = Users::new(&app).await;
    let fixture = Fixture::new(&app, &users).await;
    // The columns: owner, all steps, one step, stranger, admin, anonymous.
    let table = [
        ("an input", &fixture.input, [200, 200, 200, 404, 200, 401]),
        ("a content of the step", &fixture.mapping, [200, 200, 200, 404, 200, 401]),
        ("a content of another step", &fixture.text, [200, 200, 404, 404, 200, 401]),
        ("an unused document", &fixture.unused, [200, 404, 404, 404, 200, 401]),
        ("not a document", &fixture.job, [404, 404, 404, 404, 404, 401]),
    ];
    for method in [Method::GET, Method::HEAD] {
        for (case, id, expected) in &table {
            for (i, expected) in expected.iter().enumerate() {
                let (user, _) = users.column(i);
                let request = user.request(method.clone(), &format!("/documents/{id}/contents"));
                let response = request.send().await.expect("a response");
                assert_eq!(response.status(), *expected, "{method} {case}, {}", user.name);
            }
        }
    }
}

both!(only_signed_in_users_can_upload_documents);
async fn only_signed_in_users_can_upload_documents(app: TestApp) {
    let users = Users::new(&app).await;
    let before = app.stored_keys();
    for (i, expected) in [201, 201, 201, 201, 201, 401].into_iter().enumerate() {
        let (user, _) = users.column(i);
        let response =
            user.request(Method::POST, "/documents").body("bytes").send().await.expect("a response");
        assert_eq!(response.status(), expected, "{}", user.name);
    }
    assert_eq!(app.stored_keys().len(), before.len() + 5, "the refused upload is not stored");
}
