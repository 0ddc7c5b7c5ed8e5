// Links to an operation: from an address to the texts of the editors, and back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findOperation, linkTo, MAX_OPENED_LENGTH, readLink } from '../src/link.js';

const PAGE = new URL('https://docket.example/graphiql?query=old#token=secret');
const TWO_OPERATIONS = 'query First { a }\nquery Second($id: ID!) { b(id: $id) }';

/** The texts after a copy of the link and a visit to it. */
const roundTrip = (texts) => readLink(new URL(linkTo(PAGE, texts)).search).link;

test('address without operation opens nothing', () => {
  for (const search of ['', '?', '?query=', '?variables=&query=', '?operationName=First', '?other=1']) {
    assert.deepEqual(readLink(search), { link: null, problem: null }, search);
  }
});

test('address fills query, variables and operation name', () => {
  const { link, problem } = readLink('?query=%7B%20a%20%7D&variables=%7B%22id%22%3A1%7D&operationName=A');
  assert.deepEqual(link, { query: '{ a }', variables: '{"id":1}', operationName: 'A' });
  assert.equal(problem, null);
});

test('missing parameters become empty texts', () => {
  assert.deepEqual(readLink('?query={a}').link, { query: '{a}', variables: '', operationName: null });
  assert.deepEqual(readLink('?variables={}&operationName=').link, { query: '', variables: '{}', operationName: null });
});

test('variables that are not JSON stay as given', () => {
  assert.equal(readLink('?query={a}&variables={%22id%22:').link.variables, '{"id":');
  assert.equal(readLink('?query={a}&variables=null').link.variables, 'null');
});

test('malformed percent encoding does not throw', () => {
  assert.equal(readLink('?query=%zz%').link.query, '%zz%');
  assert.equal(readLink('?query=%ff').link.query, '\ufffd');
});

test('address that is too long is refused with a reason', () => {
  const longest = `?query=${'a'.repeat(MAX_OPENED_LENGTH - '?query='.length)}`;
  assert.equal(readLink(longest).problem, null);
  const { link, problem } = readLink(`${longest}a`);
  assert.equal(link, null);
  assert.match(problem, /longer than 65,536 characters/);
});

test('special characters survive the round trip', () => {
  const texts = {
    query: '# a+b & c=d #e %41 "ü日本🎉" \\ \t<script>\r\n\nquery Unicode { a }\n',
    variables: '{\n  "text": "&#+%=? \\u0000 ü日本🎉", // comment\n  "big": 12345678901234567890\n}',
    operationName: 'Unicode',
  };
  assert.deepEqual(roundTrip(texts), texts);
});

test('link keeps the chosen operation of several', () => {
  const texts = { query: TWO_OPERATIONS, variables: '{"id": "1"}', operationName: 'Second' };
  assert.deepEqual(roundTrip(texts), texts);
});

test('link omits an operation that the query lacks', () => {
  assert.equal(roundTrip({ query: TWO_OPERATIONS, variables: '', operationName: 'Third' }).operationName, null);
  assert.equal(roundTrip({ query: 'query First {', variables: '', operationName: 'First' }).operationName, null);
  assert.equal(roundTrip({ query: '{ a }', variables: '', operationName: undefined }).operationName, null);
});

test('link carries no token and no former query', () => {
  assert.equal(linkTo(PAGE, { query: '{a}', variables: ' \n', operationName: null }), 'https://docket.example/graphiql?query=%7Ba%7D');
  assert.equal(linkTo(PAGE, { query: '', variables: '', operationName: null }), 'https://docket.example/graphiql');
});

test('operation is found by name only', () => {
  assert.equal(findOperation(TWO_OPERATIONS, 'Second').loc.start, TWO_OPERATIONS.indexOf('query Second'));
  assert.equal(findOperation('{ a }', null), null);
  assert.equal(findOperation('query { a', 'A'), null);
  assert.equal(findOperation('{'.repeat(100_000), 'A'), null);
});
