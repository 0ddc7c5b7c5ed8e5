//! Compares the schema with `released.graphql`, the schema of the last release. Only a new release replaces that file.

use std::collections::BTreeMap;

use crate::sdl::Sdl;

const RELEASED: &str = include_str!("released.graphql");
const PUBLISHED: &str = include_str!("../../schema.graphql");

type Elements = BTreeMap<String, String>;

#[test]
fn schema_breaks_no_client_of_the_last_release() {
    let changes = breaking_changes(&Sdl::parse(RELEASED).elements(), &Sdl::parse(PUBLISHED).elements());
    assert!(changes.is_empty(), "clients of the last release would break:\n{}", changes.join("\n"));
}

/// Returns the differences between two schemas that break clients of the first.
fn breaking_changes(before: &Elements, now: &Elements) -> Vec<String> {
    let mut changes = Vec::new();
    for (name, was) in before {
        match now.get(name) {
            None => changes.push(format!("{name} was removed")),
            Some(is) if is == was => {}
            Some(is) if is_given_by_clients(before, name) && is_wider(was, is) => {}
            Some(is) if !is_given_by_clients(before, name) && is_narrower(was, is) => {}
            Some(is) => changes.push(format!("{name} was {was} and is {is}")),
        }
    }
    for (name, is) in
        now.iter().filter(|(name, _)| is_given_by_clients(now, name) && !before.contains_key(*name))
    {
        let parent = name.rfind(['.', '(']).map_or("", |end| &name[..end]);
        if is_required(is) && before.contains_key(parent) {
            changes.push(format!("{name} is new and required"));
        }
    }
    changes
}

/// Returns whether clients give the value of a name: an argument, or a field of an input.
fn is_given_by_clients(elements: &Elements, name: &str) -> bool {
    let parent = name.split('.').next().and_then(|parent| elements.get(parent));
    name.ends_with(')') || (name.contains('.') && parent.is_some_and(|kind| kind.starts_with("input")))
}

fn is_required(input: &str) -> bool {
    input.ends_with('!')
}

/// Returns whether a client that reads the old output type can read the new one, because it promises at least as much.
fn is_narrower(was: &str, is: &str) -> bool {
    // Removing the added `!` marks must give the old type. A removed mark is a breaking change.
    let mut rest = was.chars().peekable();
    for c in is.chars() {
        if rest.peek() == Some(&c) {
            rest.next();
        } else if c != '!' {
            return false;
        }
    }
    rest.next().is_none()
}

/// Returns whether a value for the old input type is valid for the new one, with the same default.
fn is_wider(was: &str, is: &str) -> bool {
    let (was, default) = was.split_once(" = ").map_or((was, None), |(was, default)| (was, Some(default)));
    let (is, now) = is.split_once(" = ").map_or((is, None), |(is, default)| (is, Some(default)));
    is_narrower(is, was) && (now == default || (default.is_none() && is_required(was)))
}

#[test]
fn breaking_changes_are_distinguished_from_compatible_changes() {
    let before = "interface I { id: ID! } type A implements I { id: ID! b(c: Int, d: Int! = 3): [A] e: String } \
                  enum F { G H } input J { k: Int! l: Int = 1 m: [Int!] }";
    let compare = |now: &str| breaking_changes(&Sdl::parse(before).elements(), &Sdl::parse(now).elements());
    assert_eq!(compare(before), [""; 0]);

    let extended = "interface I { id: ID! } type A implements I { id: ID! b(c: Int, d: Int! = 3, x: Int): [A!]! e: String! n: Int } \
                 enum F { G H Z } input J { k: Int l: Int = 1 m: [Int] o: Int! = 2 } input P { q: Int! }";
    assert_eq!(compare(extended), [""; 0]);

    for (from, to, change) in [
        ("e: String }", "}", "A.e was removed"),
        ("e: String }", "e: Int }", "A.e was String and is Int"),
        ("id: ID! b", "id: ID b", "A.id was ID! and is ID"),
        ("A implements I", "A", "A implements I was removed"),
        ("c: Int,", "c: Int!,", "A.b(c) was Int and is Int!"),
        ("c: Int,", "", "A.b(c) was removed"),
        ("c: Int,", "c: Int, r: Int!,", "A.b(r) is new and required"),
        ("= 3", "= 4", "A.b(d) was Int! = 3 and is Int! = 4"),
        ("= 3", "", "A.b(d) was Int! = 3 and is Int!"),
        ("G H", "G", "F.H was removed"),
        ("m: [Int!]", "m: [Int!] r: Int!", "J.r is new and required"),
        ("m: [Int!]", "m: [Int!]!", "J.m was [Int!] and is [Int!]!"),
        ("l: Int = 1", "l: Int", "J.l was Int = 1 and is Int"),
        ("input J {", "input J @oneOf {", "J was input and is input @oneOf"),
        ("type A implements I {", "interface A implements I {", "A was type and is interface"),
    ] {
        assert_eq!(compare(&before.replace(from, to)), [change], "{from} to {to}");
    }
}
