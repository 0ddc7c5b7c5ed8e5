// Tests the reference client of GraphQL over SSE in distinct connections mode.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient } from 'graphql-sse';
import { User, taxonomyInput, urls } from './support.mjs';

const clients = [];
let user;

before(async () => {
  user = await User.signUp();
});
after(() => clients.forEach((client) => client.dispose()));

function connect(options) {
  const client = createClient({ url: urls.stream, headers: user.headers, retryAttempts: 0, ...options });
  clients.push(client);
  return client;
}

async function results(client, query, variables) {
  const all = [];
  for await (const result of client.iterate({ query, variables })) all.push(result);
  return all;
}

test('a query returns one result and completes', async () => {
  const [result, ...further] = await results(connect(), '{ viewer { email } }');
  assert.equal(result.data.viewer.email, user.email);
  assert.deepEqual(further, []);
});

test('runs a mutation', async () => {
  const input = taxonomyInput();
  const [{ data }] = await results(connect(), 'mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name } } }', { input });
  assert.equal(data.putTaxonomy.taxonomy.name, input.name);
});

test('follows a job with jobUpdated until it ends', async () => {
  const id = await user.createJob();
  const statuses = [];
  const query = 'subscription ($id: ID!) { jobUpdated(id: $id) { status } }';
  for await (const { data } of connect().iterate({ query, variables: { id } })) {
    const { status } = data.jobUpdated;
    if (status === 'BLOCKED' && !statuses.includes('BLOCKED')) await user.approve(id);
    statuses.push(status);
  }
  assert.ok(statuses.includes('BLOCKED'), statuses.join());
  assert.equal(statuses.at(-1), 'COMPLETED');
});

test('resumes a history from its cursor on the next connection', async () => {
  const id = await user.createJob(0);
  const query = 'subscription ($id: ID!, $after: String) { jobEvents(jobId: $id, after: $after) { sequence cursor } }';
  const seen = [];
  for await (const { data } of connect().iterate({ query, variables: { id } })) {
    seen.push(data.jobEvents);
    if (seen.length === 2) break;
  }
  for (const { data } of await results(connect(), query, { id, after: seen.at(-1).cursor })) seen.push(data.jobEvents);
  assert.ok(seen.length > 2);
  assert.deepEqual(seen.map(({ sequence }) => sequence), seen.map((_, index) => index + 1));
});

test('subscribes on /graphql if only event streams are accepted', async () => {
  const id = await user.createJob(0);
  const query = 'subscription ($id: ID!) { jobUpdated(id: $id) { status } }';
  const all = await results(connect({ url: urls.http }), query, { id });
  assert.equal(all.at(-1).data.jobUpdated.status, 'COMPLETED');
});

test('reports an invalid document as an error', async () => {
  const [{ errors }] = await results(connect(), '{ noSuchField }');
  assert.equal(errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
});

test('refuses an invalid credential', async () => {
  await assert.rejects(results(connect({ headers: { Authorization: 'Bearer not-a-token' } }), '{ viewer { email } }'));
});
