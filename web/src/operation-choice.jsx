// Keeps the selected operation of a tab. Without this, GraphiQL selects the first operation at each edit.
import { useEffect, useRef } from 'react';
import { pick, useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { findOperation } from './link.js';

/**
 * Selects the operation that the link names. Keeps it, or the operation that the user ran last, while the document contains
 * it. Renders nothing. Must be a child of GraphiQL.
 */
export function OperationChoice({ link }) {
  const { queryEditor, operations, operationName, queryId, tabs, activeTabIndex } = useGraphiQL(
    pick('queryEditor', 'operations', 'operationName', 'queryId', 'tabs', 'activeTabIndex'),
  );
  const { setOperationName } = useGraphiQLActions();
  const tabId = tabs[activeTabIndex]?.id;
  const choices = useRef(new Map());
  const lastQueryId = useRef(queryId);

  useEffect(() => {
    const operation = queryEditor && findOperation(queryEditor.getValue(), link?.operationName);
    if (!operation) return;
    choices.current.set(tabId, link.operationName);
    setOperationName(link.operationName);
    // Ctrl+Enter in the query editor runs the operation at the cursor.
    const position = queryEditor.getModel().getPositionAt(operation.loc.start);
    queryEditor.setPosition(position);
    queryEditor.revealPositionInCenterIfOutsideViewport(position);
    // Runs once, when GraphiQL has created its editor. The tab of the link is then active.
  }, [queryEditor]);

  useEffect(() => {
    if (queryId !== lastQueryId.current) {
      // `queryId` counts the runs. Choosing an operation from the run button also runs it; an edit does not.
      lastQueryId.current = queryId;
      choices.current.set(tabId, operationName);
      return;
    }
    const choice = choices.current.get(tabId);
    const exists = choice && operations?.some(({ name }) => name?.value === choice);
    if (exists && choice !== operationName) setOperationName(choice);
  }, [operations, operationName, queryId, tabId]);

  return null;
}
