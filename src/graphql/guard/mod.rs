//! Stands in front of async-graphql, for HTTP and WebSocket alike: what it lets through is cheap to validate and bounded to run.
//!
//! async-graphql walks fragments before its own limits apply, in exponential time, and its parser recurses as deeply as a
//! document nests. So a document is counted without recursion first ([`Limits::bytes`], `tokens`, `nesting`), then parsed,
//! then measured with each fragment walked once. Nothing here does I/O, and nothing here knows the schema: whether fields
//! and types exist is for validation to say, which comes after.

mod cost;
mod lexer;
mod limits;
mod refusal;
mod size;
#[cfg(test)]
mod tests;
mod variables;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, VariableDefinition,
};
use async_graphql::parser::{Error as ParserError, parse_query};
use async_graphql::{Name, Pos, Positioned, Request, Value, Variables};

use crate::config::switch::Switch;

use self::cost::{Tally, Walk};
pub use self::limits::Limits;
pub use self::refusal::{Bound, Refusal};
use self::size::Sizes;
pub use crate::error::Code;

/// A document that may be run, with what its operation comes to.
#[derive(Debug)]
pub struct Checked {
    /// The parsed document, for [`Request::set_parsed_query`].
    pub document: ExecutableDocument,
    /// The operation that is to be run.
    pub operation: Operation,
}

/// The operation of a request.
#[derive(Debug)]
pub struct Operation {
    /// Query, mutation or subscription.
    pub kind: OperationType,
    /// Fields of the response, list sizes multiplied in, without introspection.
    pub cost: u64,
    /// The same of introspection.
    pub introspection_cost: u64,
    /// Defaults of the variables that the request leaves out.
    defaults: Vec<(Name, Value)>,
}

impl Checked {
    /// Puts the parsed document and the defaults of variables into the request that it was made from.
    pub fn put_into(self, request: &mut Request) {
        self.operation.fill_defaults(&mut request.variables);
        request.set_parsed_query(self.document);
    }
}

impl Operation {
    /// Gives variables that were left out their defaults: async-graphql's `@skip` and `@include` see only what is given.
    pub fn fill_defaults(self, variables: &mut Variables) {
        for (name, value) in self.defaults {
            variables.entry(name).or_insert(value);
        }
    }
}

/// Parses a request's document and checks it with its variables.
///
/// `operation_name` may be absent where the document has one operation.
pub fn check(
    document: &str,
    operation_name: Option<&str>,
    variables: &Variables,
    limits: &Limits,
) -> Result<Checked, Refusal> {
    let document = parse(document, limits)?;
    let operation = measure(&document, operation_name, variables, limits)?;
    Ok(Checked { document, operation })
}

/// The part of [`check`] that does not depend on variables; its result may be kept and measured again.
pub fn parse(document: &str, limits: &Limits) -> Result<ExecutableDocument, Refusal> {
    lexer::scan(document, limits)?;
    let parsed = parse_query(document).map_err(|error: ParserError| Refusal::parser(&error, document))?;
    structure(&parsed, limits)?;
    Ok(parsed)
}

/// The part of [`check`] that depends on variables, for a document that [`parse`] has let through.
pub fn measure(
    document: &ExecutableDocument,
    operation_name: Option<&str>,
    variables: &Variables,
    limits: &Limits,
) -> Result<Operation, Refusal> {
    variables::check(variables, limits)?;
    let operation = select(document, operation_name)?;
    let definition = &operation.node;
    let sizes = Sizes::new(variables, &definition.variable_definitions);
    let tally = Walk::new(document, limits, sizes).operation(operation)?;
    let kind = definition.ty;
    affordable(kind, &tally, operation.pos, limits)?;
    let default = |variable: &Positioned<VariableDefinition>| {
        let name = &variable.node.name.node;
        let default = variable.node.default_value.as_ref().filter(|_| !variables.contains_key(name))?;
        Some((name.clone(), default.node.clone()))
    };
    let defaults = definition.variable_definitions.iter().filter_map(default).collect();
    Ok(Operation { kind, cost: tally.cost(), introspection_cost: tally.introspection, defaults })
}

/// Returns the variables that an operation of a document defines.
pub fn variable_definitions<'a>(
    document: &'a ExecutableDocument,
    operation_name: Option<&str>,
) -> &'a [Positioned<VariableDefinition>] {
    let selected = select(document, operation_name);
    selected.map(|operation| operation.node.variable_definitions.as_slice()).unwrap_or_default()
}

/// Checks every definition, used or not, since validation walks them all. Returns how many selections were looked at.
fn structure(document: &ExecutableDocument, limits: &Limits) -> Result<usize, Refusal> {
    let operations = document.operations.iter().len();
    if operations > limits.operations {
        let message = format!("The document has {operations} operations; the most is {}.", limits.operations);
        return Err(Refusal::too_complex(message, (operations, limits.operations), None));
    }
    let mut walk = Walk::new(document, limits, Sizes::default());
    let mut selections = 0_u64;
    for (_, operation) in document.operations.iter() {
        selections = selections.saturating_add(walk.operation(operation)?.selections);
    }
    for name in document.fragments.keys() {
        selections = selections.saturating_add(walk.fragment(name.as_str())?.selections);
    }
    if selections > limits.selections {
        let most = limits.selections;
        let message = format!(
            "The document has {selections} fields and fragments once fragments are expanded; the most is {most}."
        );
        return Err(Refusal::too_complex(message, (selections, most), None));
    }
    Ok(walk.visits)
}

fn select<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a Positioned<OperationDefinition>, Refusal> {
    let refuse = |message: String| Refusal::new(Code::ValidationFailed, message, Vec::new());
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok(operation),
        (DocumentOperations::Multiple(operations), Some(name)) if operations.contains_key(name) => {
            Ok(&operations[name])
        }
        (_, Some(name)) => Err(refuse(format!("The document has no operation named {name:?}."))),
        (DocumentOperations::Multiple(operations), None) => {
            let mut all = operations.values();
            match (all.next(), all.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(refuse(format!(
                    "The document has {} operations; operationName must say which one to run.",
                    operations.len()
                ))),
            }
        }
    }
}

fn affordable(kind: OperationType, tally: &Tally, at: Pos, limits: &Limits) -> Result<(), Refusal> {
    if tally.introspection > 0 && limits.introspection == Switch::Off {
        return Err(Refusal::invalid(
            "Introspection is off on this server: __schema and __type cannot be queried.",
            at,
        ));
    }
    if kind == OperationType::Subscription && tally.fields != 1 {
        let message = format!("A subscription has exactly one root field; this one has {}.", tally.fields);
        return Err(Refusal::invalid(message, at));
    }
    let root_fields =
        if kind == OperationType::Mutation { limits.mutation_fields } else { limits.root_fields };
    for (what, count, most, instead) in [
        ("root fields", tally.fields, root_fields, "Send several requests."),
        ("aliases", tally.aliases, limits.aliases, "Send several requests."),
        (
            "fields that hash a password or the like",
            tally.heavy,
            limits.heavy_fields,
            "Send several requests.",
        ),
        (
            "points of cost",
            tally.cost(),
            limits.cost,
            "Ask for fewer entries (first, last) or for fewer fields.",
        ),
        (
            "points of introspection cost",
            tally.introspection,
            limits.introspection_cost,
            "Ask for fewer fields.",
        ),
    ] {
        if count > most {
            let message = format!("The {kind} has {count} {what}; the most is {most}. {instead}");
            return Err(Refusal::too_complex(message, (count, most), at));
        }
    }
    Ok(())
}
