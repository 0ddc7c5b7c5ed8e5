//! Reads and checks a definition, and goes on after a problem so that its author sees all of them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{DataPoint, KeywordEntry, Kind, Limits, Options, Pattern, Problem, Taxonomy, pattern};
use crate::normalize::{DateFormat, fold};

/// Reads a whole definition.
pub(super) fn taxonomy(definition: &Value, limits: &Limits) -> Result<Taxonomy, Vec<Problem>> {
    let mut check = Check { limits, budget: pattern::Budget::new(limits), problems: Vec::new(), more: 0 };
    let taxonomy = check.taxonomy(definition);
    match taxonomy {
        Some(taxonomy) if check.problems.is_empty() => Ok(taxonomy),
        _ => Err(check.finish()),
    }
}

/// A place in the definition, as a JSON Pointer.
#[derive(Clone)]
struct Place(String);

impl Place {
    fn key(&self, key: &str) -> Self {
        Self(format!("{}/{}", self.0, key.replace('~', "~0").replace('/', "~1")))
    }

    fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }
}

struct Check<'l> {
    limits: &'l Limits,
    budget: pattern::Budget,
    problems: Vec<Problem>,
    more: usize,
}

impl Check<'_> {
    fn problem(&mut self, place: &Place, code: &'static str, message: impl Into<String>) {
        if self.problems.len() < self.limits.problems {
            self.problems.push(Problem { path: place.0.clone(), code, message: message.into() });
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<Problem> {
        if self.more > 0 {
            let message = format!("{} more problems are not listed", self.more);
            self.problems.push(Problem { path: String::new(), code: "TOO_MANY", message });
        }
        self.problems
    }

    fn taxonomy(&mut self, definition: &Value) -> Option<Taxonomy> {
        let root = Place(String::new());
        let object = self.object(definition, &root)?;
        let name = self.required_text(object, "name", &root);
        let version = match object.get("version") {
            None | Some(Value::Null) => None,
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(value) => self.text(value, &root.key("version")),
        };
        let options = match present(object, "options") {
            Some(value) => self.options(value, &root.key("options")),
            None => Options::default(),
        };
        let data_points =
            self.list(object, "data_points", &root, self.limits.data_points, |check, value, place| {
                check.data_point(value, place)
            });
        let keywords = self.list(object, "keywords", &root, self.limits.keywords, |check, value, place| {
            check.keyword(value, place)
        });
        let names =
            data_points.iter().map(|(place, point)| (place.key("name"), point.name.clone())).collect();
        self.unique(names, "data point");
        let terms = keywords.iter().map(|(place, entry)| (place.key("term"), fold(&entry.term))).collect();
        self.unique(terms, "keyword");
        Some(Taxonomy {
            name: name?,
            version,
            options,
            data_points: items(data_points),
            keywords: items(keywords),
        })
    }

    fn options(&mut self, value: &Value, place: &Place) -> Options {
        let Some(object) = self.object(value, place) else { return Options::default() };
        let mut options = Options::default();
        if let Some(value) = present(object, "decimal_separator") {
            match value.as_str() {
                Some(".") => options.decimal_separator = Some('.'),
                Some(",") => options.decimal_separator = Some(','),
                _ => self.problem(
                    &place.key("decimal_separator"),
                    "UNKNOWN_VALUE",
                    "is neither \".\" nor \",\"; leave it out to have it inferred",
                ),
            }
        }
        for (place, format) in self.texts(object, "date_formats", place, self.limits.options) {
            match DateFormat::parse(&format) {
                Ok(_) => options.date_formats.push(format),
                Err(message) => self.problem(&place, "INVALID_FORMAT", message),
            }
        }
        for (place, language) in self.texts(object, "languages", place, self.limits.options) {
            let code = language.split(['-', '_']).next().unwrap_or_default().to_lowercase();
            if matches!(code.len(), 2 | 3) && code.chars().all(|c| c.is_ascii_lowercase()) {
                options.languages.push(code);
            } else {
                self.problem(
                    &place,
                    "INVALID_FORMAT",
                    format!("{language:?} is not a language code such as \"de\""),
                );
            }
        }
        if let Some(value) = present(object, "currency") {
            match value
                .as_str()
                .filter(|code| code.len() == 3 && code.chars().all(|c| c.is_ascii_alphabetic()))
            {
                Some(code) => options.currency = Some(code.to_uppercase()),
                None => self.problem(
                    &place.key("currency"),
                    "INVALID_FORMAT",
                    "is not a currency code of three letters such as \"EUR\"",
                ),
            }
        }
        options
    }

    fn data_point(&mut self, value: &Value, place: &Place) -> Option<DataPoint> {
        let object = self.object(value, place)?;
        let name = self.required_text(object, "name", place);
        if let Some(name) = &name
            && name.split('.').any(str::is_empty)
        {
            self.problem(
                &place.key("name"),
                "INVALID_FORMAT",
                "has an empty part before, after or between its dots",
            );
        }
        let kind = self.kind(object, place);
        let required = self.flag(object, "required", place);
        let multiple = self.flag(object, "multiple", place);
        let labels = items(self.texts(object, "labels", place, self.limits.labels));
        let patterns = self.list(object, "patterns", place, self.limits.patterns, |check, value, place| {
            check.pattern(value, place)
        });
        let values = items(self.texts(object, "values", place, self.limits.values));
        if kind == Some(Kind::Enum) && values.is_empty() {
            self.problem(&place.key("values"), "REQUIRED", "an enum needs the values that it may have");
        }
        Some(DataPoint {
            name: name?,
            kind: kind?,
            required,
            multiple,
            labels,
            patterns: items(patterns),
            values,
        })
    }

    fn kind(&mut self, object: &Map<String, Value>, place: &Place) -> Option<Kind> {
        let name = self.required_text(object, "type", place)?;
        let kind = Kind::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        if kind.is_none() {
            let known = Kind::ALL.map(|(name, _)| name).join(", ");
            self.problem(
                &place.key("type"),
                "UNKNOWN_VALUE",
                format!("{name:?} is not a type; it is one of {known}"),
            );
        }
        kind
    }

    fn pattern(&mut self, value: &Value, place: &Place) -> Option<Pattern> {
        let source = self.text_within(value, place, self.limits.pattern_chars)?;
        match pattern::compile(&source, self.limits, &mut self.budget) {
            Ok(pattern) => Some(pattern),
            Err(message) => {
                self.problem(place, "INVALID_PATTERN", message);
                None
            }
        }
    }

    fn keyword(&mut self, value: &Value, place: &Place) -> Option<KeywordEntry> {
        let object = self.object(value, place)?;
        let term = self.required_text(object, "term", place);
        let synonyms = items(self.texts(object, "synonyms", place, self.limits.synonyms));
        Some(KeywordEntry { term: term?, synonyms })
    }

    /// Reads a list; what is sound of it comes back with its place.
    fn list<T>(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        place: &Place,
        limit: usize,
        mut read: impl FnMut(&mut Self, &Value, &Place) -> Option<T>,
    ) -> Vec<(Place, T)> {
        let place = place.key(key);
        let Some(value) = present(object, key) else { return Vec::new() };
        let Some(list) = value.as_array() else {
            self.problem(&place, "WRONG_TYPE", "is not a list");
            return Vec::new();
        };
        if list.len() > limit {
            self.problem(&place, "TOO_MANY", format!("has {} entries, {limit} are allowed", list.len()));
        }
        let mut read_items = Vec::new();
        for (index, value) in list.iter().take(limit).enumerate() {
            let place = place.index(index);
            if let Some(item) = read(self, value, &place) {
                read_items.push((place, item));
            }
        }
        read_items
    }

    fn texts(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        place: &Place,
        limit: usize,
    ) -> Vec<(Place, String)> {
        self.list(object, key, place, limit, Check::text)
    }

    fn object<'v>(&mut self, value: &'v Value, place: &Place) -> Option<&'v Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.problem(place, "WRONG_TYPE", "is not an object");
        }
        object
    }

    fn required_text(&mut self, object: &Map<String, Value>, key: &str, place: &Place) -> Option<String> {
        let place = place.key(key);
        match present(object, key) {
            Some(value) => self.text(value, &place),
            None => {
                self.problem(&place, "REQUIRED", "is missing");
                None
            }
        }
    }

    fn text(&mut self, value: &Value, place: &Place) -> Option<String> {
        self.text_within(value, place, self.limits.text_chars)
    }

    fn text_within(&mut self, value: &Value, place: &Place, limit: usize) -> Option<String> {
        let Some(text) = value.as_str() else {
            self.problem(place, "WRONG_TYPE", "is not a string");
            return None;
        };
        if text.trim().is_empty() {
            self.problem(place, "EMPTY", "is empty");
            return None;
        }
        let chars = text.chars().count();
        if chars > limit {
            self.problem(place, "TOO_LONG", format!("has {chars} characters, {limit} are allowed"));
            return None;
        }
        Some(text.to_owned())
    }

    fn flag(&mut self, object: &Map<String, Value>, key: &str, place: &Place) -> bool {
        match present(object, key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.problem(&place.key(key), "WRONG_TYPE", "is neither true nor false");
                false
            }
        }
    }

    fn unique(&mut self, names: Vec<(Place, String)>, noun: &str) {
        let mut seen = HashSet::new();
        for (place, name) in names {
            if !seen.insert(name.clone()) {
                self.problem(&place, "DUPLICATE", format!("another {noun} is called {name:?} already"));
            }
        }
    }
}

/// The value of a key; null counts as absent.
fn present<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn items<T>(placed: Vec<(Place, T)>) -> Vec<T> {
    placed.into_iter().map(|(_, item)| item).collect()
}
