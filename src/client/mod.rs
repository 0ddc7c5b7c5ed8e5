//! The command line's side of the API: one server, as one person, over HTTP and WebSocket.
//!
//! Everything goes through one HTTP client, WebSockets included, so that certificates, proxies and time limits are the
//! same for all. The credential goes to the server's own address only: no URL out of an answer is ever fetched, and no
//! redirect followed.
//!
//! | module | what it owns |
//! |---|---|
//! | [`error`] | what goes wrong, in words for people |
//! | [`transfer`] | documents up and down |
//! | `socket` | one WebSocket connection with one subscription (graphql-transport-ws) |
//! | `subscribe` | a subscription that outlives its connections |
//! | [`job`] | jobs: create, watch, find contents |
//! | [`metadata`] | metadata as people write it |
//! | [`progress`] | what a person sees of all that: a bar, or lines |

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::Secret;

pub mod error;
pub mod job;
pub mod metadata;
pub mod progress;
mod socket;
mod subscribe;
pub mod transfer;

pub use error::{ApiError, ClientError, Result};
pub use job::{Job, JobStatus, NewJob};
pub use progress::Console;
pub use transfer::{DocumentInfo, Upload};

use error::{printable, with_causes};

/// Characters of an unexpected answer that are shown.
const SHOWN_CHARS: usize = 500;

/// How long things may take, and how often they are tried.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until a connection is there.
    pub connect: Duration,
    /// Until a request without a document is answered.
    pub answer: Duration,
    /// Without a byte moving in an upload or download.
    pub stall: Duration,
    /// Without a word on a WebSocket: then it is asked for a sign of life, and left after as long again.
    pub idle: Duration,
    /// Attempts in a row to go on with a subscription.
    pub attempts: u32,
    /// Before the first of those; each later wait is twice as long.
    pub first_wait: Duration,
    /// The longest such wait. A connection that held longer makes the count start anew.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            attempts: 10,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(10),
        }
    }
}

impl Patience {
    /// Before the given attempt, from 1. The random part keeps clients of a restarted server from coming all at once.
    fn wait(&self, attempt: u32) -> Duration {
        let doubled = self.first_wait.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.longest_wait).mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// A server and who asks it. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    credential: Option<Secret>,
    patience: Patience,
}

impl Client {
    /// For the server at an address such as `http://127.0.0.1:8080`; a path before the API's own is kept. The credential
    /// is an access token or an API key. Nothing is sent yet.
    pub fn new(server: &str, credential: Option<Secret>) -> Result<Self> {
        Self::with_patience(server, credential, Patience::default())
    }

    /// The same with other limits.
    pub fn with_patience(server: &str, credential: Option<Secret>, patience: Patience) -> Result<Self> {
        let base = address(server)?;
        if let Some(credential) = &credential {
            let fits = HeaderValue::from_str(credential.expose()).is_ok();
            if !fits || credential.expose().is_empty() {
                let problem = "The token is empty or has characters that no token has, such as a line break.";
                return Err(ClientError::Input(problem.into()));
            }
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("docket/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .redirect(reqwest::redirect::Policy::none());
        // Fails only where a provider is installed already, and any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        if base.scheme() == "http" {
            // Without TLS no certificates are needed, and a machine without any can still talk to its own server.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ClientError::Input(with_causes(&error)))?;
        Ok(Self { http, base, credential, patience })
    }

    /// The server's address, without a slash at its end.
    pub fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The same server as the person with this e-mail address and password. The access token that the server gives ends
    /// after the time that it is configured for.
    pub async fn sign_in(self, email: &str, password: &Secret) -> Result<Self> {
        const SIGN_IN: &str = "mutation ($input: SignInInput!) { signIn(input: $input) { accessToken } }";
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct SignedIn {
            access_token: Secret,
        }
        let input = json!({"input": {"email": email, "password": password.expose()}});
        let signed_in: SignedIn = field(self.graphql(SIGN_IN, input).await?, "signIn")?;
        Ok(Self { credential: Some(signed_in.access_token), ..self })
    }

    /// Runs a query or mutation and gives its `data`. Any error in the answer is an error here, partial data or not.
    pub async fn graphql(&self, query: &str, variables: Value) -> Result<Value> {
        let response = self
            .request(Method::POST, "/graphql")
            .header(ACCEPT, "application/graphql-response+json, application/json;q=0.9")
            .timeout(self.patience.answer)
            .json(&json!({"query": query, "variables": variables}))
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let (status, location) = (response.status(), redirected(&response));
        let bytes = response.bytes().await.map_err(|error| self.unreachable(error))?;
        match serde_json::from_slice::<Execution>(&bytes) {
            Ok(execution) if !execution.is_empty() => execution.into_data(),
            _ => Err(unexpected(status, location, &bytes)),
        }
    }

    /// A request to a path of the server, with the credential.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.anonymous(method, path);
        match &self.credential {
            Some(credential) => request.bearer_auth(credential.expose()),
            None => request,
        }
    }

    fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        self.http.request(method, url)
    }

    fn unreachable(&self, error: reqwest::Error) -> ClientError {
        if error.is_builder() {
            // The request itself is not one: a header has characters that none may have.
            return ClientError::Input(with_causes(&error));
        }
        self.broken(&error.without_url())
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        self.silent(&with_causes(error))
    }

