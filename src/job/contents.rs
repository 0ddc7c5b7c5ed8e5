//! Contents: documents in roles of a job, and the access to them.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::Jobs;
use super::request::Source;
use crate::access::policy::{Standing, works_on};
use crate::access::{self, Actor, Grant, View};
use crate::document;
use crate::entity::{content, document as documents, job};
use crate::error::{Error, Problem, Result};
use crate::id::{DocumentId, JobId};
use crate::job_type::{INPUT, JobType};

/// Returns whether a user with this standing sees the contents of a role. Everybody who sees the job sees its input;
/// other roles require access to a step that lists the role.
pub(crate) fn is_visible(standing: &Standing, job_type: &JobType, role: &str) -> bool {
    let sees_all = matches!(standing, Standing::Owner | Standing::Admin | Standing::AllSteps);
    sees_all || role == INPUT || job_type.steps_of_role(role).any(|step| works_on(standing, &step.name))
}

/// Checks the contents that are submitted for a step with these roles: each has one of the roles, and no role occurs
/// twice.
pub(crate) fn role_problems(roles: &[String], contents: &[(String, Source)]) -> Vec<Problem> {
    let valid: Vec<&str> = roles.iter().map(String::as_str).filter(|role| *role != INPUT).collect();
    let problem = |(i, (role, _)): (usize, &(String, Source))| {
        let (code, message) = if !valid.contains(&role.as_str()) {
            let message = format!("Unknown role {role:?} for this step. Valid roles: {}.", valid.join(", "));
            ("UNKNOWN_ROLE", message)
        } else if contents[..i].iter().any(|(earlier, _)| earlier == role) {
            ("DUPLICATE", "Another content has this role.".to_owned())
        } else {
            return None;
        };
        Some(Problem::new(format!("/contents/{i}/role"), code, message))
    };
    contents.iter().enumerate().filter_map(problem).collect()
}

/// The origin of a content.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// Given when the job was created. The step is the one that reads it.
    Given(Option<&'a str>),
    /// Produced by a step, or by the person who did or corrected it. A rewind to this step or an earlier one supersedes
    /// it.
    Made(&'a str),
}

/// A confidence, rounded for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Grade {
    /// The confidence in thousandths, 0 to 1000.
    pub thousandths: i32,
    /// The value is required and was not found.
    pub missing: bool,
}

impl Jobs {
    /// Returns the contents of jobs, newest first, without checking access.
    pub async fn contents(
        &self,
        jobs: impl IntoIterator<Item = JobId>,
        role: Option<&str>,
        include_superseded: bool,
    ) -> Result<Vec<(content::Model, documents::Model)>> {
        let mut query = content::Entity::find().filter(content::Column::JobId.is_in(jobs));
        if let Some(role) = role {
            query = query.filter(content::Column::Role.eq(role));
        }
        if !include_superseded {
            query = query.filter(content::Column::Current.eq(true));
        }
        let found = query.order_by_desc(content::Column::Id).find_also_related(documents::Entity);
        let rows = found.all(self.db.read()).await?;
        Ok(rows.into_iter().filter_map(|(content, document)| Some((content, document?))).collect())
    }

    /// Returns the document of one version of a role, or of its current version. NOT_FOUND if the caller may not see
    /// it.
    pub async fn content(
        &self,
        grant: &Grant<View>,
        role: &str,
        version: Option<i32>,
    ) -> Result<documents::Model> {
        let (job, not_found) = (grant.job(), || Error::not_found("content"));
        let job_type = self.types.version(&job.type_id, job.type_version).await?;
        if !is_visible(grant.standing(), &job_type, role) {
            return Err(not_found());
        }
        let found = content::Entity::find()
            .filter(content::Column::JobId.eq(job.id))
            .filter(content::Column::Role.eq(role))
            .filter(match version {
                Some(version) => content::Column::Version.eq(version),
                None => content::Column::Current.eq(true),
            })
            .find_also_related(documents::Entity);
        found.one(self.db.read()).await?.and_then(|(_, document)| document).ok_or_else(not_found)
    }

    /// Returns a document that the actor may read: their own, or a visible content of a job.
    pub async fn document(&self, actor: &Actor, id: DocumentId) -> Result<documents::Model> {
        let found = self.readable_documents(actor, [id]).await?.pop();
        found.ok_or_else(|| Error::not_found("document"))
    }

    /// Returns those of the given documents that the actor may read, with a fixed number of statements.
    pub(crate) async fn readable_documents(
        &self,
        actor: &Actor,
        ids: impl IntoIterator<Item = DocumentId>,
    ) -> Result<Vec<documents::Model>> {
        let (db, ids) = (self.db.read(), ids.into_iter().collect::<Vec<_>>());
        let rows = documents::Entity::find().filter(documents::Column::Id.is_in(ids.iter().copied()));
        let rows = rows.all(db).await?.into_iter();
        let (mut readable, others): (Vec<_>, Vec<_>) =
            rows.partition(|document| document::is_own(actor, document));
        if ids.iter().all(|id| readable.iter().any(|document| document.id == *id)) {
            return Ok(readable);
        }
        // This runs even if no other document exists, and only for visible jobs. A document that the actor may not read
        // so takes as long as one that does not exist.
        let uses = content::Entity::find()
            .filter(content::Column::DocumentId.is_in(ids))
            .filter(access::visible_job_rows(actor, "content", "job_id"))
            .find_also_related(job::Entity);
        let uses: Vec<_> =
            uses.all(db).await?.into_iter().filter_map(|(content, job)| Some((content, job?))).collect();
        let jobs: Vec<_> = uses.iter().map(|(_, job)| job.clone()).collect();
        let standings = access::standings(db, actor, &jobs).await?;
        let mut visible = HashSet::new();
        for (content, job) in &uses {
            let Some(standing) = standings.get(&job.id) else { continue };
            let job_type = self.types.version(&job.type_id, job.type_version).await?;
            if is_visible(standing, &job_type, &content.role) {
                visible.insert(content.document_id);
            }
        }
        readable.extend(others.into_iter().filter(|document| visible.contains(&document.id)));
        Ok(readable)
    }

    /// Returns the documents of submitted contents, by role. Call [`role_problems`] first: it also limits their number.
    pub async fn sources(
        &self,
        actor: &Actor,
        contents: &[(String, Source)],
    ) -> Result<Vec<(String, documents::Model)>> {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for (i, (role, source)) in contents.iter().enumerate() {
            let path = format!("/contents/{i}/source");
            let document = self.source(actor, source, &path, &mut problems).await?;
            found.extend(document.map(|document| (role.clone(), document)));
        }
        if problems.is_empty() { Ok(found) } else { Err(Error::Invalid(problems)) }
    }

    /// Returns the current content of a role, without checking access: for the engine.
    pub(crate) async fn current_content(
        &self,
        job: JobId,
        role: &str,
    ) -> Result<Option<(content::Model, documents::Model)>> {
        let query = content::Entity::find()
            .filter(content::Column::JobId.eq(job))
            .filter(content::Column::Role.eq(role))
            .filter(content::Column::Current.eq(true));
        let found = query.find_also_related(documents::Entity).one(self.db.read()).await?;
        Ok(found.and_then(|(content, document)| Some((content, document?))))
    }
}
