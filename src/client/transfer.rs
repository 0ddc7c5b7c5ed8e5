//! Uploading and downloading documents as streams.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::TryStreamExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::operations::{DeleteDocument, delete_document};
use super::{Client, ClientError, DocumentInfo, Result};
use crate::error::with_causes;

/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A document to upload.
#[derive(Debug)]
pub struct Upload<R> {
    /// The bytes.
    pub content: R,
    /// The size in bytes, if known in advance.
    pub size: Option<u64>,
    /// The file name.
    pub name: String,
    /// The MIME type; if it is `None`, the server detects it from the bytes.
    pub media_type: Option<String>,
}

impl Upload<tokio::fs::File> {
    /// Opens a local file, with its own name and the MIME type of its extension.
    pub async fn open(path: &Path) -> Result<Self> {
        let failed = |cause| ClientError::File { path: path.to_owned(), cause };
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        let metadata = file.metadata().await.map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            content: file,
            // Pipes and devices have no size.
            size: metadata.is_file().then_some(metadata.len()),
            media_type: media_type(&name),
            name,
        })
    }
}

/// Returns the MIME type of the extension of a file name.
pub(crate) fn media_type(name: &str) -> Option<String> {
    mime_guess::from_path(name).first().map(|guessed| guessed.essence_str().to_owned())
}

impl Client {
    /// Uploads a document as a stream. Calls `progress` with the number of bytes sent so far. The header `X-Name` has
    /// the name as UTF-8, without control characters, which neither the header nor the server would keep.
    pub async fn upload(
        &self,
        upload: Upload<impl AsyncRead + Send + 'static>,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<DocumentInfo> {
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let bytes = ReaderStream::with_capacity(upload.content, CHUNK_BYTES).inspect_ok(move |chunk| {
            let before = counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            progress(before + chunk.len() as u64);
        });
        let name: String = upload.name.chars().filter(|c| !c.is_control()).collect();
        let mut request = self
            .request(Method::POST, "/documents")
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(
                "X-Name",
                HeaderValue::from_bytes(name.as_bytes()).map_err(|e| ClientError::Input(e.to_string()))?,
            )
            .body(Body::wrap_stream(bytes));
        if let Some(media_type) = &upload.media_type {
            request = request.header("X-Type", media_type);
        }
        if let Some(size) = upload.size {
            // Lets the server refuse a document that is too large before it is sent.
            request = request.header(CONTENT_LENGTH, size);
        }
        let mut sending = std::pin::pin!(request.send());
        let response = loop {
            let before = sent.load(Ordering::Relaxed);
            match timeout(self.policy.stall_timeout, &mut sending).await {
                Ok(response) => break response.map_err(|error| self.request_error(error))?,
                Err(_) if sent.load(Ordering::Relaxed) == before => {
                    return Err(self.unreachable("the upload stalled"));
                }
                Err(_) => {}
            }
        };
        if !response.status().is_success() {
            return Err(self.error_from_response(response).await);
        }
        let answer = timeout(self.policy.response_timeout, response.bytes()).await;
        let bytes = answer
            .map_err(|_| self.unreachable("its response stopped halfway"))?
            .map_err(|error| self.request_error(error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ClientError::Protocol(format!("POST /documents: {error}")))
    }

    /// Writes the bytes of a document to `writer` and verifies their size and hash. After an error, discard what was
    /// written.
    pub async fn download(&self, document: &DocumentInfo, mut writer: impl AsyncWrite + Unpin) -> Result<()> {
        let request = self.request(Method::GET, &format!("/documents/{}/contents", document.id)).send();
        let mut response = timeout(self.policy.response_timeout, request)
            .await
            .map_err(|_| self.unreachable("the download did not start in time"))?
            .map_err(|error| self.request_error(error))?;
        if !response.status().is_success() {
            return Err(self.error_from_response(response).await);
        }
        let (mut hash, mut size) = (Sha256::new(), 0_u64);
        loop {
            let chunk = timeout(self.policy.stall_timeout, response.chunk())
                .await
                .map_err(|_| self.unreachable("the download stalled"))?
                .map_err(|error| self.request_error(error))?;
            let Some(chunk) = chunk else { break };
            size += chunk.len() as u64;
            if size > document.size {
                break;
            }
            hash.update(&chunk);
            writer.write_all(&chunk).await?;
        }
        writer.flush().await?;
        if size != document.size || hex::encode(hash.finalize()) != document.sha256 {
            return Err(ClientError::Protocol(format!(
                "the bytes of document {} do not match its size of {} bytes and its hash",
                document.id, document.size
            )));
        }
        Ok(())
    }

    /// Saves a document to a path, completely or not at all. Follows a symbolic link. Writes directly to a path that is
    /// not a regular file, such as a device or a pipe.
    pub(crate) async fn save(&self, document: &DocumentInfo, path: &Path) -> Result<()> {
        let failed = |cause| ClientError::File { path: path.to_owned(), cause };
        if std::fs::metadata(path).is_ok_and(|existing| !existing.is_file()) {
            let existing = tokio::fs::File::options().write(true).open(path).await.map_err(failed)?;
            return self.download(document, existing).await;
        }
        // A path that does not exist yet cannot be canonicalized.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The same mode as for any new file; the umask of the process restricts it.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let unfinished = builder.tempfile_in(folder_of(path)).map_err(failed)?;
        let file = unfinished.reopen().map_err(failed)?;
        let mut file = tokio::fs::File::from_std(file);
        self.download(document, &mut file).await.map_err(|error| match error {
            ClientError::Write(cause) => failed(cause),
            other => other,
        })?;
        file.sync_all().await.map_err(failed)?;
        unfinished.persist(path).map_err(|error| ClientError::Input(with_causes(&error)))?;
        Ok(())
    }

    /// Deletes a document that no job uses.
    pub(crate) async fn delete_document(&self, id: &str) -> Result<()> {
        self.execute::<DeleteDocument>(delete_document::Variables { id: id.to_owned() }).await.map(drop)
    }
}

/// Returns the folder that contains a path.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mime_types_follow_file_extensions() {
        for (name, expected) in [
            ("a.pdf", Some("application/pdf")),
            ("a.EPUB", Some("application/epub+zip")),
            ("b.html", Some("text/html")),
            ("c.txt", Some("text/plain")),
            ("none", None),
        ] {
            assert_eq!(media_type(name).as_deref(), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn open_errors_name_the_file() {
        let error = Upload::open(Path::new("/nowhere/a.pdf")).await.unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/a.pdf: "), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let error = Upload::open(folder.path()).await.unwrap_err().to_string();
        assert!(error.ends_with("is a directory"), "{error}");
    }

    #[tokio::test]
    async fn opened_files_have_name_type_and_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Rechnung März.pdf");
        std::fs::write(&path, "12345").unwrap();
        let upload = Upload::open(&path).await.unwrap();
        assert_eq!((upload.name.as_str(), upload.size), ("Rechnung März.pdf", Some(5)));
        assert_eq!(upload.media_type.as_deref(), Some("application/pdf"));
    }
}
