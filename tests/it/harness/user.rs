//! Users and their requests over HTTP.

use docket::access::Actor;
use docket::id::{JobId, UserId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::app::TestApp;
use super::response::{ApiError, GqlResponse};
use super::socket::{Socket, Subscription};

/// A client of the server, with or without an account.
#[derive(Debug, Clone)]
pub(crate) struct User {
    app: TestApp,
    pub(crate) name: String,
    id: Option<UserId>,
    authorization: Option<String>,
}

/// Parses the ID of a job.
pub(crate) fn job_id(id: &str) -> JobId {
    JobId::parse(id).expect("the ID of a job")
}

/// Returns a path with percent-encoded query parameters.
pub(crate) fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let pairs: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

impl User {
    pub(super) fn new(app: TestApp, name: &str, id: Option<UserId>, authorization: Option<String>) -> Self {
        Self { app, name: name.to_owned(), id, authorization }
    }

    /// Returns the ID of the account.
    pub(crate) fn id(&self) -> String {
        self.id.expect("a user with an account").to_string()
    }

    /// Returns the name of the account, if there is one.
    pub(crate) fn account_name(&self) -> Option<&str> {
        self.id.map(|_| self.name.as_str())
    }

    /// Returns the email address of the account.
    pub(crate) fn email(&self) -> String {
        format!("{}@example.com", self.name)
    }

    /// Returns the API key.
    pub(crate) fn secret(&self) -> &str {
        let authorization = self.authorization.as_deref().expect("a user with a key");
        authorization.strip_prefix("Bearer ").expect("a bearer token")
    }

    /// Returns the [`Actor`] of the API key.
    pub(crate) async fn actor(&self) -> Actor {
        self.app.accounts.authenticate(self.secret(), None).await.expect("a valid key")
    }

    /// Builds a request to a path or URL with the credentials of the user.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.app.http().request(method, self.app.url(path));
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    /// Runs a query or mutation that succeeds, and returns its data.
    pub(crate) async fn gql(&self, query: &str, variables: Value) -> Value {
        let response = self.execute(query, variables).await;
        assert!(response.errors.is_empty(), "{}: {query}\nfailed with {:#?}", self.name, response.errors);
        response.data
    }

    /// Runs a query or mutation, and returns its data or its first error.
    pub(crate) async fn try_gql(&self, query: &str, variables: Value) -> Result<Value, ApiError> {
        self.execute(query, variables).await.into_data()
    }

    /// Runs a query or mutation that fails, and returns its first error.
    pub(crate) async fn gql_err(&self, query: &str, variables: Value) -> ApiError {
        match self.try_gql(query, variables).await {
            Err(error) => error,
            Ok(data) => panic!("{}: {query}\nshould fail, but returned {data:#}", self.name),
        }
    }

    /// Runs a query or mutation, and returns its complete response.
    pub(crate) async fn execute(&self, query: &str, variables: Value) -> GqlResponse {
        self.execute_body(json!({"query": query, "variables": variables})).await
    }

    /// Sends a body to `POST /graphql`, and returns the complete response.
    pub(crate) async fn execute_body(&self, body: Value) -> GqlResponse {
        self.send_gql(self.request(Method::POST, "/graphql").json(&body)).await
    }

    /// Sends a request, and parses its response as GraphQL.
    pub(crate) async fn send_gql(&self, request: RequestBuilder) -> GqlResponse {
        let request = request.header("Accept", "application/graphql-response+json");
        let response = request.send().await.expect("a response");
        let status = response.status();
        let text = response.text().await.expect("a complete response");
        let mut body: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}, not JSON: {text}"));
        let errors = body["errors"].take();
        let errors =
            if errors.is_null() { Vec::new() } else { serde_json::from_value(errors).expect("errors") };
        GqlResponse { status, data: body["data"].take(), errors }
    }

    /// Uploads bytes, and returns the ID of the document.
    pub(crate) async fn upload(&self, bytes: impl Into<Vec<u8>>, name: &str, media_type: &str) -> String {
        let request =
            self.request(Method::POST, "/documents").header("X-Name", name).header("X-Type", media_type);
        let response = request.body(bytes.into()).send().await.expect("a response");
        assert_eq!(response.status(), 201, "{} uploaded {name}", self.name);
        let document: Value = response.json().await.expect("a document");
        text(&document["id"])
    }

    /// Creates a job with this `CreateJobInput`, and returns its ID.
    ///
    /// The default input is a new document with a short text, the default type `noop`.
    pub(crate) async fn create_job(&self, input: Value) -> String {
        let input = self.job_input(input).await;
        let query = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
        text(&self.gql(query, json!({"in": input})).await["createJob"]["job"]["id"])
    }

    /// Returns the input that [`User::create_job`] sends.
    pub(crate) async fn job_input(&self, mut input: Value) -> Value {
        if input["type"].is_null() {
            input["type"] = json!("noop");
        }
        if input["input"].is_null() {
            let document = self.upload("Invoice No 7\nTotal 12.00\n", "invoice.txt", "text/plain").await;
            input["input"] = json!({"documentId": document});
        }
        input
    }

    /// Creates a job of the type `noop`, whose three steps do nothing.
    pub(crate) async fn noop_job(&self) -> String {
        self.create_job(json!({})).await
    }

    /// Creates a data point extraction job for a short text with these collaborators.
    pub(crate) async fn extraction_job(&self, collaboration: Value) -> String {
        self.put_taxonomy("invoices").await;
        let metadata = json!({"mapping.taxonomy": "invoices"});
        let input =
            json!({"type": "data-point-extraction", "metadata": metadata, "collaboration": collaboration});
        self.create_job(input).await
    }

    /// Stores a taxonomy with one data point, the number of an invoice.
    pub(crate) async fn put_taxonomy(&self, name: &str) {
        let point = json!({"name": "invoice.number", "type": "code", "labels": ["Invoice No"]});
        let definition = json!({"name": name, "data_points": [point]});
        let query = "mutation($in: PutTaxonomyInput!) { putTaxonomy(input: $in) { taxonomy { id } } }";
        self.gql(query, json!({"in": {"name": name, "definition": definition}})).await;
    }

    /// Creates a team of this user and others, and returns its ID.
    pub(crate) async fn team(&self, name: &str, others: &[&Self]) -> String {
        let create = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
        let team = text(&self.gql(create, json!({"in": {"name": name}})).await["createTeam"]["team"]["id"]);
        let add = "mutation($in: TeamMemberInput!) { addTeamMember(input: $in) { team { id } } }";
        for other in others {
            self.gql(add, json!({"in": {"teamId": team, "userId": other.id()}})).await;
        }
        team
    }

    /// Returns fields of a job that the user can see.
    pub(crate) async fn job(&self, id: &str, fields: &str) -> Value {
        let query = format!("query($id: ID!) {{ job(id: $id) {{ {fields} }} }}");
        self.gql(&query, json!({"id": id})).await["job"].take()
    }

    /// Returns the status of a job that the user can see.
    pub(crate) async fn status(&self, id: &str) -> String {
        text(&self.job(id, "status").await["status"])
    }

    /// Starts a subscription on its own WebSocket.
    pub(crate) async fn subscribe(&self, query: &str, variables: Value) -> Subscription {
        let socket = self.socket().await;
        Subscription::start(socket, query, &variables).await
    }

    /// Opens a WebSocket and authenticates it by `connection_init`.
    pub(crate) async fn socket(&self) -> Socket {
        let mut socket = Socket::open(&self.app).await;
        let payload = self.authorization.as_ref().map_or_else(|| json!({}), |a| json!({"Authorization": a}));
        socket.send(&json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.receive().await, json!({"type": "connection_ack"}));
        socket
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected a string, got {value}")).to_owned()
}
