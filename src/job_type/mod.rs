//! Job types: what a kind of job accepts, does step by step, and needs to be told.

mod builtin;
pub mod metadata;

use std::sync::Arc;

use moka::future::Cache;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Actor;
use crate::clock::Clock;
use crate::config::Switch;
use crate::db::Db;
use crate::entity::job_type;
use crate::error::{Error, Problem, Result};
use crate::job::state::{Step, StepKind, StepStatus};

pub use builtin::{DATA_POINT_EXTRACTION, INDEXING, NOOP};

/// Every job carries this role.
pub const INPUT: &str = "input";
/// The role of the result.
pub const OUTPUT: &str = "output";

/// Steps of one type.
const MOST_STEPS: usize = 100;
/// Of attempts, and of the seconds of one: a month.
const LARGEST: u32 = 31 * 24 * 3600;

/// One version of a job type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobType {
    /// Slug.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it does.
    pub description: String,
    /// From 1.
    #[serde(default)]
    pub version: i32,
    /// MIME types of the input; an empty list takes all.
    pub accepts: Vec<String>,
    /// In order; never empty.
    pub steps: Vec<StepDefinition>,
    /// JSON Schema (2020-12).
    pub metadata_schema: Value,
}

/// One step of a job type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepDefinition {
    /// Also the role name in collaborations.
    pub name: String,
    /// For people.
    pub title: String,
    /// Who does it.
    pub kind: StepKind,
    /// Contents that it reads and writes.
    pub content_roles: Vec<String>,
    /// How often it may be tried.
    pub max_attempts: u32,
    /// How long one attempt may take.
    pub timeout_seconds: u32,
    /// Path in the metadata, e.g. `mapping.high_confidence_threshold`.
    pub threshold_field: Option<String>,
    /// The owner may not decide its reviews.
    pub four_eyes: bool,
}