    fn silent(&self, cause: &str) -> ClientError {
        ClientError::Unreachable { server: self.server().to_owned(), cause: cause.to_owned() }
    }

    /// What an answer without success says.
    async fn refusal(&self, response: Response) -> ClientError {
        let (status, location) = (response.status(), redirected(&response));
        match tokio::time::timeout(self.patience.answer, response.bytes()).await {
            Ok(Ok(bytes)) => match serde_json::from_slice::<Execution>(&bytes) {
                Ok(Execution { errors, .. }) if !errors.is_empty() => ClientError::Api(errors),
                _ => unexpected(status, location, &bytes),
            },
            Ok(Err(error)) => self.unreachable(error),
            Err(_) => self.silent("its answer stopped half-way"),
        }
    }
}

/// An answer to a GraphQL operation, or one event of a subscription.
#[derive(Debug, Deserialize)]
struct Execution {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<ApiError>,
}

impl Execution {
    /// Whether it is JSON of something else.
    fn is_empty(&self) -> bool {
        self.data.is_none() && self.errors.is_empty()
    }

    fn into_data(self) -> Result<Value> {
        match self.data {
            Some(data) if self.errors.is_empty() => Ok(data),
            None if self.errors.is_empty() => Err(ClientError::Protocol("neither data nor errors".into())),
            _ => Err(ClientError::Api(self.errors)),
        }
    }
}

/// A field of the `data` of an answer, as its type.
pub(crate) fn field<T: DeserializeOwned>(mut data: Value, name: &str) -> Result<T> {
    let value = data.get_mut(name).map(Value::take).unwrap_or_default();
    serde_json::from_value(value).map_err(|error| ClientError::Protocol(format!("{name}: {error}")))
}

fn address(server: &str) -> Result<Url> {
    let wrong = |problem: &str| {
        ClientError::Input(format!(
            "{:?} is not a server's address: {problem}. One is http://127.0.0.1:8080 or https://docket.example.org.",
            printable(server)
        ))
    };
    let url = Url::parse(server).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("a name and password do not belong in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has a query or fragment"));
    }
    Ok(url)
}

/// Whether the server is on this machine, where no proxy leads.
fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

fn redirected(response: &Response) -> Option<String> {
    response.headers().get(LOCATION).map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned())
}

fn unexpected(status: StatusCode, location: Option<String>, body: &[u8]) -> ClientError {
    let answer = match location.filter(|_| status.is_redirection()) {
        Some(location) => {
            format!("it points to {}; give the address that it points to", printable(&location))
        }
        None => {
            let body: String = String::from_utf8_lossy(body).chars().take(SHOWN_CHARS).collect();
            match body.trim() {
                "" => "nothing more".into(),
                body => printable(body).into_owned(),
            }
        }
    };
    ClientError::Status { status, answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["http://127.0.0.1:8080", "https://docket.example.org/api/", "http://[::1]:80"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:8080", "ftp://x", "http://", "http://a:b@host", "http://host/?q", "", "/x"] {
            let error = address(bad).unwrap_err().to_string();
            assert!(error.contains("is not a server's address"), "{error}");
        }
    }

    #[test]
    fn paths_follow_the_base() {
        let client = Client::new("http://h/api/", None).unwrap();
        let request = client.request(Method::GET, "/graphql").build().unwrap();
        assert_eq!(request.url().as_str(), "http://h/api/graphql");
        assert_eq!(client.server(), "http://h/api");
        let client = Client::new("http://h", None).unwrap();
        assert_eq!(
            client.request(Method::GET, "/graphql").build().unwrap().url().as_str(),
            "http://h/graphql"
        );
    }

    #[test]
    fn credentials_are_sent_as_bearer_and_checked() {
        let client = Client::new("http://h", Some(Secret::from("abc".to_owned()))).unwrap();
        let request = client.request(Method::GET, "/x").build().unwrap();
        assert_eq!(request.headers()["authorization"], "Bearer abc");
        assert!(
            client.anonymous(Method::GET, "/x").build().unwrap().headers().get("authorization").is_none()
        );
        for wrong in ["two\nlines", ""] {
            assert!(Client::new("http://h", Some(Secret::from(wrong.to_owned()))).is_err());
        }
    }

    #[test]
    fn loopback_has_no_proxy() {
        for (url, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("http://10.0.0.1", false),
            ("https://example.org", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn waits_grow_to_their_bound() {
        let patience = Patience::default();
        for attempt in 1..=40 {
            let full = patience
                .first_wait
                .saturating_mul(2_u32.saturating_pow(attempt - 1))
                .min(patience.longest_wait);
            let wait = patience.wait(attempt);
            assert!(wait <= full && wait >= full / 2, "{attempt}: {wait:?}");
        }
    }

    #[test]
    fn partial_data_is_an_error() {
        let execution: Execution =
            serde_json::from_value(json!({"data": {"a": 1}, "errors": [{"message": "b"}]})).unwrap();
        assert!(matches!(execution.into_data(), Err(ClientError::Api(errors)) if errors.len() == 1));
    }
}
