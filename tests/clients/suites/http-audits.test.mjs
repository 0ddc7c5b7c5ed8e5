// Runs the audits of the GraphQL over HTTP specification: every MUST, SHOULD and MAY.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverAudits } from 'graphql-http';
import { urls } from './support.mjs';

const audits = serverAudits({ url: urls.http });

test('the number of audits is unchanged', () => assert.equal(audits.length, 61));

for (const audit of audits) {
  test(`${audit.id} ${audit.name}`, async () => {
    const { status, reason } = await audit.fn();
    assert.equal(status, 'ok', reason);
  });
}
