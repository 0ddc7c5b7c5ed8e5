//! The issuer's keys: fetched when they are first needed, cached, and fetched again when they are stale or a token
//! names an unknown key. Tokens with made-up key names cause at most one fetch in `oidc.retry_seconds`.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::fetch::KeyFetcher;
use crate::clock::{Clock, Timestamp};
use crate::config::Oidc;
use crate::error::{Error, Result};

/// Multiple of `oidc.keys_seconds` after which keys that cannot be refreshed expire: the issuer may have revoked one.
const STALE_FACTOR: i32 = 24;
/// Maximum number of keys of the issuer.
const MAX_KEYS: usize = 100;
/// Minimum length of the modulus of an RSA key in bytes (RFC 7518 section 3.3).
const MIN_MODULUS_BYTES: usize = 256;

#[derive(Debug)]
pub(super) struct Keys {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    fetcher: KeyFetcher,
    clock: Clock,
    algorithms: Vec<Algorithm>,
    fresh: TimeDelta,
    retry: TimeDelta,
    cache: RwLock<CachedKeys>,
    /// Held while the keys are fetched.
    fetch_lock: Mutex<()>,
}

#[derive(Debug, Default)]
struct CachedKeys {
    keys: Arc<[Key]>,
    fetched_at: Option<Timestamp>,
    attempted_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    decoding: DecodingKey,
    /// Algorithms that the key may verify.
    algorithms: Vec<Algorithm>,
}

impl Keys {
    pub(super) fn new(config: &Oidc, clock: Clock, tasks: TaskTracker) -> Result<Self, String> {
        let shared = Shared {
            fetcher: KeyFetcher::new(config)?,
            clock,
            algorithms: config.algorithms.clone(),
            fresh: TimeDelta::seconds(config.keys_seconds.into()),
            retry: TimeDelta::seconds(config.retry_seconds.into()),
            cache: RwLock::default(),
            fetch_lock: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared), tasks })
    }

    /// Returns the key that a token names, if it may verify `algorithm`. Returns UNAVAILABLE while the issuer's keys
    /// are unknown.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey> {
        if !self.shared.algorithms.contains(&algorithm) {
            return Err(invalid());
        }
        let (keys, age) = self.shared.cached();
        let found = select_key(&keys, kid, algorithm);
        let fresh = age.is_some_and(|age| age < self.shared.fresh);
        let usable = age.is_some_and(|age| age < self.shared.fresh * STALE_FACTOR);
        match found {
            Some(key) if fresh => return Ok(key),
            // Another task fetches; until it has finished, the stale key is good enough.
            Some(key) if usable && self.shared.fetch_lock.try_lock().is_err() => return Ok(key),
            _ => {}
        }
        // In a task of its own: a client that disconnects would otherwise use up the one fetch in `retry_seconds`.
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move { shared.refresh(age).await }).await.map_err(Error::internal)?;
        let (keys, age) = self.shared.cached();
        if age.is_none_or(|age| age >= self.shared.fresh * STALE_FACTOR) {
            let message =
                "The keys of the token's issuer cannot be fetched at the moment. Try again shortly.";
            return Err(Error::Unavailable(message.into()));
        }
        select_key(&keys, kid, algorithm).ok_or_else(invalid)
    }
}

impl Shared {
    /// Returns the cached keys and their age; the age is `None` before the first fetch.
    fn cached(&self) -> (Arc<[Key]>, Option<TimeDelta>) {
        let cached = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes the keys look old, not fresh forever.
        let age = cached.fetched_at.map(|at| (self.clock.now() - at).abs());
        (Arc::clone(&cached.keys), age)
    }

