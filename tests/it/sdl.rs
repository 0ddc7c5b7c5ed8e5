//! A schema definition, taken apart: what it says of each name, and where an operation takes identifiers.

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

    /// Everything that the schema says, by name: `Job.contents(role)` is a `String`.
    pub(crate) fn said(&self) -> BTreeMap<String, String> {
        let mut said = BTreeMap::new();
        for (name, definition) in &self.0 {
            let kind = match &definition.kind {
                TypeKind::Scalar => "scalar",
                TypeKind::Object(object) => {
                    implements(&mut said, name, &object.implements);
                    fields(&mut said, name, &object.fields);
                    "type"
                }
                TypeKind::Interface(interface) => {
                    implements(&mut said, name, &interface.implements);
                    fields(&mut said, name, &interface.fields);
                    "interface"
                }
                TypeKind::Union(union) => {
                    said.extend(
                        union.members.iter().map(|m| (format!("{name}.{}", m.node), "member".into())),
                    );
                    "union"
                }
                TypeKind::Enum(values) => {
                    let value = |v: &Name| (format!("{name}.{v}"), "value".to_owned());
                    said.extend(values.values.iter().map(|v| value(&v.node.value.node)));
                    "enum"
                }
                TypeKind::InputObject(input) => {
                    let field = |f: &InputValueDefinition| (format!("{name}.{}", f.name.node), value(f));
                    said.extend(input.fields.iter().map(|f| field(&f.node)));
                    let one_of = definition.directives.iter().any(|d| d.node.name.node == "oneOf");
                    if one_of { "input @oneOf" } else { "input" }
                }
            };
            said.insert(name.clone(), kind.to_owned());
        }
        said
    }

    /// What nobody would know how to use: names without a description, scalars without a specification, and what is
    /// deprecated without a word on what to use instead.
    pub(crate) fn unexplained(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut look = |name: String,
                        text: Option<&Positioned<String>>,
                        marks: &[Positioned<ConstDirective>]| {
            if text.is_none_or(|text| text.node.trim().is_empty()) {
                found.push(format!("{name} has no description"));
            }
            let begins_large = |text: &&Positioned<String>| text.node.trim().starts_with(char::is_uppercase);
            if text.is_some_and(|text| !begins_large(&text)) {
                found.push(format!("the description of {name} does not start with a capital letter"));
            }
            let deprecated = marks.iter().find(|mark| mark.node.name.node == "deprecated");
            if deprecated.is_some_and(|mark| mark.node.get_argument("reason").is_none()) {
                found.push(format!("{name} is deprecated without a reason"));
            }
        };
        for (name, definition) in &self.0 {
            look(name.clone(), definition.description.as_ref(), &[]);
            match &definition.kind {
                TypeKind::Object(ObjectType { fields, .. })
                | TypeKind::Interface(InterfaceType { fields, .. }) => {
                    for field in fields.iter().map(|field| &field.node) {
                        let path = format!("{name}.{}", field.name.node);
                        for argument in field.arguments.iter().map(|argument| &argument.node) {
                            let path = format!("{path}({})", argument.name.node);
                            look(path, argument.description.as_ref(), &argument.directives);
                        }
                        look(path, field.description.as_ref(), &field.directives);
                    }
                }
                TypeKind::Enum(values) => {
                    for value in values.values.iter().map(|value| &value.node) {
                        let path = format!("{name}.{}", value.value.node);
                        look(path, value.description.as_ref(), &value.directives);
                    }
                }
                TypeKind::InputObject(input) => {
                    for field in input.fields.iter().map(|field| &field.node) {
                        let path = format!("{name}.{}", field.name.node);
                        look(path, field.description.as_ref(), &field.directives);
                    }
                }
                TypeKind::Scalar | TypeKind::Union(_) => {}
            }
        }
        let unspecified = self.0.iter().filter(|(_, definition)| {
            let specified = definition.directives.iter().any(|mark| mark.node.name.node == "specifiedBy");
            matches!(definition.kind, TypeKind::Scalar) && !specified
        });
        found.extend(unspecified.map(|(name, _)| format!("{name} has no specification")));
        found
    }

    /// The fields of `Query`, `Mutation` and `Subscription`, with the name of their root.
    pub(crate) fn root_fields(&self) -> Vec<(&'static str, &FieldDefinition)> {
        let mut found = Vec::new();
        for root in ["Query", "Mutation", "Subscription"] {
            if let Some(TypeKind::Object(object)) = self.0.get(root).map(|definition| &definition.kind) {
                found.extend(object.fields.iter().map(|field| (root, &field.node)));
            }
        }
        found
    }

    /// Where a field takes identifiers or addresses, as paths through its arguments: `input.source.documentId`.
    pub(crate) fn identifiers(&self, field: &FieldDefinition) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(&field.arguments, "", &mut found);
        found
    }

    fn walk(&self, values: &[Positioned<InputValueDefinition>], under: &str, found: &mut Vec<String>) {
        for value in values {
            let name = value.node.name.node.as_str();
            let path = if under.is_empty() { name.to_owned() } else { format!("{under}.{name}") };
            match self.0.get(base(&value.node.ty.node)).map(|definition| &definition.kind) {
                Some(TypeKind::InputObject(input)) => self.walk(&input.fields, &path, found),
                _ if is_identifier(name) => found.push(path),
                _ => {}
            }
        }
    }
}

/// Whether a name says that its value is an identifier of something, or an address.
fn is_identifier(name: &str) -> bool {
    let endings = ["Id", "Ids", "Uri", "Uris"];
    ["id", "ids", "uri", "uris"].contains(&name) || endings.iter().any(|ending| name.ends_with(ending))
}

fn base(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => base(inner),
    }
}

fn value(value: &InputValueDefinition) -> String {
    match &value.default_value {
        Some(default) => format!("{} = {}", value.ty.node, default.node),
        None => value.ty.node.to_string(),
    }
}

fn implements(said: &mut BTreeMap<String, String>, name: &str, interfaces: &[Positioned<Name>]) {
    said.extend(interfaces.iter().map(|i| (format!("{name} implements {}", i.node), String::new())));
}

fn fields(said: &mut BTreeMap<String, String>, name: &str, fields: &[Positioned<FieldDefinition>]) {
    for field in fields.iter().map(|field| &field.node) {
        let path = format!("{name}.{}", field.name.node);
        for argument in field.arguments.iter().map(|argument| &argument.node) {
            said.insert(format!("{path}({})", argument.name.node), value(argument));
        }
        said.insert(path, field.ty.node.to_string());
    }
}
