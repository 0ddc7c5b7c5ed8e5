"""What schemathesis is told of Docket: values of its scalars, and what no answer may contain. Loaded by fuzz.py."""

import os
import re

import schemathesis
from graphql import NameNode, ObjectFieldNode
from hypothesis import strategies as st
from schemathesis.graphql import nodes

CODES = {"UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND", "BAD_USER_INPUT", "CONFLICT", "PAYLOAD_TOO_LARGE",
         "UNSUPPORTED_MEDIA_TYPE", "RATE_LIMITED", "QUERY_TOO_COMPLEX", "TIMEOUT", "UNAVAILABLE", "GRAPHQL_PARSE_FAILED",
         "GRAPHQL_VALIDATION_FAILED", "PERSISTED_QUERY_NOT_FOUND"}

# Text of databases, of panics and of the machine; none of it is ever made up as an input.
INTERNAL = re.compile(
    r"panicked|RUST_BACKTRACE|\bsrc/\w+|\.rs:\d+|\.cargo|sqlx|sea_orm|sea-orm|sqlite|postgres|DbErr|RecordNot"
    r"|SELECT .+ FROM |INSERT INTO|UPDATE .+ SET |syntax error at or near|UNIQUE constraint|violates \w+ ?\w* constraint"
    r"|/tmp/|/home/|/root/|/proc/|os error|called `\w+::\w+\(\)`|tokio|async_graphql|serde_json", re.IGNORECASE)


@schemathesis.check
def no_fault(ctx, response, case):
    """Schemathesis' own check takes every error of GraphQL for a fault."""
    assert response.status_code < 500, f"status {response.status_code}"


@schemathesis.check
def nothing_internal(ctx, response, case):
    """An error has one of the published codes, and no answer says how the server is made."""
    found = INTERNAL.search(response.text)
    assert not found, f"the answer speaks of the server's insides: {found[0]!r}"
    if "json" not in response.headers.get("content-type", [""])[0]:
        return
    answer = response.json()
    for error in answer.get("errors") or [] if isinstance(answer, dict) else []:
        code = (error.get("extensions") or {}).get("code")
        assert code in CODES, f"an error with the code {code}: {error.get('message')}"


def literal(value):
    """A value as it stands in a GraphQL document."""
    match value:
        case None:
            return nodes.Null
        case bool():
            return nodes.Boolean(value)
        case int():
            return nodes.Int(value)
        case float():
            return nodes.Float(value)
        case str():
            return nodes.String(value)
        case list():
            return nodes.List([literal(entry) for entry in value])
        case dict():
            fields = [ObjectFieldNode(name=NameNode(value=key), value=literal(entry)) for key, entry in value.items()]
            return nodes.Object(fields)


text = st.text(max_size=20)
known = st.sampled_from(os.environ["FUZZ_IDS"].split())
times = st.datetimes(allow_imaginary=False, timezones=st.none()).map(lambda at: at.isoformat() + "Z")
names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,10}\Z")
json = st.recursive(
    st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=8)
patches = st.lists(st.fixed_dictionaries({
    "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
    "path": st.sampled_from(["", "/", "/data_points", "/data_points/0", "/data_points/0/value", "/data_points/-"]) | text,
}, optional={"value": json, "from": text}), max_size=4)
taxonomies = st.fixed_dictionaries({"name": text, "data_points": st.lists(st.fixed_dictionaries({
    "name": text, "type": st.sampled_from(["string", "code", "number", "amount", "date", "boolean", "enum"]),
}, optional={"labels": st.lists(text, max_size=3), "patterns": st.lists(text, max_size=3), "required": json}), max_size=3)})
metadata = st.fixed_dictionaries({"mapping": st.fixed_dictionaries(
    {"taxonomy": st.sampled_from(os.environ["FUZZ_NAMES"].split())}, optional={"high_confidence_threshold": json})})


@schemathesis.hook
def flatmap_path_parameters(context, path_parameters):
    """The REST façade's paths lead to what exists, in every second try."""
    if "id" not in (path_parameters or {}):
        return st.just(path_parameters)
    return st.just(path_parameters) | known.map(lambda found: {**path_parameters, "id": found})


@schemathesis.hook
def flatmap_body(context, body):
    """In every second try a job is asked for that can be made, so that its other fields count."""
    if not isinstance(body, dict) or context.operation.label != "POST /v1.1/jobs":
        return st.just(body)
    whole = {"type": "data-point-extraction", "input_content": {"uri": os.environ["FUZZ_URI"]}}
    without_contents = {name: value for name, value in body.items() if name != "contents"}
    return st.just(body) | metadata.map(lambda found: {**without_contents, **whole, "metadata": found})


schemathesis.graphql.scalar("ID", (known | st.uuids().map(str) | text).map(nodes.String))
schemathesis.graphql.scalar("DateTime", (times | text).map(nodes.String))
schemathesis.graphql.scalar("JSON", (json | patches | taxonomies).map(literal))
schemathesis.graphql.scalar("JSONObject", (st.dictionaries(names, json, max_size=4) | metadata).map(literal))
schemathesis.graphql.scalar("SafeInt", st.integers(-2**53, 2**53).map(nodes.Int))
schemathesis.graphql.scalar("URL", (st.just("https://example.com/") | text).map(nodes.String))
schemathesis.graphql.scalar("Upload", text.map(nodes.String))
