// Runs the workflow with urql: uploads in multipart requests, subscriptions over WebSocket.
import { cacheExchange, createClient as createUrql, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient as createSocket } from 'graphql-ws';
import { concatMap, filter, fromPromise, pipe, toPromise } from 'wonka';
import WebSocket from 'ws';
import { type Api, authorization, urls } from './api.js';
import { runWorkflow } from './workflow.js';

const headers = await authorization();
const socket = createSocket({ url: urls.socket, connectionParams: headers, webSocketImpl: WebSocket });
const overSocket = subscriptionExchange({
  forwardSubscription: ({ query = '', variables }) => ({
    subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
  }),
});
const client = createUrql({
  url: urls.http,
  // The server accepts files only with the second header, which prevents cross-site requests from a browser.
  fetchOptions: { headers: { ...headers, 'GraphQL-Require-Preflight': '1' } },
  exchanges: [cacheExchange, fetchExchange, overSocket],
});

const api: Api = {
  async send(mutation, variables) {
    const { data, error } = await client.mutation(mutation, variables);
    if (error) throw error;
    return data!;
  },

  async subscribe(subscription, variables, next) {
    await pipe(
      client.subscription(subscription, variables),
      // At the end, urql repeats the last result.
      filter(({ hasNext, error }) => hasNext || error !== undefined),
      concatMap(({ data, error }) => fromPromise(error ? Promise.reject(error) : next(data!))),
      toPromise,
    );
  },
};

await runWorkflow(api);
await socket.dispose();
