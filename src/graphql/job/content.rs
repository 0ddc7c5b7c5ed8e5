//! Documents in the roles of a job.

use async_graphql::{Context, Object};
use chrono::{DateTime, Utc};

use crate::entity::{content, document};
use crate::error::Result;
use crate::graphql::context::RequestContext;
use crate::graphql::document::Document;
use crate::graphql::scalar::Url;

/// A document in a role of a job. Nothing is overwritten: a step that runs again, or a correction, adds the next version
/// of the role.
pub(in crate::graphql) struct Content {
    pub content: content::Model,
    pub document: document::Model,
}

impl Content {
    pub(in crate::graphql) fn of((content, document): (content::Model, document::Model)) -> Self {
        Self { content, document }
    }
}

/// A document in a role of a job. Nothing is overwritten: a step that runs again, or a correction, adds the next version
/// of the role.
#[Object]
impl Content {
    /// What it is to the job, e.g. `input`.
    async fn role(&self) -> &str {
        &self.content.role
    }

    /// From 1, per role.
    async fn version(&self) -> i32 {
        self.content.version
    }

    /// The bytes with their name.
    async fn document(&self) -> Document {
        Document(self.document.clone())
    }

    /// Same as document.contentsUri.
    async fn uri(&self, ctx: &Context<'_>) -> Result<Url> {
        Ok(Url(ctx.app()?.jobs.documents.links().contents(self.document.id)))
    }

    /// The step that made it, or that it was given to; null for the input.
    async fn step(&self) -> Option<&str> {
        self.content.step.as_deref()
    }

    /// False once a later version of the role exists.
    async fn current(&self) -> bool {
        self.content.current
    }

    /// When it was added to the job.
    async fn created_at(&self) -> DateTime<Utc> {
        self.content.created_at
    }
}
