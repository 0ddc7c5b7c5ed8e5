//! Job types: the input, steps and metadata schema of each kind of job.

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
use crate::entity::enums::StepKind;
use crate::entity::job_type;
use crate::error::{Error, Problem, Result};

pub use builtin::{DATA_POINT_EXTRACTION, INDEXING, NOOP};

/// The role of the input, which every job has.
pub(crate) const INPUT: &str = "input";
/// The role of the output.
pub(crate) const OUTPUT: &str = "output";

/// Maximum steps of a job type.
const MAX_STEPS: usize = 100;
/// Maximum of `maxAttempts` and of `timeoutSeconds`, which is 31 days.
const MAX_ATTEMPTS_OR_SECONDS: u32 = 31 * 24 * 3600;

/// One version of a job type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobType {
    /// Letters, digits, dots, hyphens and underscores.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Description for people.
    pub description: String,
    /// Version, from 1.
    #[serde(default)]
    pub version: i32,
    /// Accepted MIME types of the input; an empty list accepts all.
    pub accepts: Vec<String>,
    /// Steps in order; never empty.
    pub steps: Vec<StepDefinition>,
    /// JSON Schema (2020-12) of the metadata.
    pub(crate) metadata_schema: Value,
}

/// One step of a job type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepDefinition {
    /// Name, which also limits collaborators to certain steps.
    pub name: String,
    /// Title for people.
    pub title: String,
    /// Whether a worker or a person does the step.
    pub kind: StepKind,
    /// Roles of the contents that the step reads and writes.
    pub content_roles: Vec<String>,
    /// Maximum number of attempts.
    pub max_attempts: u32,
    /// Timeout of one attempt.
    pub timeout_seconds: u32,
    /// Dotted path of the threshold in the metadata, e.g. `mapping.high_confidence_threshold`.
    pub(crate) threshold_field: Option<String>,
    /// Whether the owner of the job may neither review the step nor run it as a worker.
    pub(crate) four_eyes: bool,
}

