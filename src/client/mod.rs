//! An API client for the command line: one server, one user, over HTTP and WebSocket.
//!
//! All requests go through one HTTP client, WebSockets included, so that they share certificates, proxies and timeouts.
//! The credential goes to the configured server only: the client never fetches URLs from responses and follows no
//! redirects.
//!
//! | module | content |
//! |---|---|
//! | [`error`] | errors, as messages for people |
//! | [`transfer`] | uploading and downloading documents |
//! | `socket` | one WebSocket connection with one subscription (graphql-transport-ws) |
//! | `subscribe` | a subscription that reconnects |
//! | [`operations`] | the GraphQL operations, with types that are generated from the schema |
//! | `job` | jobs: create, watch, find contents |
//! | [`metadata`] | metadata from the command line and from files |
//! | [`progress`] | progress as a bar or as lines |

use std::time::Duration;

use graphql_client::GraphQLQuery;
use reqwest::header::{ACCEPT, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Secret, is_loopback};
use crate::error::with_causes;

pub mod error;
mod job;
pub mod metadata;
pub mod operations;
pub mod progress;
mod socket;
mod subscribe;
pub(crate) mod transfer;

pub(crate) use error::ClientError;
pub use error::{ApiError, Result};
pub use operations::{DocumentInfo, Job, JobStatus};
pub(crate) use progress::Console;
pub use transfer::Upload;

use error::printable;
use operations::{SignIn, SignInInput, sign_in};

/// Characters of an unexpected response that are shown.
const MAX_SHOWN_CHARS: usize = 500;

/// The timeouts of a client, and its retries of subscriptions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionPolicy {
    /// Time to connect.
    pub(crate) connect_timeout: Duration,
    /// Time until the response to a request without a document.
    pub(crate) response_timeout: Duration,
    /// Time without a transferred byte in an upload or download.
    pub(crate) stall_timeout: Duration,
    /// Time without a message on a WebSocket, after which the client sends a ping; it gives up after the same time
    /// again.
    pub(crate) idle_timeout: Duration,
    /// Consecutive attempts to reconnect a subscription.
    pub max_attempts: u32,
    /// Backoff before the first attempt; it doubles with each further one.
    pub(crate) initial_backoff: Duration,
    /// Maximum backoff. A connection that lasted this long resets the number of attempts.
    pub(crate) max_backoff: Duration,
}

impl Default for ConnectionPolicy {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            max_attempts: 10,
            initial_backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(10),
        }
    }
}

impl ConnectionPolicy {
    /// Returns the backoff before an attempt, counted from 1. Jitter spreads the clients of a restarted server.
    fn backoff(&self, attempt: u32) -> Duration {
        let doubled = self.initial_backoff.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.max_backoff).mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// A client for one server and one credential. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    credential: Option<Secret>,
    policy: ConnectionPolicy,
}

impl Client {
    /// Creates a client for a server at a URL such as `http://127.0.0.1:8080`, to whose path the paths of the API are
    /// appended. The credential is an access token or an API key. Sends no request.
    pub fn new(server: &str, credential: Option<Secret>) -> Result<Self> {
        Self::with_policy(server, credential, ConnectionPolicy::default())
    }

