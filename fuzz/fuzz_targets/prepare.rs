//! The front door on whatever somebody sends: it must neither panic, nor take long, nor let through what is beyond a limit.
#![no_main]

use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Schema};
use docket::graphql::guard::{self, Limits};
use docket::http::Parameters;
use libfuzzer_sys::fuzz_target;

/// What is let through is validated next. Against which schema does not matter for how long that takes.
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
    let Ok(asked) = Parameters::try_from(json) else { return };
    let Some(text) = &asked.query else { return };
    let limits = Limits::default();
    let name = asked.operation_name.as_deref();
    match guard::check(text, name, &asked.variables, &limits) {
        Ok(checked) => {
            assert!(checked.operation.cost <= limits.cost, "it costs too much");
            // The same as a document that was kept.
            guard::measure(&checked.document, name, &asked.variables, &limits).expect("it is the same");
            let mut request = Request::new(text.as_str()).variables(asked.variables);
            request.operation_name = asked.operation_name;
            checked.put_into(&mut request);
            let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
            let response = futures_executor::block_on(schema.execute(request));
            serde_json::to_vec(&response).expect("a response is JSON");
        }
        Err(refusal) => {
            // A variable is quoted by its keys, which may hold anything.
            let own = refusal.variable.is_none();
            assert!(!(own && refusal.message.contains('\n')), "parser's art: {}", refusal.message);
            // What it quotes of the request is cut when it is written.
            assert!(refusal.message.len() < bytes.len() + 10_000, "a novel");
        }
    }
});
