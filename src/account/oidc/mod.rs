//! Verifies Bearer tokens of an OpenID Connect issuer.
//!
//! The configuration decides the issuer, the audience and the algorithms; a token only names the key that signed it.
//! [`identity`] maps the subject to an account. A token never makes its user an admin.

mod fetch;
pub(super) mod identity;
mod keys;

use chrono::{DateTime, TimeDelta};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_util::task::TaskTracker;

use self::keys::{Keys, invalid};
use super::crypto::install_provider;
use crate::clock::{Clock, Timestamp};
use crate::config::Oidc;
use crate::error::{Error, Result};

/// Maximum length of a token in bytes; the largest tokens of common issuers have a few thousand.
const MAX_TOKEN_BYTES: usize = 16_384;
/// Maximum length of a subject in characters (OpenID Connect Core, section 2).
const MAX_SUBJECT_CHARS: usize = 255;
/// Accepted values of `typ` (RFC 7519 section 5.1, RFC 9068 section 2.1). Other tokens, such as logout tokens, are not
/// for signing in.
const TOKEN_TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// The user that a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// ID at the issuer, which never reassigns it.
    pub(super) id: String,
    pub(super) email: Option<String>,
    /// Whether the issuer has verified the address; `None` if the token does not say.
    pub(super) email_verified: Option<bool>,
    pub(super) name: Option<String>,
    /// When the token expires, with the allowed clock skew added.
    pub(super) expires_at: Timestamp,
}

/// The configured issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    config: Oidc,
    keys: Keys,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970, possibly with a fraction (RFC 7519 section 2).
    exp: f64,
    nbf: Option<f64>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Issuer {
    /// Creates the issuer; its keys are fetched when they are first needed.
    pub(super) fn new(config: &Oidc, clock: &Clock, tasks: &TaskTracker) -> Result<Self, String> {
        install_provider();
        let keys = Keys::new(config, clock.clone(), tasks.clone())?;
        Ok(Self { config: config.clone(), keys })
    }

    /// Returns whether a token claims to be of this issuer. It is not verified yet.
    pub(super) fn is_issuer_of(&self, token: &str) -> bool {
        #[derive(Deserialize)]
        struct Origin {
            iss: String,
        }
        token.len() <= MAX_TOKEN_BYTES
            && insecure_decode_claims::<Origin>(token).is_ok_and(|origin| origin.iss == self.config.issuer)
    }

    /// Verifies a token and returns its subject.
    pub(super) async fn verify(&self, token: &str, now: Timestamp) -> Result<Subject> {
        let header = decode_header(token).map_err(|_| invalid())?;
        let is_known_type = |typ: &String| TOKEN_TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known));
        if header.crit.is_some() || !header.typ.as_ref().is_none_or(is_known_type) {
            return Err(invalid());
        }
        // The token may choose only among the algorithms that the configuration and the key allow.
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        // `Claims` requires `exp`; see `token` for why jsonwebtoken does not check it.
        validation.set_required_spec_claims(&["iss", "aud", "sub"]);
        // The times are checked below, with the clock that tests can move.
        validation.validate_exp = false;
        let claims = decode::<Claims>(token, &key, &validation).map_err(|_| invalid())?.claims;

        let skew = TimeDelta::seconds(self.config.clock_skew_seconds.into());
        let expires_at = parse_time(claims.exp)? + skew;
        if expires_at <= now {
            return Err(Error::Unauthenticated(
                "The token has expired. Get a new one from its issuer.".into(),
            ));
        }
        if claims.nbf.map(parse_time).transpose()?.is_some_and(|from| from - skew > now) {
            return Err(Error::Unauthenticated("The token is not valid yet.".into()));
        }
        if claims.sub.is_empty()
            || claims.sub.chars().count() > MAX_SUBJECT_CHARS
            || claims.sub.contains('\0')
        {
            return Err(invalid());
        }
        let text = |claim: &str| claims.other.get(claim).and_then(Value::as_str).map(str::to_owned);
        Ok(Subject {
            email: text(&self.config.email_claim),
            email_verified: claims.other.get("email_verified").and_then(parse_bool),
            name: text(&self.config.name_claim),
            id: claims.sub,
            expires_at,
        })
    }

    pub(super) fn config(&self) -> &Oidc {
        &self.config
    }
}

/// Parses a boolean; some issuers write it as a string.
fn parse_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(boolean) => Some(*boolean),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Parses a time of a token and refuses times outside the years 1970 to 9999, for which arithmetic could fail.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn parse_time(seconds: f64) -> Result<Timestamp> {
    const YEAR_9999: f64 = 253_402_300_799.0;
    let is_in_range = (0.0..=YEAR_9999).contains(&seconds);
    is_in_range.then(|| DateTime::from_timestamp(seconds as i64, 0)).flatten().ok_or_else(invalid)
}
