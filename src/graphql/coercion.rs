//! Checks values against their input types before an operation runs: the variables of a request, and the literals of a
//! document (GraphQL specification, sections 3.10 and 6.1.2).
//!
//! async-graphql reports the first wrong value only, in words for programmers, and takes a string for an enum value of a
//! document.

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
use super::upload::PLACE;
use crate::error::{Code, Problem};
use crate::json::escape;

/// Characters of a client's value that a message quotes.
const MAX_QUOTED: usize = 60;

/// Returns what is wrong with the variables of an operation, at most `limit` problems. Paths lead into the variables.
/// `shows_names` says whether messages may list the names of fields and values.
pub fn variable_problems(
    types: &SchemaTypes,
    definitions: &[Positioned<VariableDefinition>],
    variables: &Variables,
    limit: usize,
    shows_names: bool,
) -> Vec<Problem> {
    let mut check = Check { types, limit, shows_names, problems: Vec::new(), path: Vec::new() };
    for Positioned { node: definition, .. } in definitions {
        let (name, ty) = (&definition.name.node, &definition.var_type.node);
        check.at(name.as_str(), |check| match variables.get(name) {
            Some(value) => check.value(value, ty),
            None if ty.nullable || definition.default_value.is_some() => {}
            None => check.required(ty),
        });
    }
    check.problems
}

/// Returns what is wrong with a value of an input type, such as a file that has its shape.
pub(super) fn input_problems(types: &SchemaTypes, value: &Value, ty: &Type, limit: usize) -> Vec<Problem> {
    let mut check = Check { types, limit, shows_names: true, problems: Vec::new(), path: Vec::new() };
    check.value(value, ty);
    check.problems
}

/// Refuses a document with a literal that its argument or variable cannot take. `shows_names` is as for
/// [`variable_problems`].
pub fn check_literals(
    types: &SchemaTypes,
    document: &ExecutableDocument,
    shows_names: bool,
) -> Result<(), Refusal> {
    let literals = Literals { types, shows_names };
    for (_, Positioned { node: operation, .. }) in document.operations.iter() {
        for definition in &operation.variable_definitions {
            let VariableDefinition { name, var_type, default_value, .. } = &definition.node;
            if let Some(Positioned { node: value, pos }) = default_value {
                // A document has few defaults, and they are small.
                let value = value.clone().into_value();
                literals.check(&format!("the default of ${}", name.node), &value, &var_type.node, *pos)?;
            }
        }
        literals.check_set(&operation.selection_set.node, SchemaTypes::root(operation.ty))?;
    }
    for Positioned { node: fragment, .. } in document.fragments.values() {
        literals.check_set(&fragment.selection_set.node, fragment.type_condition.node.on.node.as_str())?;
    }
    Ok(())
}

struct Literals<'a> {
    types: &'a SchemaTypes,
    shows_names: bool,
}

impl Literals<'_> {
    /// Fragments are checked where they are defined. Fields and types that do not exist are left to validation.
    fn check_set(&self, set: &SelectionSet, parent: &str) -> Result<(), Refusal> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(Positioned { node: field, .. }) => {
                    let Some(defined) = self.types.field(parent, field.name.node.as_str()) else { continue };
                    for (name, Positioned { node: value, pos }) in &field.arguments {
                        if let Some(defined) = defined.arguments.get(&name.node) {
                            self.check(&argument(field, &name.node), value, &defined.ty, *pos)?;
                        }
                    }
                    self.check_set(&field.selection_set.node, defined.type_name.as_str())?;
                }
                Selection::InlineFragment(Positioned { node: fragment, .. }) => {
                    let condition =
                        fragment.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    self.check_set(&fragment.selection_set.node, condition.unwrap_or(parent))?;
                }
                Selection::FragmentSpread(_) => {}
            }
        }
        Ok(())
    }

    fn check(&self, place: &str, value: &Literal, ty: &Type, pos: Pos) -> Result<(), Refusal> {
        let (types, shows_names) = (self.types, self.shows_names);
        let mut check = Check { types, limit: 1, shows_names, problems: Vec::new(), path: Vec::new() };
        check.value(value, ty);
        match check.problems.pop() {
            None => Ok(()),
            Some(Problem { path, message, .. }) => {
                let within = if path.is_empty() { String::new() } else { format!(" at {path}") };
                let message = format!("Invalid value for {place}{within}: {message}");
                Err(Refusal::new(Code::ValidationFailed, message, vec![pos]))
            }
        }
    }
}

