//! Metadata of jobs: expands dotted keys, adds defaults, converts strings to the types of the schema, and validates.
//! Reports all problems at once.

use serde_json::{Map, Value};

use crate::error::Problem;
use crate::json::{escape, is_long};

/// Maximum levels of a path in the metadata, counting dotted keys and nested objects. Parsers and other functions
/// recurse once for each level of stored metadata.
pub(crate) const MAX_LEVELS: usize = 32;

/// Normalizes metadata of a client by the type's JSON Schema (2020-12), or returns every problem with its path under
/// `at`.
pub(crate) fn normalize(
    schema: &Value,
    given: &Map<String, Value>,
    at: &str,
) -> Result<Map<String, Value>, Vec<Problem>> {
    let (expanded, mut problems) = expand_and_merge([(given, at)]);
    let mut metadata = Value::Object(expanded);
    apply_schema(schema, &mut metadata);
    match jsonschema::draft202012::new(schema) {
        Ok(validator) => problems.extend(validator.iter_errors(&metadata).map(|error| {
            let path = format!("{at}{}", error.instance_path());
            Problem::new(path, "SCHEMA", error.to_string())
        })),
        Err(error) => problems.push(Problem::new(
            at,
            "SCHEMA",
            format!("The schema of the job type is invalid: {error}"),
        )),
    }
    match metadata {
        Value::Object(metadata) if problems.is_empty() => Ok(metadata),
        _ => Err(problems),
    }
}

/// Expands dotted keys and changes nothing else.
pub(crate) fn expand_keys(given: &Map<String, Value>, at: &str) -> Result<Map<String, Value>, Vec<Problem>> {
    join([(given, at)])
}

/// Expands and merges metadata from several parts of the input. Different values for the same path are a problem.
pub fn join<'a>(
    given: impl IntoIterator<Item = (&'a Map<String, Value>, &'a str)>,
) -> Result<Map<String, Value>, Vec<Problem>> {
    let (expanded, problems) = expand_and_merge(given);
    if problems.is_empty() { Ok(expanded) } else { Err(problems) }
}

fn expand_and_merge<'a>(
    given: impl IntoIterator<Item = (&'a Map<String, Value>, &'a str)>,
) -> (Map<String, Value>, Vec<Problem>) {
    let (mut expanded, mut problems) = (Map::new(), Vec::new());
    let fields = given.into_iter().flat_map(|(fields, at)| fields.iter().map(move |field| (field, at)));
    for ((key, value), at) in fields {
        let path = format!("{at}/{}", escape(key));
        if exceeds_levels(MAX_LEVELS, key, value) {
            let message = format!("A path in the metadata must have at most {MAX_LEVELS} levels.");
            problems.push(Problem::new(path, "TOO_DEEP", message));
            continue;
        }
        merge(&mut expanded, key, value.clone(), &path, &mut problems);
    }
    (expanded, problems)
}

/// Returns whether a field has more than `left` levels, without recursing deeper.
fn exceeds_levels(left: usize, key: &str, value: &Value) -> bool {
    let Some(left) = left.checked_sub(count_levels(key)) else { return true };
    value.as_object().is_some_and(|inner| inner.iter().any(|(key, value)| exceeds_levels(left, key, value)))
}

/// Returns the number of levels of a key; a dotted key has several.
pub(crate) fn count_levels(key: &str) -> usize {
    key.split('.').count()
}

/// Returns the value at a dotted path.
pub(crate) fn lookup<'a>(metadata: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(metadata, |value, key| value.get(key))
}

/// Inserts a value at a dotted key. Merges objects; other values at the same path must be equal. Recurses once for each
/// level, of which there are at most [`MAX_LEVELS`].
fn merge(into: &mut Map<String, Value>, key: &str, value: Value, path: &str, problems: &mut Vec<Problem>) {
    if let Some((head, rest)) =
        key.split_once('.').filter(|(head, rest)| !head.is_empty() && !rest.is_empty())
    {
        match into.entry(head).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(inner) => {
                merge(inner, rest, value, path, problems);
            }
            _ => {
                problems.push(conflict(path));
            }
        }
        return;
    }
    match (into.get_mut(key), value) {
        (Some(Value::Object(existing)), Value::Object(new)) => {
            for (key, value) in new {
                merge(existing, &key, value, path, problems);
            }
        }
        (Some(existing), new) if *existing != new => problems.push(conflict(path)),
        (Some(_), _) => {}
        (None, Value::Object(new)) => {
            let mut inner = Map::new();
            for (key, value) in new {
                merge(&mut inner, &key, value, path, problems);
            }
            into.insert(key.to_owned(), Value::Object(inner));
        }
        (None, value) => {
            into.insert(key.to_owned(), value);
        }
    }
}

fn conflict(path: &str) -> Problem {
    Problem::new(path, "CLASH", "This field occurs twice, with different values.")
}

/// Adds defaults and converts strings to numbers or booleans, as deep as the schema lists properties.
fn apply_schema(schema: &Value, value: &mut Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let Some(object) = value.as_object_mut() else { return };
    for (key, schema) in properties {
        if let (None, Some(default)) = (object.get(key), schema.get("default")) {
            object.insert(key.clone(), default.clone());
        }
        if let Some(field) = object.get_mut(key) {
            coerce(schema, field);
            apply_schema(schema, field);
        }
    }
}

