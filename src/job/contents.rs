//! Contents: documents in roles of a job, and who sees which.

use std::collections::{HashMap, HashSet};

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set, SqlErr,
};
use serde_json::json;

use super::Jobs;
use super::record::{EventKind, Locked};
use super::request::Source;
use crate::access::policy::{Standing, works_on};
use crate::access::{self, Actor, Grant, View};
use crate::document;
use crate::entity::{content, document as documents, job};
use crate::error::{Error, Problem, Result};
use crate::id::{ContentId, DocumentId, JobId, UserId};
use crate::job_type::{INPUT, JobType};

/// The input is seen by everyone who sees the job; any other role with access to a step that lists it.
pub fn visible(standing: &Standing, job_type: &JobType, role: &str) -> bool {
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

/// Adds the next version of a role; the one before is superseded, not lost.
pub async fn add(
    tx: &impl ConnectionTrait,
    locked: &mut Locked,
    role: &str,
    document: &documents::Model,
    origin: Origin<'_>,
    actor: Option<UserId>,
) -> Result<ContentId> {
    let (step, made) = match origin {
        Origin::Given(step) => (step, false),
        Origin::Made(step) => (Some(step), true),
    };
    let (job, id, now) = (locked.row().id, ContentId::new(), locked.now());
    let of_role =
        content::Entity::find().filter(content::Column::JobId.eq(job)).filter(content::Column::Role.eq(role));
    let newest = of_role.order_by_desc(content::Column::Version).one(tx).await?;
    let version = newest.as_ref().map_or(1, |newest| newest.version + 1);
    let supersede = content::Entity::update_many()
        .col_expr(content::Column::Current, Expr::value(false))
        .filter(content::Column::JobId.eq(job))
        .filter(content::Column::Role.eq(role))
        .filter(content::Column::Current.eq(true));
    supersede.exec(tx).await?;
    let row = content::ActiveModel {
        id: Set(id),
        job_id: Set(job),
        role: Set(role.to_owned()),
        version: Set(version),
        document_id: Set(document.id),
        step: Set(step.map(str::to_owned)),
        current: Set(true),
        made: Set(made),
        undone: Set(false),
        created_at: Set(now),
    };
    row.insert(tx).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
            Error::conflict("The document was deleted meanwhile.")
        }
        _ => error.into(),
    })?;
    let data = json!({
        "role": role, "version": version, "documentId": document.id, "name": document.name, "type": document.media_type,
        "size": document.size, "sha256": document.sha256, "step": step,
    });
    // The input is for everyone who sees the job; `step` would keep it from some.
    let shown_to = step.filter(|_| role != INPUT);
    locked.record(EventKind::ContentAdded, shown_to, actor, data);
    Ok(id)
}

/// Undoes what some steps have made; in each of its roles the newest that is left counts again, be it given or made by an
/// earlier step.
pub async fn supersede(tx: &impl ConnectionTrait, job: JobId, steps: &[&str]) -> Result<()> {
    let of_job = || content::Entity::find().filter(content::Column::JobId.eq(job));
    let made = of_job()
        .filter(content::Column::Made.eq(true))
        .filter(content::Column::Undone.eq(false))
        .filter(content::Column::Step.is_in(steps.iter().copied()));
    let made = made.all(tx).await?;
    let (ids, roles): (Vec<_>, Vec<_>) = made.into_iter().map(|content| (content.id, content.role)).unzip();
    let undo = content::Entity::update_many()
        .col_expr(content::Column::Undone, Expr::value(true))
        .col_expr(content::Column::Current, Expr::value(false));
    undo.filter(content::Column::Id.is_in(ids)).exec(tx).await?;
    let left = of_job()
        .filter(content::Column::Undone.eq(false))
        .filter(content::Column::Role.is_in(roles))
        .order_by_asc(content::Column::Version);
    // The newest of each role, since later ones replace earlier ones.
    let newest: HashMap<_, _> =
        left.all(tx).await?.into_iter().map(|content| (content.role, content.id)).collect();
    let restore = content::Entity::update_many().col_expr(content::Column::Current, Expr::value(true));
    restore.filter(content::Column::Id.is_in(newest.into_values())).exec(tx).await?;
    Ok(())
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
        if !visible(grant.standing(), &job_type, role) {
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
        let found = self.documents_among(actor, [id]).await?.pop();
        found.ok_or_else(|| Error::not_found("document"))
    }

    /// Those of some documents that an actor may read, in a fixed number of statements.
    pub async fn documents_among(
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
            .filter(access::sees_rows(actor, "content", "job_id"))
            .find_also_related(job::Entity);
        let uses: Vec<_> =
            uses.all(db).await?.into_iter().filter_map(|(content, job)| Some((content, job?))).collect();
        let jobs: Vec<_> = uses.iter().map(|(_, job)| job.clone()).collect();
        let standings = access::standings(db, actor, &jobs).await?;
        let mut seen = HashSet::new();
        for (content, job) in &uses {
            let Some(standing) = standings.get(&job.id) else { continue };
            let job_type = self.types.version(&job.type_id, job.type_version).await?;
            if visible(standing, &job_type, &content.role) {
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
    pub async fn current(
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
