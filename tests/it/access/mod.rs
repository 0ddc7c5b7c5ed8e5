//! Tests of access control: six kinds of users request every root field and every document route.
//!
//! [`table::rows`] lists the expected outcomes. A root field without a row fails a test, and so does an identifier
//! argument that no row tries with the ID of another user's object.

mod fixture;
mod routes;
mod steps;
mod table;

use std::collections::BTreeSet;

use docket::entity::job;
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::harness::{File, GqlResponse, TestApp, User, both, job_id};
use crate::sdl::Sdl;
use fixture::{Fixture, MARKER, Users};
use table::{Outcome, Row, rows};

#[test]
fn every_root_field_has_an_access_row() {
    let schema = Sdl::parse(&docket::graphql::sdl());
    let fields: BTreeSet<_> =
        schema.root_fields().iter().map(|(root, field)| format!("{root}.{}", field.name.node)).collect();
    let rows: BTreeSet<_> = rows().iter().map(|row| row.field.to_owned()).collect();
    let missing: Vec<_> = fields.difference(&rows).collect();
    assert!(missing.is_empty(), "access/table.rs has no rows for these fields: {missing:#?}");
    let unknown: Vec<_> = rows.difference(&fields).collect();
    assert!(unknown.is_empty(), "access/table.rs has rows for unknown fields: {unknown:#?}");
}

#[test]
fn every_identifier_argument_is_tried_with_foreign_ids() {
    let schema = Sdl::parse(&docket::graphql::sdl());
    let rows = rows();
    let mut missing = Vec::new();
    for (root, field) in schema.root_fields() {
        let name = format!("{root}.{}", field.name.node);
        let tried: Vec<_> = rows.iter().filter(|row| row.field == name).flat_map(|row| row.foreign).collect();
        let untried = schema.identifiers(field).into_iter().filter(|path| !tried.contains(&&path.as_str()));
        missing.extend(untried.map(|path| format!("{name}({path})")));
    }
    assert!(missing.is_empty(), "no row in access/table.rs lists these as `foreign`: {missing:#?}");
}

