//! The imports between the files of the program: no circle, and no arrow that ARCHITECTURE.md forbids.
//!
//! The test reads `use` lines and inline paths that start with `crate` or `super`. A name that a module re-exports counts as
//! an import of the file that defines it. Test modules do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Files by module path, for example `job::record::load`; the root of the crate is the empty path.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The types of the GraphQL schema refer to each other: a job has reviews, and a review has a job. Their files do too.
const GRAPHQL_TYPES: [&str; 4] =
    ["graphql::history", "graphql::job", "graphql::job::rows", "graphql::review"];

#[test]
fn files_of_the_server_import_each_other_without_circles() {
    let mut graph = read_graph("src");
    for file in GRAPHQL_TYPES {
        let imports = graph.get_mut(file).unwrap_or_else(|| panic!("{file} does not exist"));
        imports.retain(|import| !GRAPHQL_TYPES.contains(&import.as_str()));
    }
    let circles = circles(&graph);
    assert!(circles.is_empty(), "{}", print_circles(&graph, &circles));
}

#[test]
fn files_of_the_extractor_import_each_other_without_circles() {
    let graph = read_graph("extract/src");
    let circles = circles(&graph);
    assert!(circles.is_empty(), "{}", print_circles(&graph, &circles));
}

#[test]
fn modules_import_only_modules_of_lower_layers() {
    let layers = read_layers();
    let mut wrong = String::new();
    for (file, imports) in read_graph("src") {
        let from = top(&file);
        for import in imports {
            let to = top(&import);
            // `lib.rs` and `main.rs` only declare and call the others.
            if from == to || from.is_empty() || from == "main" {
                continue;
            }
            match (layers.get(from), layers.get(to)) {
                (Some(from), Some(to)) if from > to => {}
                (Some(_), Some(_)) => writeln!(wrong, "{file} imports {import}").expect("text"),
                (None, _) => panic!("ARCHITECTURE.md lists no layer for the module {from}"),
                (_, None) => {
                    panic!("ARCHITECTURE.md lists no layer for the module {to:?} ({file} imports it)")
                }
            }
        }
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md forbids these imports:\n{wrong}");
}

#[test]
fn circles_and_re_exports_are_found() {
    let sources = [
        ("", "pub mod a; pub mod b; pub mod c;"),
        ("a", "pub use b::B; mod b; use crate::c::{self, C};"),
        ("a::b", "fn f() { crate::c::g(); }"),
        ("c", "use crate::a::B;\n// use crate::nothing;\n#[cfg(test)]\nmod tests { use crate::d::D; }"),
    ];
    let graph = build(&sources.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
    assert_eq!(circles(&graph), [vec!["a::b".to_owned(), "c".to_owned()]]);
    assert!(graph["a"].contains("c") && !graph["c"].contains("a"));
}

/// Reads the layers of ARCHITECTURE.md: each line of the block `layers` is one layer, the lowest first.
fn read_layers() -> BTreeMap<String, usize> {
    let text = fs::read_to_string("ARCHITECTURE.md").expect("ARCHITECTURE.md");
    let block = text.split("```layers\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines = block.expect("ARCHITECTURE.md has a block `layers`").lines().enumerate();
    let modules = |(layer, line): (usize, &str)| {
        line.split(',').map(|module| (module.trim().to_owned(), layer)).collect::<Vec<_>>()
    };
    lines.flat_map(modules).collect()
}

fn top(file: &str) -> &str {
    file.split("::").next().unwrap_or_default()
}

fn read_graph(root: &str) -> Graph {
    let mut sources = BTreeMap::new();
    read_folder(Path::new(root), Path::new(root), &mut sources);
    assert!(sources.len() > 20, "{root} has files");
    build(&sources)
}

fn read_folder(root: &Path, folder: &Path, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_folder(root, &path, sources);
            continue;
        }
        let relative = path.strip_prefix(root).expect("a path below the root").with_extension("");
        let mut module = relative.to_string_lossy().replace('/', "::");
        let is_test = |name: &str| name == "tests" || name.ends_with("_tests") || name == "properties";
        if path.extension().is_none_or(|extension| extension != "rs") || module.split("::").any(is_test) {
            continue;
        }
        if module == "lib" {
            module.clear();
        }
        let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned();
        sources.insert(module, fs::read_to_string(&path).expect("a source file"));
    }
}

/// A path that a file names: the file that it leads to, and the names below it.
type Target = (String, Vec<String>);

fn build(sources: &BTreeMap<String, String>) -> Graph {
    let names: BTreeSet<String> = sources.keys().cloned().collect();
    let mut imports: BTreeMap<&str, Vec<Target>> = BTreeMap::new();
    let mut re_exports: BTreeMap<(String, String), Target> = BTreeMap::new();
    for (file, text) in sources {
        let text = without_comments_and_tests(text);
        let found = imports.entry(file).or_default();
        let mut rest = String::new();
        for statement in text.split_inclusive(';') {
            let Some((before, tree)) = split_use(statement) else {
                rest.push_str(statement);
                continue;
            };
            rest.push_str(before);
            let is_re_export = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
            for path in expand(tree) {
                let Some(target) = resolve(&names, file, &path) else { continue };
                if is_re_export {
                    let name = path.rsplit("::").next().unwrap_or_default().to_owned();
                    re_exports.insert((file.clone(), name), target);
                } else {
                    found.push(target);
                }
            }
        }
        found.extend(inline_paths(&rest).iter().filter_map(|path| resolve(&names, file, path)));
    }
    let follow = |(mut file, mut below): Target| {
        // Re-exports of re-exports end after a few steps.
        for _ in 0..8 {
            let Some(name) = below.first() else { break };
            let Some((next, names)) = re_exports.get(&(file.clone(), name.clone())) else { break };
            below = names.iter().chain(&below[1..]).cloned().collect();
            file.clone_from(next);
        }
        file
    };
    let files = imports.into_iter().map(|(file, targets)| {
        let targets = targets.into_iter().map(follow).filter(|target| target != file);
        (file.to_owned(), targets.collect())
    });
    files.collect()
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text.lines().map(|line| without_strings(line.split("//").next().unwrap_or_default()));
    let code = code.collect::<Vec<_>>().join("\n");
    match code.find("#[cfg(test)]\nmod tests {").or_else(|| code.find("#[cfg(test)]\npub(crate) mod tests {"))
    {
        Some(tests) => code[..tests].to_owned(),
        None => code,
    }
}

/// Removes string literals of one line, which may contain paths for macros.
fn without_strings(line: &str) -> String {
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// Splits a statement that ends with a `use` into what stands before it and its tree.
fn split_use(statement: &str) -> Option<(&str, &str)> {
    let start = statement.rfind("use ")?;
    let before = &statement[..start];
    let is_word = before.is_empty() || before.ends_with(char::is_whitespace);
    let tree = statement[start + 4..].trim_end_matches(';');
    let is_tree = tree.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_:{},*".contains(c));
    (is_word && is_tree).then_some((before, tree))
}

/// Expands `a::{b, c::d}` to `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let (prefix, body) = (&tree[..open], &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())]);
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in body.chars() {
        match c {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                part.push(c);
            }
        }
    }
    parts.push(part);
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(&format!("{prefix}{}", part.trim()))).collect()
}

