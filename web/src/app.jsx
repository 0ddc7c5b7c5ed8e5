// The page: a bar that says who is signed in, and GraphiQL below it.
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

/** The page. `link` is the operation that its address carries, `linkProblem` why that one was not opened; either may be null. */
export function App({ link, linkProblem }) {
  const { token } = useSession();
  // GraphiQL loads the schema again whenever its fetcher is another one: here, for each new token.
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
 * GraphiQL's `fetcher`: one operation in, a promise of its result out, or an observable for a subscription.
 * What stands in the editor's headers pane wins over the session's credentials.
 */
function fetcherFor(token) {
  return (request, { headers } = {}) => {
    const all = { ...credentials(token), ...headers };
    const chosen = operationOf(request);
    const operation = { ...request, operationName: chosen?.name?.value ?? request.operationName };
    return chosen?.operation === 'subscription' ? follow(operation, all, token) : send(operation, all);
  };
}

/**
 * The operation that a request means. Just after a change of tabs GraphiQL still names the operation of the tab
 * before, and hands over its syntax tree; what is alone in its document is meant whatever the name.
 * Undefined where the text does not parse or leaves the choice open: the server has better words for that.
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

/** A subscription ends with the session that it began in. */
function follow(operation, headers, token) {
  return {
    subscribe(observer) {
      const stop = subscribe(operation, headers, {
        next(result) {
          checkSession(isRefusal(result.errors));
          observer.next(result);
        },
        error(problem) {
          forget();
          checkSession(problem instanceof SocketClosed && CREDENTIAL_CLOSE_CODES.includes(problem.code));
          observer.next(failure(problem));
          observer.complete();
        },
        complete() {
          forget();
          observer.complete();
        },
      });
      const forget = onChange(() => current().token !== token && stop());
      return { unsubscribe: stop };
    },
  };
}

/** In the form of a GraphQL answer, since GraphiQL would show an Error with its stack. */
const failure = ({ message }) => ({ errors: [{ message }] });

/**
 * UNAUTHENTICATED may concern the operation (a wrong password in `signIn`) or the session; the server knows which.
 * Where even that question fails, the person sees the refusal that led to it, and the session stays as it is.
 */
function checkSession(refused) {
  if (refused) check().catch((problem) => console.warn('Could not check the session:', problem));
}
