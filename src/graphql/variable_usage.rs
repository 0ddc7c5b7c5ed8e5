//! Checks that every variable is used only where its type is allowed (GraphQL specification, section 5.8.5).
//!
//! async-graphql has this rule but does not apply it, so that the same document would run with some values and be an
//! error with others.

use std::collections::HashSet;

use async_graphql::parser::types::{
    BaseType, Directive, ExecutableDocument, Selection, SelectionSet, Type, VariableDefinition,
};
use async_graphql::{Name, Pos, Positioned};
use async_graphql_value::Value as Literal;

use super::guard::Refusal;
use super::schema_types::{Definition, SchemaTypes};
use crate::error::Code;

/// Refuses a document that uses a variable where a value of its type is not allowed.
pub fn check_variable_usages(types: &SchemaTypes, document: &ExecutableDocument) -> Result<(), Refusal> {
    for (_, Positioned { node: operation, .. }) in document.operations.iter() {
        let definitions = &operation.variable_definitions;
        let mut usages = Usages { types, document, definitions, walked: HashSet::new() };
        usages.directives(&operation.directives)?;
        usages.set(&operation.selection_set.node, SchemaTypes::root(operation.ty))?;
    }
    Ok(())
}

/// The usages in one operation and its fragments. What does not exist is left to validation.
struct Usages<'a> {
    types: &'a SchemaTypes,
    document: &'a ExecutableDocument,
    definitions: &'a [Positioned<VariableDefinition>],
    /// Fragments that need no second look.
    walked: HashSet<&'a Name>,
}

impl<'a> Usages<'a> {
    fn set(&mut self, set: &'a SelectionSet, parent: &str) -> Result<(), Refusal> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(Positioned { node: field, .. }) => {
                    self.directives(&field.directives)?;
                    let Some(defined) = self.types.field(parent, field.name.node.as_str()) else { continue };
                    for (name, Positioned { node: value, pos }) in &field.arguments {
                        if let Some(argument) = defined.arguments.get(&name.node) {
                            self.value(value, &argument.ty, argument.has_default, *pos)?;
                        }
                    }
                    self.set(&field.selection_set.node, defined.type_name.as_str())?;
                }
                Selection::InlineFragment(Positioned { node: fragment, .. }) => {
                    self.directives(&fragment.directives)?;
                    let condition =
                        fragment.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    self.set(&fragment.selection_set.node, condition.unwrap_or(parent))?;
                }
                Selection::FragmentSpread(Positioned { node: spread, .. }) => {
                    self.directives(&spread.directives)?;
                    let name = &spread.fragment_name.node;
                    let Some(fragment) = self.document.fragments.get(name) else { continue };
                    if self.walked.insert(name) {
                        let fragment = &fragment.node;
                        self.directives(&fragment.directives)?;
                        let condition = fragment.type_condition.node.on.node.as_str();
                        self.set(&fragment.selection_set.node, condition)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// `@skip` and `@include`, the only directives of a document, take a Boolean.
    fn directives(&self, directives: &[Positioned<Directive>]) -> Result<(), Refusal> {
        let condition = Type { base: BaseType::Named(Name::new("Boolean")), nullable: false };
        for (name, value) in directives.iter().flat_map(|directive| &directive.node.arguments) {
            if name.node == "if" {
                self.value(&value.node, &condition, false, value.pos)?;
            }
        }
        Ok(())
    }

    fn value(&self, value: &Literal, ty: &Type, has_default: bool, pos: Pos) -> Result<(), Refusal> {
        match (value, &ty.base) {
            (Literal::Variable(name), _) => self.usage(name, ty, has_default, pos),
            (Literal::List(values), BaseType::List(entry)) => {
                values.iter().try_for_each(|value| self.value(value, entry, false, pos))
            }
            // A single value stands for a list of one (section 3.11).
            (_, BaseType::List(entry)) => self.value(value, entry, false, pos),
            (Literal::Object(fields), BaseType::Named(name)) => {
                let Some(Definition::Input(input)) = self.types.get(name.as_str()) else { return Ok(()) };
                for field in &input.fields {
                    if let Some(value) = fields.get(&field.name) {
                        // The one field of a `@oneOf` object must not be null.
                        let ty = Type { nullable: field.ty.nullable && !input.one_of, ..field.ty.clone() };
                        self.value(value, &ty, field.has_default, pos)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn usage(&self, name: &Name, location: &Type, has_default: bool, pos: Pos) -> Result<(), Refusal> {
        let Some(definition) = self.definitions.iter().find(|definition| definition.node.name.node == *name)
        else {
            return Ok(());
        };
        let Positioned { node: VariableDefinition { var_type, default_value, .. }, pos: defined_at } =
            definition;
        let ty = &var_type.node;
        let own_default =
            default_value.as_ref().is_some_and(|value| value.node != async_graphql::Value::Null);
        let never_null = !ty.nullable || own_default || has_default;
        if (location.nullable || never_null) && same_base(&ty.base, &location.base) {
            return Ok(());
        }
        let message = format!("The variable ${name} of type {ty} is used where the type is {location}.");
        Err(Refusal::new(Code::ValidationFailed, message, vec![*defined_at, pos]))
    }
}

/// Whether a value of one type is one of the other, apart from null.
fn same_base(ty: &BaseType, location: &BaseType) -> bool {
    match (ty, location) {
        (BaseType::Named(name), BaseType::Named(wanted)) => name == wanted,
        (BaseType::List(entry), BaseType::List(wanted)) => {
            (wanted.nullable || !entry.nullable) && same_base(&entry.base, &wanted.base)
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
    fn variables_are_used_where_their_type_is_allowed() {
        for good in [
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
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn variables_of_other_types_are_refused_with_both_places() {
        for wrong in [
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
            let refusal = check(wrong).unwrap_err();
            assert_eq!((refusal.code, refusal.locations.len()), (Code::ValidationFailed, 2), "{wrong}");
            assert!(refusal.message.starts_with("The variable $"), "{}", refusal.message);
        }
    }
}
