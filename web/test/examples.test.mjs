// Every example operation is valid against the schema, and so are its variables.
//   npm test                              checks against ../schema.graphql
//   DOCKET_SCHEMA=other.graphql npm test  checks against another one
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { getVariableValues } from 'graphql/execution/values.js';
import { Kind, parse, validate } from 'graphql';
import { parse as parseJsonc } from 'jsonc-parser';
import { loadSchema } from './schema.mjs';

const folder = new URL('../src/examples/', import.meta.url);
const schema = loadSchema();
const files = readdirSync(folder).sort();
const examples = files.filter((file) => file.endsWith('.graphql'));

test('there are examples, and each file of variables belongs to one', () => {
  assert.ok(examples.length > 0);
  const variables = files.filter((file) => file.endsWith('.jsonc'));
  assert.deepEqual(files.length, examples.length + variables.length, 'only .graphql and .jsonc files');
  for (const file of variables) assert.ok(examples.includes(file.replace('.jsonc', '.graphql')), `${file} is alone`);
});

for (const file of examples) {
  test(file, () => {
    const text = readFileSync(new URL(file, folder), 'utf8');
    const document = parse(text);
    assert.deepEqual(validate(schema, document).map(String), []);

    const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
    assert.ok(operations.every(({ name }) => name), 'every operation has a name: it is the title of the tab');
    assert.match(text, /^#/, 'it begins with a comment that says what it is for');

    const variables = readVariables(file.replace('.graphql', '.jsonc'));
    for (const { name, variableDefinitions } of operations) {
      const { errors } = getVariableValues(schema, variableDefinitions, variables);
      assert.deepEqual(errors?.map(String) ?? [], [], `variables of ${name.value}`);
    }
    const declared = operations.flatMap(({ variableDefinitions }) => variableDefinitions.map(({ variable }) => variable.name.value));
    assert.deepEqual(Object.keys(variables).filter((name) => !declared.includes(name)), [], 'no variable that nobody uses');
  });
}

function readVariables(file) {
  if (!files.includes(file)) return {};
  const errors = [];
  const value = parseJsonc(readFileSync(new URL(file, folder), 'utf8'), errors);
  assert.deepEqual(errors, [], `${file} is JSON with comments`);
  return value;
}
