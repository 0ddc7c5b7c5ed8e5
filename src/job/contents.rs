//! Contents: documents in roles of a job, and who sees which.

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

/// The input is seen by everyone who sees the job; any other role with access to a step that lists it.
pub fn is_visible(standing: &Standing, job_type: &JobType, role: &str) -> bool {
    let everything = matches!(standing, Standing::Owner | Standing::Admin | Standing::AllSteps);
    everything || role == INPUT || job_type.steps_of_role(role).any(|step| works_on(standing, &step.name))
}

/// What is wrong with the roles of what is handed in for a step that writes these: each is one of them, and there once.
pub fn role_problems(roles: &[String], contents: &[(String, Source)]) -> Vec<Problem> {
    let problem = |(i, (role, _)): (usize, &(String, Source))| {
        let (code, message) = if !roles.contains(role) || role == INPUT {
            ("UNKNOWN_ROLE", format!("The step has no role {role:?}; it has: {}.", roles.join(", ")))
        } else if contents[..i].iter().any(|(earlier, _)| earlier == role) {
            ("DUPLICATE", "There is another content with this role.".to_owned())
        } else {
            return None;
        };
        Some(Problem::new(format!("/contents/{i}/role"), code, message))
    };
    contents.iter().enumerate().filter_map(problem).collect()
}

/// Where a content comes from.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// It came with the job; the step is the one that reads it.
    Given(Option<&'a str>),
    /// A step, or the person who did or corrected it, made it: going back behind that step supersedes it.
    Made(&'a str),
}

/// A confidence as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grade {
    /// The confidence in thousandths, 0 to 1000.
    pub thousandths: i32,
    /// The value is required and was not found.
    pub missing: bool,
}

impl Jobs {
    /// The contents of some jobs, whoever sees them, newest first.
    pub async fn contents(
        &self,
        jobs: impl IntoIterator<Item = JobId>,
        role: Option<&str>,
        superseded: bool,
    ) -> Result<Vec<(content::Model, documents::Model)>> {
        let mut query = content::Entity::find().filter(content::Column::JobId.is_in(jobs));
        if let Some(role) = role {
            query = query.filter(content::Column::Role.eq(role));
        }
        if !superseded {
            query = query.filter(content::Column::Current.eq(true));
        }
        let found = query.order_by_desc(content::Column::Id).find_also_related(documents::Entity);
        let rows = found.all(self.db.read()).await?;
        Ok(rows.into_iter().filter_map(|(content, document)| Some((content, document?))).collect())
    }

    /// One version of a role, or the one that counts now, where whoever asks may see it.
    pub async fn content(
        &self,
        grant: &Grant<View>,
        role: &str,
        version: Option<i32>,
    ) -> Result<documents::Model> {
        let (job, missing) = (grant.job(), || Error::not_found("content"));
        let job_type = self.types.version(&job.type_id, job.type_version).await?;
        if !is_visible(grant.standing(), &job_type, role) {
            return Err(missing());
        }
        let found = content::Entity::find()
            .filter(content::Column::JobId.eq(job.id))
            .filter(content::Column::Role.eq(role))
            .filter(match version {
                Some(version) => content::Column::Version.eq(version),
                None => content::Column::Current.eq(true),
            })
            .find_also_related(documents::Entity);
        found.one(self.db.read()).await?.and_then(|(_, document)| document).ok_or_else(missing)
    }

    /// A document that an actor may read: one of theirs, or a content that they see of a job.
    pub async fn document(&self, actor: &Actor, id: DocumentId) -> Result<documents::Model> {
        let found = self.readable_documents(actor, [id]).await?.pop();
        found.ok_or_else(|| Error::not_found("document"))
    }

    /// Those of some documents that an actor may read, in a fixed number of statements.
    pub async fn readable_documents(
        &self,
        actor: &Actor,
        ids: impl IntoIterator<Item = DocumentId>,
    ) -> Result<Vec<documents::Model>> {
        let (db, ids) = (self.db.read(), ids.into_iter().collect::<Vec<_>>());
        let rows = documents::Entity::find().filter(documents::Column::Id.is_in(ids.iter().copied()));
        let rows = rows.all(db).await?.into_iter();
        let (mut mine, others): (Vec<_>, Vec<_>) =
            rows.partition(|document| document::is_own(actor, document));
        if ids.iter().all(|id| mine.iter().any(|document| document.id == *id)) {
            return Ok(mine);
        }
        // Whether or not there are others, and of jobs that are seen only: what does not exist takes as long as what is nobody
        // else's business.
        let uses = content::Entity::find()
            .filter(content::Column::DocumentId.is_in(ids))
            .filter(access::visible_job_rows(actor, "content", "job_id"))
            .find_also_related(job::Entity);
        let uses: Vec<_> =
            uses.all(db).await?.into_iter().filter_map(|(content, job)| Some((content, job?))).collect();
        let jobs: Vec<_> = uses.iter().map(|(_, job)| job.clone()).collect();
        let standings = access::standings(db, actor, &jobs).await?;
        let mut seen = HashSet::new();
        for (content, job) in &uses {
            let Some(standing) = standings.get(&job.id) else { continue };
            let job_type = self.types.version(&job.type_id, job.type_version).await?;
            if is_visible(standing, &job_type, &content.role) {
                seen.insert(content.document_id);
            }
        }
        mine.extend(others.into_iter().filter(|document| seen.contains(&document.id)));
        Ok(mine)
    }

    /// The documents that somebody hands in. Ask [`role_problems`] first: it also says whether there are too many.
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

    /// The current content of a role, whoever asks: for the engine.
    pub async fn current_content(
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
