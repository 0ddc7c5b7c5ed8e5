//! Documents.

use std::sync::Arc;

use async_graphql::connection::EmptyFields;
use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::account::User;
use super::context::RequestContext;
use super::loader::Account;
use super::paging::{Connection, DEFAULT_PAGE_SIZE, connection};
use super::scalar::{SafeInt, Upload, Url};
use super::upload::Uploads;
use crate::entity::document;
use crate::error::{Error, Result};
use crate::id::{DocumentId, UserId};
use crate::page::{Cursor, List, Paging};

/// A file that a user uploaded or a step of a job produced.
#[derive(Clone)]
pub(super) struct Document(pub document::Model);

/// A file that a user uploaded or a step of a job produced.
#[Object]
impl Document {
    /// UUID of the document.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// File name of the document, given at upload and used for downloads.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// MIME type, for example `application/pdf`.
    #[graphql(name = "type")]
    async fn media_type(&self) -> &str {
        &self.0.media_type
    }

    /// Size in bytes.
    async fn size(&self) -> SafeInt {
        SafeInt(self.0.size)
    }

    /// SHA-256 hash of the bytes, in lowercase hexadecimal.
    /// It is also the ETag of the contents.
    async fn sha256(&self) -> &str {
        &self.0.sha256
    }

    /// URL of the bytes, which needs the same authorization as the API.
    async fn contents_uri(&self, ctx: &Context<'_>) -> Result<Url> {
        Ok(Url(ctx.app()?.jobs.documents.links().contents(self.0.id)))
    }

    /// Signed URL of the bytes, which works without authorization until it expires.
    /// Use it for links and images in a browser.
    async fn signed_contents_uri(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Lifetime of the URL in seconds, 1 to 604,800.", default_with = "Some(300)")]
        expires_in_seconds: Option<i32>,
    ) -> Result<Url> {
        let app = ctx.app()?;
        Ok(Url(app.jobs.documents.links().signed(
            self.0.id,
            expires_in_seconds.unwrap_or(300),
            app.clock.now(),
        )?))
    }

    /// Uploader of the document, or owner of the job whose step produced it.
    async fn owner(&self, ctx: &Context<'_>) -> Result<User> {
        load_user(ctx, self.0.owner_id).await
    }

    /// Time when the document was completely stored.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

/// Returns the account with this ID, which must exist because another row refers to it.
pub(super) async fn load_user(ctx: &Context<'_>, id: UserId) -> Result<User> {
    // Most users look at their own objects, and the authentication has read their account.
    if let Some(actor) = ctx.viewer()?.actor.as_ref().filter(|actor| actor.user.id == id) {
        return Ok(User(Arc::clone(&actor.user)));
    }
    let account = ctx.loaders()?.rows.load_one(Account(id)).await?;
    account.map(User).ok_or_else(|| Error::Internal(format!("account {id} is missing")))
}

/// Result of uploading a document.
#[derive(SimpleObject)]
struct DocumentPayload {
    /// The document, ready to be used in jobs.
    document: Document,
}

/// Result of a deletion.
#[derive(SimpleObject)]
pub(super) struct DeletePayload {
    /// UUID of the deleted object.
    pub(crate) deleted_id: ID,
}

#[derive(Default)]
pub(super) struct DocumentQuery;

#[Object]
impl DocumentQuery {
    /// Returns the document with the given ID.
    /// Null if it does not exist, or if the viewer neither uploaded it nor sees it as a content of a job. Admins see
    /// every document.
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

    /// Returns the documents that the viewer uploaded, newest first.
    /// Documents produced by steps are listed in the contents of their jobs.
    async fn documents(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size, 20 by default and at most 100 (configurable).")] first: Option<i32>,
        #[graphql(desc = "Cursor of an entry; the page starts after it.")] after: Option<String>,
    ) -> Result<Connection<Document>> {
        let app = ctx.app()?;
        let paging = Paging { first, after, ..Paging::default() };
        let window = paging.window(List::Documents, DEFAULT_PAGE_SIZE, app.config.limits.page_size)?;
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
    /// Stores a file of a multipart request as a document.
    /// For large files, send the bytes as the body of `POST /documents`. Fails with BAD_USER_INPUT if the request has
    /// no such file.
    async fn upload_document(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "File of the multipart request.")] file: Upload,
        #[graphql(desc = "Name of the document, instead of the name of the file.")] name: Option<String>,
    ) -> Result<DocumentPayload> {
        let actor = ctx.actor()?;
        let upload = ctx.data_opt::<Arc<Uploads>>().and_then(|uploads| uploads.take(file.0));
        let missing = || {
            let message = "The request has no such file. Send the file in a multipart request.";
            Error::invalid("/file", "NO_FILE", message)
        };
        let mut staged = upload.ok_or_else(missing)?;
        if let Some(name) = name {
            staged = staged.renamed(&name);
        }
        let document = ctx.app()?.jobs.documents.adopt(actor, staged).await?;
        Ok(DocumentPayload { document: Document(document) })
    }

    /// Deletes a document that the viewer uploaded.
    /// Admins can delete every uploaded document. Fails with CONFLICT if a job uses the document. Fails with NOT_FOUND
    /// for documents produced by steps, and for documents of other users.
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
