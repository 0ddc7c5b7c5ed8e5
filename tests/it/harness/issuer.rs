//! An OpenID Connect issuer for tests: it publishes keys, signs tokens and counts requests for its keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::pkcs8::EncodePrivateKey;
use reqwest::StatusCode;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::rand_core::OsRng;
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
    encoding: EncodingKey,
}

/// The RSA key of all tests, because its generation takes seconds.
static RSA: LazyLock<EncodingKey> = LazyLock::new(|| {
    let key = rsa::RsaPrivateKey::new(&mut OsRng, 2048).expect("a key");
    EncodingKey::from_rsa_der(key.to_pkcs1_der().expect("a key").as_bytes())
});

impl SigningKey {
    /// Returns the shared RSA key with this key ID.
    pub(crate) fn rsa(kid: &'static str) -> Self {
        Self { kid, algorithm: Algorithm::RS256, encoding: RSA.clone() }
    }

    /// Creates a key on the curve P-256.
    pub(crate) fn ec(kid: &'static str) -> Self {
        let key = p256::SecretKey::random(&mut OsRng).to_pkcs8_der().expect("a key");
        Self { kid, algorithm: Algorithm::ES256, encoding: EncodingKey::from_ec_der(key.as_bytes()) }
    }

    /// Returns the public key.
    pub(crate) fn public_jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.encoding, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).expect("JSON")
    }

    /// Signs a token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) };
        self.sign_with(&header, claims)
    }

    /// Signs a token with this header.
    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.encoding).expect("a token")
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
