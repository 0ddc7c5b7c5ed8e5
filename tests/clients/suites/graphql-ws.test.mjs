// The client of the graphql-transport-ws protocol's authors, and bare sockets where it would never do wrong itself.
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

/** The data of the one result of an operation. */
async function one(client, query, variables) {
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
  test('a query', async () => {
    const { viewer } = await one(connect(), '{ viewer { email } }');
    assert.equal(viewer.email, user.email);
  });

  test('a mutation', async () => {
    const input = taxonomyInput();
    const data = await one(connect(), 'mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name version } } }', { input });
    assert.deepEqual(data.putTaxonomy.taxonomy, { name: input.name, version: 1 });
  });

  test('the header of the upgrade serves as the credential', async () => {
    const { viewer } = await one(connect({ headers: user.headers }), '{ viewer { email } }');
    assert.equal(viewer.email, user.email);
  });

  test('an upgrade on /graphql is served too', async () => {
    const client = connect({ url: urls.http.replace(/^http/, 'ws') });
    assert.equal((await one(client, '{ viewer { email } }')).viewer.email, user.email);
  });

  test('what was refused before it ran comes as an error, and the connection goes on', async () => {
    const client = connect();
    await assert.rejects(one(client, '{ noSuchField }'), (errors) => {
      assert.equal(errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
      return true;
    });
    assert.ok((await one(client, '{ viewer { email } }')).viewer);
  });

  test('many operations share a connection', async () => {
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
  test('jobUpdated tells of a review and, once that is decided, of the end; then it completes', async () => {
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

  test('a history that was cut off goes on from its cursor: nothing is missing, nothing comes twice', async () => {
    const id = await user.createJob();
    const query = 'subscription ($id: ID!, $after: String) { jobEvents(jobId: $id, after: $after) { sequence kind cursor data } }';
    const sequences = [];
    let cursor;
    const follow = async (client, enough) => {
      for await (const { data } of client.iterate({ query, variables: { id, after: cursor } })) {
        sequences.push(data.jobEvents.sequence);
        cursor = data.jobEvents.cursor;
        if (enough(data.jobEvents)) return data.jobEvents;
      }
    };
    // Each connection is torn down without a word: early in the history, and in the middle of live events.
    for (const enough of [({ sequence }) => sequence === 3, ({ kind }) => kind === 'REVIEW_OPENED']) {
      const client = connect();
      await follow(client, enough);
      client.terminate();
    }
    await user.approve(id);
    const end = await follow(connect(), () => false);
    assert.equal(end, undefined, 'the stream completes after the final status');
    assert.deepEqual(sequences, sequences.map((_, index) => index + 1));
    const { job } = await user.ask('query ($id: ID!) { job(id: $id) { status events(first: 100) { nodes { sequence } } } }', { id });
    assert.equal(job.status, 'COMPLETED');
    assert.deepEqual(sequences, job.events.nodes.map(({ sequence }) => sequence));
  });

  test('a connection that is lost is made again by the client, which subscribes anew', async () => {
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
  test('a wrong credential is forbidden: 4403', async () => {
    const client = connect({ connectionParams: { Authorization: 'Bearer not-a-token' } });
    await assert.rejects(one(client, '{ viewer { email } }'), { code: 4403 });
  });

  test('a subprotocol that is not spoken is not acceptable: 4406', async () => {
    assert.equal(await refusal({ 'Sec-WebSocket-Protocol': 'graphql-ws' }), 4406);
  });

  test('no subprotocol at all is not acceptable: 4406', async () => {
    assert.equal(await refusal(), 4406);
  });

  test('subscribing before the acknowledgement is unauthorized: 4401', async () => {
    assert.equal(await closeCode({ messages: [subscribe('a')] }), 4401);
  });

  test('what is no message of the protocol is bad: 4400', async () => {
    assert.equal(await closeCode({ messages: ['not JSON'] }), 4400);
    assert.equal(await closeCode({ messages: [{ type: 'start', id: 'a' }] }), 4400);
  });

  test('a second connection_init is one too many: 4429', async () => {
    assert.equal(await closeCode({ messages: [init(), init()] }), 4429);
  });

  test('an ID that is in use is refused: 4409', async () => {
    const id = await user.createJob();
    const following = subscribe('a', 'subscription ($id: ID!) { jobUpdated(id: $id) { status } }', { id });
    assert.equal(await closeCode({ messages: [init(), 'ack', following, following] }), 4409);
  });
});

function init() {
  return { type: 'connection_init', payload: user.headers };
}

function subscribe(id, query = '{ viewer { id } }', variables = {}) {
  return { type: 'subscribe', id, payload: { query, variables } };
}

/** Says `messages` and resolves to the code that the server closes with. 'ack' among them waits for connection_ack. */
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

/** The code of the first frame after an upgrade. Clients that are not given the subprotocol they asked for read no further. */
async function refusal(headers) {
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
    assert.equal(frame[0], 0x88, 'it is a close frame');
    return frame.readUInt16BE(2);
  } finally {
    request.destroy();
  }
}
