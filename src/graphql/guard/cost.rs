//! What an operation costs, with fragments expanded.
//!
//! Each fragment is walked once and its tally remembered, so that a chain of fragments that spread each other twice takes
//! linear time although its expansion is exponential. All sums saturate.

use std::collections::HashMap;

use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Pos, Positioned};

use super::limits::Limits;
use super::refusal::Refusal;
use super::size::Sizes;
use super::variables::{holds_file_marker, unstorable};

/// What a selection set comes to when its fragments are expanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Cost of the fields outside `nodes` and `edges`: in a connection they stand once.
    once: u64,
    /// Cost of `nodes` and `edges`: in a connection they stand once for each entry.
    per_entry: u64,
    /// Cost of `__schema` and `__type`.
    pub(super) introspection: u64,
    /// Fields of this very set.
    pub(super) fields: u64,
    /// Fields and fragments of this set and those within it.
    pub(super) selections: u64,
    /// Aliases likewise.
    pub(super) aliases: u64,
    /// Fields of `Limits::heavy` likewise.
    pub(super) heavy: u64,
    /// Selection sets within each other, this one included.
    levels: usize,
}

impl Tally {
    /// Cost without introspection.
    pub(super) fn cost(&self) -> u64 {
        self.once.saturating_add(self.per_entry)
    }

    fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.once, other.once),
            (&mut self.per_entry, other.per_entry),
            (&mut self.introspection, other.introspection),
            (&mut self.fields, other.fields),
            (&mut self.selections, other.selections),
            (&mut self.aliases, other.aliases),
            (&mut self.heavy, other.heavy),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.levels = self.levels.max(other.levels);
    }

    /// Counts the fragment itself where one is spread.
    fn spread(mut self) -> Self {
        self.selections = self.selections.saturating_add(1);
        self
    }
}

enum Memo {
    InProgress,
    Done(Tally),
}

