//! The OpenAPI document of the façade: the description that utoipa generates from the routes, with the limits of this
//! server's configuration and the responses of all routes.

use serde_json::{Value, json};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Server};

use crate::config::Limits;

const DESCRIPTION: &str = "Jobs that turn documents into data, as plain HTTP and JSON. Every answer but the bytes of a document \
is `{\"success\", \"status_code\", \"tracking\", \"response\"}`; where something was not done, `response` says why. \
Subscriptions, teams, taxonomies and everything else are in the GraphQL API of the same server.";

/// Responses to any request: status, name of the response, description.
const ANYWHERE: [(&str, &str, &str); 5] = [
    ("400", "BadInput", "The request is wrong; `problems` says where and why."),
    ("429", "TooManyRequests", "Too many requests; the header Retry-After says when to try again."),
    (
        "500",
        "InternalError",
        "A fault of the server. Its log knows more under the tracking ID; the answer says nothing.",
    ),
    ("503", "Unavailable", "Not now: the server is overloaded or shutting down."),
    ("504", "Timeout", "It took longer than anybody is to wait. A change goes on to its end."),
];
const SIGNED_IN: (&str, &str, &str) =
    ("401", "Unauthenticated", "The credential is missing, wrong or expired.");
/// Responses to any request with a body.
const WITH_BODY: [(&str, &str, &str); 2] = [
    ("413", "TooLarge", "The body has more bytes than the server takes."),
    ("415", "UnsupportedMediaType", "The body is not of a type that is taken here."),
];

/// The introduction above the routes.
pub(super) fn head() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new().title("Docket").version(env!("CARGO_PKG_VERSION"));
    let info = info.description(Some(DESCRIPTION)).license(Some(license)).build();
    let tag =
        |name: &str, description: &str| TagBuilder::new().name(name).description(Some(description)).build();
    let scheme = |scheme, description: &str| {
        let mut http = Http::new(scheme);
        http.description = Some(description.to_owned());
        SecurityScheme::Http(http)
    };
    let components = ComponentsBuilder::new()
        .security_scheme("bearer", scheme(HttpAuthScheme::Bearer, "A token from `signIn`, or an API key."))
        .security_scheme(
            "basic",
            scheme(HttpAuthScheme::Basic, "An API key as user name; the password does not matter."),
        )
        .build();
    let credential = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .tags(Some([
            tag("Users", "Accounts and how they log in."),
            tag("Jobs", "Work that turns an input document into an output document."),
            tag("Reviews", "Decisions that blocked jobs wait for."),
            tag("Job types", "What a job can be."),
            tag("Documents", "Bytes with a name: what jobs work on and what they make."),
            tag("Server", "The server itself."),
        ]))
        .components(Some(components))
        .security(Some([credential("bearer"), credential("basic")]))
        .build()
}

/// Returns the generated document, completed.
pub(super) fn complete(described: &OpenApi, limits: &Limits) -> Value {
    #[expect(clippy::expect_used, reason = "names of fields and strings are JSON")]
    let mut document = serde_json::to_value(described).expect("an OpenAPI document is JSON");
    for item in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            refusals(operation);
            for parameter in
                operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
            {
                narrow(parameter, limits);
            }
            // An optional body is an object if it is present.
            if let Some(body) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
                not_null(body);
            }
        }
    }
    for (_, name, description) in ANYWHERE.into_iter().chain([SIGNED_IN]).chain(WITH_BODY) {
        let schema = json!({"$ref": "#/components/schemas/Envelope_Failure"});
        let content = json!({"application/json": {"schema": schema}});
        document["components"]["responses"][name] = json!({"description": description, "content": content});
    }
    schemas(&mut document["components"]["schemas"], limits);
    document
}

/// Adds the common responses to an operation.
fn refusals(operation: &mut Value) {
    let open = operation.get("security").is_some();
    if open {
        operation["security"] = json!([]);
    }
    let body = operation.get("requestBody").is_some();
    let all = ANYWHERE
        .into_iter()
        .chain((!open).then_some(SIGNED_IN))
        .chain(WITH_BODY.into_iter().filter(|_| body));
    for (status, name, _) in all {
        // An operation may describe one of them itself.
        if operation["responses"].get(status).is_none() {
            operation["responses"][status] = json!({"$ref": format!("#/components/responses/{name}")});
        }
    }
}

/// Removes null from the types of parameters, and sets the largest page of this server.
fn narrow(parameter: &mut Value, limits: &Limits) {
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    let schema = &mut parameter["schema"];
    not_null(schema);
    match name.as_str() {
        "first" | "limit" => schema["maximum"] = json!(limits.page_size),
        "metadata" => {
            let field = r"^metadata(\.[A-Za-z0-9_-]{1,30}){1,8}$";
            *schema = json!({
                "type": "object", "patternProperties": {field: {"type": "string"}},
                "additionalProperties": false, "maxProperties": 20,
            });
        }
        _ if plain_text(schema) => schema["pattern"] = json!(r"^[^\u0000]*$"),
        _ => {}
    }
    if let Some(items) = schema.get_mut("items").filter(|items| plain_text(items)) {
        items["pattern"] = json!(r"^[^\u0000]*$");
    }
}

/// Returns the schema without null.
fn not_null(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            schema["type"] = one.clone();
        }
    }
    if let Some(Value::Array(kinds)) = schema.get_mut("oneOf") {
        kinds.retain(|one| one.get("type").is_none_or(|kind| kind != "null"));
        if let [one] = kinds.as_slice() {
            *schema = one.clone();
        }
    }
}

/// Sets the default pattern of text: any character except U+0000.
fn plain_text(schema: &Value) -> bool {
    schema["type"] == "string" && ["enum", "format", "pattern"].iter().all(|said| schema.get(said).is_none())
}

/// Adds properties of requests that their types do not express.
fn schemas(schemas: &mut Value, limits: &Limits) {
    schemas["CreateJob"]["additionalProperties"] = json!(true);
    for (name, ways) in [("NewTeam", ["id", "name"]), ("NewUser", ["id", "email"])] {
        schemas[name]["oneOf"] =
            ways.map(|way| json!({"required": [way], "properties": {way: {"type": "string"}}})).into();
    }
    for (name, envelope) in schemas.as_object_mut().into_iter().flatten() {
        let Some(inner) = name.strip_prefix("Envelope_") else { continue };
        envelope["properties"]["success"]["const"] = json!(inner != "Failure");
        envelope["properties"]["response"] = json!({"$ref": format!("#/components/schemas/{inner}")});
    }
    for (name, text) in [("CancelJob", "reason"), ("RewindJob", "reason"), ("Unblock", "comment")] {
        schemas[name]["properties"][text]["maxLength"] = json!(limits.comment_characters);
    }
}
