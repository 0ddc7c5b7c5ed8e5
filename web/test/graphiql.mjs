// Drives the page in a headless Chromium, with no way out to the internet, as a newcomer would use it.
//   npm run test:page                                        against test/mock-server.mjs and dist/
//   node test/graphiql.mjs --url http://127.0.0.1:8080 --email … --password …    against a real server
// Further: --screenshots DIR keeps pictures; CHROMIUM names the browser (default /usr/bin/chromium).
// A real run uploads small documents, makes a taxonomy and two jobs and cancels those, all in the name of that user.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { makeApi } from './api.mjs';
import { startMock } from './mock-server.mjs';
import { watchForProblems } from './watch.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    email: { type: 'string' },
    password: { type: 'string' },
    screenshots: { type: 'string' },
  },
});
assert.ok(!options.url || (options.email && options.password), '--url needs --email and --password');

const EXAMPLES = readdirSync(new URL('../src/examples/', import.meta.url));
const EXAMPLE_COUNT = EXAMPLES.filter((name) => name.endsWith('.graphql')).length;
const RUNNING = /"status":\s"(QUEUED|RUNNING|BLOCKED)"/;
const mock = options.url ? null : await startMock();
const { url: base, email, password } = mock ?? options;
const api = makeApi(base);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
  ],
});

try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, colorScheme: 'light' });
  const problems = await watchForProblems(page, base);
  const story = { page, token: null };
  for (const step of [opens, refusesAWrongPassword, signsInByKeyboard, loadsTheSchema, runsAQuery, completesAndChecks, followsAJob, opensAnExample, signsOut, takesATokenFromTheAddress, noticesExpiry]) {
    try {
      await step(story);
    } catch (failure) {
      await shoot(page, 'failure');
      throw new Error(`in "${step.name}"; seen by then: ${problems.join('\n') || 'no problem of the page'}`, { cause: failure });
    }
    assert.deepEqual(problems, [], `after "${step.name}"`);
    console.log(`ok  ${step.name}`);
  }
  console.log(`ok  no violation of the Content-Security-Policy, no page error, no request to another host`);
} finally {
  await browser.close();
  await mock?.close();
}

async function opens({ page }) {
  const response = await page.goto(`${base}/graphiql`);
  assert.equal(response.status(), 200);
  const policy = response.headers()['content-security-policy'];
  assert.ok(policy, 'the page comes with a Content-Security-Policy');
  assert.doesNotMatch(policy, /unsafe-eval|https?:|\*/, 'the policy names no foreign origin and no eval');
  assert.match(policy, /script-src 'self'(;|$)/);
  assert.equal(await page.title(), 'Docket – GraphiQL');
  await page.locator('.graphiql-query-editor .view-line').first().waitFor();
  assert.equal(await page.locator('.graphiql-tab').count(), EXAMPLE_COUNT);
  await page.getByText('Not signed in').waitFor();
  const icon = await page.locator('.account-bar img').evaluate((img) => img.decode().then(() => img.naturalWidth));
  assert.ok(icon > 0, 'the icon is drawn');
}

async function refusesAWrongPassword({ page }) {
  await page.getByRole('button', { name: 'Sign in…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Sign in to Docket' });
  await dialog.getByLabel('E-mail').fill(email);
  await dialog.getByLabel('Password', { exact: true }).and(dialog.locator('[type=password]')).fill(`not ${password}`);
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await dialog.getByRole('alert').filter({ hasText: /\w/ }).waitFor();
  await shoot(page, 'sign-in-refused');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
}

async function signsInByKeyboard(story) {
  const { page } = story;
  await page.getByRole('button', { name: 'Sign in…' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.type(email);
  await page.keyboard.press('Tab');
  await page.keyboard.type(password);
  await page.keyboard.press('Enter');
  await page.locator('.who').filter({ hasText: email }).waitFor();
  const stored = await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }]));
  assert.ok(!stored.includes(password), 'the password is stored nowhere');
  story.token = await page.evaluate(() => JSON.parse(sessionStorage.getItem('docket.session')).token);
}

async function loadsTheSchema({ page }) {
  await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
  await page.locator('.graphiql-doc-explorer').getByText('Mutation', { exact: true }).waitFor();
  await page.locator('.graphiql-doc-explorer').getByText('Subscription', { exact: true }).waitFor();
}

async function runsAQuery({ page }) {
  await execute(page);
  await responseWith(page, `"email": "${email}"`);
  await shoot(page, 'query');
  await page.emulateMedia({ colorScheme: 'dark' });
  await shoot(page, 'query-dark');
  await page.emulateMedia({ colorScheme: 'light' });
}

/** Monaco's workers run: one knows the schema and marks what it does not have, and completes what it does. */
async function completesAndChecks({ page }) {
  await page.getByRole('button', { name: 'New tab', exact: true }).click();
  await type(page, '.graphiql-query-editor', 'query Check { viewer { nmae } }');
  await page.locator('.graphiql-query-editor .squiggly-error').first().waitFor();
  await type(page, '.graphiql-query-editor', 'query Check { viewer { e } }');
  for (let i = 0; i < ' } }'.length; i += 1) await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Control+Space');
  await page.locator('.suggest-widget .monaco-list-row').filter({ hasText: 'email' }).first().waitFor();
  await shoot(page, 'completion');
  await page.keyboard.press('Escape');
  assert.ok(page.workers().length >= 2, 'the workers run');
}

