//! Bytes, behind put, get and delete. Whoever holds no row that names a key never sees its bytes.

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

/// Bytes of one part of an upload; with [`PARTS_AT_ONCE`] it bounds the memory of an upload.
const PART_BYTES: usize = 5 * 1024 * 1024;
const PARTS_AT_ONCE: usize = 1;
/// The object that names the database which the others belong to.
const MARK: &str = "docket-database-id";
/// What [`Storage::check`] writes begins with this.
const CHECKS: &str = "health/";
/// How much of the beginning is kept for telling the type.
pub const HEAD_BYTES: usize = docket_extract::sniff::HEAD;

/// Where the bytes of documents are kept; clones share it.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Under which key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Lower case hexadecimal.
    pub sha256: String,
    /// The first bytes, [`HEAD_BYTES`] at the most.
    pub head: Vec<u8>,
}

impl Storage {
    /// Opens `storage_url`, or the folder `objects` in the data directory; makes a folder that is missing.
    pub fn open(config: &Config) -> Result<Self, String> {
        let folder = match config.storage_url.as_str() {
            "" => config.data_dir.join("objects"),
            url => match url.strip_prefix("file://") {
                Some(path) if path.starts_with('/') => Path::new(path).to_path_buf(),
                _ => return Err(format!("storage_url is {url}; this build takes file:///absolute/path")),
            },
        };
        let opened = std::fs::create_dir_all(&folder)
            .map_err(|e| e.to_string())
            .and_then(|()| LocalFileSystem::new_with_prefix(&folder).map_err(|e| e.to_string()));
        let store = opened.map_err(|error| format!("storage in {}: {error}", folder.display()))?;
        // A row says that bytes are there for good, so they have to be before it is committed.
        let store = store.with_automatic_cleanup(true).with_fsync(true);
        Ok(Self { store: Arc::new(store), folder })
    }

    /// Writes a stream under a key, hashing on the way and holding a few parts of it in memory. A stream that breaks off or
    /// is longer than `limit` leaves nothing behind.
    pub async fn put<E: std::fmt::Display>(
        &self,
        key: String,
        mut bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
        limit: u64,
    ) -> Result<Stored> {
        let upload = self.store.put_multipart(&Key::from(key.as_str())).await.map_err(failed)?;
        let mut write = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let (mut size, mut hash, mut head) = (0_u64, Sha256::new(), Vec::new());
        let outcome = loop {
            let chunk = match bytes.next().await {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    break Err(Error::invalid("", "BROKEN_OFF", format!("The upload broke off: {error}")));
                }
                None => break Ok(()),
            };
            size += chunk.len() as u64;
            if size > limit {
                break Err(Error::TooLarge(format!("A document has {limit} bytes at the most.")));
            }
            hash.update(&chunk);
            head.extend_from_slice(&chunk[..chunk.len().min(HEAD_BYTES - head.len())]);
            if let Err(error) = write.wait_for_capacity(PARTS_AT_ONCE).await {
                break Err(failed(error));
            }
            write.write(&chunk);
        };
        match outcome {
            Ok(()) => {
                write.finish().await.map_err(failed)?;
                Ok(Stored { key, size, sha256: hex::encode(hash.finalize()), head })
            }
            Err(error) => {
                if let Err(abort) = write.abort().await {
                    tracing::warn!(key, %abort, "what an upload left behind could not be removed");
                }
                Err(error)
            }
        }
    }

    /// Writes bytes that are at hand.
    pub async fn put_bytes(&self, key: String, bytes: Bytes) -> Result<Stored> {
        let size = bytes.len() as u64;
        let stream = futures_util::stream::once(async { Ok::<_, std::convert::Infallible>(bytes) });
        self.put(key, Box::pin(stream), size).await
    }

    /// Writes a file.
    pub async fn put_file(&self, key: String, path: &Path) -> Result<Stored> {
        let file = tokio::fs::File::open(path).await.map_err(Error::internal)?;
        let stream = tokio_util::io::ReaderStream::with_capacity(file, 256 * 1024);
        self.put(key, Box::pin(stream), u64::MAX).await
    }

    /// The bytes of a key, or of a range of them.
    pub async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.store.get_opts(&Key::from(key), options).await.map_err(failed)?;
        Ok(found.into_stream().map_err(failed).boxed())
    }

    /// All bytes of something small; an error where there are more than `limit`.
    pub async fn read(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        let stream = self.get(key, None).await?.map_err(std::io::Error::other);
        let mut bytes = Vec::new();
        let reader = tokio_util::io::StreamReader::new(stream);
        reader.take(limit + 1).read_to_end(&mut bytes).await.map_err(Error::internal)?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge(format!("This content has more than {limit} bytes.")));
        }
        Ok(bytes)
    }

    /// Writes the bytes of a key to a file.
    pub async fn copy_to(&self, key: &str, path: &Path) -> Result<()> {
        let stream = self.get(key, None).await?.map_err(std::io::Error::other);
        let mut file = tokio::fs::File::create_new(path).await.map_err(Error::internal)?;
        let mut reader = tokio_util::io::StreamReader::new(stream);
        tokio::io::copy(&mut reader, &mut file).await.map_err(Error::internal)?;
        tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(Error::internal)
    }

    /// Removes a key; one that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&Key::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// The database that the store is marked as belonging to.
    pub async fn mark(&self) -> Result<Option<String>> {
        let found = match self.store.get(&Key::from(MARK)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?.bytes().await.map_err(failed)?,
        };
        Ok(Some(String::from_utf8_lossy(&found).trim().to_owned()))
    }

    /// Marks a store that is empty, and returns the mark that it has then: of two databases that find it empty at once, one
    /// gets it. `None` where it is not empty and has no mark.
    pub async fn mark_if_empty(&self, database: &str) -> Result<Option<String>> {
        if let Some(mark) = self.mark().await? {
            return Ok(Some(mark));
        }
        let objects = self.store.list(None).try_filter(|object| {
            let counts = !object.location.as_ref().starts_with(CHECKS);
            async move { counts }
        });
        if std::pin::pin!(objects).try_next().await.map_err(failed)?.is_some() {
            // Somebody may have marked it and written to it since.
            return self.mark().await;
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let text = PutPayload::from(database.to_owned());
        match self.store.put_opts(&Key::from(MARK), text, options).await {
            Ok(_) => Ok(Some(database.to_owned())),
            Err(object_store::Error::AlreadyExists { .. }) => self.mark().await,
            Err(error) => Err(failed(error)),
        }
    }

    /// Where operators find the mark.
    pub fn mark_place(&self) -> PathBuf {
        self.folder.join(MARK)
    }

    /// Keys of bytes that were whole before a time.
    pub fn older_than(&self, time: Timestamp) -> BoxStream<'static, Result<String>> {
        let listed = self.store.list(None).map_err(failed);
        listed
            .try_filter_map(move |object| async move {
                let old = object.last_modified < time && object.location.as_ref() != MARK;
                Ok(old.then(|| object.location.to_string()))
            })
            .boxed()
    }

    /// Removes what uploads left that were under way when a process was killed, and that was last written to before a
    /// time, and returns how many. A process that has the store for itself may give any time; where others share it, theirs
    /// are still being written to.
    pub async fn remove_unfinished(&self, before: Timestamp) -> std::io::Result<usize> {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || remove_unfinished(&folder, before)).await?
    }

    /// Whether it can be written to and read from: writes a small object, reads it and removes it.
    pub async fn check(&self) -> Result<()> {
        const SENT: &[u8] = b"ok";
        let key = format!("{CHECKS}{}", uuid::Uuid::now_v7());
        self.put_bytes(key.clone(), Bytes::from_static(SENT)).await?;
        let read = self.read(&key, SENT.len() as u64).await;
        self.delete(&key).await?;
        if read? == SENT {
            Ok(())
        } else {
            Err(Error::internal("storage: something else was read than written"))
        }
    }
}

