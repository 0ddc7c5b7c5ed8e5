//! The object store. Its keys are in database rows, and access to bytes requires access to their row.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart,
};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, Result};

/// Bytes of one part of an upload; with [`MAX_CONCURRENT_PARTS`] it bounds the memory of an upload.
const PART_BYTES: usize = 5 * 1024 * 1024;
const MAX_CONCURRENT_PARTS: usize = 1;
/// Key of the database marker, which names the database that the other objects belong to.
const MARKER_KEY: &str = "docket-database-id";
/// Prefix of the objects that [`Storage::check`] writes.
const CHECK_PREFIX: &str = "health/";
/// Number of first bytes that are kept for detecting the MIME type.
pub(crate) const HEAD_BYTES: usize = docket_extract::sniff::HEAD_BYTES;

/// The object store, which holds the bytes of documents. Clones share it.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
}

/// An object that was written.
#[derive(Debug, Clone)]
pub struct StoredObject {
    /// Its key in the store.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// The first bytes, at most [`HEAD_BYTES`].
    pub head: Vec<u8>,
}

impl Storage {
    /// Opens `storage_url`, by default the folder `objects` in the data directory. Creates a missing folder.
    pub fn open(config: &Config) -> Result<Self, String> {
        let folder = match config.storage_url.as_str() {
            "" => config.data_dir.join("objects"),
            url => match url.strip_prefix("file://") {
                Some(path) if path.starts_with('/') => Path::new(path).to_path_buf(),
                _ => return Err(format!("storage_url is {url}; it needs file:///absolute/path")),
            },
        };
        let opened = std::fs::create_dir_all(&folder)
            .map_err(|e| e.to_string())
            .and_then(|()| LocalFileSystem::new_with_prefix(&folder).map_err(|e| e.to_string()));
        let store = opened.map_err(|error| format!("storage in {}: {error}", folder.display()))?;
        // A committed row promises durable bytes, so they are synced to disk first.
        let store = store.with_automatic_cleanup(true).with_fsync(true);
        Ok(Self { store: Arc::new(store), folder })
    }

