//! The layout of a response: its fields in the order of the selection (GraphQL specification, section 7.2.2), and an
//! empty object for a selection set whose fields are all skipped (section 6.3).
//!
//! async-graphql resolves the fields of an object concurrently, collects them in the order in which they complete, and
//! returns null for an object of which every selection is skipped. A document is therefore run with a hidden
//! `__typename` in each selection set that may become empty, or whose fields depend on the type of the object. The
//! layout then gives the order of the fields and leaves out the hidden ones.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Value, Variables};
use async_graphql_value::Value as Literal;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::hidden_fields::{HIDDEN_KEY, depends_on_type};
use crate::graphql::SchemaTypes;

/// The fields of an object in order, each with the layout of its value.
type Fields = Vec<(Name, Layout)>;

/// The layout of the value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Layout {
    /// A scalar or an enum value, or a list of them.
    Leaf,
    /// An object of one type, or a list of such objects.
    Object(Fields),
    /// An object of an interface or union whose fields depend on its type, by the name of the type.
    Abstract(HashMap<Name, Fields>),
}

impl Layout {
    fn count_fields(&self) -> usize {
        let count =
            |fields: &Fields| fields.iter().map(|(_, layout)| 1 + layout.count_fields()).sum::<usize>();
        match self {
            Self::Leaf => 0,
            Self::Object(fields) => count(fields),
            Self::Abstract(by_type) => by_type.values().map(count).sum(),
        }
    }
}

/// The layout of the `data` of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DataLayout(Layout);

/// The layouts of the operations of a document, computed once if the document has no directives; otherwise `None`.
#[derive(Debug)]
pub(super) struct Layouts(Option<Vec<(Option<Name>, Arc<DataLayout>)>>);

impl Layouts {
    /// Computes the layouts of a document that the guard has accepted.
    pub(super) fn new(document: &ExecutableDocument, types: &SchemaTypes) -> Self {
        if has_directives(document) {
            return Self(None);
        }
        let none = Variables::default();
        let layout = |(name, operation): (Option<&Name>, &Positioned<OperationDefinition>)| {
            (name.cloned(), Arc::new(DataLayout::new(document, &operation.node, &none, types)))
        };
        Self(Some(document.operations.iter().map(layout).collect()))
    }

    /// Returns the number of fields in all stored layouts.
    pub(super) fn count_fields(&self) -> usize {
        self.0.iter().flatten().map(|(_, layout)| layout.0.count_fields()).sum()
    }

    /// Returns the layout of an operation for these variables, defaults included.
    pub(super) fn get(
        &self,
        document: &ExecutableDocument,
        operation: Option<&str>,
        variables: &Variables,
        types: &SchemaTypes,
    ) -> Arc<DataLayout> {
        let is_wanted =
            |name: Option<&Name>| operation.is_none_or(|wanted| name.is_some_and(|name| name == wanted));
        if let Some(layouts) = &self.0 {
            let found = layouts.iter().find(|(name, _)| is_wanted(name.as_ref()));
            return found.map(|(_, layout)| Arc::clone(layout)).unwrap_or_default();
        }
        let found = document.operations.iter().find(|(name, _)| is_wanted(*name));
        found
            .map(|(_, operation)| Arc::new(DataLayout::new(document, &operation.node, variables, types)))
            .unwrap_or_default()
    }
}

impl Default for DataLayout {
    /// Returns the layout of a request that does not run.
    fn default() -> Self {
        Self(Layout::Object(Vec::new()))
    }
}

impl DataLayout {
    fn new(
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: &Variables,
        types: &SchemaTypes,
    ) -> Self {
        let collector = Collector { document, variables, types };
        let root = SchemaTypes::root(operation.ty);
        Self(Layout::Object(collector.fields(&[&operation.selection_set.node], Some(&Name::new(root)))))
    }

    /// Returns the data of a response in this layout, to be serialized.
    pub(super) fn arrange<'a>(&'a self, data: &'a Value) -> impl Serialize + 'a {
        Arranged(data, &self.0)
    }
}

/// Collects the fields of selection sets (GraphQL specification, section 6.3.2).
struct Collector<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    types: &'a SchemaTypes,
}

