//! Compares the published schema with the contract in `contract.graphql`, which never changes.

use std::collections::BTreeMap;

use crate::sdl::Sdl;

const CONTRACT: &str = include_str!("contract.graphql");
const PUBLISHED: &str = include_str!("../../schema.graphql");

/// Names of the contract that the schema lacks; a name includes everything below it. Remove a name once it exists.
const MISSING: &[&str] = &[];

#[test]
fn published_schema_equals_schema_of_the_server() {
    assert_eq!(docket::graphql::sdl(), PUBLISHED, "run `make schema`");
}

#[test]
fn published_schema_has_no_undocumented_elements() {
    let undocumented = Sdl::parse(PUBLISHED).undocumented();
    assert!(undocumented.is_empty(), "{undocumented:#?}");
}

#[test]
fn undocumented_elements_of_a_schema_are_found() {
    let schema = "\"A\" type A { b(c: Int): Int \"D\" d(\"E\" e: Int): Int @deprecated } \"F\" enum F { G } \
                  \"H\" input H { i: Int } \"J\" scalar J interface K { \"L\" l: Int @deprecated(reason: \"m\") }";
    let found = Sdl::parse(schema).undocumented();
    let expected = [
        "A.b(c) has no description",
        "A.b has no description",
        "A.d is deprecated without a reason",
        "F.G has no description",
        "H.i has no description",
        "K has no description",
        "J has no specification",
    ];
    assert_eq!(found, expected);
}

#[test]
fn schema_contains_everything_in_the_contract() {
    let (contract, schema) = (Sdl::parse(CONTRACT).elements(), Sdl::parse(PUBLISHED).elements());
    let mut missing = Vec::new();
    let mut different = Vec::new();
    for (name, expected) in &contract {
        match schema.get(name) {
            None => missing.push(name.as_str()),
            Some(actual) if actual != expected => different.push(format!("{name}: {expected} is {actual}")),
            Some(_) => {}
        }
    }
    assert!(different.is_empty(), "differs from the contract:\n{}", different.join("\n"));

    let unlisted: Vec<_> =
        missing.iter().filter(|name| !MISSING.iter().any(|listed| includes(listed, name))).collect();
    assert!(unlisted.is_empty(), "missing, but not in MISSING: {unlisted:#?}");
    let existing: Vec<_> = MISSING.iter().filter(|name| schema.contains_key(**name)).collect();
    assert!(existing.is_empty(), "these exist; remove them from MISSING: {existing:#?}");
    let unknown: Vec<_> = MISSING.iter().filter(|name| !contract.contains_key(**name)).collect();
    assert!(unknown.is_empty(), "not in the contract; remove them from MISSING: {unknown:#?}");
    #[expect(clippy::print_stdout, reason = "shown with --nocapture")]
    {
        println!("{} names are missing: {MISSING:#?}", MISSING.len());
    }
}

#[test]
fn additions_to_the_contract_are_optional_for_clients() {
    let (contract, schema) = (Sdl::parse(CONTRACT).elements(), Sdl::parse(PUBLISHED).elements());
    let newly_required = |name: &str, value: &str| {
        let parent = parent(name)?;
        let is_input = |kind: &String| kind.starts_with("input");
        let is_given_by_clients = name.contains('(') || schema.get(parent).is_some_and(is_input);
        let is_required = value.ends_with('!');
        (is_given_by_clients && is_required && contract.contains_key(parent) && !contract.contains_key(name))
            .then(|| format!("{name}: {value}"))
    };
    let broken: Vec<_> = schema.iter().filter_map(|(name, value)| newly_required(name, value)).collect();
    assert!(broken.is_empty(), "clients of the contract do not send these required values: {broken:#?}");
}

/// Returns whether a name equals another or is above it.
fn includes(listed: &str, name: &str) -> bool {
    let rest = name.strip_prefix(listed);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '(', ' ']))
}

/// Returns the field of an argument, or the type of a field.
fn parent(name: &str) -> Option<&str> {
    name.rfind(['.', '(']).map(|end| &name[..end])
}

#[test]
fn elements_lists_types_fields_arguments_and_values() {
    let elements = |text: &str| Sdl::parse(text).elements();
    let found = elements(
        "interface Node { id: ID! } type A implements Node { id: ID! b(c: Int = 3): [B!]! } enum B { X } \
         input C @oneOf { d: ID }",
    );
    let expected = [
        ("A", "type"),
        ("A implements Node", ""),
        ("A.b", "[B!]!"),
        ("A.b(c)", "Int = 3"),
        ("A.id", "ID!"),
        ("B", "enum"),
        ("B.X", "value"),
        ("C", "input @oneOf"),
        ("C.d", "ID"),
        ("Node", "interface"),
        ("Node.id", "ID!"),
    ];
    let expected: BTreeMap<_, _> =
        expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    assert_eq!(found, expected);
    assert!(includes("A.b", "A.b(c)") && includes("A", "A implements Node") && !includes("A.b", "A.bc"));
}
