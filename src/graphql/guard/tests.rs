use async_graphql::{EmptySubscription, Object, Schema, value};

use super::*;

/// What `jobs` weighs.
const JOBS: u64 = 100;

fn limits() -> Limits {
    Limits::default()
}

fn run(document: &str) -> Result<Checked, Refusal> {
    check(document, None, &Variables::default(), &limits())
}

fn cost(document: &str) -> u64 {
    run(document).unwrap().operation.cost
}

fn refused(document: &str, code: Code) -> String {
    let refusal = run(document).map(|checked| checked.operation).unwrap_err();
    assert_eq!(refusal.code, code, "{}", refusal.message);
    assert!(!refusal.message.contains('\n'), "{}", refusal.message);
    refusal.message
}

fn with(document: &str, variables: Value) -> Result<Checked, Refusal> {
    check(document, None, &Variables::from_value(variables), &limits())
}

/// Everything that tools ask of a schema, types resolved nine wrappers deep.
fn introspection() -> String {
    let reference = format!("kind name {}{}", "ofType { kind name ".repeat(9), "}".repeat(9));
    format!(
        "query Everything {{ __schema {{ description queryType {{ name kind }} mutationType {{ name kind }} \
           subscriptionType {{ name kind }} types {{ ...Whole }} \
           directives {{ name description isRepeatable locations args(includeDeprecated: true) {{ ...Input }} }} }} }} \
         fragment Whole on __Type {{ kind name description specifiedByURL isOneOf \
           fields(includeDeprecated: true) {{ name description args(includeDeprecated: true) {{ ...Input }} \
             type {{ ...Reference }} isDeprecated deprecationReason }} \
           inputFields(includeDeprecated: true) {{ ...Input }} interfaces {{ ...Reference }} \
           enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }} \
           possibleTypes {{ ...Reference }} }} \
         fragment Input on __InputValue {{ name description type {{ ...Reference }} defaultValue isDeprecated \
           deprecationReason }} \
         fragment Reference on __Type {{ {reference} }}"
    )
}

#[test]
fn what_clients_send_passes() {
    let checked = run(&introspection()).unwrap();
    assert_eq!((checked.operation.kind, checked.operation.cost), (OperationType::Query, 0));
    assert!((100_000..=200_000).contains(&checked.operation.introspection_cost), "{checked:?}");

    let fields = "id status mode createdAt updatedAt startedAt finishedAt metadata permissions type { id name } \
                  progress { current total fraction } owner { id email } failure { code message }";
    let page = format!(
        "query Page($first: Int = 20) {{ jobs(first: $first) {{ totalCount pageInfo {{ hasNextPage endCursor }} \
         nodes {{ {fields} steps {{ name status attempt fraction message }} }} }} }}"
    );
    let checked = with(&page, value!({"first": 100})).unwrap();
    assert_eq!(checked.operation.cost, JOBS + 100 + 3 + 100 * (1 + 9 + 3 + 4 + 3 + 3 + 1 + 8 * 5));
    assert!(
        with(&page, value!({})).unwrap().operation.cost < checked.operation.cost,
        "the default is smaller"
    );
}

#[test]
fn lists_multiply_what_is_inside_them() {
    assert_eq!(cost("{ viewer { id name } }"), 3);
    assert_eq!(cost("{ jobs(first: 7) { nodes { id } totalCount } }"), JOBS + 7 * 2 + 100);
    assert_eq!(cost("{ jobs(last: 7) { edges { cursor node { id } } } }"), JOBS + 7 * 4);
    assert_eq!(cost("{ jobs { nodes { id } } }"), JOBS + 20 * 2, "a page of the usual size");
    assert_eq!(cost("{ teams { members { id } } }"), 1 + 10 * (1 + 20));
    assert_eq!(cost("{ nodes(ids: [\"a\", \"b\", \"c\"]) { id } }"), 1 + 3);
    assert_eq!(cost("mutation { claimSteps(input: {limit: 50}) { claims { leaseToken } } }"), 1 + 50 * 2);
    let through_fragments = "{ ...R } fragment R on Query { a: jobs(first: 7) { ...C } } \
                             fragment C on JobConnection { ...D pageInfo { endCursor } } \
                             fragment D on JobConnection { nodes { id } }";
    assert_eq!(cost(through_fragments), JOBS + 7 * 2 + 2);
}

