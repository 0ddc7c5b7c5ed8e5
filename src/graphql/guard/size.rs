//! How many entries a field's arguments ask for, variables and their defaults included.

use std::convert::Infallible;

use async_graphql::parser::types::{Field, VariableDefinition};
use async_graphql::{Name, Positioned, Value, Variables};

/// Arguments, and fields of an argument that is an object, that say how many entries a list may have.
const SIZES: [&str; 3] = ["first", "last", "limit"];
/// Arguments that name the entries one by one.
const NAMES: [&str; 1] = ["ids"];

/// The values that variables have in an operation.
#[derive(Clone, Copy, Default)]
pub(super) struct Sizes<'a> {
    given: Option<&'a Variables>,
    definitions: &'a [Positioned<VariableDefinition>],
}

impl<'a> Sizes<'a> {
    pub(super) fn new(given: &'a Variables, definitions: &'a [Positioned<VariableDefinition>]) -> Self {
        Self { given: Some(given), definitions }
    }

    /// The literal arguments of a field, with what matters of each variable in its place.
    pub(super) fn arguments(&self, field: &'a Field) -> Vec<(&'a str, Value)> {
        let arguments = field.arguments.iter().map(|(name, value)| {
            let Ok(value) =
                value.node.clone().into_const_with(|name| Ok::<_, Infallible>(self.variable(&name)));
            (name.node.as_str(), value)
        });
        arguments.collect()
    }

    /// The most entries that any of the arguments asks for; `None` where none does. Never 0, so that nothing is free.
    pub(super) fn entries(arguments: &[(&str, Value)]) -> Option<u64> {
        arguments.iter().filter_map(|(name, value)| entries(name, value)).max()
    }

    /// A number stays, a list becomes its length, of an object the sizes stay; nothing else matters, and nothing large is
    /// copied.
    fn variable(&self, name: &Name) -> Value {
        let default = || {
            let definition = self.definitions.iter().find(|definition| definition.node.name.node == *name)?;
            definition.node.default_value.as_ref().map(|default| &default.node)
        };
        match self.given.and_then(|variables| variables.get(name)).or_else(default) {
            Some(Value::Number(number)) => Value::Number(number.clone()),
            Some(Value::List(values)) => Value::from(values.len()),
            Some(Value::Object(fields)) => {
                let sizes = SIZES.iter().filter_map(|size| fields.get_key_value(*size));
                let numbers = sizes.filter(|(_, value)| matches!(value, Value::Number(_)));
                Value::Object(numbers.map(|(name, value)| (name.clone(), value.clone())).collect())
            }
            _ => Value::Null,
        }
    }
}

fn entries(name: &str, value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) if SIZES.contains(&name) || NAMES.contains(&name) => {
            // Negative numbers and fractions are refused later; here they only must not be free.
            Some(number.as_u64().unwrap_or(1).max(1))
        }
        Value::List(values) if NAMES.contains(&name) => {
            Some(u64::try_from(values.len()).unwrap_or(u64::MAX).max(1))
        }
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, value)| SIZES.contains(&name.as_str()) && matches!(value, Value::Number(_)))
            .filter_map(|(name, value)| entries(name, value))
            .max(),
        _ => None,
    }
}
