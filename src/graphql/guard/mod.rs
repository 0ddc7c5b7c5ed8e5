//! Limits every operation before async-graphql validates it, over HTTP and WebSocket alike.
//!
//! async-graphql walks fragments in exponential time before its own limits apply. Its parser recurses as deeply as a
//! document nests. The guard therefore first counts tokens and brackets without recursion ([`Limits::bytes`], `tokens`,
//! `nesting`). It then parses the document, and measures it with each fragment walked once. The guard does no I/O and
//! does not use the schema: the later validation checks whether fields and types exist.

mod cost;
mod lexer;
#[cfg(test)]
mod price_tests;
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

use self::cost::{Complexity, ComplexityVisitor};
pub(crate) use self::refusal::{LimitUsage, Refusal};
use self::size::ListSizes;
pub use crate::config::graphql::Limits;
pub use crate::error::Code;

/// A request that passed the guard.
#[derive(Debug)]
pub struct CheckedRequest {
    /// The parsed document, for [`Request::set_parsed_query`].
    pub document: ExecutableDocument,
    /// The operation to run, with its cost.
    pub operation: Operation,
}

/// The operation of a request.
#[derive(Debug)]
pub struct Operation {
    /// Query, mutation, or subscription.
    pub kind: OperationType,
    /// Number of fields in the response, multiplied by list sizes, without introspection.
    pub cost: u64,
    /// The same number for introspection.
    pub(crate) introspection_cost: u64,
    /// Default values of the variables that the request omits.
    defaults: Vec<(Name, Value)>,
}

impl CheckedRequest {
    /// Sets the parsed document and the default values of variables in the request.
    pub fn apply_to(self, request: &mut Request) {
        self.operation.fill_defaults(&mut request.variables);
        request.set_parsed_query(self.document);
    }
}

impl Operation {
    /// Sets omitted variables to their default values: `@skip` and `@include` of async-graphql do not apply these.
    pub(crate) fn fill_defaults(self, variables: &mut Variables) {
        for (name, value) in self.defaults {
            variables.entry(name).or_insert(value);
        }
    }
}

/// Parses the document of a request and checks it with its variables.
///
/// `operation_name` can be absent if the document has one operation.
pub fn check(
    document: &str,
    operation_name: Option<&str>,
    variables: &Variables,
    limits: &Limits,
) -> Result<CheckedRequest, Refusal> {
    let document = parse(document, limits)?;
    let operation = measure(&document, operation_name, variables, limits)?;
    Ok(CheckedRequest { document, operation })
}

/// Runs the part of [`check`] that does not depend on variables; the result can be cached and measured again.
pub fn parse(document: &str, limits: &Limits) -> Result<ExecutableDocument, Refusal> {
    lexer::count_tokens(document, limits)?;
    let parsed =
        parse_query(document).map_err(|error: ParserError| Refusal::from_parser(&error, document))?;
    check_structure(&parsed, limits)?;
    Ok(parsed)
}

/// Runs the part of [`check`] that depends on variables, for a document that [`parse`] has accepted.
pub fn measure(
    document: &ExecutableDocument,
    operation_name: Option<&str>,
    variables: &Variables,
    limits: &Limits,
) -> Result<Operation, Refusal> {
    variables::check(variables, limits)?;
    let operation = select_operation(document, operation_name)?;
    let definition = &operation.node;
    let sizes = ListSizes::new(variables, &definition.variable_definitions);
    let complexity = ComplexityVisitor::new(document, limits, sizes).visit_operation(operation)?;
    let kind = definition.ty;
    check_complexity(kind, &complexity, operation.pos, limits)?;
    let default = |variable: &Positioned<VariableDefinition>| {
        let name = &variable.node.name.node;
        let default = variable.node.default_value.as_ref().filter(|_| !variables.contains_key(name))?;
        Some((name.clone(), default.node.clone()))
    };
    let defaults = definition.variable_definitions.iter().filter_map(default).collect();
    let (cost, introspection_cost) = (complexity.cost(), complexity.introspection_cost);
    Ok(Operation { kind, cost, introspection_cost, defaults })
}

/// Returns the variables that an operation of a document defines.
pub(crate) fn variable_definitions<'a>(
    document: &'a ExecutableDocument,
    operation_name: Option<&str>,
) -> &'a [Positioned<VariableDefinition>] {
    let selected = select_operation(document, operation_name);
    selected.map(|operation| operation.node.variable_definitions.as_slice()).unwrap_or_default()
}

/// Checks every definition, used or not, because validation walks them all. Returns the number of visited selections.
fn check_structure(document: &ExecutableDocument, limits: &Limits) -> Result<usize, Refusal> {
    let operations = document.operations.iter().len();
    if operations > limits.operations {
        let message =
            format!("The document has {operations} operations; the limit is {}.", limits.operations);
        return Err(Refusal::too_complex(message, (operations, limits.operations), None));
    }
    let mut visitor = ComplexityVisitor::new(document, limits, ListSizes::default());
    let mut selections = 0_u64;
    for (_, operation) in document.operations.iter() {
        selections = selections.saturating_add(visitor.visit_operation(operation)?.selections);
    }
    for name in document.fragments.keys() {
        selections = selections.saturating_add(visitor.visit_fragment(name.as_str())?.selections);
    }
    if selections > limits.selections {
        let limit = limits.selections;
        let message = format!(
            "The document has {selections} fields and fragments after fragments are expanded; the limit is {limit}."
        );
        return Err(Refusal::too_complex(message, (selections, limit), None));
    }
    Ok(visitor.visits)
}

fn select_operation<'a>(
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
                    "The document has {} operations. Set operationName to the one to run.",
                    operations.len()
                ))),
            }
        }
    }
}

fn check_complexity(
    kind: OperationType,
    complexity: &Complexity,
    at: Pos,
    limits: &Limits,
) -> Result<(), Refusal> {
    if complexity.introspection_cost > 0 && limits.introspection == Switch::Off {
        return Err(Refusal::invalid(
            "Introspection is off on this server: __schema and __type cannot be queried.",
            at,
        ));
    }
    if kind == OperationType::Subscription && complexity.fields != 1 {
        let message =
            format!("A subscription has exactly one root field; this one has {}.", complexity.fields);
        return Err(Refusal::invalid(message, at));
    }
    let root_fields =
        if kind == OperationType::Mutation { limits.mutation_fields } else { limits.root_fields };
    for (unit, count, limit, remedy) in [
        ("root fields", complexity.fields, root_fields, "Send several requests."),
        ("aliases", complexity.aliases, limits.aliases, "Send several requests."),
        (
            "expensive fields, such as signIn",
            complexity.heavy_fields,
            limits.heavy_fields,
            "Send several requests.",
        ),
        (
            "cost points",
            complexity.cost(),
            limits.cost,
            "Request fewer entries (first, last) or fewer fields.",
        ),
        (
            "introspection cost points",
            complexity.introspection_cost,
            limits.introspection_cost,
            "Request fewer fields.",
        ),
    ] {
        if count > limit {
            let message = format!("The {kind} has {count} {unit}; the limit is {limit}. {remedy}");
            return Err(Refusal::too_complex(message, (count, limit), at));
        }
    }
    Ok(())
}
