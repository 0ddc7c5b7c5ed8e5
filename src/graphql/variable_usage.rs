//! Checks that every variable is used only where its type is allowed (GraphQL specification, section 5.8.5).
//!
//! The async-graphql library has this rule but does not apply it. Without this check, the same document would succeed
//! with some values and fail with others.

use std::collections::HashSet;

use async_graphql::parser::types::{
    BaseType, Directive, ExecutableDocument, Selection, SelectionSet, Type, VariableDefinition,
};
use async_graphql::{Name, Pos, Positioned};
use async_graphql_value::Value as Literal;

use super::guard::Refusal;
use super::schema_types::{Definition, SchemaTypes};
use crate::error::Code;

/// Refuses a document that uses a variable where its type is not allowed.
pub(crate) fn check_variable_usages(
    types: &SchemaTypes,
    document: &ExecutableDocument,
) -> Result<(), Refusal> {
    for (_, Positioned { node: operation, .. }) in document.operations.iter() {
        let definitions = &operation.variable_definitions;
        let mut checker = UsageChecker { types, document, definitions, visited_fragments: HashSet::new() };
        checker.check_directives(&operation.directives)?;
        checker.check_selection_set(&operation.selection_set.node, SchemaTypes::root(operation.ty))?;
    }
    Ok(())
}

/// Checks the usages in one operation and its fragments. Validation refuses fields and types that do not exist.
struct UsageChecker<'a> {
    types: &'a SchemaTypes,
    document: &'a ExecutableDocument,
    definitions: &'a [Positioned<VariableDefinition>],
    /// Fragments that are already checked.
    visited_fragments: HashSet<&'a Name>,
}

