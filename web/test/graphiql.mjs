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
import { linkTo } from '../src/link.js';
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
/** Two operations in one text; a link names the second. Comment and variables hold all that an address must escape. */
const LINKED = {
  query: [
    '# a+b & c=d #e %41 "ü日本🎉" \\',
    'query LinkedFirst { viewer { name } }',
    '',
    'query LinkedSecond($first: Int) {',
    '  viewer { email }',
    '  documents(first: $first) { nodes { id } }',
    '}',
    '',
  ].join('\n'),
  variables: '{\n  "first": 1, // a+b & c=d #e %41 "ü日本🎉"\n}',
  operationName: 'LinkedSecond',
};
/** Longer than any address that the page opens. */
const TOO_LONG = `# ${'long '.repeat(20_000)}\nquery TooLong { viewer { name } }`;
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
  const steps = [
    opens, refusesAWrongPassword, signsInByKeyboard, loadsTheSchema, runsAQuery, completesAndChecks, followsAJob, opensAnExample,
    opensALink, runsNoLinkByItself, keepsTheOperationOfALink, copiesALink, copiesWithoutTheClipboardApi, offersTheLinkWhereCopyingFails,
    opensALinkOnAFirstVisit, survivesBadLinks, signsOut, takesATokenFromTheAddress, takesATokenBesideALink, noticesExpiry,
  ];
  for (const step of steps) {
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
  await page.getByText('Not signed in', { exact: true }).waitFor();
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

/** The link gets a tab of its own beside those of before, and only one however often it is opened. */
async function opensALink({ page }) {
  const before = await tabTitles(page);
  await visit(page, LINKED);
  await isOpen(page, LINKED);
  assert.deepEqual(await tabTitles(page), [...before, LINKED.operationName]);
  const [bar, tab] = await Promise.all(['.graphiql-tabs', '.graphiql-tab-active'].map((name) => page.locator(name).boundingBox()));
  assert.ok(tab.x >= bar.x && tab.x + tab.width <= bar.x + bar.width + 1, `the tab is in sight: ${JSON.stringify([bar, tab])}`);
  await shoot(page, 'link');
  await visit(page, LINKED);
  await isOpen(page, LINKED);
  assert.deepEqual(await tabTitles(page), [...before, LINKED.operationName]);
  await visit(page, {});
  await page.locator('.graphiql-tab-active').waitFor();
  assert.deepEqual(await tabTitles(page), [...before, LINKED.operationName], 'the tabs stay without the link');
}

async function runsNoLinkByItself({ page }) {
  const sent = [];
  const record = (request) => new URL(request.url()).pathname === '/graphql' && sent.push(request.postDataJSON().query);
  const sockets = [];
  const recordSocket = (socket) => sockets.push(socket.url());
  page.on('request', record);
  page.on('websocket', recordSocket);
  const links = [
    { query: 'mutation LinkedMutation { createJob(input: { type: "none", input: {} }) { job { id } } }' },
    { query: 'subscription LinkedSubscription { jobUpdated(id: "1") { id } }', operationName: 'LinkedSubscription' },
  ];
  for (const link of links) {
    const introspected = page.waitForResponse((response) => response.request().postData()?.includes('IntrospectionQuery'));
    await visit(page, link);
    await isOpen(page, { variables: '', ...link });
    await introspected;
    await page.waitForTimeout(1000);
  }
  assert.ok(sent.length >= links.length, 'the requests are recorded');
  assert.deepEqual(sent.filter((query) => query.includes('Linked')), []);
  assert.deepEqual(sockets, []);
  assert.equal((await textsOf(page))['response.json'], '');
  page.off('request', record);
  page.off('websocket', recordSocket);
}

/** Ctrl+Enter runs the linked operation, after an edit and after a change of tabs too. The run button offers both. */
async function keepsTheOperationOfALink({ page }) {
  await visit(page, LINKED);
  await isOpen(page, LINKED);
  await page.locator('.graphiql-editor-tool .monaco-editor').first().click();
  await runsByKeyboard(page, LINKED.operationName);
  await page.locator('.graphiql-query-editor .monaco-editor').first().click({ position: { x: 100, y: 10 } });
  await page.keyboard.press('Control+Home');
  await page.keyboard.insertText('# edited\n');
  await settle(page);
  assert.equal(await activeTab(page), LINKED.operationName, 'an edit keeps the operation');
  await page.getByRole('button', { name: 'WhoAmI', exact: true }).click();
  await settle(page);
  await page.getByRole('button', { name: LINKED.operationName, exact: true }).last().click();
  await settle(page);
  await page.locator('.graphiql-editor-tool .monaco-editor').first().click();
  await runsByKeyboard(page, LINKED.operationName);
  await page.getByRole('button', { name: 'Execute query' }).click();
  const sent = page.waitForRequest((request) => request.postDataJSON()?.operationName === 'LinkedFirst');
  await page.getByRole('menuitem', { name: 'LinkedFirst' }).click();
  await sent;
  await settle(page);
  assert.equal(await activeTab(page), 'LinkedFirst', 'the person chooses another');
}

async function copiesALink({ page, token }) {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(base).origin });
  await visit(page, LINKED);
  await isOpen(page, LINKED);
  const headers = JSON.stringify({ 'X-Secret': 'header of the tab' });
  await page.getByRole('button', { name: 'Headers', exact: true }).click();
  await type(page, '.graphiql-editor-tool .graphiql-editor:not(.hidden)', headers);
  const link = await copyLink(page);
  await shoot(page, 'link-copied');
  assert.equal(link, linkTo(new URL(`${base}/graphiql`), LINKED));
  assert.ok(!link.includes(token) && !link.includes('Secret'), 'the link holds no credentials');
  await page.getByRole('button', { name: 'Variables', exact: true }).click();
  await page.getByText('Copied', { exact: true }).waitFor({ state: 'hidden' });
  await page.goto('about:blank');
  await page.goto(link);
  await isOpen(page, LINKED);
  const long = { query: `# ${'long '.repeat(2000)}`, variables: '' };
  await visit(page, long);
  await isOpen(page, long);
  await page.getByRole('button', { name: 'Copy link' }).click();
  await page.getByText('Not copied: the link would exceed 8,000 characters.').waitFor();
}

