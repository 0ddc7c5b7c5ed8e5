// Links to an operation: the URL of the page contains the texts of the editors in `?query=`, `?variables=` and
// `?operationName=`. The functions use only strings, so that the tests need no browser.
import { getOperationAST, parse } from 'graphql';

/**
 * Maximum length of a copied link, in characters. RFC 9110, section 4.1, recommends that servers and proxies
 * accept 8000 octets.
 */
export const MAX_COPIED_LENGTH = 8000;

/** Maximum length of a query string that the page opens, in characters. The server refuses longer URLs. */
export const MAX_OPENED_LENGTH = 65_536;

/**
 * @typedef {object} Link
 * @property {string} query text of the query editor
 * @property {string} variables text of the variables editor, valid or not; empty if the URL has none
 * @property {string | null} operationName operation to run; null if the URL names none
 */

/**
 * Reads the operation from the query string of a URL.
 * @param {string} search for example `window.location.search`
 * @returns {{link: Link | null, problem: string | null}} `link` is null if the URL has neither query nor variables,
 *   or is too long; `problem` is the reason
 */
export function readLink(search) {
  if (search.length > MAX_OPENED_LENGTH) {
    const problem = `The link was not opened. It is longer than ${MAX_OPENED_LENGTH.toLocaleString('en')} characters.`;
    return { link: null, problem };
  }
  const parameters = new URLSearchParams(search);
  const query = parameters.get('query') ?? '';
  const variables = parameters.get('variables') ?? '';
  const operationName = parameters.get('operationName') || null;
  return { link: query || variables ? { query, variables, operationName } : null, problem: null };
}

/**
 * Returns the URL that opens the given texts. It omits the query string and the fragment of the current URL, which may
 * contain a token.
 * @param {{origin: string, pathname: string}} page for example `window.location`
 * @param {Link} link
 */
export function linkTo({ origin, pathname }, { query, variables, operationName }) {
  const parameters = new URLSearchParams();
  if (query) parameters.set('query', query);
  if (variables.trim()) parameters.set('variables', variables);
  // GraphiQL may still have the operation name of the previous tab or of an earlier text.
  if (findOperation(query, operationName)) parameters.set('operationName', operationName);
  return `${origin}${pathname}${parameters.size > 0 ? `?${parameters}` : ''}`;
}

/** Returns the syntax node of the named operation; null if the text does not parse or has no such operation. */
export function findOperation(query, operationName) {
  if (!operationName) return null;
  try {
    return getOperationAST(parse(query), operationName) ?? null;
  } catch {
    return null;
  }
}
