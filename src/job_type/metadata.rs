//! A job's metadata: dotted keys opened, defaults filled in, strings taken as what the schema wants, all problems at once.

use serde_json::{Map, Value};

use crate::error::Problem;
use crate::json::{escape, is_long};

/// Levels of a path in the metadata, those of dotted keys and those of objects within each other together. What is stored
/// is read back by parsers and walked by functions that recurse once for each.
pub const MOST_LEVELS: usize = 32;

/// What a client sent, as the type's JSON Schema (2020-12) wants it; every problem with its path under `at`.
pub fn normalize(
    schema: &Value,
    given: &Map<String, Value>,
    at: &str,
) -> Result<Map<String, Value>, Vec<Problem>> {
    let (opened, mut problems) = open_all([(given, at)]);
    let mut metadata = Value::Object(opened);
    prepare(schema, &mut metadata);
    match jsonschema::draft202012::new(schema) {
        Ok(validator) => problems.extend(validator.iter_errors(&metadata).map(|error| {
            let path = format!("{at}{}", error.instance_path());
            Problem::new(path, "SCHEMA", error.to_string())
        })),
        Err(error) => {
            problems.push(Problem::new(at, "SCHEMA", format!("The type's own schema is wrong: {error}")))
        }
    }
    match metadata {
        Value::Object(metadata) if problems.is_empty() => Ok(metadata),
        _ => Err(problems),
    }
}

/// Opens dotted keys and nothing else.
pub fn open(given: &Map<String, Value>, at: &str) -> Result<Map<String, Value>, Vec<Problem>> {
    join([(given, at)])
}

/// The same for what was given in several places: where two of them disagree, that is a problem.
pub fn join<'a>(
    given: impl IntoIterator<Item = (&'a Map<String, Value>, &'a str)>,
) -> Result<Map<String, Value>, Vec<Problem>> {
    let (opened, problems) = open_all(given);
    if problems.is_empty() { Ok(opened) } else { Err(problems) }
}

fn open_all<'a>(
    given: impl IntoIterator<Item = (&'a Map<String, Value>, &'a str)>,
) -> (Map<String, Value>, Vec<Problem>) {
    let (mut opened, mut problems) = (Map::new(), Vec::new());
    let fields = given.into_iter().flat_map(|(fields, at)| fields.iter().map(move |field| (field, at)));
    for ((key, value), at) in fields {
        let path = format!("{at}/{}", escape(key));
        if deeper_than(MOST_LEVELS, key, value) {
            let message = format!("A path in the metadata has {MOST_LEVELS} levels at the most.");
            problems.push(Problem::new(path, "TOO_DEEP", message));
            continue;
        }
        merge(&mut opened, key, value.clone(), &path, &mut problems);
    }
    (opened, problems)
}

/// Whether a field has more levels than `left`, without going deeper than these.
fn deeper_than(left: usize, key: &str, value: &Value) -> bool {
    let Some(left) = left.checked_sub(levels(key)) else { return true };
    value.as_object().is_some_and(|inner| inner.iter().any(|(key, value)| deeper_than(left, key, value)))
}

/// Levels of one key; a dotted one has several.
pub fn levels(key: &str) -> usize {
    key.split('.').count()
}

/// Looks a dotted path up.
pub fn lookup<'a>(metadata: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(metadata, |value, key| value.get(key))
}