/// Walks one document for one set of list sizes.
pub(super) struct Walk<'a> {
    document: &'a ExecutableDocument,
    limits: &'a Limits,
    sizes: Sizes<'a>,
    fragments: HashMap<&'a str, Memo>,
    /// Fragments that are being walked, outermost first.
    path: Vec<&'a str>,
    /// Fields and fragments that were looked at; at most as many as the document has.
    pub(super) visits: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(document: &'a ExecutableDocument, limits: &'a Limits, sizes: Sizes<'a>) -> Self {
        Self { document, limits, sizes, fragments: HashMap::new(), path: Vec::new(), visits: 0 }
    }

    /// Tallies an operation.
    pub(super) fn operation(
        &mut self,
        operation: &'a Positioned<OperationDefinition>,
    ) -> Result<Tally, Refusal> {
        let definition = &operation.node;
        self.directives(&definition.directives, operation.pos)?;
        if definition.variable_definitions.len() > self.limits.variables {
            let (count, most) = (definition.variable_definitions.len(), self.limits.variables);
            let message = format!("An operation defines {count} variables; the most is {most}.");
            return Err(Refusal::too_complex(message, (count, most), operation.pos));
        }
        for variable in &definition.variable_definitions {
            self.directives(&variable.node.directives, variable.pos)?;
            if variable.node.default_value.as_ref().is_some_and(|default| holds_file_marker(&default.node)) {
                return Err(file_marker(variable.pos));
            }
            let default = variable.node.default_value.as_ref();
            let found = default.and_then(|value| unstorable(&variable.node.name.node, &value.node));
            if let Some((pointer, message)) = found {
                return Err(Refusal::literal(pointer, message, variable.pos));
            }
        }
        self.set(&definition.selection_set, 1)
    }

    /// Tallies a fragment whose name is in the document, whether an operation spreads it or not.
    pub(super) fn fragment(&mut self, name: &'a str) -> Result<Tally, Refusal> {
        self.expand(name, Pos::default(), 0)
    }

    /// `level` counts the selection sets around this one, and this one. It bounds the recursion.
    fn set(&mut self, set: &'a Positioned<SelectionSet>, level: usize) -> Result<Tally, Refusal> {
        self.level(level, set.pos)?;
        self.duplicates(set)?;
        let mut tally = Tally::default();
        for selection in &set.node.items {
            self.visits += 1;
            self.directives(selection.node.directives(), selection.pos)?;
            let part = match &selection.node {
                Selection::Field(field) => self.field(field, level)?,
                Selection::InlineFragment(fragment) => {
                    self.set(&fragment.node.selection_set, level + 1)?.spread()
                }
                Selection::FragmentSpread(spread) => {
                    self.expand(spread.node.fragment_name.node.as_str(), spread.pos, level)?.spread()
                }
            };
            tally.add(&part);
        }
        tally.levels += 1;
        Ok(tally)
    }

    fn field(&mut self, field: &'a Positioned<Field>, level: usize) -> Result<Tally, Refusal> {
        let (at, field) = (field.pos, &field.node);
        let name = field.name.node.as_str();
        if field.arguments.len() > self.limits.arguments {
            let (count, most) = (field.arguments.len(), self.limits.arguments);
            return Err(Refusal::too_complex(
                format!("{name} has {count} arguments; the most is {most}."),
                (count, most),
                at,
            ));
        }
        let arguments = self.sizes.arguments(field);
        if arguments.iter().any(|(_, value)| holds_file_marker(value)) {
            return Err(file_marker(at));
        }
        if let Some((pointer, message)) = arguments.iter().find_map(|(name, value)| unstorable(name, value)) {
            return Err(Refusal::literal(pointer, message, at));
        }
        let inner = match field.selection_set.node.items.as_slice() {
            [] => Tally::default(),
            _ => self.set(&field.selection_set, level + 1)?,
        };
        let entries = Sizes::entries(&arguments).or_else(|| self.limits.list_sizes.get(name).copied());
        let inside = match entries {
            None => inner.cost(),
            Some(entries) if inner.per_entry > 0 => {
                inner.once.saturating_add(inner.per_entry.saturating_mul(entries))
            }
            Some(entries) => inner.once.saturating_mul(entries),
        };
        let cost = inside.saturating_add(self.limits.weights.get(name).copied().unwrap_or(1));
        let mut tally = Tally {
            fields: 1,
            selections: inner.selections.saturating_add(1),
            aliases: inner.aliases.saturating_add(u64::from(field.alias.is_some())),
            heavy: inner.heavy.saturating_add(u64::from(self.limits.heavy.contains(name))),
            introspection: inner.introspection,
            levels: inner.levels,
            ..Tally::default()
        };
        match name {
            "__schema" | "__type" => tally.introspection = tally.introspection.saturating_add(cost),
            "nodes" | "edges" => tally.per_entry = cost,
            _ => tally.once = cost,
        }
        Ok(tally)
    }

    /// Tallies a fragment's selection set, the first time it is met.
    fn expand(&mut self, name: &'a str, at: Pos, level: usize) -> Result<Tally, Refusal> {
        match self.fragments.get(name) {
            Some(Memo::Done(tally)) => {
                let tally = *tally;
                self.level(level.saturating_add(tally.levels), at)?;
                return Ok(tally);
            }
            Some(Memo::InProgress) => {
                let from = self.path.iter().position(|other| *other == name).unwrap_or(0);
                let chain = self.path[from..].join(" → ");
                return Err(Refusal::invalid(
                    format!("The fragment {name} spreads itself: {chain} → {name}."),
                    at,
                ));
            }
            None => {}
        }
        // A fragment that does not exist is validation's to refuse.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Tally::default()) };
        self.fragments.insert(name, Memo::InProgress);
        self.path.push(name);
        self.directives(&fragment.node.directives, fragment.pos)?;
        let tally = self.set(&fragment.node.selection_set, level + 1)?;
        self.path.pop();
        self.fragments.insert(name, Memo::Done(tally));
        Ok(tally)
    }

    fn level(&self, level: usize, at: Pos) -> Result<(), Refusal> {
        if level <= self.limits.depth {
            return Ok(());
        }
        let most = self.limits.depth;
        let message =
            format!("The document nests {level} selection sets, fragments expanded; the most is {most}.");
        Err(Refusal::too_complex(message, (level, most), at))
    }

    fn directives(&self, directives: &[Positioned<Directive>], at: Pos) -> Result<(), Refusal> {
        if directives.len() <= self.limits.directives {
            return Ok(());
        }
        let (count, most) = (directives.len(), self.limits.directives);
        Err(Refusal::too_complex(
            format!("There are {count} directives in one place; the most is {most}."),
            (count, most),
            at,
        ))
    }

    fn duplicates(&self, set: &'a Positioned<SelectionSet>) -> Result<(), Refusal> {
        if set.node.items.len() <= self.limits.duplicates {
            return Ok(());
        }
        let mut seen = HashMap::<&str, usize>::new();
        for selection in &set.node.items {
            let Selection::Field(field) = &selection.node else { continue };
            let key = field.node.response_key().node.as_str();
            let count = seen.entry(key).or_default();
            *count += 1;
            if *count > self.limits.duplicates {
                let most = self.limits.duplicates;
                let message = format!("One selection set names {key} {count} times; the most is {most}.");
                return Err(Refusal::too_complex(message, (*count, most), field.pos));
            }
        }
        Ok(())
    }
}

fn file_marker(at: Pos) -> Refusal {
    Refusal::invalid("Text must not start with \"#__graphql_file__:\".", at)
}
