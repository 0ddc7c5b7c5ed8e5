//! Reads contents under review as JSON, within the memory that a node may spend on corrections.

use serde_json::Value;
use tokio::sync::SemaphorePermit;

use crate::error::{Error, Result};
use crate::job::Jobs;
use crate::json::without_byte_order_mark;

/// Maximum number of values in a JSON content. In memory, a value takes many times its two bytes of text.
const MAX_VALUES: usize = 1_000_000;

/// Waits until a content of this size may be read: corrections of large contents wait for each other.
pub(super) async fn permit(jobs: &Jobs, bytes: u64) -> Result<SemaphorePermit<'_>> {
    let kib = |bytes: u64| u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(1);
    let permits = kib(bytes).min(kib(jobs.review.content_bytes as u64));
    jobs.correcting.acquire_many(permits).await.map_err(Error::internal)
}

/// Parses a JSON content. Problems have the given path.
pub(super) fn parse(content: &[u8], path: &str) -> Result<Value> {
    if count_values(content) > MAX_VALUES {
        let message = format!("A JSON content has at most {MAX_VALUES} values.");
        return Err(Error::invalid(path, "TOO_MANY", message));
    }
    serde_json::from_slice(without_byte_order_mark(content)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = format!("The content is not valid JSON: error at line {line}, column {column}.");
        Error::invalid(path, "NOT_JSON", message)
    })
}

/// Estimates the number of values in a JSON text without parsing it.
fn count_values(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(content: &[u8]) -> String {
        match parse(content, "/patch") {
            Err(Error::Invalid(problems)) if problems[0].path == "/patch" => problems[0].code.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_counted_outside_strings() {
        assert_eq!(count_values(br#"{"a": ["x,[{\",", 2, {}], "b": null}"#), 7, "about");
        assert_eq!(count_values(b"7"), 1);
    }

    #[test]
    fn content_has_at_most_a_million_values_and_may_start_with_byte_order_mark() {
        assert_eq!(parse(b"\xef\xbb\xbf[1]", ""), Ok(serde_json::json!([1])));
        assert_eq!(code(b"[1"), "NOT_JSON");
        assert_eq!(code(format!("[1{}]", ",1".repeat(MAX_VALUES)).as_bytes()), "TOO_MANY");
    }
}
