//! Types of the schema for the checks of requests, read once from `schema.graphql`, which `docket schema --check` compares
//! with the types of this program.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use async_graphql::Name;
use async_graphql::Positioned;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, OperationType, Type, TypeDefinition, TypeKind,
    TypeSystemDefinition,
};

/// Types of the schema, which all servers of a process share.
static TYPES: LazyLock<SchemaTypes> =
    LazyLock::new(|| SchemaTypes::parse(include_str!("../../schema.graphql")));

/// Types of a schema by name.
#[derive(Debug)]
pub(crate) struct SchemaTypes {
    definitions: HashMap<Name, Definition>,
    /// Object types that implement each interface or belong to each union.
    possible_types: HashMap<Name, HashSet<Name>>,
}

/// A type of a schema, except built-in scalars.
#[derive(Debug)]
pub(crate) enum Definition {
    /// A custom scalar.
    Scalar,
    /// An enum with its values.
    Enum(Vec<Name>),
    /// An input object.
    Input(InputObject),
    /// An object or interface with its fields.
    Output(HashMap<Name, OutputField>),
    /// A union.
    Union,
}

/// An input object.
#[derive(Debug)]
pub(crate) struct InputObject {
    /// Fields in the order of the schema.
    pub fields: Vec<InputValue>,
    /// Whether exactly one field must be given (`@oneOf`).
    pub one_of: bool,
}

/// A field of an input object, or an argument.
#[derive(Debug)]
pub(crate) struct InputValue {
    /// Name of the field or argument.
    pub name: Name,
    /// Type of the value.
    pub ty: Type,
    /// Whether the value can be omitted because it has a default.
    pub(crate) has_default: bool,
}

/// A field of an object or interface.
#[derive(Debug)]
pub(crate) struct OutputField {
    /// Name of the type, without lists.
    pub(crate) type_name: Name,
    /// Arguments by name.
    pub arguments: HashMap<Name, InputValue>,
}

impl SchemaTypes {
    /// Returns the types of this server's schema.
    pub(crate) fn of_server() -> &'static Self {
        &TYPES
    }

    #[expect(clippy::expect_used, reason = "the server prints this schema itself, and a test parses it")]
    fn parse(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the printed schema is valid");
        let (mut definitions, mut possible_types) = (HashMap::new(), HashMap::<Name, HashSet<Name>>::new());
        for definition in document.definitions {
            let TypeSystemDefinition::Type(Positioned { node, .. }) = definition else { continue };
            let TypeDefinition { name: Positioned { node: name, .. }, kind, directives, .. } = node;
            let definition = match kind {
                TypeKind::Scalar => Definition::Scalar,
                TypeKind::Enum(enumeration) => Definition::Enum(
                    enumeration.values.into_iter().map(|value| value.node.value.node).collect(),
                ),
                TypeKind::InputObject(input) => Definition::Input(InputObject {
                    fields: input.fields.into_iter().map(|field| input_value(field.node)).collect(),
                    one_of: directives.iter().any(|directive| directive.node.name.node == "oneOf"),
                }),
                TypeKind::Object(object) => {
                    for interface in object.implements {
                        possible_types.entry(interface.node).or_default().insert(name.clone());
                    }
                    Definition::Output(output_fields(object.fields))
                }
                TypeKind::Interface(interface) => {
                    possible_types.entry(name.clone()).or_default();
                    Definition::Output(output_fields(interface.fields))
                }
                TypeKind::Union(union) => {
                    let members = union.members.into_iter().map(|member| member.node);
                    possible_types.entry(name.clone()).or_default().extend(members);
                    Definition::Union
                }
            };
            definitions.insert(name, definition);
        }
        Self { definitions, possible_types }
    }

    /// Returns a type; `None` for built-in scalars and for types that do not exist.
    pub(crate) fn get(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name)
    }

    /// Returns a field of an object or interface.
    pub(crate) fn field(&self, parent: &str, name: &str) -> Option<&OutputField> {
        match self.get(parent) {
            Some(Definition::Output(fields)) => fields.get(name),
            _ => None,
        }
    }

    /// Returns the object types that a value of an interface or union can have; `None` for any other type.
    pub(crate) fn possible_types(&self, name: &str) -> Option<&HashSet<Name>> {
        self.possible_types.get(name)
    }

    /// Returns the name of the type that an operation starts from.
    pub(crate) fn root(operation: OperationType) -> &'static str {
        match operation {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        }
    }
}

fn input_value(field: InputValueDefinition) -> InputValue {
    InputValue { name: field.name.node, ty: field.ty.node, has_default: field.default_value.is_some() }
}

fn output_fields(fields: Vec<Positioned<FieldDefinition>>) -> HashMap<Name, OutputField> {
    let field = |Positioned { node, .. }: Positioned<FieldDefinition>| {
        let arguments = node
            .arguments
            .into_iter()
            .map(|argument| (argument.node.name.node.clone(), input_value(argument.node)));
        let field = OutputField { type_name: named_type(&node.ty.node), arguments: arguments.collect() };
        (node.name.node, field)
    };
    fields.into_iter().map(field).collect()
}

/// Returns the name of a type, without lists.
fn named_type(ty: &Type) -> Name {
    match &ty.base {
        BaseType::Named(name) => name.clone(),
        BaseType::List(entry) => named_type(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_schema_is_parsed_with_fields_and_interfaces() {
        let types = SchemaTypes::of_server();
        assert_eq!(types.field("Query", "jobs").unwrap().type_name, "JobConnection");
        assert_eq!(types.field("Query", "jobs").unwrap().arguments["first"].ty.to_string(), "Int");
        assert!(types.possible_types("Node").unwrap().contains("Job"));
        assert!(types.possible_types("Job").is_none());
        let Some(Definition::Input(input)) = types.get("ContentSource") else { panic!("no input object") };
        assert!(input.one_of);
        let Some(Definition::Enum(values)) = types.get("JobStatus") else { panic!("no enum") };
        assert!(values.iter().any(|value| value == "BLOCKED"));
        for root in [OperationType::Query, OperationType::Mutation, OperationType::Subscription] {
            assert!(matches!(types.get(SchemaTypes::root(root)), Some(Definition::Output(_))), "{root}");
        }
    }
}