/** As on plain HTTP, where browsers give no page the Clipboard API. */
async function copiesWithoutTheClipboardApi({ page }) {
  await page.evaluate(() => navigator.clipboard.writeText('before'));
  await visit(page, LINKED);
  await isOpen(page, LINKED);
  await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true }));
  await page.getByRole('button', { name: 'Copy link' }).click();
  await page.getByText('Copied', { exact: true }).waitFor();
  assert.ok(await page.getByRole('button', { name: 'Copy link' }).evaluate((button) => button === document.activeElement), 'the focus stays');
  await page.evaluate(() => delete navigator.clipboard);
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), linkTo(new URL(`${base}/graphiql`), LINKED));
}

async function offersTheLinkWhereCopyingFails({ page }) {
  await visit(page, LINKED);
  await isOpen(page, LINKED);
  await page.evaluate(() => {
    Object.defineProperty(navigator, 'clipboard', { value: undefined });
    document.execCommand = () => false;
  });
  await page.getByRole('button', { name: 'Copy link' }).click();
  const dialog = page.getByRole('dialog', { name: 'Link to this operation' });
  const selected = await dialog.getByLabel('Link', { exact: true }).evaluate((field) => {
    return field.value.slice(field.selectionStart, field.selectionEnd);
  });
  assert.equal(selected, linkTo(new URL(`${base}/graphiql`), LINKED));
  await shoot(page, 'link-by-hand');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
}

/** A browser without stored tabs shows the link before the examples. */
async function opensALinkOnAFirstVisit() {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  const problems = await watchForProblems(page, base);
  await visit(page, LINKED);
  await isOpen(page, LINKED);
  assert.equal(await page.locator('.graphiql-tab').count(), EXAMPLE_COUNT + 1);
  assert.deepEqual(problems, []);
  await context.close();
}

