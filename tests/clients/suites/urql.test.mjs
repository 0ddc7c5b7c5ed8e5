// Tests urql with default settings: short queries use GET, and every Accept header includes event streams.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client, cacheExchange, fetchExchange, gql, subscriptionExchange } from '@urql/core';
import { cacheExchange as graphcache } from '@urql/exchange-graphcache';
import { relayPagination } from '@urql/exchange-graphcache/extras';
import { persistedExchange } from '@urql/exchange-persisted';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { User, file, recordingFetch, taxonomyInput, urls } from './support.mjs';

let user;
let socket;

before(async () => {
  user = await User.signUp();
  socket = createClient({ url: urls.socket, webSocketImpl: WebSocket, connectionParams: user.headers });
});
after(() => socket.dispose());

function connect({ exchanges = [cacheExchange, fetchExchange], headers = user.headers, ...options } = {}) {
  return new Client({ url: urls.http, exchanges, fetchOptions: { headers }, ...options });
}

async function runQuery(client, query, variables) {
  const { data, error } = await client.query(query, variables, { requestPolicy: 'network-only' }).toPromise();
  assert.equal(error, undefined, String(error));
  return data;
}

async function runMutation(client, mutation, variables) {
  const { data, error } = await client.mutation(mutation, variables).toPromise();
  assert.equal(error, undefined, String(error));
  return data;
}

test('runs a query by GET', async () => {
  const { send, requests } = recordingFetch();
  const { viewer } = await runQuery(connect({ fetch: send }), gql`query Who { viewer { id email } }`);
  assert.equal(viewer.email, user.email);
  assert.equal(requests[0].method, 'GET');
  assert.match(requests[0].headers.get('accept'), /text\/event-stream/);
});

test('runs a query by POST', async () => {
  const { viewer } = await runQuery(connect({ preferGetMethod: false }), gql`query Who { viewer { id email } }`);
  assert.equal(viewer.email, user.email);
});

test('runs a mutation', async () => {
  const input = taxonomyInput();
  const mutation = gql`mutation Put($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { id name } } }`;
  const { putTaxonomy } = await runMutation(connect(), mutation, { input });
  assert.equal(putTaxonomy.taxonomy.name, input.name);
});

test('reports a refused mutation as an error with its code', async () => {
  const mutation = gql`mutation Cancel($id: ID!) { cancelJob(id: $id) { job { id } } }`;
  const { error } = await connect().mutation(mutation, { id: '01a21095-5deb-744c-bc85-97645f7bb85f' }).toPromise();
  assert.equal(error.graphQLErrors[0].extensions.code, 'NOT_FOUND');
});

test('uploads a file', async () => {
  const client = connect({ headers: { ...user.headers, 'GraphQL-Require-Preflight': '1' } });
  const mutation = gql`mutation Upload($file: Upload!) { uploadDocument(file: $file) { document { id name type size } } }`;
  const { uploadDocument } = await runMutation(client, mutation, { file: file('urql.txt') });
  const { name, type, size } = uploadDocument.document;
  assert.deepEqual({ name, type, size }, { name: 'urql.txt', type: 'text/plain', size: file().size });
});

describe('follows a job until it ends', () => {
  const overSocket = subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({
      subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
    }),
  });
  const transports = {
    'over WebSocket': { exchanges: [cacheExchange, fetchExchange, overSocket] },
    'over SSE': { exchanges: [cacheExchange, fetchExchange], fetchSubscriptions: true },
  };
  for (const [name, options] of Object.entries(transports)) {
    test(name, async () => {
      const id = await user.createJob();
      const statuses = [];
      await new Promise((resolve, reject) => {
        const updates = connect(options).subscription(gql`subscription Watch($id: ID!) { jobUpdated(id: $id) { id status } }`, { id });
        updates.subscribe(({ data, error, hasNext }) => {
          if (error) reject(error);
          const status = data?.jobUpdated.status;
          if (status === 'BLOCKED' && !statuses.includes('BLOCKED')) user.approve(id).catch(reject);
          statuses.push(status);
          if (status === 'COMPLETED' && !hasNext) resolve();
        });
      });
      assert.ok(statuses.includes('BLOCKED'), statuses.join());
    });
  }
});

test('merges the pages of a connection in the cache', async () => {
  const names = ['1.txt', '2.txt', '3.txt', '4.txt', '5.txt'];
  const owner = await User.signUp();
  for (const name of names) await owner.upload(name);
  const cache = graphcache({ resolvers: { Query: { documents: relayPagination() } } });
  const client = connect({ exchanges: [cache, fetchExchange], headers: owner.headers });
  const query = gql`
    query Documents($first: Int!, $after: String) {
      documents(first: $first, after: $after) { edges { cursor node { id name } } pageInfo { endCursor hasNextPage } }
    }
  `;
  let page = await client.query(query, { first: 2 }).toPromise();
  while (page.data.documents.pageInfo.hasNextPage) {
    page = await client.query(query, { first: 2, after: page.data.documents.pageInfo.endCursor }).toPromise();
    assert.equal(page.error, undefined, String(page.error));
  }
  assert.deepEqual(page.data.documents.edges.map(({ node }) => node.name), names.toReversed());
});

describe('automatic persisted queries', () => {
  for (const method of ['GET', 'POST']) {
    test(`by ${method}: registers an unknown hash, then sends only the hash`, async () => {
      const { send, requests } = recordingFetch();
      const persisted = persistedExchange({ preferGetForPersistedQueries: method === 'GET' });
      const client = connect({ exchanges: [persisted, fetchExchange], fetch: send, preferGetMethod: false });
      const document = gql(`query Persisted${method}${Date.now()} { viewer { id email } }`);
      assert.equal((await runQuery(client, document, {})).viewer.email, user.email);
      assert.equal((await runQuery(client, document, {})).viewer.email, user.email);
      const withText = requests.map(({ url, body }) => url.searchParams.has('query') || /"query":/.test(body ?? ''));
      assert.deepEqual(withText, [false, true, false]);
      assert.deepEqual([requests[0].method, requests[2].method], [method, method]);
    });
  }
});
