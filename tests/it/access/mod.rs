//! Who gets what: every root field of the schema and every route of documents, asked by everybody.
//!
//! [`table::rows`] says for each what comes of it. A root field without a row fails here by its name, and so does an
//! argument that takes an identifier which no row tries with somebody else's.

mod routes;
mod steps;
mod table;
mod world;

use std::collections::BTreeSet;

use docket::entity::job;
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::harness::{Answer, File, TestApp, User, both, job_id};
use crate::sdl::Sdl;
use table::{Outcome, Row, rows};
use world::{HUSH, People, World};

#[test]
fn every_root_field_has_a_row() {
    let schema = Sdl::parse(&docket::graphql::sdl());
    let fields: BTreeSet<_> =
        schema.root_fields().iter().map(|(root, field)| format!("{root}.{}", field.name.node)).collect();
    let rows: BTreeSet<_> = rows().iter().map(|row| row.field.to_owned()).collect();
    let missing: Vec<_> = fields.difference(&rows).collect();
    assert!(missing.is_empty(), "nothing in access/table.rs says who gets these: {missing:#?}");
    let gone: Vec<_> = rows.difference(&fields).collect();
    assert!(gone.is_empty(), "access/table.rs has rows of fields that are not there: {gone:#?}");
}

#[test]
fn every_identifier_is_tried_with_somebody_elses() {
    let schema = Sdl::parse(&docket::graphql::sdl());
    let rows = rows();
    let mut missing = Vec::new();
    for (root, field) in schema.root_fields() {
        let name = format!("{root}.{}", field.name.node);
        let tried: Vec<_> = rows.iter().filter(|row| row.field == name).flat_map(|row| row.foreign).collect();
        let untried = schema.identifiers(field).into_iter().filter(|path| !tried.contains(&&path.as_str()));
        missing.extend(untried.map(|path| format!("{name}({path})")));
    }
    assert!(missing.is_empty(), "no row in access/table.rs has these among its `foreign`: {missing:#?}");
}