    /// Writes a stream under a key and hashes it, with a few parts of it in memory. Removes the bytes if the stream
    /// fails or is longer than `limit`.
    pub async fn put<E: std::fmt::Display>(
        &self,
        key: String,
        mut bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
        limit: u64,
    ) -> Result<StoredObject> {
        let upload = self.store.put_multipart(&Key::from(key.as_str())).await.map_err(storage_error)?;
        let mut write = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let (mut size, mut hash, mut head) = (0_u64, Sha256::new(), Vec::new());
        let outcome = loop {
            let chunk = match bytes.next().await {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    break Err(Error::invalid(
                        "",
                        "BROKEN_OFF",
                        format!("The upload was interrupted: {error}"),
                    ));
                }
                None => break Ok(()),
            };
            size += chunk.len() as u64;
            if size > limit {
                break Err(Error::TooLarge(format!("A document must have at most {limit} bytes.")));
            }
            hash.update(&chunk);
            head.extend_from_slice(&chunk[..chunk.len().min(HEAD_BYTES - head.len())]);
            if let Err(error) = write.wait_for_capacity(MAX_CONCURRENT_PARTS).await {
                break Err(storage_error(error));
            }
            write.write(&chunk);
        };
        match outcome {
            Ok(()) => {
                write.finish().await.map_err(storage_error)?;
                Ok(StoredObject { key, size, sha256: hex::encode(hash.finalize()), head })
            }
            Err(error) => {
                if let Err(abort) = write.abort().await {
                    tracing::warn!(key, error = %abort, "failed to remove unfinished upload");
                }
                Err(error)
            }
        }
    }

    /// Writes bytes from memory.
    pub async fn put_bytes(&self, key: String, bytes: Bytes) -> Result<StoredObject> {
        let size = bytes.len() as u64;
        let stream = futures_util::stream::once(async { Ok::<_, std::convert::Infallible>(bytes) });
        self.put(key, Box::pin(stream), size).await
    }

    /// Writes a file.
    pub(crate) async fn put_file(&self, key: String, path: &Path) -> Result<StoredObject> {
        let file = tokio::fs::File::open(path).await.map_err(Error::internal)?;
        let stream = tokio_util::io::ReaderStream::with_capacity(file, 256 * 1024);
        self.put(key, Box::pin(stream), u64::MAX).await
    }

    /// Returns a stream of the bytes of a key, or of a range of them.
    pub async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.store.get_opts(&Key::from(key), options).await.map_err(storage_error)?;
        Ok(found.into_stream().map_err(storage_error).boxed())
    }

    /// Returns all bytes of a small object, or an error if there are more than `limit`.
    pub async fn read(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        let stream = self.get(key, None).await?.map_err(std::io::Error::other);
        let mut bytes = Vec::new();
        let reader = tokio_util::io::StreamReader::new(stream);
        reader.take(limit + 1).read_to_end(&mut bytes).await.map_err(Error::internal)?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge(format!("The content has more than {limit} bytes.")));
        }
        Ok(bytes)
    }

    /// Writes the bytes of a key to a file.
    pub(crate) async fn copy_to(&self, key: &str, path: &Path) -> Result<()> {
        let stream = self.get(key, None).await?.map_err(std::io::Error::other);
        let mut file = tokio::fs::File::create_new(path).await.map_err(Error::internal)?;
        let mut reader = tokio_util::io::StreamReader::new(stream);
        tokio::io::copy(&mut reader, &mut file).await.map_err(Error::internal)?;
        tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(Error::internal)
    }

    /// Removes an object. A missing object is no error.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&Key::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(storage_error(error)),
        }
    }

    /// Returns the ID in the database marker.
    pub async fn marker(&self) -> Result<Option<String>> {
        let found = match self.store.get(&Key::from(MARKER_KEY)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(storage_error)?.bytes().await.map_err(storage_error)?,
        };
        Ok(Some(String::from_utf8_lossy(&found).trim().to_owned()))
    }

    /// Writes the database marker if the store is empty, and returns the ID in the marker. If two databases find the
    /// store empty at the same time, only one writes it. Returns `None` if the store has objects and no marker.
    pub(crate) async fn write_marker_if_empty(&self, database: &str) -> Result<Option<String>> {
        if let Some(marker) = self.marker().await? {
            return Ok(Some(marker));
        }
        let objects = self.store.list(None).try_filter(|object| {
            let is_content = !object.location.as_ref().starts_with(CHECK_PREFIX);
            async move { is_content }
        });
        if std::pin::pin!(objects).try_next().await.map_err(storage_error)?.is_some() {
            // Another database may have marked it and written to it since.
            return self.marker().await;
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let text = PutPayload::from(database.to_owned());
        match self.store.put_opts(&Key::from(MARKER_KEY), text, options).await {
            Ok(_) => Ok(Some(database.to_owned())),
            Err(object_store::Error::AlreadyExists { .. }) => self.marker().await,
            Err(error) => Err(storage_error(error)),
        }
    }

    /// Returns the path of the database marker.
    pub(crate) fn marker_path(&self) -> PathBuf {
        self.folder.join(MARKER_KEY)
    }

    /// Returns the keys of objects that were complete before a time.
    pub(crate) fn list_older_than(&self, time: Timestamp) -> BoxStream<'static, Result<String>> {
        let listed = self.store.list(None).map_err(storage_error);
        listed
            .try_filter_map(move |object| async move {
                let old = object.last_modified < time && object.location.as_ref() != MARKER_KEY;
                Ok(old.then(|| object.location.to_string()))
            })
            .boxed()
    }

    /// Removes the unfinished uploads of killed processes that were last written to before a time. Returns their
    /// number. Only a process with exclusive access may pass any time: other processes may still write to recent ones.
    pub(crate) async fn remove_unfinished(&self, before: Timestamp) -> std::io::Result<usize> {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || remove_unfinished(&folder, before)).await?
    }

    /// Checks the store: writes a small object, reads it and removes it.
    pub async fn check(&self) -> Result<()> {
        const SENT: &[u8] = b"ok";
        let key = format!("{CHECK_PREFIX}{}", uuid::Uuid::now_v7());
        self.put_bytes(key.clone(), Bytes::from_static(SENT)).await?;
        let read = self.read(&key, SENT.len() as u64).await;
        self.delete(&key).await?;
        if read? == SENT {
            Ok(())
        } else {
            Err(Error::internal("storage: read other bytes than were written"))
        }
    }
}

