// Adds to GraphiQL: long lines wrap, the theme follows the system, and the active tab scrolls into view.
import { useEffect } from 'react';
import { pick, useGraphiQL, useGraphiQLActions } from '@graphiql/react';

/** Draws nothing. Stands inside GraphiQL. */
export function EditorSettings() {
  const { queryEditor, variableEditor, theme, tabs, activeTabIndex } = useGraphiQL(
    pick('queryEditor', 'variableEditor', 'theme', 'tabs', 'activeTabIndex'),
  );
  const { setTheme } = useGraphiQLActions();
  const activeTitle = tabs[activeTabIndex]?.title;

  useEffect(() => {
    // The examples explain themselves in comments, which nobody reads by scrolling sideways.
    // By default, Monaco asks in a dialog whether to remove U+2028 and U+2029. Both are valid in GraphQL and in JSON.
    for (const editor of [queryEditor, variableEditor]) editor?.updateOptions({ wordWrap: 'on', unusualLineTerminators: 'off' });
  }, [queryEditor, variableEditor]);

  useEffect(() => {
    // null stands for the system's theme; the editors only look it up when it is set.
    if (theme !== null) return undefined;
    const dark = window.matchMedia('(prefers-color-scheme: dark)');
    const follow = () => setTheme(null);
    dark.addEventListener('change', follow);
    return () => dark.removeEventListener('change', follow);
  }, [theme, setTheme]);

  useEffect(() => {
    // A new tab comes last, often beyond the edge of the tab bar.
    document.querySelector('.graphiql-tab-active')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [tabs.length, activeTabIndex, activeTitle]);

  return null;
}