both!(every_user_gets_the_outcome_in_the_table, |config| config.webhooks.per_user = 1_000_000);
async fn every_user_gets_the_outcome_in_the_table(app: TestApp) {
    let users = Users::new(&app).await;
    let mut fixture = Fixture::new(&app, &users).await;
    let mut wrong = Vec::new();
    for row in rows() {
        for (i, expected) in row.expected.iter().enumerate() {
            let (user, own) = users.column(i);
            let before = job_row(&app, &fixture).await;
            let variables = (row.variables)(&fixture, own);
            let got = if LIST_SUBSCRIPTIONS.contains(&row.field) {
                observe_subscription(&row, user, variables, &fixture, &users).await
            } else {
                observe(&row, user, variables).await
            };
            let needle = row.needle.map(|needle| needle(&fixture)).unwrap_or_default();
            if let Err(text) = check_outcome(expected, &got, &needle) {
                wrong.push(format!("{} ({}), {}: {text}", row.field, row.case, user.name));
            }
            let must_not_leak = !users.can_see_job(i) || !matches!(expected, Outcome::Data | Outcome::Shown);
            if must_not_leak && got.text.contains(MARKER) {
                wrong.push(format!("{} ({}), {}: leaked in {}", row.field, row.case, user.name, got.text));
            }
            let is_mutation = row.field.starts_with("Mutation.");
            if is_mutation && got.code.is_some() && before != job_row(&app, &fixture).await {
                wrong.push(format!(
                    "{} ({}), {}: refused, but the job changed",
                    row.field, row.case, user.name
                ));
            }
            if is_mutation && got.code.as_deref().is_none_or(|code| code == "CONFLICT") {
                fixture = Fixture::new(&app, &users).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{} outcomes are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

both!(foreign_ids_get_the_same_response_as_unknown_ids);
async fn foreign_ids_get_the_same_response_as_unknown_ids(app: TestApp) {
    let users = Users::new(&app).await;
    let fixture = Fixture::new(&app, &users).await;
    let (stranger, own) = users.stranger();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in rows().iter().filter(|row| !LIST_SUBSCRIPTIONS.contains(&row.field)) {
        let foreign = (row.variables)(&fixture, own);
        let (unknown, replaced) = fixture.with_unknown_ids(&foreign);
        if replaced.is_empty() {
            continue;
        }
        compared += 1;
        let response = full_response(row, stranger, foreign).await;
        // The real IDs replace the unknown IDs, so that the responses are comparable.
        let mut expected = full_response(row, stranger, unknown).await;
        for (id, unknown_id) in replaced {
            expected = expected.replace(&unknown_id, &id);
        }
        if response != expected {
            wrong
                .push(format!("{} ({}):\n  foreign: {response}\n  unknown: {expected}", row.field, row.case));
        }
    }
    assert!(compared > 40, "only {compared} rows use an ID of the fixture");
    assert!(wrong.is_empty(), "{} responses differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Returns the complete response without the tracking IDs, which differ between requests.
async fn full_response(row: &Row, user: &User, variables: Value) -> String {
    if row.field.starts_with("Subscription.") {
        let first = user.subscribe(row.query, variables).await.first().await;
        return match first {
            Ok(data) => data.to_string(),
            Err(mut error) => {
                error.extensions.remove("tracking");
                format!("{error:?}")
            }
        };
    }
    let mut response = user.execute(row.query, variables).await;
    for error in &mut response.errors {
        error.extensions.remove("tracking");
    }
    format!("{} {} {:?}", response.status, response.data, response.errors)
}

async fn job_row(app: &TestApp, fixture: &Fixture) -> Option<job::Model> {
    job::Entity::find_by_id(job_id(&fixture.job)).one(app.db.read()).await.expect("the job can be read")
}

/// Subscriptions to lists, which send nothing until an object changes.
const LIST_SUBSCRIPTIONS: [&str; 3] =
    ["Subscription.jobsUpdated", "Subscription.reviewsUpdated", "Subscription.events"];

/// Returns the events that a user receives while the job changes, up to the event of a new job of their own.
async fn observe_subscription(
    row: &Row,
    user: &User,
    variables: Value,
    fixture: &Fixture,
    users: &Users,
) -> Observed {
    let mut events = user.subscribe(row.query, variables).await;
    let Some(name) = user.account_name() else {
        let error = events.expect_error().await;
        return observed_error(error.code(), format!("{error:?}"));
    };
    fixture.change_job_and_review(users).await;
    let own = user.create_job(json!({"type": fixture::MANUAL_TYPE, "metadata": {"of": name}})).await;
    let mut text = String::new();
    loop {
        let event = events.next().await.to_string();
        text.push_str(&event);
        if event.contains(&own) {
            return Observed { code: None, field: Value::Null, text };
        }
    }
}

/// The part of a response that the table describes.
struct Observed {
    code: Option<String>,
    field: Value,
    /// The complete data or errors.
    text: String,
}

async fn observe(row: &Row, user: &User, variables: Value) -> Observed {
    if row.field.starts_with("Subscription.") {
        let first = user.subscribe(row.query, variables).await.first().await;
        return match first {
            Ok(mut data) => Observed { code: None, text: data.to_string(), field: first_field(&mut data) },
            Err(error) => observed_error(error.code(), format!("{error:?}")),
        };
    }
    let response = if row.field == "Mutation.uploadDocument" {
        let file = File { part: "0", name: "x.txt", media_type: "text/plain", bytes: b"x" };
        let operations = json!({"query": row.query, "variables": variables});
        user.execute_multipart(&operations, &json!({"0": ["variables.file"]}), &[file]).await
    } else {
        user.execute(row.query, variables).await
    };
    let GqlResponse { mut data, errors, .. } = response;
    match errors.first() {
        Some(error) => observed_error(error.code(), format!("{data} {errors:?}")),
        None => Observed { code: None, text: data.to_string(), field: first_field(&mut data) },
    }
}

fn observed_error(code: &str, text: String) -> Observed {
    Observed { code: Some(code.to_owned()), field: Value::Null, text }
}

fn first_field(data: &mut Value) -> Value {
    data.as_object_mut().and_then(|object| object.values_mut().next()).map(Value::take).unwrap_or_default()
}

fn check_outcome(expected: &Outcome, got: &Observed, needle: &str) -> Result<(), String> {
    let fits = match expected {
        Outcome::Code(code) => got.code.as_deref() == Some(code),
        _ if got.code.is_some() => false,
        Outcome::Data => !got.field.is_null(),
        Outcome::Null => got.field.is_null(),
        Outcome::Shown => got.text.contains(needle),
        Outcome::Hidden => !got.text.contains(needle),
    };
    if fits { Ok(()) } else { Err(format!("expected {expected:?}, got {:?} {}", got.code, got.text)) }
}