/// Puts a value where a dotted key points. Objects join; anything else at the same place has to be equal. Recurses once for
/// each level, of which there are [`MOST_LEVELS`].
fn merge(into: &mut Map<String, Value>, key: &str, value: Value, path: &str, problems: &mut Vec<Problem>) {
    if let Some((head, rest)) =
        key.split_once('.').filter(|(head, rest)| !head.is_empty() && !rest.is_empty())
    {
        match into.entry(head).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(inner) => {
                merge(inner, rest, value, path, problems);
            }
            _ => {
                problems.push(clash(path));
            }
        }
        return;
    }
    match (into.get_mut(key), value) {
        (Some(Value::Object(there)), Value::Object(new)) => {
            for (key, value) in new {
                merge(there, &key, value, path, problems);
            }
        }
        (Some(there), new) if *there != new => problems.push(clash(path)),
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

fn clash(path: &str) -> Problem {
    Problem::new(path, "CLASH", "This field is given twice, with different values.")
}

/// Fills in defaults and takes strings as numbers or booleans, as deep as the schema names properties.
fn prepare(schema: &Value, value: &mut Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let Some(object) = value.as_object_mut() else { return };
    for (key, schema) in properties {
        if let (None, Some(default)) = (object.get(key), schema.get("default")) {
            object.insert(key.clone(), default.clone());
        }
        if let Some(field) = object.get_mut(key) {
            coerce(schema, field);
            prepare(schema, field);
        }
    }
}

fn coerce(schema: &Value, value: &mut Value) {
    let Value::String(text) = &*value else { return };
    let wants = |name: &str| match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(many)) => many.iter().any(|one| one == name),
        _ => false,
    };
    if wants("string") {
        return;
    }
    let taken = match serde_json::from_str::<Value>(text.trim()) {
        Ok(Value::Number(number)) if (wants("number") || wants("integer")) && !is_long(&number) => {
            Value::Number(number)
        }
        Ok(boolean @ Value::Bool(_)) if wants("boolean") => boolean,
        _ => return,
    };
    *value = taken;
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
    fn dotted_keys_defaults_and_strings() {
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
    fn text_of_a_number_that_is_too_long_stays_text() {
        let problems = run(&json!({"mapping": {"taxonomy": "x", "threshold": "1e-200000"}})).unwrap_err();
        assert_eq!(
            (problems[0].path.as_str(), problems[0].code.as_str()),
            ("/metadata/mapping/threshold", "SCHEMA")
        );
    }

    #[test]
    fn the_same_field_twice_has_to_agree() {
        assert!(run(&json!({"mapping.taxonomy": "x", "mapping": {"taxonomy": "x"}})).is_ok());
        let problems = run(&json!({"mapping.taxonomy": "x", "mapping": {"taxonomy": "y"}})).unwrap_err();
        assert_eq!((problems.len(), problems[0].code.as_str()), (1, "CLASH"));
        let problems = run(&json!({"a": 1, "a.b": 2, "mapping.taxonomy": "x"})).unwrap_err();
        assert_eq!(problems[0].path, "/metadata/a.b");
    }

    #[test]
    fn what_has_too_many_levels_is_refused_before_anything_recurses_into_it() {
        let open = |given: &Value| open(given.as_object().unwrap(), "/metadata");
        let keys = |n: usize| vec!["a"; n].join(".");
        assert!(open(&json!({keys(MOST_LEVELS): 1})).is_ok());
        let inner = keys(MOST_LEVELS - 1);
        assert!(open(&json!({"a": {inner.clone(): 1}})).is_ok());
        for given in [
            json!({keys(MOST_LEVELS + 1): 1}),
            json!({"a": {"b": {inner.clone(): 1}}}),
            json!({keys(20_000): 1}),
        ] {
            let problems = open(&given).unwrap_err();
            let key = given.as_object().unwrap().keys().next().unwrap();
            assert_eq!(
                (problems[0].path.as_str(), problems[0].code.as_str()),
                (&*format!("/metadata/{key}"), "TOO_DEEP")
            );
        }
    }

    #[test]
    fn what_is_given_in_two_places_joins_or_clashes() {
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
    fn all_problems_at_once_each_with_its_path() {
        let problems = run(&json!({"mapping": {"threshold": 7}, "text": {"ocr": "perhaps"}})).unwrap_err();
        let mut paths: Vec<_> = problems.iter().map(|p| p.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/metadata/mapping", "/metadata/mapping/threshold", "/metadata/text/ocr"]);
    }
}
