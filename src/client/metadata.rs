//! Metadata from the command line and from files.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map, Value};

use super::error::printable;
use super::{ClientError, Result};

/// Maximum size of a metadata file in bytes; far above the limit of any server.
const MAX_METADATA_BYTES: u64 = 16 << 20;

/// Merges the pairs over the object in the file. A repeated key is an error.
pub(crate) fn assemble(file: Option<&Path>, pairs: &[(String, Value)]) -> Result<Map<String, Value>> {
    let mut metadata = match file {
        Some(path) => read(path)?,
        None => Map::new(),
    };
    let mut seen = HashSet::new();
    for (key, value) in pairs {
        if !seen.insert(key) {
            return Err(ClientError::Input(format!(
                "--metadata {} is given more than once.",
                printable(key)
            )));
        }
        // The file may spell the same path with dots or as objects, and the server refuses both at once.
        remove(&mut metadata, key);
        metadata.insert(key.clone(), value.clone());
    }
    Ok(metadata)
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let failed = |cause| ClientError::File { path: path.to_owned(), cause };
    let file = std::fs::File::open(path).map_err(failed)?;
    let text = read_at_most(file, MAX_METADATA_BYTES).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| {
        let expected = "metadata must be a JSON object such as {\"mapping\": {\"taxonomy\": \"invoices\"}}";
        ClientError::Input(format!("{}: {error}; {expected}", path.display()))
    })
}

/// Removes the value at a dotted path, however its segments are spread over nested objects.
fn remove(object: &mut Map<String, Value>, path: &str) {
    object.remove(path);
    for (dot, _) in path.match_indices('.') {
        if let Some(Value::Object(inner)) = object.get_mut(&path[..dot]) {
            remove(inner, &path[dot + 1..]);
        }
    }
}

/// Parses a key and a value, separated by `=`. Dots in the key separate path segments.
pub fn pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("it has no =; an example is mapping.taxonomy=invoices")?;
    if key.is_empty() {
        return Err("it has no key before the =".into());
    }
    Ok((key.to_owned(), parse_json_or_text(value)))
}

/// Parses text as JSON, or returns it as a string. An integer of more than 64 bits stays a string: it is an identifier,
/// and most JSON parsers would round it.
fn parse_json_or_text(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Number(number))
            if number.as_i64().is_none()
                && number.as_u64().is_none()
                && text.trim().trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()) =>
        {
            Value::String(text.to_owned())
        }
        Ok(value) => value,
        Err(_) => Value::String(text.to_owned()),
    }
}

/// Reads text to its end; more than `limit` bytes are an error.
pub(crate) fn read_at_most(input: impl Read, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    if input.take(limit + 1).read_to_string(&mut text)? as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pairs(given: &[&str]) -> Vec<(String, Value)> {
        given.iter().map(|pair| super::pair(pair).unwrap()).collect()
    }

    #[test]
    fn values_are_json_if_they_parse() {
        for (given, expected) in [
            ("0", json!(0)),
            ("0.5", json!(0.5)),
            ("true", json!(true)),
            ("null", json!(null)),
            ("\"7\"", json!("7")),
            ("{\"a\":[1]}", json!({"a": [1]})),
            ("invoices", json!("invoices")),
            ("a=b", json!("a=b")),
            ("", json!("")),
            ("007", json!("007")),
            ("123456789012345678901234", json!("123456789012345678901234")),
            ("-9223372036854775808", json!(i64::MIN)),
        ] {
            assert_eq!(parse_json_or_text(given), expected, "{given}");
        }
        assert!(pair("=x").is_err());
        assert_eq!(pair("k=a=b").unwrap(), ("k".into(), json!("a=b")));
    }

    #[test]
    fn pairs_override_the_file_however_it_is_spelled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text =
            r#"{"mapping": {"taxonomy": "old", "high_confidence_threshold": 1}, "a.b": {"c": 1}, "x": 1}"#;
        std::fs::write(file.path(), text).unwrap();
        let merged =
            assemble(Some(file.path()), &pairs(&["mapping.taxonomy=new", "a.b.c=2", "x=3"])).unwrap();
        let expected = json!({
            "mapping": {"high_confidence_threshold": 1}, "mapping.taxonomy": "new", "a.b": {}, "a.b.c": 2, "x": 3,
        });
        assert_eq!(Value::Object(merged), expected);
    }

    #[test]
    fn metadata_errors_name_the_key_or_file() {
        let twice = assemble(None, &pairs(&["a=1", "a=2"])).unwrap_err().to_string();
        assert_eq!(twice, "--metadata a is given more than once.");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[1]").unwrap();
        let error = assemble(Some(file.path()), &[]).unwrap_err().to_string();
        assert!(error.contains("metadata must be a JSON object") && error.contains("line 1"), "{error}");
        assert!(
            assemble(Some(Path::new("/nowhere.json")), &[])
                .unwrap_err()
                .to_string()
                .starts_with("/nowhere.json: ")
        );
    }
}
