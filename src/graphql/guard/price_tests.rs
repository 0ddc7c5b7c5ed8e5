//! Compares the tables of the guard with the schema, so that a new list or an expensive field cannot be free.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::size::{ID_ARGUMENTS, SIZE_ARGUMENTS};
use crate::config::graphql::Limits;

/// Query fields that read rows by their keys, or a short list of rows. All other query fields need a weight.
const CHEAP_QUERIES: [&str; 14] = [
    "apiKeys",
    "document",
    "job",
    "jobType",
    "jobTypes",
    "node",
    "nodes",
    "review",
    "taxonomies",
    "taxonomy",
    "team",
    "teams",
    "viewer",
    "webhook",
];

const INTROSPECTION: &str = "{ __schema { types { name kind \
       fields(includeDeprecated: true) { name type { ...T } args { ...V } } inputFields { ...V } } } } \
     fragment V on __InputValue { name defaultValue type { ...T } } \
     fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Type {
    name: String,
    fields: Option<Vec<Field>>,
    input_fields: Option<Vec<Argument>>,
}

#[derive(Debug, Deserialize)]
struct Field {
    name: String,
    r#type: TypeReference,
    args: Vec<Argument>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    name: String,
    default_value: Option<String>,
    r#type: TypeReference,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeReference {
    kind: String,
    name: Option<String>,
    of_type: Option<Box<Self>>,
}

impl TypeReference {
    /// Returns the type without lists and non-null.
    fn inner(&self) -> &Self {
        self.of_type.as_deref().map_or(self, Self::inner)
    }

    fn name(&self) -> &str {
        self.inner().name.as_deref().unwrap()
    }

    fn is_list(&self) -> bool {
        self.kind == "LIST" || self.of_type.as_deref().is_some_and(Self::is_list)
    }

    /// Returns whether a field of this type needs a selection set. A list of scalars counts as one value.
    fn has_fields(&self) -> bool {
        ["OBJECT", "INTERFACE", "UNION"].contains(&&*self.inner().kind)
    }
}

impl Argument {
    /// Returns whether the guard counts the right number of entries when a request omits the argument: the default is
    /// one entry, or the request is invalid.
    fn is_counted_if_omitted(&self) -> bool {
        match &self.default_value {
            Some(default) => default == "1",
            None => self.r#type.kind == "NON_NULL",
        }
    }
}

struct Types(BTreeMap<String, Type>);

impl Types {
    /// Reads all types of the schema, including those of introspection.
    async fn read() -> Self {
        let schema = crate::graphql::schema_builder().finish();
        let response = schema.execute(INTROSPECTION).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        let mut data = response.data.into_json().unwrap();
        let types: Vec<Type> = serde_json::from_value(data["__schema"]["types"].take()).unwrap();
        Self(types.into_iter().map(|ty| (ty.name.clone(), ty)).collect())
    }

    /// Returns every field of an object or interface with the name of that type.
    fn fields(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.0.values().flat_map(|ty| ty.fields.iter().flatten().map(move |field| (&*ty.name, field)))
    }

