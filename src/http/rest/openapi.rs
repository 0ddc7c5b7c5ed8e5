//! The OpenAPI document of the façade: the description that utoipa generates from the routes, with the limits of this
//! server's configuration and the responses of all routes.

use serde_json::{Value, json};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Server};

use crate::config::Limits;

const DESCRIPTION: &str = "Jobs that turn documents into data, over plain HTTP and JSON. Every response except the bytes of a \
document is `{\"success\", \"status_code\", \"tracking\", \"response\"}`; if the request failed, `response` is the reason. \
Subscriptions, teams, taxonomies and all other features are in the GraphQL API of the same server.";

/// Responses of all operations: status, name and description.
const COMMON_RESPONSES: [(&str, &str, &str); 5] = [
    ("400", "BadInput", "The request is invalid; `problems` lists what is wrong."),
    ("429", "TooManyRequests", "Too many requests. Retry after the seconds in the header Retry-After."),
    ("500", "InternalError", "Internal error. The log of the server has its cause under the tracking ID."),
    (
        "503",
        "Unavailable",
        "The server is overloaded or shutting down. Retry after the seconds in the header Retry-After.",
    ),
    ("504", "Timeout", "Timed out. A change that has started continues in the background."),
];
/// Response of all operations that require a credential.
const UNAUTHENTICATED: (&str, &str, &str) =
    ("401", "Unauthenticated", "The credential is missing, wrong or expired.");
/// Responses of all operations with a request body.
const BODY_RESPONSES: [(&str, &str, &str); 2] = [
    ("413", "TooLarge", "The body exceeds the size limit."),
    ("415", "UnsupportedMediaType", "The media type of the body is not supported."),
];

/// Returns the document without its routes.
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
            scheme(HttpAuthScheme::Basic, "An API key as user name; the password is ignored."),
        )
        .build();
    let credential = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .tags(Some([
            tag("Users", "Accounts and login."),
            tag("Jobs", "Work that turns an input document into an output document."),
            tag("Reviews", "Decisions on blocked jobs."),
            tag("Job types", "Kinds of jobs."),
            tag("Documents", "Inputs and outputs of jobs: bytes with a name."),
            tag("Server", "State of the server."),
        ]))
        .components(Some(components))
        .security(Some([credential("bearer"), credential("basic")]))
        .build()
}

/// Adds common responses and the limits of the configuration to the generated document.
pub(super) fn complete(generated: &OpenApi, limits: &Limits) -> Value {
    #[expect(clippy::expect_used, reason = "all keys of the document are strings")]
    let mut document = serde_json::to_value(generated).expect("an OpenAPI document is JSON");
    for item in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            add_common_responses(operation);
            for parameter in
                operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
            {
                constrain_parameter(parameter, limits);
            }
            // An optional body is an object if it is present.
            if let Some(body) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
                remove_null(body);
            }
        }
    }
    for (_, name, description) in COMMON_RESPONSES.into_iter().chain([UNAUTHENTICATED]).chain(BODY_RESPONSES)
    {
        let schema = json!({"$ref": "#/components/schemas/Envelope_Failure"});
        let content = json!({"application/json": {"schema": schema}});
        document["components"]["responses"][name] = json!({"description": description, "content": content});
    }
    complete_schemas(&mut document["components"]["schemas"], limits);
    document
}

/// Adds the common responses to an operation.
fn add_common_responses(operation: &mut Value) {
    let is_public = operation.get("security").is_some();
    if is_public {
        operation["security"] = json!([]);
    }
    let has_body = operation.get("requestBody").is_some();
    let all = COMMON_RESPONSES
        .into_iter()
        .chain((!is_public).then_some(UNAUTHENTICATED))
        .chain(BODY_RESPONSES.into_iter().filter(|_| has_body));
    for (status, name, _) in all {
        // An operation may override a common response.
        if operation["responses"].get(status).is_none() {
            operation["responses"][status] = json!({"$ref": format!("#/components/responses/{name}")});
        }
    }
}

/// Removes null from the type of a parameter, and sets the maximum page size and the pattern of text.
fn constrain_parameter(parameter: &mut Value, limits: &Limits) {
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    let schema = &mut parameter["schema"];
    remove_null(schema);
    match name.as_str() {
        "first" | "limit" => schema["maximum"] = json!(limits.page_size),
        "metadata" => {
            let field = r"^metadata(\.[A-Za-z0-9_-]{1,30}){1,8}$";
            *schema = json!({
                "type": "object", "patternProperties": {field: {"type": "string"}},
                "additionalProperties": false, "maxProperties": 20,
            });
        }
        _ if is_unconstrained_text(schema) => schema["pattern"] = json!(r"^[^\u0000]*$"),
        _ => {}
    }
    if let Some(items) = schema.get_mut("items").filter(|items| is_unconstrained_text(items)) {
        items["pattern"] = json!(r"^[^\u0000]*$");
    }
}

/// Removes null from the types of a schema.
fn remove_null(schema: &mut Value) {
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

/// Returns whether a schema is a string without constraints. Then its pattern excludes U+0000.
fn is_unconstrained_text(schema: &Value) -> bool {
    schema["type"] == "string" && ["enum", "format", "pattern"].iter().all(|key| schema.get(key).is_none())
}

/// Adds properties of requests that their types do not express.
fn complete_schemas(schemas: &mut Value, limits: &Limits) {
    schemas["CreateJob"]["additionalProperties"] = json!(true);
    for (name, keys) in [("NewTeam", ["id", "name"]), ("NewUser", ["id", "email"])] {
        schemas[name]["oneOf"] =
            keys.map(|key| json!({"required": [key], "properties": {key: {"type": "string"}}})).into();
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