#[test]
fn variables_and_their_defaults_are_sizes_too() {
    let query =
        "query($n: Int = 9, $ids: [ID!]) { jobs(first: $n) { nodes { id } } nodes(ids: $ids) { id } }";
    assert_eq!(with(query, value!({})).unwrap().operation.cost, JOBS + 9 * 2 + 1 + 1);
    assert_eq!(
        with(query, value!({"n": 5, "ids": ["a", "b"]})).unwrap().operation.cost,
        JOBS + 5 * 2 + 1 + 2
    );
    let refusal = with(query, value!({"n": 100_000})).unwrap_err();
    assert_eq!(
        refusal.message,
        "The query has 200102 points of cost; the most is 15000. Ask for fewer entries (first, last) or for fewer fields."
    );
    assert!(with(query, value!({"n": (u64::MAX)})).is_err(), "sums saturate");
    let claim = "mutation($input: ClaimStepsInput!) { claimSteps(input: $input) { claims { leaseToken } } }";
    assert_eq!(with(claim, value!({"input": {"limit": 50}})).unwrap().operation.cost, 1 + 50 * 2);
}

#[test]
fn nested_connections_are_refused() {
    let message =
        refused("{ jobs(first: 3000) { nodes { events(first: 3000) { nodes { id } } } } }", Code::TooComplex);
    assert!(message.contains("18063100") && message.contains("15000"), "{message}");
    refused("{ jobs(first: 100) { nodes { events(first: 100) { nodes { id } } } } }", Code::TooComplex);
    let aliased: String =
        (0..30).map(|n| format!("a{n}: jobs(first: 100) {{ nodes {{ id name status mode }} }} ")).collect();
    refused(&format!("{{ {aliased} }}"), Code::TooComplex);
    let teams = "teams { members { ".repeat(4) + "id" + &"} }".repeat(4);
    refused(&format!("{{ {teams} }}"), Code::TooComplex);
    let types = "{ __schema { types { ".to_owned()
        + &"fields { type { ".repeat(5)
        + "name"
        + &"} }".repeat(5)
        + "} } }";
    let message = refused(&types, Code::TooComplex);
    assert!(message.contains("introspection"), "{message}");
}

/// `f0` spreads `f1` twice, which spreads `f2` twice, and so on.
fn chained(length: usize) -> String {
    let mut document = "{ ...f0 }".to_owned();
    for n in 0..length {
        document += &format!(" fragment f{n} on Query {{ ...f{next} ...f{next} }}", next = n + 1);
    }
    document + &format!(" fragment f{length} on Query {{ a }}")
}

#[test]
fn chained_fragments_are_walked_once_each() {
    let wide = Limits { depth: 1_000, ..limits() };
    for length in [16, 32, 64] {
        let document = parse_query(chained(length)).unwrap();
        let mut walk = Walk::new(&document, &wide, Sizes::default());
        let DocumentOperations::Single(operation) = &document.operations else { panic!("it has no name") };
        let tally = walk.operation(operation).unwrap();
        assert_eq!(walk.visits, 2 + 2 * length, "one visit for each selection as written");
        let wider = Limits { selections: u64::MAX, ..wide.clone() };
        assert_eq!(
            structure(&document, &wider).unwrap(),
            walk.visits,
            "fragments are not walked again for themselves"
        );
        assert_eq!(tally.fields, 2_u64.checked_pow(length as u32).unwrap_or(u64::MAX));
    }
    let message = refused(&chained(14), Code::TooComplex);
    assert!(message.contains("the most is 5000"), "{message}");
    let message = refused(&chained(40), Code::TooComplex);
    assert!(message.contains("the most is 20"), "{message}");
}

#[test]
fn fragments_that_nobody_spreads_are_measured_too() {
    refused(&chained(14).replacen("{ ...f0 }", "{ a }", 1), Code::TooComplex);
    let message =
        refused("{ a } fragment X on Q { ...Y } fragment Y on Q { b { ...X } }", Code::ValidationFailed);
    assert!(message.contains("spreads itself: "), "{message}");
    assert_eq!(
        refused("{ ...X } fragment X on Q { ...X }", Code::ValidationFailed),
        "The fragment X spreads itself: X → X."
    );
}

#[test]
fn lexical_limits_hold_before_the_parser_runs() {
    let deep = format!("{{ a(x: {}{}) }}", "[".repeat(2_000), "]".repeat(2_000));
    let message = refused(&deep, Code::TooComplex);
    assert_eq!(message, "The document opens 25 brackets within each other; the most is 24.");
    let message = refused(&format!("{{ a(x: {}", "{x: ".repeat(500)), Code::TooComplex);
    assert!(message.contains("the most is 24"), "{message}");
    assert!(refused(&format!("{{ {} }}", "a ".repeat(3_000)), Code::TooComplex).contains("2000 tokens"));
    assert!(refused(&" ".repeat(20_000), Code::TooComplex).contains("20000 bytes; the most is 16384"));
    assert!(
        refused(&format!("{{ ...F }} fragment F on Q {}", "{ a ".repeat(23)), Code::ParseFailed)
            .contains("line 1")
    );
}

