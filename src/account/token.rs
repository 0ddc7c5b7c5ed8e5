//! Access tokens of `signIn`: JWT (RFC 7519), always HS256, whatever the token itself claims. `kid` names the secret
//! that signed a token, so that a new secret does not invalidate older tokens.

use chrono::{DateTime, TimeDelta};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode_header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::crypto::install_provider;
use super::secret::Secrets;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::UserId;

const ISSUER: &str = "docket";
const AUDIENCE: &str = "docket-api";

/// An access token with its expiry.
#[derive(Debug, Clone)]
pub struct Token {
    /// The JWT.
    pub text: String,
    /// The time in its `exp` claim.
    pub expires_at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    iat: i64,
    exp: i64,
}

pub(super) struct Tokens {
    header: Header,
    encoding: EncodingKey,
    /// Verifying keys with their `kid`.
    decoding: Vec<(String, DecodingKey)>,
    validation: Validation,
    lifetime: TimeDelta,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(super) fn new(secrets: &Secrets, lifetime_seconds: u32) -> Self {
        install_provider();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        // `Claims` requires `exp`. jsonwebtoken cannot read a number while serde_json keeps all digits, so the time is
        // checked below, with the clock that tests can move.
        validation.set_required_spec_claims(&["iss", "aud", "sub"]);
        validation.validate_exp = false;
        Self {
            header: Header { kid: Some(key_id(secrets.current())), ..Header::new(Algorithm::HS256) },
            encoding: EncodingKey::from_secret(secrets.current()),
            decoding: secrets
                .all()
                .map(|secret| (key_id(secret), DecodingKey::from_secret(secret)))
                .collect(),
            validation,
            lifetime: TimeDelta::seconds(lifetime_seconds.into()),
        }
    }

    pub(super) fn issue(&self, account: UserId, now: Timestamp) -> Result<Token> {
        let exp = (now + self.lifetime).timestamp();
        let claims =
            Claims { iss: ISSUER.into(), aud: AUDIENCE.into(), sub: account, iat: now.timestamp(), exp };
        let text = jsonwebtoken::encode(&self.header, &claims, &self.encoding).map_err(Error::internal)?;
        Ok(Token { text, expires_at: DateTime::from_timestamp(exp, 0).unwrap_or(now) })
    }

    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<(UserId, Timestamp)> {
        let invalid = || Error::Unauthenticated("The credential is not valid.".into());
        let named = decode_header(token).map_err(|_| invalid())?.kid;
        // Tokens of earlier versions have no `kid`.
        let mut keys =
            self.decoding.iter().filter(|(kid, _)| named.as_ref().is_none_or(|named| named == kid));
        let read = |(_, key): &(String, DecodingKey)| {
            jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok()
        };
        let data = keys.find_map(read).ok_or_else(invalid)?;
        let expires_at = DateTime::from_timestamp(data.claims.exp, 0).ok_or_else(invalid)?;
        if expires_at <= now {
            return Err(Error::Unauthenticated("The token has expired. Sign in again.".into()));
        }
        Ok((data.claims.sub, expires_at))
    }
}

/// Returns an ID for a secret that reveals nothing about it.
fn key_id(secret: &[u8]) -> String {
    let hash = Sha256::new().chain_update(b"docket token key 1\0").chain_update(secret).finalize();
    hex::encode(&hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn tokens(secret: u8, previous: &[u8]) -> Tokens {
        let previous = previous.iter().map(|secret| vec![*secret; 32]).collect();
        Tokens::new(&Secrets::new([secret; 32], previous), 60)
    }

    #[test]
    fn token_names_its_account_until_it_expires() {
        let tokens = tokens(7, &[]);
        let ada = UserId::new();
        let token = tokens.issue(ada, at(1_000)).unwrap();
        assert_eq!(tokens.verify(&token.text, at(1_059)), Ok((ada, at(1_060))));
        assert!(matches!(tokens.verify(&token.text, at(1_060)), Err(Error::Unauthenticated(_))));
    }

    #[test]
    fn foreign_and_malformed_tokens_are_refused() {
        let foreign = tokens(8, &[]).issue(UserId::new(), at(0)).unwrap();
        let tokens = tokens(7, &[9]);
        assert!(tokens.verify(&foreign.text, at(1)).is_err(), "another secret");

        let claims =
            serde_json::json!({"iss": ISSUER, "aud": AUDIENCE, "sub": UserId::new(), "iat": 0, "exp": 60});
        let signed = |header, claims: &serde_json::Value| {
            jsonwebtoken::encode(&Header::new(header), claims, &EncodingKey::from_secret(&[7; 32])).unwrap()
        };
        assert!(tokens.verify(&signed(Algorithm::HS256, &claims), at(1)).is_ok());
        assert!(tokens.verify(&signed(Algorithm::HS512, &claims), at(1)).is_err(), "another algorithm");
        for key in ["iss", "aud", "sub", "exp"] {
            let mut without = claims.clone();
            without.as_object_mut().unwrap().remove(key);
            assert!(tokens.verify(&signed(Algorithm::HS256, &without), at(1)).is_err(), "without {key}");
        }
        let unsigned = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJkb2NrZXQifQ.";
        assert!(tokens.verify(unsigned, at(1)).is_err());
    }

    #[test]
    fn rotation_keeps_tokens_of_the_previous_secret_valid() {
        let ada = UserId::new();
        let before = tokens(7, &[]).issue(ada, at(0)).unwrap().text;
        let rotated = tokens(8, &[7]);
        assert_eq!(rotated.verify(&before, at(1)), Ok((ada, at(60))));
        let after = rotated.issue(ada, at(0)).unwrap().text;
        assert!(tokens(8, &[]).verify(&after, at(1)).is_ok(), "the new secret signs");
        assert!(tokens(8, &[]).verify(&before, at(1)).is_err());
        let header = Header { kid: Some(key_id(&[7; 32])), ..Header::new(Algorithm::HS256) };
        let claims = Claims { iss: ISSUER.into(), aud: AUDIENCE.into(), sub: ada, iat: 0, exp: 60 };
        let misnamed = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&[8; 32])).unwrap();
        assert!(rotated.verify(&misnamed, at(1)).is_err(), "only the secret with this kid is tried");
        let nameless = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(&[7; 32]));
        assert!(rotated.verify(&nameless.unwrap(), at(1)).is_ok(), "tokens of earlier versions have no kid");
    }
}
