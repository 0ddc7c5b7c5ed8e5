//! Checks variables and literals against their input types before an operation runs (GraphQL specification, sections
//! 3.10 and 6.1.2).
//!
//! The async-graphql library reports only the first invalid value, with messages for programmers. It also accepts a
//! string literal as an enum value.

use std::fmt::Write as _;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, Field, Selection, SelectionSet, Type, VariableDefinition,
};
use async_graphql::{Name, Number, Pos, Positioned, Value, Variables};
use async_graphql_value::Value as Literal;
use chrono::{DateTime, Utc};

use super::guard::Refusal;
use super::scalar::SafeInt;
use super::schema_types::{Definition, InputObject, SchemaTypes};
use super::upload::FILE_VARIABLE_PREFIX;
use crate::error::{Code, Problem};
use crate::json::escape;

/// Maximum number of characters of a client's value in a message.
const MAX_QUOTED_CHARS: usize = 60;

/// Returns up to `limit` problems of the variables of an operation, with paths into the variables.
/// `shows_names` controls whether messages list the names of fields and values.
pub(crate) fn variable_problems(
    types: &SchemaTypes,
    definitions: &[Positioned<VariableDefinition>],
    variables: &Variables,
    limit: usize,
    shows_names: bool,
) -> Vec<Problem> {
    let mut check = InputChecker { types, limit, shows_names, problems: Vec::new(), path: Vec::new() };
    for Positioned { node: definition, .. } in definitions {
        let (name, ty) = (&definition.name.node, &definition.var_type.node);
        check.within_key(name.as_str(), |check| match variables.get(name) {
            Some(value) => check.check_value(value, ty),
            None if ty.nullable || definition.default_value.is_some() => {}
            None => check.add_required_problem(ty),
        });
    }
    check.problems
}

/// Returns up to `limit` problems of a value of an input type, for example of a file in the shape of an input object.
pub(super) fn input_problems(types: &SchemaTypes, value: &Value, ty: &Type, limit: usize) -> Vec<Problem> {
    let mut check = InputChecker { types, limit, shows_names: true, problems: Vec::new(), path: Vec::new() };
    check.check_value(value, ty);
    check.problems
}

/// Refuses a document with a literal that is invalid for its argument or variable.
/// `shows_names` has the same meaning as in [`variable_problems`].
pub(crate) fn check_literals(
    types: &SchemaTypes,
    document: &ExecutableDocument,
    shows_names: bool,
) -> Result<(), Refusal> {
    let literals = LiteralChecker { types, shows_names };
    for (_, Positioned { node: operation, .. }) in document.operations.iter() {
        for definition in &operation.variable_definitions {
            let VariableDefinition { name, var_type, default_value, .. } = &definition.node;
            if let Some(Positioned { node: value, pos }) = default_value {
                // A document has few defaults, and they are small.
                let value = value.clone().into_value();
                literals.check(&format!("the default of ${}", name.node), &value, &var_type.node, *pos)?;
            }
        }
        literals.check_selection_set(&operation.selection_set.node, SchemaTypes::root(operation.ty))?;
    }
    for Positioned { node: fragment, .. } in document.fragments.values() {
        let parent = fragment.type_condition.node.on.node.as_str();
        literals.check_selection_set(&fragment.selection_set.node, parent)?;
    }
    Ok(())
}

struct LiteralChecker<'a> {
    types: &'a SchemaTypes,
    shows_names: bool,
}

