//! Parses a schema definition, lists its elements, and finds the arguments that take identifiers.

use std::collections::BTreeMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ConstDirective, FieldDefinition, InputValueDefinition, InterfaceType, ObjectType, Type,
    TypeDefinition, TypeKind, TypeSystemDefinition,
};
use async_graphql::{Name, Positioned};

/// The types of a schema by name.
#[derive(Debug)]
pub(crate) struct Sdl(BTreeMap<String, TypeDefinition>);

impl Sdl {
    pub(crate) fn parse(text: &str) -> Self {
        let document = parse_schema(text).expect("a schema definition");
        let types = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(found) => Some((found.node.name.node.to_string(), found.node)),
            _ => None,
        });
        Self(types.collect())
    }

    /// Returns the kind or type of every element by name, for example `String` for `Job.contents(role)`.
    pub(crate) fn elements(&self) -> BTreeMap<String, String> {
        let mut elements = BTreeMap::new();
        for (name, definition) in &self.0 {
            let kind = match &definition.kind {
                TypeKind::Scalar => "scalar",
                TypeKind::Object(object) => {
                    add_interfaces(&mut elements, name, &object.implements);
                    add_fields(&mut elements, name, &object.fields);
                    "type"
                }
                TypeKind::Interface(interface) => {
                    add_interfaces(&mut elements, name, &interface.implements);
                    add_fields(&mut elements, name, &interface.fields);
                    "interface"
                }
                TypeKind::Union(union) => {
                    elements.extend(
                        union.members.iter().map(|m| (format!("{name}.{}", m.node), "member".into())),
                    );
                    "union"
                }
                TypeKind::Enum(values) => {
                    let value = |v: &Name| (format!("{name}.{v}"), "value".to_owned());
                    elements.extend(values.values.iter().map(|v| value(&v.node.value.node)));
                    "enum"
                }
                TypeKind::InputObject(input) => {
                    let field =
                        |f: &InputValueDefinition| (format!("{name}.{}", f.name.node), describe_value(f));
                    elements.extend(input.fields.iter().map(|f| field(&f.node)));
                    let one_of = definition.directives.iter().any(|d| d.node.name.node == "oneOf");
                    if one_of { "input @oneOf" } else { "input" }
                }
            };
            elements.insert(name.clone(), kind.to_owned());
        }
        elements
    }

    /// Returns elements without a description, scalars without a specification, and deprecations without a reason.
    pub(crate) fn undocumented(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check =
            |name: String, text: Option<&Positioned<String>>, directives: &[Positioned<ConstDirective>]| {
                if text.is_none_or(|text| text.node.trim().is_empty()) {
                    found.push(format!("{name} has no description"));
                }
                let is_capitalized =
                    |text: &&Positioned<String>| text.node.trim().starts_with(char::is_uppercase);
                if text.is_some_and(|text| !is_capitalized(&text)) {
                    found.push(format!("the description of {name} does not start with a capital letter"));
                }
                let deprecated = directives.iter().find(|directive| directive.node.name.node == "deprecated");
                if deprecated.is_some_and(|directive| directive.node.get_argument("reason").is_none()) {
                    found.push(format!("{name} is deprecated without a reason"));
                }
            };
        for (name, definition) in &self.0 {
            check(name.clone(), definition.description.as_ref(), &[]);
            match &definition.kind {
                TypeKind::Object(ObjectType { fields, .. })
                | TypeKind::Interface(InterfaceType { fields, .. }) => {
                    for field in fields.iter().map(|field| &field.node) {
                        let path = format!("{name}.{}", field.name.node);
                        for argument in field.arguments.iter().map(|argument| &argument.node) {
                            let path = format!("{path}({})", argument.name.node);
                            check(path, argument.description.as_ref(), &argument.directives);
                        }
                        check(path, field.description.as_ref(), &field.directives);
                    }
                }
                TypeKind::Enum(values) => {
                    for value in values.values.iter().map(|value| &value.node) {
                        let path = format!("{name}.{}", value.value.node);
                        check(path, value.description.as_ref(), &value.directives);
                    }
                }
                TypeKind::InputObject(input) => {
                    for field in input.fields.iter().map(|field| &field.node) {
                        let path = format!("{name}.{}", field.name.node);
                        check(path, field.description.as_ref(), &field.directives);
                    }
                }
                TypeKind::Scalar | TypeKind::Union(_) => {}
            }
        }
        let unspecified = self.0.iter().filter(|(_, definition)| {
            let specified =
                definition.directives.iter().any(|directive| directive.node.name.node == "specifiedBy");
            matches!(definition.kind, TypeKind::Scalar) && !specified
        });
        found.extend(unspecified.map(|(name, _)| format!("{name} has no specification")));
        found
    }

    /// Returns the fields of `Query`, `Mutation` and `Subscription`, each with the name of its root type.
    pub(crate) fn root_fields(&self) -> Vec<(&'static str, &FieldDefinition)> {
        let mut found = Vec::new();
        for root in ["Query", "Mutation", "Subscription"] {
            if let Some(TypeKind::Object(object)) = self.0.get(root).map(|definition| &definition.kind) {
                found.extend(object.fields.iter().map(|field| (root, &field.node)));
            }
        }
        found
    }

    /// Returns the paths of arguments that take identifiers or addresses, for example `input.source.documentId`.
    pub(crate) fn identifiers(&self, field: &FieldDefinition) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_identifiers(&field.arguments, "", &mut found);
        found
    }

    fn collect_identifiers(
        &self,
        values: &[Positioned<InputValueDefinition>],
        prefix: &str,
        found: &mut Vec<String>,
    ) {
        for value in values {
            let name = value.node.name.node.as_str();
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            match self.0.get(base_type(&value.node.ty.node)).map(|definition| &definition.kind) {
                Some(TypeKind::InputObject(input)) => self.collect_identifiers(&input.fields, &path, found),
                _ if is_identifier(name) => found.push(path),
                _ => {}
            }
        }
    }
}

/// Returns whether the name of a value marks it as an identifier or an address.
fn is_identifier(name: &str) -> bool {
    let endings = ["Id", "Ids", "Uri", "Uris"];
    ["id", "ids", "uri", "uris"].contains(&name) || endings.iter().any(|ending| name.ends_with(ending))
}

fn base_type(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => base_type(inner),
    }
}

fn describe_value(value: &InputValueDefinition) -> String {
    match &value.default_value {
        Some(default) => format!("{} = {}", value.ty.node, default.node),
        None => value.ty.node.to_string(),
    }
}

fn add_interfaces(elements: &mut BTreeMap<String, String>, name: &str, interfaces: &[Positioned<Name>]) {
    elements.extend(interfaces.iter().map(|i| (format!("{name} implements {}", i.node), String::new())));
}

fn add_fields(elements: &mut BTreeMap<String, String>, name: &str, fields: &[Positioned<FieldDefinition>]) {
    for field in fields.iter().map(|field| &field.node) {
        let path = format!("{name}.{}", field.name.node);
        for argument in field.arguments.iter().map(|argument| &argument.node) {
            elements.insert(format!("{path}({})", argument.name.node), describe_value(argument));
        }
        elements.insert(path, field.ty.node.to_string());
    }
}
