// Who is signed in: one token with what is known about it, kept in memory and in sessionStorage
// (this browser tab only; never in localStorage, a cookie or a URL). The page reads it by `useSession`.
import { useSyncExternalStore } from 'react';
import { post } from './api.js';

/**
 * @typedef {object} Session
 * @property {string | null} token JWT or API key; null when signed out
 * @property {{email: string, name: string} | null} user null until the server has said who it is
 * @property {string | null} expiresAt RFC 3339; null where the token does not say (API keys)
 * @property {string | null} notice why the last session ended, for the person to read
 */

const STORAGE_KEY = 'docket.session';
const SIGNED_OUT = { token: null, user: null, expiresAt: null, notice: null };
/** Longest delay that setTimeout takes, in milliseconds; longer sessions check again then. */
const LONGEST_TIMEOUT = 2 ** 31 - 1;

const EXPIRED = 'Your session has expired. Sign in again to go on.';
const REFUSED = 'The server does not accept this token: it is expired, revoked or not one of this server.';

const PAYLOAD = '{ accessToken expiresAt user { email name } }';
const SIGN_IN = `mutation SignIn($input: SignInInput!) { result: signIn(input: $input) ${PAYLOAD} }`;
const SIGN_UP = `mutation SignUp($input: SignUpInput!) { result: signUp(input: $input) ${PAYLOAD} }`;
const VIEWER = 'query Viewer { viewer { email name } }';

/** @type {Session} */
let session = restore();
let expiryTimer;
const listeners = new Set();

/** The session as it is now; a new object whenever it changes. */
export const current = () => session;

/** Calls `listener` after every change; returns how to stop that. */
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** React hook: the session, re-rendering when it changes. */
export const useSession = () => useSyncExternalStore(onChange, current);

/** `Authorization` as a header or as a `connection_init` payload; empty when signed out. */
export const credentials = (token = session.token) => (token ? { Authorization: `Bearer ${token}` } : {});

/** Signs in with e-mail and password. Rejects with the server's reason. */
export const signIn = (input) => open(SIGN_IN, input);

/** Creates an account and signs in to it. Rejects with the server's reason, for example that sign-up is closed. */
export const signUp = (input) => open(SIGN_UP, input);

/** Forgets the token. `notice` says why where the person did not ask for it. */
export const signOut = (notice = null) => change({ ...SIGNED_OUT, notice });

/** Uses a JWT or API key that the person brought along; rejects and changes nothing where the server refuses it. */
export async function adoptToken(token) {
  const user = await whoIs(token);
  if (!user) throw new Error(REFUSED);
  change({ token, user, expiresAt: expiryOf(token), notice: null });
}

/** Asks the server whether it still takes the token, and ends the session where it does not. */
export async function check() {
  const { token } = session;
  if (!token) return;
  const user = await whoIs(token);
  if (token === session.token && !user) signOut(EXPIRED);
}

/** Takes `#token=…` out of the address bar (and out of the history entry) and signs in with it. */
export async function takeTokenFromAddress() {
  const token = new URLSearchParams(window.location.hash.slice(1)).get('token');
  if (!token) return;
  window.history.replaceState(null, '', window.location.pathname + window.location.search);
  try {
    await adoptToken(token);
  } catch (problem) {
    signOut(`The token in the link was not used. ${problem.message}`);
  }
}

async function open(query, input) {
  const { data, errors } = await post({ query, variables: { input } });
  if (errors?.length) throw new Error(describe(errors));
  const { accessToken, expiresAt, user } = data.result;
  change({ token: accessToken, user, expiresAt, notice: null });
}

/** The user behind a token; null where the server refuses it. */
async function whoIs(token) {
  const { data, errors } = await post({ query: VIEWER }, credentials(token));
  if (data?.viewer) return data.viewer;
  if (errors?.length && !isRefusal(errors)) throw new Error(describe(errors));
  return null;
}

/** Whether an answer says that the credentials do not hold. */
export const isRefusal = (errors) => errors?.some((error) => error.extensions?.code === 'UNAUTHENTICATED') ?? false;

/** All messages, and for bad input every problem with its path. */
function describe(errors) {
  return errors
    .flatMap(({ message, extensions }) => [
      message,
      ...(extensions?.problems ?? []).map((problem) => `${problem.path}: ${problem.message}`),
    ])
    .join('\n');
}

function change(next) {
  session = next;
  if (session.token) {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(session));
  } else {
    sessionStorage.removeItem(STORAGE_KEY);
  }
  watchExpiry();
  listeners.forEach((listener) => listener());
}

function restore() {
  const stored = sessionStorage.getItem(STORAGE_KEY);
  return stored ? { ...SIGNED_OUT, ...JSON.parse(stored) } : SIGNED_OUT;
}

function watchExpiry() {
  clearTimeout(expiryTimer);
  if (!session.expiresAt) return;
  const left = Date.parse(session.expiresAt) - Date.now();
  if (left <= 0) {
    signOut(EXPIRED);
  } else {
    expiryTimer = setTimeout(watchExpiry, Math.min(left, LONGEST_TIMEOUT));
  }
}

/** `exp` of a JWT (RFC 7519, section 4.1.4), read without verifying: only to tell the person in time. */
function expiryOf(token) {
  const parts = token.split('.');
  if (parts.length !== 3) return null;
  try {
    const { exp } = JSON.parse(atob(parts[1].replaceAll('-', '+').replaceAll('_', '/')));
    return typeof exp === 'number' ? new Date(exp * 1000).toISOString() : null;
  } catch {
    // Not a JWT after all. The server is the judge of that, not this page.
    return null;
  }
}

// Last, when everything above is there: a session that ran out while the tab was away ends here.
watchExpiry();
