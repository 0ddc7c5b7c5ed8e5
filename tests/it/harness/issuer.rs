//! An OpenID Connect issuer of the test's own: it publishes keys, signs what it is told to, and counts who asks.

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

/// What the issuer says when it is asked for its keys.
#[derive(Debug, Clone)]
pub(crate) enum Published {
    /// These.
    Keys(Vec<Value>),
    /// That they are somewhere else.
    Elsewhere,
    /// Nothing that makes sense.
    Broken,
    /// More than anybody needs.
    TooMuch,
}

/// An issuer that listens; it stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Issuer {
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    published: Mutex<Published>,
    fetches: AtomicUsize,
}

/// A key that the issuer signs with.
#[derive(Clone)]
pub(crate) struct SigningKey {
    pub(crate) kid: &'static str,
    pub(crate) algorithm: Algorithm,
    encoding: EncodingKey,
}

/// Making one takes seconds.
static RSA: LazyLock<EncodingKey> = LazyLock::new(|| {
    let key = rsa::RsaPrivateKey::new(&mut OsRng, 2048).expect("a key");
    EncodingKey::from_rsa_der(key.to_pkcs1_der().expect("a key").as_bytes())
});

impl SigningKey {
    /// The RSA key, under a name; it is the same one always.
    pub(crate) fn rsa(kid: &'static str) -> Self {
        Self { kid, algorithm: Algorithm::RS256, encoding: RSA.clone() }
    }

    /// A new key on the curve P-256.
    pub(crate) fn ec(kid: &'static str) -> Self {
        let key = p256::SecretKey::random(&mut OsRng).to_pkcs8_der().expect("a key");
        Self { kid, algorithm: Algorithm::ES256, encoding: EncodingKey::from_ec_der(key.as_bytes()) }
    }

    /// What is published of it.
    pub(crate) fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.encoding, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).expect("JSON")
    }

    /// A token of these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) };
        self.sign_with(&header, claims)
    }

    /// A token with a header of its own.
    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.encoding).expect("a token")
    }
}

impl Issuer {
    /// Starts one that publishes no keys yet.
    pub(crate) async fn start() -> Self {
        // Fails only where there is a provider already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/realm", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            url,
            published: Mutex::new(Published::Keys(Vec::new())),
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

    /// What its tokens have in `iss`.
    pub(crate) fn url(&self) -> &str {
        &self.shared.url
    }

    /// What it says from now on.
    pub(crate) fn publish(&self, published: Published) {
        *self.shared.published.lock().expect("nobody panics here") = published;
    }

    /// The keys that it publishes from now on.
    pub(crate) fn publish_keys(&self, keys: &[&SigningKey]) {
        self.publish(Published::Keys(keys.iter().map(|key| key.public()).collect()));
    }

    /// How often it was asked for its keys.
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
    let published = shared.published.lock().expect("nobody panics here").clone();
    match published {
        Published::Keys(keys) => axum::Json(json!({"keys": keys})).into_response(),
        Published::Elsewhere => {
            let redirect = Redirect::temporary("/realm/keys").into_response();
            assert!(redirect.headers().contains_key(LOCATION));
            redirect
        }
        Published::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "no").into_response(),
        Published::TooMuch => axum::Json(json!({"keys": [], "padding": "x".repeat(1 << 20)})).into_response(),
    }
}