    /// Creates a client with other timeouts and retries than the defaults.
    pub(crate) fn with_policy(
        server: &str,
        credential: Option<Secret>,
        policy: ConnectionPolicy,
    ) -> Result<Self> {
        let base = parse_server_url(server)?;
        if let Some(credential) = &credential {
            let is_valid = HeaderValue::from_str(credential.expose()).is_ok();
            if !is_valid || credential.expose().is_empty() {
                let problem =
                    "The token is empty or contains characters that are not allowed, such as a line break.";
                return Err(ClientError::Input(problem.into()));
            }
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("docket/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(policy.connect_timeout)
            .redirect(reqwest::redirect::Policy::none());
        // Fails without harm if another provider is already installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        if base.scheme() == "http" {
            // Plain HTTP needs no certificates, so it works on a machine that has none.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ClientError::Input(with_causes(&error)))?;
        Ok(Self { http, base, credential, policy })
    }

    /// Returns the URL of the server, without a trailing slash.
    pub fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Returns a client for the same server that is signed in as a user. The access token expires after the time that
    /// the server is configured for.
    pub async fn sign_in(self, email: &str, password: &Secret) -> Result<Self> {
        let input = SignInInput { email: email.to_owned(), password: password.expose().to_owned() };
        let data = self.execute::<SignIn>(sign_in::Variables { input }).await?;
        Ok(Self { credential: Some(Secret::from(data.sign_in.access_token)), ..self })
    }

    /// Runs a query or mutation and returns its `data`. Any error in the response is an error, even with partial data.
    pub async fn execute<Q: GraphQLQuery>(&self, variables: Q::Variables) -> Result<Q::ResponseData> {
        let response = self
            .request(Method::POST, "/graphql")
            .header(ACCEPT, "application/graphql-response+json, application/json;q=0.9")
            .timeout(self.policy.response_timeout)
            .json(&Q::build_query(variables))
            .send()
            .await
            .map_err(|error| self.request_error(error))?;
        let (status, location) = (response.status(), redirect_location(&response));
        let bytes = response.bytes().await.map_err(|error| self.request_error(error))?;
        match serde_json::from_slice::<Execution>(&bytes) {
            Ok(execution) if !execution.is_empty() => parse_data(execution.into_data()?),
            _ => Err(unexpected_response(status, location, &bytes)),
        }
    }

    /// Starts a request to a path of the server, with the credential.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.request_without_credential(method, path);
        match &self.credential {
            Some(credential) => request.bearer_auth(credential.expose()),
            None => request,
        }
    }

    fn request_without_credential(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        self.http.request(method, url)
    }

    fn request_error(&self, error: reqwest::Error) -> ClientError {
        if error.is_builder() {
            // The request is not valid: a header has a character that is not allowed.
            return ClientError::Input(with_causes(&error));
        }
        self.connection_error(&error.without_url())
    }

    fn connection_error(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        self.unreachable(&with_causes(error))
    }

    fn unreachable(&self, cause: &str) -> ClientError {
        ClientError::Unreachable { server: self.server().to_owned(), cause: cause.to_owned() }
    }

    /// Converts an unsuccessful response to an error.
    async fn error_from_response(&self, response: Response) -> ClientError {
        let (status, location) = (response.status(), redirect_location(&response));
        match tokio::time::timeout(self.policy.response_timeout, response.bytes()).await {
            Ok(Ok(bytes)) => match serde_json::from_slice::<Execution>(&bytes) {
                Ok(Execution { errors, .. }) if !errors.is_empty() => ClientError::Api(errors),
                _ => unexpected_response(status, location, &bytes),
            },
            Ok(Err(error)) => self.request_error(error),
            Err(_) => self.unreachable("its response stopped halfway"),
        }
    }
}

/// A GraphQL response, or one event of a subscription.
#[derive(Debug, Deserialize)]
struct Execution {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<ApiError>,
}

impl Execution {
    /// Returns whether the JSON is not a GraphQL response.
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

/// Deserializes the `data` of a response. An error names its field; each operation of the client has only one.
fn parse_data<T: DeserializeOwned>(data: Value) -> Result<T> {
    let field = data.as_object().and_then(|fields| fields.keys().next().cloned());
    serde_json::from_value(data).map_err(|error| {
        ClientError::Protocol(format!("{}: {error}", field.as_deref().map_or("data".into(), printable)))
    })
}

fn parse_server_url(server: &str) -> Result<Url> {
    let invalid = |problem: &str| {
        ClientError::Input(format!(
            "{:?} is not a valid server URL: {problem}. Examples are http://127.0.0.1:8080 and https://docket.example.org.",
            printable(server)
        ))
    };
    let url = Url::parse(server).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it must not contain a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("it must not contain a query or fragment"));
    }
    Ok(url)
}

fn redirect_location(response: &Response) -> Option<String> {
    response.headers().get(LOCATION).map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned())
}

fn unexpected_response(status: StatusCode, location: Option<String>, body: &[u8]) -> ClientError {
    let answer = match location.filter(|_| status.is_redirection()) {
        Some(location) => {
            format!("redirect to {}; use that URL instead", printable(&location))
        }
        None => {
            let body: String = String::from_utf8_lossy(body).chars().take(MAX_SHOWN_CHARS).collect();
            match body.trim() {
                "" => "no further information".into(),
                body => printable(body).into_owned(),
            }
        }
    };
    ClientError::Status { status, answer }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn server_urls_are_checked() {
        for good in ["http://127.0.0.1:8080", "https://docket.example.org/api/", "http://[::1]:80"] {
            assert!(parse_server_url(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:8080", "ftp://x", "http://", "http://a:b@host", "http://host/?q", "", "/x"] {
            let error = parse_server_url(bad).unwrap_err().to_string();
            assert!(error.contains("is not a valid server URL"), "{error}");
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
            client
                .request_without_credential(Method::GET, "/x")
                .build()
                .unwrap()
                .headers()
                .get("authorization")
                .is_none()
        );
        for wrong in ["two\nlines", ""] {
            assert!(Client::new("http://h", Some(Secret::from(wrong.to_owned()))).is_err());
        }
    }

    #[test]
    fn backoff_grows_to_its_maximum() {
        let policy = ConnectionPolicy::default();
        for attempt in 1..=40 {
            let full = policy
                .initial_backoff
                .saturating_mul(2_u32.saturating_pow(attempt - 1))
                .min(policy.max_backoff);
            let wait = policy.backoff(attempt);
            assert!(wait <= full && wait >= full / 2, "{attempt}: {wait:?}");
        }
    }

    #[test]
    fn partial_data_is_an_error() {
        let execution: Execution =
            serde_json::from_value(json!({"data": {"a": 1}, "errors": [{"message": "b"}]})).unwrap();
        assert!(matches!(execution.into_data(), Err(ClientError::Api(errors)) if errors.len() == 1));
    }

    #[test]
    fn unexpected_data_is_reported_with_its_field() {
        let parse =
            |data| parse_data::<sign_in::ResponseData>(data).map(drop).map_err(|error| error.to_string());
        assert_eq!(parse(json!({"signIn": {"accessToken": "t"}})), Ok(()));
        let error = parse(json!({"signIn": {"accessToken": null}})).unwrap_err();
        assert!(
            error.starts_with("unexpected response from the server: signIn: invalid type: null"),
            "{error}"
        );
    }
}
