// The tabs that GraphiQL begins with: stored ones, examples on a first visit, and the operation of a link.

/** Where GraphiQL stores its tabs, in `localStorage`. */
export const TABS_KEY = 'graphiql:tabState';

/**
 * Returns GraphiQL's properties for its tabs. When tabs are stored, GraphiQL activates the one with the given texts, or
 * adds it; on a first visit it shows the first of `defaultTabs`. It runs nothing by itself.
 * @param {import('./link.js').Link | null} link operation in the page's address
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
 * Every text is given, even when it is empty. For a missing one, GraphiQL takes the text that the person edited last, in
 * whatever tab. When those of two tabs meet, it adds a tab that nobody wrote.
 */
const textsOf = ({ query, variables }) => ({ initialQuery: query ?? '', initialVariables: variables ?? '' });

/** Returns the tab that was active last; undefined when nothing usable is stored. */
function activeTab(stored) {
  try {
    const { tabs, activeTabIndex } = JSON.parse(stored);
    return tabs[activeTabIndex];
  } catch {
    return undefined;
  }
}