async function survivesBadLinks({ page }) {
  const broken = { query: 'query Broken { viewer { email } }', variables: '{"first": ' };
  await visit(page, broken);
  await isOpen(page, broken);
  await execute(page);
  await responseWith(page, 'Variables are invalid JSON');
  await type(page, '.graphiql-editor-tool', '{}');
  await execute(page);
  await responseWith(page, `"email": "${email}"`);
  await visit(page, { query: 'query Unfinished {', operationName: 'Unknown' });
  await isOpen(page, { query: 'query Unfinished {', variables: '' });

  // The variables were edited in one tab, the query in another: no tab mixes them.
  const before = await tabTitles(page);
  await visit(page, {});
  await isOpen(page, { query: 'query Unfinished {', variables: '' });
  assert.deepEqual(await tabTitles(page), before);
  // No server gives a page under so long an address.
  const isPage = (url) => url.pathname === '/graphiql';
  await page.route(isPage, async (route) => route.fulfill({ response: await route.fetch({ url: `${base}/graphiql` }) }));
  await visit(page, { query: TOO_LONG });
  await page.getByRole('status').filter({ hasText: 'The link was not opened.' }).waitFor();
  await page.unroute(isPage);
  await page.locator('.graphiql-query-editor .view-line').first().waitFor();
  assert.deepEqual(await tabTitles(page), before);
  await shoot(page, 'link-too-long');
  // Chromium lets a page that a test supplied open no WebSocket to the loopback.
  await visit(page, {});
  await page.locator('.graphiql-query-editor .view-line').first().waitFor();
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
  await page.getByText('Not signed in', { exact: true }).waitFor();
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
  await page.getByRole('status').filter({ hasText: 'Could not sign in with the token in the link.' }).waitFor();
  assert.equal(page.url(), `${base}/graphiql`);
  await shoot(page, 'refused-token');
}

async function takesATokenBesideALink({ page, token }) {
  const link = linkTo(new URL(`${base}/graphiql`), LINKED);
  await page.goto('about:blank');
  await page.goto(`${link}#token=${token}`);
  await page.locator('.who').filter({ hasText: email }).waitFor();
  await isOpen(page, LINKED);
  assert.equal(page.url(), link, 'the address keeps the operation, not the token');
  assert.equal(await copyLink(page), link);
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
  await page.getByText('Not signed in', { exact: true }).waitFor();
}

/** Opens the page anew, with the given parameters in its address. */
async function visit(page, parameters) {
  await settle(page);
  await page.goto('about:blank');
  await page.goto(`${base}/graphiql?${new URLSearchParams(parameters)}`);
}

/** The active tab has these texts exactly, and is called by this operation where one is given. */
async function isOpen(page, { query, variables, operationName }) {
  await page.locator('.graphiql-query-editor .view-line').first().waitFor();
  if (operationName) await page.locator('.graphiql-tab-active').getByText(operationName, { exact: true }).waitFor();
  const texts = await textsOf(page);
  assert.deepEqual([texts['operation.graphql'], texts['variables.json']], [query, variables]);
}

/** The texts of GraphiQL's editors by the names that GraphiQL gives their models. */
async function textsOf(page) {
  return page.evaluate(() => {
    const models = globalThis.__MONACO.editor.getModels();
    return Object.fromEntries(models.map((model) => [model.uri.path.split('-').pop(), model.getValue()]));
  });
}

/** Waits until GraphiQL has stored every change; it waits half a second itself. */
async function settle(page) {
  await page.waitForTimeout(700);
}

async function tabTitles(page) {
  await settle(page);
  return page.locator('.graphiql-tab .graphiql-tab-button').allTextContents();
}

async function activeTab(page) {
  return page.locator('.graphiql-tab-active .graphiql-tab-button').textContent();
}

/** Presses Ctrl+Enter, and waits for the answer to the named operation. */
async function runsByKeyboard(page, operationName) {
  const answered = page.waitForResponse((response) => response.request().postDataJSON()?.operationName === operationName);
  await page.keyboard.press('Control+Enter');
  assert.equal((await answered).status(), 200);
  await responseWith(page, `"email": "${email}"`);
}

/** Clicks on the button; resolves to the text in the clipboard. */
async function copyLink(page) {
  await page.getByRole('button', { name: 'Copy link' }).click();
  await page.getByText('Copied', { exact: true }).waitFor();
  return page.evaluate(() => navigator.clipboard.readText());
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
