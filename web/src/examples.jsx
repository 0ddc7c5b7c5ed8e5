// Example operations, one file each in examples/. They fill the tabs of a first visit, and a menu opens them again.
// A .jsonc file of the same name contains the variables.
import { pick, ToolbarButton, ToolbarMenu, useGraphiQL, useGraphiQLActions } from '@graphiql/react';

const queries = import.meta.glob('./examples/*.graphql', { query: '?raw', import: 'default', eager: true });
const variables = import.meta.glob('./examples/*.jsonc', { query: '?raw', import: 'default', eager: true });

/** The examples in reading order, which is the order of the file names. */
export const EXAMPLES = Object.keys(queries)
  .sort()
  .map((path) => ({
    title: titleOf(path),
    query: queries[path],
    variables: variables[path.replace('.graphql', '.jsonc')] ?? '',
  }));

/** Returns the title of an example, "Create a job" for `./examples/05-create-a-job.graphql`. */
function titleOf(path) {
  const words = path.replace(/^.*\/\d+-|\.graphql$/g, '').replaceAll('-', ' ');
  return words[0].toUpperCase() + words.slice(1);
}

/** Toolbar menu that opens an example in a new tab. Must be a child of GraphiQL. */
export function ExamplesMenu() {
  const { addTab } = useGraphiQLActions();
  const { queryEditor, variableEditor } = useGraphiQL(pick('queryEditor', 'variableEditor'));

  function open(example) {
    addTab();
    queryEditor.setValue(example.query);
    variableEditor.setValue(example.variables);
  }

  const button = (
    <ToolbarButton label="Open an example in a new tab">
      <ExamplesIcon />
    </ToolbarButton>
  );
  return (
    <ToolbarMenu button={button}>
      {EXAMPLES.map((example) => (
        <ToolbarMenu.Item key={example.title} onSelect={() => open(example)}>
          {example.title}
        </ToolbarMenu.Item>
      ))}
    </ToolbarMenu>
  );
}

/** Lines of a list, in the stroke of GraphiQL's own icons. */
function ExamplesIcon() {
  return (
    <svg className="graphiql-toolbar-icon" viewBox="0 0 16 16" height="1em" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" aria-hidden="true">
      <path d="M2.5 3.5h.01M2.5 8h.01M2.5 12.5h.01M6 3.5h8M6 8h8M6 12.5h8" />
    </svg>
  );
}
