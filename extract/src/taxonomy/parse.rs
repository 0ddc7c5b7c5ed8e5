//! Parses and checks a definition. Continues after a problem, so that its author sees all of them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::definition::{DataPoint, KeywordEntry, Kind, Options, Pattern, Taxonomy};
use super::limits::Limits;
use super::pattern;
use super::problem::Problem;
use crate::normalize::{DateFormat, fold};

impl Taxonomy {
    /// Parses a definition within the default [`Limits`]. The error lists all problems in the order of the definition.
    pub fn parse(definition: &Value) -> Result<Self, Vec<Problem>> {
        Self::parse_within(definition, &Limits::default())
    }

    /// Parses a definition within `limits`.
    pub(crate) fn parse_within(definition: &Value, limits: &Limits) -> Result<Self, Vec<Problem>> {
        let mut parser = DefinitionParser {
            limits,
            budget: pattern::CompileBudget::new(limits),
            problems: Vec::new(),
            unlisted: 0,
        };
        let taxonomy = parser.parse_taxonomy(definition);
        match taxonomy {
            Some(taxonomy) if parser.problems.is_empty() => Ok(taxonomy),
            _ => Err(parser.finish()),
        }
    }
}

/// A JSON Pointer (RFC 6901) into the definition.
#[derive(Clone)]
struct JsonPointer(String);

impl JsonPointer {
    fn key(&self, key: &str) -> Self {
        Self(format!("{}/{}", self.0, key.replace('~', "~0").replace('/', "~1")))
    }

    fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }
}

struct DefinitionParser<'l> {
    limits: &'l Limits,
    budget: pattern::CompileBudget,
    problems: Vec<Problem>,
    unlisted: usize,
}