impl JobType {
    /// What is wrong with a definition: every problem with its path.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let slug = |text: &str| {
            !text.is_empty()
                && text.len() <= 100
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let name = "Letters, digits, dots, hyphens and underscores, 1 to 100 of them.";
        if !slug(&self.id) {
            problems.push(Problem::new("/id", "INVALID", name));
        }
        if !(1..=MOST_STEPS).contains(&self.steps.len()) {
            problems.push(Problem::new("/steps", "RANGE", format!("A type has 1 to {MOST_STEPS} steps.")));
        }
        for (i, accepted) in self.accepts.iter().enumerate() {
            let one = |mime: mime::Mime| mime.type_() != mime::STAR && mime.subtype() != mime::STAR;
            if !accepted.parse::<mime::Mime>().is_ok_and(one) {
                let message = format!(
                    "{accepted:?} is not one MIME type such as application/pdf; an empty list takes all."
                );
                problems.push(Problem::new(format!("/accepts/{i}"), "INVALID", message));
            }
        }
        for (i, step) in self.steps.iter().enumerate() {
            if !slug(&step.name) {
                problems.push(Problem::new(format!("/steps/{i}/name"), "INVALID", name));
            }
            if self.steps[..i].iter().any(|earlier| earlier.name == step.name) {
                problems.push(Problem::new(
                    format!("/steps/{i}/name"),
                    "DUPLICATE",
                    "Another step has this name.",
                ));
            }
            for (field, value) in
                [("maxAttempts", step.max_attempts), ("timeoutSeconds", step.timeout_seconds)]
            {
                if !(1..=LARGEST).contains(&value) {
                    let message = format!("A whole number from 1 to {LARGEST} is wanted.");
                    problems.push(Problem::new(format!("/steps/{i}/{field}"), "RANGE", message));
                }
            }
            for (j, role) in step.content_roles.iter().enumerate().filter(|(_, role)| !slug(role)) {
                problems.push(Problem::new(
                    format!("/steps/{i}/contentRoles/{j}"),
                    "INVALID",
                    format!("{role:?}: {name}"),
                ));
            }
            let path_ok = |path: &String| path.split('.').all(|part| !part.is_empty()) && path.len() <= 200;
            if step.threshold_field.as_ref().is_some_and(|path| !path_ok(path)) {
                let message = "A path in the metadata is wanted, such as mapping.high_confidence_threshold.";
                problems.push(Problem::new(format!("/steps/{i}/thresholdField"), "INVALID", message));
            }
        }
        if let Err(error) = jsonschema::draft202012::new(&self.metadata_schema) {
            problems.push(Problem::new("/metadataSchema", "SCHEMA", error.to_string()));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Returns the review threshold that a job's metadata sets for a step; 0, which asks for no review, where it sets none.
    pub fn threshold(&self, step: &str, metadata: &Value) -> f64 {
        let field = self.step(step).and_then(|step| step.threshold_field.as_deref());
        field.and_then(|path| metadata::lookup(metadata, path)?.as_f64()).unwrap_or(0.0)
    }

    /// The step of this name.
    pub fn step(&self, name: &str) -> Option<&StepDefinition> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Every role that its jobs carry: the input first, then in the order of the steps.
    pub fn content_roles(&self) -> Vec<String> {
        let mut roles = vec![INPUT.to_owned()];
        for role in self.steps.iter().flat_map(|step| &step.content_roles) {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        roles
    }

    /// The steps that work with a taxonomy, each with the role that it is kept in.
    pub fn taxonomies(&self) -> impl Iterator<Item = (&StepDefinition, String)> {
        self.steps.iter().filter_map(|step| {
            let role = format!("{}-taxonomy-json", step.name);
            step.content_roles.contains(&role).then_some((step, role))
        })
    }

    /// The steps that list a role.
    pub fn steps_of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a StepDefinition> {
        self.steps.iter().filter(move |step| step.content_roles.iter().any(|r| r == role))
    }

    /// The steps of a job that has not begun.
    pub fn fresh_steps(&self) -> Vec<Step> {
        let fresh = |step: &StepDefinition| Step {
            name: step.name.clone(),
            title: step.title.clone(),
            kind: step.kind,
            status: StepStatus::Pending,
            attempt: 0,
            max_attempts: step.max_attempts,
            timeout_seconds: step.timeout_seconds,
            fraction: 0.0,
            four_eyes: step.four_eyes,
            comment: None,
            started_at: None,
            finished_at: None,
        };
        self.steps.iter().map(fresh).collect()
    }
}

/// The job types of this server. A version never changes, so each is read once.
#[derive(Debug, Clone)]
pub struct JobTypes {
    db: Db,
    noop: Switch,
    versions: Cache<(String, i32), Arc<JobType>>,
}

impl JobTypes {
    /// Over a database that [`JobTypes::install`] has filled. Without `noop` that type is not offered, though a database may
    /// have it from earlier.
    pub fn new(db: Db, noop: Switch) -> Self {
        Self { db, noop, versions: Cache::new(1_000) }
    }

    /// Registers the built-in types, and a new version of one whose definition has changed.
    pub async fn install(&self, clock: &Clock) -> Result<()> {
        for definition in builtin::all(self.noop)? {
            self.put(clock, definition).await?;
        }
        Ok(())
    }

    /// Stores a definition as the next version of its type; the newest stays where it says the same.
    pub async fn put(&self, clock: &Clock, mut new: JobType) -> Result<Arc<JobType>> {
        let now = clock.now();
        let stored = self.db.write(move |tx| {
            Box::pin(async move {
                let newest = job_type::Entity::find().filter(job_type::Column::Id.eq(&new.id));
                let newest = newest.order_by_desc(job_type::Column::Version).one(tx).await?;
                new.version = newest.as_ref().map_or(1, |row| row.version);
                let definition = serde_json::to_value(&new).map_err(Error::internal)?;
                match newest {
                    Some(row) if row.definition == definition => return Ok(new),
                    Some(_) => new.version += 1,
                    None => {}
                }
                let row = job_type::ActiveModel {
                    id: Set(new.id.clone()),
                    version: Set(new.version),
                    definition: Set(serde_json::to_value(&new).map_err(Error::internal)?),
                    created_at: Set(now),
                };
                let meanwhile = "Somebody else changed this job type at the same time.";
                row.insert(tx).await.map_err(|e| crate::error::unique_or(e, meanwhile))?;
                Ok(new)
            })
        });
        Ok(Arc::new(stored.await?))
    }

    /// Takes a definition from a client: admins only, not under the name of a built-in type, and with nothing wrong in it.
    pub async fn register(&self, clock: &Clock, actor: &Actor, new: JobType) -> Result<Arc<JobType>> {
        if !actor.user.is_admin {
            return Err(Error::Forbidden("Only admins register job types.".into()));
        }
        self.apply(clock, new).await
    }

    /// Stores a definition that is valid and not under the name of a built-in type, which each start of a server would put
    /// back.
    pub async fn apply(&self, clock: &Clock, new: JobType) -> Result<Arc<JobType>> {
        if [DATA_POINT_EXTRACTION, INDEXING, NOOP].contains(&new.id.as_str()) {
            let message = "This type is built in. Choose another ID.";
            return Err(Error::invalid("/id", "BUILT_IN", message));
        }
        new.check().map_err(Error::Invalid)?;
        self.put(clock, new).await
    }

    fn offers(&self, id: &str) -> bool {
        id != NOOP || self.noop == Switch::On
    }

    /// The newest version of a type that new jobs may have.
    pub async fn newest(&self, id: &str) -> Result<Option<Arc<JobType>>> {
        if !self.offers(id) {
            return Ok(None);
        }
        let of_type = job_type::Entity::find().filter(job_type::Column::Id.eq(id));
        let row = of_type.order_by_desc(job_type::Column::Version).one(self.db.read()).await?;
        row.map(|row| parse(&row)).transpose()
    }

    /// The newest version of every type that new jobs may have, by ID.
    pub async fn list(&self) -> Result<Vec<Arc<JobType>>> {
        let all = job_type::Entity::find()
            .order_by_asc(job_type::Column::Id)
            .order_by_desc(job_type::Column::Version);
        let mut rows = all.all(self.db.read()).await?;
        rows.dedup_by(|later, earlier| later.id == earlier.id);
        rows.iter().filter(|row| self.offers(&row.id)).map(parse).collect()
    }

    /// The version that a job began with.
    pub async fn version(&self, id: &str, version: i32) -> Result<Arc<JobType>> {
        let key = (id.to_owned(), version);
        if let Some(known) = self.versions.get(&key).await {
            return Ok(known);
        }
        let row = job_type::Entity::find_by_id(key.clone()).one(self.db.read()).await?;
        let row = row.ok_or_else(|| Error::Internal(format!("job type {id} has no version {version}")))?;
        let found = parse(&row)?;
        self.versions.insert(key, Arc::clone(&found)).await;
        Ok(found)
    }
}

fn parse(row: &job_type::Model) -> Result<Arc<JobType>> {
    serde_json::from_value(row.definition.clone()).map(Arc::new).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests;

    #[tokio::test]
    async fn a_type_that_was_switched_off_is_not_offered_but_its_jobs_keep_it() {
        let (app, _dir) = tests::open(|config| config.noop_type = Switch::On).await;
        assert!(app.jobs.types.newest(NOOP).await.unwrap().is_some());
        let off = JobTypes::new(app.db.clone(), Switch::Off);
        assert_eq!(off.newest(NOOP).await, Ok(None));
        assert!(off.list().await.unwrap().iter().all(|offered| offered.id != NOOP));
        assert_eq!(off.version(NOOP, 1).await.unwrap().id, NOOP);
    }
}
