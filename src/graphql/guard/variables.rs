//! Limits of variables, regardless of their types.

use async_graphql::{Name, Value, Variables};

use super::refusal::Refusal;
use crate::config::graphql::Limits;
use crate::json::{LONG_NUMBER, NO_NUL, escape, is_long};

/// Marker of async-graphql for the n-th file of a multipart request. If a client sends it as plain text, the `Upload`
/// scalar of async-graphql indexes out of bounds and panics.
const FILE_MARKER: &str = "#__graphql_file__:";

/// Character that no string may contain.
const NUL: char = '\0';

/// Returns whether async-graphql would read a string as an uploaded file.
pub(super) fn is_file_marker(text: &str) -> bool {
    text.starts_with(FILE_MARKER)
}

/// Refuses too many, too large, or too deeply nested variables. Also refuses file markers of async-graphql, U+0000, and
/// numbers with too many digits.
pub(super) fn check(variables: &Variables, limits: &Limits) -> Result<(), Refusal> {
    if variables.len() > limits.variables {
        let message =
            format!("The request has {} variables; the limit is {}.", variables.len(), limits.variables);
        return Err(Refusal::invalid_value(String::new(), message));
    }
    let mut visitor = ValueVisitor { limits, values: 0, bytes: 0, path: Vec::new() };
    variables.iter().try_for_each(|(name, value)| visitor.visit_entry(PathSegment::Key(name), value))
}

/// Returns whether async-graphql would read a string in a literal of the document as an uploaded file.
pub(super) fn contains_file_marker(value: &Value) -> bool {
    match value {
        Value::String(text) => is_file_marker(text),
        Value::List(values) => values.iter().any(contains_file_marker),
        Value::Object(fields) => fields.values().any(contains_file_marker),
        _ => false,
    }
}

/// Finds a value that cannot be stored in a literal of the document.
/// Returns a JSON Pointer that starts with the name of the argument, and a message.
pub(super) fn find_unstorable(name: &str, value: &Value) -> Option<(String, &'static str)> {
    let prepend_name = |(path, message): (String, &'static str)| (format!("/{name}{path}"), message);
    match value {
        Value::String(text) if text.contains(NUL) => Some(prepend_name((String::new(), NO_NUL))),
        Value::Number(number) if is_long(number) => Some(prepend_name((String::new(), LONG_NUMBER))),
        Value::List(values) => {
            let mut entries = values.iter().enumerate();
            entries.find_map(|(index, value)| find_unstorable(&index.to_string(), value)).map(prepend_name)
        }
        Value::Object(fields) => {
            fields.iter().find_map(|(name, value)| find_unstorable(name, value)).map(prepend_name)
        }
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum PathSegment<'a> {
    Key(&'a Name),
    Index(usize),
}

struct ValueVisitor<'a> {
    limits: &'a Limits,
    values: usize,
    bytes: usize,
    path: Vec<PathSegment<'a>>,
}

impl<'a> ValueVisitor<'a> {
    fn visit_entry(&mut self, segment: PathSegment<'a>, value: &'a Value) -> Result<(), Refusal> {
        self.path.push(segment);
        if let PathSegment::Key(name) = segment {
            self.bytes += name.len();
            if name.contains(NUL) {
                return Err(self.refuse(NO_NUL));
            }
        }
        self.visit_value(value)?;
        self.path.pop();
        Ok(())
    }

    fn visit_value(&mut self, value: &'a Value) -> Result<(), Refusal> {
        self.values += 1;
        match value {
            Value::String(text) if is_file_marker(text) => {
                return Err(self.refuse(&format!("A string must not start with {FILE_MARKER:?}.")));
            }
            Value::String(text) if text.contains(NUL) => return Err(self.refuse(NO_NUL)),
            Value::Number(number) if is_long(number) => return Err(self.refuse(LONG_NUMBER)),
            Value::String(text) => self.bytes += text.len(),
            Value::Binary(bytes) => self.bytes += bytes.len(),
            _ => {}
        }
        if self.values > self.limits.variable_values {
            return Err(self.refuse(&format!(
                "The variables contain more than {} values.",
                self.limits.variable_values
            )));
        }
        if self.bytes > self.limits.variable_bytes {
            return Err(self
                .refuse(&format!("The variables contain more than {} bytes.", self.limits.variable_bytes)));
        }
        if !matches!(value, Value::List(_) | Value::Object(_)) {
            return Ok(());
        }
        if self.path.len() > self.limits.variable_depth {
            return Err(
                self.refuse(&format!("The variable nests more than {} levels.", self.limits.variable_depth))
            );
        }
        match value {
            Value::List(values) => {
                let mut entries = values.iter().enumerate();
                entries.try_for_each(|(index, value)| self.visit_entry(PathSegment::Index(index), value))
            }
            Value::Object(fields) => {
                fields.iter().try_for_each(|(name, value)| self.visit_entry(PathSegment::Key(name), value))
            }
            _ => Ok(()),
        }
    }

    /// Creates a refusal of the current value, with a JSON Pointer (RFC 6901, section 3) that is cut if it is too long.
    fn refuse(&self, message: &str) -> Refusal {
        const MAX_POINTER_CHARS: usize = 200;
        let mut pointer = String::new();
        for segment in &self.path {
            pointer.push('/');
            match segment {
                PathSegment::Key(name) => pointer.push_str(&escape(name)),
                PathSegment::Index(index) => pointer.push_str(&index.to_string()),
            }
            if let Some((end, _)) = pointer.char_indices().nth(MAX_POINTER_CHARS) {
                pointer.truncate(end);
                break;
            }
        }
        let message = format!("Variable {pointer}: {message}");
        Refusal::invalid_value(pointer, message)
    }
}
