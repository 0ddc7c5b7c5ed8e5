import type { CodegenConfig } from '@graphql-codegen/cli';

// Types for every operation in src/, checked against the schema that the server publishes in this repository.
const config: CodegenConfig = {
  schema: '../../schema.graphql',
  documents: 'src/*.ts',
  generates: {
    'src/gql/': {
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: {
        enumsAsTypes: true,
        emitLegacyCommonJSImports: false,
        importExtension: '.js',
        useTypeImports: true,
        strictScalars: true,
        scalars: {
          DateTime: 'string',
          JSON: 'unknown',
          JSONObject: 'Record<string, unknown>',
          SafeInt: 'number',
          URL: 'string',
          Upload: 'File',
        },
      },
    },
  },
};

export default config;
