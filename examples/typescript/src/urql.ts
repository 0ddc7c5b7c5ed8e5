// The story with urql: files go up in multipart requests, subscriptions run over WebSocket.
import { cacheExchange, createClient as createUrql, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient as createSocket } from 'graphql-ws';
import { concatMap, filter, fromPromise, pipe, toPromise } from 'wonka';
import WebSocket from 'ws';
import { type Api, authorization, urls } from './api.js';
import { tellTheStory } from './story.js';

const headers = await authorization();
const socket = createSocket({ url: urls.socket, connectionParams: headers, webSocketImpl: WebSocket });
const overSocket = subscriptionExchange({
  forwardSubscription: ({ query = '', variables }) => ({
    subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
  }),
});
const client = createUrql({
  url: urls.http,
  // Without the second header the server takes no files: it shows that no other web site made a browser send them.
  fetchOptions: { headers: { ...headers, 'GraphQL-Require-Preflight': '1' } },
  exchanges: [cacheExchange, fetchExchange, overSocket],
});

const api: Api = {
  async send(mutation, variables) {
    const { data, error } = await client.mutation(mutation, variables);
    if (error) throw error;
    return data!;
  },

  async follow(subscription, variables, next) {
    await pipe(
      client.subscription(subscription, variables),
      // At the end urql gives the last result once more.
      filter(({ hasNext, error }) => hasNext || error !== undefined),
      concatMap(({ data, error }) => fromPromise(error ? Promise.reject(error) : next(data!))),
      toPromise,
    );
  },
};

await tellTheStory(api);
await socket.dispose();
