//! The types of the schema as checks of requests need them, read once from the printed schema.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use async_graphql::Name;
use async_graphql::Positioned;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, OperationType, Type, TypeDefinition, TypeKind,
    TypeSystemDefinition,
};

/// The types of this server's schema. Every server of a process has the same ones.
static TYPES: LazyLock<SchemaTypes> = LazyLock::new(|| SchemaTypes::parse(&super::sdl()));

/// The types of a schema by their names.
#[derive(Debug)]
pub struct SchemaTypes {
    definitions: HashMap<Name, Definition>,
    /// The object types that implement each interface or belong to each union.
    possible: HashMap<Name, HashSet<Name>>,
}

/// One type of a schema. Built-in scalars are not among them.
#[derive(Debug)]
pub enum Definition {
    /// A scalar of the schema's own.
    Scalar,
    /// An enum.
    Enum(Vec<Name>),
    /// An input object.
    Input(InputObject),
    /// An object or interface.
    Output(HashMap<Name, OutputField>),
    /// A union.
    Union,
}

/// An input object.
#[derive(Debug)]
pub struct InputObject {
    /// Its fields, in the order of the schema.
    pub fields: Vec<InputValue>,
    /// Whether exactly one of them must be given (`@oneOf`).
    pub one_of: bool,
}

/// A field of an input object, or an argument.
#[derive(Debug)]
pub struct InputValue {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: Type,
    /// Whether it may be left out because it has a default value.
    pub has_default: bool,
}

/// A field of an object or interface.
#[derive(Debug)]
pub struct OutputField {
    /// The named type of its value, without lists.
    pub type_name: Name,
    /// Its arguments.
    pub arguments: HashMap<Name, InputValue>,
}

impl SchemaTypes {
    /// Returns the types of this server's schema.
    pub fn of_server() -> &'static Self {
        &TYPES
    }

    #[expect(clippy::expect_used, reason = "the program prints this text itself; a test parses it")]
    fn parse(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the printed schema is a schema");
        let (mut definitions, mut possible) = (HashMap::new(), HashMap::<Name, HashSet<Name>>::new());
        for definition in document.definitions {
            let TypeSystemDefinition::Type(Positioned { node, .. }) = definition else { continue };
            let TypeDefinition { name: Positioned { node: name, .. }, kind, directives, .. } = node;
            let definition = match kind {
                TypeKind::Scalar => Definition::Scalar,
                TypeKind::Enum(of) => {
                    Definition::Enum(of.values.into_iter().map(|value| value.node.value.node).collect())
                }
                TypeKind::InputObject(of) => Definition::Input(InputObject {
                    fields: of.fields.into_iter().map(|field| input_value(field.node)).collect(),
                    one_of: directives.iter().any(|directive| directive.node.name.node == "oneOf"),
                }),
                TypeKind::Object(of) => {
                    for interface in of.implements {
                        possible.entry(interface.node).or_default().insert(name.clone());
                    }
                    Definition::Output(output_fields(of.fields))
                }
                TypeKind::Interface(of) => {
                    possible.entry(name.clone()).or_default();
                    Definition::Output(output_fields(of.fields))
                }
                TypeKind::Union(of) => {
                    let members = of.members.into_iter().map(|member| member.node);
                    possible.entry(name.clone()).or_default().extend(members);
                    Definition::Union
                }
            };
            definitions.insert(name, definition);
        }
        Self { definitions, possible }
    }

    /// Returns a type; `None` for built-in scalars and for types that do not exist.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name)
    }

    /// Returns a field of an object or interface.
    pub fn field(&self, parent: &str, name: &str) -> Option<&OutputField> {
        match self.get(parent) {
            Some(Definition::Output(fields)) => fields.get(name),
            _ => None,
        }
    }

    /// Returns the object types that a value of an interface or union can have; `None` for any other type.
    pub fn possible_types(&self, name: &str) -> Option<&HashSet<Name>> {
        self.possible.get(name)
    }

    /// Returns the name of the type that an operation starts from.
    pub fn root(operation: OperationType) -> &'static str {
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
        let field = OutputField { type_name: named(&node.ty.node), arguments: arguments.collect() };
        (node.name.node, field)
    };
    fields.into_iter().map(field).collect()
}

/// The named type within lists.
fn named(ty: &Type) -> Name {
    match &ty.base {
        BaseType::Named(name) => name.clone(),
        BaseType::List(entry) => named(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_schema_is_read_with_fields_arguments_and_interfaces() {
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