impl LiteralChecker<'_> {
    /// Checks the literals in a selection set. Fragments are checked at their definition, and validation refuses fields
    /// and types that do not exist.
    fn check_selection_set(&self, set: &SelectionSet, parent: &str) -> Result<(), Refusal> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(Positioned { node: field, .. }) => {
                    let Some(definition) = self.types.field(parent, field.name.node.as_str()) else {
                        continue;
                    };
                    for (name, Positioned { node: value, pos }) in &field.arguments {
                        if let Some(argument) = definition.arguments.get(&name.node) {
                            self.check(&describe_argument(field, &name.node), value, &argument.ty, *pos)?;
                        }
                    }
                    self.check_selection_set(&field.selection_set.node, definition.type_name.as_str())?;
                }
                Selection::InlineFragment(Positioned { node: fragment, .. }) => {
                    let condition =
                        fragment.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    self.check_selection_set(&fragment.selection_set.node, condition.unwrap_or(parent))?;
                }
                Selection::FragmentSpread(_) => {}
            }
        }
        Ok(())
    }

    fn check(&self, location: &str, value: &Literal, ty: &Type, pos: Pos) -> Result<(), Refusal> {
        let (types, shows_names) = (self.types, self.shows_names);
        let mut check = InputChecker { types, limit: 1, shows_names, problems: Vec::new(), path: Vec::new() };
        check.check_value(value, ty);
        match check.problems.pop() {
            None => Ok(()),
            Some(Problem { path, message, .. }) => {
                let suffix = if path.is_empty() { String::new() } else { format!(" at {path}") };
                let message = format!("Invalid value for {location}{suffix}: {message}");
                Err(Refusal::new(Code::ValidationFailed, message, vec![pos]))
            }
        }
    }
}

fn describe_argument(field: &Field, name: &Name) -> String {
    format!("the argument {name:?} of {:?}", field.name.node.as_str(), name = name.as_str())
}

/// An input value of a request: the value of a variable, or a literal.
trait InputLike: Sized {
    /// Whether the value is a literal of the document, in which an enum value is a name.
    const IS_LITERAL: bool;

    fn view(&self) -> ValueView<'_, Self>;
}

