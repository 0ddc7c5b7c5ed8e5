//! What variables may hold, whatever their types.

use async_graphql::{Name, Value, Variables};

use super::limits::Limits;
use super::refusal::Refusal;
use crate::json::{LONG_NUMBER, NO_NUL, escape, is_long};

/// async-graphql's marker for the n-th file of a multipart request. Where a client writes it as plain text, its `Upload`
/// scalar indexes out of bounds and panics.
const FILE_MARKER: &str = "#__graphql_file__:";

/// The character that no text may have.
const NUL: char = '\0';

/// Whether a string would be taken for an uploaded file.
pub(super) fn is_file_marker(text: &str) -> bool {
    text.starts_with(FILE_MARKER)
}

/// Refuses variables that are too many, too large or too deep, text that async-graphql takes for a file, U+0000, and numbers
/// of too many digits.
pub(super) fn check(variables: &Variables, limits: &Limits) -> Result<(), Refusal> {
    if variables.len() > limits.variables {
        let message =
            format!("The request has {} variables; the most is {}.", variables.len(), limits.variables);
        return Err(Refusal::variable(String::new(), message));
    }
    let mut walk = Walk { limits, values: 0, bytes: 0, path: Vec::new() };
    variables.iter().try_for_each(|(name, value)| walk.entry(Step::Key(name), value))
}

/// Refuses a literal of the document that async-graphql would take for a file.
pub(super) fn holds_file_marker(value: &Value) -> bool {
    match value {
        Value::String(text) => is_file_marker(text),
        Value::List(values) => values.iter().any(holds_file_marker),
        Value::Object(fields) => fields.values().any(holds_file_marker),
        _ => false,
    }
}

/// Returns what in a literal of the document cannot be stored: a JSON Pointer from the argument that it belongs to, and a
/// message.
pub(super) fn unstorable(name: &str, value: &Value) -> Option<(String, &'static str)> {
    let below = |(found, message): (String, &'static str)| (format!("/{name}{found}"), message);
    match value {
        Value::String(text) if text.contains(NUL) => Some(below((String::new(), NO_NUL))),
        Value::Number(number) if is_long(number) => Some(below((String::new(), LONG_NUMBER))),
        Value::List(values) => {
            values.iter().enumerate().find_map(|(i, value)| unstorable(&i.to_string(), value)).map(below)
        }
        Value::Object(fields) => fields.iter().find_map(|(name, value)| unstorable(name, value)).map(below),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a Name),
    Index(usize),
}

struct Walk<'a> {
    limits: &'a Limits,
    values: usize,
    bytes: usize,
    path: Vec<Step<'a>>,
}

impl<'a> Walk<'a> {
    fn entry(&mut self, step: Step<'a>, value: &'a Value) -> Result<(), Refusal> {
        self.path.push(step);
        if let Step::Key(name) = step {
            self.bytes += name.len();
            if name.contains(NUL) {
                return Err(self.refuse(NO_NUL));
            }
        }
        self.value(value)?;
        self.path.pop();
        Ok(())
    }

    fn value(&mut self, value: &'a Value) -> Result<(), Refusal> {
        self.values += 1;
        match value {
            Value::String(text) if is_file_marker(text) => {
                return Err(self.refuse(&format!("Text must not start with {FILE_MARKER:?}.")));
            }
            Value::String(text) if text.contains(NUL) => return Err(self.refuse(NO_NUL)),
            Value::Number(number) if is_long(number) => return Err(self.refuse(LONG_NUMBER)),
            Value::String(text) => self.bytes += text.len(),
            Value::Binary(bytes) => self.bytes += bytes.len(),
            _ => {}
        }
        if self.values > self.limits.variable_values {
            return Err(
                self.refuse(&format!("The variables hold more than {} values.", self.limits.variable_values))
            );
        }
        if self.bytes > self.limits.variable_bytes {
            return Err(
                self.refuse(&format!("The variables hold more than {} bytes.", self.limits.variable_bytes))
            );
        }
        if !matches!(value, Value::List(_) | Value::Object(_)) {
            return Ok(());
        }
        if self.path.len() > self.limits.variable_depth {
            return Err(
                self.refuse(&format!("A variable nests more than {} levels.", self.limits.variable_depth))
            );
        }
        match value {
            Value::List(values) => {
                values.iter().enumerate().try_for_each(|(index, value)| self.entry(Step::Index(index), value))
            }
            Value::Object(fields) => {
                fields.iter().try_for_each(|(name, value)| self.entry(Step::Key(name), value))
            }
            _ => Ok(()),
        }
    }

    /// Names the place by a JSON Pointer (RFC 6901, section 3), which is cut where it would be long.
    fn refuse(&self, message: &str) -> Refusal {
        const LONGEST: usize = 200;
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Key(name) => pointer.push_str(&escape(name)),
                Step::Index(index) => pointer.push_str(&index.to_string()),
            }
            if let Some((end, _)) = pointer.char_indices().nth(LONGEST) {
                pointer.truncate(end);
                break;
            }
        }
        let message = format!("Variable {pointer}: {message}");
        Refusal::variable(pointer, message)
    }
}
