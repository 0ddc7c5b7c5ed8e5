//! Links to the contents of documents.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::account::Secrets;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::DocumentId;

/// Longest lifetime of a signed link.
pub(crate) const MAX_LINK_SECONDS: i32 = 7 * 24 * 3600;

/// Builds and verifies links to the contents of documents, plain and signed.
#[derive(Clone)]
pub struct Links {
    base: String,
    signing_key: Vec<u8>,
    /// The signing key and the previous ones.
    verifying_keys: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Links {
    /// Creates links that begin with `public_url`, signed with keys that are derived from the server's secrets.
    pub fn new(public_url: &str, secrets: &Secrets) -> Self {
        let key = |secret| mac(secret, b"docket signed links 1").finalize().into_bytes().to_vec();
        let base = public_url.trim_end_matches('/').to_owned();
        Self { base, signing_key: key(secrets.current()), verifying_keys: secrets.all().map(key).collect() }
    }

    /// Returns the plain link, which requires the credentials of the API.
    pub fn contents(&self, id: DocumentId) -> String {
        format!("{}/documents/{id}/contents", self.base)
    }

    /// Returns a signed link, which works without credentials for `seconds`.
    pub fn signed(&self, id: DocumentId, seconds: i32, now: Timestamp) -> Result<String> {
        if !(1..=MAX_LINK_SECONDS).contains(&seconds) {
            let message = format!("The lifetime of a signed link must be 1 to {MAX_LINK_SECONDS} seconds.");
            return Err(Error::invalid("/expiresInSeconds", "RANGE", message));
        }
        let expires = now.timestamp() + i64::from(seconds);
        let signature = hex::encode(sign(&self.signing_key, id, expires).finalize().into_bytes());
        Ok(format!("{}?expires={expires}&signature={signature}", self.contents(id)))
    }

    /// Returns whether the signature of a link is valid and the link has not expired.
    pub(crate) fn verify(&self, id: DocumentId, expires: i64, signature: &str, now: Timestamp) -> bool {
        let signature = hex::decode(signature).unwrap_or_default();
        let is_signed_by = |key: &Vec<u8>| sign(key, id, expires).verify_slice(&signature).is_ok();
        self.verifying_keys.iter().any(is_signed_by) && now.timestamp() < expires
    }

    /// Returns the document of a plain link of this server.
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
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts any key");
    mac.update(message);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(current: &str) -> Secrets {
        Secrets::new(current, Vec::new())
    }

    #[test]
    fn signed_link_is_valid_for_its_document_until_it_expires() {
        let links = Links::new("http://localhost:1/", &secrets("secret"));
        let (id, now) = (DocumentId::new(), Timestamp::UNIX_EPOCH);
        let link = links.signed(id, 60, now).unwrap();
        let signature = link.rsplit_once('=').unwrap().1;
        let later = |s| now + chrono::TimeDelta::seconds(s);
        assert!(links.verify(id, 60, signature, later(59)));
        assert!(!links.verify(id, 60, signature, later(60)), "expired");
        assert!(!links.verify(id, 61, signature, now), "another expiry");
        assert!(!links.verify(DocumentId::new(), 60, signature, now), "another document");
        assert!(!links.verify(id, 60, "", now));
        let other = |secrets| Links::new("http://localhost:1", &secrets);
        assert!(!other(secrets("other")).verify(id, 60, signature, now));
        let rotated = other(Secrets::new("other", vec![b"secret".into()]));
        assert!(rotated.verify(id, 60, signature, later(59)), "links of the previous secret stay valid");
        assert!(!rotated.verify(id, 60, signature, later(60)));
        assert!(links.signed(id, 0, now).is_err());
    }

    #[test]
    fn links_of_other_servers_are_not_parsed() {
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
