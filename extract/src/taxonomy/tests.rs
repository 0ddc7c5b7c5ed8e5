use serde_json::{Value, json};

use super::*;

fn problems(definition: &Value) -> Vec<(String, &'static str)> {
    match Taxonomy::parse(definition) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|problem| (problem.path, problem.code)).collect(),
    }
}

#[test]
fn full_definition_is_parsed_and_unknown_keys_ignored() {
    let taxonomy = Taxonomy::parse(&json!({
        "name": "invoices", "version": 3, "author": "Ada",
        "options": {"decimal_separator": ",", "date_formats": ["%d.%m.%Y", "DD/MM/YYYY"], "languages": ["de-AT"],
            "currency": "eur", "remove_whitespace": false},
        "data_points": [
            {"name": "invoice.number", "type": "code", "required": true, "labels": ["Nr"], "patterns": ["R-\\d+", "Nr (\\d+)"]},
            {"name": "status", "type": "enum", "values": ["open", "paid"], "multiple": true},
        ],
        "keywords": [{"term": "tax", "synonyms": ["duty"]}],
    }))
    .expect("a sound definition");
    assert_eq!(taxonomy.version.as_deref(), Some("3"));
    assert_eq!(taxonomy.options.languages, ["de"]);
    assert_eq!(taxonomy.options.currency.as_deref(), Some("EUR"));
    let number = taxonomy.data_point("invoice.number").expect("the data point");
    assert!(number.required && !number.multiple);
    assert_eq!(number.patterns.iter().map(|p| p.grouped).collect::<Vec<_>>(), [false, true]);
    assert_eq!(taxonomy.keywords[0].synonyms, ["duty"]);
}

#[test]
fn all_problems_are_reported_with_their_pointers() {
    let found = problems(&json!({
        "options": {"decimal_separator": ";", "date_formats": ["%d.%m"], "languages": ["german"], "currency": "euro"},
        "data_points": [
            {"name": "a", "type": "money"},
            {"name": "a", "type": "string", "required": "yes", "labels": "Nr", "patterns": ["(", "(a)(b)", "a{1000}{1000}"]},
            {"name": "b..c", "type": "enum"},
            7,
        ],
        "keywords": [{"term": ""}, {"synonyms": []}],
    }));
    let expected = [
        ("/name", "REQUIRED"),
        ("/options/decimal_separator", "UNKNOWN_VALUE"),
        ("/options/date_formats/0", "INVALID_FORMAT"),
        ("/options/languages/0", "INVALID_FORMAT"),
        ("/options/currency", "INVALID_FORMAT"),
        ("/data_points/0/type", "UNKNOWN_VALUE"),
        ("/data_points/1/required", "WRONG_TYPE"),
        ("/data_points/1/labels", "WRONG_TYPE"),
        ("/data_points/1/patterns/0", "INVALID_PATTERN"),
        ("/data_points/1/patterns/1", "INVALID_PATTERN"),
        ("/data_points/1/patterns/2", "INVALID_PATTERN"),
        ("/data_points/2/name", "INVALID_FORMAT"),
        ("/data_points/2/values", "REQUIRED"),
        ("/data_points/3", "WRONG_TYPE"),
        ("/keywords/0/term", "EMPTY"),
        ("/keywords/1/term", "REQUIRED"),
    ];
    assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code)));
}

#[test]
fn names_must_be_unique() {
    let found = problems(&json!({
        "name": "x",
        "data_points": [{"name": "a", "type": "date"}, {"name": "a", "type": "code"}],
        "keywords": [{"term": "Müller"}, {"term": "müller"}],
    }));
    assert_eq!(
        found,
        [("/data_points/1/name".into(), "DUPLICATE"), ("/keywords/1/term".into(), "DUPLICATE")]
    );
}

#[test]
fn sizes_are_limited() {
    let limits = Limits { data_points: 1, text_chars: 5, problems: 2, ..Limits::default() };
    let definition = json!({
        "name": "too long",
        "data_points": [{"name": "also too long", "type": "date"}, {"name": "b", "type": "date"}],
        "keywords": [{"term": "too long again"}],
    });
    let problems = Taxonomy::parse_within(&definition, &limits).expect_err("problems");
    let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["TOO_LONG", "TOO_MANY", "TOO_MANY"]);
    assert_eq!(problems[2].message, "2 more problems are not listed");
}

