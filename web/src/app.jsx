// The page: the account bar, and GraphiQL below it.
import { useMemo } from 'react';
import { getOperationAST, parse } from 'graphql';
import { GraphiQL } from 'graphiql';
import { post, SocketClosed, subscribe } from './api.js';
import { AccountBar } from './account-bar.jsx';
import { CopyLink } from './copy-link.jsx';
import { EditorSettings } from './editor-settings.jsx';
import { EXAMPLES, ExamplesMenu } from './examples.jsx';
import { initialTabs, TABS_KEY } from './initial-tabs.js';
import { OperationChoice } from './operation-choice.jsx';
import { check, credentials, current, isRefusal, onChange, useSession } from './session.js';

/** Close codes of graphql-transport-ws that concern credentials: Unauthorized and Forbidden. */
const CREDENTIAL_CLOSE_CODES = [4401, 4403];

/** The page. `link` is the operation in the URL, `linkProblem` the reason why it was not opened; either may be null. */
export function App({ link, linkProblem }) {
  const { token } = useSession();
  // GraphiQL reloads the schema when its fetcher changes, which happens for each new token.
  const fetcher = useMemo(() => fetcherFor(token), [token]);
  const tabs = useMemo(() => initialTabs(link, localStorage.getItem(TABS_KEY), EXAMPLES), [link]);
  return (
    <>
      <AccountBar linkProblem={linkProblem} />
      <main>
        <GraphiQL
          fetcher={fetcher}
          {...tabs}
          defaultEditorToolsVisibility
          inputValueDeprecation
          schemaDescription
        >
          <GraphiQL.Toolbar>
            {({ prettify, copy, merge }) => (
              <>
                {prettify}
                {merge}
                {copy}
                <CopyLink />
                <ExamplesMenu />
                <EditorSettings />
                <OperationChoice link={link} />
              </>
            )}
          </GraphiQL.Toolbar>
        </GraphiQL>
      </main>
    </>
  );
}

/**
 * Returns a `fetcher` for GraphiQL: it takes an operation and returns a promise of the result, or an observable for a
 * subscription. Headers in the headers pane override the credentials of the session.
 */
function fetcherFor(token) {
  return (request, { headers } = {}) => {
    const requestHeaders = { ...credentials(token), ...headers };
    const chosen = operationOf(request);
    const operation = { ...request, operationName: chosen?.name?.value ?? request.operationName };
    return chosen?.operation === 'subscription' ? subscribeInSession(operation, requestHeaders, token) : send(operation, requestHeaders);
  };
}

/**
 * Returns the operation that a request selects. After a change of tabs, GraphiQL may still send the operation name of the
 * previous tab, so the only operation of a document is selected whatever the name. Returns undefined if the text does not
 * parse or the choice is ambiguous; the server then returns a better error.
 */
function operationOf({ query, operationName }) {
  try {
    const document = parse(query);
    return getOperationAST(document, operationName) ?? getOperationAST(document) ?? undefined;
  } catch {
    return undefined;
  }
}

async function send(operation, headers) {
  try {
    const result = await post(operation, headers);
    checkSession(isRefusal(result.errors));
    return result;
  } catch (problem) {
    return failure(problem);
  }
}

/** Returns an observable that ends when the session changes. */
function subscribeInSession(operation, headers, token) {
  return {
    subscribe(observer) {
      const stop = subscribe(operation, headers, {
        next(result) {
          checkSession(isRefusal(result.errors));
          observer.next(result);
        },
        error(problem) {
          stopListening();
          checkSession(problem instanceof SocketClosed && CREDENTIAL_CLOSE_CODES.includes(problem.code));
          observer.next(failure(problem));
          observer.complete();
        },
        complete() {
          stopListening();
          observer.complete();
        },
      });
      const stopListening = onChange(() => current().token !== token && stop());
      return { unsubscribe: stop };
    },
  };
}

/** Returns a GraphQL error response, because GraphiQL would show an Error with its stack trace. */
const failure = ({ message }) => ({ errors: [{ message }] });

/**
 * Checks the session after an UNAUTHENTICATED error, which may concern the session or only the operation, such as a wrong
 * password in `signIn`. If the check fails, the session stays unchanged and the user sees the original error.
 */
function checkSession(refused) {
  if (refused) check().catch((problem) => console.warn('Could not check the session:', problem));
}
