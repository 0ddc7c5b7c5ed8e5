// Tests the reference client of graphql-transport-ws, and raw sockets for violations that the client never commits.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { get } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { User, taxonomyInput, urls } from './support.mjs';

const clients = [];
let user;

function connect({ headers, ...options } = {}) {
  class Socket extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { headers });
    }
  }
  const client = createClient({
    url: urls.socket,
    webSocketImpl: Socket,
    connectionParams: headers ? undefined : user.headers,
    retryAttempts: 0,
    ...options,
  });
  clients.push(client);
  return client;
}

/** Returns the data of the first result of an operation. */
async function firstResult(client, query, variables) {
  for await (const { data, errors } of client.iterate({ query, variables })) {
    assert.equal(errors, undefined, JSON.stringify(errors));
    return data;
  }
  throw new Error('the operation completed without a result');
}

before(async () => {
  user = await User.signUp();
});
after(() => Promise.all(clients.map((client) => client.dispose())));

describe('operations', () => {
  test('runs a query', async () => {
    const { viewer } = await firstResult(connect(), '{ viewer { email } }');
    assert.equal(viewer.email, user.email);
  });

  test('runs a mutation', async () => {
    const input = taxonomyInput();
    const data = await firstResult(connect(), 'mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name version } } }', { input });
    assert.deepEqual(data.putTaxonomy.taxonomy, { name: input.name, version: 1 });
  });

  test('accepts the credential in the upgrade request', async () => {
    const { viewer } = await firstResult(connect({ headers: user.headers }), '{ viewer { email } }');
    assert.equal(viewer.email, user.email);
  });

  test('accepts an upgrade on /graphql', async () => {
    const client = connect({ url: urls.http.replace(/^http/, 'ws') });
    assert.equal((await firstResult(client, '{ viewer { email } }')).viewer.email, user.email);
  });

  test('reports an invalid operation as an error and keeps the connection', async () => {
    const client = connect();
    await assert.rejects(firstResult(client, '{ noSuchField }'), (errors) => {
      assert.equal(errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
      return true;
    });
    assert.ok((await firstResult(client, '{ viewer { email } }')).viewer);
  });

  test('runs several operations on one connection', async () => {
    const client = connect();
    const jobs = await Promise.all(Array.from({ length: 5 }, () => user.createJob(0)));
    const states = await Promise.all(jobs.map((id) => lastStatus(client, id)));
    assert.deepEqual(states, Array(5).fill('COMPLETED'));
  });
});

async function lastStatus(client, id) {
  let last;
  for await (const { data } of client.iterate({ query: 'subscription ($id: ID!) { jobUpdated(id: $id) { status } }', variables: { id } })) {
    last = data.jobUpdated.status;
  }
  return last;
}

describe('subscriptions', () => {
  test('jobUpdated reports a review and the end of the job, then completes', async () => {
    const id = await user.createJob();
    const statuses = [];
    const query = 'subscription ($id: ID!) { jobUpdated(id: $id) { status progress { fraction } } }';
    for await (const { data } of connect().iterate({ query, variables: { id } })) {
      const { status, progress } = data.jobUpdated;
      if (status === 'BLOCKED' && !statuses.includes('BLOCKED')) await user.approve(id);
      statuses.push(status);
      if (status === 'COMPLETED') assert.equal(progress.fraction, 1);
    }
    assert.ok(statuses.includes('BLOCKED'), statuses.join());
    assert.equal(statuses.at(-1), 'COMPLETED');
  });

  test('resumes an interrupted history from its cursor without gaps or duplicates', async () => {
    const id = await user.createJob();
    const query = 'subscription ($id: ID!, $after: String) { jobEvents(jobId: $id, after: $after) { sequence kind cursor data } }';
    const sequences = [];
    let cursor;
    const follow = async (client, isLast) => {
      for await (const { data } of client.iterate({ query, variables: { id, after: cursor } })) {
        sequences.push(data.jobEvents.sequence);
        cursor = data.jobEvents.cursor;
        if (isLast(data.jobEvents)) return data.jobEvents;
      }
    };
    // Terminates each connection without a close frame: early in the history, and during live events.
    for (const isLast of [({ sequence }) => sequence === 3, ({ kind }) => kind === 'REVIEW_OPENED']) {
      const client = connect();
      await follow(client, isLast);
      client.terminate();
    }
    await user.approve(id);
    const end = await follow(connect(), () => false);
    assert.equal(end, undefined, 'the stream completes after the final status');
    assert.deepEqual(sequences, sequences.map((_, index) => index + 1));
    const { job } = await user.runQuery('query ($id: ID!) { job(id: $id) { status events(first: 100) { nodes { sequence } } } }', { id });
    assert.equal(job.status, 'COMPLETED');
    assert.deepEqual(sequences, job.events.nodes.map(({ sequence }) => sequence));
  });

  test('reconnects after a lost connection and subscribes again', async () => {
    const id = await user.createJob();
    const client = connect({ retryAttempts: 3, retryWait: () => Promise.resolve(), shouldRetry: () => true });
    let connections = 0;
    client.on('connected', () => { connections += 1; });
    let approved = false;
    let last;
    for await (const { data } of client.iterate({ query: 'subscription ($id: ID!) { jobUpdated(id: $id) { status } }', variables: { id } })) {
      last = data.jobUpdated.status;
      if (last !== 'BLOCKED') continue;
      if (connections === 1) {
        client.terminate();
      } else if (!approved) {
        approved = true;
        await user.approve(id);
      }
    }
    assert.equal(connections, 2);
    assert.equal(last, 'COMPLETED');
  });
});

describe('close codes', () => {
  test('closes with 4403 for an invalid credential', async () => {
    const client = connect({ connectionParams: { Authorization: 'Bearer not-a-token' } });
    await assert.rejects(firstResult(client, '{ viewer { email } }'), { code: 4403 });
  });

  test('closes with 4406 for an unknown subprotocol', async () => {
    assert.equal(await upgradeCloseCode({ 'Sec-WebSocket-Protocol': 'graphql-ws' }), 4406);
  });

  test('closes with 4406 without a subprotocol', async () => {
    assert.equal(await upgradeCloseCode(), 4406);
  });

  test('closes with 4401 for a subscription before the acknowledgement', async () => {
    assert.equal(await closeCode({ messages: [subscribe('a')] }), 4401);
  });

  test('closes with 4400 for an invalid message', async () => {
    assert.equal(await closeCode({ messages: ['not JSON'] }), 4400);
    assert.equal(await closeCode({ messages: [{ type: 'start', id: 'a' }] }), 4400);
  });

  test('closes with 4429 for a second connection_init', async () => {
    assert.equal(await closeCode({ messages: [init(), init()] }), 4429);
  });

  test('closes with 4409 for an ID that is in use', async () => {
    const id = await user.createJob();
    const subscription = subscribe('a', 'subscription ($id: ID!) { jobUpdated(id: $id) { status } }', { id });
    assert.equal(await closeCode({ messages: [init(), 'ack', subscription, subscription] }), 4409);
  });
});

function init() {
  return { type: 'connection_init', payload: user.headers };
}

function subscribe(id, query = '{ viewer { id } }', variables = {}) {
  return { type: 'subscribe', id, payload: { query, variables } };
}

/** Sends messages and returns the close code of the server. The entry 'ack' waits for connection_ack. */
async function closeCode({ messages }) {
  const socket = new WebSocket(urls.socket, 'graphql-transport-ws');
  const closed = once(socket, 'close');
  await once(socket, 'open');
  for (const message of messages) {
    if (message === 'ack') await once(socket, 'message');
    else socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }
  const [code] = await closed;
  return code;
}

/** Returns the close code of the first frame after an upgrade. WebSocket clients would reject the missing subprotocol. */
async function upgradeCloseCode(headers) {
  const handshake = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  };
  const request = get(urls.socket.replace(/^ws/, 'http'), { headers: { ...handshake, ...headers } });
  try {
    const [response, socket, head] = await Promise.race([once(request, 'upgrade'), once(request, 'response')]);
    assert.equal(response.statusCode, 101);
    const frame = head.length ? head : (await once(socket, 'data'))[0];
    assert.equal(frame[0], 0x88, 'not a close frame');
    return frame.readUInt16BE(2);
  } finally {
    request.destroy();
  }
}
