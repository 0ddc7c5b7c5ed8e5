//! People, and what they ask of the server over HTTP.

use docket::access::Actor;
use docket::id::{JobId, UserId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::answer::{Answer, ApiError};
use super::app::TestApp;
use super::socket::{Socket, Subscription};

/// A person, or nobody, in front of the server.
#[derive(Debug, Clone)]
pub(crate) struct User {
    app: TestApp,
    pub(crate) name: String,
    id: Option<UserId>,
    authorization: Option<String>,
}

/// The ID of a job as the domain knows it.
pub(crate) fn job_id(id: &str) -> JobId {
    JobId::parse(id).expect("the ID of a job")
}

/// A path with parameters.
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

    /// UUID of the account.
    pub(crate) fn id(&self) -> String {
        self.id.expect("a person with an account").to_string()
    }

    /// The name, where there is an account.
    pub(crate) fn has_account(&self) -> Option<&str> {
        self.id.map(|_| self.name.as_str())
    }

    /// Address of the account.
    pub(crate) fn email(&self) -> String {
        format!("{}@example.com", self.name)
    }

    /// The API key.
    pub(crate) fn secret(&self) -> &str {
        let authorization = self.authorization.as_deref().expect("a person with a key");
        authorization.strip_prefix("Bearer ").expect("a bearer")
    }

    /// The person as the domain knows them.
    pub(crate) async fn actor(&self) -> Actor {
        self.app.accounts.authenticate(self.secret(), None).await.expect("a good key")
    }

    /// A request to a path, or to a whole URL, with the person's credential.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.app.http().request(method, self.app.url(path));
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    /// The data of a query or mutation in which nothing goes wrong.
    pub(crate) async fn gql(&self, query: &str, variables: Value) -> Value {
        let answer = self.ask(query, variables).await;
        assert!(answer.errors.is_empty(), "{} asked {query}\nand got {:#?}", self.name, answer.errors);
        answer.data
    }

    /// The data of a query or mutation, or its first error.
    pub(crate) async fn try_gql(&self, query: &str, variables: Value) -> Result<Value, ApiError> {
        self.ask(query, variables).await.into_data()
    }

    /// The first error of a query or mutation in which something goes wrong.
    pub(crate) async fn refused(&self, query: &str, variables: Value) -> ApiError {
        match self.try_gql(query, variables).await {
            Err(error) => error,
            Ok(data) => panic!("{} asked {query}\nand should not have got {data:#}", self.name),
        }
    }

    /// The whole answer to a query or mutation.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Answer {
        self.ask_with(json!({"query": query, "variables": variables})).await
    }

    /// The whole answer to a body of `POST /graphql`.
    pub(crate) async fn ask_with(&self, body: Value) -> Answer {
        self.answer(self.request(Method::POST, "/graphql").json(&body)).await
    }

    /// Sends a request and reads its answer as GraphQL's.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Answer {
        let request = request.header("Accept", "application/graphql-response+json");
        let response = request.send().await.expect("the server answers");
        let status = response.status();
        let text = response.text().await.expect("a whole answer");
        let mut answer: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}, not JSON: {text}"));
        let errors = answer["errors"].take();
        let errors =
            if errors.is_null() { Vec::new() } else { serde_json::from_value(errors).expect("errors") };
        Answer { status, data: answer["data"].take(), errors }
    }

    /// Uploads bytes; the ID of the document.
    pub(crate) async fn upload(&self, bytes: impl Into<Vec<u8>>, name: &str, media_type: &str) -> String {
        let request =
            self.request(Method::POST, "/documents").header("X-Name", name).header("X-Type", media_type);
        let response = request.body(bytes.into()).send().await.expect("the server answers");
        assert_eq!(response.status(), 201, "{} uploaded {name}", self.name);
        let document: Value = response.json().await.expect("a document");
        text(&document["id"])
    }

    /// A job of the given `CreateJobInput`; where it names no input, a short text is uploaded for it, and where it names
    /// no type, it does nothing.
    pub(crate) async fn create_job(&self, input: Value) -> String {
        let input = self.job_input(input).await;
        let query = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
        text(&self.gql(query, json!({"in": input})).await["createJob"]["job"]["id"])
    }

    /// What [`User::create_job`] sends.
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

    /// A job whose three steps do nothing.
    pub(crate) async fn noop_job(&self) -> String {
        self.create_job(json!({})).await
    }

    /// A job that looks for values in a short text, shared as given.
    pub(crate) async fn extraction_job(&self, collaboration: Value) -> String {
        self.put_taxonomy("invoices").await;
        let metadata = json!({"mapping.taxonomy": "invoices"});
        let input =
            json!({"type": "data-point-extraction", "metadata": metadata, "collaboration": collaboration});
        self.create_job(input).await
    }

    /// A taxonomy that asks for the number of an invoice.
    pub(crate) async fn put_taxonomy(&self, name: &str) {
        let point = json!({"name": "invoice.number", "type": "code", "labels": ["Invoice No"]});
        let definition = json!({"name": name, "data_points": [point]});
        let query = "mutation($in: PutTaxonomyInput!) { putTaxonomy(input: $in) { taxonomy { id } } }";
        self.gql(query, json!({"in": {"name": name, "definition": definition}})).await;
    }

    /// A team of this person and others; its ID.
    pub(crate) async fn team(&self, name: &str, others: &[&Self]) -> String {
        let create = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
        let team = text(&self.gql(create, json!({"in": {"name": name}})).await["createTeam"]["team"]["id"]);
        let add = "mutation($in: TeamMemberInput!) { addTeamMember(input: $in) { team { id } } }";
        for other in others {
            self.gql(add, json!({"in": {"teamId": team, "userId": other.id()}})).await;
        }
        team
    }

    /// Fields of a job that the person sees.
    pub(crate) async fn job(&self, id: &str, fields: &str) -> Value {
        let query = format!("query($id: ID!) {{ job(id: $id) {{ {fields} }} }}");
        self.gql(&query, json!({"id": id})).await["job"].take()
    }

    /// The status of a job that the person sees.
    pub(crate) async fn status(&self, id: &str) -> String {
        text(&self.job(id, "status").await["status"])
    }

    /// A subscription over a WebSocket of its own.
    pub(crate) async fn subscribe(&self, query: &str, variables: Value) -> Subscription {
        let socket = self.socket().await;
        Subscription::start(socket, query, &variables).await
    }

    /// A WebSocket whose `connection_init`, with the person's credential, was acknowledged.
    pub(crate) async fn socket(&self) -> Socket {
        let mut socket = Socket::open(&self.app).await;
        let payload = self.authorization.as_ref().map_or_else(|| json!({}), |a| json!({"Authorization": a}));
        socket.send(&json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.receive().await, json!({"type": "connection_ack"}));
        socket
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a string instead of {value}")).to_owned()
}
