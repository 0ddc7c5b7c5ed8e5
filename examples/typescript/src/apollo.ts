// The story with Apollo Client: files go up in multipart requests, subscriptions run over WebSocket.
import { ApolloClient, ApolloLink, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import UploadHttpLink from 'apollo-upload-client/UploadHttpLink.mjs';
import { createClient } from 'graphql-ws';
import { concatMap, lastValueFrom } from 'rxjs';
import WebSocket from 'ws';
import { type Api, authorization, urls } from './api.js';
import { tellTheStory } from './story.js';

const headers = await authorization();
// Without the second header the server takes no files: it shows that no other web site made a browser send them.
const http = new UploadHttpLink({ uri: urls.http, headers: { ...headers, 'Apollo-Require-Preflight': 'true' } });
const socket = createClient({ url: urls.socket, connectionParams: headers, webSocketImpl: WebSocket });
const link = ApolloLink.split(({ operationType }) => operationType === 'subscription', new GraphQLWsLink(socket), http);
const client = new ApolloClient({ link, cache: new InMemoryCache() });

const api: Api = {
  async send(mutation, variables) {
    const { data } = await client.mutate({ mutation, variables });
    return data!;
  },

  async follow(query, variables, next) {
    const updates = client.subscribe({ query, variables });
    await lastValueFrom(updates.pipe(concatMap(({ data, error }) => (error ? Promise.reject(error) : next(data!)))));
  },
};

await tellTheStory(api);
await socket.dispose();
