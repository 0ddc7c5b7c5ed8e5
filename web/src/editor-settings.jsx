// Extends GraphiQL: wraps long lines, makes the theme follow the system, and scrolls the active tab into view.
import { useEffect } from 'react';
import { pick, useGraphiQL, useGraphiQLActions } from '@graphiql/react';

/** Renders nothing. Must be a child of GraphiQL. */
export function EditorSettings() {
  const { queryEditor, variableEditor, theme, tabs, activeTabIndex } = useGraphiQL(
    pick('queryEditor', 'variableEditor', 'theme', 'tabs', 'activeTabIndex'),
  );
  const { setTheme } = useGraphiQLActions();
  const activeTitle = tabs[activeTabIndex]?.title;

  useEffect(() => {
    // The comments of the examples have long lines.
    // By default, Monaco asks in a dialog whether to remove U+2028 and U+2029. Both are valid in GraphQL and in JSON.
    for (const editor of [queryEditor, variableEditor]) editor?.updateOptions({ wordWrap: 'on', unusualLineTerminators: 'off' });
  }, [queryEditor, variableEditor]);

  useEffect(() => {
    // `null` means the theme of the system, which the editors read only when the theme is set.
    if (theme !== null) return undefined;
    const dark = window.matchMedia('(prefers-color-scheme: dark)');
    const updateTheme = () => setTheme(null);
    dark.addEventListener('change', updateTheme);
    return () => dark.removeEventListener('change', updateTheme);
  }, [theme, setTheme]);

  useEffect(() => {
    // A new tab comes last, often beyond the edge of the tab bar.
    document.querySelector('.graphiql-tab-active')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [tabs.length, activeTabIndex, activeTitle]);

  return null;
}