/// Finds paths such as `crate::job::Jobs` outside of `use` lines and visibilities.
fn inline_paths(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c: char| !is_part(c) && c != '(' && c != ' ');
    let mut found = Vec::new();
    for word in words.flat_map(|words| words.split(['(', ' ']).map(str::to_owned).collect::<Vec<_>>()) {
        let is_inline = word.starts_with("crate::") || word.starts_with("super::");
        if is_inline && !text.contains(&format!("pub(in {word})")) {
            found.push(word.trim_end_matches(':').to_owned());
        }
    }
    found
}

fn resolve(names: &BTreeSet<String>, file: &str, path: &str) -> Option<Target> {
    let mut segments: Vec<&str> = path.split("::").map(str::trim).collect();
    let mut base: Vec<&str> = file.split("::").filter(|part| !part.is_empty()).collect();
    match segments[0] {
        "crate" => {
            base.clear();
            segments.remove(0);
        }
        "self" => drop(segments.remove(0)),
        "super" => {
            while segments.first() == Some(&"super") {
                base.pop();
                segments.remove(0);
            }
        }
        first if names.contains(&[&base[..], &[first]].concat().join("::")) => {}
        _ => return None,
    }
    while let Some(next) = segments.first() {
        let child = [&base[..], &[next]].concat().join("::");
        if !names.contains(&child) {
            break;
        }
        base.push(segments.remove(0));
    }
    let file = base.join("::");
    names.contains(&file).then(|| (file, segments.into_iter().map(str::to_owned).collect()))
}

/// Finds groups of files that import each other: files that reach each other by imports.
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reachable = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = open.pop() {
            for next in graph.get(&file).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> =
        graph.keys().map(|file| (file, reachable(file))).collect();
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for (file, reached) in &reach {
        if reached.contains(*file) {
            let members = reached.iter().filter(|other| reach[other].contains(*file));
            circles.insert(members.cloned().collect());
        }
    }
    circles.into_iter().collect()
}

fn print_circles(graph: &Graph, circles: &[Vec<String>]) -> String {
    let mut text = String::new();
    for circle in circles {
        writeln!(text, "import circle:").expect("text");
        for file in circle {
            let imports: Vec<_> = graph[file].iter().filter(|import| circle.contains(import)).collect();
            writeln!(text, "  {file} -> {imports:?}").expect("text");
        }
    }
    text
}