impl JobType {
    /// Validates a definition, and returns every problem with its path.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let is_slug = |text: &str| {
            !text.is_empty()
                && text.len() <= 100
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let slug_rule = "Valid are 1 to 100 letters, digits, dots, hyphens and underscores.";
        if !is_slug(&self.id) {
            problems.push(Problem::new("/id", "INVALID", slug_rule));
        }
        if !(1..=MAX_STEPS).contains(&self.steps.len()) {
            let message = format!("A job type must have 1 to {MAX_STEPS} steps.");
            problems.push(Problem::new("/steps", "RANGE", message));
        }
        for (i, accepted) in self.accepts.iter().enumerate() {
            let is_single = |mime: mime::Mime| mime.type_() != mime::STAR && mime.subtype() != mime::STAR;
            if !accepted.parse::<mime::Mime>().is_ok_and(is_single) {
                let message = format!(
                    "{accepted:?} is not a single MIME type such as application/pdf. An empty list accepts all types."
                );
                problems.push(Problem::new(format!("/accepts/{i}"), "INVALID", message));
            }
        }
        for (i, step) in self.steps.iter().enumerate() {
            if !is_slug(&step.name) {
                problems.push(Problem::new(format!("/steps/{i}/name"), "INVALID", slug_rule));
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
                if !(1..=MAX_ATTEMPTS_OR_SECONDS).contains(&value) {
                    let message = format!("The value must be 1 to {MAX_ATTEMPTS_OR_SECONDS}.");
                    problems.push(Problem::new(format!("/steps/{i}/{field}"), "RANGE", message));
                }
            }
            for (j, role) in step.content_roles.iter().enumerate().filter(|(_, role)| !is_slug(role)) {
                problems.push(Problem::new(
                    format!("/steps/{i}/contentRoles/{j}"),
                    "INVALID",
                    format!("{role:?} is not a valid role. {slug_rule}"),
                ));
            }
            let is_path = |path: &String| path.split('.').all(|part| !part.is_empty()) && path.len() <= 200;
            if step.threshold_field.as_ref().is_some_and(|path| !is_path(path)) {
                let message =
                    "The value must be a path in the metadata, such as mapping.high_confidence_threshold.";
                problems.push(Problem::new(format!("/steps/{i}/thresholdField"), "INVALID", message));
            }
        }
        if let Err(error) = jsonschema::draft202012::new(&self.metadata_schema) {
            problems.push(Problem::new("/metadataSchema", "SCHEMA", error.to_string()));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Returns the review threshold of a step from the metadata of a job, or 0 (no review) if the metadata sets none.
    pub fn threshold(&self, step: &str, metadata: &Value) -> f64 {
        let field = self.step(step).and_then(|step| step.threshold_field.as_deref());
        field.and_then(|path| metadata::lookup(metadata, path)?.as_f64()).unwrap_or(0.0)
    }

    /// Returns the step with this name.
    pub fn step(&self, name: &str) -> Option<&StepDefinition> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Returns every role of its jobs: the input first, then in the order of the steps.
    pub fn content_roles(&self) -> Vec<String> {
        let mut roles = vec![INPUT.to_owned()];
        for role in self.steps.iter().flat_map(|step| &step.content_roles) {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        roles
    }

    /// Returns the steps that use a taxonomy, each with the role of the taxonomy.
    pub fn taxonomies(&self) -> impl Iterator<Item = (&StepDefinition, String)> {
        self.steps.iter().filter_map(|step| {
            let role = format!("{}-taxonomy-json", step.name);
            step.content_roles.contains(&role).then_some((step, role))
        })
    }

    /// Returns the steps that list a role.
    pub(crate) fn steps_of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a StepDefinition> {
        self.steps.iter().filter(move |step| step.content_roles.iter().any(|r| r == role))
    }
}

/// The job types of this server. A version never changes, so versions are cached.
#[derive(Debug, Clone)]
pub struct JobTypes {
    db: Db,
    noop: Switch,
    versions: Cache<(String, i32), Arc<JobType>>,
}

impl JobTypes {
    /// Creates the job types of a database. If `noop` is off, new jobs cannot have that type, even if the database
    /// still contains it. Call [`JobTypes::install`] before use.
    pub fn new(db: Db, noop: Switch) -> Self {
        Self { db, noop, versions: Cache::new(1_000) }
    }

    /// Stores the built-in types, and a new version of each whose definition has changed.
    pub(crate) async fn install(&self, clock: &Clock) -> Result<()> {
        for definition in builtin::definitions(self.noop) {
            let definition: JobType = serde_json::from_str(definition).map_err(Error::internal)?;
            self.put(clock, definition).await?;
        }
        Ok(())
    }

    /// Stores a definition as the next version of its type, unless the newest version is equal.
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
                let conflict = "Another request changed this job type at the same time. Retry the request.";
                row.insert(tx).await.map_err(|e| crate::error::unique_or(e, conflict))?;
                Ok(new)
            })
        });
        Ok(Arc::new(stored.await?))
    }

    /// Stores a definition from a client like [`Self::apply`]. Only admins may do this.
    pub async fn register(&self, clock: &Clock, actor: &Actor, new: JobType) -> Result<Arc<JobType>> {
        if !actor.user.is_admin {
            return Err(Error::Forbidden("Only admins may register job types.".into()));
        }
        self.apply(clock, new).await
    }

    /// Validates and stores a definition. Fails for the ID of a built-in type, because each start of a server would
    /// restore the built-in definition.
    pub async fn apply(&self, clock: &Clock, new: JobType) -> Result<Arc<JobType>> {
        if [DATA_POINT_EXTRACTION, INDEXING, NOOP].contains(&new.id.as_str()) {
            let message = "This type is built in. Choose another ID.";
            return Err(Error::invalid("/id", "BUILT_IN", message));
        }
        new.check().map_err(Error::Invalid)?;
        self.put(clock, new).await
    }

    fn is_offered(&self, id: &str) -> bool {
        id != NOOP || self.noop == Switch::On
    }

    /// Returns the newest version of a type that new jobs may have.
    pub async fn newest(&self, id: &str) -> Result<Option<Arc<JobType>>> {
        if !self.is_offered(id) {
            return Ok(None);
        }
        let of_type = job_type::Entity::find().filter(job_type::Column::Id.eq(id));
        let row = of_type.order_by_desc(job_type::Column::Version).one(self.db.read()).await?;
        row.map(|row| parse(&row)).transpose()
    }

    /// Returns the newest version of every type that new jobs may have, ordered by ID.
    pub async fn list(&self) -> Result<Vec<Arc<JobType>>> {
        let all = job_type::Entity::find()
            .order_by_asc(job_type::Column::Id)
            .order_by_desc(job_type::Column::Version);
        let mut rows = all.all(self.db.read()).await?;
        rows.dedup_by(|later, earlier| later.id == earlier.id);
        rows.iter().filter(|row| self.is_offered(&row.id)).map(parse).collect()
    }

    /// Returns one version of a type.
    pub async fn version(&self, id: &str, version: i32) -> Result<Arc<JobType>> {
        let key = (id.to_owned(), version);
        if let Some(cached) = self.versions.get(&key).await {
            return Ok(cached);
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
    async fn disabled_noop_type_is_not_offered_but_old_jobs_keep_it() {
        let (app, _dir) = tests::open(|config| config.noop_type = Switch::On).await;
        assert!(app.jobs.types.newest(NOOP).await.unwrap().is_some());
        let off = JobTypes::new(app.db.clone(), Switch::Off);
        assert_eq!(off.newest(NOOP).await, Ok(None));
        assert!(off.list().await.unwrap().iter().all(|offered| offered.id != NOOP));
        assert_eq!(off.version(NOOP, 1).await.unwrap().id, NOOP);
    }

    #[test]
    fn built_in_definitions_are_valid() {
        for definition in builtin::definitions(Switch::On) {
            let job_type: JobType = serde_json::from_str(definition).unwrap();
            assert!(jsonschema::draft202012::meta::is_valid(&job_type.metadata_schema), "{}", job_type.id);
            assert!(!job_type.steps.is_empty());
        }
    }
}