/// The kind of an input value, with borrowed contents.
enum ValueView<'a, V> {
    /// A variable in a literal, which is checked as a variable.
    Variable,
    Null,
    Boolean,
    Number(&'a Number),
    String(&'a str),
    Enum(&'a str),
    List(&'a [V]),
    Object(&'a IndexMap<Name, V>),
}

impl InputLike for Value {
    const IS_LITERAL: bool = false;

    fn view(&self) -> ValueView<'_, Self> {
        match self {
            Self::Null | Self::Binary(_) => ValueView::Null,
            Self::Boolean(_) => ValueView::Boolean,
            Self::Number(number) => ValueView::Number(number),
            Self::String(text) => ValueView::String(text),
            Self::Enum(name) => ValueView::Enum(name.as_str()),
            Self::List(values) => ValueView::List(values),
            Self::Object(fields) => ValueView::Object(fields),
        }
    }
}

impl InputLike for Literal {
    const IS_LITERAL: bool = true;

    fn view(&self) -> ValueView<'_, Self> {
        match self {
            Self::Variable(_) => ValueView::Variable,
            Self::Null | Self::Binary(_) => ValueView::Null,
            Self::Boolean(_) => ValueView::Boolean,
            Self::Number(number) => ValueView::Number(number),
            Self::String(text) => ValueView::String(text),
            Self::Enum(name) => ValueView::Enum(name.as_str()),
            Self::List(values) => ValueView::List(values),
            Self::Object(fields) => ValueView::Object(fields),
        }
    }
}

#[derive(Clone, Copy)]
enum PathSegment<'a> {
    Key(&'a str),
    Index(usize),
}

struct InputChecker<'a> {
    types: &'a SchemaTypes,
    limit: usize,
    shows_names: bool,
    problems: Vec<Problem>,
    path: Vec<PathSegment<'a>>,
}

impl<'a> InputChecker<'a> {
    fn within_key(&mut self, key: &'a str, body: impl FnOnce(&mut Self)) {
        self.within(PathSegment::Key(key), body);
    }

    /// Runs a check with a longer path, unless the limit of problems is reached.
    fn within(&mut self, segment: PathSegment<'a>, body: impl FnOnce(&mut Self)) {
        if self.problems.len() < self.limit {
            self.path.push(segment);
            body(self);
            self.path.pop();
        }
    }

    fn add_problem(&mut self, code: &str, message: String) {
        let mut path = String::new();
        for segment in &self.path {
            path.push('/');
            match segment {
                PathSegment::Key(key) => path.push_str(&escape(key)),
                // Writing to a string cannot fail.
                PathSegment::Index(index) => drop(write!(path, "{index}")),
            }
        }
        self.problems.push(Problem::new(path, code, message));
    }

    fn add_required_problem(&mut self, ty: &Type) {
        self.add_problem("REQUIRED", format!("A value of type {ty} is required."));
    }

    fn check_value<V: InputLike>(&mut self, value: &'a V, ty: &Type) {
        match (value.view(), &ty.base) {
            (ValueView::Variable, _) => {}
            (ValueView::Null, _) if ty.nullable => {}
            (ValueView::Null, _) => self.add_required_problem(ty),
            (ValueView::List(values), BaseType::List(entry)) => {
                for (index, value) in values.iter().enumerate() {
                    self.within(PathSegment::Index(index), |check| check.check_value(value, entry));
                }
            }
            // A single value is coerced to a list of one value (section 3.11).
            (_, BaseType::List(entry)) => self.check_value(value, entry),
            (view, BaseType::Named(name)) => self.check_named_type(&view, name.as_str()),
        }
    }

    fn check_named_type<V: InputLike>(&mut self, view: &ValueView<'a, V>, name: &str) {
        match self.types.get(name) {
            Some(Definition::Enum(values)) => self.check_enum_value(view, name, values),
            Some(Definition::Input(input)) => self.check_input_object(view, name, input),
            // Validation refuses an output type.
            Some(Definition::Output(_) | Definition::Union) => {}
            Some(Definition::Scalar) | None => {
                if let Err((code, message)) = check_scalar(view, name) {
                    self.add_problem(code, message);
                }
            }
        }
    }

    fn check_enum_value<V: InputLike>(&mut self, view: &ValueView<'a, V>, name: &str, values: &[Name]) {
        let given = match view {
            ValueView::Enum(text) => Some(*text),
            ValueView::String(text) if !V::IS_LITERAL => Some(*text),
            _ => None,
        };
        if given.is_some_and(|text| values.iter().any(|value| value == text)) {
            return;
        }
        let valid = self.list_names("Valid values", values.iter());
        let message = format!("{} is not a value of {name}.{valid}", describe(view));
        self.add_problem(if given.is_some() { "UNKNOWN_VALUE" } else { "WRONG_TYPE" }, message);
    }

    fn check_input_object<V: InputLike>(
        &mut self,
        view: &ValueView<'a, V>,
        name: &str,
        input: &'a InputObject,
    ) {
        let ValueView::Object(fields) = view else {
            self.add_problem("WRONG_TYPE", format!("{} is not an object of type {name}.", describe(view)));
            return;
        };
        for field in &input.fields {
            self.within_key(field.name.as_str(), |check| match fields.get(&field.name) {
                Some(value) => check.check_value(value, &field.ty),
                None if field.ty.nullable || field.has_default => {}
                None => check.add_required_problem(&field.ty),
            });
        }
        for key in fields.keys().filter(|key| !input.fields.iter().any(|field| field.name == **key)) {
            self.within_key(key.as_str(), |check| {
                let valid = check.list_names("Valid fields", input.fields.iter().map(|field| &field.name));
                check.add_problem("UNKNOWN_FIELD", format!("{name} has no such field.{valid}"));
            });
        }
        // A variable in a literal counts as given, whatever its value.
        let given = fields.values().filter(|value| !matches!(value.view(), ValueView::Null)).count();
        if input.one_of && (given != 1 || fields.len() != 1) {
            let valid = self.list_names("Valid fields", input.fields.iter().map(|field| &field.name));
            self.add_problem("ONE_OF", format!("{name} takes exactly one of its fields.{valid}"));
        }
    }

    /// Returns a list of names for a message, or an empty string if names are hidden.
    fn list_names<'n>(&self, title: &str, names: impl Iterator<Item = &'n Name>) -> String {
        if !self.shows_names {
            return String::new();
        }
        format!(" {title}: {}.", names.map(Name::as_str).collect::<Vec<_>>().join(", "))
    }
}

