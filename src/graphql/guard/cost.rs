//! Cost of an operation after fragments are expanded.
//!
//! Each fragment is visited once and its complexity is cached. A chain of fragments that spread each other twice
//! therefore takes linear time, although its expansion is exponential. All sums saturate.

use std::collections::HashMap;

use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Pos, Positioned};

use super::refusal::Refusal;
use super::size::ListSizes;
use super::variables::{contains_file_marker, find_unstorable};
use crate::config::graphql::Limits;

/// Complexity of a selection set after its fragments are expanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Complexity {
    /// Cost of the fields outside `nodes` and `edges`, which a connection has once.
    fixed_cost: u64,
    /// Cost of `nodes` and `edges`, which a connection has once for each entry.
    entry_cost: u64,
    /// Cost of `__schema` and `__type`.
    pub(super) introspection_cost: u64,
    /// Fields of this set alone.
    pub(super) fields: u64,
    /// Fields and fragments, including nested sets.
    pub(super) selections: u64,
    /// Aliases, including nested sets.
    pub(super) aliases: u64,
    /// Fields of `Limits::heavy`, including nested sets.
    pub(super) heavy_fields: u64,
    /// Depth of nested selection sets, including this one.
    depth: usize,
}

impl Complexity {
    /// Returns the cost without introspection.
    pub(super) fn cost(&self) -> u64 {
        self.fixed_cost.saturating_add(self.entry_cost)
    }

    fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.fixed_cost, other.fixed_cost),
            (&mut self.entry_cost, other.entry_cost),
            (&mut self.introspection_cost, other.introspection_cost),
            (&mut self.fields, other.fields),
            (&mut self.selections, other.selections),
            (&mut self.aliases, other.aliases),
            (&mut self.heavy_fields, other.heavy_fields),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.depth = self.depth.max(other.depth);
    }

    /// Adds the fragment itself to the number of selections.
    fn count_fragment(mut self) -> Self {
        self.selections = self.selections.saturating_add(1);
        self
    }
}

enum FragmentState {
    InProgress,
    Done(Complexity),
}

/// Measures the selection sets of one document for one set of list sizes.
pub(super) struct ComplexityVisitor<'a> {
    document: &'a ExecutableDocument,
    limits: &'a Limits,
    sizes: ListSizes<'a>,
    fragments: HashMap<&'a str, FragmentState>,
    /// Names of the fragments in progress, outermost first.
    path: Vec<&'a str>,
    /// Number of visited fields and fragments; each one in the document is visited at most once.
    pub(super) visits: usize,
}

impl<'a> ComplexityVisitor<'a> {
    pub(super) fn new(document: &'a ExecutableDocument, limits: &'a Limits, sizes: ListSizes<'a>) -> Self {
        Self { document, limits, sizes, fragments: HashMap::new(), path: Vec::new(), visits: 0 }
    }

    /// Measures an operation.
    pub(super) fn visit_operation(
        &mut self,
        operation: &'a Positioned<OperationDefinition>,
    ) -> Result<Complexity, Refusal> {
        let definition = &operation.node;
        self.check_directives(&definition.directives, operation.pos)?;
        if definition.variable_definitions.len() > self.limits.variables {
            let (count, limit) = (definition.variable_definitions.len(), self.limits.variables);
            let message = format!("An operation defines {count} variables; the limit is {limit}.");
            return Err(Refusal::too_complex(message, (count, limit), operation.pos));
        }
        for variable in &definition.variable_definitions {
            self.check_directives(&variable.node.directives, variable.pos)?;
            let default = variable.node.default_value.as_ref();
            if default.is_some_and(|default| contains_file_marker(&default.node)) {
                return Err(file_marker_refusal(variable.pos));
            }
            let found = default.and_then(|value| find_unstorable(&variable.node.name.node, &value.node));
            if let Some((path, message)) = found {
                return Err(Refusal::invalid_literal(path, message, variable.pos));
            }
        }
        self.visit_selection_set(&definition.selection_set, 1)
    }

    /// Measures a fragment of the document, whether an operation spreads it or not.
    pub(super) fn visit_fragment(&mut self, name: &'a str) -> Result<Complexity, Refusal> {
        self.expand_fragment(name, Pos::default(), 0)
    }

    /// Measures a selection set. The `level` counts this set and the enclosing ones, and bounds the recursion.
    fn visit_selection_set(
        &mut self,
        set: &'a Positioned<SelectionSet>,
        level: usize,
    ) -> Result<Complexity, Refusal> {
        self.check_depth(level, set.pos)?;
        self.check_response_keys(set)?;
        let mut complexity = Complexity::default();
        for selection in &set.node.items {
            self.visits += 1;
            self.check_directives(selection.node.directives(), selection.pos)?;
            let part = match &selection.node {
                Selection::Field(field) => self.visit_field(field, level)?,
                Selection::InlineFragment(fragment) => {
                    self.visit_selection_set(&fragment.node.selection_set, level + 1)?.count_fragment()
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.node.fragment_name.node.as_str();
                    self.expand_fragment(name, spread.pos, level)?.count_fragment()
                }
            };
            complexity.add(&part);
        }
        complexity.depth += 1;
        Ok(complexity)
    }

