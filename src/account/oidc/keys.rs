//! The issuer's keys: fetched when they are needed, kept, and fetched again when they are old or a token names one that is not
//! there. However many tokens name made-up keys, the issuer is asked once in `oidc.retry_seconds`.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::fetch::Fetch;
use super::invalid;
use crate::clock::{Clock, Timestamp};
use crate::config::Oidc;
use crate::error::{Error, Result};

/// Keys that could not be fetched anew count for so many times `oidc.keys_seconds`: the issuer may have taken one back.
const STALE_FACTOR: i32 = 24;
/// Keys of one issuer.
const MOST_KEYS: usize = 100;
/// Bytes of the modulus of an RSA key (RFC 7518 section 3.3).
const SHORTEST_MODULUS: usize = 256;

#[derive(Debug)]
pub(super) struct Keys {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    fetch: Fetch,
    clock: Clock,
    algorithms: Vec<Algorithm>,
    fresh: TimeDelta,
    retry: TimeDelta,
    known: RwLock<Known>,
    /// Whoever fetches.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<[Key]>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    decoding: DecodingKey,
    /// What it may verify.
    algorithms: Vec<Algorithm>,
}

impl Keys {
    pub(super) fn new(config: &Oidc, clock: Clock, tasks: TaskTracker) -> Result<Self, String> {
        let shared = Shared {
            fetch: Fetch::new(config)?,
            clock,
            algorithms: config.algorithms.clone(),
            fresh: TimeDelta::seconds(config.keys_seconds.into()),
            retry: TimeDelta::seconds(config.retry_seconds.into()),
            known: RwLock::default(),
            turn: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared), tasks })
    }

    /// The key that a token names, where it may verify this algorithm. UNAVAILABLE where the issuer's keys are not known.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey> {
        if !self.shared.algorithms.contains(&algorithm) {
            return Err(invalid());
        }
        let (keys, age) = self.shared.known();
        let found = named(&keys, kid, algorithm);
        let fresh = age.is_some_and(|age| age < self.shared.fresh);
        let usable = age.is_some_and(|age| age < self.shared.fresh * STALE_FACTOR);
        match found {
            Some(key) if fresh => return Ok(key),
            // Somebody else fetches; until then the old one is good enough.
            Some(key) if usable && self.shared.turn.try_lock().is_err() => return Ok(key),
            _ => {}
        }
        // In a task of its own: a client that goes away in the middle would have used up the issuer's turn for nothing.
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move { shared.refresh(age).await }).await.map_err(Error::internal)?;
        let (keys, age) = self.shared.known();
        if age.is_none_or(|age| age >= self.shared.fresh * STALE_FACTOR) {
            let message = "The keys of the token's issuer cannot be fetched just now. Try again shortly.";
            return Err(Error::Unavailable(message.into()));
        }
        named(&keys, kid, algorithm).ok_or_else(invalid)
    }
}

impl Shared {
    /// The keys, and how old they are; no age where there are none.
    fn known(&self) -> (Arc<[Key]>, Option<TimeDelta>) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes them old, not new for ever.
        let age = known.fetched_at.map(|at| (self.clock.now() - at).abs());
        (Arc::clone(&known.keys), age)
    }

    /// Fetches the keys, unless somebody has since these were looked at, or has tried just now.
    async fn refresh(&self, seen: Option<TimeDelta>) {
        let _turn = self.turn.lock().await;
        let now = self.clock.now();
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let newer = known.fetched_at.is_some_and(|at| seen.is_none_or(|seen| (now - at).abs() < seen));
            if newer || known.tried_at.is_some_and(|at| (now - at).abs() < self.retry) {
                return;
            }
            known.tried_at = Some(now);
        }
        match self.fetch.keys().await {
            Ok(set) => {
                let keys: Arc<[Key]> =
                    set.keys.into_iter().take(MOST_KEYS).filter_map(|key| self.key(key)).collect();
                tracing::info!(keys = keys.len(), "the keys of the OpenID Connect issuer were fetched");
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                (known.keys, known.fetched_at) = (keys, Some(now));
            }
            Err(error) => {
                tracing::warn!(error, "the keys of the OpenID Connect issuer could not be fetched");
            }
        }
    }

    /// A key of a set, where it is one that can verify a signature by an algorithm of the configuration.
    fn key(&self, json: Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let mut algorithms = fitting(&jwk.algorithm);
        algorithms.retain(|algorithm| self.algorithms.contains(algorithm));
        if let Some(only) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == only);
        }
        if algorithms.is_empty() {
            return None;
        }
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Key { kid: jwk.common.key_id, decoding, algorithms })
    }
}