/// Checks a value of a scalar type. The error is the code and the message of a problem.
fn check_scalar<V: InputLike>(view: &ValueView<'_, V>, name: &str) -> Result<(), (&'static str, String)> {
    let wrong_type = |expected: &str| Err(("WRONG_TYPE", format!("{} is not {expected}.", describe(view))));
    match (name, view) {
        ("String", ValueView::String(_))
        | ("ID", ValueView::String(_))
        | ("URL", ValueView::String(_))
        | ("Boolean", ValueView::Boolean)
        | ("Float", ValueView::Number(_))
        | ("JSONObject", ValueView::Object(_)) => Ok(()),
        ("Int", ValueView::Number(number)) => match number.as_i64() {
            Some(number) if i32::try_from(number).is_ok() => Ok(()),
            None if !is_whole_number(number) => wrong_type("a whole number"),
            _ => Err(("RANGE", format!("{} is not an Int: it does not fit into 32 bits.", describe(view)))),
        },
        ("ID", ValueView::Number(number)) if number.is_i64() => Ok(()),
        ("SafeInt", ValueView::Number(number)) => match number.as_i64() {
            Some(number) if SafeInt::fits(number) => Ok(()),
            None if !is_whole_number(number) => wrong_type("a whole number"),
            _ => {
                Err(("RANGE", format!("{} is not a SafeInt: it does not fit into 53 bits.", describe(view))))
            }
        },
        ("DateTime", ValueView::String(text)) => match text.parse::<DateTime<Utc>>() {
            Ok(_) => Ok(()),
            Err(_) => {
                let message = format!(
                    "{} is not a DateTime. Use RFC 3339, such as 2026-01-31T12:00:00Z.",
                    describe(view)
                );
                Err(("INVALID_FORMAT", message))
            }
        },
        ("Upload", ValueView::String(text)) if text.starts_with(FILE_VARIABLE_PREFIX) => Ok(()),
        ("String" | "DateTime" | "URL", _) => wrong_type("a string"),
        ("ID", _) => wrong_type("an ID: a string, or a whole number of at most 64 bits"),
        ("Boolean", _) => wrong_type("true or false"),
        ("Int" | "SafeInt", _) => wrong_type("a whole number"),
        ("Float", _) => wrong_type("a number"),
        ("JSONObject", _) => wrong_type("a JSON object"),
        ("Upload", _) => {
            Err(("NO_FILE", "No file of the multipart request is mapped to this variable.".to_owned()))
        }
        // JSON accepts any value. Validation refuses a type that does not exist.
        _ => Ok(()),
    }
}

fn is_whole_number(number: &Number) -> bool {
    number.as_str().trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit())
}

