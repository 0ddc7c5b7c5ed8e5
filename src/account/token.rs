//! Tokens that `signIn` gives: JWT (RFC 7519), always HS256, whatever a token says of itself.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chrono::{DateTime, TimeDelta};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::UserId;

const ISSUER: &str = "docket";
const AUDIENCE: &str = "docket-api";
/// Bytes of a generated secret.
const SECRET_BYTES: usize = 32;

/// A token and when it runs out.
#[derive(Debug, Clone)]
pub struct Token {
    /// The JWT.
    pub text: String,
    /// Its `exp`.
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
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    lifetime: TimeDelta,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(super) fn new(secret: &[u8], lifetime_seconds: u32) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The time is checked below by the clock that tests can move.
        validation.validate_exp = false;
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            lifetime: TimeDelta::seconds(lifetime_seconds.into()),
        }
    }

    pub(super) fn issue(&self, account: UserId, now: Timestamp) -> Result<Token> {
        let exp = (now + self.lifetime).timestamp();
        let claims =
            Claims { iss: ISSUER.into(), aud: AUDIENCE.into(), sub: account, iat: now.timestamp(), exp };
        let text = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(Error::internal)?;
        Ok(Token { text, expires_at: DateTime::from_timestamp(exp, 0).unwrap_or(now) })
    }

    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<(UserId, Timestamp)> {
        let invalid = || Error::Unauthenticated("The credential is not valid.".into());
        let data =
            jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation).map_err(|_| invalid())?;
        let expires_at = DateTime::from_timestamp(data.claims.exp, 0).ok_or_else(invalid)?;
        if expires_at <= now {
            return Err(Error::Unauthenticated("The token has expired. Sign in again.".into()));
        }
        Ok((data.claims.sub, expires_at))
    }
}

/// The secret in `path`, made there with mode 0600 where there is none. Of two processes that start at once, one makes
/// it and the other reads it: the file appears under its name only when it is whole.
pub fn load_or_make_secret(path: &Path) -> std::io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let secret: [u8; SECRET_BYTES] = rand::random();
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::read(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_token_names_its_account_until_it_expires() {
        let tokens = Tokens::new(&[7; 32], 60);
        let ada = UserId::new();
        let token = tokens.issue(ada, at(1_000)).unwrap();
        assert_eq!(tokens.verify(&token.text, at(1_059)), Ok((ada, at(1_060))));
        assert!(matches!(tokens.verify(&token.text, at(1_060)), Err(Error::Unauthenticated(_))));
    }

    #[test]
    fn nobody_elses_token_passes() {
        let tokens = Tokens::new(&[7; 32], 60);
        let foreign = Tokens::new(&[8; 32], 60).issue(UserId::new(), at(0)).unwrap();
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
    fn the_secret_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt.key");
        let made = load_or_make_secret(&path).unwrap();
        assert_eq!(made.len(), SECRET_BYTES);
        assert_eq!(load_or_make_secret(&path).unwrap(), made);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }
}