fn argument(field: &Field, name: &Name) -> String {
    format!("the argument {name:?} of {:?}", field.name.node.as_str(), name = name.as_str())
}

/// A value of a request, as variable or as literal.
trait Input: Sized {
    /// Whether it stands in the document, where an enum value is a name.
    const IS_LITERAL: bool;

    fn view(&self) -> View<'_, Self>;
}

enum View<'a, V> {
    /// A variable within a literal: it is checked as a variable.
    Variable,
    Null,
    Boolean,
    Number(&'a Number),
    String(&'a str),
    Enum(&'a str),
    List(&'a [V]),
    Object(&'a IndexMap<Name, V>),
}

impl Input for Value {
    const IS_LITERAL: bool = false;

    fn view(&self) -> View<'_, Self> {
        match self {
            Self::Null | Self::Binary(_) => View::Null,
            Self::Boolean(_) => View::Boolean,
            Self::Number(number) => View::Number(number),
            Self::String(text) => View::String(text),
            Self::Enum(name) => View::Enum(name.as_str()),
            Self::List(values) => View::List(values),
            Self::Object(fields) => View::Object(fields),
        }
    }
}

impl Input for Literal {
    const IS_LITERAL: bool = true;

    fn view(&self) -> View<'_, Self> {
        match self {
            Self::Variable(_) => View::Variable,
            Self::Null | Self::Binary(_) => View::Null,
            Self::Boolean(_) => View::Boolean,
            Self::Number(number) => View::Number(number),
            Self::String(text) => View::String(text),
            Self::Enum(name) => View::Enum(name.as_str()),
            Self::List(values) => View::List(values),
            Self::Object(fields) => View::Object(fields),
        }
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

struct Check<'a> {
    types: &'a SchemaTypes,
    limit: usize,
    shows_names: bool,
    problems: Vec<Problem>,
    path: Vec<Step<'a>>,
}

impl<'a> Check<'a> {
    fn at(&mut self, key: &'a str, check: impl FnOnce(&mut Self)) {
        self.within(Step::Key(key), check);
    }

    fn within(&mut self, step: Step<'a>, check: impl FnOnce(&mut Self)) {
        if self.problems.len() < self.limit {
            self.path.push(step);
            check(self);
            self.path.pop();
        }
    }

    fn problem(&mut self, code: &str, message: String) {
        let mut path = String::new();
        for step in &self.path {
            path.push('/');
            match step {
                Step::Key(key) => path.push_str(&escape(key)),
                // Writing to a string cannot fail.
                Step::Index(index) => drop(write!(path, "{index}")),
            }
        }
        self.problems.push(Problem::new(path, code, message));
    }

    fn required(&mut self, ty: &Type) {
        self.problem("REQUIRED", format!("A value of type {ty} is required."));
    }

    fn value<V: Input>(&mut self, value: &'a V, ty: &Type) {
        match (value.view(), &ty.base) {
            (View::Variable, _) => {}
            (View::Null, _) if ty.nullable => {}
            (View::Null, _) => self.required(ty),
            (View::List(values), BaseType::List(entry)) => {
                for (index, value) in values.iter().enumerate() {
                    self.within(Step::Index(index), |check| check.value(value, entry));
                }
            }
            // A single value stands for a list of one (section 3.11).
            (_, BaseType::List(entry)) => self.value(value, entry),
            (view, BaseType::Named(name)) => self.named(&view, name.as_str()),
        }
    }

    fn named<V: Input>(&mut self, view: &View<'a, V>, name: &str) {
        match self.types.get(name) {
            Some(Definition::Enum(values)) => self.enum_value(view, name, values),
            Some(Definition::Input(input)) => self.input_object(view, name, input),
            // An output type, which validation refuses.
            Some(Definition::Output(_) | Definition::Union) => {}
            Some(Definition::Scalar) | None => {
                if let Err((code, message)) = scalar(view, name) {
                    self.problem(code, message);
                }
            }
        }
    }

    fn enum_value<V: Input>(&mut self, view: &View<'a, V>, name: &str, values: &[Name]) {
        let given = match view {
            View::Enum(text) => Some(*text),
            View::String(text) if !V::IS_LITERAL => Some(*text),
            _ => None,
        };
        if given.is_some_and(|text| values.iter().any(|value| value == text)) {
            return;
        }
        let valid = self.list("Valid values", values.iter());
        let message = format!("{} is not a value of {name}.{valid}", describe(view));
        self.problem(if given.is_some() { "UNKNOWN_VALUE" } else { "WRONG_TYPE" }, message);
    }

    fn input_object<V: Input>(&mut self, view: &View<'a, V>, name: &str, input: &'a InputObject) {
        let View::Object(fields) = view else {
            self.problem("WRONG_TYPE", format!("{} is not an object of type {name}.", describe(view)));
            return;
        };
        for field in &input.fields {
            self.at(field.name.as_str(), |check| match fields.get(&field.name) {
                Some(value) => check.value(value, &field.ty),
                None if field.ty.nullable || field.has_default => {}
                None => check.required(&field.ty),
            });
        }
        for key in fields.keys().filter(|key| !input.fields.iter().any(|field| field.name == **key)) {
            self.at(key.as_str(), |check| {
                let valid = check.list("Valid fields", input.fields.iter().map(|field| &field.name));
                check.problem("UNKNOWN_FIELD", format!("{name} has no such field.{valid}"));
            });
        }
        // A variable within a literal is there, whatever its value.
        let given = fields.values().filter(|value| !matches!(value.view(), View::Null)).count();
        if input.one_of && (given != 1 || fields.len() != 1) {
            let valid = self.list("Valid fields", input.fields.iter().map(|field| &field.name));
            self.problem("ONE_OF", format!("{name} takes exactly one of its fields.{valid}"));
        }
    }

    /// Lists names in a message, unless they are not shown.
    fn list<'n>(&self, title: &str, names: impl Iterator<Item = &'n Name>) -> String {
        if !self.shows_names {
            return String::new();
        }
        format!(" {title}: {}.", names.map(Name::as_str).collect::<Vec<_>>().join(", "))
    }
}

type Fault = (&'static str, String);

fn scalar<V: Input>(view: &View<'_, V>, name: &str) -> Result<(), Fault> {
    let wrong = |wanted: &str| Err(("WRONG_TYPE", format!("{} is not {wanted}.", describe(view))));
    match (name, view) {
        ("String", View::String(_))
        | ("ID", View::String(_))
        | ("URL", View::String(_))
        | ("Boolean", View::Boolean)
        | ("Float", View::Number(_))
        | ("JSONObject", View::Object(_)) => Ok(()),
        ("Int", View::Number(number)) => match number.as_i64() {
            Some(whole) if i32::try_from(whole).is_ok() => Ok(()),
            None if !is_whole(number) => wrong("a whole number"),
            _ => Err(("RANGE", format!("{} is not an Int: it does not fit into 32 bits.", describe(view)))),
        },
        ("ID", View::Number(number)) if number.is_i64() => Ok(()),
        ("SafeInt", View::Number(number)) => match number.as_i64() {
            Some(whole) if SafeInt::fits(whole) => Ok(()),
            None if !is_whole(number) => wrong("a whole number"),
            _ => {
                Err(("RANGE", format!("{} is not a SafeInt: it does not fit into 53 bits.", describe(view))))
            }
        },
        ("DateTime", View::String(text)) => match text.parse::<DateTime<Utc>>() {
            Ok(_) => Ok(()),
            Err(_) => {
                let message = format!(
                    "{} is not a DateTime. Use RFC 3339, such as 2026-01-31T12:00:00Z.",
                    describe(view)
                );
                Err(("INVALID_FORMAT", message))
            }
        },
        ("Upload", View::String(text)) if text.starts_with(PLACE) => Ok(()),
        ("String" | "DateTime" | "URL", _) => wrong("a string"),
        ("ID", _) => wrong("an ID: a string, or a whole number of at most 64 bits"),
        ("Boolean", _) => wrong("true or false"),
        ("Int" | "SafeInt", _) => wrong("a whole number"),
        ("Float", _) => wrong("a number"),
        ("JSONObject", _) => wrong("a JSON object"),
        ("Upload", _) => {
            Err(("NO_FILE", "No file of the multipart request is mapped to this variable.".to_owned()))
        }
        // JSON takes anything; a type that does not exist is refused by validation.
        _ => Ok(()),
    }
}

fn is_whole(number: &Number) -> bool {
    number.as_str().trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit())
}

/// Names a value in a message, cut where it is long.
fn describe<V>(view: &View<'_, V>) -> String {
    match view {
        View::Variable => "A variable".to_owned(),
        View::Null => "null".to_owned(),
        View::Boolean => "A boolean".to_owned(),
        View::Number(number) => quote(&number.to_string()),
        View::String(text) => format!("{:?}", quote(text)),
        View::Enum(name) => quote(name),
        View::List(_) => "A list".to_owned(),
        View::Object(_) => "An object".to_owned(),
    }
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
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
    fn every_wrong_variable_is_reported_with_its_path() {
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
    fn good_variables_have_no_problems() {
        let query = "mutation($i: CreateJobInput!, $p: Int = 3, $s: [JobStatus!], $w: SaveReviewDraftInput, $id: ID) { x }";
        let given = json!({
            "i": {"type": "noop", "input": {"documentId": "x"}, "metadata": {"a": [1.5, null]}, "priority": 1},
            "s": "BLOCKED", "id": 7, "unknown": {"is": "ignored"}
        });
        assert_eq!(problems(query, given), []);
    }

    #[test]
    fn one_of_takes_exactly_one_field_that_is_not_null() {
        let query = "query($s: ContentSource!) { x }";
        for wrong in [json!({}), json!({"uri": "a", "documentId": "b"}), json!({"uri": null})] {
            assert_eq!(
                problems(query, json!({"s": wrong})),
                [("/s".to_owned(), "ONE_OF".to_owned())],
                "{wrong}"
            );
        }
        assert_eq!(problems(query, json!({"s": {"uri": "a"}})), []);
    }

    #[test]
    fn problems_and_quotations_are_bounded() {
        let query = "query($s: [JobStatus!]!) { x }";
        assert_eq!(problems(query, json!({"s": vec!["x"; 5_000]})).len(), 100);
        let long = View::<Value>::String(&"ä".repeat(500));
        assert!(describe(&long).chars().count() < MAX_QUOTED + 5);
    }

    #[test]
    fn literals_of_the_document_are_validated_with_their_place() {
        let refused = |query: &str| {
            let checked = check_literals(SchemaTypes::of_server(), &parse_query(query).unwrap(), true);
            checked.map_err(|refusal| (refusal.code, refusal.message, refusal.locations))
        };
        for good in [
            "{ jobs(filter: {status: [BLOCKED], createdAfter: \"2024-07-02T00:00:00Z\"}, orderBy: {field: UPDATED_AT}) { totalCount } }",
            "query($s: JobStatus = BLOCKED) { jobs(filter: {status: [$s]}, first: $n) { totalCount } }",
            "{ nothing(status: 7) { here } __type(name: \"x\") { name } }",
        ] {
            assert_eq!(refused(good), Ok(()), "{good}");
        }
        for (wrong, named) in [
            ("{ jobs(filter: {status: \"BLOCKED\"}) { totalCount } }", "/status"),
            ("{ node(id: 1) { ... on Job { events(first: \"x\") { nodes { at } } } } }", "first"),
            ("query($s: JobStatus = \"BLOCKED\") { jobs(filter: {status: [$s]}) { totalCount } }", "$s"),
            (
                "{ jobs { ...F } } fragment F on JobConnection { nodes { contents(superseded: 1) { role } } }",
                "superseded",
            ),
            ("{ jobs(filter: {createdAfter: \"soon\"}) { totalCount } }", "/createdAfter"),
        ] {
            let (code, message, locations) = refused(wrong).unwrap_err();
            assert_eq!((code, locations.len()), (Code::ValidationFailed, 1), "{wrong}");
            assert!(message.contains(named), "{message}");
        }
    }
}
