//! Documents in the roles of a job.

use async_graphql::{Context, Object};
use chrono::{DateTime, Utc};

use crate::entity::{content, document};
use crate::error::Result;
use crate::graphql::context::RequestContext;
use crate::graphql::document::Document;
use crate::graphql::scalar::Url;

/// A document in a role of a job.
/// Contents are never overwritten: a repeated step or a correction adds the next version of the role.
pub(in crate::graphql) struct Content {
    pub content: content::Model,
    pub document: document::Model,
}

impl Content {
    pub(in crate::graphql) fn of((content, document): (content::Model, document::Model)) -> Self {
        Self { content, document }
    }
}

/// A document in a role of a job.
/// Contents are never overwritten: a repeated step or a correction adds the next version of the role.
#[Object]
impl Content {
    /// Role of the document in the job, for example `input`.
    async fn role(&self) -> &str {
        &self.content.role
    }

    /// Version of the role, from 1.
    async fn version(&self) -> i32 {
        self.content.version
    }

    /// The document.
    async fn document(&self) -> Document {
        Document(self.document.clone())
    }

    /// URL of the bytes, the same as `document.contentsUri`.
    async fn uri(&self, ctx: &Context<'_>) -> Result<Url> {
        Ok(Url(ctx.app()?.jobs.documents.links().contents(self.document.id)))
    }

    /// Name of the step that produced the content, or of its first reader if a client provided it.
    /// Null for the input.
    async fn step(&self) -> Option<&str> {
        self.content.step.as_deref()
    }

    /// Whether this version of the role is the current one.
    /// False after a later version has replaced it, or after taking the job back has superseded it.
    async fn current(&self) -> bool {
        self.content.current
    }

    /// Time when the content was added to the job.
    async fn created_at(&self) -> DateTime<Utc> {
        self.content.created_at
    }
}
