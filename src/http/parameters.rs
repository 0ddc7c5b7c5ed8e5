//! The parameters of a GraphQL request, for all transports.

use async_graphql::Variables;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::body;
use crate::error::{Error, Result};
use crate::graphql::json::variables_from_json;

/// The parameters of a request (GraphQL over HTTP, "Request Parameters", and its appendix on persisted documents).
///
/// At least one of `query`, `document_id` and the extension `persistedQuery` is present.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Json")]
pub struct Parameters {
    /// Text of the document.
    pub query: Option<String>,
    /// ID of a persisted document, instead of its text.
    pub(crate) document_id: Option<String>,
    /// Name of the operation to run.
    pub operation_name: Option<String>,
    /// Values of the variables.
    pub variables: Variables,
    /// Extensions of the protocol.
    pub extensions: Map<String, Json>,
}

impl TryFrom<Json> for Parameters {
    type Error = Error;

    fn try_from(json: Json) -> Result<Self> {
        let mut fields = match json {
            Json::Object(fields) => fields,
            Json::Array(_) => {
                let message = "Batches are not supported. Send one operation in each request.";
                return Err(Error::invalid("", "BATCH", message));
            }
            _ => return Err(Error::invalid("", "SHAPE", "The request must be a JSON object.")),
        };
        let query = text(&mut fields, "query")?;
        let document_id = text(&mut fields, "documentId")?;
        let operation_name = text(&mut fields, "operationName")?.filter(|name| !name.is_empty());
        let variables = object(&mut fields, "variables")?;
        let extensions = object(&mut fields, "extensions")?;
        match (&query, &document_id) {
            (None, None) if extensions.get("persistedQuery").is_none_or(Json::is_null) => {
                return Err(Error::invalid(
                    "/query",
                    "REQUIRED",
                    "The request has no query. Send query, documentId or the extension persistedQuery.",
                ));
            }
            (Some(_), Some(_)) => {
                let message = "Send either query or documentId, not both.";
                return Err(Error::invalid("/documentId", "ONE_OF", message));
            }
            _ => {}
        }
        let variables = variables_from_json(variables);
        Ok(Self { query, document_id, operation_name, variables, extensions })
    }
}

impl Parameters {
    /// Parses the parameters from a body.
    pub(super) fn from_slice(bytes: &[u8]) -> Result<Self> {
        Self::try_from(body::parse_json(bytes)?)
    }
}

/// The query string of a `GET` request. Its objects are JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryString {
    query: Option<String>,
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

impl TryFrom<QueryString> for Parameters {
    type Error = Error;

    fn try_from(given: QueryString) -> Result<Self> {
        let mut fields = Map::new();
        let texts = [
            ("query", given.query),
            ("documentId", given.document_id),
            ("operationName", given.operation_name),
        ];
        fields.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))));
        for (name, text) in [("variables", given.variables), ("extensions", given.extensions)] {
            let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
            let parsed = serde_json::from_str(&text)
                .map_err(|_| Error::invalid(format!("/{name}"), "JSON", "This parameter must be JSON."))?;
            fields.insert(name.to_owned(), parsed);
        }
        Self::try_from(Json::Object(fields))
    }
}

fn text(fields: &mut Map<String, Json>, name: &str) -> Result<Option<String>> {
    match fields.remove(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("/{name}"), "TYPE", format!("{name} must be a string."))),
    }
}

fn object(fields: &mut Map<String, Json>, name: &str) -> Result<Map<String, Json>> {
    match fields.remove(name) {
        None | Some(Json::Null) => Ok(Map::new()),
        Some(Json::Object(object)) => Ok(object),
        Some(_) => Err(Error::invalid(format!("/{name}"), "TYPE", format!("{name} must be a JSON object."))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_and_null_parameters_are_equal() {
        let given =
            json!({"query": "{ a }", "operationName": "", "variables": null, "extensions": null, "more": 1});
        let read = Parameters::try_from(given).unwrap();
        assert_eq!((read.query.as_deref(), read.operation_name), (Some("{ a }"), None));
        assert!(read.variables.is_empty() && read.extensions.is_empty());
        for named in [
            json!({"documentId": "sha256:x", "query": null}),
            json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "x"}}}),
        ] {
            assert_eq!(Parameters::try_from(named).unwrap().query, None);
        }
    }

    #[test]
    fn invalid_parameters_are_refused_with_their_path() {
        for (given, path, code) in [
            (json!([{"query": "{ a }"}]), "", "BATCH"),
            (json!("{ a }"), "", "SHAPE"),
            (json!({"qeury": "{ a }"}), "/query", "REQUIRED"),
            (json!({"query": ["{ a }"]}), "/query", "TYPE"),
            (json!({"query": "{ a }", "operationName": 0}), "/operationName", "TYPE"),
            (json!({"query": "{ a }", "variables": [7]}), "/variables", "TYPE"),
            (json!({"query": "{ a }", "extensions": "x"}), "/extensions", "TYPE"),
            (json!({"query": "{ a }", "documentId": "x"}), "/documentId", "ONE_OF"),
        ] {
            let Err(Error::Invalid(problems)) = Parameters::try_from(given.clone()) else {
                panic!("{given} was accepted")
            };
            assert_eq!((problems[0].path.as_str(), problems[0].code.as_str()), (path, code), "{given}");
        }
    }
}
