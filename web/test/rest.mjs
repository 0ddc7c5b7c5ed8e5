// Drives the page of the REST façade in a headless Chromium, with no way out to the internet.
//   npm run test:page                                     against test/mock-server.mjs and dist/
//   node test/rest.mjs --url http://127.0.0.1:8080        against a real server
// Further: --screenshots DIR keeps a picture; CHROMIUM names the browser (default /usr/bin/chromium).
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { startMock } from './mock-server.mjs';
import { watchForProblems } from './watch.mjs';

const { values: options } = parseArgs({ options: { url: { type: 'string' }, screenshots: { type: 'string' } } });
const mock = options.url ? null : await startMock();
const base = options.url ?? mock.url;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1'],
});

try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  const problems = await watchForProblems(page, base);
  const answer = await page.goto(`${base}/v1.1/docs`);
  assert.equal(answer.status(), 200);
  const policy = answer.headers()['content-security-policy'];
  assert.doesNotMatch(policy, /unsafe-eval|https?:|\*/, 'the policy names no foreign origin and no eval');

  const described = await (await fetch(`${base}/v1.1/openapi.json`)).json();
  const count = Object.values(described.paths).flatMap(Object.keys).length;
  await page.locator('.opblock').nth(count - 1).waitFor();
  assert.equal(await page.locator('.opblock').count(), count, 'every operation is shown');
  await page.getByText(described.info.title).first().waitFor();

  const status = page.locator('#operations-Server-get_status');
  await status.locator('.opblock-summary-control').click();
  await status.getByRole('button', { name: 'Execute' }).click();
  await status.locator('.live-responses-table').getByText('"success"').waitFor();
  if (options.screenshots) await page.screenshot({ path: join(options.screenshots, 'rest.png'), fullPage: true });
  assert.deepEqual(problems, []);
  console.log(`ok  the page shows ${count} operations and tries one; no other host, no violation of the Content-Security-Policy`);
} finally {
  await browser.close();
  await mock?.close();
}
