//! Why a request is not run, in words for the client.

use async_graphql::parser::Error as ParserError;
use async_graphql::{ErrorExtensionValues, Pos, Response, ServerError, Value, value};

use crate::error::Code;

/// What was asked for, and the most that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// As the request has it.
    pub requested: u64,
    /// As the configuration has it.
    pub limit: u64,
}

impl From<(u64, u64)> for Bound {
    fn from((requested, limit): (u64, u64)) -> Self {
        Self { requested, limit }
    }
}

impl From<(usize, usize)> for Bound {
    fn from((requested, limit): (usize, usize)) -> Self {
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Self { requested: wide(requested), limit: wide(limit) }
    }
}

/// Why a request is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people, in one line: what is wrong and what would be right.
    pub message: String,
    /// Where in the document; empty where it is not about one place.
    pub locations: Vec<Pos>,
    /// JSON Pointer (RFC 6901) into the variables, or from an argument on, where a value there is wrong.
    pub variable: Option<String>,
    /// The numbers of a limit that it is beyond.
    pub bound: Option<Bound>,
}

impl Refusal {
    /// A refusal that says no more than this.
    pub fn new(code: Code, message: impl Into<String>, locations: Vec<Pos>) -> Self {
        Self { code, message: message.into(), locations, variable: None, bound: None }
    }

    pub(super) fn too_complex(
        message: impl Into<String>,
        bound: impl Into<Bound>,
        at: impl Into<Option<Pos>>,
    ) -> Self {
        let locations = at.into().into_iter().collect();
        Self { bound: Some(bound.into()), ..Self::new(Code::TooComplex, message, locations) }
    }

    pub(super) fn invalid(message: impl Into<String>, at: Pos) -> Self {
        Self::new(Code::ValidationFailed, message, vec![at])
    }

    /// Something in the request is wrong, at a JSON Pointer.
    pub fn variable(pointer: String, message: impl Into<String>) -> Self {
        Self { variable: Some(pointer), ..Self::new(Code::BadInput, message, Vec::new()) }
    }

    pub(super) fn literal(pointer: String, message: impl Into<String>, at: Pos) -> Self {
        Self { variable: Some(pointer), ..Self::new(Code::BadInput, message, vec![at]) }
    }

    /// Says in one line what the parser draws in six.
    pub(super) fn parser(error: &ParserError, document: &str) -> Self {
        let locations = error.positions().collect();
        match error {
            ParserError::Syntax { message, start, .. } => {
                let expected = message.lines().last().unwrap_or_default().trim_start_matches([' ', '=']);
                Self::syntax(document, *start, &readable(expected))
            }
            ParserError::RecursionLimitExceeded => {
                Self::new(Code::TooComplex, "The document is nested too deeply to be parsed.", locations)
            }
            ParserError::MissingOperation => {
                Self::new(Code::ValidationFailed, "The document has fragments but no operation.", locations)
            }
            ParserError::MultipleOperations { .. } => Self::new(
                Code::ValidationFailed,
                "An operation without a name must be the only one of its document.",
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

    pub(super) fn syntax(document: &str, at: Pos, expected: &str) -> Self {
        let message = format!(
            "Syntax error at line {}, column {}: {expected}, found {}.",
            at.line,
            at.column,
            found(document, at)
        );
        Self::new(Code::ParseFailed, message, vec![at])
    }

    /// As an entry of a response's `errors`.
    pub fn into_error(self) -> ServerError {
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", self.code.as_str());
        if let Some(path) = &self.variable {
            let problem = value!({ "path": path, "code": "INVALID", "message": (self.message.clone()) });
            extensions.set("problems", Value::List(vec![problem]));
        }
        if let Some(Bound { requested, limit }) = self.bound {
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

/// The parser names its grammar's rules; people have other words for them.
fn readable(expected: &str) -> String {
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

/// The token at or after a place: a name or number as a whole, of anything else one character.
fn found(document: &str, at: Pos) -> String {
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
