//! Documents: uploads and outputs of steps, and the links to their bytes.
//!
//! Bytes first go to the object store, under a random key. The row with this key is inserted after they are complete.

mod links;
pub(crate) mod retention;

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, Set, SqlErr};
use uuid::Uuid;

use crate::access::Actor;
use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::entity::{content, document, identity, job};
use crate::error::{Error, Result};
use crate::id::DocumentId;
use crate::page::{Direction, Page, Window};
use crate::storage::{Storage, StoredObject};
pub use links::Links;
pub(crate) use links::MAX_LINK_SECONDS;

/// The MIME type of a document if its sender named none and none was detected.
pub(crate) const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";
/// Longest name of a document, in characters.
const MAX_NAME_CHARACTERS: usize = 255;
/// Longest MIME type, in bytes: 127 on each side of the slash (RFC 6838 section 4.2).
const MAX_MEDIA_TYPE_BYTES: usize = 255;
/// Keys that the collector looks up in one statement.
const COLLECT_PAGE_KEYS: usize = 500;

/// The documents of this server. Clones share their state.
#[derive(Debug, Clone)]
pub struct Documents {
    db: Db,
    clock: Clock,
    storage: Storage,
    links: Links,
    max_bytes: u64,
    /// ID of the database that contains the rows.
    database: Uuid,
}

/// The database that an object store belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreOwner {
    /// This database: objects to which it does not refer are garbage.
    ThisDatabase,
    /// Unknown: the store has objects and no database marker.
    Unmarked,
    /// Another database, with this ID.
    OtherDatabase(String),
}

/// The sender's description of an upload.
#[derive(Debug, Clone, Default)]
pub struct UploadInfo {
    /// File name; of a path, only the last part is kept.
    pub name: Option<String>,
    /// MIME type; detected from the bytes if it is missing.
    pub media_type: Option<String>,
}

/// Bytes in the object store to which no row refers yet.
#[derive(Debug)]
pub struct Staged {
    id: DocumentId,
    name: String,
    media_type: String,
    stored: StoredObject,
}

impl Staged {
    /// Returns the same bytes under another name.
    pub fn renamed(self, name: &str) -> Self {
        Self { name: file_name(name), ..self }
    }

    /// Returns the key of its bytes.
    pub fn key(&self) -> &str {
        &self.stored.key
    }

    /// Returns its size in bytes.
    pub fn size(&self) -> u64 {
        self.stored.size
    }

    /// Returns its MIME type, as named by its sender or detected.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns the row of the document for a content of a job.
    pub(crate) fn into_content_of(self, job: &job::Model, now: Timestamp) -> Result<document::Model> {
        Ok(document::Model {
            id: self.id,
            name: self.name,
            media_type: self.media_type,
            size: i64::try_from(self.stored.size).map_err(Error::internal)?,
            sha256: self.stored.sha256,
            storage_key: self.stored.key,
            owner_id: job.owner_id,
            job_id: Some(job.id),
            mode: job.mode,
            created_at: now,
        })
    }
}

impl Documents {
    /// Opens the documents of a migrated database and an object store. An upload has at most `max_bytes` bytes.
    pub async fn open(db: Db, clock: Clock, storage: Storage, links: Links, max_bytes: u64) -> Result<Self> {
        let identity = identity::Entity::find_by_id(1).one(db.read()).await?;
        let identity = identity.ok_or_else(|| Error::internal("the database has no identity"))?;
        Ok(Self { db, clock, storage, links, max_bytes, database: identity.database_id })
    }

    /// Marks an empty object store as this database's, and returns the owner of the store.
    pub(crate) async fn mark_store(&self) -> Result<StoreOwner> {
        let own = self.database.to_string();
        Ok(match self.storage.write_marker_if_empty(&own).await? {
            Some(marker) if marker == own => StoreOwner::ThisDatabase,
            Some(other) => StoreOwner::OtherDatabase(other),
            None => StoreOwner::Unmarked,
        })
    }

