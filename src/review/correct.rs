//! Corrections of the content under review by a JSON Patch (RFC 6902). A patch that does not apply is refused as a
//! whole, and the problem names the operation. The functions are pure.

use std::collections::HashMap;

use json_patch::PatchOperation;
use serde_json::Value;

use crate::error::Problem;
use crate::job::contents::Grade;
use crate::json::storage_problem;

/// Maximum number of nesting levels of a corrected content. The contents of the built-in job types have four.
const MAX_LEVELS: usize = 100;

/// Maximum number of bytes that the operations of a patch may copy within the content. Corrections copy little.
const MAX_COPIED_BYTES: usize = 1 << 20;

/// Maximum size of a text that a message quotes, in bytes.
const MAX_QUOTED_BYTES: usize = 200;

/// Maximum number of schema violations that are reported.
const MAX_SCHEMA_PROBLEMS: usize = 20;

/// The result of a patch.
#[derive(Debug, PartialEq)]
pub struct Corrected {
    /// The corrected content; `None` if the patch changes nothing.
    pub content: Option<Value>,
    /// The confidences of the values that were corrected.
    pub(crate) grades: Vec<Grade>,
}

/// Reads a patch. Returns a problem for each malformed operation.
pub fn parse(patch: &Value) -> Result<Vec<PatchOperation>, Vec<Problem>> {
    let Some(list) = patch.as_array() else {
        let message = "A JSON Patch (RFC 6902) is a list of operations.";
        return Err(vec![Problem::new("/patch", "PATCH", message)]);
    };
    let (mut operations, mut problems) = (Vec::with_capacity(list.len()), Vec::new());
    for (i, operation) in list.iter().enumerate() {
        match read_operation(operation.clone()) {
            Ok(operation) => operations.push(operation),
            Err(error) => problems.push(Problem::new(format!("/patch/{i}"), "PATCH", format!("{error}."))),
        }
    }
    if problems.is_empty() { Ok(operations) } else { Err(problems) }
}

/// Reads one operation. Its value is moved past serde, which loses numbers of more than 64 bits in a tagged enum.
fn read_operation(mut operation: Value) -> serde_json::Result<PatchOperation> {
    let value = operation.get_mut("value").map(Value::take).unwrap_or_default();
    let mut operation = serde_json::from_value(operation)?;
    match &mut operation {
        PatchOperation::Add(add) => add.value = value,
        PatchOperation::Replace(replace) => replace.value = value,
        PatchOperation::Test(test) => test.value = value,
        PatchOperation::Remove(_) | PatchOperation::Move(_) | PatchOperation::Copy(_) => {}
    }
    Ok(operation)
}