/// Describes a value in a message; long values are cut.
fn describe<V>(view: &ValueView<'_, V>) -> String {
    match view {
        ValueView::Variable => "A variable".to_owned(),
        ValueView::Null => "null".to_owned(),
        ValueView::Boolean => "A boolean".to_owned(),
        ValueView::Number(number) => quote(&number.to_string()),
        ValueView::String(text) => format!("{:?}", quote(text)),
        ValueView::Enum(name) => quote(name),
        ValueView::List(_) => "A list".to_owned(),
        ValueView::Object(_) => "An object".to_owned(),
    }
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::graphql::json::variables_from_json;

    fn problems(query: &str, variables: Json) -> Vec<(String, String)> {
        let document = parse_query(query).unwrap();
        let operation = document.operations.iter().next().unwrap().1;
        let Json::Object(variables) = variables else { panic!("no object") };
        let variables = variables_from_json(variables);
        let types = SchemaTypes::of_server();
        let found = variable_problems(types, &operation.node.variable_definitions, &variables, 100, true);
        found.into_iter().map(|problem| (problem.path, problem.code)).collect()
    }

    #[test]
    fn all_invalid_variables_are_reported_with_their_paths() {
        let query = "query($f: JobFilter, $n: Int!, $id: ID!, $b: Boolean, $o: JobOrder) { viewer { id } }";
        let given = json!({
            "f": {"createdAfter": "2024-07-02", "status": ["BLOCKED", "STUCK", 7], "type": "noop", "color": 1, "metadata": []},
            "n": 4_000_000_000_u64, "b": "yes", "o": {"field": null}
        });
        let mut found = problems(query, given);
        found.sort();
        let expected = [
            ("/b", "WRONG_TYPE"),
            ("/f/color", "UNKNOWN_FIELD"),
            ("/f/createdAfter", "INVALID_FORMAT"),
            ("/f/metadata", "WRONG_TYPE"),
            ("/f/status/1", "UNKNOWN_VALUE"),
            ("/f/status/2", "WRONG_TYPE"),
            ("/id", "REQUIRED"),
            ("/n", "RANGE"),
            ("/o/field", "REQUIRED"),
        ];
        assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
    }

    #[test]
    fn valid_variables_have_no_problems() {
        let query = "mutation($i: CreateJobInput!, $p: Int = 3, $s: [JobStatus!], $w: SaveReviewDraftInput, $id: ID) { x }";
        let given = json!({
            "i": {"type": "noop", "input": {"documentId": "x"}, "metadata": {"a": [1.5, null]}, "priority": 1},
            "s": "BLOCKED", "id": 7, "unknown": {"is": "ignored"}
        });
        assert_eq!(problems(query, given), []);
    }

    #[test]
    fn one_of_accepts_exactly_one_non_null_field() {
        let query = "query($s: ContentSource!) { x }";
        for invalid in [json!({}), json!({"uri": "a", "documentId": "b"}), json!({"uri": null})] {
            assert_eq!(
                problems(query, json!({"s": invalid})),
                [("/s".to_owned(), "ONE_OF".to_owned())],
                "{invalid}"
            );
        }
        assert_eq!(problems(query, json!({"s": {"uri": "a"}})), []);
    }

    #[test]
    fn problem_count_and_quoted_values_are_limited() {
        let query = "query($s: [JobStatus!]!) { x }";
        assert_eq!(problems(query, json!({"s": vec!["x"; 5_000]})).len(), 100);
        let long = ValueView::<Value>::String(&"ä".repeat(500));
        assert!(describe(&long).chars().count() < MAX_QUOTED_CHARS + 5);
    }

    #[test]
    fn invalid_literals_are_refused_with_their_location() {
        let check = |query: &str| {
            let result = check_literals(SchemaTypes::of_server(), &parse_query(query).unwrap(), true);
            result.map_err(|refusal| (refusal.code, refusal.message, refusal.locations))
        };
        for valid in [
            "{ jobs(filter: {status: [BLOCKED], createdAfter: \"2024-07-02T00:00:00Z\"}, orderBy: {field: UPDATED_AT}) { totalCount } }",
            "query($s: JobStatus = BLOCKED) { jobs(filter: {status: [$s]}, first: $n) { totalCount } }",
            "{ nothing(status: 7) { here } __type(name: \"x\") { name } }",
        ] {
            assert_eq!(check(valid), Ok(()), "{valid}");
        }
        for (invalid, location) in [
            ("{ jobs(filter: {status: \"BLOCKED\"}) { totalCount } }", "/status"),
            ("{ node(id: 1) { ... on Job { events(first: \"x\") { nodes { at } } } } }", "first"),
            ("query($s: JobStatus = \"BLOCKED\") { jobs(filter: {status: [$s]}) { totalCount } }", "$s"),
            (
                "{ jobs { ...F } } fragment F on JobConnection { nodes { contents(superseded: 1) { role } } }",
                "superseded",
            ),
            ("{ jobs(filter: {createdAfter: \"soon\"}) { totalCount } }", "/createdAfter"),
        ] {
            let (code, message, locations) = check(invalid).unwrap_err();
            assert_eq!((code, locations.len()), (Code::ValidationFailed, 1), "{invalid}");
            assert!(message.contains(location), "{message}");
        }
    }
}