fn coerce(schema: &Value, value: &mut Value) {
    let Value::String(text) = &*value else { return };
    let allows = |name: &str| match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(many)) => many.iter().any(|one| one == name),
        _ => false,
    };
    if allows("string") {
        return;
    }
    let parsed = match serde_json::from_str::<Value>(text.trim()) {
        Ok(Value::Number(number)) if (allows("number") || allows("integer")) && !is_long(&number) => {
            Value::Number(number)
        }
        Ok(boolean @ Value::Bool(_)) if allows("boolean") => boolean,
        _ => return,
    };
    *value = parsed;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["mapping"],
            "properties": {
                "mapping": {
                    "type": "object",
                    "required": ["taxonomy"],
                    "properties": {
                        "taxonomy": {"type": "string"},
                        "threshold": {"type": "number", "minimum": 0, "maximum": 1, "default": 1}
                    }
                },
                "text": {"type": "object", "default": {}, "properties": {"ocr": {"type": "boolean", "default": false}}}
            }
        })
    }

    fn run(given: &Value) -> Result<Value, Vec<Problem>> {
        normalize(&schema(), given.as_object().unwrap(), "/metadata").map(Value::Object)
    }

    #[test]
    fn normalize_expands_keys_and_applies_the_schema() {
        let metadata = run(
            &json!({"mapping.taxonomy": "7", "mapping": {"threshold": "0.5"}, "text.ocr": "true", "my.own": "1"}),
        );
        let expected = json!({
            "mapping": {"taxonomy": "7", "threshold": 0.5}, "text": {"ocr": true}, "my": {"own": "1"}
        });
        assert_eq!(metadata, Ok(expected));
        let least = json!({"mapping": {"taxonomy": "x", "threshold": 1}, "text": {"ocr": false}});
        assert_eq!(run(&json!({"mapping": {"taxonomy": "x"}})), Ok(least));
    }

    #[test]
    fn string_with_a_too_long_number_stays_a_string() {
        let problems = run(&json!({"mapping": {"taxonomy": "x", "threshold": "1e-200000"}})).unwrap_err();
        assert_eq!(
            (problems[0].path.as_str(), problems[0].code.as_str()),
            ("/metadata/mapping/threshold", "SCHEMA")
        );
    }

    #[test]
    fn repeated_field_must_have_equal_values() {
        assert!(run(&json!({"mapping.taxonomy": "x", "mapping": {"taxonomy": "x"}})).is_ok());
        let problems = run(&json!({"mapping.taxonomy": "x", "mapping": {"taxonomy": "y"}})).unwrap_err();
        assert_eq!((problems.len(), problems[0].code.as_str()), (1, "CLASH"));
        let problems = run(&json!({"a": 1, "a.b": 2, "mapping.taxonomy": "x"})).unwrap_err();
        assert_eq!(problems[0].path, "/metadata/a.b");
    }

    #[test]
    fn too_many_levels_are_refused_before_recursion() {
        let expand = |given: &Value| expand_keys(given.as_object().unwrap(), "/metadata");
        let keys = |n: usize| vec!["a"; n].join(".");
        assert!(expand(&json!({keys(MAX_LEVELS): 1})).is_ok());
        let inner = keys(MAX_LEVELS - 1);
        assert!(expand(&json!({"a": {inner.clone(): 1}})).is_ok());
        for given in [
            json!({keys(MAX_LEVELS + 1): 1}),
            json!({"a": {"b": {inner.clone(): 1}}}),
            json!({keys(20_000): 1}),
        ] {
            let problems = expand(&given).unwrap_err();
            let key = given.as_object().unwrap().keys().next().unwrap();
            assert_eq!(
                (problems[0].path.as_str(), problems[0].code.as_str()),
                (&*format!("/metadata/{key}"), "TOO_DEEP")
            );
        }
    }

    #[test]
    fn metadata_of_two_parts_is_merged_or_conflicts() {
        let join = |first: Value, second: Value| {
            let joined = join([(first.as_object().unwrap(), "/metadata"), (second.as_object().unwrap(), "")]);
            joined.map(Value::Object).map_err(|problems| problems[0].path.clone())
        };
        let both = join(json!({"a": {"b": 1}, "c": 2}), json!({"a.d": 3, "c": 2}));
        assert_eq!(both, Ok(json!({"a": {"b": 1, "d": 3}, "c": 2})));
        assert_eq!(join(json!({"a": {"b": 1}}), json!({"a": {"b": 2}})), Err("/a".into()));
        assert_eq!(join(json!({"a": 1}), json!({"a": 1, "b.c": 2})), Ok(json!({"a": 1, "b": {"c": 2}})));
    }

    #[test]
    fn all_problems_are_reported_with_their_paths() {
        let problems = run(&json!({"mapping": {"threshold": 7}, "text": {"ocr": "perhaps"}})).unwrap_err();
        let mut paths: Vec<_> = problems.iter().map(|p| p.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/metadata/mapping", "/metadata/mapping/threshold", "/metadata/text/ocr"]);
    }
}