    fn visit_field(&mut self, field: &'a Positioned<Field>, level: usize) -> Result<Complexity, Refusal> {
        let (at, field) = (field.pos, &field.node);
        let name = field.name.node.as_str();
        if field.arguments.len() > self.limits.arguments {
            let (count, limit) = (field.arguments.len(), self.limits.arguments);
            return Err(Refusal::too_complex(
                format!("The field {name} has {count} arguments; the limit is {limit}."),
                (count, limit),
                at,
            ));
        }
        let arguments = self.sizes.resolve_arguments(field);
        if arguments.iter().any(|(_, value)| contains_file_marker(value)) {
            return Err(file_marker_refusal(at));
        }
        let found = arguments.iter().find_map(|(name, value)| find_unstorable(name, value));
        if let Some((path, message)) = found {
            return Err(Refusal::invalid_literal(path, message, at));
        }
        let inner = match field.selection_set.node.items.as_slice() {
            [] => Complexity::default(),
            _ => self.visit_selection_set(&field.selection_set, level + 1)?,
        };
        let entries =
            ListSizes::requested_entries(&arguments).or_else(|| self.limits.list_sizes.get(name).copied());
        let inner_cost = match entries {
            None => inner.cost(),
            Some(entries) if inner.entry_cost > 0 => {
                inner.fixed_cost.saturating_add(inner.entry_cost.saturating_mul(entries))
            }
            Some(entries) => inner.fixed_cost.saturating_mul(entries),
        };
        let cost = inner_cost.saturating_add(self.limits.weights.get(name).copied().unwrap_or(1));
        let mut complexity = Complexity {
            fields: 1,
            selections: inner.selections.saturating_add(1),
            aliases: inner.aliases.saturating_add(u64::from(field.alias.is_some())),
            heavy_fields: inner.heavy_fields.saturating_add(u64::from(self.limits.heavy.contains(name))),
            introspection_cost: inner.introspection_cost,
            depth: inner.depth,
            ..Complexity::default()
        };
        match name {
            "__schema" | "__type" => {
                complexity.introspection_cost = complexity.introspection_cost.saturating_add(cost);
            }
            "nodes" | "edges" => complexity.entry_cost = cost,
            _ => complexity.fixed_cost = cost,
        }
        Ok(complexity)
    }

    /// Returns the complexity of the selection set of a fragment, which is measured at its first spread.
    fn expand_fragment(&mut self, name: &'a str, at: Pos, level: usize) -> Result<Complexity, Refusal> {
        match self.fragments.get(name) {
            Some(FragmentState::Done(complexity)) => {
                let complexity = *complexity;
                self.check_depth(level.saturating_add(complexity.depth), at)?;
                return Ok(complexity);
            }
            Some(FragmentState::InProgress) => {
                let start = self.path.iter().position(|other| *other == name).unwrap_or(0);
                let chain = self.path[start..].join(" → ");
                return Err(Refusal::invalid(
                    format!("The fragment {name} spreads itself: {chain} → {name}."),
                    at,
                ));
            }
            None => {}
        }
        // Validation refuses a fragment that does not exist.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Complexity::default()) };
        self.fragments.insert(name, FragmentState::InProgress);
        self.path.push(name);
        self.check_directives(&fragment.node.directives, fragment.pos)?;
        let complexity = self.visit_selection_set(&fragment.node.selection_set, level + 1)?;
        self.path.pop();
        self.fragments.insert(name, FragmentState::Done(complexity));
        Ok(complexity)
    }

    fn check_depth(&self, level: usize, at: Pos) -> Result<(), Refusal> {
        if level <= self.limits.depth {
            return Ok(());
        }
        let limit = self.limits.depth;
        let message = format!(
            "The document nests {level} selection sets after fragments are expanded; the limit is {limit}."
        );
        Err(Refusal::too_complex(message, (level, limit), at))
    }

    fn check_directives(&self, directives: &[Positioned<Directive>], at: Pos) -> Result<(), Refusal> {
        if directives.len() <= self.limits.directives {
            return Ok(());
        }
        let (count, limit) = (directives.len(), self.limits.directives);
        Err(Refusal::too_complex(
            format!("One location has {count} directives; the limit is {limit}."),
            (count, limit),
            at,
        ))
    }

    fn check_response_keys(&self, set: &'a Positioned<SelectionSet>) -> Result<(), Refusal> {
        if set.node.items.len() <= self.limits.duplicates {
            return Ok(());
        }
        let mut counts = HashMap::<&str, usize>::new();
        for selection in &set.node.items {
            let Selection::Field(field) = &selection.node else { continue };
            let key = field.node.response_key().node.as_str();
            let count = counts.entry(key).or_default();
            *count += 1;
            if *count > self.limits.duplicates {
                let limit = self.limits.duplicates;
                let message = format!(
                    "The response key {key} occurs {count} times in one selection set; the limit is {limit}."
                );
                return Err(Refusal::too_complex(message, (*count, limit), field.pos));
            }
        }
        Ok(())
    }
}

fn file_marker_refusal(at: Pos) -> Refusal {
    Refusal::invalid("A string must not start with \"#__graphql_file__:\".", at)
}