impl DefinitionParser<'_> {
    fn report(&mut self, pointer: &JsonPointer, code: &'static str, message: impl Into<String>) {
        if self.problems.len() < self.limits.problems {
            self.problems.push(Problem { path: pointer.0.clone(), code, message: message.into() });
        } else {
            self.unlisted += 1;
        }
    }

    fn finish(mut self) -> Vec<Problem> {
        if self.unlisted > 0 {
            let message = format!("{} more problems are not listed", self.unlisted);
            self.problems.push(Problem { path: String::new(), code: "TOO_MANY", message });
        }
        self.problems
    }

    fn parse_taxonomy(&mut self, definition: &Value) -> Option<Taxonomy> {
        let root = JsonPointer(String::new());
        let object = self.parse_object(definition, &root)?;
        let name = self.parse_required_text(object, "name", &root);
        let version = match object.get("version") {
            None | Some(Value::Null) => None,
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(value) => self.parse_text(value, &root.key("version")),
        };
        let options = match non_null(object, "options") {
            Some(value) => self.parse_options(value, &root.key("options")),
            None => Options::default(),
        };
        let data_points =
            self.parse_list(object, "data_points", &root, self.limits.data_points, Self::parse_data_point);
        let keywords = self.parse_list(object, "keywords", &root, self.limits.keywords, Self::parse_keyword);
        let names =
            data_points.iter().map(|(pointer, point)| (pointer.key("name"), point.name.clone())).collect();
        self.require_unique(names, "data point");
        let terms =
            keywords.iter().map(|(pointer, entry)| (pointer.key("term"), fold(&entry.term))).collect();
        self.require_unique(terms, "keyword");
        Some(Taxonomy {
            name: name?,
            version,
            options,
            data_points: without_pointers(data_points),
            keywords: without_pointers(keywords),
        })
    }

    fn parse_options(&mut self, value: &Value, pointer: &JsonPointer) -> Options {
        let Some(object) = self.parse_object(value, pointer) else { return Options::default() };
        let mut options = Options::default();
        if let Some(value) = non_null(object, "decimal_separator") {
            match value.as_str() {
                Some(".") => options.decimal_separator = Some('.'),
                Some(",") => options.decimal_separator = Some(','),
                _ => self.report(
                    &pointer.key("decimal_separator"),
                    "UNKNOWN_VALUE",
                    "is neither \".\" nor \",\"; leave it out to have it inferred",
                ),
            }
        }
        for (pointer, format) in self.parse_texts(object, "date_formats", pointer, self.limits.options) {
            match DateFormat::parse(&format) {
                Ok(_) => options.date_formats.push(format),
                Err(message) => self.report(&pointer, "INVALID_FORMAT", message),
            }
        }
        for (pointer, language) in self.parse_texts(object, "languages", pointer, self.limits.options) {
            let code = language.split(['-', '_']).next().unwrap_or_default().to_lowercase();
            if matches!(code.len(), 2 | 3) && code.chars().all(|c| c.is_ascii_lowercase()) {
                options.languages.push(code);
            } else {
                self.report(
                    &pointer,
                    "INVALID_FORMAT",
                    format!("{language:?} is not a language code such as \"de\""),
                );
            }
        }
        if let Some(value) = non_null(object, "currency") {
            match value
                .as_str()
                .filter(|code| code.len() == 3 && code.chars().all(|c| c.is_ascii_alphabetic()))
            {
                Some(code) => options.currency = Some(code.to_uppercase()),
                None => self.report(
                    &pointer.key("currency"),
                    "INVALID_FORMAT",
                    "is not a currency code of three letters such as \"EUR\"",
                ),
            }
        }
        options
    }

    fn parse_data_point(&mut self, value: &Value, pointer: &JsonPointer) -> Option<DataPoint> {
        let object = self.parse_object(value, pointer)?;
        let name = self.parse_required_text(object, "name", pointer);
        if let Some(name) = &name
            && name.split('.').any(str::is_empty)
        {
            self.report(
                &pointer.key("name"),
                "INVALID_FORMAT",
                "has an empty part before, after or between its dots",
            );
        }
        let kind = self.parse_kind(object, pointer);
        let required = self.parse_flag(object, "required", pointer);
        let multiple = self.parse_flag(object, "multiple", pointer);
        let labels = without_pointers(self.parse_texts(object, "labels", pointer, self.limits.labels));
        let patterns =
            self.parse_list(object, "patterns", pointer, self.limits.patterns, Self::parse_pattern);
        let values = without_pointers(self.parse_texts(object, "values", pointer, self.limits.values));
        if kind == Some(Kind::Enum) && values.is_empty() {
            self.report(&pointer.key("values"), "REQUIRED", "an enum needs its allowed values");
        }
        Some(DataPoint {
            name: name?,
            kind: kind?,
            required,
            multiple,
            labels,
            patterns: without_pointers(patterns),
            values,
        })
    }

    fn parse_kind(&mut self, object: &Map<String, Value>, pointer: &JsonPointer) -> Option<Kind> {
        let name = self.parse_required_text(object, "type", pointer)?;
        let kind = Kind::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        if kind.is_none() {
            let known = Kind::ALL.map(|(name, _)| name).join(", ");
            self.report(
                &pointer.key("type"),
                "UNKNOWN_VALUE",
                format!("{name:?} is not a type; the types are {known}"),
            );
        }
        kind
    }

    fn parse_pattern(&mut self, value: &Value, pointer: &JsonPointer) -> Option<Pattern> {
        let source = self.parse_text_within(value, pointer, self.limits.pattern_chars)?;
        match pattern::compile_pattern(&source, self.limits, &mut self.budget) {
            Ok(pattern) => Some(pattern),
            Err(message) => {
                self.report(pointer, "INVALID_PATTERN", message);
                None
            }
        }
    }

    fn parse_keyword(&mut self, value: &Value, pointer: &JsonPointer) -> Option<KeywordEntry> {
        let object = self.parse_object(value, pointer)?;
        let term = self.parse_required_text(object, "term", pointer);
        let synonyms = without_pointers(self.parse_texts(object, "synonyms", pointer, self.limits.synonyms));
        Some(KeywordEntry { term: term?, synonyms })
    }

    /// Parses a list. Returns the valid items with their pointers.
    fn parse_list<T>(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        pointer: &JsonPointer,
        limit: usize,
        mut read: impl FnMut(&mut Self, &Value, &JsonPointer) -> Option<T>,
    ) -> Vec<(JsonPointer, T)> {
        let pointer = pointer.key(key);
        let Some(value) = non_null(object, key) else { return Vec::new() };
        let Some(list) = value.as_array() else {
            self.report(&pointer, "WRONG_TYPE", "is not a list");
            return Vec::new();
        };
        if list.len() > limit {
            self.report(&pointer, "TOO_MANY", format!("has {} entries; the limit is {limit}", list.len()));
        }
        let mut read_items = Vec::new();
        for (index, value) in list.iter().take(limit).enumerate() {
            let pointer = pointer.index(index);
            if let Some(item) = read(self, value, &pointer) {
                read_items.push((pointer, item));
            }
        }
        read_items
    }

    fn parse_texts(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        pointer: &JsonPointer,
        limit: usize,
    ) -> Vec<(JsonPointer, String)> {
        self.parse_list(object, key, pointer, limit, Self::parse_text)
    }

    fn parse_object<'v>(
        &mut self,
        value: &'v Value,
        pointer: &JsonPointer,
    ) -> Option<&'v Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.report(pointer, "WRONG_TYPE", "is not an object");
        }
        object
    }

    fn parse_required_text(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        pointer: &JsonPointer,
    ) -> Option<String> {
        let pointer = pointer.key(key);
        match non_null(object, key) {
            Some(value) => self.parse_text(value, &pointer),
            None => {
                self.report(&pointer, "REQUIRED", "is missing");
                None
            }
        }
    }

    fn parse_text(&mut self, value: &Value, pointer: &JsonPointer) -> Option<String> {
        self.parse_text_within(value, pointer, self.limits.text_chars)
    }

    fn parse_text_within(&mut self, value: &Value, pointer: &JsonPointer, limit: usize) -> Option<String> {
        let Some(text) = value.as_str() else {
            self.report(pointer, "WRONG_TYPE", "is not a string");
            return None;
        };
        if text.trim().is_empty() {
            self.report(pointer, "EMPTY", "is empty");
            return None;
        }
        let chars = text.chars().count();
        if chars > limit {
            self.report(pointer, "TOO_LONG", format!("has {chars} characters; the limit is {limit}"));
            return None;
        }
        Some(text.to_owned())
    }

    fn parse_flag(&mut self, object: &Map<String, Value>, key: &str, pointer: &JsonPointer) -> bool {
        match non_null(object, key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.report(&pointer.key(key), "WRONG_TYPE", "is neither true nor false");
                false
            }
        }
    }

    fn require_unique(&mut self, names: Vec<(JsonPointer, String)>, noun: &str) {
        let mut seen = HashSet::new();
        for (pointer, name) in names {
            if !seen.insert(name.clone()) {
                self.report(&pointer, "DUPLICATE", format!("another {noun} has the name {name:?}"));
            }
        }
    }
}

/// Returns the value of a key; null counts as absent.
fn non_null<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn without_pointers<T>(items: Vec<(JsonPointer, T)>) -> Vec<T> {
    items.into_iter().map(|(_, item)| item).collect()
}
