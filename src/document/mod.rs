//! Documents: what somebody uploaded, or a step made, and where its bytes are.
//!
//! Bytes go to the store first, under a key that nobody else knows; the row that names it is inserted when they are whole.

pub(crate) mod retention;

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use hmac::{Hmac, KeyInit, Mac};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, Set, SqlErr};
use sha2::Sha256;
use uuid::Uuid;

use crate::access::Actor;
use crate::account::Secrets;
use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::entity::{content, document, identity, job};
use crate::error::{Error, Result};
use crate::id::DocumentId;
use crate::page::{Direction, Page, Window};
use crate::storage::{Storage, Stored};

/// Said of bytes whose type nobody named and none could be told.
pub const UNKNOWN_TYPE: &str = "application/octet-stream";
/// Characters of a name.
const LONGEST_NAME: usize = 255;
/// Bytes of a MIME type: 127 on each side of the slash (RFC 6838 section 4.2).
const LONGEST_TYPE: usize = 255;
/// Keys looked up at once.
const COLLECT_AT_ONCE: usize = 500;
/// A signed link works for so long at the most.
pub const LONGEST_LINK_SECONDS: i32 = 7 * 24 * 3600;

/// The documents of this server; clones share them.
#[derive(Debug, Clone)]
pub struct Documents {
    db: Db,
    clock: Clock,
    storage: Storage,
    links: Links,
    largest: u64,
    /// The database that the rows are in.
    database: Uuid,
}

/// Whose a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belongs {
    /// To this database: what it does not name is nobody's.
    Here,
    /// It has bytes, and nothing says to whom they belong.
    Unmarked,
    /// To another database.
    Elsewhere(String),
}

/// What an uploader says of the bytes.
#[derive(Debug, Clone, Default)]
pub struct Described {
    /// File name; a path is cut to its last part.
    pub name: Option<String>,
    /// MIME type; told by the bytes where it is missing.
    pub media_type: Option<String>,
}

/// Bytes in the store that no row names yet.
#[derive(Debug)]
pub struct Staged {
    id: DocumentId,
    name: String,
    media_type: String,
    stored: Stored,
}

impl Staged {
    /// The same under another name.
    pub fn renamed(self, name: &str) -> Self {
        Self { name: file_name(name), ..self }
    }

    /// Where its bytes are.
    pub fn key(&self) -> &str {
        &self.stored.key
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.stored.size
    }