/// The fields of one response key, in order of appearance.
type Collected<'a> = IndexMap<&'a Name, Vec<&'a Field>>;

impl<'a> Collector<'a> {
    /// Returns the fields that all of `sets` together select of an object. `runtime` is the type of the object, or
    /// `None` for the types of introspection, which are not in the schema of this server.
    fn fields(&self, sets: &[&'a SelectionSet], runtime: Option<&Name>) -> Fields {
        let mut collected = Collected::new();
        for set in sets {
            self.collect(set, runtime, &mut collected);
        }
        let parent = runtime.map(Name::as_str).unwrap_or_default();
        let entry = |(key, fields): (&'a Name, Vec<&'a Field>)| (key.clone(), self.layout(&fields, parent));
        collected.into_iter().map(entry).collect()
    }

    fn layout(&self, fields: &[&'a Field], parent: &str) -> Layout {
        let sets: Vec<_> = fields
            .iter()
            .map(|field| &field.selection_set.node)
            .filter(|set| !set.items.is_empty())
            .collect();
        let Some(first) = fields.first().filter(|_| !sets.is_empty()) else { return Layout::Leaf };
        let name = self.types.field(parent, first.name.node.as_str()).map(|field| &field.type_name);
        match name.and_then(|name| self.types.possible_types(name.as_str())) {
            Some(possible) if sets.iter().any(|set| depends_on_type(set)) => {
                let of = |runtime: &Name| (runtime.clone(), self.fields(&sets, Some(runtime)));
                Layout::Abstract(possible.iter().map(of).collect())
            }
            // Every type that implements an interface has its fields.
            _ => Layout::Object(self.fields(&sets, name)),
        }
    }

    fn collect(&self, set: &'a SelectionSet, runtime: Option<&Name>, collected: &mut Collected<'a>) {
        for selection in &set.items {
            if !self.is_included(selection.node.directives()) {
                continue;
            }
            match &selection.node {
                Selection::Field(Positioned { node: field, .. }) => {
                    collected.entry(&field.response_key().node).or_default().push(field);
                }
                Selection::InlineFragment(Positioned { node: fragment, .. }) => {
                    let condition = fragment.type_condition.as_ref().map(|condition| &condition.node.on.node);
                    if self.applies(condition, runtime) {
                        self.collect(&fragment.selection_set.node, runtime, collected);
                    }
                }
                Selection::FragmentSpread(Positioned { node: spread, .. }) => {
                    let Some(fragment) = self.document.fragments.get(&spread.fragment_name.node) else {
                        continue;
                    };
                    if self.applies(Some(&fragment.node.type_condition.node.on.node), runtime) {
                        self.collect(&fragment.node.selection_set.node, runtime, collected);
                    }
                }
            }
        }
    }

    /// Returns whether a fragment with a type condition applies to an object. In introspection every fragment applies.
    fn applies(&self, condition: Option<&Name>, runtime: Option<&Name>) -> bool {
        let (Some(condition), Some(runtime)) = (condition, runtime) else { return true };
        condition == runtime
            || self
                .types
                .possible_types(condition.as_str())
                .is_some_and(|possible| possible.contains(runtime))
    }

    fn is_included(&self, directives: &[Positioned<Directive>]) -> bool {
        directives.iter().all(|Positioned { node: directive, .. }| {
            let condition = directive.arguments.iter().find(|(name, _)| name.node == "if");
            let holds = match condition.map(|(_, value)| &value.node) {
                Some(Literal::Boolean(holds)) => *holds,
                Some(Literal::Variable(name)) => self.variables.get(name) == Some(&Value::Boolean(true)),
                _ => return true,
            };
            match directive.name.node.as_str() {
                "skip" => !holds,
                "include" => holds,
                _ => true,
            }
        })
    }
}

/// Returns whether any selection of a document has a directive.
fn has_directives(document: &ExecutableDocument) -> bool {
    fn in_set(set: &SelectionSet) -> bool {
        set.items.iter().any(|selection| {
            !selection.node.directives().is_empty()
                || match &selection.node {
                    Selection::Field(field) => in_set(&field.node.selection_set.node),
                    Selection::InlineFragment(fragment) => in_set(&fragment.node.selection_set.node),
                    Selection::FragmentSpread(_) => false,
                }
        })
    }
    document.operations.iter().any(|(_, operation)| in_set(&operation.node.selection_set.node))
        || document.fragments.values().any(|fragment| in_set(&fragment.node.selection_set.node))
}

/// A part of a response, to be serialized in order.
struct Arranged<'a>(&'a Value, &'a Layout);

impl Serialize for Arranged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0, self.1) {
            (value, Layout::Leaf) => value.serialize(serializer),
            (Value::List(values), layout) => {
                serializer.collect_seq(values.iter().map(|value| Arranged(value, layout)))
            }
            (Value::Object(map), Layout::Object(fields)) => serialize_fields(map, fields, serializer),
            (Value::Object(map), Layout::Abstract(by_type)) => {
                let runtime = match map.get(&*HIDDEN_KEY) {
                    Some(Value::String(name)) => by_type.get(name.as_str()),
                    _ => None,
                };
                serialize_fields(map, runtime.map_or(&[][..], Vec::as_slice), serializer)
            }
            (value, _) => value.serialize(serializer),
        }
    }
}

