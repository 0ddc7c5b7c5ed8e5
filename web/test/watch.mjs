/** Everything that must never happen on a page, as it happens: CSP violations, script errors, requests to elsewhere. */
export async function watchForProblems(page, base) {
  const problems = [];
  await page.exposeFunction('reportViolation', (violation) => problems.push(violation));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      window.reportViolation(`CSP: ${event.violatedDirective} blocked ${event.blockedURI} in ${event.sourceFile}:${event.lineNumber}`);
    });
  });
  await page.route(
    (url) => url.origin !== new URL(base).origin && url.protocol.startsWith('http'),
    (route) => {
      problems.push(`request to another host: ${route.request().url()}`);
      return route.abort();
    },
  );
  page.on('pageerror', (error) => problems.push(`page error: ${error.stack}`));
  page.on('console', (message) => {
    // The browser logs each 4xx answer as an error; a refused sign-in is one, and meant to be.
    const refusal = message.text().startsWith('Failed to load resource') && new URL(message.location().url).pathname === '/graphql';
    if (message.type() === 'error' && !refusal) problems.push(`console: ${message.text()}`);
  });
  return problems;
}
