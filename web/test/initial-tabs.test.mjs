// The tabs that GraphiQL begins with.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initialTabs } from '../src/initial-tabs.js';

const EXAMPLES = [{ title: 'One', query: '{ one }', variables: '' }];
const LINK = { query: '{ link }', variables: '', operationName: null };
const STORED = JSON.stringify({ activeTabIndex: 1, tabs: [{ query: '{ a }', variables: null }, { query: '{ b }', variables: '{}' }] });

test('first visit shows the examples', () => {
  assert.deepEqual(initialTabs(null, null, EXAMPLES), { defaultTabs: EXAMPLES });
});

test('first visit by a link shows the link before the examples', () => {
  assert.deepEqual(initialTabs(LINK, null, EXAMPLES), {
    defaultTabs: [{ query: '{ link }', variables: '' }, ...EXAMPLES],
    initialQuery: '{ link }',
    initialVariables: '',
    initialHeaders: '',
  });
});

test('link is shown whatever tab was active', () => {
  assert.equal(initialTabs(LINK, STORED, EXAMPLES).initialQuery, '{ link }');
});

test('later visit shows the tab that was active last', () => {
  const texts = { initialQuery: '{ b }', initialVariables: '{}' };
  assert.deepEqual(initialTabs(null, STORED, EXAMPLES), { defaultTabs: EXAMPLES, ...texts });
  const empty = JSON.stringify({ activeTabIndex: 0, tabs: [{ query: null, variables: null }] });
  assert.equal(initialTabs(null, empty, EXAMPLES).initialQuery, '');
});

test('unusable stored tabs do not throw', () => {
  for (const stored of ['', '{', 'null', '[]', '{"tabs": 1}', '{"tabs": [], "activeTabIndex": 3}']) {
    assert.deepEqual(initialTabs(null, stored, EXAMPLES), { defaultTabs: EXAMPLES }, stored);
  }
});
