//! Objects of which nothing was asked for in the end: `{}`, as section 6.3 of the GraphQL specification has it.
//!
//! async-graphql answers null where every selection of a set is skipped, or is in fragments on other types, so that a job of
//! which `node(id: …) { ... on Team { name } }` asks for nothing looks like one that is not there. Such sets are run with one
//! field more, which is taken out of the response again.

use std::sync::LazyLock;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned, Value};

/// What the field is called in the response: in this process only, so that no client's alias and nobody's metadata has it.
static KEY: LazyLock<String> = LazyLock::new(|| format!("__notEmpty{:032x}", rand::random::<u128>()));

/// Adds the field to every set that may come to nothing; whether there was any.
pub(super) fn fill(document: &mut ExecutableDocument) -> bool {
    let mut filled = false;
    let operations: Vec<_> = match &mut document.operations {
        DocumentOperations::Single(operation) => vec![operation],
        DocumentOperations::Multiple(operations) => operations.values_mut().collect(),
    };
    for operation in operations {
        let root = &mut operation.node.selection_set.node;
        // That of a subscription has one field, which is not skipped.
        filled |= operation.node.ty != OperationType::Subscription && fill_set(root);
        filled |= fill_within(root);
    }
    for fragment in document.fragments.values_mut() {
        filled |= fill_within(&mut fragment.node.selection_set.node);
    }
    filled
}

/// A set that is certain to have a field needs no other.
fn fill_set(set: &mut SelectionSet) -> bool {
    let certain = |selection: &Positioned<Selection>| matches!(&selection.node, Selection::Field(field) if field.node.directives.is_empty());
    if set.items.is_empty() || set.items.iter().any(certain) {
        return false;
    }
    let at = |name: &str| Positioned::new(Name::new(name), Pos::default());
    let field = Field {
        alias: Some(at(&KEY)),
        name: at("__typename"),
        arguments: Vec::new(),
        directives: Vec::new(),
        selection_set: Positioned::default(),
    };
    let field = Positioned::new(field, Pos::default());
    set.items.push(Positioned::new(Selection::Field(field), Pos::default()));
    true
}

/// The sets of a set's fields. Fragments are parts of the set that they stand in.
fn fill_within(set: &mut SelectionSet) -> bool {
    let mut filled = false;
    for selection in &mut set.items {
        filled |= match &mut selection.node {
            Selection::Field(field) => {
                let inner = &mut field.node.selection_set.node;
                fill_set(inner) | fill_within(inner)
            }
            Selection::InlineFragment(fragment) => fill_within(&mut fragment.node.selection_set.node),
            Selection::FragmentSpread(_) => false,
        };
    }
    filled
}

/// Takes the field out of a response.
pub(super) fn clear(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove(KEY.as_str());
            fields.values_mut().for_each(clear);
        }
        Value::List(entries) => entries.iter_mut().for_each(clear),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn filled(query: &str) -> bool {
        fill(&mut parse_query(query).unwrap())
    }

    #[test]
    fn only_sets_that_may_come_to_nothing_are_filled() {
        for sure in [
            "{ viewer { id } }",
            "{ viewer { id ...F } } fragment F on User { name @skip(if: true) }",
            "{ jobs { nodes { id ... on Job { status @include(if: false) } } } }",
            "subscription { jobUpdated(id: 1) @skip(if: false) { id } }",
        ] {
            assert!(!filled(sure), "{sure}");
        }
        for unsure in [
            "{ viewer @skip(if: true) { id } }",
            "{ viewer { id @skip(if: true) } }",
            "query A { viewer { ...F } } query B { viewer { id } } fragment F on User { id }",
            "{ viewer { ...F } } fragment F on User { teams { id @skip(if: true) } id }",
            "{ node(id: 1) { ... on Team { members { ... on User { id } } } } }",
        ] {
            assert!(filled(unsure), "{unsure}");
        }
    }

    #[test]
    fn nothing_of_it_is_left() {
        let key = KEY.as_str();
        let mut value = Value::from_json(serde_json::json!({
            "a": [{key: "User"}, null, {"id": 1, key: "User", "name": "x", "__notEmpty": 1}], key: "Query"
        }))
        .unwrap();
        clear(&mut value);
        let left = serde_json::json!({"a": [{}, null, {"id": 1, "name": "x", "__notEmpty": 1}]});
        assert_eq!(value.into_json().unwrap(), left);
    }
}