#[test]
fn roots_aliases_and_duplicates_are_capped() {
    let repeat = |n: usize, field: &str| (0..n).map(|i| format!("a{i}: {field} ")).collect::<String>();
    assert!(run(&format!("mutation {{ {} }}", repeat(10, "cancelJob(id: 1) { id }"))).is_ok());
    let message =
        refused(&format!("mutation {{ {} }}", repeat(11, "cancelJob(id: 1) { id }")), Code::TooComplex);
    assert_eq!(message, "The mutation has 11 root fields; the most is 10. Send several requests.");
    let message = refused(
        &format!("mutation {{ {} }}", repeat(2, "signIn(input: $i) { accessToken }")),
        Code::TooComplex,
    );
    assert!(message.contains("2 fields that hash a password"), "{message}");
    refused(
        "mutation { ...F } fragment F on M { signIn { a } ...G } fragment G on M { b: signIn { a } }",
        Code::TooComplex,
    );
    assert!(
        refused(&format!("{{ {} }}", repeat(31, "viewer { id }")), Code::TooComplex)
            .contains("31 root fields")
    );
    let aliases = repeat(51, "name");
    assert!(refused(&format!("{{ viewer {{ {aliases} }} }}"), Code::TooComplex).contains("51 aliases"));
    assert!(run("{ viewer { id id id id id } }").is_ok());
    assert_eq!(
        refused("{ viewer { id id id id id id } }", Code::TooComplex),
        "One selection set names id 6 times; the most is 5."
    );
    assert!(refused(&format!("{{ a{} }}", " @x".repeat(6)), Code::TooComplex).contains("6 directives"));
    assert!(refused(&format!("{{ a({}) }}", "x: 1 ".repeat(21)), Code::TooComplex).contains("21 arguments"));
    let operations: String = (0..11).map(|n| format!("query Q{n} {{ a }} ")).collect();
    assert!(refused(&operations, Code::TooComplex).contains("11 operations"));
    assert!(refused("subscription { a b }", Code::ValidationFailed).contains("exactly one root field"));
}

#[test]
fn the_operation_is_the_one_that_was_named() {
    let both = "query A { a } mutation B { b }";
    let named =
        |name| check(both, name, &Variables::default(), &limits()).map(|checked| checked.operation.kind);
    assert_eq!(named(Some("B")).unwrap(), OperationType::Mutation);
    assert!(named(None).unwrap_err().message.contains("operationName"));
    assert_eq!(named(Some("C")).unwrap_err().message, "The document has no operation named \"C\".");
    assert_eq!(run("query A { a }").unwrap().operation.kind, OperationType::Query);
    assert_eq!(
        refused("fragment F on Q { a }", Code::ValidationFailed),
        "The document has fragments but no operation."
    );
    refused("{ a } query B { b }", Code::ValidationFailed);
    assert_eq!(
        refused("query B { b } query B { b }", Code::ValidationFailed),
        "The operation \"B\" is defined twice."
    );
    refused("{ a } fragment F on Q { a } fragment F on Q { a }", Code::ValidationFailed);
}

#[test]
fn text_that_looks_like_an_upload_is_refused() {
    for variables in
        [value!({"f": "#__graphql_file__:0"}), value!({"f": {"a/b": ["x", "#__graphql_file__:7"]}})]
    {
        let refusal =
            with("mutation($f: Upload!) { uploadDocument(file: $f) { id } }", variables).unwrap_err();
        assert_eq!(refusal.code, Code::BadInput);
        let error = refusal.clone().into_error();
        assert!(error.extensions.unwrap().get("problems").is_some());
        assert!(matches!(refusal.variable.as_deref(), Some("/f" | "/f/a~1b/1")), "{refusal:?}");
    }
    refused("mutation { uploadDocument(file: \"#__graphql_file__:0\") { id } }", Code::ValidationFailed);
    refused("mutation { a(input: {f: [\"\\u0023__graphql_file__:0\"]}) { id } }", Code::ValidationFailed);
    refused("mutation($f: Upload = \"#__graphql_file__:0\") { a(f: $f) { id } }", Code::ValidationFailed);
}

