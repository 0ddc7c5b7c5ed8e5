//! Conversion of JSON to GraphQL values. Numbers keep their digits.
//!
//! The `from_json` of async-graphql reads numbers through serde, which represents numbers of arbitrary precision as an
//! object with one private key. The conversion here keeps a number unchanged.

use async_graphql::{Name, Value, Variables};
use serde_json::{Map, Value as Json};

/// Converts JSON to a GraphQL value.
pub(crate) fn value_from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(boolean) => Value::Boolean(boolean),
        Json::Number(number) => Value::Number(number),
        Json::String(text) => Value::String(text),
        Json::Array(values) => Value::List(values.into_iter().map(value_from_json).collect()),
        Json::Object(fields) => Value::Object(entries(fields).collect()),
    }
}

/// Converts a JSON object to the variables of a request.
pub(crate) fn variables_from_json(fields: Map<String, Json>) -> Variables {
    let mut variables = Variables::default();
    variables.extend(entries(fields));
    variables
}

fn entries(fields: Map<String, Json>) -> impl Iterator<Item = (Name, Value)> {
    fields.into_iter().map(|(name, value)| (Name::new(name), value_from_json(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits_both_ways() {
        let text =
            r#"{"a":[123456789012345678901234567890,12345678901234.56789,1.0,-0.10,7,1e+5],"b":{"c":null}}"#;
        let json: Json = serde_json::from_str(text).unwrap();
        let value = value_from_json(json);
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
        assert_eq!(value.into_json().unwrap().to_string(), text);
    }
}