/// Removes unfinished files. The store writes to `KEY#NUMBER` and renames the file when it is complete. Our keys have
/// no `#`.
fn remove_unfinished(folder: &Path, before: Timestamp) -> std::io::Result<usize> {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            removed += remove_unfinished(&entry.path(), before)?;
        } else if entry.file_name().to_string_lossy().contains('#') {
            match remove_if_older(&entry, before) {
                Ok(old) => removed += usize::from(old),
                // Its upload has ended meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}

fn remove_if_older(entry: &std::fs::DirEntry, before: Timestamp) -> std::io::Result<bool> {
    let old = Timestamp::from(entry.metadata()?.modified()?) < before;
    if old {
        std::fs::remove_file(entry.path())?;
    }
    Ok(old)
}

fn storage_error(error: impl Into<object_store::Error>) -> Error {
    Error::Internal(format!("storage: {}", error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> usize {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
    }

    fn open() -> (Storage, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let flags = crate::config::Flags { data_dir: Some(dir.path().into()), ..Default::default() };
        (Storage::open(&Config::load(None, &flags).unwrap()).unwrap(), dir)
    }

    fn chunks(n: usize) -> Vec<std::io::Result<Bytes>> {
        (0..n).map(|_| Ok(Bytes::from(vec![7; 1 << 20]))).collect()
    }

    #[tokio::test]
    async fn object_is_hashed_and_read_whole_or_in_ranges() {
        let (storage, _dir) = open();
        let stored =
            storage.put("a/b".into(), futures_util::stream::iter(chunks(12)), 1 << 30).await.unwrap();
        assert_eq!((stored.size, stored.head.len()), (12 << 20, HEAD_BYTES));
        let all = storage.read("a/b", 1 << 30).await.unwrap();
        assert_eq!(hex::encode(Sha256::digest(&all)), stored.sha256);
        let range: Vec<Bytes> = storage.get("a/b", Some(5..15)).await.unwrap().try_collect().await.unwrap();
        assert_eq!(range.concat(), [7; 10]);
        assert!(matches!(storage.read("a/b", 100).await, Err(Error::TooLarge(_))));
        storage.delete("a/b").await.unwrap();
        storage.delete("a/b").await.unwrap();
        assert!(storage.get("a/b", None).await.is_err());
    }

    #[tokio::test]
    async fn store_syncs_objects_to_disk() {
        let (storage, dir) = open();
        // Only a power failure would show it, so this test checks the settings of the store.
        assert!(format!("{:?}", storage.store).contains("fsync: true"), "{:?}", storage.store);
        storage.check().await.unwrap();
        assert_eq!(files(dir.path()), 0);
    }

    #[tokio::test]
    async fn unfinished_uploads_are_removed_and_complete_objects_stay() {
        let (storage, dir) = open();
        storage.put_bytes("a/whole".into(), Bytes::from_static(b"x")).await.unwrap();
        let mut upload = storage.store.put_multipart(&Key::from("a/half")).await.unwrap();
        upload.put_part(vec![7; 100].into()).await.unwrap();
        std::mem::forget(upload);
        assert_eq!(files(dir.path()), 2);
        let now = crate::clock::Clock::default().now();
        assert_eq!(
            storage.remove_unfinished(now - chrono::TimeDelta::hours(1)).await.unwrap(),
            0,
            "it may still be in progress"
        );
        assert_eq!(storage.remove_unfinished(now + chrono::TimeDelta::hours(1)).await.unwrap(), 1);
        assert_eq!(files(dir.path()), 1);
        assert_eq!(storage.read("a/whole", 9).await.unwrap(), b"x");
    }

    #[tokio::test]
    async fn failed_or_too_long_upload_leaves_no_file() {
        let (storage, dir) = open();
        let mut broken = chunks(11);
        broken.push(Err(std::io::Error::other("disconnected")));
        let outcome = storage.put("x".into(), futures_util::stream::iter(broken), 1 << 30).await;
        assert!(matches!(outcome, Err(Error::Invalid(_))));
        let outcome = storage.put("y".into(), futures_util::stream::iter(chunks(11)), 10 << 20).await;
        assert!(matches!(outcome, Err(Error::TooLarge(_))));
        assert_eq!(files(dir.path()), 0);
    }
}
