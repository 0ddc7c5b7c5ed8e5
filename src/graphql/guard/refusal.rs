//! Reason why the guard refuses a request, with a message for the client.

use async_graphql::parser::Error as ParserError;
use async_graphql::{ErrorExtensionValues, Pos, Response, ServerError, Value, value};

use crate::error::Code;

/// A requested amount and its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitUsage {
    /// Amount in the request.
    pub requested: u64,
    /// Limit in the configuration.
    pub limit: u64,
}

impl From<(u64, u64)> for LimitUsage {
    fn from((requested, limit): (u64, u64)) -> Self {
        Self { requested, limit }
    }
}

impl From<(usize, usize)> for LimitUsage {
    fn from((requested, limit): (usize, usize)) -> Self {
        let saturate = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Self { requested: saturate(requested), limit: saturate(limit) }
    }
}

/// Reason why the guard refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Machine-readable error code.
    pub code: Code,
    /// Human-readable message in one line: the problem and the remedy.
    pub message: String,
    /// Locations in the document; empty if the problem has no location.
    pub locations: Vec<Pos>,
    /// JSON Pointer (RFC 6901) to an invalid value: into the variables, the request, or the arguments of a field.
    pub path: Option<String>,
    /// The exceeded limit.
    pub(crate) exceeded: Option<LimitUsage>,
}

impl Refusal {
    /// Creates a refusal without a path or an exceeded limit.
    pub fn new(code: Code, message: impl Into<String>, locations: Vec<Pos>) -> Self {
        Self { code, message: message.into(), locations, path: None, exceeded: None }
    }

    pub(super) fn too_complex(
        message: impl Into<String>,
        exceeded: impl Into<LimitUsage>,
        at: impl Into<Option<Pos>>,
    ) -> Self {
        let locations = at.into().into_iter().collect();
        Self { exceeded: Some(exceeded.into()), ..Self::new(Code::TooComplex, message, locations) }
    }

    pub(super) fn invalid(message: impl Into<String>, at: Pos) -> Self {
        Self::new(Code::ValidationFailed, message, vec![at])
    }

    /// Creates a refusal of a value of the request at a JSON Pointer.
    pub(crate) fn invalid_value(path: String, message: impl Into<String>) -> Self {
        Self { path: Some(path), ..Self::new(Code::BadInput, message, Vec::new()) }
    }

    pub(super) fn invalid_literal(path: String, message: impl Into<String>, at: Pos) -> Self {
        Self { path: Some(path), ..Self::new(Code::BadInput, message, vec![at]) }
    }

    /// Converts the parser's message of several lines into one line.
    pub(super) fn from_parser(error: &ParserError, document: &str) -> Self {
        let locations = error.positions().collect();
        match error {
            ParserError::Syntax { message, start, .. } => {
                let expected = message.lines().last().unwrap_or_default().trim_start_matches([' ', '=']);
                Self::syntax_error(document, *start, &readable_rules(expected))
            }
            ParserError::RecursionLimitExceeded => {
                Self::new(Code::TooComplex, "The document is nested too deeply to be parsed.", locations)
            }
            ParserError::MissingOperation => {
                Self::new(Code::ValidationFailed, "The document has fragments but no operation.", locations)
            }
            ParserError::MultipleOperations { .. } => Self::new(
                Code::ValidationFailed,
                "An anonymous operation must be the only operation in its document.",
                locations,
            ),
            ParserError::OperationDuplicated { operation, .. } => Self::new(
                Code::ValidationFailed,
                format!("The operation {operation:?} is defined twice.", operation = operation.as_str()),
                locations,
            ),
            ParserError::FragmentDuplicated { fragment, .. } => Self::new(
                Code::ValidationFailed,
                format!("The fragment {fragment:?} is defined twice.", fragment = fragment.as_str()),
                locations,
            ),
            other => Self::new(Code::ParseFailed, other.to_string().replace('\n', " "), locations),
        }
    }

    pub(super) fn syntax_error(document: &str, at: Pos, expected: &str) -> Self {
        let message = format!(
            "Syntax error at line {}, column {}: {expected}, found {}.",
            at.line,
            at.column,
            token_at(document, at)
        );
        Self::new(Code::ParseFailed, message, vec![at])
    }

    /// Converts the refusal into an entry of the `errors` of a response.
    pub(crate) fn into_error(self) -> ServerError {
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", self.code.as_str());
        if let Some(path) = &self.path {
            let problem = value!({ "path": path, "code": "INVALID", "message": (self.message.clone()) });
            extensions.set("problems", Value::List(vec![problem]));
        }
        if let Some(LimitUsage { requested, limit }) = self.exceeded {
            extensions.set("requested", requested);
            extensions.set("limit", limit);
        }
        let mut error = ServerError::new(self.message, None);
        error.locations = self.locations;
        error.extensions = Some(extensions);
        error
    }
}

impl From<Refusal> for ServerError {
    fn from(refusal: Refusal) -> Self {
        refusal.into_error()
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::from_errors(vec![refusal.into_error()])
    }
}

/// Replaces the names of grammar rules in a parser message with plain words.
fn readable_rules(expected: &str) -> String {
    let words = expected.split(' ').map(|word| {
        let rule = word.trim_end_matches([',', ';']);
        let words = match rule {
            "EOI" => "the end of the document".into(),
            "type_" => "a type".into(),
            "executable_definition" => "an operation or fragment".into(),
            "selection" => "a field or a fragment".into(),
            "expected" | "unexpected" | "or" | "" => rule.into(),
            rule if rule.ends_with('s') => rule.replace('_', " "),
            rule if rule.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {}", rule.replace('_', " ")),
            rule => format!("a {}", rule.replace('_', " ")),
        };
        words + &word[rule.len()..]
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Returns the token at or after a position: a whole name or number, or one character of any other token.
fn token_at(document: &str, at: Pos) -> String {
    let line_start: usize =
        document.split_inclusive('\n').take(at.line.saturating_sub(1)).map(str::len).sum();
    let line = document.get(line_start..).unwrap_or_default();
    let column = line.char_indices().nth(at.column.saturating_sub(1)).map_or(line.len(), |(index, _)| index);
    let rest = line[column..].trim_start();
    let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
    match rest.chars().next() {
        None => "the end of the document".into(),
        Some(_) if !word.is_empty() => format!("{word:?}"),
        Some(other) => format!("{:?}", other.to_string()),
    }
}
