//! Hidden fields of a document, which the [layout](super::layout) of its responses leaves out.

use std::sync::LazyLock;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned};

use crate::graphql::SchemaTypes;

/// Response key of the hidden fields. It is random per process, so that no alias and no metadata key can equal it.
pub(super) static HIDDEN_KEY: LazyLock<Name> =
    LazyLock::new(|| Name::new(format!("__hidden{:032x}", rand::random::<u128>())));

/// Adds a hidden `__typename` to every selection set that needs one. Returns whether it added any.
pub(super) fn add_hidden_fields(document: &mut ExecutableDocument, types: &SchemaTypes) -> bool {
    let mut inserter = HiddenFieldInserter { types, has_added: false };
    let operations: Vec<_> = match &mut document.operations {
        DocumentOperations::Single(operation) => vec![operation],
        DocumentOperations::Multiple(operations) => operations.values_mut().collect(),
    };
    for operation in operations {
        let (ty, root) = (operation.node.ty, &mut operation.node.selection_set.node);
        // The root of a subscription has one field, which is not skipped.
        if ty != OperationType::Subscription && may_become_empty(root) {
            inserter.add(root);
        }
        inserter.visit(root, SchemaTypes::root(ty));
    }
    for fragment in document.fragments.values_mut() {
        let parent = fragment.node.type_condition.node.on.node.clone();
        inserter.visit(&mut fragment.node.selection_set.node, parent.as_str());
    }
    inserter.has_added
}

/// Adds hidden fields to the selection sets of a document.
struct HiddenFieldInserter<'a> {
    types: &'a SchemaTypes,
    has_added: bool,
}

impl HiddenFieldInserter<'_> {
    fn add(&mut self, set: &mut SelectionSet) {
        let at = |name: &Name| Positioned::new(name.clone(), Pos::default());
        let field = Field {
            alias: Some(at(&HIDDEN_KEY)),
            name: at(&Name::new("__typename")),
            arguments: Vec::new(),
            directives: Vec::new(),
            selection_set: Positioned::default(),
        };
        let field = Positioned::new(field, Pos::default());
        set.items.push(Positioned::new(Selection::Field(field), Pos::default()));
        self.has_added = true;
    }

    /// Adds hidden fields to the selection sets of the fields in `set`. An inline fragment is a part of `set`.
    fn visit(&mut self, set: &mut SelectionSet, parent: &str) {
        for selection in &mut set.items {
            match &mut selection.node {
                Selection::Field(Positioned { node: field, .. }) => {
                    let defined = self.types.field(parent, field.name.node.as_str());
                    let name = defined.map(|field| field.type_name.as_str()).unwrap_or_default();
                    let inner = &mut field.selection_set.node;
                    let is_abstract = self.types.possible_types(name).is_some();
                    if may_become_empty(inner) || is_abstract && depends_on_type(inner) {
                        self.add(inner);
                    }
                    self.visit(inner, name);
                }
                Selection::InlineFragment(Positioned { node: fragment, .. }) => {
                    let condition =
                        fragment.type_condition.as_ref().map(|condition| condition.node.on.node.clone());
                    let parent = condition.as_ref().map_or(parent, Name::as_str);
                    self.visit(&mut fragment.selection_set.node, parent);
                }
                Selection::FragmentSpread(_) => {}
            }
        }
    }
}

/// Returns whether a set has no field that every response contains.
fn may_become_empty(set: &SelectionSet) -> bool {
    let is_certain = |selection: &Positioned<Selection>| matches!(&selection.node, Selection::Field(field) if field.node.directives.is_empty());
    !set.items.is_empty() && !set.items.iter().any(is_certain)
}

/// Returns whether a set contains a fragment that may have a type condition.
pub(super) fn depends_on_type(set: &SelectionSet) -> bool {
    set.items.iter().any(|selection| match &selection.node {
        Selection::Field(_) => false,
        Selection::InlineFragment(fragment) => {
            fragment.node.type_condition.is_some() || depends_on_type(&fragment.node.selection_set.node)
        }
        Selection::FragmentSpread(_) => true,
    })
}
