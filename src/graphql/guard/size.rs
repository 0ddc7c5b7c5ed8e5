//! Number of list entries that the arguments of a field request, including variables and their default values.

use std::convert::Infallible;

use async_graphql::parser::types::{Field, VariableDefinition};
use async_graphql::{Name, Positioned, Value, Variables};

/// Arguments that limit the number of entries of a list, also as fields of an input object.
pub(super) const SIZE_ARGUMENTS: [&str; 3] = ["first", "last", "limit"];
/// Arguments that list the requested entries.
pub(super) const ID_ARGUMENTS: [&str; 1] = ["ids"];

/// Computes list sizes from arguments, with the values of the variables of an operation.
#[derive(Clone, Copy, Default)]
pub(super) struct ListSizes<'a> {
    variables: Option<&'a Variables>,
    definitions: &'a [Positioned<VariableDefinition>],
}

impl<'a> ListSizes<'a> {
    pub(super) fn new(variables: &'a Variables, definitions: &'a [Positioned<VariableDefinition>]) -> Self {
        Self { variables: Some(variables), definitions }
    }

    /// Returns the arguments of a field, with each variable replaced by the sizes in its value.
    pub(super) fn resolve_arguments(&self, field: &'a Field) -> Vec<(&'a str, Value)> {
        let arguments = field.arguments.iter().map(|(name, value)| {
            let Ok(value) =
                value.node.clone().into_const_with(|name| Ok::<_, Infallible>(self.variable_sizes(&name)));
            (name.node.as_str(), value)
        });
        arguments.collect()
    }

    /// Returns the maximum number of entries that an argument requests; `None` if no argument requests any.
    /// The number is at least 1, so that no list is free.
    pub(super) fn requested_entries(arguments: &[(&str, Value)]) -> Option<u64> {
        arguments.iter().filter_map(|(name, value)| argument_entries(name, value)).max()
    }

    /// Returns the sizes in the value of a variable: a number, the length of a list, or the size fields of an object.
    /// Other values become null, so that no large value is copied.
    fn variable_sizes(&self, name: &Name) -> Value {
        let default = || {
            let definition = self.definitions.iter().find(|definition| definition.node.name.node == *name)?;
            definition.node.default_value.as_ref().map(|default| &default.node)
        };
        match self.variables.and_then(|variables| variables.get(name)).or_else(default) {
            Some(Value::Number(number)) => Value::Number(number.clone()),
            Some(Value::List(values)) => Value::from(values.len()),
            Some(Value::Object(fields)) => {
                let sizes = SIZE_ARGUMENTS.iter().filter_map(|size| fields.get_key_value(*size));
                let numbers = sizes.filter(|(_, value)| matches!(value, Value::Number(_)));
                Value::Object(numbers.map(|(name, value)| (name.clone(), value.clone())).collect())
            }
            _ => Value::Null,
        }
    }
}

fn argument_entries(name: &str, value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) if SIZE_ARGUMENTS.contains(&name) || ID_ARGUMENTS.contains(&name) => {
            // Negative numbers and fractions are refused later. Until then, they count as 1.
            Some(number.as_u64().unwrap_or(1).max(1))
        }
        Value::List(values) if ID_ARGUMENTS.contains(&name) => {
            Some(u64::try_from(values.len()).unwrap_or(u64::MAX).max(1))
        }
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, value)| {
                SIZE_ARGUMENTS.contains(&name.as_str()) && matches!(value, Value::Number(_))
            })
            .filter_map(|(name, value)| argument_entries(name, value))
            .max(),
        _ => None,
    }
}
