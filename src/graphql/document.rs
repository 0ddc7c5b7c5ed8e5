//! Documents.

use std::sync::Arc;

use async_graphql::connection::EmptyFields;
use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::account::User;
use super::context::RequestContext;
use super::loader::Account;
use super::paging::{Connection, USUAL, connection};
use super::scalar::{SafeInt, Upload, Url};
use super::upload::Uploads;
use crate::entity::document;
use crate::error::{Error, Result};
use crate::id::{DocumentId, UserId};
use crate::page::{Cursor, List, Paging};

/// Bytes with a name, uploaded by somebody or made by a step of a job.
#[derive(Clone)]
pub(super) struct Document(pub document::Model);

/// Bytes with a name, uploaded by somebody or made by a step of a job.
#[Object]
impl Document {
    /// UUID of the document.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// File name that it was uploaded under; downloads get it too.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// MIME type, e.g. `application/pdf`.
    #[graphql(name = "type")]
    async fn media_type(&self) -> &str {
        &self.0.media_type
    }

    /// Length in bytes.
    async fn size(&self) -> SafeInt {
        SafeInt(self.0.size)
    }

    /// SHA-256 of the bytes, lower case hexadecimal; also the ETag of the contents.
    async fn sha256(&self) -> &str {
        &self.0.sha256
    }

    /// Where the bytes can be fetched, with the same authorization as the API.
    async fn contents_uri(&self, ctx: &Context<'_>) -> Result<Url> {
        Ok(Url(ctx.app()?.jobs.documents.links().contents(self.0.id)))
    }

    /// The same, signed: works without authorization until it expires (for links and images in a browser).
    async fn signed_contents_uri(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Seconds that the link works for, 1 to 604,800.", default_with = "Some(300)")]
        expires_in_seconds: Option<i32>,
    ) -> Result<Url> {
        let app = ctx.app()?;
        Ok(Url(app.jobs.documents.links().signed(
            self.0.id,
            expires_in_seconds.unwrap_or(300),
            app.clock.now(),
        )?))
    }

    /// Who uploaded it, or owns the job whose step made it.
    async fn owner(&self, ctx: &Context<'_>) -> Result<User> {
        user(ctx, self.0.owner_id).await
    }

    /// When its bytes were whole.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

/// A person whose account must be there, since something refers to it.
pub(super) async fn user(ctx: &Context<'_>, id: UserId) -> Result<User> {
    let found = ctx.loaders()?.rows.load_one(Account(id)).await?;
    found.map(User).ok_or_else(|| Error::Internal(format!("account {id} is missing")))
}

/// A document that was uploaded.
#[derive(SimpleObject)]
struct DocumentPayload {
    /// The document, ready to be used in jobs.
    document: Document,
}

/// Something that is gone.
#[derive(SimpleObject)]
pub(super) struct DeletePayload {
    /// UUID of what was deleted.
    pub deleted_id: ID,
}

#[derive(Default)]
pub(super) struct DocumentQuery;

#[Object]
impl DocumentQuery {
    /// A document that the viewer uploaded, or sees as a content of a job; null where there is none.
    async fn document(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the document.")] id: ID,
    ) -> Option<Result<Document>> {
        let found: Result<Option<Document>> = async {
            let actor = ctx.actor()?;
            let Some(id) = DocumentId::parse(&id) else { return Ok(None) };
            match ctx.app()?.jobs.document(actor, id).await {
                Ok(document) => Ok(Some(Document(document))),
                Err(Error::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .await;
        found.transpose()
    }

    /// Documents that the viewer uploaded, newest first. What steps make is found at their jobs.
    async fn documents(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Size of the page, 20 where it is not given.")] first: Option<i32>,
        #[graphql(desc = "Cursor that the page comes after.")] after: Option<String>,
    ) -> Result<Connection<Document>> {
        let app = ctx.app()?;
        let paging = Paging { first, after, ..Paging::default() };
        let window = paging.window(List::Documents, USUAL, app.config.limits.page_size)?;
        let page = app.jobs.documents.list(ctx.actor()?, window).await?;
        Ok(connection(page, EmptyFields, |row| {
            (Cursor { at: row.created_at, id: row.id.0 }.encode(List::Documents), Document(row))
        }))
    }
}

#[derive(Default)]
pub(super) struct DocumentMutation;

#[Object]
impl DocumentMutation {
    /// Stores a file of a multipart request as a document. For large files, POST /documents takes the bytes as they are.
    async fn upload_document(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file.")] file: Upload,
        #[graphql(desc = "Name to use instead of the file's own.")] name: Option<String>,
    ) -> Result<DocumentPayload> {
        let actor = ctx.actor()?;
        let taken = ctx.data_opt::<Arc<Uploads>>().and_then(|uploads| uploads.take(file.0));
        let missing =
            || Error::invalid("/file", "NO_FILE", "The request has no such file; send it as multipart.");
        let mut staged = taken.ok_or_else(missing)?;
        if let Some(name) = name {
            staged = staged.renamed(&name);
        }
        let document = ctx.app()?.jobs.documents.adopt(actor, staged).await?;
        Ok(DocumentPayload { document: Document(document) })
    }

    /// Removes a document of the viewer's. CONFLICT where a job uses it.
    async fn delete_document(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the document.")] id: ID,
    ) -> Result<DeletePayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let found = DocumentId::parse(&id).ok_or_else(|| Error::not_found("document"))?;
        app.jobs.documents.delete(actor, found).await?;
        Ok(DeletePayload { deleted_id: found.to_string().into() })
    }
}