both!(everybody_gets_what_the_table_says, |config| config.webhooks.per_user = 1_000_000);
async fn everybody_gets_what_the_table_says(app: TestApp) {
    let people = People::new(&app).await;
    let mut world = World::new(&app, &people).await;
    let mut wrong = Vec::new();
    for row in rows() {
        for (i, expected) in row.expected.iter().enumerate() {
            let (person, own) = people.ask_as(i);
            let before = job_row(&app, &world).await;
            let variables = (row.variables)(&world, own);
            let got = if LISTS.contains(&row.field) {
                follow(&row, person, variables, &world, &people).await
            } else {
                ask(&row, person, variables).await
            };
            let about = row.about.map(|about| about(&world)).unwrap_or_default();
            if let Err(text) = judge(expected, &got, &about) {
                wrong.push(format!("{} ({}), {}: {text}", row.field, row.what, person.name));
            }
            let withheld = !people.is_in(i) || !matches!(expected, Outcome::Data | Outcome::With);
            if withheld && got.text.contains(HUSH) {
                wrong.push(format!("{} ({}), {}: {} leaks", row.field, row.what, person.name, got.text));
            }
            let changes = row.field.starts_with("Mutation.");
            if changes && got.code.is_some() && before != job_row(&app, &world).await {
                wrong.push(format!("{} ({}), {}: refused, but changed", row.field, row.what, person.name));
            }
            if changes && got.code.as_deref().is_none_or(|code| code == "CONFLICT") {
                world = World::new(&app, &people).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

both!(what_is_somebody_elses_answers_like_what_is_nobodys);
async fn what_is_somebody_elses_answers_like_what_is_nobodys(app: TestApp) {
    let people = People::new(&app).await;
    let world = World::new(&app, &people).await;
    let (stranger, own) = people.stranger();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for row in rows().iter().filter(|row| !LISTS.contains(&row.field)) {
        let theirs = (row.variables)(&world, own);
        let (nobodys, replaced) = world.made_up(&theirs);
        if replaced.is_empty() {
            continue;
        }
        asked += 1;
        let answer = whole(row, stranger, theirs).await;
        // What was made up stands for what is there, so that the answers can be compared.
        let mut expected = whole(row, stranger, nobodys).await;
        for (id, made_up) in replaced {
            expected = expected.replace(&made_up, &id);
        }
        if answer != expected {
            wrong.push(format!(
                "{} ({}):\n  somebody's: {answer}\n  nobody's:   {expected}",
                row.field, row.what
            ));
        }
    }
    assert!(asked > 40, "only {asked} rows name something of the world");
    assert!(wrong.is_empty(), "{} can be told apart:\n{}", wrong.len(), wrong.join("\n"));
}

/// All that somebody gets, but for what differs between any two requests.
async fn whole(row: &Row, person: &User, variables: Value) -> String {
    if row.field.starts_with("Subscription.") {
        let first = person.subscribe(row.query, variables).await.first().await;
        return match first {
            Ok(data) => data.to_string(),
            Err(mut error) => {
                error.extensions.remove("tracking");
                format!("{error:?}")
            }
        };
    }
    let mut answer = person.ask(row.query, variables).await;
    for error in &mut answer.errors {
        error.extensions.remove("tracking");
    }
    format!("{} {} {:?}", answer.status, answer.data, answer.errors)
}

async fn job_row(app: &TestApp, world: &World) -> Option<job::Model> {
    job::Entity::find_by_id(job_id(&world.job)).one(app.db.read()).await.expect("the job can be read")
}

/// Subscriptions that say nothing until something changes, of whichever job.
const LISTS: [&str; 3] = ["Subscription.jobsUpdated", "Subscription.reviewsUpdated", "Subscription.events"];

/// Everything that somebody hears while the owner does something to the job, up to news of a job of their own.
async fn follow(row: &Row, person: &User, variables: Value, world: &World, people: &People) -> Got {
    let mut events = person.subscribe(row.query, variables).await;
    let Some(secret) = person.has_account() else {
        let error = events.error().await;
        return got_error(error.code(), format!("{error:?}"));
    };
    world.change(people).await;
    let own = person.create_job(json!({"type": world::BY_HAND, "metadata": {"of": secret}})).await;
    let mut text = String::new();
    loop {
        let event = events.next().await.to_string();
        text.push_str(&event);
        if event.contains(&own) {
            return Got { code: None, field: Value::Null, text };
        }
    }
}

/// What somebody got.
struct Got {
    code: Option<String>,
    field: Value,
    /// All of it, as it was sent.
    text: String,
}

async fn ask(row: &Row, person: &User, variables: Value) -> Got {
    if row.field.starts_with("Subscription.") {
        let first = person.subscribe(row.query, variables).await.first().await;
        return match first {
            Ok(mut data) => Got { code: None, text: data.to_string(), field: first_field(&mut data) },
            Err(error) => got_error(error.code(), format!("{error:?}")),
        };
    }
    let answer = if row.field == "Mutation.uploadDocument" {
        let file = File { part: "0", name: "x.txt", media_type: "text/plain", bytes: b"x" };
        let operations = json!({"query": row.query, "variables": variables});
        person.ask_multipart(&operations, &json!({"0": ["variables.file"]}), &[file]).await
    } else {
        person.ask(row.query, variables).await
    };
    let Answer { mut data, errors, .. } = answer;
    match errors.first() {
        Some(error) => got_error(error.code(), format!("{data} {errors:?}")),
        None => Got { code: None, text: data.to_string(), field: first_field(&mut data) },
    }
}

fn got_error(code: &str, text: String) -> Got {
    Got { code: Some(code.to_owned()), field: Value::Null, text }
}

fn first_field(data: &mut Value) -> Value {
    data.as_object_mut().and_then(|object| object.values_mut().next()).map(Value::take).unwrap_or_default()
}

fn judge(expected: &Outcome, got: &Got, about: &str) -> Result<(), String> {
    let fits = match expected {
        Outcome::Code(code) => got.code.as_deref() == Some(code),
        _ if got.code.is_some() => false,
        Outcome::Data => !got.field.is_null(),
        Outcome::Null => got.field.is_null(),
        Outcome::With => got.text.contains(about),
        Outcome::Without => !got.text.contains(about),
    };
    if fits { Ok(()) } else { Err(format!("{expected:?} was expected, got {:?} {}", got.code, got.text)) }
}