/** A job changes while the page looks on: the change arrives over the WebSocket, and the end ends it. */
async function followsAJob({ page, token }) {
  const id = await api.startJob(token);
  await page.getByRole('button', { name: 'FollowJob', exact: true }).click();
  await type(page, '.graphiql-editor-tool', JSON.stringify({ id }));
  const opened = page.waitForEvent('websocket');
  await execute(page);
  await responseWith(page, RUNNING);
  const closed = (await opened).waitForEvent('close');
  await page.getByRole('button', { name: 'Stop query' }).click();
  await closed;
  await execute(page);
  await responseWith(page, RUNNING);
  await shoot(page, 'subscription');
  await api.cancelJob(token, id);
  await responseWith(page, '"status": "CANCELLED"');
  await page.getByRole('button', { name: 'Execute query' }).waitFor();
}

async function opensAnExample({ page }) {
  const before = await page.locator('.graphiql-tab').count();
  await page.getByRole('button', { name: 'Open an example in a new tab' }).click();
  await shoot(page, 'examples');
  await page.getByRole('menuitem', { name: 'Create a job' }).click();
  await page.locator('.graphiql-query-editor').getByText('createJob').first().waitFor();
  await page.locator('.graphiql-editor-tool').getByText('"documentId"').first().waitFor();
  assert.equal(await page.locator('.graphiql-tab').count(), before + 1);
}

/** Signing out ends what still streams; then the page is a stranger's. */
async function signsOut({ page, token }) {
  const id = await api.startJob(token);
  await page.getByRole('button', { name: 'FollowJob', exact: true }).click();
  await type(page, '.graphiql-editor-tool', JSON.stringify({ id }));
  const opened = page.waitForEvent('websocket');
  await execute(page);
  await responseWith(page, RUNNING);
  const closed = (await opened).waitForEvent('close');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('Not signed in').waitFor();
  await closed;
  await page.getByRole('button', { name: 'Execute query' }).waitFor();
  await api.cancelJob(token, id);
  assert.equal(await page.evaluate(() => sessionStorage.getItem('docket.session')), null);
  await page.getByRole('button', { name: 'WhoAmI', exact: true }).click();
  await execute(page);
  await responseWith(page, /"viewer":\snull|UNAUTHENTICATED/);
  await page.getByRole('button', { name: 'FollowJob', exact: true }).click();
  await execute(page);
  // The server may refuse the socket or the operation; either is told.
  await responseWith(page, /\b44\d\d\b|UNAUTHENTICATED|NOT_FOUND/);
  await shoot(page, 'signed-out-subscription');
}

async function takesATokenFromTheAddress({ page, token }) {
  await page.goto('about:blank');
  await page.goto(`${base}/graphiql#token=${token}`);
  await page.locator('.who').filter({ hasText: email }).waitFor();
  assert.equal(page.url(), `${base}/graphiql`);
  await page.goto(`${base}/graphiql#token=not-a-token`);
  await page.getByRole('status').filter({ hasText: 'The token in the link was not used.' }).waitFor();
  assert.equal(page.url(), `${base}/graphiql`);
  await shoot(page, 'refused-token');
}

async function noticesExpiry({ page, token }) {
  await page.goto('about:blank');
  await page.goto(`${base}/graphiql#token=${token}`);
  await page.locator('.who').filter({ hasText: email }).waitFor();
  await page.evaluate(() => {
    const session = JSON.parse(sessionStorage.getItem('docket.session'));
    sessionStorage.setItem('docket.session', JSON.stringify({ ...session, expiresAt: new Date(Date.now() - 1000).toISOString() }));
  });
  await page.reload();
  await page.getByRole('status').filter({ hasText: 'Your session has expired.' }).waitFor();
  await page.getByText('Not signed in').waitFor();
}

/** Replaces the text of one of the editors, as typed by a person. */
async function type(page, editor, text) {
  await page.locator(`${editor} .monaco-editor`).first().click();
  await page.keyboard.press('Control+A');
  await page.keyboard.press('Delete');
  await page.keyboard.insertText(text);
}

/** Runs the one operation of the tab. The button opens a menu until the editor has seen that it is only one. */
async function execute(page) {
  await page.locator('.graphiql-execute-button:not([aria-haspopup])').click();
}

async function responseWith(page, text) {
  const lines = page.locator('.graphiql-response .view-lines');
  // Monaco draws spaces as no-break spaces: a text filter takes them for spaces, a pattern needs \s.
  await lines.filter({ hasText: text }).waitFor();
}

async function shoot(page, name) {
  if (options.screenshots) await page.screenshot({ path: join(options.screenshots, `${name}.png`), animations: 'disabled' });
}
