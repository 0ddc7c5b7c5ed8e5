// Shared code of the suites: creates users, documents and jobs with plain fetch.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

assert.ok(process.env.DOCKET_URL, 'DOCKET_URL is not set. tests/clients/run starts a server and sets it.');
const base = process.env.DOCKET_URL.replace(/\/$/, '');

export const urls = {
  http: `${base}/graphql`,
  socket: `${base.replace(/^http/, 'ws')}/graphql/ws`,
  stream: `${base}/graphql/stream`,
  documents: `${base}/documents`,
};

const INVOICE = `Invoice number: HL-2025-0418
Invoice date: 14 March 2025
Total due: 1,380.00
`;

const TAXONOMY = {
  data_points: [
    { name: 'invoice.number', type: 'code', required: true, labels: ['Invoice number'] },
    { name: 'amount.gross', type: 'amount', labels: ['Total due'] },
  ],
};

/** A new user. Each suite creates its own, so suites do not see each other's jobs. */
export class User {
  static async signUp() {
    const user = new User();
    const { signUp } = await user.runQuery('mutation ($input: SignUpInput!) { signUp(input: $input) { accessToken user { id email } } }', {
      input: { email: `${randomUUID()}@example.com`, name: 'Ada', password: 'correct horse battery' },
    });
    user.token = signUp.accessToken;
    user.email = signUp.user.email;
    return user;
  }

  get headers() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  /** Returns the data of a response; rejects if it has errors. */
  async runQuery(query, variables) {
    const response = await fetch(urls.http, {
      method: 'POST',
      headers: { ...this.headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    });
    const { data, errors } = await response.json();
    assert.equal(errors, undefined, JSON.stringify(errors));
    return data;
  }

  /** Uploads a document and returns its ID. */
  async upload(name = 'invoice.txt') {
    const response = await fetch(urls.documents, {
      method: 'POST',
      headers: { ...this.headers, 'Content-Type': 'application/octet-stream', 'X-Name': name, 'X-Type': 'text/plain' },
      body: INVOICE,
    });
    assert.equal(response.status, 201);
    return (await response.json()).id;
  }

  /** Returns the input of `createJob` for an extraction with one review, or without reviews if `threshold` is 0. */
  async jobInput(threshold = 1) {
    const taxonomy = await this.putTaxonomy();
    return {
      type: 'data-point-extraction',
      input: { documentId: await this.upload() },
      metadata: {
        'mapping.taxonomy': taxonomy,
        'mapping.high_confidence_threshold': threshold,
        'zoning.high_confidence_threshold': 0,
      },
    };
  }

  /** Creates a job and returns its ID. */
  async createJob(threshold) {
    const { createJob } = await this.runQuery('mutation ($input: CreateJobInput!) { createJob(input: $input) { job { id } } }', {
      input: await this.jobInput(threshold),
    });
    return createJob.job.id;
  }

  /** Creates a taxonomy and returns its name. */
  async putTaxonomy() {
    const input = taxonomyInput();
    await this.runQuery('mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { id } } }', { input });
    return input.name;
  }

  /** Claims the open review of a job and approves it. */
  async approve(jobId) {
    const { job } = await this.runQuery('query ($id: ID!) { job(id: $id) { review { id content { document { sha256 } } } } }', { id: jobId });
    await this.runQuery('mutation ($id: ID!) { claimReview(id: $id) { review { id } } }', { id: job.review.id });
    await this.runQuery('mutation ($input: DecideReviewInput!) { decideReview(input: $input) { review { status } } }', {
      input: { id: job.review.id, decision: 'APPROVE', contentSha256: job.review.content.document.sha256 },
    });
  }
}

/** Returns the input of `putTaxonomy` with a unique name. */
export function taxonomyInput() {
  return { name: `clients-${randomUUID()}`, definition: TAXONOMY };
}

/** Returns a text file to upload. */
export function file(name = 'invoice.txt') {
  return new File([INVOICE], name, { type: 'text/plain' });
}

/** Returns a wrapper of `fetch`, and the list of requests that it sends. */
export function recordingFetch() {
  const requests = [];
  const send = (input, init) => {
    requests.push({ url: new URL(input), method: init.method ?? 'GET', headers: new Headers(init.headers), body: init.body });
    return fetch(input, init);
  };
  return { send, requests };
}
