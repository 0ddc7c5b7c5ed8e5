// Keeps the operation that a tab runs. GraphiQL by itself goes back to the first operation of the document at each edit.
import { useEffect, useRef } from 'react';
import { pick, useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { findOperation } from './link.js';

/**
 * Selects the operation that the link names, and keeps it, or the one that the person ran last, for as long as the
 * document has it. Draws nothing. Stands inside GraphiQL.
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
    // Once, when GraphiQL has made its editor: the link's tab is then the active one.
  }, [queryEditor]);

  useEffect(() => {
    if (queryId !== lastQueryId.current) {
      // GraphiQL counts its runs. A choice from the menu of the run button comes together with a run; an edit does not.
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