    /// Returns the arguments of a field, and the fields of input objects in them.
    fn arguments<'a>(&'a self, field: &'a Field) -> impl Iterator<Item = &'a Argument> {
        field.args.iter().flat_map(move |argument| {
            let nested = self.0[argument.r#type.name()].input_fields.iter().flatten();
            std::iter::once(argument).chain(nested)
        })
    }

    fn is_connection(&self, type_name: &str) -> bool {
        let fields = self.0[type_name].fields.iter().flatten();
        fields.filter(|field| ["nodes", "edges"].contains(&&*field.name)).count() == 2
    }

    /// Returns whether a field has many entries, each with a selection set.
    fn has_entries(&self, field: &Field) -> bool {
        field.r#type.has_fields() && (field.r#type.is_list() || self.is_connection(field.r#type.name()))
    }

    /// Returns whether an argument of the field always determines the number of entries.
    fn is_sized_by_argument(&self, field: &Field) -> bool {
        self.arguments(field).any(|argument| {
            let name = &*argument.name;
            (SIZE_ARGUMENTS.contains(&name) || ID_ARGUMENTS.contains(&name))
                && argument.is_counted_if_omitted()
        })
    }

    /// Returns whether the fields that return this type multiply its cost by the number of entries in it.
    fn is_sized_by_parents(&self, type_name: &str) -> bool {
        let mut parents = self.fields().filter(|(_, field)| field.r#type.name() == type_name).peekable();
        parents.peek().is_some() && parents.all(|(_, field)| self.is_sized_by_argument(field))
    }
}

#[tokio::test]
async fn every_list_of_objects_has_a_size() {
    let (types, limits) = (Types::read().await, Limits::default());
    let lists = types.fields().filter(|(_, field)| types.has_entries(field));
    let unsized_lists: Vec<_> = lists
        .filter(|(parent, field)| {
            // The field that returns a connection multiplies these.
            let is_entry = types.is_connection(parent) && ["nodes", "edges"].contains(&&*field.name);
            !is_entry
                && !limits.list_sizes.contains_key(&field.name)
                && !types.is_sized_by_argument(field)
                && !types.is_sized_by_parents(parent)
        })
        .map(|(parent, field)| format!("{parent}.{}", field.name))
        .collect();
    assert!(
        unsized_lists.is_empty(),
        "add to LIST_SIZES in config/graphql.rs and to docs/limits.md: {unsized_lists:?}"
    );
}

#[tokio::test]
async fn every_expensive_field_has_a_weight() {
    let (types, limits) = (Types::read().await, Limits::default());
    let is_expensive = |parent: &str, field: &Field| {
        let reads_pages = types.is_connection(field.r#type.name());
        let counts_rows =
            types.is_connection(parent) && !["nodes", "edges", "pageInfo"].contains(&&*field.name);
        let computes = parent == "Query" && !CHEAP_QUERIES.contains(&&*field.name);
        reads_pages || counts_rows || computes
    };
    let expensive = types.fields().filter(|(parent, field)| is_expensive(parent, field));
    let unweighted: Vec<_> = expensive
        .filter(|(_, field)| !limits.weights.contains_key(&field.name))
        .map(|(parent, field)| format!("{parent}.{}", field.name))
        .collect();
    assert!(
        unweighted.is_empty(),
        "add to WEIGHTS in config/graphql.rs and to docs/limits.md: {unweighted:?}"
    );
}

#[tokio::test]
async fn every_field_that_takes_a_password_is_heavy() {
    let (types, limits) = (Types::read().await, Limits::default());
    let takes_password =
        |field: &Field| types.arguments(field).any(|argument| argument.name.ends_with("assword"));
    let fields = types.fields().filter(|(_, field)| takes_password(field));
    let names: BTreeSet<_> = fields.map(|(_, field)| field.name.clone()).collect();
    assert_eq!(names, limits.heavy);
}

#[tokio::test]
async fn guard_tables_name_only_fields_of_the_schema() {
    let (types, limits) = (Types::read().await, Limits::default());
    let names: BTreeSet<_> = types.fields().map(|(_, field)| &*field.name).collect();
    let lists = types.fields().filter(|(_, field)| types.has_entries(field));
    let lists: BTreeSet<_> = lists.map(|(_, field)| &*field.name).collect();
    let unknown_lists: Vec<_> =
        limits.list_sizes.keys().filter(|name| !lists.contains(name.as_str())).collect();
    assert!(unknown_lists.is_empty(), "no lists of the schema: {unknown_lists:?}");
    let weighted = limits.weights.keys().chain(&limits.heavy).map(String::as_str);
    let unknown: Vec<_> = weighted.chain(CHEAP_QUERIES).filter(|name| !names.contains(name)).collect();
    assert!(unknown.is_empty(), "no fields of the schema: {unknown:?}");
}
