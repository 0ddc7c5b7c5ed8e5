//! Fuzzes request parsing and the guard, which must not panic, run long, or accept a request above a limit.
#![no_main]

use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Schema};
use docket::graphql::guard::{self, Limits};
use docket::http::Parameters;
use libfuzzer_sys::fuzz_target;

/// A minimal schema, because the duration of validation does not depend on the schema.
struct Query;

#[Object]
impl Query {
    async fn viewer(&self) -> Query {
        Query
    }
    async fn jobs(&self, first: Option<i32>) -> Vec<Query> {
        let _size = first;
        Vec::new()
    }
    async fn id(&self) -> i32 {
        1
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let Ok(parameters) = Parameters::try_from(json) else { return };
    let Some(text) = &parameters.query else { return };
    let limits = Limits::default();
    let name = parameters.operation_name.as_deref();
    match guard::check(text, name, &parameters.variables, &limits) {
        Ok(checked) => {
            assert!(checked.operation.cost <= limits.cost, "the accepted cost exceeds the limit");
            // A cached document must be accepted too.
            guard::measure(&checked.document, name, &parameters.variables, &limits)
                .expect("the cached document is accepted");
            let mut request = Request::new(text.as_str()).variables(parameters.variables);
            request.operation_name = parameters.operation_name;
            checked.apply_to(&mut request);
            let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
            let response = futures_executor::block_on(schema.execute(request));
            serde_json::to_vec(&response).expect("the response serializes to JSON");
        }
        Err(refusal) => {
            // The path of a variable contains its keys, which may contain any character.
            let has_no_path = refusal.path.is_none();
            assert!(
                !(has_no_path && refusal.message.contains('\n')),
                "the message contains the output of the parser: {}",
                refusal.message
            );
            // Quoted parts of the request are truncated only when the response is written.
            assert!(refusal.message.len() < bytes.len() + 10_000, "the message is too long");
        }
    }
});
