// The initial tabs of GraphiQL: stored tabs, examples on a first visit, and the operation of a link.

/** The `localStorage` key under which GraphiQL stores its tabs. */
export const TABS_KEY = 'graphiql:tabState';

/**
 * Returns the GraphiQL properties for its tabs. If tabs are stored, GraphiQL activates the one with the given texts, or
 * adds it. On a first visit it shows the first of `defaultTabs`. It does not run an operation.
 * @param {import('./link.js').Link | null} link operation in the URL of the page
 * @param {string | null} stored value of `TABS_KEY`
 * @param {{query: string, variables: string}[]} examples
 */
export function initialTabs(link, stored, examples) {
  if (link) {
    // Headers that GraphiQL stored belong to another tab.
    return { defaultTabs: [tabOf(link), ...examples], ...textsOf(link), initialHeaders: '' };
  }
  const tab = activeTab(stored);
  return { defaultTabs: examples, ...(tab && textsOf(tab)) };
}

const tabOf = ({ query, variables }) => ({ query, variables });

/**
 * Sets every text, even if it is empty. For a missing text, GraphiQL uses the text edited last in any tab. It would then
 * add a tab that mixes the texts of two tabs.
 */
const textsOf = ({ query, variables }) => ({ initialQuery: query ?? '', initialVariables: variables ?? '' });

/** Returns the tab that was active last; undefined if nothing usable is stored. */
function activeTab(stored) {
  try {
    const { tabs, activeTabIndex } = JSON.parse(stored);
    return tabs[activeTabIndex];
  } catch {
    return undefined;
  }
}
