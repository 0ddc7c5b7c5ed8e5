// Talks to the Docket server that served this page: GraphQL over HTTP for queries and mutations,
// the graphql-transport-ws protocol for subscriptions. Knows nothing of sessions or of the page.
import { createClient } from 'graphql-ws';

const HTTP_PATH = '/graphql';
const WS_PATH = '/graphql/ws';

/**
 * Sends one operation and resolves to its GraphQL result, whatever the status code:
 * refusals come as `errors` in the body. Rejects where there is no GraphQL answer at all.
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
    throw new Error(`POST ${HTTP_PATH} was answered with ${response.status} and ${type}, not with JSON`);
  }
  return response.json();
}

/**
 * Runs a subscription on a WebSocket of its own, so that it carries the credentials of the moment.
 * There is no silent reconnect: a tool for developers shows what the server did.
 * @param {{query: string, variables?: object, operationName?: string}} operation
 * @param {Record<string, string>} connectionInit payload of `connection_init`
 * @param {{next: (result: object) => void, error: (problem: Error) => void, complete: () => void}} observer
 *   gets GraphQL results, then one of the other two
 * @returns {() => void} ends the subscription at once, which completes it, and closes the socket
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
        // An `error` message of the protocol: the GraphQL errors that refused the operation.
        observer.next({ errors: problem });
        observer.complete();
      } else {
        observer.error(problem instanceof CloseEvent ? new SocketClosed(problem) : problem);
      }
    },
  });
}

/** The server, or the network, ended the WebSocket. */
export class SocketClosed extends Error {
  constructor({ code, reason }) {
    super(`The WebSocket ${WS_PATH} was closed: ${code}${reason && ` ${reason}`}`);
    this.code = code;
  }
}