/// Applies a patch to a content, which may grow to `max_bytes` bytes and must match `schema`.
pub fn apply(
    before: &Value,
    operations: &[PatchOperation],
    schema: Option<&Value>,
    max_bytes: usize,
) -> Result<Corrected, Vec<Problem>> {
    let mut content = before.clone();
    let mut copied = 0;
    for (i, operation) in operations.iter().enumerate() {
        let refuse = |message: String| vec![Problem::new(format!("/patch/{i}"), "PATCH", message)];
        copied += copied_bytes(&content, operation).map_err(refuse)?;
        let max_copied = max_bytes.min(MAX_COPIED_BYTES);
        if copied > max_copied {
            return Err(refuse(format!("A patch may copy at most {max_copied} bytes.")));
        }
        if let PatchOperation::Test(test) = operation
            && content.pointer(test.path.as_str()).is_some_and(|found| is_equal(found, &test.value))
        {
            continue;
        }
        // Operations are applied one by one, so that the size of each copy is known before it is made.
        json_patch::patch_unsafe(&mut content, std::slice::from_ref(operation)).map_err(|error| {
            refuse(format!("The operation cannot be applied at {:?}: {}.", error.path.as_str(), error.kind))
        })?;
    }
    if content == *before {
        return Ok(Corrected { content: None, grades: Vec::new() });
    }
    if let Some(schema) = schema {
        let problems = schema_problems(&content, operations, schema);
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    Ok(Corrected { content: Some(content), grades: grades(before, operations) })
}

/// Estimates the bytes that an operation copies. Fails if the content would nest too deeply to be serialized.
fn copied_bytes(content: &Value, operation: &PatchOperation) -> Result<usize, String> {
    let (value, path) = match operation {
        PatchOperation::Add(add) => (Some(&add.value), &add.path),
        PatchOperation::Replace(replace) => (Some(&replace.value), &replace.path),
        PatchOperation::Copy(copy) => (content.pointer(copy.from.as_str()), &copy.path),
        PatchOperation::Move(moved) => (content.pointer(moved.from.as_str()), &moved.path),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => (None, operation_path(operation)),
    };
    let Some(value) = value else { return Ok(0) };
    if path.as_str().matches('/').count() + depth(value) > MAX_LEVELS {
        return Err(format!("The content would have more than {MAX_LEVELS} levels."));
    }
    match operation {
        PatchOperation::Copy(_) => Ok(value.to_string().len()),
        _ => Ok(0),
    }
}

/// Checks a content that replaces another one, against the same limits and schema as the result of a patch. Returns the
/// confidences of the values that differ. Paths of problems refer to the content.
pub(crate) fn check_replacement(
    before: Option<&Value>,
    content: &Value,
    schema: Option<&Value>,
) -> Result<Vec<Grade>, Vec<Problem>> {
    if depth(content) > MAX_LEVELS {
        let message = format!("A content has at most {MAX_LEVELS} levels.");
        return Err(vec![Problem::new("", "TOO_DEEP", message)]);
    }
    // The items of a review contain values of the content, which the database must be able to store.
    if let Some(problem) = storage_problem(content) {
        return Err(vec![problem]);
    }
    if let Some(schema) = schema {
        let validator = jsonschema::draft202012::new(schema).map_err(|error| {
            vec![Problem::new("", "SCHEMA", format!("The schema of the content is invalid: {error}"))]
        })?;
        let problem = |error: jsonschema::ValidationError<'_>| {
            Problem::new(error.instance_path().to_string(), "SCHEMA", describe(&error))
        };
        let problems: Vec<_> =
            validator.iter_errors(content).take(MAX_SCHEMA_PROBLEMS).map(problem).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    Ok(before.map(|before| replaced_grades(before, content)).unwrap_or_default())
}

/// Describes a violation of a schema. The message quotes plain values only, and only short ones.
fn describe(error: &jsonschema::ValidationError<'_>) -> String {
    match &**error.instance() {
        Value::Array(_) | Value::Object(_) => error.masked().to_string(),
        Value::String(text) if text.len() > MAX_QUOTED_BYTES => error.masked().to_string(),
        _ => error.to_string(),
    }
}

/// Returns the confidences of the entries that the new content does not contain unchanged, wherever they are in it.
/// Counts additional entries as missing.
fn replaced_grades(before: &Value, content: &Value) -> Vec<Grade> {
    let mut removed: HashMap<&Value, usize> = HashMap::new();
    visit_graded(before, &mut |entry| *removed.entry(entry).or_default() += 1);
    let mut added = 0;
    visit_graded(content, &mut |entry| match removed.get_mut(entry).filter(|count| **count > 0) {
        Some(count) => *count -= 1,
        None => added += 1,
    });
    let mut grades = Vec::new();
    for (entry, count) in removed {
        grades.extend(grade(entry).map(|grade| vec![grade; count]).unwrap_or_default());
    }
    let missed = usize::saturating_sub(added, grades.len());
    grades.extend(vec![Grade { thousandths: 0, missing: true }; missed]);
    grades
}

/// Calls `visit` for each entry in a value that has a confidence.
fn visit_graded<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    if grade(value).is_some() {
        visit(value);
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| visit_graded(value, visit)),
        Value::Object(fields) => fields.values().for_each(|value| visit_graded(value, visit)),
        _ => {}
    }
}

/// Returns the confidence of an entry; `None` if it has none.
fn grade(entry: &Value) -> Option<Grade> {
    let confidence = entry.get("confidence")?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "0 to 1000")]
    let thousandths = (confidence.clamp(0.0, 1.0) * 1_000.0).round() as i32;
    // A required value that was not found is null.
    let missing = entry.get("value") == Some(&Value::Null);
    Some(Grade { thousandths, missing })
}

/// Returns whether two values are equal in a `test` operation (RFC 6902, section 4.6): numbers compare by value. A
/// JavaScript client can only write 1 for the 1.0 that it has read.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || (x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64()
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| is_equal(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| is_equal(x, y)))
        }
        _ => a == b,
    }
}

