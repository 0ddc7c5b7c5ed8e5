// Builds the pages into dist/, which the server embeds at compile time and serves under /graphiql.
import { defineConfig } from 'vite';

// Where `npm run dev` finds a running Docket.
const server = process.env.DOCKET_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  base: '/graphiql/',
  logLevel: process.argv.includes('build') ? 'warn' : 'info',
  build: {
    // Every browser that knows light-dark(), <dialog> and module workers.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    // The polyfill is of no use to the browsers above.
    modulePreload: { polyfill: false },
    // The licenses of everything bundled travel with the binary.
    license: { fileName: 'licenses.md' },
    // Monaco is one chunk of some 3 MB and loads after the page is drawn.
    chunkSizeWarningLimit: 4096,
    rolldownOptions: {
      // GraphiQL, and the page of the REST façade.
      input: ['index.html', 'rest.html'],
      // "use client" and the like are for servers that render React; a page does without them.
      onLog: (level, log, report) => log.code === 'MODULE_LEVEL_DIRECTIVE' || report(level, log),
    },
  },
  // Classic workers would need blob: in the Content-Security-Policy while developing.
  worker: { format: 'es' },
  server: {
    proxy: {
      '/graphql/ws': { target: server, ws: true },
      '^/graphql($|[?/])': { target: server },
      '/v1.1/': { target: server },
    },
  },
});