fn serialize_fields<S: Serializer>(
    map: &IndexMap<Name, Value>,
    fields: &[(Name, Layout)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(None)?;
    let mut written = 0;
    for (index, (key, layout)) in fields.iter().enumerate() {
        // Most fields complete in order.
        let in_place = map.get_index(index).filter(|(name, _)| *name == key).map(|(_, value)| value);
        if let Some(value) = in_place.or_else(|| map.get(key)) {
            object.serialize_entry(key, &Arranged(value, layout))?;
            written += 1;
        }
    }
    if written < map.len() {
        // Only the hidden field can remain. Any other field would be written here, so that no data is lost.
        let is_remaining = |name: &Name| *name != *HIDDEN_KEY && !fields.iter().any(|(key, _)| key == name);
        for (name, value) in map.iter().filter(|(name, _)| is_remaining(name)) {
            object.serialize_entry(name, &Unarranged(value))?;
        }
    }
    object.end()
}

/// A value without a layout, serialized without hidden fields.
struct Unarranged<'a>(&'a Value);

impl Serialize for Unarranged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::List(values) => serializer.collect_seq(values.iter().map(Unarranged)),
            Value::Object(fields) => {
                let shown = fields.iter().filter(|(name, _)| **name != *HIDDEN_KEY);
                serializer.collect_map(shown.map(|(name, value)| (name, Unarranged(value))))
            }
            value => value.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::super::hidden_fields::add_hidden_fields;
    use super::*;
    use crate::graphql::json::{value_from_json, variables_from_json};

    const TYPES: fn() -> &'static SchemaTypes = SchemaTypes::of_server;

    fn needs_hidden_field(query: &str) -> bool {
        add_hidden_fields(&mut parse_query(query).unwrap(), TYPES())
    }

    /// Serializes data as the response to a query.
    fn write(query: &str, variables: Json, data: Json) -> String {
        let Json::Object(variables) = variables else { panic!("no object") };
        let (document, variables) = (parse_query(query).unwrap(), variables_from_json(variables));
        let layout = Layouts::new(&document, TYPES()).get(&document, None, &variables, TYPES());
        serde_json::to_string(&layout.arrange(&value_from_json(data))).unwrap()
    }

    #[test]
    fn only_sets_that_may_become_empty_or_depend_on_the_type_get_a_hidden_field() {
        for certain in [
            "{ viewer { id } }",
            "{ viewer { id ...F } } fragment F on User { name @skip(if: true) }",
            "{ jobs { nodes { id ... on Job { status @include(if: false) } } } }",
            "subscription { jobUpdated(id: 1) @skip(if: false) { id } }",
            "{ node(id: 1) { id } }",
        ] {
            assert!(!needs_hidden_field(certain), "{certain}");
        }
        for uncertain in [
            "{ viewer @skip(if: true) { id } }",
            "{ viewer { id @skip(if: true) } }",
            "query A { viewer { ...F } } query B { viewer { id } } fragment F on User { id }",
            "{ viewer { ...F } } fragment F on User { teams { id @skip(if: true) } id }",
            "{ node(id: 1) { ... on Team { members { ... on User { id } } } } }",
            "{ nodes(ids: [1]) { id ... on Job { status } } }",
        ] {
            assert!(needs_hidden_field(uncertain), "{uncertain}");
        }
    }

    #[test]
    fn fields_have_the_order_of_the_selection() {
        let query = "query($no: Boolean = true) { viewer { id a: name } jobs { ...J totalCount } viewer { email id }
            jobTypes { id @skip(if: $no) name id } } fragment J on JobConnection { nodes { status ... { id } } }";
        let data = json!({"jobTypes": [{"id": 1, "name": 2}, null], "jobs": {"totalCount": 3, "nodes": [{"id": 4, "status": 5}]},
            "viewer": {"email": 6, "id": 7, "a": {"z": 1, "y": [{"x": 1, "w": 2}]}}});
        let expected = r#"{"viewer":{"id":7,"a":{"y":[{"w":2,"x":1}],"z":1},"email":6},"jobs":{"nodes":[{"status":5,"id":4}],"totalCount":3},"jobTypes":[{"name":2,"id":1},null]}"#;
        assert_eq!(write(query, json!({"no": true}), data), expected);
    }

    #[test]
    fn fields_of_an_interface_follow_the_fragments_that_apply() {
        let query = "{ nodes(ids: [1]) { ... on User { name id } ...T ... on Node { id } } } fragment T on Team { id name }";
        let key = HIDDEN_KEY.as_str();
        let data = json!({"nodes": [{key: "Team", "name": "t", "id": 1}, {"id": 2, key: "User", "name": "u"}, {key: "Job", "id": 3}, null]});
        let expected = r#"{"nodes":[{"id":1,"name":"t"},{"name":"u","id":2},{"id":3},null]}"#;
        assert_eq!(write(query, json!({}), data), expected);
    }

    #[test]
    fn fragments_on_an_interface_within_a_known_type_apply_by_that_type() {
        let query = "{ viewer { ... on Node { ... on Team { name } ... on User { id name } } } __type(name: \"X\") { name ... on __Type { kind } } }";
        let data = json!({"__type": {"kind": 1, "name": 2}, "viewer": {"name": "u", "id": 1}});
        let expected = r#"{"viewer":{"id":1,"name":"u"},"__type":{"name":2,"kind":1}}"#;
        assert_eq!(write(query, json!({}), data), expected);
    }

    #[test]
    fn hidden_fields_are_removed_and_other_fields_remain() {
        let key = HIDDEN_KEY.as_str();
        let data = json!({"viewer": {key: "User"}, "odd": [{key: "Job", "id": 1}], key: "Query"});
        assert_eq!(
            write("{ viewer { id @skip(if: true) } }", json!({}), data),
            r#"{"viewer":{},"odd":[{"id":1}]}"#
        );
    }

    #[test]
    fn operation_of_a_document_is_found_by_its_name() {
        let document = parse_query("query A { viewer { id } } query B { jobTypes { id } }").unwrap();
        let layouts = Layouts::new(&document, TYPES());
        let keys = |name: &str| {
            let layout = layouts.get(&document, Some(name), &Variables::default(), TYPES());
            let DataLayout(Layout::Object(fields)) = &*layout else { panic!("{layout:?}") };
            fields.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!((keys("A"), keys("B")), (vec!["viewer".into()], vec!["jobTypes".into()]));
    }

    proptest! {
        #[test]
        fn completion_order_does_not_affect_field_order(order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let keys: Vec<_> = (0..12).map(|n| format!("f{n}: id")).collect();
            let query = format!("{{ viewer {{ {} }} }}", keys.join(" "));
            let mut map = IndexMap::new();
            for n in order {
                map.insert(Name::new(format!("f{n}")), Value::from(n));
            }
            let data = Value::Object([(Name::new("viewer"), Value::Object(map))].into_iter().collect());
            let document = parse_query(&query).unwrap();
            let layout = Layouts::new(&document, TYPES()).get(&document, None, &Variables::default(), TYPES());
            let expected: Vec<_> = (0..12).map(|n| format!("\"f{n}\":{n}")).collect();
            prop_assert_eq!(
                serde_json::to_string(&layout.arrange(&data)).unwrap(),
                format!("{{\"viewer\":{{{}}}}}", expected.join(","))
            );
        }
    }
}
