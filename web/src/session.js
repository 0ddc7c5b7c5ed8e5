// The session: a token with its user and expiry, stored in memory and in sessionStorage
// (this browser tab only; never in localStorage, a cookie or a URL). The page reads it with `useSession`.
import { useSyncExternalStore } from 'react';
import { post } from './api.js';

/**
 * @typedef {object} Session
 * @property {string | null} token JWT or API key; null when signed out
 * @property {{email: string, name: string} | null} user null until the server has returned it
 * @property {string | null} expiresAt RFC 3339; null if the token has no expiry (API keys)
 * @property {string | null} notice reason for the end of the last session, shown to the user
 */

const STORAGE_KEY = 'docket.session';
const SIGNED_OUT = { token: null, user: null, expiresAt: null, notice: null };
/** Maximum delay of setTimeout, in milliseconds. Longer sessions set the timer again. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

const EXPIRED = 'Your session has expired. Sign in again to continue.';
const REFUSED = 'The server does not accept this token. It is expired, revoked, or from another server.';

const PAYLOAD = '{ accessToken expiresAt user { email name } }';
const SIGN_IN = `mutation SignIn($input: SignInInput!) { result: signIn(input: $input) ${PAYLOAD} }`;
const SIGN_UP = `mutation SignUp($input: SignUpInput!) { result: signUp(input: $input) ${PAYLOAD} }`;
const VIEWER = 'query Viewer { viewer { email name } }';

/** @type {Session} */
let session = restore();
let expiryTimer;
const listeners = new Set();

/** Returns the current session, which is a new object after every change. */
export const current = () => session;

/** Calls `listener` after every change; returns a function that removes the listener. */
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** React hook that returns the session and re-renders when it changes. */
export const useSession = () => useSyncExternalStore(onChange, current);

/** Returns `Authorization` for headers or a `connection_init` payload; an empty object when signed out. */
export const credentials = (token = session.token) => (token ? { Authorization: `Bearer ${token}` } : {});

/** Signs in with e-mail and password. Rejects with the error of the server. */
export const signIn = (input) => open(SIGN_IN, input);

/** Creates an account and signs in to it. Rejects with the error of the server, for example if sign-up is closed. */
export const signUp = (input) => open(SIGN_UP, input);

/** Deletes the token. `notice` is the reason if the user did not request it. */
export const signOut = (notice = null) => change({ ...SIGNED_OUT, notice });

/** Signs in with an existing JWT or API key. Rejects and changes nothing if the server refuses it. */
export async function adoptToken(token) {
  const user = await fetchUser(token);
  if (!user) throw new Error(REFUSED);
  change({ token, user, expiresAt: expiryOf(token), notice: null });
}

/** Checks the token with the server, and ends the session if the server refuses it. */
export async function check() {
  const { token } = session;
  if (!token) return;
  const user = await fetchUser(token);
  if (token === session.token && !user) signOut(EXPIRED);
}

/** Removes `#token=…` from the URL and the history entry, and signs in with the token. */
export async function takeTokenFromAddress() {
  const token = new URLSearchParams(window.location.hash.slice(1)).get('token');
  if (!token) return;
  window.history.replaceState(null, '', window.location.pathname + window.location.search);
  try {
    await adoptToken(token);
  } catch (problem) {
    signOut(`Could not sign in with the token in the link. ${problem.message}`);
  }
}

async function open(query, input) {
  const { data, errors } = await post({ query, variables: { input } });
  if (errors?.length) throw new Error(describe(errors));
  const { accessToken, expiresAt, user } = data.result;
  change({ token: accessToken, user, expiresAt, notice: null });
}

/** Returns the user of a token; null if the server refuses it. */
async function fetchUser(token) {
  const { data, errors } = await post({ query: VIEWER }, credentials(token));
  if (data?.viewer) return data.viewer;
  if (errors?.length && !isRefusal(errors)) throw new Error(describe(errors));
  return null;
}

/** Returns whether errors mean that the credentials are invalid. */
export const isRefusal = (errors) => errors?.some((error) => error.extensions?.code === 'UNAUTHENTICATED') ?? false;

/** Returns all messages, with every problem of bad input and its path. */
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
    expiryTimer = setTimeout(watchExpiry, Math.min(left, MAX_TIMEOUT_MS));
  }
}

/** Returns the `exp` of a JWT (RFC 7519, section 4.1.4) without verifying it, only to inform the user in time. */
function expiryOf(token) {
  const parts = token.split('.');
  if (parts.length !== 3) return null;
  try {
    const { exp } = JSON.parse(atob(parts[1].replaceAll('-', '+').replaceAll('_', '/')));
    return typeof exp === 'number' ? new Date(exp * 1000).toISOString() : null;
  } catch {
    // Not a JWT. The server decides whether the token is valid.
    return null;
  }
}

// Runs after all definitions. Ends a restored session that has expired.
watchExpiry();
