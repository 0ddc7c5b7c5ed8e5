"""Schemathesis hooks for Docket: strategies for its scalars, and checks of responses. fuzz.py loads this module."""

import os
import re

import schemathesis
from graphql import NameNode, ObjectFieldNode
from hypothesis import strategies as st
from schemathesis.graphql import nodes

CODES = {"UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND", "BAD_USER_INPUT", "CONFLICT", "PAYLOAD_TOO_LARGE",
         "UNSUPPORTED_MEDIA_TYPE", "RATE_LIMITED", "QUERY_TOO_COMPLEX", "TIMEOUT", "UNAVAILABLE", "GRAPHQL_PARSE_FAILED",
         "GRAPHQL_VALIDATION_FAILED", "PERSISTED_QUERY_NOT_FOUND"}

# Text from databases, panics and the operating system. No generated input contains it.
INTERNAL = re.compile(
    r"panicked|RUST_BACKTRACE|\bsrc/\w+|\.rs:\d+|\.cargo|sqlx|sea_orm|sea-orm|sqlite|postgres|DbErr|RecordNot"
    r"|SELECT .+ FROM |INSERT INTO|UPDATE .+ SET |syntax error at or near|UNIQUE constraint|violates \w+ ?\w* constraint"
    r"|/tmp/|/home/|/root/|/proc/|os error|called `\w+::\w+\(\)`|tokio|async_graphql|serde_json", re.IGNORECASE)


@schemathesis.check
def no_fault(ctx, response, case):
    """The built-in check of schemathesis treats every GraphQL error as a failure."""
    assert response.status_code < 500, f"status {response.status_code}"


@schemathesis.check
def nothing_internal(ctx, response, case):
    """Errors have a published code, and no response reveals internals."""
    found = INTERNAL.search(response.text)
    assert not found, f"the response reveals internals: {found[0]!r}"
    if "json" not in response.headers.get("content-type", [""])[0]:
        return
    body = response.json()
    for error in body.get("errors") or [] if isinstance(body, dict) else []:
        code = (error.get("extensions") or {}).get("code")
        assert code in CODES, f"an error with the unpublished code {code}: {error.get('message')}"


def literal(value):
    """Returns a value as a GraphQL literal."""
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
existing_ids = st.sampled_from(os.environ["FUZZ_IDS"].split())
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
    """Uses the ID of an existing object in half of the paths."""
    if "id" not in (path_parameters or {}):
        return st.just(path_parameters)
    return st.just(path_parameters) | existing_ids.map(lambda found: {**path_parameters, "id": found})


@schemathesis.hook
def flatmap_body(context, body):
    """Makes half of the job bodies valid, so that requests get past the required fields."""
    if not isinstance(body, dict) or context.operation.label != "POST /v1.1/jobs":
        return st.just(body)
    required = {"type": "data-point-extraction", "input_content": {"uri": os.environ["FUZZ_URI"]}}
    without_contents = {name: value for name, value in body.items() if name != "contents"}
    return st.just(body) | metadata.map(lambda found: {**without_contents, **required, "metadata": found})


schemathesis.graphql.scalar("ID", (existing_ids | st.uuids().map(str) | text).map(nodes.String))
schemathesis.graphql.scalar("DateTime", (times | text).map(nodes.String))
schemathesis.graphql.scalar("JSON", (json | patches | taxonomies).map(literal))
schemathesis.graphql.scalar("JSONObject", (st.dictionaries(names, json, max_size=4) | metadata).map(literal))
schemathesis.graphql.scalar("SafeInt", st.integers(-2**53, 2**53).map(nodes.Int))
schemathesis.graphql.scalar("URL", (st.just("https://example.com/") | text).map(nodes.String))
schemathesis.graphql.scalar("Upload", text.map(nodes.String))