#[test]
fn each_limit_is_enforced() {
    let point = |key: &str, value: Value| json!({"data_points": [{"name": "a", "type": "enum", "values": ["v"], (key): value}]});
    let keyword = |value: Value| json!({"keywords": [{"term": "t", "synonyms": value}]});
    let two = || json!(["x", "y"]);
    let defaults = Limits::default;
    for (limits, mut definition, expected) in [
        (Limits { labels: 1, ..defaults() }, point("labels", two()), "TOO_MANY"),
        (Limits { patterns: 1, ..defaults() }, point("patterns", two()), "TOO_MANY"),
        (Limits { values: 1, ..defaults() }, point("values", two()), "TOO_MANY"),
        (
            Limits { keywords: 1, ..defaults() },
            json!({"keywords": [{"term": "t"}, {"term": "u"}]}),
            "TOO_MANY",
        ),
        (Limits { synonyms: 1, ..defaults() }, keyword(two()), "TOO_MANY"),
        (
            Limits { options: 1, ..defaults() },
            json!({"data_points": [{"name": "a", "type": "date"}], "options": {"languages": ["de", "en"]}}),
            "TOO_MANY",
        ),
        (Limits { pattern_chars: 3, ..defaults() }, point("patterns", json!(["abcd"])), "TOO_LONG"),
        (
            Limits { pattern_memory: 10_000, ..defaults() },
            point("patterns", json!(["a{1000}"])),
            "INVALID_PATTERN",
        ),
        (
            Limits { pattern_nesting: 2, ..defaults() },
            point("patterns", json!(["(?:(?:(?:a)))"])),
            "INVALID_PATTERN",
        ),
    ] {
        definition["name"] = json!("t");
        assert!(Taxonomy::parse(&definition).is_ok(), "{definition}");
        let problems = Taxonomy::parse_within(&definition, &limits).expect_err("problems");
        assert_eq!(
            problems.iter().map(|problem| problem.code).collect::<Vec<_>>(),
            [expected],
            "{definition}"
        );
    }
}

#[test]
fn definition_that_is_not_an_object_is_one_problem() {
    assert_eq!(problems(&json!([])), [(String::new(), "WRONG_TYPE")]);
}

#[test]
fn literal_patterns_are_distinguished_from_shapes() {
    let compile = |source: &str| {
        let limits = Limits::default();
        pattern::compile_pattern(source, &limits, &mut pattern::CompileBudget::new(&limits))
            .expect("a pattern")
    };
    let literal = |source: &str| compile(source).literal;
    assert!(literal("Blue Whale") && literal(r"\b(?:EUR|USD)\b") && literal("[$€]"));
    assert!(!literal(r"VF\d{10}") && !literal("[A-Z]{4,}") && !literal("a*"));
    let relaxed = compile(r"Total\s{10,40}(\d{2}) {3}[ab]{2,3}").relaxed.expect("a relaxed pattern");
    assert!(relaxed.is_match("Total  12     aab") && !relaxed.is_match("Total 12   aab"));
    assert!(compile(r"a\s+b\s?c").relaxed.is_none());
}

#[test]
fn oversized_patterns_use_up_the_compile_budget() {
    let limits = Limits::default();
    let mut budget = pattern::CompileBudget::new(&limits);
    let messages: Vec<_> = (0..40)
        .map(|i| pattern::compile_pattern(&format!(r"(\pL{{900}}x{i})"), &limits, &mut budget).err())
        .collect();
    assert!(messages.iter().all(Option::is_some));
    let last = messages[39].as_deref().unwrap_or_default();
    assert!(last.contains("was not compiled"), "{last}");
}

#[test]
fn patterns_share_a_memory_budget() {
    let limits = Limits { patterns_memory: 100_000, ..Limits::default() };
    let point = json!({"name": "a", "type": "code", "patterns": ["a", "b"]});
    let problems =
        Taxonomy::parse_within(&json!({"name": "x", "data_points": [point]}), &limits).expect_err("problems");
    assert_eq!(
        (problems[0].path.as_str(), problems[0].code),
        ("/data_points/0/patterns/1", "INVALID_PATTERN")
    );
}
