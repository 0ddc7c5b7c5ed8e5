// Tests the Relay runtime with the compiled operations of relay/src (`npm run relay`): normalized records and connections.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createClient } from 'graphql-ws';
import relay from 'relay-runtime';
import WebSocket from 'ws';
import documentsDeleteMutation from '../relay/__generated__/documentsDeleteMutation.graphql.js';
import documentsPageQuery from '../relay/__generated__/documentsPageQuery.graphql.js';
import documentsQuery from '../relay/__generated__/documentsQuery.graphql.js';
import documentsUploadMutation from '../relay/__generated__/documentsUploadMutation.graphql.js';
import documentsList from '../relay/__generated__/documents_list.graphql.js';
import jobCreateMutation from '../relay/__generated__/jobCreateMutation.graphql.js';
import jobQuery from '../relay/__generated__/jobQuery.graphql.js';
import jobStateRefetchQuery from '../relay/__generated__/jobStateRefetchQuery.graphql.js';
import jobUpdatedSubscription from '../relay/__generated__/jobUpdatedSubscription.graphql.js';
import jobState from '../relay/__generated__/job_state.graphql.js';
import { User, file, urls } from './support.mjs';

const { ConnectionHandler, Environment, Network, Observable, RecordSource, Store } = relay;
let user;
let socket;
let environment;

before(async () => {
  user = await User.signUp();
  socket = createClient({ url: urls.socket, webSocketImpl: WebSocket, connectionParams: user.headers });
  environment = new Environment({ network: Network.create(send, subscribe), store: new Store(new RecordSource()) });
});
after(() => socket.dispose());

async function send({ text: query }, variables, _cache, uploadables) {
  const response = await fetch(urls.http, { method: 'POST', ...requestOptions({ query, variables }, uploadables) });
  return response.json();
}

/** Returns a JSON request, or a multipart request if there are files to upload. */
function requestOptions(operation, uploadables) {
  if (!uploadables) {
    return { headers: { ...user.headers, 'Content-Type': 'application/json' }, body: JSON.stringify(operation) };
  }
  const form = new FormData();
  form.append('operations', JSON.stringify(operation));
  form.append('map', JSON.stringify(Object.fromEntries(Object.keys(uploadables).map((name) => [name, [`variables.${name}`]]))));
  for (const [name, content] of Object.entries(uploadables)) form.append(name, content);
  return { headers: { ...user.headers, 'GraphQL-Require-Preflight': '1' }, body: form };
}

function subscribe({ text: query, name: operationName }, variables) {
  return Observable.create((sink) => socket.subscribe({ query, operationName, variables }, sink));
}

function runQuery(query, variables = {}) {
  return relay.fetchQuery(environment, query, variables, { fetchPolicy: 'network-only' }).toPromise();
}

function runMutation(mutation, variables, options) {
  return new Promise((onCompleted, onError) => {
    relay.commitMutation(environment, {
      mutation,
      variables,
      ...options,
      onError,
      onCompleted: (data, errors) => (errors ? onError(errors) : onCompleted(data)),
    });
  });
}

/** Returns the data of a fragment from the store, as a component receives it. */
function readFragment(fragment, reference) {
  return environment.lookup(relay.getSingularSelector(fragment, reference)).data;
}

describe('a connection', () => {
  const names = ['1.txt', '2.txt', '3.txt'];
  let reference;

  const listedNames = () => readFragment(documentsList, reference).documents.edges.map(({ node }) => node.name);
  const pageInfo = () => readFragment(documentsList, reference).documents.pageInfo;

  before(async () => {
    for (const name of names) await user.upload(name);
    reference = await runQuery(documentsQuery);
    const operation = relay.createOperationDescriptor(relay.getRequest(documentsQuery), {});
    environment.retain(operation);
  });

  test('starts with one page', () => {
    assert.equal(reference.viewer.email, user.email);
    assert.deepEqual(listedNames(), ['3.txt', '2.txt']);
    assert.equal(pageInfo().hasNextPage, true);
  });

  test('loads the next page with the @refetchable query', async () => {
    await runQuery(documentsPageQuery, { count: 2, cursor: pageInfo().endCursor });
    assert.deepEqual(listedNames(), ['3.txt', '2.txt', '1.txt']);
    assert.equal(pageInfo().hasNextPage, false);
  });

  test('prepends an uploaded document', async () => {
    const connections = [ConnectionHandler.getConnectionID('client:root', 'documents_list_documents')];
    await runMutation(documentsUploadMutation, { file: null, connections }, { uploadables: { file: file('relay.txt') } });
    assert.deepEqual(listedNames(), ['relay.txt', '3.txt', '2.txt', '1.txt']);
  });

  test('removes a deleted document', async () => {
    const connections = [ConnectionHandler.getConnectionID('client:root', 'documents_list_documents')];
    const [{ node }] = readFragment(documentsList, reference).documents.edges;
    await runMutation(documentsDeleteMutation, { id: node.id, connections });
    assert.deepEqual(listedNames(), ['3.txt', '2.txt', '1.txt']);
  });
});

describe('a job', () => {
  test('is created, refetched by node(id:), and followed until it ends', async () => {
    const { createJob } = await runMutation(jobCreateMutation, { input: await user.jobInput() });
    const { id } = createJob.job;
    const { job } = await runQuery(jobQuery, { id });
    const { node } = await runQuery(jobStateRefetchQuery, { id });
    assert.equal(readFragment(jobState, node).id, id);

    const statuses = [];
    await new Promise((onCompleted, onError) => {
      relay.requestSubscription(environment, {
        subscription: jobUpdatedSubscription,
        variables: { id },
        onNext() {
          // The subscription and the query share one record of the job.
          const { status } = readFragment(jobState, job);
          if (status === 'BLOCKED' && !statuses.includes('BLOCKED')) user.approve(id).catch(onError);
          statuses.push(status);
        },
        onError,
        onCompleted,
      });
    });
    assert.ok(statuses.includes('BLOCKED'), statuses.join());
    assert.equal(statuses.at(-1), 'COMPLETED');
    assert.equal(readFragment(jobState, job).progress.fraction, 1);
  });
});