    /// Returns the builder of links to contents.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// Fails if an announced size is too large.
    pub(crate) fn check_size(&self, bytes: u64) -> Result<()> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        Err(Error::TooLarge(format!("A document must have at most {} bytes.", self.max_bytes)))
    }

    /// Stores a stream of bytes as a document of the actor. Removes the bytes if the stream fails.
    pub async fn upload<E: std::fmt::Display>(
        &self,
        actor: &Actor,
        info: UploadInfo,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<document::Model> {
        let staged = self.stage(info, bytes).await?;
        self.adopt(actor, staged).await
    }

    /// Stores a stream of bytes without creating a document. The caller must adopt or discard the result.
    pub async fn stage<E: std::fmt::Display>(
        &self,
        info: UploadInfo,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Staged> {
        let media_type = info.media_type.as_deref().map(media_type).transpose()?;
        let id = DocumentId::new();
        let stored = self.storage.put(format!("uploads/{id}"), bytes, self.max_bytes).await?;
        let media_type = media_type.unwrap_or_else(|| detect_media_type(&stored));
        let name = info.name.as_deref().map_or_else(|| "document".to_owned(), file_name);
        Ok(Staged { id, name, media_type, stored })
    }

    /// Creates a document of the actor from staged bytes. Removes the bytes on failure.
    pub(crate) async fn adopt(&self, actor: &Actor, staged: Staged) -> Result<document::Model> {
        let key = staged.stored.key.clone();
        let row = document::ActiveModel {
            id: Set(staged.id),
            name: Set(staged.name),
            media_type: Set(staged.media_type),
            size: Set(i64::try_from(staged.stored.size).map_err(Error::internal)?),
            sha256: Set(staged.stored.sha256),
            storage_key: Set(staged.stored.key),
            owner_id: Set(actor.user.id),
            job_id: Set(None),
            mode: Set(actor.mode),
            created_at: Set(self.clock.now()),
        };
        let inserted = self.db.write(|tx| Box::pin(async move { Ok(row.insert(tx).await?) })).await;
        if inserted.as_ref().is_err_and(Error::is_rolled_back) {
            self.discard(&key).await;
        }
        inserted
    }

    /// Returns a page of the actor's uploads, newest first.
    pub async fn list(&self, actor: &Actor, window: Window) -> Result<Page<document::Model>> {
        let owned = document::Entity::find()
            .filter(document::Column::OwnerId.eq(actor.user.id))
            .filter(document::Column::JobId.is_null());
        let (time, id) = (document::Column::CreatedAt, document::Column::Id);
        let query = window.select(owned, Direction::Descending, time, id);
        Ok(window.page(query.all(self.db.read()).await?))
    }

    /// Deletes a document of the actor that no job uses.
    pub async fn delete(&self, actor: &Actor, id: DocumentId) -> Result<()> {
        let actor = actor.clone();
        self.remove(id, move |document| is_own(&actor, document)).await
    }

    /// Deletes an uploaded document that no job uses and for which `is_allowed` returns true.
    async fn remove(
        &self,
        id: DocumentId,
        is_allowed: impl FnOnce(&document::Model) -> bool + Send + 'static,
    ) -> Result<()> {
        let key = self.db.write(move |tx| {
            Box::pin(async move {
                let found = document::Entity::find_by_id(id).one(tx).await?;
                let found = found.filter(|document| document.job_id.is_none() && is_allowed(document));
                let document = found.ok_or_else(|| Error::not_found("document"))?;
                let used = content::Entity::find().filter(content::Column::DocumentId.eq(id)).one(tx).await?;
                let in_use = || Error::conflict("A job uses this document. Delete the job first.");
                if used.is_some() {
                    return Err(in_use());
                }
                let deleted = document::Entity::delete_by_id(id).exec(tx).await.map_err(|error| {
                    match error.sql_err() {
                        // A job has started to use it meanwhile.
                        Some(SqlErr::ForeignKeyConstraintViolation(_)) => in_use(),
                        _ => error.into(),
                    }
                })?;
                if deleted.rows_affected == 0 {
                    // A concurrent request has deleted it.
                    return Err(Error::not_found("document"));
                }
                Ok(document.storage_key)
            })
        });
        let key = key.await?;
        self.discard(&key).await;
        Ok(())
    }

    /// Removes objects that were complete before a time and to which no row refers. They remain from changes that were
    /// rolled back. Returns their number. Removes nothing unless the store is marked as this database's, because
    /// another database refers to none of its objects.
    pub async fn collect(&self, before: Timestamp) -> Result<usize> {
        match self.mark_store().await? {
            StoreOwner::ThisDatabase => {}
            StoreOwner::Unmarked => {
                tracing::warn!(
                    marker = %self.storage.marker_path().display(), database = %self.database,
                    "object store has objects and no database marker, unreferenced objects are not removed; if all objects \
                     belong to this database, write its ID into the marker"
                );
                return Ok(0);
            }
            StoreOwner::OtherDatabase(other) => {
                tracing::warn!(
                    marker = %self.storage.marker_path().display(), database = %self.database, other,
                    "object store belongs to another database, unreferenced objects are not removed; check database_url \
                     and storage_url, and write the ID into the marker only if this database replaces the other"
                );
                return Ok(0);
            }
        }
        let mut keys = self.storage.list_older_than(before).try_chunks(COLLECT_PAGE_KEYS);
        let mut removed = 0;
        while let Some(chunk) = keys.next().await {
            let chunk = chunk.map_err(|error| error.1)?;
            let referenced =
                document::Entity::find().filter(document::Column::StorageKey.is_in(chunk.iter()));
            let referenced: HashSet<String> = referenced
                .all(self.db.read())
                .await?
                .into_iter()
                .map(|document| document.storage_key)
                .collect();
            for key in chunk.iter().filter(|key| !referenced.contains(*key)) {
                self.storage.delete(key).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes unfinished uploads that were last written to before a time. Returns their number.
    pub(crate) async fn remove_unfinished(&self, before: Timestamp) -> Result<usize> {
        self.storage.remove_unfinished(before).await.map_err(Error::internal)
    }

    /// Removes an object to which no row refers. A failure is only logged, because the collector removes the object
    /// later.
    pub(crate) async fn discard(&self, key: &str) {
        if let Err(error) = self.storage.delete(key).await {
            tracing::warn!(key, %error, "failed to remove unreferenced object");
        }
    }
}

/// Returns whether the actor owns a document or is an admin.
pub(crate) fn is_own(actor: &Actor, document: &document::Model) -> bool {
    document.owner_id == actor.user.id || actor.user.is_admin
}

fn detect_media_type(stored: &StoredObject) -> String {
    docket_extract::sniff::detect_media_type(&stored.head).unwrap_or(UNKNOWN_MEDIA_TYPE).to_owned()
}

/// Parses a MIME type and returns it in lower case without parameters.
fn media_type(text: &str) -> Result<String> {
    match text.parse::<mime::Mime>() {
        Ok(parsed) if parsed.type_() == mime::STAR || parsed.subtype() == mime::STAR => Err(Error::invalid(
            "/type",
            "INVALID",
            "A MIME type must not contain a wildcard. Use a type such as application/pdf.",
        )),
        Ok(parsed) if parsed.essence_str().len() <= MAX_MEDIA_TYPE_BYTES => {
            Ok(parsed.essence_str().to_ascii_lowercase())
        }
        Ok(_) => Err(Error::invalid(
            "/type",
            "TOO_LONG",
            format!("A MIME type must have at most {MAX_MEDIA_TYPE_BYTES} bytes."),
        )),
        Err(_) => {
            Err(Error::invalid("/type", "INVALID", "The type must be a MIME type such as application/pdf."))
        }
    }
}

/// Returns a safe file name: the last part of a path, without control characters.
pub fn file_name(path: &str) -> String {
    let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARACTERS).collect();
    match kept.trim() {
        "" | "." | ".." => "document".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests;
    use crate::entity::enums::Mode;

    async fn orphan(documents: &Documents, text: &'static str) -> Staged {
        let bytes = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
        documents.stage(UploadInfo::default(), bytes).await.unwrap()
    }

    #[tokio::test]
    async fn collector_ignores_store_of_another_database() {
        let (app, dir) = tests::open(|_| ()).await;
        let objects = format!("file://{}", dir.path().join("objects").display());
        let (other, _dir) = tests::open(|config| config.storage_url = objects).await;
        let (here, there) = (&app.jobs.documents, &other.jobs.documents);
        let ada = tests::actor(&app, "ada", Mode::Live).await;
        let kept = tests::upload(&app, &ada, "kept").await;
        orphan(here, "orphan").await;
        let later = app.clock.now() + chrono::TimeDelta::days(1);

        let owner = there.mark_store().await.unwrap();
        assert_eq!(owner, StoreOwner::OtherDatabase(here.database.to_string()));
        assert_eq!(there.collect(later).await, Ok(0), "the other database refers to none of the objects");
        assert_eq!(here.collect(later).await, Ok(1));
        assert_eq!(app.storage.read(&kept.storage_key, 9).await.unwrap(), b"kept");
        assert_eq!(here.mark_store().await, Ok(StoreOwner::ThisDatabase), "the marker stays");
    }

    #[tokio::test]
    async fn collector_ignores_unmarked_store_with_objects() {
        let (app, dir) = tests::open(|_| ()).await;
        let documents = &app.jobs.documents;
        std::fs::remove_file(dir.path().join("objects/docket-database-id")).unwrap();
        orphan(documents, "orphan").await;
        let later = app.clock.now() + chrono::TimeDelta::days(1);
        assert_eq!(documents.mark_store().await, Ok(StoreOwner::Unmarked));
        assert_eq!(documents.collect(later).await, Ok(0));
        std::fs::write(app.storage.marker_path(), format!("{}\n", documents.database)).unwrap();
        assert_eq!(documents.collect(later).await, Ok(1), "an operator has written the marker");
    }

    #[test]
    fn file_name_drops_path_and_control_characters() {
        for (given, kept) in [
            ("a.pdf", "a.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\x\\Rechnung März.pdf", "Rechnung März.pdf"),
            ("a\r\nb", "ab"),
            ("", "document"),
            ("..", "document"),
            ("dir/", "document"),
        ] {
            assert_eq!(file_name(given), kept);
        }
        assert_eq!(file_name(&"ü".repeat(300)).chars().count(), MAX_NAME_CHARACTERS);
    }
}