/// The store writes to `KEY#NUMBER` and renames that when it is whole; keys of ours have no `#`.
fn remove_unfinished(folder: &Path, before: Timestamp) -> std::io::Result<usize> {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            removed += remove_unfinished(&entry.path(), before)?;
        } else if entry.file_name().to_string_lossy().contains('#') {
            match remove_if_older(&entry, before) {
                Ok(old) => removed += usize::from(old),
                // Its upload has ended in between, well or badly.
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

fn failed(error: impl Into<object_store::Error>) -> Error {
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
    async fn what_is_put_is_hashed_and_comes_back_whole_and_in_ranges() {
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
    async fn what_is_stored_survives_the_machine() {
        let (storage, dir) = open();
        // Nothing short of pulling the plug shows it, so that the store is asked for its own settings.
        assert!(format!("{:?}", storage.store).contains("fsync: true"), "{:?}", storage.store);
        storage.check().await.unwrap();
        assert_eq!(files(dir.path()), 0);
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_removed_and_what_is_whole_stays() {
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
            "may go on"
        );
        assert_eq!(storage.remove_unfinished(now + chrono::TimeDelta::hours(1)).await.unwrap(), 1);
        assert_eq!(files(dir.path()), 1);
        assert_eq!(storage.read("a/whole", 9).await.unwrap(), b"x");
    }

    #[tokio::test]
    async fn what_breaks_off_or_is_too_long_leaves_nothing() {
        let (storage, dir) = open();
        let mut broken = chunks(11);
        broken.push(Err(std::io::Error::other("gone")));
        let outcome = storage.put("x".into(), futures_util::stream::iter(broken), 1 << 30).await;
        assert!(matches!(outcome, Err(Error::Invalid(_))));
        let outcome = storage.put("y".into(), futures_util::stream::iter(chunks(11)), 10 << 20).await;
        assert!(matches!(outcome, Err(Error::TooLarge(_))));
        assert_eq!(files(dir.path()), 0);
    }
}
