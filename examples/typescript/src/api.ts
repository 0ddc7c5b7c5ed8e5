import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { print } from 'graphql';
import { SignUp } from './documents.js';
import type { SignUpMutation } from './gql/graphql.js';

const base = process.env['DOCKET_URL'] ?? 'http://127.0.0.1:8080';

export const urls = {
  http: `${base}/graphql`,
  socket: `${base.replace(/^http/, 'ws')}/graphql/ws`,
};

/** The client interface of the workflow, which `apollo.ts` and `urql.ts` implement. The documents carry the types. */
export interface Api {
  /** Sends a mutation; rejects if the server refuses it. */
  send<Data, Variables extends Record<string, unknown>>(mutation: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Data>;

  /** Subscribes and passes each result to `next`, one at a time; resolves when the server completes the subscription. */
  subscribe<Data, Variables extends Record<string, unknown>>(
    subscription: TypedDocumentNode<Data, Variables>,
    variables: Variables,
    next: (data: Data) => Promise<void>,
  ): Promise<void>;
}

/** Returns the Authorization header with the API key in DOCKET_TOKEN, or with the token of a new account. */
export async function authorization(): Promise<{ Authorization: string }> {
  return { Authorization: `Bearer ${process.env['DOCKET_TOKEN'] ?? (await signUp())}` };
}

async function signUp(): Promise<string> {
  const input = { email: `ada-${Date.now()}@example.com`, name: 'Ada', password: 'correct horse battery' };
  const response = await fetch(urls.http, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ query: print(SignUp), variables: { input } }),
  });
  const { data, errors } = (await response.json()) as { data?: SignUpMutation; errors?: { message: string }[] };
  if (!data) throw new Error(errors?.[0]?.message ?? `HTTP ${response.status}`);
  return data.signUp.accessToken;
}