    /// MIME type: as its sender named it, or detected.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns the row of a content of a job that is made of it.
    pub fn into_content_of(self, job: &job::Model, now: Timestamp) -> Result<document::Model> {
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
    /// Over a database whose migrations have run, and a store; `largest` bounds an upload in bytes.
    pub async fn open(db: Db, clock: Clock, storage: Storage, links: Links, largest: u64) -> Result<Self> {
        let identity = identity::Entity::find_by_id(1).one(db.read()).await?;
        let identity = identity.ok_or_else(|| Error::internal("the database has no identity"))?;
        Ok(Self { db, clock, storage, links, largest, database: identity.database_id })
    }

    /// Marks a store that is empty as this database's, and says whose it is.
    pub async fn mark_store(&self) -> Result<Belongs> {
        let own = self.database.to_string();
        Ok(match self.storage.mark_if_empty(&own).await? {
            Some(mark) if mark == own => Belongs::Here,
            Some(other) => Belongs::Elsewhere(other),
            None => Belongs::Unmarked,
        })
    }

    /// Where contents are fetched.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Refuses what says beforehand that it is too large.
    pub fn fits(&self, bytes: u64) -> Result<()> {
        if bytes <= self.largest {
            return Ok(());
        }
        Err(Error::TooLarge(format!("A document has {} bytes at the most.", self.largest)))
    }

    /// Stores a stream of bytes as a document of the actor's. One that breaks off leaves nothing behind.
    pub async fn upload<E: std::fmt::Display>(
        &self,
        actor: &Actor,
        described: Described,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<document::Model> {
        let staged = self.stage(described, bytes).await?;
        self.adopt(actor, staged).await
    }

    /// Stores a stream of bytes that is not a document yet: whoever holds it adopts or discards it.
    pub async fn stage<E: std::fmt::Display>(
        &self,
        described: Described,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Staged> {
        let media_type = described.media_type.as_deref().map(media_type).transpose()?;
        let id = DocumentId::new();
        let stored = self.storage.put(format!("uploads/{id}"), bytes, self.largest).await?;
        let media_type = media_type.unwrap_or_else(|| told(&stored));
        let name = described.name.as_deref().map_or_else(|| "document".to_owned(), file_name);
        Ok(Staged { id, name, media_type, stored })
    }

    /// Makes what was staged a document of the actor's; where that fails its bytes are removed.
    pub async fn adopt(&self, actor: &Actor, staged: Staged) -> Result<document::Model> {
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
        if inserted.as_ref().is_err_and(Error::nothing_written) {
            self.discard(&key).await;
        }
        inserted
    }

    /// What the actor uploaded, newest first.
    pub async fn list(&self, actor: &Actor, window: Window) -> Result<Page<document::Model>> {
        let mine = document::Entity::find()
            .filter(document::Column::OwnerId.eq(actor.user.id))
            .filter(document::Column::JobId.is_null());
        let (time, id) = (document::Column::CreatedAt, document::Column::Id);
        let query = window.select(mine, Direction::Descending, time, id);
        Ok(window.page(query.all(self.db.read()).await?))
    }

    /// Removes a document of the actor's that no job uses.
    pub async fn delete(&self, actor: &Actor, id: DocumentId) -> Result<()> {
        let actor = actor.clone();
        self.remove(id, move |document| is_own(&actor, document)).await
    }

    /// Removes an uploaded document that no job uses and that somebody may remove.
    async fn remove(
        &self,
        id: DocumentId,
        may: impl FnOnce(&document::Model) -> bool + Send + 'static,
    ) -> Result<()> {
        let key = self.db.write(move |tx| {
            Box::pin(async move {
                let found = document::Entity::find_by_id(id).one(tx).await?;
                let found = found.filter(|document| document.job_id.is_none() && may(document));
                let document = found.ok_or_else(|| Error::not_found("document"))?;
                let used = content::Entity::find().filter(content::Column::DocumentId.eq(id)).one(tx).await?;
                let in_use = || Error::conflict("A job uses this document; delete the job first.");
                if used.is_some() {
                    return Err(in_use());
                }
                let gone = document::Entity::delete_by_id(id).exec(tx).await.map_err(|error| match error
                    .sql_err()
                {
                    // A job was made of it meanwhile.
                    Some(SqlErr::ForeignKeyConstraintViolation(_)) => in_use(),
                    _ => error.into(),
                })?;
                if gone.rows_affected == 0 {
                    // Somebody else was faster.
                    return Err(Error::not_found("document"));
                }
                Ok(document.storage_key)
            })
        });
        let key = key.await?;
        self.discard(&key).await;
        Ok(())
    }

    /// Removes bytes that were whole before a time and that no row names: what was stored for a change that did not
    /// happen. Returns how many. Only in a store that is marked as this database's: to any other database all of it would
    /// be nobody's.
    pub async fn collect(&self, before: Timestamp) -> Result<usize> {
        match self.mark_store().await? {
            Belongs::Here => {}
            Belongs::Unmarked => {
                tracing::warn!(
                    mark = %self.storage.mark_place().display(), database = %self.database,
                    "the store has objects and nothing says to which database they belong, so that none is removed that \
                     nothing refers to; if they belong to this database and to no other, write its ID into the mark"
                );
                return Ok(0);
            }
            Belongs::Elsewhere(other) => {
                tracing::warn!(
                    mark = %self.storage.mark_place().display(), database = %self.database, other,
                    "the store belongs to another database, so that nothing in it is removed; look at database_url and \
                     storage_url, and only if this database has taken the other's place write its ID into the mark"
                );
                return Ok(0);
            }
        }
        let mut keys = self.storage.older_than(before).try_chunks(COLLECT_AT_ONCE);
        let mut removed = 0;
        while let Some(chunk) = keys.next().await {
            let chunk = chunk.map_err(|error| error.1)?;
            let named = document::Entity::find().filter(document::Column::StorageKey.is_in(chunk.iter()));
            let named: HashSet<String> =
                named.all(self.db.read()).await?.into_iter().map(|document| document.storage_key).collect();
            for key in chunk.iter().filter(|key| !named.contains(*key)) {
                self.storage.delete(key).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes what uploads left that died with their process and that was last written to before a time. Returns how many.
    pub async fn remove_unfinished(&self, before: Timestamp) -> Result<usize> {
        self.storage.remove_unfinished(before).await.map_err(Error::internal)
    }

    /// Removes bytes that no row names. A failure leaves garbage, not damage, so it is only logged.
    pub async fn discard(&self, key: &str) {
        if let Err(error) = self.storage.delete(key).await {
            tracing::warn!(key, %error, "bytes that nothing refers to could not be removed");
        }
    }
}

/// Whether a document is the actor's own, which every one is for an admin.
pub fn is_own(actor: &Actor, document: &document::Model) -> bool {
    document.owner_id == actor.user.id || actor.user.is_admin
}

fn told(stored: &Stored) -> String {
    docket_extract::sniff::detect(&stored.head).unwrap_or(UNKNOWN_TYPE).to_owned()
}

/// A MIME type as its sender wrote it, without parameters, in lower case.
fn media_type(text: &str) -> Result<String> {
    match text.parse::<mime::Mime>() {
        Ok(parsed) if parsed.type_() == mime::STAR || parsed.subtype() == mime::STAR => {
            Err(Error::invalid("/type", "INVALID", "A document has one type; this stands for many."))
        }
        Ok(parsed) if parsed.essence_str().len() <= LONGEST_TYPE => {
            Ok(parsed.essence_str().to_ascii_lowercase())
        }
        Ok(_) => Err(Error::invalid(
            "/type",
            "TOO_LONG",
            format!("A MIME type has {LONGEST_TYPE} bytes at the most."),
        )),
        Err(_) => Err(Error::invalid("/type", "INVALID", "This is not a MIME type such as application/pdf.")),
    }
}

/// A name that is safe to save under: the last part of a path, without control characters.
pub fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    match kept.trim() {
        "" | "." | ".." => "document".to_owned(),
        name => name.to_owned(),
    }
}

/// Where contents are fetched: links of this server, plain and signed.
#[derive(Clone)]
pub struct Links {
    base: String,
    /// What signs.
    key: Vec<u8>,
    /// What verifies: the same, and those from before.
    keys: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Links {
    /// Under the address that clients use, signed with keys derived from the server's secrets.
    pub fn new(public_url: &str, secrets: &Secrets) -> Self {
        let key = |secret| mac(secret, b"docket signed links 1").finalize().into_bytes().to_vec();
        let base = public_url.trim_end_matches('/').to_owned();
        Self { base, key: key(secrets.current()), keys: secrets.all().map(key).collect() }
    }

    /// The link that takes the API's credentials.
    pub fn contents(&self, id: DocumentId) -> String {
        format!("{}/documents/{id}/contents", self.base)
    }

    /// The link that takes none until it expires.
    pub fn signed(&self, id: DocumentId, seconds: i32, now: Timestamp) -> Result<String> {
        if !(1..=LONGEST_LINK_SECONDS).contains(&seconds) {
            let message = format!("A signed link works for 1 to {LONGEST_LINK_SECONDS} seconds.");
            return Err(Error::invalid("/expiresInSeconds", "RANGE", message));
        }
        let expires = now.timestamp() + i64::from(seconds);
        let signature = hex::encode(sign(&self.key, id, expires).finalize().into_bytes());
        Ok(format!("{}?expires={expires}&signature={signature}", self.contents(id)))
    }

    /// Whether a signed link is ours and still good.
    pub fn verify(&self, id: DocumentId, expires: i64, signature: &str, now: Timestamp) -> bool {
        let given = hex::decode(signature).unwrap_or_default();
        let signed = |key: &Vec<u8>| sign(key, id, expires).verify_slice(&given).is_ok();
        self.keys.iter().any(signed) && now.timestamp() < expires
    }

    /// The document that a plain link of this server names.
    pub fn parse(&self, uri: &str) -> Option<DocumentId> {
        let rest = uri.strip_prefix(&self.base)?.strip_prefix("/documents/")?;
        DocumentId::parse(rest.strip_suffix("/contents")?)
    }
}

fn sign(key: &[u8], id: DocumentId, expires: i64) -> Hmac<Sha256> {
    mac(key, format!("{id}:{expires}").as_bytes())
}

fn mac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104 section 2)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(message);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests;
    use crate::job::state::Mode;

    async fn orphan(documents: &Documents, text: &'static str) -> Staged {
        let bytes = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
        documents.stage(Described::default(), bytes).await.unwrap()
    }

    #[tokio::test]
    async fn a_store_is_collected_by_its_own_database_only() {
        let (app, dir) = tests::open(|_| ()).await;
        let objects = format!("file://{}", dir.path().join("objects").display());
        let (other, _dir) = tests::open(|config| config.storage_url = objects).await;
        let (here, there) = (&app.jobs.documents, &other.jobs.documents);
        let ada = tests::actor(&app, "ada", Mode::Live).await;
        let kept = tests::upload(&app, &ada, "kept").await;
        orphan(here, "orphan").await;
        let later = app.clock.now() + chrono::TimeDelta::days(1);

        let whose = there.mark_store().await.unwrap();
        assert_eq!(whose, Belongs::Elsewhere(here.database.to_string()));
        assert_eq!(there.collect(later).await, Ok(0), "to the other database all of it is nobody's");
        assert_eq!(here.collect(later).await, Ok(1));
        assert_eq!(app.storage.read(&kept.storage_key, 9).await.unwrap(), b"kept");
        assert_eq!(here.mark_store().await, Ok(Belongs::Here), "the mark stays");
    }

    #[tokio::test]
    async fn a_store_with_objects_and_no_mark_is_left_alone() {
        let (app, dir) = tests::open(|_| ()).await;
        let documents = &app.jobs.documents;
        std::fs::remove_file(dir.path().join("objects/docket-database-id")).unwrap();
        orphan(documents, "somebody's").await;
        let later = app.clock.now() + chrono::TimeDelta::days(1);
        assert_eq!(documents.mark_store().await, Ok(Belongs::Unmarked));
        assert_eq!(documents.collect(later).await, Ok(0));
        std::fs::write(app.storage.mark_place(), format!("{}\n", documents.database)).unwrap();
        assert_eq!(documents.collect(later).await, Ok(1), "an operator has said whose they are");
    }

    #[test]
    fn names_lose_their_paths_and_control_characters() {
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
        assert_eq!(file_name(&"ü".repeat(300)).chars().count(), LONGEST_NAME);
    }

    fn secrets(current: &str) -> Secrets {
        Secrets::new(current, Vec::new())
    }

    #[test]
    fn signed_links_hold_for_their_document_and_time() {
        let links = Links::new("http://localhost:1/", &secrets("secret"));
        let (id, now) = (DocumentId::new(), Timestamp::UNIX_EPOCH);
        let link = links.signed(id, 60, now).unwrap();
        let signature = link.rsplit_once('=').unwrap().1;
        let later = |s| now + chrono::TimeDelta::seconds(s);
        assert!(links.verify(id, 60, signature, later(59)));
        assert!(!links.verify(id, 60, signature, later(60)), "expired");
        assert!(!links.verify(id, 61, signature, now), "another time");
        assert!(!links.verify(DocumentId::new(), 60, signature, now), "another document");
        assert!(!links.verify(id, 60, "", now));
        let other = |secrets| Links::new("http://localhost:1", &secrets);
        assert!(!other(secrets("other")).verify(id, 60, signature, now));
        let rotated = other(Secrets::new("other", vec![b"secret".into()]));
        assert!(rotated.verify(id, 60, signature, later(59)), "a new secret ends no link of the one before");
        assert!(!rotated.verify(id, 60, signature, later(60)));
        assert!(links.signed(id, 0, now).is_err());
    }

    #[test]
    fn only_links_of_this_server_name_documents() {
        let links = Links::new("http://localhost:1", &secrets("secret"));
        let id = DocumentId::new();
        assert_eq!(links.parse(&links.contents(id)), Some(id));
        for foreign in [
            "http://localhost:12/documents/x/contents",
            "file:///etc/passwd",
            "http://localhost:1/documents/x/contents",
        ] {
            assert_eq!(links.parse(foreign), None);
        }
        assert_eq!(links.parse(&format!("http://localhost:1.evil/documents/{id}/contents")), None);
    }
}
