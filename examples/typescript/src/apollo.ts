// Runs the workflow with Apollo Client: uploads in multipart requests, subscriptions over WebSocket.
import { ApolloClient, ApolloLink, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import UploadHttpLink from 'apollo-upload-client/UploadHttpLink.mjs';
import { createClient } from 'graphql-ws';
import { concatMap, lastValueFrom } from 'rxjs';
import WebSocket from 'ws';
import { type Api, authorization, urls } from './api.js';
import { runWorkflow } from './workflow.js';

const headers = await authorization();
// The server accepts files only with the second header, which prevents cross-site requests from a browser.
const http = new UploadHttpLink({ uri: urls.http, headers: { ...headers, 'Apollo-Require-Preflight': 'true' } });
const socket = createClient({ url: urls.socket, connectionParams: headers, webSocketImpl: WebSocket });
const link = ApolloLink.split(({ operationType }) => operationType === 'subscription', new GraphQLWsLink(socket), http);
const client = new ApolloClient({ link, cache: new InMemoryCache() });

const api: Api = {
  async send(mutation, variables) {
    const { data } = await client.mutate({ mutation, variables });
    return data!;
  },

  async subscribe(query, variables, next) {
    const updates = client.subscribe({ query, variables });
    await lastValueFrom(updates.pipe(concatMap(({ data, error }) => (error ? Promise.reject(error) : next(data!)))));
  },
};

await runWorkflow(api);
await socket.dispose();