impl<'a> UsageChecker<'a> {
    fn check_selection_set(&mut self, set: &'a SelectionSet, parent: &str) -> Result<(), Refusal> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(Positioned { node: field, .. }) => {
                    self.check_directives(&field.directives)?;
                    let Some(definition) = self.types.field(parent, field.name.node.as_str()) else {
                        continue;
                    };
                    for (name, Positioned { node: value, pos }) in &field.arguments {
                        if let Some(argument) = definition.arguments.get(&name.node) {
                            self.check_value(value, &argument.ty, argument.has_default, *pos)?;
                        }
                    }
                    self.check_selection_set(&field.selection_set.node, definition.type_name.as_str())?;
                }
                Selection::InlineFragment(Positioned { node: fragment, .. }) => {
                    self.check_directives(&fragment.directives)?;
                    let condition =
                        fragment.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    self.check_selection_set(&fragment.selection_set.node, condition.unwrap_or(parent))?;
                }
                Selection::FragmentSpread(Positioned { node: spread, .. }) => {
                    self.check_directives(&spread.directives)?;
                    let name = &spread.fragment_name.node;
                    let Some(fragment) = self.document.fragments.get(name) else { continue };
                    if self.visited_fragments.insert(name) {
                        let fragment = &fragment.node;
                        self.check_directives(&fragment.directives)?;
                        let condition = fragment.type_condition.node.on.node.as_str();
                        self.check_selection_set(&fragment.selection_set.node, condition)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks `@skip` and `@include`, the only directives of a document, which take a Boolean.
    fn check_directives(&self, directives: &[Positioned<Directive>]) -> Result<(), Refusal> {
        let condition = Type { base: BaseType::Named(Name::new("Boolean")), nullable: false };
        for (name, value) in directives.iter().flat_map(|directive| &directive.node.arguments) {
            if name.node == "if" {
                self.check_value(&value.node, &condition, false, value.pos)?;
            }
        }
        Ok(())
    }

    fn check_value(&self, value: &Literal, ty: &Type, has_default: bool, pos: Pos) -> Result<(), Refusal> {
        match (value, &ty.base) {
            (Literal::Variable(name), _) => self.check_usage(name, ty, has_default, pos),
            (Literal::List(values), BaseType::List(entry)) => {
                values.iter().try_for_each(|value| self.check_value(value, entry, false, pos))
            }
            // A single value is coerced to a list of one value (section 3.11).
            (_, BaseType::List(entry)) => self.check_value(value, entry, false, pos),
            (Literal::Object(fields), BaseType::Named(name)) => {
                let Some(Definition::Input(input)) = self.types.get(name.as_str()) else { return Ok(()) };
                for field in &input.fields {
                    if let Some(value) = fields.get(&field.name) {
                        // The one field of a `@oneOf` object must not be null.
                        let ty = Type { nullable: field.ty.nullable && !input.one_of, ..field.ty.clone() };
                        self.check_value(value, &ty, field.has_default, pos)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_usage(&self, name: &Name, location: &Type, has_default: bool, pos: Pos) -> Result<(), Refusal> {
        let Some(definition) = self.definitions.iter().find(|definition| definition.node.name.node == *name)
        else {
            return Ok(());
        };
        let Positioned { node: VariableDefinition { var_type, default_value, .. }, pos: defined_at } =
            definition;
        let ty = &var_type.node;
        let has_own_default =
            default_value.as_ref().is_some_and(|value| value.node != async_graphql::Value::Null);
        let is_never_null = !ty.nullable || has_own_default || has_default;
        if (location.nullable || is_never_null) && is_compatible(&ty.base, &location.base) {
            return Ok(());
        }
        let message =
            format!("The variable ${name} of type {ty} is used where the type {location} is expected.");
        Err(Refusal::new(Code::ValidationFailed, message, vec![*defined_at, pos]))
    }
}

/// Returns whether a value of one type is valid for another type, apart from null.
fn is_compatible(ty: &BaseType, location: &BaseType) -> bool {
    match (ty, location) {
        (BaseType::Named(name), BaseType::Named(expected)) => name == expected,
        (BaseType::List(entry), BaseType::List(expected)) => {
            (expected.nullable || !entry.nullable) && is_compatible(&entry.base, &expected.base)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn check(query: &str) -> Result<(), Refusal> {
        check_variable_usages(SchemaTypes::of_server(), &parse_query(query).unwrap())
    }

    #[test]
    fn variable_of_an_allowed_type_is_accepted() {
        for valid in [
            "query($t: ID!) { jobType(id: $t) { id } }",
            "query($t: ID = \"noop\") { jobType(id: $t) { id } }",
            "query($n: Int, $s: [JobStatus!]) { jobs(first: $n, filter: {status: $s}) { totalCount } }",
            "query($s: JobStatus!) { jobs(filter: {status: [$s]}) { totalCount } }",
            "query($s: [JobStatus!]!) { jobs(filter: {status: $s}) { totalCount } }",
            "query($d: OrderDirection) { jobs(orderBy: {direction: $d}) { totalCount } }",
            "query($u: URL!) { validateJob(input: {type: \"t\", input: {uri: $u}}) { path } }",
            "query($x: Int) { jobs(filter: {metadata: {a: $x}}) { totalCount } }",
            "query($b: Boolean!) { viewer @include(if: $b) { user { id } } }",
            "query($q: String) { nothing(at: $q) { all } __type(name: $q) { name } }",
        ] {
            assert_eq!(check(valid), Ok(()), "{valid}");
        }
    }

    #[test]
    fn variable_of_another_type_is_refused_with_both_locations() {
        for invalid in [
            "query($t: ID) { jobType(id: $t) { id } }",
            "query($t: ID = null) { jobType(id: $t) { id } }",
            "query($t: String!) { jobType(id: $t) { id } }",
            "query($s: String!) { jobs(filter: {status: [$s]}) { totalCount } }",
            "query($s: JobStatus) { jobs(filter: {status: [$s]}) { totalCount } }",
            "query($s: [JobStatus]) { jobs(filter: {status: $s}) { totalCount } }",
            "query($s: JobStatus!) { jobs(filter: {status: $s}) { totalCount } }",
            "query($u: URL) { validateJob(input: {type: \"t\", input: {uri: $u}}) { path } }",
            "query($b: Boolean) { viewer @include(if: $b) { user { id } } }",
            "query($a: ID) { ...F } fragment F on Query { nodes(ids: [$a]) { id } }",
        ] {
            let refusal = check(invalid).unwrap_err();
            assert_eq!((refusal.code, refusal.locations.len()), (Code::ValidationFailed, 2), "{invalid}");
            assert!(refusal.message.starts_with("The variable $"), "{}", refusal.message);
        }
    }
}
