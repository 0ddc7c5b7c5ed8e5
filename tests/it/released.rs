//! The schema keeps what the last release promised. `released.graphql` is that release's schema: it is read here, and
//! replaced when a release is made, never to let a change pass.

use std::collections::BTreeMap;

use crate::sdl::Sdl;

const RELEASED: &str = include_str!("released.graphql");
const PUBLISHED: &str = include_str!("../../schema.graphql");

type Said = BTreeMap<String, String>;

#[test]
fn nothing_breaks_clients_of_the_last_release() {
    let broken = broken(&Sdl::parse(RELEASED).said(), &Sdl::parse(PUBLISHED).said());
    assert!(broken.is_empty(), "clients of the last release would break:\n{}", broken.join("\n"));
}

/// What of a schema does not hold any more.
fn broken(before: &Said, now: &Said) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, was) in before {
        match now.get(name) {
            None => broken.push(format!("{name} is gone")),
            Some(is) if is == was => {}
            Some(is) if takes(before, name) && wider(was, is) => {}
            Some(is) if !takes(before, name) && narrower(was, is) => {}
            Some(is) => broken.push(format!("{name} was {was} and is {is}")),
        }
    }
    for (name, is) in now.iter().filter(|(name, _)| takes(now, name) && !before.contains_key(*name)) {
        let holder = name.rfind(['.', '(']).map_or("", |end| &name[..end]);
        if required(is) && before.contains_key(holder) {
            broken.push(format!("{name} is new and has to be given"));
        }
    }
    broken
}

/// Whether a name stands for something that clients give: an argument, or a field of an input.
fn takes(said: &Said, name: &str) -> bool {
    let holder = name.split('.').next().and_then(|holder| said.get(holder));
    name.ends_with(')') || (name.contains('.') && holder.is_some_and(|kind| kind.starts_with("input")))
}

fn required(input: &str) -> bool {
    input.ends_with('!')
}

/// Whether whoever could read the one can read the other: it promises more.
fn narrower(was: &str, is: &str) -> bool {
    // Marks may come, none may go: without those that came it is what it was.
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

/// Whether what was given for the one can be given for the other: it asks for less, and means the same where it is left out.
fn wider(was: &str, is: &str) -> bool {
    let (was, default) = was.split_once(" = ").map_or((was, None), |(was, default)| (was, Some(default)));
    let (is, now) = is.split_once(" = ").map_or((is, None), |(is, default)| (is, Some(default)));
    narrower(is, was) && (now == default || (default.is_none() && required(was)))
}

#[test]
fn changes_that_break_clients_are_told_from_those_that_do_not() {
    let before = "interface I { id: ID! } type A implements I { id: ID! b(c: Int, d: Int! = 3): [A] e: String } \
                  enum F { G H } input J { k: Int! l: Int = 1 m: [Int!] }";
    let verdict = |now: &str| broken(&Sdl::parse(before).said(), &Sdl::parse(now).said());
    assert_eq!(verdict(before), [""; 0]);

    let grown = "interface I { id: ID! } type A implements I { id: ID! b(c: Int, d: Int! = 3, x: Int): [A!]! e: String! n: Int } \
                 enum F { G H Z } input J { k: Int l: Int = 1 m: [Int] o: Int! = 2 } input P { q: Int! }";
    assert_eq!(verdict(grown), [""; 0]);

    for (from, to, wrong) in [
        ("e: String }", "}", "A.e is gone"),
        ("e: String }", "e: Int }", "A.e was String and is Int"),
        ("id: ID! b", "id: ID b", "A.id was ID! and is ID"),
        ("A implements I", "A", "A implements I is gone"),
        ("c: Int,", "c: Int!,", "A.b(c) was Int and is Int!"),
        ("c: Int,", "", "A.b(c) is gone"),
        ("c: Int,", "c: Int, r: Int!,", "A.b(r) is new and has to be given"),
        ("= 3", "= 4", "A.b(d) was Int! = 3 and is Int! = 4"),
        ("= 3", "", "A.b(d) was Int! = 3 and is Int!"),
        ("G H", "G", "F.H is gone"),
        ("m: [Int!]", "m: [Int!] r: Int!", "J.r is new and has to be given"),
        ("m: [Int!]", "m: [Int!]!", "J.m was [Int!] and is [Int!]!"),
        ("l: Int = 1", "l: Int", "J.l was Int = 1 and is Int"),
        ("input J {", "input J @oneOf {", "J was input and is input @oneOf"),
        ("type A implements I {", "interface A implements I {", "A was type and is interface"),
    ] {
        assert_eq!(verdict(&before.replace(from, to)), [wrong], "{from} to {to}");
    }
}
