//! Tokens of an OpenID Connect issuer, as Bearer tokens: who they say that somebody is.
//!
//! What counts is the configuration's: the issuer, the audience, the algorithms. A token says which key signed it, and no
//! more. Whose account that is, [`identity`] decides. Nobody becomes an admin by a token.

mod fetch;
pub(super) mod identity;
mod keys;

use chrono::{DateTime, TimeDelta};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_util::task::TaskTracker;

use self::keys::Keys;
use crate::clock::{Clock, Timestamp};
use crate::config::Oidc;
use crate::error::{Error, Result};

/// Bytes of a token; issuers that put everything into theirs come to a few thousand.
const LONGEST_TOKEN: usize = 16_384;
/// Characters of a subject (OpenID Connect Core, section 2).
const LONGEST_SUBJECT: usize = 255;
/// What a token that is meant for an API calls itself (RFC 7519 section 5.1, RFC 9068 section 2.1). Others, such as those that
/// announce a logout, are not for signing in.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// Who a token says that somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// At the issuer; never given to anybody else.
    pub(super) id: String,
    pub(super) email: Option<String>,
    /// What the issuer says of the address, where it says something.
    pub(super) email_verified: Option<bool>,
    pub(super) name: Option<String>,
    /// When the token stops working, the clocks' difference allowed for.
    pub(super) expires_at: Timestamp,
}

/// The issuer that the configuration names.
#[derive(Debug)]
pub(super) struct Issuer {
    config: Oidc,
    keys: Keys,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970, with fractions where the issuer likes (RFC 7519 section 2).
    exp: f64,
    nbf: Option<f64>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Issuer {
    /// The keys are fetched when they are first needed.
    pub(super) fn new(config: &Oidc, clock: &Clock, tasks: &TaskTracker) -> Result<Self, String> {
        let keys = Keys::new(config, clock.clone(), tasks.clone())?;
        Ok(Self { config: config.clone(), keys })
    }

    /// Whether a token says that it is of this issuer. Nothing of it has been checked.
    pub(super) fn claims(&self, token: &str) -> bool {
        #[derive(Deserialize)]
        struct Origin {
            iss: String,
        }
        token.len() <= LONGEST_TOKEN
            && insecure_decode_claims::<Origin>(token).is_ok_and(|origin| origin.iss == self.config.issuer)
    }

    /// Whom a token names, where it is good.
    pub(super) async fn verify(&self, token: &str, now: Timestamp) -> Result<Subject> {
        let header = decode_header(token).map_err(|_| invalid())?;
        let typed = |typ: &String| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known));
        if header.crit.is_some() || !header.typ.as_ref().is_none_or(typed) {
            return Err(invalid());
        }
        // The token's word counts only within what the configuration and the key itself allow.
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        // `Claims` requires `exp`; see `token` for why jsonwebtoken does not check it.
        validation.set_required_spec_claims(&["iss", "aud", "sub"]);
        // Times are checked below, by the clock that tests can move.
        validation.validate_exp = false;
        let claims = decode::<Claims>(token, &key, &validation).map_err(|_| invalid())?.claims;

        let skew = TimeDelta::seconds(self.config.clock_skew_seconds.into());
        let expires_at = time(claims.exp)? + skew;
        if expires_at <= now {
            return Err(Error::Unauthenticated("The token has expired. Get another from its issuer.".into()));
        }
        if claims.nbf.map(time).transpose()?.is_some_and(|from| from - skew > now) {
            return Err(Error::Unauthenticated("The token is not good yet.".into()));
        }
        if claims.sub.is_empty() || claims.sub.chars().count() > LONGEST_SUBJECT || claims.sub.contains('\0')
        {
            return Err(invalid());
        }
        let text = |claim: &str| claims.others.get(claim).and_then(Value::as_str).map(str::to_owned);
        Ok(Subject {
            email: text(&self.config.email_claim),
            email_verified: claims.others.get("email_verified").and_then(truth),
            name: text(&self.config.name_claim),
            id: claims.sub,
            expires_at,
        })
    }

    /// What the configuration says.
    pub(super) fn config(&self) -> &Oidc {
        &self.config
    }
}

/// Some issuers write a boolean as a string.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A time of a token; none so far away that it could not be reckoned with.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn time(seconds: f64) -> Result<Timestamp> {
    const YEAR_9999: f64 = 253_402_300_799.0;
    let near = (0.0..=YEAR_9999).contains(&seconds);
    near.then(|| DateTime::from_timestamp(seconds as i64, 0)).flatten().ok_or_else(invalid)
}

fn invalid() -> Error {
    Error::Unauthenticated("The credential is not valid.".into())
}