/// What a key can verify by its kind. A symmetric one verifies nothing: whoever can read it could sign.
fn fitting(key: &AlgorithmParameters) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

    match key {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = BASE64_URL_SAFE_NO_PAD.decode(&rsa.n).unwrap_or_default();
            let long = modulus.len() >= SHORTEST_MODULUS;
            if long { vec![RS256, RS384, RS512, PS256, PS384, PS512] } else { Vec::new() }
        }
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => Vec::new(),
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => vec![EdDSA],
        _ => Vec::new(),
    }
}

/// The key of this name; without a name the only one that fits, if it is the only one.
fn named(keys: &[Key], kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let mut fit = keys.iter().filter(|key| key.algorithms.contains(&algorithm));
    match kid {
        Some(kid) => fit.find(|key| key.kid.as_deref() == Some(kid)).map(|key| key.decoding.clone()),
        None => match (fit.next(), fit.next()) {
            (Some(only), None) => Some(only.decoding.clone()),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Config, Flags};

    fn keys(configure: impl FnOnce(&mut Oidc)) -> Keys {
        let mut config = Config::load(None, &Flags::default()).unwrap().oidc;
        config.issuer = "http://127.0.0.1:1".into();
        configure(&mut config);
        drop(rustls::crypto::ring::default_provider().install_default());
        Keys::new(&config, Clock::default(), TaskTracker::new()).unwrap()
    }

    #[tokio::test]
    async fn keys_verify_only_what_they_are_for() {
        let keys = keys(|_| ());
        let long = BASE64_URL_SAFE_NO_PAD.encode([0xAB; 256]);
        let rsa = json!({"kty": "RSA", "n": long, "e": "AQAB"});
        let with = |further: Value| {
            let mut key = rsa.clone();
            key.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
            keys.shared.key(key).map(|key| key.algorithms)
        };
        assert_eq!(with(json!({})), Some(vec![Algorithm::RS256]), "of those that are configured");
        assert_eq!(with(json!({"use": "sig", "alg": "RS256"})), Some(vec![Algorithm::RS256]));
        assert_eq!(with(json!({"use": "enc"})), None);
        assert_eq!(with(json!({"alg": "RS512"})), None, "not configured");
        assert_eq!(with(json!({"alg": "RSA-OAEP"})), None);
        assert_eq!(with(json!({"n": BASE64_URL_SAFE_NO_PAD.encode([0xAB; 128])})), None, "too short");
        let symmetric = json!({"kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode([7; 32]), "alg": "HS256"});
        assert!(keys.shared.key(symmetric).is_none());
        assert!(keys.shared.key(json!({"kty": "new", "x": 1})).is_none());
    }

    #[tokio::test]
    async fn an_issuer_that_says_nothing_is_waited_for_so_long() {
        // Connections are made, and nobody reads what comes over them.
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = mute.local_addr().unwrap();
        let keys = keys(|config| {
            config.jwks_url = format!("http://{address}/keys");
            config.fetch_seconds = 1;
        });
        let found = keys.find(Some("a"), Algorithm::RS256);
        let found = tokio::time::timeout(std::time::Duration::from_secs(60), found).await;
        assert!(matches!(found, Ok(Err(Error::Unavailable(_)))));
    }

    #[tokio::test]
    async fn without_any_keys_nobody_is_called_a_liar() {
        let keys = keys(|config| config.retry_seconds = 60);
        for _ in 0..2 {
            let found = keys.find(Some("a"), Algorithm::RS256).await;
            assert!(matches!(found, Err(Error::Unavailable(_))), "the issuer cannot be reached");
        }
        let found = keys.find(Some("a"), Algorithm::RS384).await;
        assert!(
            matches!(found, Err(Error::Unauthenticated(_))),
            "for what nobody configured there is no need to"
        );
    }
}
