//! Limits on the JSON values of requests. PostgreSQL cannot store U+0000, and it stores numbers without an exponent, so
//! a few bytes could become megabytes.

use serde_json::{Number, Value};
use serde_path_to_error::{Path, Segment};

use crate::error::Problem;

/// Maximum number of digits of a number that is written without an exponent.
pub(crate) const MAX_NUMBER_DIGITS: usize = 100;

/// The message for text with U+0000.
pub(crate) const NO_NUL: &str = "Text must not contain the character U+0000.";

/// The message for a number with too many digits.
pub(crate) const LONG_NUMBER: &str = "A number may have at most 100 digits when written without an exponent.";

/// Returns the first problem that keeps a value from being stored. Its path is a JSON Pointer into the value.
pub(crate) fn storage_problem(value: &Value) -> Option<Problem> {
    let problem = |code: &str, message: &str| Some(Problem::new("", code, message));
    let within = |key: &str, value: &Value| {
        let mut found = storage_problem(value)?;
        found.path = format!("/{}{}", escape(key), found.path);
        Some(found)
    };
    match value {
        Value::String(text) if text.contains('\0') => problem("INVALID", NO_NUL),
        Value::Number(number) if is_long(number) => problem("TOO_LONG", LONG_NUMBER),
        Value::Array(values) => {
            values.iter().enumerate().find_map(|(index, value)| within(&index.to_string(), value))
        }
        Value::Object(fields) if fields.keys().any(|name| name.contains('\0')) => problem("INVALID", NO_NUL),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| within(name, value)),
        _ => None,
    }
}

/// Returns whether a number has more than [`MAX_NUMBER_DIGITS`] digits when written without an exponent.
pub(crate) fn is_long(number: &Number) -> bool {
    let text = number.as_str();
    // Most numbers are short and have no exponent.
    if text.len() <= MAX_NUMBER_DIGITS && !text.contains(['e', 'E']) {
        return false;
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) =
        mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
    // An exponent that overflows is too long in any case.
    let Ok(exponent) = exponent.parse::<i32>() else { return true };
    let shift = usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
    let (before, after) = match exponent >= 0 {
        true => (whole.len().saturating_add(shift), fraction.len().saturating_sub(shift)),
        false => (whole.len().saturating_sub(shift).max(1), fraction.len().saturating_add(shift)),
    };
    before.saturating_add(after) > MAX_NUMBER_DIGITS
}

/// Removes the byte order mark that some editors and clients put before UTF-8 text. JSON does not allow it (RFC 8259
/// section 8.1), but a parser may ignore it.
pub(crate) fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Returns whether a media type is JSON.
pub(crate) fn is_json(media_type: &mime::Mime) -> bool {
    media_type.subtype() == mime::JSON || media_type.suffix() == Some(mime::JSON)
}

/// Escapes a key for a JSON Pointer (RFC 6901 section 3).
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Converts the path of a problem that serde found to a JSON Pointer (RFC 6901).
pub fn pointer(path: &Path) -> String {
    let token = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } => Some(format!("/{}", escape(key))),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(token).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parses_as_long(text: &str) -> bool {
        is_long(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn numbers_have_at_most_100_digits_without_exponent() {
        let digits = |n: usize| "7".repeat(n);
        for short in ["0", "-1", "1e5", "1e99", "1e-98", "-12345678901234.56789", "1E+2", "0.5e1"] {
            assert!(!parses_as_long(short), "{short}");
        }
        assert!(
            !parses_as_long(&digits(100))
                && !parses_as_long(&format!("-{}", digits(100)))
                && !parses_as_long(&format!("1.{}", digits(99)))
        );
        for huge in ["1e100", "1e-100", "1e999999", "1e-999999", "1e99999999999999999999", "0e1000"] {
            assert!(parses_as_long(huge), "{huge}");
        }
        assert!(parses_as_long(&digits(101)) && parses_as_long(&format!("1.{}", digits(100))));
    }

    #[test]
    fn problems_are_reported_with_their_path() {
        let path = |value: Value| storage_problem(&value).map(|problem| (problem.path, problem.code));
        let huge: Value = serde_json::from_str("1e400").unwrap();
        assert_eq!(path(json!({"a": [1, {"b/c": huge}]})), Some(("/a/1/b~1c".into(), "TOO_LONG".into())));
        assert_eq!(path(json!(["x", "a\0b"])), Some(("/1".into(), "INVALID".into())));
        assert_eq!(path(json!({"a": {"\0": 1}})), Some(("/a".into(), "INVALID".into())));
        assert_eq!(path(json!({"a": [1, 2.5, "x", null, true]})), None);
    }
}
