// What every suite needs of the server beside the client that it tests: users, and jobs to look at. Plain fetch, nothing else.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

assert.ok(process.env.DOCKET_URL, 'DOCKET_URL names the server; tests/clients/run starts one and sets it');
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

/** A user of a suite's own, so that suites do not see each other's jobs. */
export class User {
  static async signUp() {
    const user = new User();
    const { signUp } = await user.ask('mutation ($input: SignUpInput!) { signUp(input: $input) { accessToken user { id email } } }', {
      input: { email: `${randomUUID()}@example.com`, name: 'Ada', password: 'correct horse battery' },
    });
    user.token = signUp.accessToken;
    user.email = signUp.user.email;
    return user;
  }

  get headers() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  /** The answer's data; rejects where there are errors. */
  async ask(query, variables) {
    const response = await fetch(urls.http, {
      method: 'POST',
      headers: { ...this.headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    });
    const { data, errors } = await response.json();
    assert.equal(errors, undefined, JSON.stringify(errors));
    return data;
  }

  /** The ID of a document that was just uploaded. */
  async upload(name = 'invoice.txt') {
    const response = await fetch(urls.documents, {
      method: 'POST',
      headers: { ...this.headers, 'Content-Type': 'application/octet-stream', 'X-Name': name, 'X-Type': 'text/plain' },
      body: INVOICE,
    });
    assert.equal(response.status, 201);
    return (await response.json()).id;
  }

  /** What `createJob` wants for an extraction that waits for a person once; with `threshold` 0 it waits for nobody. */
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

  /** The ID of a job that was just created. */
  async createJob(threshold) {
    const { createJob } = await this.ask('mutation ($input: CreateJobInput!) { createJob(input: $input) { job { id } } }', {
      input: await this.jobInput(threshold),
    });
    return createJob.job.id;
  }

  /** The name of a new taxonomy. */
  async putTaxonomy() {
    const input = taxonomyInput();
    await this.ask('mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { id } } }', { input });
    return input.name;
  }

  /** Claims the open review of a job and approves it. */
  async approve(jobId) {
    const { job } = await this.ask('query ($id: ID!) { job(id: $id) { review { id content { document { sha256 } } } } }', { id: jobId });
    await this.ask('mutation ($id: ID!) { claimReview(id: $id) { review { id } } }', { id: job.review.id });
    await this.ask('mutation ($input: DecideReviewInput!) { decideReview(input: $input) { review { status } } }', {
      input: { id: job.review.id, decision: 'APPROVE', contentSha256: job.review.content.document.sha256 },
    });
  }
}

/** What `putTaxonomy` wants, under a name that nobody has used. */
export function taxonomyInput() {
  return { name: `clients-${randomUUID()}`, definition: TAXONOMY };
}

/** A file for clients that upload. */
export function file(name = 'invoice.txt') {
  return new File([INVOICE], name, { type: 'text/plain' });
}

/** `fetch` as ever, and what was asked through it. */
export function recordingFetch() {
  const requests = [];
  const send = (input, init) => {
    requests.push({ url: new URL(input), method: init.method ?? 'GET', headers: new Headers(init.headers), body: init.body });
    return fetch(input, init);
  };
  return { send, requests };
}
