//! An OpenID Connect issuer for tests: it publishes keys, signs tokens and counts requests for its keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header};
use reqwest::StatusCode;
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The response of the issuer to a request for its key set.
#[derive(Debug, Clone)]
pub(crate) enum KeySetReply {
    /// A key set with these keys.
    Keys(Vec<Value>),
    /// A redirect.
    Redirect,
    /// The status 500.
    Error,
    /// A key set of more than 1 MiB.
    TooLarge,
}

/// A running issuer, which stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Issuer {
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    reply: Mutex<KeySetReply>,
    fetches: AtomicUsize,
}

/// A key with which the issuer signs tokens.
#[derive(Clone)]
pub(crate) struct SigningKey {
    pub(crate) kid: &'static str,
    pub(crate) algorithm: Algorithm,
    pair: KeyPair,
}

#[derive(Clone)]
enum KeyPair {
    Rsa(Arc<rsa::KeyPair>),
    Ec(Arc<EcdsaKeyPair>),
}

/// The RSA key of RFC 7515, appendix A.2, for all tests: *ring* generates no RSA keys.
static RSA_JWK: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("rfc7515-rsa-key.json")).expect("JSON"));

impl SigningKey {
    /// Returns the shared RSA key with this key ID.
    pub(crate) fn rsa(kid: &'static str) -> Self {
        let part = |name: &str| {
            BASE64_URL_SAFE_NO_PAD.decode(RSA_JWK[name].as_str().expect("text")).expect("base64url")
        };
        let components = rsa::KeyPairComponents {
            public_key: rsa::PublicKeyComponents { n: part("n"), e: part("e") },
            d: part("d"),
            p: part("p"),
            q: part("q"),
            dP: part("dp"),
            dQ: part("dq"),
            qInv: part("qi"),
        };
        let pair = rsa::KeyPair::from_components(&components).expect("a key");
        Self { kid, algorithm: Algorithm::RS256, pair: KeyPair::Rsa(Arc::new(pair)) }
    }

    /// Creates a key on the curve P-256.
    pub(crate) fn ec(kid: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key");
        Self { kid, algorithm: Algorithm::ES256, pair: KeyPair::Ec(Arc::new(pair)) }
    }

    /// Returns the public key.
    pub(crate) fn public_jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            KeyPair::Rsa(_) => json!({"kty": "RSA", "n": RSA_JWK["n"], "e": RSA_JWK["e"]}),
            KeyPair::Ec(pair) => {
                // An uncompressed point: a byte 4, x and y.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let encode = |number: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(number);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
        };
        jwk["alg"] = json!(self.algorithm);
        jwk["kid"] = json!(self.kid);
        jwk
    }

    /// Signs a token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) };
        self.sign_with(&header, claims)
    }

    /// Signs a token with this header.
    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        let header_json = serde_json::to_vec(header).expect("JSON");
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let message = format!("{}.{}", encode(&header_json), encode(claims.to_string().as_bytes()));
        let random = SystemRandom::new();
        let signature = match (&self.pair, header.alg) {
            (KeyPair::Rsa(pair), Algorithm::RS256 | Algorithm::RS512) => {
                let encoding =
                    if header.alg == Algorithm::RS512 { &RSA_PKCS1_SHA512 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, message.as_bytes(), &mut signature).expect("a signature");
                signature
            }
            (KeyPair::Ec(pair), Algorithm::ES256) => {
                pair.sign(&random, message.as_bytes()).expect("a signature").as_ref().to_vec()
            }
            (_, algorithm) => panic!("this key does not sign with {algorithm:?}"),
        };
        format!("{message}.{}", encode(&signature))
    }
}

impl Issuer {
    /// Starts an issuer that publishes no keys.
    pub(crate) async fn start() -> Self {
        // This fails only if a provider is already installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/realm", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            url,
            reply: Mutex::new(KeySetReply::Keys(Vec::new())),
            fetches: AtomicUsize::new(0),
        });
        let routes = Router::new()
            .route("/realm/.well-known/openid-configuration", get(metadata))
            .route("/realm/keys", get(keys))
            .with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, routes).await.expect("the issuer ends with the test");
        });
        Self { shared, _server: server }
    }

    /// Returns the value of `iss` in its tokens.
    pub(crate) fn url(&self) -> &str {
        &self.shared.url
    }

    /// Sets the response to requests for its keys.
    pub(crate) fn publish(&self, reply: KeySetReply) {
        *self.shared.reply.lock().expect("the lock is not poisoned") = reply;
    }

    /// Replaces the published keys.
    pub(crate) fn publish_keys(&self, keys: &[&SigningKey]) {
        self.publish(KeySetReply::Keys(keys.iter().map(|key| key.public_jwk()).collect()));
    }

    /// Returns the number of requests for its keys.
    pub(crate) fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Response {
    let keys = format!("{}/keys", shared.url);
    axum::Json(
        json!({"issuer": shared.url, "jwks_uri": keys, "id_token_signing_alg_values_supported": ["none"]}),
    )
    .into_response()
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let reply = shared.reply.lock().expect("the lock is not poisoned").clone();
    match reply {
        KeySetReply::Keys(keys) => axum::Json(json!({"keys": keys})).into_response(),
        KeySetReply::Redirect => {
            let redirect = Redirect::temporary("/realm/keys").into_response();
            assert!(redirect.headers().contains_key(LOCATION));
            redirect
        }
        KeySetReply::Error => (StatusCode::INTERNAL_SERVER_ERROR, "no").into_response(),
        KeySetReply::TooLarge => {
            axum::Json(json!({"keys": [], "padding": "x".repeat(1 << 20)})).into_response()
        }
    }
}