fn operation_path(operation: &PatchOperation) -> &json_patch::jsonptr::PointerBuf {
    match operation {
        PatchOperation::Add(operation) => &operation.path,
        PatchOperation::Remove(operation) => &operation.path,
        PatchOperation::Replace(operation) => &operation.path,
        PatchOperation::Move(operation) => &operation.path,
        PatchOperation::Copy(operation) => &operation.path,
        PatchOperation::Test(operation) => &operation.path,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Returns the violations of a schema, each with the last operation that changed its location.
fn schema_problems(content: &Value, operations: &[PatchOperation], schema: &Value) -> Vec<Problem> {
    let validator = match jsonschema::draft202012::new(schema) {
        Ok(validator) => validator,
        Err(error) => {
            let message = format!("The schema of the content is invalid: {error}");
            return vec![Problem::new("/patch", "SCHEMA", message)];
        }
    };
    let problem = |error: jsonschema::ValidationError<'_>| {
        let at = error.instance_path().to_string();
        let changes = |operation: &PatchOperation| are_related(operation.path().as_str(), &at);
        let path = match operations.iter().rposition(changes) {
            Some(i) => format!("/patch/{i}"),
            None => "/patch".to_owned(),
        };
        Problem::new(path, "SCHEMA", format!("The content would be invalid at {at:?}: {}", describe(&error)))
    };
    validator.iter_errors(content).take(MAX_SCHEMA_PROBLEMS).map(problem).collect()
}

/// Returns whether one pointer is a prefix of the other, or both are equal.
fn are_related(a: &str, b: &str) -> bool {
    let is_prefix =
        |a: &str, b: &str| b.strip_prefix(a).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // "-" is the end of an array. After the operation, the new element has an index.
    let (a, b) = (a.trim_end_matches("/-"), b.trim_end_matches("/-"));
    is_prefix(a, b) || is_prefix(b, a)
}

/// Returns the confidences of the corrected values: for each operation, that of the nearest enclosing entry. Without
/// one, an operation adds a value that had been missing.
fn grades(before: &Value, operations: &[PatchOperation]) -> Vec<Grade> {
    let mut seen: Vec<(String, Grade)> = Vec::new();
    for operation in operations {
        if matches!(operation, PatchOperation::Test(_)) {
            continue;
        }
        let path = operation.path().as_str();
        let (entry, grade) = nearest_grade(before, path)
            .unwrap_or_else(|| (path.to_owned(), Grade { thousandths: 0, missing: true }));
        if path.ends_with("/-") || !seen.iter().any(|(known, _)| *known == entry) {
            seen.push((entry, grade));
        }
    }
    seen.into_iter().map(|(_, grade)| grade).collect()
}

fn nearest_grade(before: &Value, path: &str) -> Option<(String, Grade)> {
    let mut enclosing = path;
    loop {
        if let Some(grade) = before.pointer(enclosing).and_then(grade) {
            return Some((enclosing.to_owned(), grade));
        }
        enclosing = &enclosing[..enclosing.rfind('/')?];
    }
}

#[cfg(test)]
mod tests {
    use docket_extract::operation::{role, schema};
    use serde_json::json;

    use super::*;

    fn mapping() -> Value {
        json!({"data_points": [
            {"name": "total", "value": "10", "normalized": "10", "confidence": 0.81},
            {"name": "date", "value": null, "confidence": 0.0},
        ], "found": []})
    }

    fn correct(patch: &Value) -> Result<Corrected, Vec<Problem>> {
        let schema: Value = serde_json::from_str(schema(role::MAPPING).unwrap()).unwrap();
        apply(&mapping(), &parse(patch)?, Some(&schema), 10_000)
    }

    fn path_of_problem(patch: &Value) -> String {
        let problems = correct(patch).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].path.clone()
    }

    #[test]
    fn patch_corrects_value_and_returns_its_confidence() {
        let corrected = correct(&json!([
            {"op": "test", "path": "/data_points/0/value", "value": "10"},
            {"op": "replace", "path": "/data_points/0/value", "value": "12"},
            {"op": "replace", "path": "/data_points/0/normalized", "value": "12"},
            {"op": "replace", "path": "/data_points/1/value", "value": "2025-01-01"},
            {"op": "add", "path": "/data_points/-", "value": {"name": "x", "value": "y"}},
        ]))
        .unwrap();
        let content = corrected.content.unwrap();
        assert_eq!(content["data_points"][0]["value"], "12");
        assert_eq!(content["data_points"][2]["name"], "x");
        let grade = |thousandths, missing| Grade { thousandths, missing };
        assert_eq!(corrected.grades, [grade(810, false), grade(0, true), grade(0, true)]);
    }

    #[test]
    fn patch_without_effect_creates_no_version() {
        let unchanged = Corrected { content: None, grades: vec![] };
        assert_eq!(correct(&json!([])), Ok(unchanged));
        let same = correct(&json!([{"op": "replace", "path": "/data_points/0/value", "value": "10"}]));
        assert_eq!(same.unwrap().content, None);
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let before = json!({"a": [1.0, {"b": 2}], "big": u64::MAX});
        let tested = |path: &str, value: Value| {
            let patch = json!([{"op": "test", "path": path, "value": value}]);
            apply(&before, &parse(&patch).unwrap(), None, 10_000).is_ok()
        };
        assert!(
            tested("/a/0", json!(1))
                && tested("/a", json!([1, {"b": 2.0}]))
                && tested("/big", json!(u64::MAX))
        );
        for (path, value) in [
            ("/a/0", json!(1.5)),
            ("/a/0", json!("1")),
            ("/a", json!([1])),
            ("/a/1", json!({"b": 2, "c": 3})),
            ("/big", json!(u64::MAX - 1)),
            ("/nothing", json!(null)),
        ] {
            assert!(!tested(path, value.clone()), "{path} {value}");
        }
    }

    #[test]
    fn replacement_counts_changed_entries_wherever_they_are() {
        let entry = |name: &str, value: Value, confidence: f64| json!({"name": name, "value": value, "confidence": confidence});
        let before = json!({"data_points": [
            entry("a", json!("1"), 0.5), entry("b", json!("2"), 0.81), entry("b", json!("2"), 0.81), entry("c", Value::Null, 0.0),
        ]});
        let graded = |points: Vec<Value>| {
            let mut grades = check_replacement(Some(&before), &json!({"data_points": points}), None).unwrap();
            grades.sort();
            grades.into_iter().map(|grade| (grade.thousandths, grade.missing)).collect::<Vec<_>>()
        };
        let all = before["data_points"].as_array().unwrap().clone();
        assert_eq!(graded(all.clone()), []);
        assert_eq!(graded(all[1..].to_vec()), [(500, false)], "the first one was removed, the others stay");
        let mut found = all.clone();
        found[3] = entry("c", json!("3"), 1.0);
        assert_eq!(graded(found.clone()), [(0, true)]);
        found.insert(0, entry("d", json!("4"), 1.0));
        assert_eq!(graded(found), [(0, true), (0, true)], "one value was missing, and one entry is new");
    }

    #[test]
    fn numbers_of_a_patch_keep_their_digits() {
        let big: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
        for op in ["add", "replace"] {
            let patch = parse(&json!([{"op": op, "path": "/a", "value": {"b": big}}])).unwrap();
            let corrected = apply(&json!({"a": 1}), &patch, None, 10_000).unwrap().content.unwrap();
            assert_eq!(corrected.to_string(), r#"{"a":{"b":123456789012345678901234567890}}"#);
        }
    }

    #[test]
    fn problem_names_the_wrong_operation() {
        let good = json!({"op": "replace", "path": "/data_points/0/value", "value": "12"});
        for bad in [
            json!({"op": "test", "path": "/data_points/0/name", "value": "date"}),
            json!({"op": "replace", "path": "/data_points/7/value", "value": "1"}),
            json!({"op": "sing", "path": "/data_points"}),
            json!({"op": "replace", "path": "data_points", "value": 1}),
            json!({"op": "remove", "path": "/data_points/0/name"}),
            json!({"op": "add", "path": "/data_points/-", "value": {"value": "nameless"}}),
            json!({"op": "replace", "path": "/data_points/1/confidence", "value": 2}),
            json!({"op": "remove", "path": "/data_points"}),
        ] {
            assert_eq!(path_of_problem(&json!([good, bad])), "/patch/1", "{bad}");
        }
        assert_eq!(path_of_problem(&json!({"op": "test"})), "/patch");
    }

    #[test]
    fn patch_is_limited_in_copied_bytes_and_levels() {
        let applied = |before: &Value, patch: &Value| apply(before, &parse(patch).unwrap(), None, 1 << 24);
        let large = json!({"a": "x".repeat(600 << 10)});
        let copies = |n: usize| {
            let copy = |n| json!({"op": "copy", "from": "/a", "path": format!("/b{n}")});
            Value::Array((0..n).map(copy).collect())
        };
        assert!(applied(&large, &copies(1)).is_ok());
        assert_eq!(applied(&large, &copies(2)).unwrap_err()[0].path, "/patch/1");
        let nested = |levels: usize| {
            let value = (0..levels).fold(json!(1), |inner, _| json!([inner]));
            json!([{"op": "add", "path": "/b", "value": value}])
        };
        assert!(applied(&json!({}), &nested(MAX_LEVELS - 1)).is_ok());
        assert_eq!(applied(&json!({}), &nested(MAX_LEVELS)).unwrap_err()[0].path, "/patch/0");
    }

    #[test]
    fn copies_that_multiply_or_nest_content_are_refused() {
        let widen = json!({"op": "copy", "from": "/data_points", "path": "/x"});
        let deepen = json!({"op": "copy", "from": "", "path": "/data_points/0/x"});
        for (repeated, times) in [(widen, 500), (deepen, 12)] {
            let patch = Value::Array(vec![repeated.clone(); times]);
            let problems = apply(&mapping(), &parse(&patch).unwrap(), None, 10_000).unwrap_err();
            assert!(problems[0].path.starts_with("/patch/"), "{repeated}");
        }
    }
}
