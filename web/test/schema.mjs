// The schema that the tests run against: the one the server prints, or the file that DOCKET_SCHEMA names.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSchema } from 'graphql';

export function loadSchema() {
  const path = process.env.DOCKET_SCHEMA ?? fileURLToPath(new URL('../../schema.graphql', import.meta.url));
  return buildSchema(readFileSync(path, 'utf8'));
}
