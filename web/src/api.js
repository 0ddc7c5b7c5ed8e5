// Client of the Docket server that served this page: GraphQL over HTTP for queries and mutations,
// graphql-transport-ws for subscriptions. Independent of sessions and of the page.
import { createClient } from 'graphql-ws';

const HTTP_PATH = '/graphql';
const WS_PATH = '/graphql/ws';

/**
 * Sends an operation and resolves to its GraphQL result for any status code, because the body contains the errors.
 * Rejects if the response is not a GraphQL response.
 * @param {{query: string, variables?: object, operationName?: string}} operation
 * @param {HeadersInit} [extraHeaders]
 */
export async function post(operation, extraHeaders) {
  const headers = new Headers(extraHeaders);
  headers.set('Content-Type', 'application/json');
  headers.set('Accept', 'application/graphql-response+json, application/json');
  const response = await fetch(HTTP_PATH, { method: 'POST', headers, body: JSON.stringify(operation) });
  const type = response.headers.get('Content-Type') ?? 'no content type';
  if (!/^application\/(graphql-response\+)?json\b/.test(type)) {
    throw new Error(`Expected JSON from POST ${HTTP_PATH}, got status ${response.status} with ${type}`);
  }
  return response.json();
}

/**
 * Runs a subscription on its own WebSocket, so that it uses the current credentials.
 * Does not reconnect silently, because developers should see what the server does.
 * @param {{query: string, variables?: object, operationName?: string}} operation
 * @param {Record<string, string>} connectionInit payload of `connection_init`
 * @param {{next: (result: object) => void, error: (problem: Error) => void, complete: () => void}} observer
 *   receives GraphQL results, then `error` or `complete`
 * @returns {() => void} completes the subscription and closes the WebSocket
 */
export function subscribe(operation, connectionInit, observer) {
  const url = new URL(WS_PATH, window.location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const client = createClient({ url: url.href, connectionParams: connectionInit, retryAttempts: 0 });
  return client.subscribe(operation, {
    next: observer.next,
    complete: observer.complete,
    error(problem) {
      if (Array.isArray(problem)) {
        // An `error` message of the protocol contains the GraphQL errors of a refused operation.
        observer.next({ errors: problem });
        observer.complete();
      } else {
        observer.error(problem instanceof CloseEvent ? new SocketClosed(problem) : problem);
      }
    },
  });
}

/** The server or the network closed the WebSocket. */
export class SocketClosed extends Error {
  constructor({ code, reason }) {
    super(`The WebSocket ${WS_PATH} was closed: ${code}${reason && ` ${reason}`}`);
    this.code = code;
  }
}
