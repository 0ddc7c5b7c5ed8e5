//! The published schema keeps what the contract promises. `contract.graphql` is the contract: it is read here and never
//! changed to fit.

use std::collections::BTreeMap;

use crate::sdl::Sdl;

const CONTRACT: &str = include_str!("contract.graphql");
const PUBLISHED: &str = include_str!("../../schema.graphql");

/// What the contract promises and the schema does not have yet, by name; a name stands for everything below it.
/// Whoever builds one of these takes it off the list.
const OWED: &[&str] = &[];

#[test]
fn the_published_schema_is_the_servers_own() {
    assert_eq!(docket::graphql::sdl(), PUBLISHED, "print it anew with `make schema`");
}

#[test]
fn the_published_schema_explains_itself() {
    let unexplained = Sdl::parse(PUBLISHED).unexplained();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}

#[test]
fn what_nobody_would_understand_is_found() {
    let schema = "\"A\" type A { b(c: Int): Int \"D\" d(\"E\" e: Int): Int @deprecated } \"F\" enum F { G } \
                  \"H\" input H { i: Int } \"J\" scalar J interface K { \"L\" l: Int @deprecated(reason: \"m\") }";
    let found = Sdl::parse(schema).unexplained();
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
fn the_schema_has_everything_that_the_contract_promises() {
    let (contract, schema) = (Sdl::parse(CONTRACT).said(), Sdl::parse(PUBLISHED).said());
    let mut missing = Vec::new();
    let mut different = Vec::new();
    for (name, promised) in &contract {
        match schema.get(name) {
            None => missing.push(name.as_str()),
            Some(is) if is != promised => different.push(format!("{name}: {promised} is {is}")),
            Some(_) => {}
        }
    }
    assert!(different.is_empty(), "differs from the contract:\n{}", different.join("\n"));

    let broken: Vec<_> = missing.iter().filter(|name| !OWED.iter().any(|owed| covers(owed, name))).collect();
    assert!(broken.is_empty(), "missing, and not known to be owed: {broken:#?}");
    let paid: Vec<_> = OWED.iter().filter(|owed| schema.contains_key(**owed)).collect();
    assert!(paid.is_empty(), "there already; take it off OWED: {paid:#?}");
    let never: Vec<_> = OWED.iter().filter(|owed| !contract.contains_key(**owed)).collect();
    assert!(never.is_empty(), "owed to nobody; take it off OWED: {never:#?}");
    #[expect(clippy::print_stdout, reason = "for whoever asks with --nocapture what is left to do")]
    {
        println!("{} names are owed: {OWED:#?}", OWED.len());
    }
}

#[test]
fn what_the_schema_adds_can_be_left_out_by_clients_of_the_contract() {
    let (contract, schema) = (Sdl::parse(CONTRACT).said(), Sdl::parse(PUBLISHED).said());
    let wanted = |name: &str, is: &str| {
        let holder = holder(name)?;
        let is_input = |kind: &String| kind.starts_with("input");
        let given_by_clients = name.contains('(') || schema.get(holder).is_some_and(is_input);
        let required = is.ends_with('!');
        (given_by_clients && required && contract.contains_key(holder) && !contract.contains_key(name))
            .then(|| format!("{name}: {is}"))
    };
    let broken: Vec<_> = schema.iter().filter_map(|(name, is)| wanted(name, is)).collect();
    assert!(broken.is_empty(), "clients of the contract do not know that these are needed: {broken:#?}");
}

/// Whether a name that is owed stands for another.
fn covers(owed: &str, name: &str) -> bool {
    let rest = name.strip_prefix(owed);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '(', ' ']))
}

/// The field of an argument, the type of a field.
fn holder(name: &str) -> Option<&str> {
    name.rfind(['.', '(']).map(|end| &name[..end])
}

#[test]
fn the_comparison_sees_what_it_should() {
    let said = |text: &str| Sdl::parse(text).said();
    let one = said(
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
        expected.map(|(name, is)| (name.to_owned(), is.to_owned())).into_iter().collect();
    assert_eq!(one, expected);
    assert!(covers("A.b", "A.b(c)") && covers("A", "A implements Node") && !covers("A.b", "A.bc"));
}
