use async_graphql::{EmptySubscription, Object, Schema, value};

use super::*;

/// Weight of the field `jobs`.
const JOBS_WEIGHT: u64 = 100;

fn limits() -> Limits {
    Limits::default()
}

fn check_document(document: &str) -> Result<CheckedRequest, Refusal> {
    check(document, None, &Variables::default(), &limits())
}

fn cost(document: &str) -> u64 {
    check_document(document).unwrap().operation.cost
}

fn refusal_message(document: &str, code: Code) -> String {
    let refusal = check_document(document).map(|checked| checked.operation).unwrap_err();
    assert_eq!(refusal.code, code, "{}", refusal.message);
    assert!(!refusal.message.contains('\n'), "{}", refusal.message);
    refusal.message
}

fn check_with_variables(document: &str, variables: Value) -> Result<CheckedRequest, Refusal> {
    check(document, None, &Variables::from_value(variables), &limits())
}

/// Returns a full introspection query, with types resolved nine wrappers deep.
fn introspection_query() -> String {
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
fn introspection_and_full_job_pages_are_accepted() {
    let checked = check_document(&introspection_query()).unwrap();
    assert_eq!((checked.operation.kind, checked.operation.cost), (OperationType::Query, 0));
    assert!((100_000..=200_000).contains(&checked.operation.introspection_cost), "{checked:?}");

    let fields = "id status mode createdAt updatedAt startedAt finishedAt metadata permissions type { id name } \
                  progress { current total fraction } owner { id email } failure { code message }";
    let page = format!(
        "query Page($first: Int = 20) {{ jobs(first: $first) {{ totalCount pageInfo {{ hasNextPage endCursor }} \
         nodes {{ {fields} steps {{ name status attempt fraction message }} }} }} }}"
    );
    let checked = check_with_variables(&page, value!({"first": 100})).unwrap();
    assert_eq!(checked.operation.cost, JOBS_WEIGHT + 100 + 3 + 100 * (1 + 9 + 3 + 4 + 3 + 3 + 1 + 8 * 5));
    assert!(
        check_with_variables(&page, value!({})).unwrap().operation.cost < checked.operation.cost,
        "the default is smaller"
    );
}

#[test]
fn list_sizes_multiply_the_cost_of_their_fields() {
    assert_eq!(cost("{ viewer { id name } }"), 3);
    assert_eq!(cost("{ jobs(first: 7) { nodes { id } totalCount } }"), JOBS_WEIGHT + 7 * 2 + 100);
    assert_eq!(cost("{ jobs(last: 7) { edges { cursor node { id } } } }"), JOBS_WEIGHT + 7 * 4);
    assert_eq!(cost("{ jobs { nodes { id } } }"), JOBS_WEIGHT + 20 * 2, "the default page size");
    assert_eq!(cost("{ teams { members { id } } }"), 1 + 10 * (1 + 20));
    assert_eq!(cost("{ nodes(ids: [\"a\", \"b\", \"c\"]) { id } }"), 1 + 3);
    assert_eq!(cost("mutation { claimSteps(input: {limit: 50}) { claims { leaseToken } } }"), 1 + 50 * 2);
    let through_fragments = "{ ...R } fragment R on Query { a: jobs(first: 7) { ...C } } \
                             fragment C on JobConnection { ...D pageInfo { endCursor } } \
                             fragment D on JobConnection { nodes { id } }";
    assert_eq!(cost(through_fragments), JOBS_WEIGHT + 7 * 2 + 2);
}

#[test]
fn variables_and_their_defaults_set_list_sizes() {
    let query =
        "query($n: Int = 9, $ids: [ID!]) { jobs(first: $n) { nodes { id } } nodes(ids: $ids) { id } }";
    assert_eq!(check_with_variables(query, value!({})).unwrap().operation.cost, JOBS_WEIGHT + 9 * 2 + 1 + 1);
    assert_eq!(
        check_with_variables(query, value!({"n": 5, "ids": ["a", "b"]})).unwrap().operation.cost,
        JOBS_WEIGHT + 5 * 2 + 1 + 2
    );
    let refusal = check_with_variables(query, value!({"n": 100_000})).unwrap_err();
    assert_eq!(
        refusal.message,
        "The query has 200102 cost points; the limit is 15000. Request fewer entries (first, last) or fewer fields."
    );
    assert!(check_with_variables(query, value!({"n": (u64::MAX)})).is_err(), "sums saturate");
    let claim = "mutation($input: ClaimStepsInput!) { claimSteps(input: $input) { claims { leaseToken } } }";
    assert_eq!(
        check_with_variables(claim, value!({"input": {"limit": 50}})).unwrap().operation.cost,
        1 + 50 * 2
    );
}

#[test]
fn nested_connections_are_refused() {
    let message = refusal_message(
        "{ jobs(first: 3000) { nodes { events(first: 3000) { nodes { id } } } } }",
        Code::TooComplex,
    );
    assert!(message.contains("18063100") && message.contains("15000"), "{message}");
    refusal_message(
        "{ jobs(first: 100) { nodes { events(first: 100) { nodes { id } } } } }",
        Code::TooComplex,
    );
    let aliased: String =
        (0..30).map(|n| format!("a{n}: jobs(first: 100) {{ nodes {{ id name status mode }} }} ")).collect();
    refusal_message(&format!("{{ {aliased} }}"), Code::TooComplex);
    let teams = "teams { members { ".repeat(4) + "id" + &"} }".repeat(4);
    refusal_message(&format!("{{ {teams} }}"), Code::TooComplex);
    let types = "{ __schema { types { ".to_owned()
        + &"fields { type { ".repeat(5)
        + "name"
        + &"} }".repeat(5)
        + "} } }";
    let message = refusal_message(&types, Code::TooComplex);
    assert!(message.contains("introspection"), "{message}");
}

/// `f0` spreads `f1` twice, which spreads `f2` twice, and so on.
fn chained_fragments(length: usize) -> String {
    let mut document = "{ ...f0 }".to_owned();
    for n in 0..length {
        document += &format!(" fragment f{n} on Query {{ ...f{next} ...f{next} }}", next = n + 1);
    }
    document + &format!(" fragment f{length} on Query {{ a }}")
}

#[test]
fn each_chained_fragment_is_visited_once() {
    let deep = Limits { depth: 1_000, ..limits() };
    for length in [16, 32, 64] {
        let document = parse_query(chained_fragments(length)).unwrap();
        let mut visitor = ComplexityVisitor::new(&document, &deep, ListSizes::default());
        let DocumentOperations::Single(operation) = &document.operations else {
            panic!("several operations")
        };
        let complexity = visitor.visit_operation(operation).unwrap();
        assert_eq!(visitor.visits, 2 + 2 * length, "one visit for each written selection");
        let unlimited = Limits { selections: u64::MAX, ..deep.clone() };
        assert_eq!(
            check_structure(&document, &unlimited).unwrap(),
            visitor.visits,
            "fragments are not visited again on their own"
        );
        assert_eq!(complexity.fields, 2_u64.checked_pow(length as u32).unwrap_or(u64::MAX));
    }
    let message = refusal_message(&chained_fragments(14), Code::TooComplex);
    assert!(message.contains("the limit is 5000"), "{message}");
    let message = refusal_message(&chained_fragments(40), Code::TooComplex);
    assert!(message.contains("the limit is 20"), "{message}");
}

#[test]
fn unused_fragments_are_measured() {
    refusal_message(&chained_fragments(14).replacen("{ ...f0 }", "{ a }", 1), Code::TooComplex);
    let message = refusal_message(
        "{ a } fragment X on Q { ...Y } fragment Y on Q { b { ...X } }",
        Code::ValidationFailed,
    );
    assert!(message.contains("spreads itself: "), "{message}");
    assert_eq!(
        refusal_message("{ ...X } fragment X on Q { ...X }", Code::ValidationFailed),
        "The fragment X spreads itself: X → X."
    );
}

#[test]
fn lexical_limits_are_checked_before_parsing() {
    let deep = format!("{{ a(x: {}{}) }}", "[".repeat(2_000), "]".repeat(2_000));
    let message = refusal_message(&deep, Code::TooComplex);
    assert_eq!(message, "The document nests brackets 25 levels deep; the limit is 24.");
    let message = refusal_message(&format!("{{ a(x: {}", "{x: ".repeat(500)), Code::TooComplex);
    assert!(message.contains("the limit is 24"), "{message}");
    assert!(
        refusal_message(&format!("{{ {} }}", "a ".repeat(3_000)), Code::TooComplex).contains("2000 tokens")
    );
    assert!(
        refusal_message(&" ".repeat(20_000), Code::TooComplex).contains("20000 bytes; the limit is 16384")
    );
    assert!(
        refusal_message(&format!("{{ ...F }} fragment F on Q {}", "{ a ".repeat(23)), Code::ParseFailed)
            .contains("line 1")
    );
}

#[test]
fn root_fields_aliases_and_duplicates_are_limited() {
    let repeat = |n: usize, field: &str| (0..n).map(|i| format!("a{i}: {field} ")).collect::<String>();
    assert!(check_document(&format!("mutation {{ {} }}", repeat(10, "cancelJob(id: 1) { id }"))).is_ok());
    let message = refusal_message(
        &format!("mutation {{ {} }}", repeat(11, "cancelJob(id: 1) { id }")),
        Code::TooComplex,
    );
    assert_eq!(message, "The mutation has 11 root fields; the limit is 10. Send several requests.");
    let message = refusal_message(
        &format!("mutation {{ {} }}", repeat(2, "signIn(input: $i) { accessToken }")),
        Code::TooComplex,
    );
    assert!(message.contains("2 expensive fields"), "{message}");
    refusal_message(
        "mutation { ...F } fragment F on M { signIn { a } ...G } fragment G on M { b: signIn { a } }",
        Code::TooComplex,
    );
    assert!(
        refusal_message(&format!("{{ {} }}", repeat(31, "viewer { id }")), Code::TooComplex)
            .contains("31 root fields")
    );
    let aliases = repeat(51, "name");
    assert!(
        refusal_message(&format!("{{ viewer {{ {aliases} }} }}"), Code::TooComplex).contains("51 aliases")
    );
    assert!(check_document("{ viewer { id id id id id } }").is_ok());
    assert_eq!(
        refusal_message("{ viewer { id id id id id id } }", Code::TooComplex),
        "The response key id occurs 6 times in one selection set; the limit is 5."
    );
    assert!(
        refusal_message(&format!("{{ a{} }}", " @x".repeat(6)), Code::TooComplex).contains("6 directives")
    );
    assert!(
        refusal_message(&format!("{{ a({}) }}", "x: 1 ".repeat(21)), Code::TooComplex)
            .contains("21 arguments")
    );
    let operations: String = (0..11).map(|n| format!("query Q{n} {{ a }} ")).collect();
    assert!(refusal_message(&operations, Code::TooComplex).contains("11 operations"));
    assert!(
        refusal_message("subscription { a b }", Code::ValidationFailed).contains("exactly one root field")
    );
}

#[test]
fn operation_name_selects_the_operation() {
    let document = "query A { a } mutation B { b }";
    let selected_kind =
        |name| check(document, name, &Variables::default(), &limits()).map(|checked| checked.operation.kind);
    assert_eq!(selected_kind(Some("B")).unwrap(), OperationType::Mutation);
    assert!(selected_kind(None).unwrap_err().message.contains("operationName"));
    assert_eq!(selected_kind(Some("C")).unwrap_err().message, "The document has no operation named \"C\".");
    assert_eq!(check_document("query A { a }").unwrap().operation.kind, OperationType::Query);
    assert_eq!(
        refusal_message("fragment F on Q { a }", Code::ValidationFailed),
        "The document has fragments but no operation."
    );
    refusal_message("{ a } query B { b }", Code::ValidationFailed);
    assert_eq!(
        refusal_message("query B { b } query B { b }", Code::ValidationFailed),
        "The operation \"B\" is defined twice."
    );
    refusal_message("{ a } fragment F on Q { a } fragment F on Q { a }", Code::ValidationFailed);
}

#[test]
fn text_with_the_upload_marker_is_refused() {
    for variables in
        [value!({"f": "#__graphql_file__:0"}), value!({"f": {"a/b": ["x", "#__graphql_file__:7"]}})]
    {
        let refusal =
            check_with_variables("mutation($f: Upload!) { uploadDocument(file: $f) { id } }", variables)
                .unwrap_err();
        assert_eq!(refusal.code, Code::BadInput);
        let error = refusal.clone().into_error();
        assert!(error.extensions.unwrap().get("problems").is_some());
        assert!(matches!(refusal.path.as_deref(), Some("/f" | "/f/a~1b/1")), "{refusal:?}");
    }
    refusal_message(
        "mutation { uploadDocument(file: \"#__graphql_file__:0\") { id } }",
        Code::ValidationFailed,
    );
    refusal_message(
        "mutation { a(input: {f: [\"\\u0023__graphql_file__:0\"]}) { id } }",
        Code::ValidationFailed,
    );
    refusal_message(
        "mutation($f: Upload = \"#__graphql_file__:0\") { a(f: $f) { id } }",
        Code::ValidationFailed,
    );
}

#[test]
fn variables_are_limited() {
    let many: Variables = Variables::from_value(Value::Object(
        (0..101).map(|n| (Name::new(format!("v{n}")), value!(1))).collect(),
    ));
    let refusal = check("{ a }", None, &many, &limits()).unwrap_err();
    assert_eq!(refusal.message, "The request has 101 variables; the limit is 100.");
    let deep = (0..40).fold(value!(1), |inner, _| Value::List(vec![inner]));
    let message = check_with_variables("{ a }", value!({"v": deep})).unwrap_err().message;
    assert!(
        message.starts_with("Variable /v/0/0/") && message.ends_with("more than 32 levels."),
        "{message}"
    );
    let long = Value::List(vec![value!(1); 50_001]);
    assert!(check_with_variables("{ a }", value!({"v": long})).unwrap_err().message.contains("50000 values"));
    let large = Value::from("x".repeat(1_048_577));
    assert!(
        check_with_variables("{ a }", value!({"v": large})).unwrap_err().message.contains("1048576 bytes")
    );
}

#[test]
fn syntax_errors_are_one_line_with_their_position() {
    for (document, message) in [
        ("", "The document is empty. Send a query, mutation, or subscription."),
        ("# only a comment", "The document is empty. Send a query, mutation, or subscription."),
        ("{ a(x: }", "Syntax error at line 1, column 8: expected a value, found \"}\"."),
        ("{\n  jobs {\n    id\n", "Syntax error at line 4, column 1: "),
        (
            "query { a } }",
            "Syntax error at line 1, column 13: expected the end of the document or an operation or fragment, found \"}\".",
        ),
        ("{ a(x: \"b) }", "Syntax error at line 1, column 8: unterminated string."),
    ] {
        let text = refusal_message(document, Code::ParseFailed);
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
async fn checked_request_runs_with_variable_defaults() {
    let schema = Schema::new(Query, async_graphql::EmptyMutation, EmptySubscription);
    let query = "query($yes: Boolean = true, $n: Int! = 2) { a @include(if: $yes) list(first: $n) }";
    let mut request = Request::new(query);
    let checked = check(query, None, &request.variables, &limits()).unwrap();
    checked.apply_to(&mut request);
    let response = schema.execute(request).await;
    assert_eq!(response.data, value!({"a": 1, "list": [0, 1]}), "{:?}", response.errors);
}

#[test]
fn configuration_sets_limits_and_refuses_unknown_keys() {
    let limits: Limits = serde_json::from_str(r#"{"tokens": 5, "list_sizes": {"jobs": 3}}"#).unwrap();
    assert_eq!((limits.tokens, limits.bytes, limits.list_sizes["jobs"]), (5, 16_384, 3));
    assert!(serde_json::from_str::<Limits>(r#"{"token": 5}"#).is_err());
}

#[test]
fn nul_characters_are_refused_in_variables_and_literals() {
    let refused_path = |result: Result<CheckedRequest, Refusal>| {
        let refusal = result.map(|checked| checked.operation).unwrap_err();
        assert_eq!(refusal.code, Code::BadInput, "{}", refusal.message);
        refusal.path.unwrap()
    };
    let query = "query Q($a: JSON) { job(id: $a) { id } }";
    assert_eq!(refused_path(check_with_variables(query, value!({"a": "x\0"}))), "/a");
    assert_eq!(refused_path(check_with_variables(query, value!({"a": {"b": ["", "\0"]}}))), "/a/b/1");
    let keyed = Variables::from_json(serde_json::json!({"a": {"b\0": 1}}));
    assert!(refused_path(check(query, None, &keyed, &limits())).starts_with("/a/b"));
    for (document, path) in [
        (r#"{ job(id: "x\u0000") { id } }"#, "/id"),
        (r#"mutation { m(input: {list: ["a", {name: "\u0000"}]}) { id } }"#, "/input/list/1/name"),
        (r#"query Q($a: String = "\u0000") { job(id: $a) { id } }"#, "/a"),
        ("{ job(id: \"x\0\") { id } }", "/id"),
    ] {
        assert_eq!(refused_path(check_document(document)), path, "{document}");
    }
    assert!(
        check_with_variables(query, value!({"a": "x\\u0000"})).is_ok(),
        "a backslash followed by u0000 is ordinary text"
    );
}
