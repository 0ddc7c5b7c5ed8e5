// A stand-in for the Docket server, for the page test: the real schema over a job that lives in memory,
// /documents, graphql-transport-ws, a sample of the REST façade, and dist/ under the Content-Security-Policy that the server sends.
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { graphql, GraphQLError } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';
import { loadSchema } from './schema.mjs';

const DIST = new URL('../dist/', import.meta.url);
const CSP = (await readFile(new URL('../csp.txt', import.meta.url), 'utf8')).trim();
const MIME = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.ttf': 'font/ttf', '.md': 'text/markdown; charset=utf-8' };
const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED'];

/** As much of the REST façade as its page needs to have something to show. */
const REST = {
  openapi: '3.1.0',
  info: { title: 'Docket', version: '0.0.0' },
  servers: [{ url: '/' }],
  components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
  security: [{ bearer: [] }],
  paths: { '/v1.1/status': { get: { tags: ['Server'], operationId: 'get_status', responses: { 200: { description: 'It can.' } } } } },
};

/** Starts on a free port of the loopback; resolves to `{ url, email, password, close }`. */
export async function startMock() {
  const schema = loadSchema();
  const email = 'ada@example.com';
  const password = 'correct horse battery';
  const world = makeWorld({ email, password });

  const server = createServer((request, response) => {
    handle(request, response).catch((problem) => {
      console.error('mock server:', problem);
      response.writeHead(500).end();
    });
  });

  async function handle(request, response) {
    const path = new URL(request.url, 'http://localhost').pathname;
    const actor = world.actor(request.headers.authorization);
    if (request.method === 'POST' && path === '/graphql') {
      const { query, variables, operationName } = JSON.parse(await bodyOf(request));
      const rootValue = world.root(actor);
      const result = await graphql({ schema, source: query, rootValue, variableValues: variables, operationName });
      send(response, 200, 'application/graphql-response+json', JSON.stringify(result));
    } else if (request.method === 'POST' && path === '/documents') {
      const document = world.addDocument(actor, await bodyOf(request), request.headers);
      send(response, 201, 'application/json', JSON.stringify(document));
    } else if (path === '/v1.1/docs') {
      await sendFile(response, 'rest.html');
    } else if (path === '/v1.1/openapi.json') {
      send(response, 200, 'application/json', JSON.stringify(REST));
    } else if (path === '/v1.1/status') {
      const answer = { success: true, status_code: 200, tracking: randomUUID(), response: { status: 'ok' } };
      send(response, 200, 'application/json', JSON.stringify(answer));
    } else if (path === '/graphiql' || path.startsWith('/graphiql/')) {
      await sendFile(response, path.slice('/graphiql/'.length) || 'index.html');
    } else {
      send(response, 404, 'text/plain', 'not found');
    }
  }

  const sockets = new WebSocketServer({ server, path: '/graphql/ws' });
  const disposable = useServer(
    {
      schema,
      // false closes with 4403.
      onConnect: ({ connectionParams }) => Boolean(world.actor(connectionParams?.Authorization)),
    },
    sockets,
  );
  world.attach(schema);

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    email,
    password,
    async close() {
      await disposable.dispose();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function sendFile(response, name) {
  let bytes;
  try {
    bytes = await readFile(new URL(name, DIST));
  } catch (problem) {
    if (problem.code !== 'ENOENT') throw problem;
    return send(response, 404, 'text/plain', `no ${name} in dist/: run npm run build`);
  }
  return send(response, 200, MIME[extname(name)], bytes);
}

function send(response, status, type, body) {
  response.writeHead(status, { 'Content-Type': type, 'Content-Security-Policy': CSP, 'X-Content-Type-Options': 'nosniff' });
  response.end(body);
}

async function bodyOf(stream) {
  return Buffer.concat(await stream.toArray());
}

/** Users, documents and jobs, with the root values that graphql-js resolves fields from. */
function makeWorld({ email, password }) {
  const now = () => new Date().toISOString();
  const ada = { __typename: 'User', id: randomUUID(), email, name: 'Ada Lovelace', isAdmin: false, createdAt: now(), teams: [] };
  const tokens = new Set();
  const documents = new Map();
  const jobs = new Map();
  const watchers = new Set();
  const steps = ['text-extraction', 'zoning', 'mapping', 'output'];
  const type = {
    id: 'data-point-extraction', name: 'Data point extraction', description: 'Finds data points.', version: 1, accepts: ['text/plain'],
    contentRoles: ['input', 'output'], metadataSchema: {},
    steps: steps.map((name) => ({ name, title: name, kind: 'AUTOMATIC', contentRoles: [], maxAttempts: 3, timeoutSeconds: 300, thresholdField: null, fourEyes: false })),
  };

  function refuse(message, code) {
    throw new GraphQLError(message, { extensions: { code, tracking: randomUUID() } });
  }

  function changed(job, change) {
    Object.assign(job, change, { updatedAt: now() });
    watchers.forEach((wake) => wake());
  }

  /** The job now and after every change, until it is final. */
  async function* follow(id) {
    const job = jobs.get(id);
    for (;;) {
      const woken = new Promise((wake) => watchers.add(wake));
      yield { jobUpdated: { ...job } };
      if (FINAL.includes(job.status)) return;
      await woken;
    }
  }

  const need = (actor) => actor ?? refuse('Sign in first.', 'UNAUTHENTICATED');
  const world = {
    actor: (authorization) => (tokens.has(authorization?.replace(/^Bearer /, '')) ? ada : null),

    addDocument(actor, bytes, headers) {
      const id = randomUUID();
      const contentsUri = `http://${headers.host}/documents/${id}/contents`;
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const document = {
        __typename: 'Document', id, name: headers['x-name'], type: headers['x-type'], size: bytes.length, sha256,
        contentsUri, signedContentsUri: contentsUri, owner: need(actor), createdAt: now(),
      };
      documents.set(id, document);
      return document;
    },

    root: (actor) => ({
      viewer: actor,
      jobTypes: [type],
      taxonomies: [],
      documents: { nodes: [...documents.values()], edges: [], pageInfo: { hasNextPage: false, hasPreviousPage: false } },
      jobs: { nodes: [...jobs.values()], edges: [], totalCount: jobs.size, pageInfo: { hasNextPage: false, hasPreviousPage: false } },
      signIn({ input }) {
        if (input.email !== email || input.password !== password) refuse('E-mail or password is wrong.', 'UNAUTHENTICATED');
        const accessToken = randomUUID();
        tokens.add(accessToken);
        return { accessToken, expiresAt: new Date(Date.now() + 3_600_000).toISOString(), user: ada };
      },
      signUp: () => refuse('Sign-up is closed on this server.', 'FORBIDDEN'),
      putTaxonomy({ input }) {
        return { taxonomy: { ...input, __typename: 'Taxonomy', id: randomUUID(), version: 1, owner: need(actor), createdAt: now(), updatedAt: now() } };
      },
      createJob({ input }) {
        const document = documents.get(input.input.documentId) ?? refuse('There is no such document.', 'BAD_USER_INPUT');
        const job = {
          __typename: 'Job', id: randomUUID(), type, status: 'BLOCKED', owner: need(actor), metadata: input.metadata ?? {}, mode: 'LIVE',
          progress: { current: 2, total: steps.length, fraction: 0.5 }, steps: [], contents: [], permissions: ['VIEW'],
          inputContent: { role: 'input', version: 1, document, uri: document.contentsUri, current: true, createdAt: now() },
          createdAt: now(), updatedAt: now(),
        };
        jobs.set(job.id, job);
        return { job };
      },
      cancelJob({ id }) {
        need(actor);
        changed(jobs.get(id), { status: 'CANCELLED' });
        return { job: jobs.get(id) };
      },
    }),

    /** Subscriptions: graphql-ws asks the schema itself. */
    attach(schema) {
      schema.getSubscriptionType().getFields().jobUpdated.subscribe = (_root, { id }) => follow(id);
    },
  };
  return world;
}