    /// Fetches the keys, unless another task has fetched them since `seen` was read, or has tried recently.
    async fn refresh(&self, seen: Option<TimeDelta>) {
        let _guard = self.fetch_lock.lock().await;
        let now = self.clock.now();
        {
            let mut cached = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            let newer = cached.fetched_at.is_some_and(|at| seen.is_none_or(|seen| (now - at).abs() < seen));
            if newer || cached.attempted_at.is_some_and(|at| (now - at).abs() < self.retry) {
                return;
            }
            cached.attempted_at = Some(now);
        }
        match self.fetcher.fetch_keys().await {
            Ok(set) => {
                let keys: Arc<[Key]> =
                    set.keys.into_iter().take(MAX_KEYS).filter_map(|key| self.parse_key(key)).collect();
                tracing::info!(keys = keys.len(), "fetched the keys of the OpenID Connect issuer");
                let mut cached = self.cache.write().unwrap_or_else(PoisonError::into_inner);
                (cached.keys, cached.fetched_at) = (keys, Some(now));
            }
            Err(error) => {
                tracing::warn!(error, "could not fetch the keys of the OpenID Connect issuer");
            }
        }
    }

    /// Parses a key of a set; returns `None` unless it can verify signatures with a configured algorithm.
    fn parse_key(&self, json: Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let mut algorithms = supported_algorithms(&jwk.algorithm);
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

/// Returns the algorithms that a key of this type can verify: none for a symmetric key, whose readers could sign.
fn supported_algorithms(key: &AlgorithmParameters) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

    match key {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = BASE64_URL_SAFE_NO_PAD.decode(&rsa.n).unwrap_or_default();
            let long = modulus.len() >= MIN_MODULUS_BYTES;
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

/// Returns the key with this ID; without an ID, the only key for the algorithm, if there is exactly one.
fn select_key(keys: &[Key], kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let mut candidates = keys.iter().filter(|key| key.algorithms.contains(&algorithm));
    match kid {
        Some(kid) => candidates.find(|key| key.kid.as_deref() == Some(kid)).map(|key| key.decoding.clone()),
        None => match (candidates.next(), candidates.next()) {
            (Some(only), None) => Some(only.decoding.clone()),
            _ => None,
        },
    }
}

/// The error for a token that does not verify. It does not say why.
pub(super) fn invalid() -> Error {
    Error::Unauthenticated("The credential is not valid.".into())
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
    async fn keys_verify_only_their_own_algorithms() {
        let keys = keys(|_| ());
        let long = BASE64_URL_SAFE_NO_PAD.encode([0xAB; 256]);
        let rsa = json!({"kty": "RSA", "n": long, "e": "AQAB"});
        let with = |further: Value| {
            let mut key = rsa.clone();
            key.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
            keys.shared.parse_key(key).map(|key| key.algorithms)
        };
        assert_eq!(with(json!({})), Some(vec![Algorithm::RS256]), "only configured algorithms");
        assert_eq!(with(json!({"use": "sig", "alg": "RS256"})), Some(vec![Algorithm::RS256]));
        assert_eq!(with(json!({"use": "enc"})), None);
        assert_eq!(with(json!({"alg": "RS512"})), None, "not configured");
        assert_eq!(with(json!({"alg": "RSA-OAEP"})), None);
        assert_eq!(with(json!({"n": BASE64_URL_SAFE_NO_PAD.encode([0xAB; 128])})), None, "too short");
        let symmetric = json!({"kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode([7; 32]), "alg": "HS256"});
        assert!(keys.shared.parse_key(symmetric).is_none());
        assert!(keys.shared.parse_key(json!({"kty": "new", "x": 1})).is_none());
    }

    #[tokio::test]
    async fn fetch_from_a_silent_issuer_times_out() {
        // The kernel accepts connections, but no code reads from them.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let keys = keys(|config| {
            config.jwks_url = format!("http://{address}/keys");
            config.fetch_seconds = 1;
        });
        let found = keys.find(Some("a"), Algorithm::RS256);
        let found = tokio::time::timeout(std::time::Duration::from_secs(60), found).await;
        assert!(matches!(found, Ok(Err(Error::Unavailable(_)))));
    }

    #[tokio::test]
    async fn unknown_keys_give_unavailable_instead_of_unauthenticated() {
        let keys = keys(|config| config.retry_seconds = 60);
        for _ in 0..2 {
            let found = keys.find(Some("a"), Algorithm::RS256).await;
            assert!(matches!(found, Err(Error::Unavailable(_))), "the issuer cannot be reached");
        }
        let found = keys.find(Some("a"), Algorithm::RS384).await;
        assert!(
            matches!(found, Err(Error::Unauthenticated(_))),
            "an algorithm that is not configured needs no keys"
        );
    }
}
