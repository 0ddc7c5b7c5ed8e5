//! Signatures of the Standard Webhooks specification: HMAC-SHA256 of ID, time and body.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Timestamp;
use crate::entity::webhook::{self, SigningSecret};
use crate::error::{Error, Result};
use crate::id::DeliveryId;

/// The prefix of every secret.
const PREFIX: &str = "whsec_";

/// Generates a secret of 32 random bytes.
pub(super) fn secret() -> SigningSecret {
    let random: [u8; 32] = rand::random();
    SigningSecret(format!("{PREFIX}{}", BASE64_STANDARD.encode(random)))
}

/// Returns the header `webhook-signature`, signed with the secret, and with the previous one until it expires.
pub(super) fn sign(webhook: &webhook::Model, id: DeliveryId, at: Timestamp, body: &str) -> Result<String> {
    let old =
        webhook.old_secret.as_ref().filter(|_| webhook.old_secret_until.is_some_and(|until| at < until));
    let signatures: Result<Vec<_>> = [Some(&webhook.secret), old]
        .into_iter()
        .flatten()
        .map(|secret| signature(secret, id, at, body))
        .collect();
    Ok(signatures?.join(" "))
}

fn signature(secret: &SigningSecret, id: DeliveryId, at: Timestamp, body: &str) -> Result<String> {
    let key = secret.0.strip_prefix(PREFIX).and_then(|text| BASE64_STANDARD.decode(text).ok());
    let key = key.ok_or_else(|| Error::internal("the secret of a webhook is invalid"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(Error::internal)?;
    mac.update(format!("{id}.{}.{body}", at.timestamp()).as_bytes());
    Ok(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn secrets_are_random_and_never_printed() {
        let (one, other) = (secret(), secret());
        assert_ne!(one, other);
        let bytes = BASE64_STANDARD.decode(one.0.strip_prefix("whsec_").unwrap()).unwrap();
        assert_eq!(bytes.len(), 32);
        assert_eq!(format!("{one:?}"), "(redacted)");
    }

    /// Computed with openssl: `printf '%s' "$id.1614265330.{}" | openssl dgst -sha256 -mac HMAC -macopt hexkey:…
    /// -binary | base64`.
    #[test]
    fn signature_equals_the_one_computed_by_openssl() {
        let secret = SigningSecret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into());
        let id = DeliveryId::parse("01936b1e-7a00-7000-8000-000000000001").unwrap();
        let at = DateTime::from_timestamp(1_614_265_330, 0).unwrap();
        let expected = "v1,p7451jtRTyjPdp8mQFzwAzWEMiAtvalI656Yi4gsPzg=";
        assert_eq!(signature(&secret, id, at, "{}").unwrap(), expected);
    }
}
