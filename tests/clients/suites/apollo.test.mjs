// Tests Apollo Client with the links and cache policies that its documentation recommends.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, NetworkStatus, gql } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { relayStylePagination } from '@apollo/client/utilities';
import UploadHttpLink from 'apollo-upload-client/UploadHttpLink.mjs';
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

function connect(link = new HttpLink({ uri: urls.http, headers: user.headers })) {
  const typePolicies = { Query: { fields: { documents: relayStylePagination() } } };
  return new ApolloClient({ link, cache: new InMemoryCache({ typePolicies }) });
}

test('runs a query', async () => {
  const { data } = await connect().query({ query: gql`query Who { viewer { id email } }` });
  assert.equal(data.viewer.email, user.email);
});

test('runs a mutation', async () => {
  const mutation = gql`mutation Put($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { id name version } } }`;
  const input = taxonomyInput();
  const { data } = await connect().mutate({ mutation, variables: { input } });
  assert.equal(data.putTaxonomy.taxonomy.name, input.name);
});

test('reports a refused mutation as an error with its code', async () => {
  const mutation = gql`mutation Cancel($id: ID!) { cancelJob(id: $id) { job { id } } }`;
  const refused = connect().mutate({ mutation, variables: { id: '01a21095-5deb-744c-bc85-97645f7bb85f' } });
  await assert.rejects(refused, (error) => {
    assert.ok(CombinedGraphQLErrors.is(error));
    assert.equal(error.errors[0].extensions.code, 'NOT_FOUND');
    return true;
  });
});

test('uploads a file', async () => {
  const link = new UploadHttpLink({ uri: urls.http, headers: { ...user.headers, 'Apollo-Require-Preflight': 'true' } });
  const mutation = gql`mutation Upload($file: Upload!) { uploadDocument(file: $file) { document { id name type size } } }`;
  const { data } = await connect(link).mutate({ mutation, variables: { file: file('apollo.txt') } });
  const { name, type, size } = data.uploadDocument.document;
  assert.deepEqual({ name, type, size }, { name: 'apollo.txt', type: 'text/plain', size: file().size });
});

test('follows a job with GraphQLWsLink until it ends', async () => {
  const http = new HttpLink({ uri: urls.http, headers: user.headers });
  const split = ApolloLink.split(({ operationType }) => operationType === 'subscription', new GraphQLWsLink(socket), http);
  const id = await user.createJob();
  const query = gql`subscription Watch($id: ID!) { jobUpdated(id: $id) { id status } }`;
  const statuses = [];
  await new Promise((complete, error) => {
    connect(split).subscribe({ query, variables: { id } }).subscribe({
      next({ data }) {
        const { status } = data.jobUpdated;
        if (status === 'BLOCKED' && !statuses.includes('BLOCKED')) user.approve(id).catch(error);
        statuses.push(status);
      },
      error,
      complete,
    });
  });
  assert.ok(statuses.includes('BLOCKED'), statuses.join());
  assert.equal(statuses.at(-1), 'COMPLETED');
});

test('merges the pages of a connection in the cache', async () => {
  const names = ['1.txt', '2.txt', '3.txt', '4.txt', '5.txt'];
  const owner = await User.signUp();
  for (const name of names) await owner.upload(name);
  const client = connect(new HttpLink({ uri: urls.http, headers: owner.headers }));
  const query = gql`
    query Documents($first: Int!, $after: String) {
      documents(first: $first, after: $after) { edges { cursor node { id name } } pageInfo { endCursor hasNextPage } }
    }
  `;
  const watched = client.watchQuery({ query, variables: { first: 2 } });
  const documents = await new Promise((resolve, reject) => {
    watched.subscribe(({ data, error, networkStatus }) => {
      if (error) reject(error);
      if (networkStatus !== NetworkStatus.ready) return;
      const { hasNextPage, endCursor } = data.documents.pageInfo;
      if (hasNextPage) watched.fetchMore({ variables: { after: endCursor } }).catch(reject);
      else resolve(data.documents);
    });
  });
  assert.deepEqual(documents.edges.map(({ node }) => node.name), names.toReversed());
});

describe('automatic persisted queries', () => {
  const sha256 = (text) => createHash('sha256').update(text).digest('hex');
  // A unique operation name makes the query unknown to the server.
  const query = (method) => gql(`query Persisted${method}${Date.now()} { viewer { id email } }`);

  for (const useGETForHashedQueries of [false, true]) {
    const method = useGETForHashedQueries ? 'GET' : 'POST';
    test(`by ${method}: registers an unknown hash, then sends only the hash`, async () => {
      const { send, requests } = recordingFetch();
      const http = new HttpLink({ uri: urls.http, headers: user.headers, fetch: send });
      const client = connect(new PersistedQueryLink({ sha256, useGETForHashedQueries }).concat(http));
      const document = query(method);
      const run = () => client.query({ query: document, fetchPolicy: 'network-only' });
      assert.equal((await run()).data.viewer.email, user.email);
      assert.equal((await run()).data.viewer.email, user.email);
      const withText = requests.map(({ url, body }) => url.searchParams.has('query') || /"query":/.test(body ?? ''));
      assert.deepEqual(withText, [false, true, false]);
      assert.deepEqual([requests[0].method, requests[2].method], [method, method]);
    });
  }
});
