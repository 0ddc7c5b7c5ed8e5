// The few calls of Docket's API that the page test makes beside the page.
import assert from 'node:assert/strict';

const TAXONOMY = {
  name: 'graphiql-page-test',
  data_points: [{ name: 'invoice.number', type: 'code', required: true, labels: ['Invoice No'] }],
};

/** Calls against the server at `base`; each rejects with what the server answered. */
export function makeApi(base) {
  async function send(path, token, headers, body) {
    const response = await fetch(base + path, { method: 'POST', headers: { Authorization: `Bearer ${token}`, ...headers }, body });
    const text = await response.text();
    assert.ok(response.ok, `POST ${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  }
  async function graphql(token, query, variables) {
    const { data, errors } = await send('/graphql', token, { 'Content-Type': 'application/json' }, JSON.stringify({ query, variables }));
    assert.equal(errors, undefined, JSON.stringify(errors));
    return data;
  }

  return {
    /** A job that cannot end by itself: its review threshold is 1, so that a person must look. Resolves to its id. */
    async startJob(token) {
      const headers = { 'Content-Type': 'application/octet-stream', 'X-Name': 'note.txt', 'X-Type': 'text/plain' };
      const document = await send('/documents', token, headers, 'Invoice No: 2024-0815\nTotal: 12.50\n');
      await graphql(token, 'mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { id } } }', {
        input: { name: TAXONOMY.name, definition: TAXONOMY },
      });
      const { createJob } = await graphql(token, 'mutation ($input: CreateJobInput!) { createJob(input: $input) { job { id } } }', {
        input: {
          type: 'data-point-extraction',
          input: { documentId: document.id },
          metadata: { mapping: { taxonomy: TAXONOMY.name, high_confidence_threshold: 1 } },
        },
      });
      return createJob.job.id;
    },

    async cancelJob(token, id) {
      await graphql(token, 'mutation ($id: ID!) { cancelJob(id: $id) { job { status } } }', { id });
    },
  };
}