#[test]
fn variables_are_capped() {
    let many: Variables = Variables::from_value(Value::Object(
        (0..101).map(|n| (Name::new(format!("v{n}")), value!(1))).collect(),
    ));
    let refusal = check("{ a }", None, &many, &limits()).unwrap_err();
    assert_eq!(refusal.message, "The request has 101 variables; the most is 100.");
    let deep = (0..40).fold(value!(1), |inner, _| Value::List(vec![inner]));
    let message = with("{ a }", value!({"v": deep})).unwrap_err().message;
    assert!(
        message.starts_with("Variable /v/0/0/") && message.ends_with("more than 32 levels."),
        "{message}"
    );
    let long = Value::List(vec![value!(1); 50_001]);
    assert!(with("{ a }", value!({"v": long})).unwrap_err().message.contains("50000 values"));
    let large = Value::from("x".repeat(1_048_577));
    assert!(with("{ a }", value!({"v": large})).unwrap_err().message.contains("1048576 bytes"));
}

#[test]
fn syntax_errors_are_one_line_with_their_place() {
    for (document, message) in [
        ("", "The document is empty. Send a query, mutation or subscription."),
        ("# only a comment", "The document is empty. Send a query, mutation or subscription."),
        ("{ a(x: }", "Syntax error at line 1, column 8: expected a value, found \"}\"."),
        ("{\n  jobs {\n    id\n", "Syntax error at line 4, column 1: "),
        (
            "query { a } }",
            "Syntax error at line 1, column 13: expected the end of the document or an operation or fragment, found \"}\".",
        ),
        ("{ a(x: \"b) }", "Syntax error at line 1, column 8: this string does not end."),
    ] {
        let text = refused(document, Code::ParseFailed);
        assert!(text.starts_with(message), "{text}");
        assert!(!text.contains("_") && !text.contains("EOI") && !text.contains("-->"), "{text}");
    }
}

struct Query;

#[Object]
impl Query {
    async fn a(&self) -> i32 {
        1
    }
    async fn list(&self, first: i32) -> Vec<i32> {
        (0..first).collect()
    }
}

#[tokio::test]
async fn a_checked_request_runs_with_the_defaults_of_its_variables() {
    let schema = Schema::new(Query, async_graphql::EmptyMutation, EmptySubscription);
    let query = "query($yes: Boolean = true, $n: Int! = 2) { a @include(if: $yes) list(first: $n) }";
    let mut request = Request::new(query);
    let checked = check(query, None, &request.variables, &limits()).unwrap();
    checked.put_into(&mut request);
    let response = schema.execute(request).await;
    assert_eq!(response.data, value!({"a": 1, "list": [0, 1]}), "{:?}", response.errors);
}

#[test]
fn limits_are_configured_by_name_and_unknown_names_are_refused() {
    let limits: Limits = serde_json::from_str(r#"{"tokens": 5, "list_sizes": {"jobs": 3}}"#).unwrap();
    assert_eq!((limits.tokens, limits.bytes, limits.list_sizes["jobs"]), (5, 16_384, 3));
    assert!(serde_json::from_str::<Limits>(r#"{"token": 5}"#).is_err());
}

#[test]
fn no_text_has_a_nul_wherever_it_stands() {
    let found = |outcome: Result<Checked, Refusal>| {
        let refusal = outcome.map(|checked| checked.operation).unwrap_err();
        assert_eq!(refusal.code, Code::BadInput, "{}", refusal.message);
        refusal.variable.unwrap()
    };
    let query = "query Q($a: JSON) { job(id: $a) { id } }";
    assert_eq!(found(with(query, value!({"a": "x\0"}))), "/a");
    assert_eq!(found(with(query, value!({"a": {"b": ["", "\0"]}}))), "/a/b/1");
    let keyed = Variables::from_json(serde_json::json!({"a": {"b\0": 1}}));
    assert!(found(check(query, None, &keyed, &limits())).starts_with("/a/b"));
    for (document, path) in [
        (r#"{ job(id: "x\u0000") { id } }"#, "/id"),
        (r#"mutation { m(input: {list: ["a", {name: "\u0000"}]}) { id } }"#, "/input/list/1/name"),
        (r#"query Q($a: String = "\u0000") { job(id: $a) { id } }"#, "/a"),
        ("{ job(id: \"x\0\") { id } }", "/id"),
    ] {
        assert_eq!(found(run(document)), path, "{document}");
    }
    assert!(with(query, value!({"a": "x\\u0000"})).is_ok(), "a backslash and digits are text like any other");
}
